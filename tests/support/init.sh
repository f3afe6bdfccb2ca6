#!/bin/busybox sh
# PID 1 of the guest: checks that every byte and every kind of file of its root arrived, says so, and turns the machine off.
# The root file system comes from tests/support/guest.rs.
PATH=/bin
busybox mkdir -p /proc /sys
busybox mount -t proc proc /proc
busybox mount -t sysfs sysfs /sys
busybox dmesg -n 1

bad=0
# same WHAT FOUND REQUIRED
same() {
    [ "$2" = "$3" ] || { echo "MOBY-BAD $1: $2, must be $3"; bad=1; }
}
stat() {
    busybox stat -c "$1" "$2" 2>&1
}

same "random data" "$(busybox md5sum </data/random)" "$(busybox cat /data/random.md5)"
same "hard link's names" "$(stat %h /data/random.md5)" 2
same "hard link's inode" "$(stat %i /data/again.md5)" "$(stat %i /data/random.md5)"
same "symbolic link" "$(busybox readlink /data/link)" random.md5
same "character device" "$(stat '%F %t:%T %a' /dev/testnull)" "character special file 1:3 666"
same "block device" "$(stat '%F %t:%T %a' /dev/testram)" "block special file 1:0 660"
same "fifo" "$(stat '%F %a' /data/fifo)" "fifo 640"
same "set-user-ID bit" "$(stat '%a %u:%g' /data/setuid)" "4755 1000:100"
same "sticky bit" "$(stat %a /data/sticky)" 1777
same "time" "$(stat %Y /data/setuid)" 1234567890
same "directory without an entry" "$(busybox cat /no/entry/here/file)" "found"

firmware=bios
[ -d /sys/firmware/efi ] && firmware=efi
echo
echo "MOBY-FIRMWARE $firmware"
echo "MOBY-CMDLINE [$(busybox cat /proc/cmdline)]"
for pcr in 4 7 9 11; do
    [ ! -e /sys/class/tpm/tpm0 ] || echo "MOBY-PCR $pcr $(busybox cat /sys/class/tpm/tpm0/pcr-sha256/$pcr)"
done
busybox sed -n 's/^MemTotal: */MOBY-MEMORY /p' /proc/meminfo
if [ $bad = 0 ]; then
    echo "MOBY-MARKER-OK $(busybox uname -m) Linux $(busybox uname -r) with the whole initrd of $(stat %s /data/random) random bytes"
else
    echo "MOBY-MARKER-BAD"
fi
busybox poweroff -f
