#!/bin/busybox sh
# PID 1 of an initrd as small as can be: loads the drivers that Debian's kernel has as modules only, does with the disks what the
# command line says, as a kernel with built-in drivers would, and hands over to the init of the first one's root file system.
# It comes from tests/support/initrd.rs.
PATH=/bin
export LD_LIBRARY_PATH=/lib
busybox mkdir -p /proc /sys /dev /mnt
busybox mount -t proc proc /proc
busybox mount -t sysfs sysfs /sys
busybox mount -t devtmpfs dev /dev
busybox dmesg -n 1
while read -r module; do
    busybox insmod "/modules/$module" || echo "MOBY-BAD $module cannot be loaded"
done </modules/order

type=$(busybox sed -n 's/.*rootfstype=\([a-z0-9]*\).*/\1/p' /proc/cmdline)
table=$(busybox sed -n 's/.*dm-mod.create="root,,0,ro,\([^"]*\)".*/\1/p' /proc/cmdline)

# partition DISK NAME: the partition of that name.
partition() {
    busybox grep -lx "PARTNAME=$2" /sys/class/block/"$1"?*/uevent | busybox cut -d / -f 5
}

number=0
# many DIRECTORY: looks up files all over a large directory.
many() {
    for n in 0 77 999 1000 1234 1999; do
        [ "$(busybox cat "$1/a name of some length, as those of logs have it: $n")" = $n ] || return 1
    done
    [ ! -e "$1/not there" ] && [ "$(busybox ls "$1" | busybox wc -l)" = 2000 ]
}

for disk in /sys/block/vd*; do
    disk=${disk##*/}
    root=$(partition "$disk" root)
    root=/dev/${root:-$disk}
    if [ -n "$table" ]; then
        hashes=$(partition "$disk" "root verity")
        # The devices of the table, one after the other, as the kernel would find them.
        echo "$table" | busybox sed "s,PARTUUID=[^ ]*,$root,;s,PARTUUID=[^ ]*,/dev/$hashes," >/table
        dmsetup create "$disk" --readonly --noudevsync --noudevrules /table || echo "MOBY-BAD $disk has no device"
        root=/dev/dm-$number
        number=$((number + 1))
    fi
    busybox mkdir -p "/mnt/$disk"
    if busybox mount -t "$type" -o ro "$root" "/mnt/$disk" && many "/mnt/$disk/many" &&
        [ "$(busybox md5sum <"/mnt/$disk/data/random")" = "$(busybox cat "/mnt/$disk/data/random.md5")" ]; then
        echo "MOBY-ROOT-GOOD $disk"
    else
        echo "MOBY-ROOT-REFUSED $disk"
        busybox dmesg | busybox grep "device-mapper: verity"
    fi
done
exec busybox switch_root /mnt/vda /init
