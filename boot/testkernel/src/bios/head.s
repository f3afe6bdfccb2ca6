# testkernel: from the 32-bit entry of the Linux boot protocol to Rust.
#
# On entry   protected mode, flat segments, paging off, ESI = boot_params (boot.rst, "32-bit Boot Protocol"), EBX = 0, or 1
#            when setup.s was run first; at any 4 KiB aligned address below 4 GiB
# On exit    kernel_main(entry_state) in long mode, 4 GiB mapped one to one, 128 KiB of stack, relocations applied
# Clobbers   everything
#
# No address is known before `call`: all operands are relative to kernel_start, in EBP once it is known.

.section .head, "awx"
.code32

.globl kernel_start_32
kernel_start_32:
        jmp     entry_32

        .org 0x80
.globl header_copy
header_copy:                            # the setup header of the file, copied here by the packer: what the zero page must hold
        .org 0x100

.globl entry_state
entry_state:                            # struct EntryState of main.rs
state_boot_params:      .long 0
state_load_address:     .long 0
state_ebx:              .long 0
state_ebp:              .long 0
state_edi:              .long 0
state_eflags:           .long 0
state_cs:               .word 0
state_ds:               .word 0
state_es:               .word 0
state_ss:               .word 0

entry_32:
        leal    0x1e8(%esi), %esp       # `scratch` of the zero page is the only stack there is: one dword
        call    1f
1:      popl    %eax
        leal    (kernel_start_32 - 1b)(%eax), %eax      # EAX = where we were loaded
        movl    %esi, (state_boot_params - kernel_start_32)(%eax)
        movl    %eax, (state_load_address - kernel_start_32)(%eax)
        movl    %ebx, (state_ebx - kernel_start_32)(%eax)
        movl    %ebp, (state_ebp - kernel_start_32)(%eax)
        movl    %edi, (state_edi - kernel_start_32)(%eax)
        movw    %cs, (state_cs - kernel_start_32)(%eax)
        movw    %ds, (state_ds - kernel_start_32)(%eax)
        movw    %es, (state_es - kernel_start_32)(%eax)
        movw    %ss, (state_ss - kernel_start_32)(%eax)
        pushfl
        popl    (state_eflags - kernel_start_32)(%eax)
        movl    %eax, %ebp
        cli
        cld

        # .bss: page tables and stack are in it.
        leal    offset_bss(%ebp), %edi
        movl    $size_bss, %ecx
        shrl    $2, %ecx
        xorl    %eax, %eax
        rep stosl
        leal    offset_stack_top(%ebp), %esp

        # PML4[0] -> PDPT[0..4] -> 4 page directories of 512 pages of 2 MiB.
        leal    offset_page_tables(%ebp), %edi
        leal    0x1003(%edi), %eax      # present, writable
        movl    %eax, (%edi)
        movl    $4, %ecx
        leal    0x1000(%edi), %edx
2:      addl    $0x1000, %eax
        movl    %eax, (%edx)
        addl    $8, %edx
        loop    2b
        leal    0x2000(%edi), %edx
        movl    $0x83, %eax             # present, writable, 2 MiB
        movl    $2048, %ecx
3:      movl    %eax, (%edx)
        addl    $8, %edx
        addl    $0x200000, %eax
        loop    3b

        # Long mode.
        leal    (gdt_64 - kernel_start_32)(%ebp), %eax
        movl    %eax, (gdt_64_pointer - kernel_start_32 + 2)(%ebp)
        lgdtl   (gdt_64_pointer - kernel_start_32)(%ebp)
        movl    %edi, %cr3
        movl    %cr4, %eax
        orl     $0x20, %eax             # PAE
        movl    %eax, %cr4
        movl    $0xc0000080, %ecx       # EFER
        rdmsr
        orl     $0x100, %eax            # LME
        wrmsr
        movl    %cr0, %eax
        orl     $0x80000000, %eax       # PG
        movl    %eax, %cr0
        pushl   $0x08
        leal    (entry_64 - kernel_start_32)(%ebp), %eax
        pushl   %eax
        lretl

.code64
entry_64:
        movw    $0x10, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movl    %ebp, %ebp              # clears the upper half

        # R_X86_64_RELATIVE: the word at (offset) becomes base + addend; the base is where offset 0 of the file would lie.
        leaq    -0x1000(%rbp), %rdx
        leaq    relocations_start(%rip), %rsi
        leaq    relocations_end(%rip), %rdi
4:      cmpq    %rdi, %rsi
        jae     5f
        movq    (%rsi), %rax
        movq    16(%rsi), %rcx
        addq    %rdx, %rcx
        movq    %rcx, (%rax,%rdx)
        addq    $24, %rsi
        jmp     4b

5:      leaq    (state_boot_params - kernel_start_32)(%rbp), %rdi
        call    kernel_main
6:      hlt
        jmp     6b

        .balign 8
gdt_64: .quad 0
        .quad 0x00af9a000000ffff        # 0x08 64-bit code
        .quad 0x00cf92000000ffff        # 0x10 data
gdt_64_pointer:
        .word gdt_64_pointer - gdt_64 - 1
        .long 0
