# Stage 2 up to Rust: real mode, checks, page tables, long mode; descriptor tables; CPU exceptions.

.set    CODE64, 0x08
.set    CODE32, 0x10                    # __BOOT_CS of boot.rst: flat, execute/read
.set    DATA32, 0x18                    # __BOOT_DS: flat, read/write
.set    CODE16, 0x20
.set    DATA16, 0x28

.section .start, "awx"

# ---------------------------------------------------------------------------------------------------------------------
# The first byte of stage2.
#
# On entry   real mode, CS = 0; DL = BIOS drive, DH = log2(sector size) - 9.
# On exit    in Rust: stage2_main(drive, shift).
.code16
stage2:
        jmp     1f
        .org    4, 0
        .ascii  "MOBY"                  # what stage1 looks for
1:      cli
        cld
        xor     %ax, %ax
        mov     %ax, %ds
        mov     %ax, %es
        mov     %ax, %ss
        mov     $real_stack_end, %sp
        sti
        mov     %dx, boot_drive
        call    need_long_mode
        call    need_a20
        mov     $0xec00, %ax            # tell the BIOS that we leave for
        mov     $2, %bl                 # long mode (AMD: "Detect Target Operating Mode Callback")
        int     $0x15
        cli
        call    make_page_tables
        mov     $2f, %ebx
        jmp     real_to_long
.code64
2:      mov     $stack_end, %esp
        movzbl  boot_drive, %edi
        movzbl  boot_drive + 1, %esi
        call    stage2_main             # does not return; the call leaves the stack as the ABI wants it

# ---------------------------------------------------------------------------------------------------------------------
# Returns if the CPU has long mode, else says so.
#
# On entry   real mode.
# Clobbers   EAX, EBX, ECX, EDX.
.code16
need_long_mode:
        pushfl                          # CPUID exists if bit 21 of EFLAGS can be changed
        pop     %eax
        mov     %eax, %ecx
        xor     $1 << 21, %eax
        push    %eax
        popfl
        pushfl
        pop     %eax
        cmp     %eax, %ecx
        je      1f
        mov     $0x80000000, %eax
        cpuid
        cmp     $0x80000001, %eax
        jb      1f
        mov     $0x80000001, %eax
        cpuid
        bt      $29, %edx               # LM
        jnc     1f
        ret
1:      mov     $text_no_long_mode, %si
        jmp     fail
text_no_long_mode:
        .asciz  "moby: this CPU has no 64-bit mode\r\n"

# ---------------------------------------------------------------------------------------------------------------------
# Returns with address line 20 on, by whatever means works, else says so.
#
# On entry   real mode, DS = 0.
# Clobbers   AX, CX, FS.
need_a20:
        call    a20_is_on
        jne     9f
        mov     $0x2401, %ax            # the BIOS
        int     $0x15
        call    a20_is_on
        jne     9f
        in      $0x92, %al              # system control port A
        or      $2, %al                 # bit 1: A20
        and     $0xfe, %al              # bit 0: reset
        out     %al, $0x92
        call    a20_is_on
        jne     9f
        call    wait_for_keyboard       # the keyboard controller
        mov     $0xd1, %al              # write its output port
        out     %al, $0x64
        call    wait_for_keyboard
        mov     $0xdf, %al              # bit 1: A20
        out     %al, $0x60
        call    wait_for_keyboard
        call    a20_is_on
        jne     9f
        mov     $text_no_a20, %si
        jmp     fail
9:      ret
text_no_a20:
        .asciz  "moby: cannot enable address line 20\r\n"

# ZF = 0 if address line 20 is on: then a word of ours and the one 1 MiB above it differ.
#
# Clobbers   AX, CX, FS.
a20_is_on:
        mov     $0xffff, %ax
        mov     %ax, %fs
        mov     $2000, %cx
1:      incw    a20_word
        out     %al, $0x80              # takes about a microsecond
        mov     %fs:a20_word + 16, %ax
        cmp     a20_word, %ax
        loope   1b
        ret

# Waits until the keyboard controller takes a byte, but not for ever.
#
# Clobbers   AL, CX.
wait_for_keyboard:
        xor     %cx, %cx
1:      in      $0x64, %al
        test    $2, %al
        loopnz  1b
        ret

# ---------------------------------------------------------------------------------------------------------------------
# Maps the first 4 GiB to themselves, in pages of 2 MiB.
#
# On entry   real mode, ES = 0, DF = 0.
# Clobbers   EAX, ECX, EDI.
make_page_tables:
        mov     $page_tables, %edi
        mov     $page_tables_words, %ecx
        xor     %eax, %eax
        rep stosl
        movw    $page_tables + 0x1003, page_tables              # PML4 -> PDPT; bit 0 present, bit 1 writable
        mov     $page_tables + 0x1000, %edi
        mov     $page_tables + 0x2003, %eax
