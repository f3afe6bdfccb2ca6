# testkernel: boot sector, setup header and 16-bit setup (Documentation/arch/x86/boot.rst, protocol 2.15).
#
# On entry   real mode, CS = DS + 0x20, IP = 0, DS = ES = SS = where the setup was loaded, stack at the end of its heap
#            (the 16-bit protocol; a loader that uses the 32-bit protocol never runs this file)
# On exit    protected mode at code32_start by the 32-bit protocol, but EBX = 1: head.s reports which way it came
# Clobbers   everything
#
# Offsets are differences from boot_sector, so that nothing here needs a relocation.

.section .setup, "awx"
.code16

.set INIT_SIZE, 0x2000000       # 32 MiB, bios.ld asserts it
.set ZERO_PAGE, 0x1000          # behind the setup, in its own segment

.globl boot_sector
boot_sector:
        .ascii "MZ"             # 0x000 a PE file as well; the packer fills in e_lfanew and the PE headers

        .org 0x1ef
        .byte 0xff              # 0x1ef sentinel: a loader that copies more than the setup header is found out
        .byte 0xff
setup_header:
        .byte 7                 # 0x1f1 setup_sects
        .word 0                 # 0x1f2 root_flags
        .long 0                 # 0x1f4 syssize, by the packer
        .word 0                 # 0x1f8 ram_size, obsolete
        .word 0xffff            # 0x1fa vid_mode: normal
        .word 0                 # 0x1fc root_dev
        .word 0xaa55            # 0x1fe boot_flag
        .byte 0xeb              # 0x200 jump over the header; its operand also gives the length of the header
        .byte header_end - 1f
1:      .ascii "HdrS"           # 0x202
        .word 0x020f            # 0x206 protocol 2.15
        .long 0                 # 0x208 realmode_swtch
        .word 0                 # 0x20c start_sys_seg, obsolete
        .word kernel_version - boot_sector - 0x200      # 0x20e
        .byte 0                 # 0x210 type_of_loader
        .byte 0x01              # 0x211 loadflags: LOADED_HIGH
        .word 0                 # 0x212 setup_move_size
        .long 0x100000          # 0x214 code32_start
        .long 0                 # 0x218 ramdisk_image
        .long 0                 # 0x21c ramdisk_size
        .long 0                 # 0x220 bootsect_kludge
        .word 0                 # 0x224 heap_end_ptr
        .byte 0                 # 0x226 ext_loader_ver
        .byte 0                 # 0x227 ext_loader_type
        .long 0                 # 0x228 cmd_line_ptr
        .long 0x7fffffff        # 0x22c initrd_addr_max
        .long 0x200000          # 0x230 kernel_alignment
        .byte 1                 # 0x234 relocatable_kernel
        .byte 12                # 0x235 min_alignment: 4 KiB
        .word 0                 # 0x236 xloadflags: neither a 64-bit entry nor the handover protocol
        .long 2047              # 0x238 cmdline_size
        .long 0                 # 0x23c hardware_subarch
        .quad 0                 # 0x240 hardware_subarch_data
        .long 0                 # 0x248 payload_offset
        .long 0                 # 0x24c payload_length
        .quad 0                 # 0x250 setup_data
        .quad 0x1000000         # 0x258 pref_address
        .long INIT_SIZE         # 0x260
        .long 0                 # 0x264 handover_offset
        .long 0                 # 0x268 kernel_info_offset
header_end:
        .byte 0xe9              # jmp setup
        .word setup - . - 2

        .org 0x270              # 0x270..0x600 PE headers, by the packer
        .org 0x600
kernel_version:
        .asciz "moby-testkernel 1 (moby@moby) #1"

setup:
        pushw   %ds             # CS = DS: one base for code and data
        pushw   $(1f - boot_sector)
        lretw
1:      cld

        # An empty zero page with a copy of our header, as a 32-bit loader would make it.
        movw    $ZERO_PAGE, %di
        movw    $0x800, %cx
        xorw    %ax, %ax
        rep stosw
        movw    $(setup_header - boot_sector), %si
        movw    $(ZERO_PAGE + 0x1f1), %di
        movw    $(header_end - setup_header), %cx
        rep movsb

        # e820_table, at most 128 entries.
        xorl    %ebx, %ebx
        movw    $(ZERO_PAGE + 0x2d0), %di
2:      movl    $0xe820, %eax
        movl    $0x534d4150, %edx       # "SMAP"
        movl    $20, %ecx
        int     $0x15
        jc      3f
        cmpl    $0x534d4150, %eax
        jne     3f
        addw    $20, %di
        incb    (ZERO_PAGE + 0x1e8)
        cmpb    $128, (ZERO_PAGE + 0x1e8)
        je      3f
        testl   %ebx, %ebx
        jnz     2b

        # screen_info: a text mode.
3:      movb    $0x03, %ah              # read cursor
        xorb    %bh, %bh
        int     $0x10
        movw    %dx, (ZERO_PAGE + 0x00) # orig_x, orig_y
        movb    $0x0f, %ah              # read mode
        int     $0x10
        movb    %al, (ZERO_PAGE + 0x06) # orig_video_mode
        movb    %ah, (ZERO_PAGE + 0x07) # orig_video_cols
        movb    $25, (ZERO_PAGE + 0x0e) # orig_video_lines
        movb    $1, (ZERO_PAGE + 0x0f)  # orig_video_isVGA
        movb    $16, (ZERO_PAGE + 0x10) # orig_video_points

        inb     $0x92, %al              # A20
        orb     $0x02, %al
        andb    $0xfe, %al              # bit 0 would reset the machine
        outb    %al, $0x92

        # Protected mode: the GDT descriptor and the far pointer hold linear addresses, known only now.
        cli
        xorl    %esi, %esi
        movw    %ds, %si
        shll    $4, %esi
        leal    (gdt - boot_sector)(%esi), %eax
        movl    %eax, (gdt_pointer - boot_sector + 2)
        movl    (0x214), %eax           # code32_start, as the loader left it
        movl    %eax, (kernel_pointer - boot_sector)
        addl    $ZERO_PAGE, %esi        # ESI = boot_params
        lgdtl   (gdt_pointer - boot_sector)
        movl    %cr0, %eax
        orb     $0x01, %al              # PE
        movl    %eax, %cr0
        movw    $0x18, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        xorl    %ebp, %ebp
        xorl    %edi, %edi
        movl    $1, %ebx
        ljmpl   *%cs:(kernel_pointer - boot_sector)

        .balign 8
gdt:    .quad 0
        .quad 0
        .quad 0x00cf9a000000ffff        # 0x10 __BOOT_CS, flat, execute and read
        .quad 0x00cf92000000ffff        # 0x18 __BOOT_DS, flat, read and write
gdt_pointer:
        .word gdt_pointer - gdt - 1
        .long 0
kernel_pointer:
        .long 0
        .word 0x10

        .org 0x1000
