#!/bin/busybox sh
# PID 1 of a guest that mounts a CD and tells what Linux sees of it, one line a file. The initrd comes from tests/all/boot/isofs.rs.
PATH=/bin
busybox mount -t devtmpfs dev /dev
busybox dmesg -n 1
while read -r module; do
    busybox insmod "/modules/$module"
done </modules/order
for _ in 1 2 3 4 5 6 7 8 9 10; do
    [ -b /dev/sr0 ] && break
    busybox sleep 1
done
busybox mount -t iso9660 -o ro /dev/sr0 /mnt && cd /mnt || echo "MOBY-BAD no mount"
echo
busybox find . -exec busybox stat -c 'STAT %f %h %u:%g %Y %t:%T %n' '{}' ';'
busybox find . -type l | while read -r link; do
    echo "LINK $link -> $(busybox readlink "$link")"
done
busybox find . -type f | while read -r file; do
    echo "FILE $(busybox md5sum "$file")"
done
echo "MOBY-MARKER-END"
busybox poweroff -f
