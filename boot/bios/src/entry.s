# Enters a Linux kernel by its 32-bit entry: boot.rst, "32-bit Boot Protocol".
#
# extern "sysv64" fn enter_kernel(entry: u32, zero_page: u32) -> !
#
# On entry   long mode, interrupts off; EDI = entry, ESI = struct boot_params.
# On exit    protected mode, no paging, interrupts off; CS = __BOOT_CS, DS = ES = SS = __BOOT_DS, flat;
#            ESI = struct boot_params, EBP = EDI = EBX = 0; at entry.

.section .start, "awx"
.code64
.globl  enter_kernel
enter_kernel:
        mov     $1f, %ebx
        jmp     long_to_protected
.code32
1:      mov     $real_stack_end, %esp
        mov     %edi, %eax
        xor     %ebp, %ebp
        xor     %edi, %edi
        xor     %ebx, %ebx
        jmp     *%eax
