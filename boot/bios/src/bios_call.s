# Calls a BIOS interrupt from long mode.
#
# extern "sysv64" fn bios_call(number: u8, registers: *mut Registers)
#
# On entry   long mode, interrupts off; DIL = interrupt number, RSI = registers (struct Registers of bios.rs).
# On exit    long mode, interrupts off; *registers = what the BIOS left.
# Clobbers   what the System V ABI allows.

.set    REGISTERS_LEN, 40

.section .start, "awx"
.code64
.globl  bios_call
bios_call:
        push    %rbx
        push    %rbp
        push    %r12
        push    %r13
        push    %r14
        push    %r15
        push    %rsi
        mov     %dil, bios_int + 1      # the operand of the int instruction
        mov     $bios_registers, %edi
        mov     $REGISTERS_LEN / 4, %ecx
        rep movsl
        mov     %rsp, bios_rsp
        mov     $1f, %ebx
        jmp     long_to_protected
.code32
1:      ljmp    $CODE16, $2f
.code16
2:      mov     $DATA16, %ax            # segment limits as real mode has them
        mov     %ax, %ds
        mov     %ax, %es
        mov     %ax, %fs
        mov     %ax, %gs
        mov     %ax, %ss
        mov     %cr0, %eax
        and     $~1, %al                # PE
        mov     %eax, %cr0
        ljmp    $0, $3f
3:      xor     %ax, %ax
        mov     %ax, %ds
        mov     %ax, %fs
        mov     %ax, %gs
        mov     %ax, %ss
        lidtl   real_idt_pointer
        mov     $bios_registers, %sp    # as a stack: POPA takes them in this order
        popal
        pop     %es
        pop     %ds
        mov     $real_stack_end, %sp
        sti
        nop                             # lets pending interrupts in: the BIOS counts time by them
bios_int:
        int     $0                      # the number is patched
        cli
        mov     $bios_registers_flags + 2, %sp
        pushf
        push    %ds
        push    %es
        pushal
        xor     %ax, %ax
        mov     %ax, %ds
        cld
        mov     $4f, %ebx
        jmp     real_to_long
.code64
4:      mov     bios_rsp, %rsp
        pop     %rdi
        mov     $bios_registers, %esi
        mov     $REGISTERS_LEN / 4, %ecx
        rep movsl
        pop     %r15
        pop     %r14
        pop     %r13
        pop     %r12
        pop     %rbp
        pop     %rbx
        ret

        .balign 8
bios_rsp:
        .quad   0
bios_registers:                         # EDI, ESI, EBP, ESP, EBX, EDX, ECX, EAX
        .fill   8, 4, 0
        .word   0, 0                    # ES, DS
bios_registers_flags:
        .word   0, 0                    # FLAGS, and padding
real_idt_pointer:
        .word   0x3ff                   # the interrupt vectors of real mode, at 0
        .long   0
