#!/bin/busybox sh
# PID 1 of a guest whose root file system is an EROFS volume: checks what no initrd can keep, then goes on as any guest.
# The root file system comes from tests/all/boot_erofs.rs.
PATH=/bin
busybox mount -t proc proc /proc

bad=0
# same WHAT FOUND REQUIRED
same() {
    [ "$2" = "$3" ] || { echo "MOBY-BAD $1: $2, must be $3"; bad=1; }
}

same "root" "$(busybox sed -n 's/^[^ ]* \/ \(erofs\) .*/\1/p' /proc/mounts | busybox tail -n 1)" erofs
same "every file's checksum" "$(cd /sums && busybox md5sum -c list 2>&1 | busybox grep -vc ': OK$')" 0
same "number of files" "$(busybox ls /many | busybox wc -l)" 3000
same "name of 255 bytes" "$(busybox cat /many/$(busybox printf 'n%.0s' $(busybox seq 255)))" long
same "more than 4 GiB" "$(busybox dd if=/huge bs=1M skip=4097 2>/dev/null)" end
same "symbolic link of 4095 bytes" "$(busybox readlink /longest | busybox wc -c)" 4096
same "device number" "$(busybox stat -c %t:%T /dev/null)" 1:3
same "large device number" "$(busybox stat -c %t:%T /disk)" 103:3f7a0
same "large owner" "$(busybox stat -c %u:%g /owned)" 4000000000:3000000
same "time" "$(busybox stat -c %y /owned)" "1969-12-20 10:13:20.123456789 +0000"
same "hard links" "$(busybox stat -c %h /linked) $(busybox stat -c %i /linked)" "2 $(busybox stat -c %i /linked-too)"
same "file capability" "$(busybox su user -c '/bin/busybox-capable grep CapPrm /proc/self/status')" "CapPrm:	0000000000000400"
same "writing" "$(busybox touch /new 2>&1)" "touch: /new: Read-only file system"
[ $bad = 0 ] && echo "MOBY-EROFS-OK"
exec /init
