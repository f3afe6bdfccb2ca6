# Says why there is nothing to boot, and restarts the machine after half a minute, because nobody may be there to do it.
#
# On entry   real mode, DS = SS = 0, DF = 0; SI = a text that ends in 0.
# On exit    never.

.code16
fail:
        # COM1: 115200 baud, 8 bits, no parity, 1 stop bit.
        mov     $0x3fb, %dx             # line control
        mov     $0x80, %al              # bit 7: the divisor
        out     %al, %dx
        mov     $0xf8, %dl
        mov     $1, %al
        out     %al, %dx
        inc     %dx
        dec     %ax
        out     %al, %dx
        mov     $0xfb, %dl
        mov     $3, %al
        out     %al, %dx
1:      lodsb
        test    %al, %al
        jz      3f
        mov     $0x0e, %ah              # teletype output
        mov     $7, %bx                 # page 0, grey
        pusha
        int     $0x10
        popa
        xchg    %al, %ah
        mov     $0x3fd, %dx             # line status
        xor     %cx, %cx
2:      in      %dx, %al
        test    $0x20, %al              # transmitter is empty
        loopz   2b                      # or absent
        mov     %ah, %al
        mov     $0xf8, %dl
        out     %al, %dx
        jmp     1b
3:      mov     $30000000 >> 16, %cx    # microseconds
        mov     $0x86, %ah              # wait
        int     $0x15
        ljmp    $0xffff, $0             # the reset vector
