# Stage 1: the boot sector of a disk and the El Torito image of a CD, the same 512 bytes.
# It reads stage2, checks it and jumps to it.
#
# On entry   real mode, at 0000:7c00 or 07c0:0000; DL = BIOS drive.
# On exit    at 0000:stage2_base; DL = BIOS drive, DH = log2(sector size) - 9; interrupts on, DF = 0.
# Clobbers   everything else.
#
# Offsets 0x19c to 0x1a6 are patched by whoever writes the disk: see bootfs::stage1.

.section .sector, "awx"
.code16

sector:
        jmp     begin
        nop
        # Bytes 3 to 89 belong to the BIOS, which may take them for a BIOS parameter block and write to them.
        .org    90, 0

begin:
        cld
        xor     %ax, %ax
        mov     %ax, %ds
        mov     %ax, %ss                # interrupts are off until after the next instruction
        mov     $stage1_base, %sp
        sti
        ljmp    $0, $main

main:
        mov     $32, %bx                # paragraphs in 512 bytes
        mov     stage2_shift, %cl
        shl     %cl, %bx                # paragraphs in a sector
        mov     %cl, %dh                # stays in DX from here on, with the drive

# One sector at a time: there are few, and no BIOS is known to fail at that.
next_sector:
        decw    stage2_count
        js      check
        mov     $5, %di                 # attempts
1:      movw    $1, packet_count        # a failed call may have changed it
        mov     $packet, %si
        mov     $0x42, %ah              # EDD: extended read
        pusha
        int     $0x13
        popa
        jnc     2f
        xor     %ax, %ax                # reset the drive
        pusha
        int     $0x13
        popa
        dec     %di
        jnz     1b
        mov     $text_read, %si
        jmp     fail
2:      add     %bx, packet_segment
        incl    stage2_first            # stage2 does not straddle sector 2^32
        jmp     next_sector

check:
# CRC-32 of what was read. Its last word makes the sum a constant.
        cmpl    $0x59424f4d, stage2_base + 4    # "MOBY"
        jne     not_found
        mov     packet_segment, %cx
        mov     $stage2_paragraph, %ax
        mov     %ax, %ds                # stage2 may end above 64 KiB
        sub     %ax, %cx
        shl     $4, %cx                 # bytes: at most 48 KiB
        xor     %si, %si
        mov     $-1, %ebx
3:      lodsb
        xor     %al, %bl
        mov     $8, %ah
4:      shr     $1, %ebx
        jnc     5f
        xor     $0xedb88320, %ebx
5:      dec     %ah
        jnz     4b
        loop    3b
        mov     %cx, %ds                # 0
        cmp     $0xdebb20e3, %ebx
        mov     $text_damaged, %si
        jne     fail
        ljmp    $0, $stage2_base

not_found:
        mov     $text_not_found, %si
        # falls through to fail, in fail.s
