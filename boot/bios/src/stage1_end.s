# Texts and tables of stage 1.

text_read:
        .asciz  "moby stage1: read error\r\n"
text_not_found:
        .asciz  "moby stage1: stage2 not found\r\n"
text_damaged:
        .asciz  "moby stage1: stage2 damaged\r\n"

# The disk address packet of INT 13h, AH=42h.
        .org    0x194, 0
packet:
        .byte   16, 0
packet_count:
        .word   1
        .word   0                       # offset of the buffer
packet_segment:
        .word   stage2_paragraph
stage2_first:                           # 0x19c: patched
        .quad   0
stage2_count:                           # 0x1a4: patched
        .word   0
stage2_shift:                           # 0x1a6: patched
        .byte   0

# 440: disk signature, 446: partition table, both the writer's.
        .org    510, 0
        .byte   0x55, 0xaa