1:      mov     %eax, (%di)                                     # PDPT -> four page directories
        add     $8, %di
        add     $0x1000, %eax
        cmp     $page_tables + 0x6003, %eax
        jne     1b
        mov     $page_tables + 0x2000, %edi
        mov     $0x83, %eax                                     # bit 7: 2 MiB page
2:      mov     %eax, (%di)
        add     $8, %di
        add     $0x200000, %eax
        jnc     2b                                              # until 4 GiB
        ret

# ---------------------------------------------------------------------------------------------------------------------
# From real mode to long mode. Loads every register that the BIOS may have changed.
#
# On entry   real mode, interrupts off, DS = 0; EBX = where to go on, 64-bit code.
# On exit    long mode, interrupts off, flat segments, our IDT; RSP undefined.
# Clobbers   RAX, RCX, RDX.
real_to_long:
        lgdtl   gdt_pointer
        mov     %cr0, %eax
        or      $1, %al                 # PE
        mov     %eax, %cr0
        ljmpl   $CODE32, $1f
.code32
1:      mov     $DATA32, %ax
        mov     %ax, %ds
        mov     %ax, %es
        mov     %ax, %fs
        mov     %ax, %gs
        mov     %ax, %ss
        mov     $page_tables, %eax
        mov     %eax, %cr3
        mov     %cr4, %eax
        or      $1 << 5, %eax           # PAE
        mov     %eax, %cr4
        mov     $0xc0000080, %ecx       # EFER
        rdmsr
        or      $1 << 8, %eax           # LME
        wrmsr
        mov     %cr0, %eax
        or      $1 << 31, %eax          # PG
        mov     %eax, %cr0
        ljmp    $CODE64, $2f
.code64
2:      lidt    idt_pointer
        jmp     *%rbx

# ---------------------------------------------------------------------------------------------------------------------
# From long mode to 32-bit protected mode without paging, with CR4 and EFER as the BIOS knows them.
#
# On entry   long mode, interrupts off; EBX = where to go on, 32-bit code.
# On exit    protected mode, CS = CODE32, other segments DATA32; ESP undefined.
# Clobbers   EAX, ECX, EDX.
.code64
long_to_protected:
        push    $CODE32
        push    $1f
        lretq
.code32
1:      mov     $DATA32, %ax
        mov     %ax, %ds
        mov     %ax, %es
        mov     %ax, %fs
        mov     %ax, %gs
        mov     %ax, %ss
        mov     %cr0, %eax
        and     $~(1 << 31), %eax       # PG
        mov     %eax, %cr0
        mov     $0xc0000080, %ecx       # EFER
        rdmsr
        and     $~(1 << 8), %eax        # LME
        wrmsr
        mov     %cr4, %eax
        and     $~(1 << 5), %eax        # PAE
        mov     %eax, %cr4
        jmp     *%ebx

# ---------------------------------------------------------------------------------------------------------------------
# CPU exceptions in long mode: all end in Rust, exception(frame), which does not return.

.code64
exception_common:                       # on the stack: vector, error code, RIP, CS, RFLAGS, RSP, SS
        cld
        mov     %rsp, %rdi
        and     $-16, %rsp
        call    exception

# Entry of one vector. 8, 10 to 14, 17, 21, 29 and 30 push an error code; for the others we do.
.macro  exception_entry vector
exception_\vector:
  .if !((0x60227d00 >> \vector) & 1)
        push    $0
  .endif
        push    $\vector
        jmp     exception_common
.endm

# An interrupt gate; all our addresses fit in 16 bits.
.macro  gate vector
        .word   exception_\vector, CODE64
        .byte   0, 0x8e                 # present, 64-bit interrupt gate
        .word   0
        .long   0, 0
.endm

.irp    vector, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
        exception_entry \vector
.endr

        .balign 8
idt:
.irp    vector, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
        gate    \vector
.endr
idt_end:

gdt:
        .quad   0
        .quad   0x00af9b000000ffff      # CODE64
        .quad   0x00cf9b000000ffff      # CODE32: base 0, limit 4 GiB
        .quad   0x00cf93000000ffff      # DATA32
        .quad   0x00009b000000ffff      # CODE16: base 0, limit 64 KiB
        .quad   0x000093000000ffff      # DATA16
gdt_end:

        .balign 4
gdt_pointer:
        .word   gdt_end - gdt - 1
        .long   gdt, 0
idt_pointer:
        .word   idt_end - idt - 1
        .long   idt, 0
boot_drive:                             # DL and DH of the entry
        .word   0
a20_word:
        .word   0
