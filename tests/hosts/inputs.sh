# What both scripts in this directory convert: sourced. The tar has what file systems of hosts differ in: links, names that only differ
# in case, names that Windows refuses, a name that is no UTF-8, a file with a hole.

say() { echo "${0##*/}: $*" >&2; }
die() { say "$*"; exit 1; }

# same FILE FILE
same() { cmp -- "$1" "$2" >&2 || die "$1 is not $2"; }

# What is made of it, as NAME:FORMATS: files of one name are not made in one run.
outputs=(disk:raw,qcow2,vhd,vhdx,vmdk,vdi,ova,iso,uki,kernel+initrd squashfs:kernel+squashfs erofs:kernel+erofs)

# make_tar WORK [MIB]: WORK/guest.tar, with a kernel that the loaders start, and with that many MiB that do not compress.
make_tar() {
    local root=$1/root
    mkdir -p "$root/boot" "$root/etc" "$root/usr/share/con" "$root/dev"
    cp boot/prebuilt/testkernel.bzimage "$root/boot/kernel"
    echo "console=ttyS0 quiet" >"$root/boot/cmdline"
    printf '#!/bin/sh\n' >"$root/init"
    chmod 755 "$root/init"
    echo one >"$root/etc/Name"
    echo two >"$root/etc/name"
    echo three >"$root/etc/a:b<c>|d\\e?"
    echo four >"$root/usr/share/con/$(printf 'caf\351')"
    ln -s ../etc/name "$root/usr/link"
    ln "$root/etc/Name" "$root/usr/hard"
    seq 1 200000 >"$root/usr/numbers"
    truncate -s 3M "$root/usr/sparse"
    [ -z "${2:-}" ] || head -c "$2"M /dev/urandom >"$root/usr/noise"
    tar --create --format=posix --pax-option=delete=atime,delete=ctime --sort=name --mtime=@1700000000 --owner=0 --group=0 \
        --file "$1/guest.tar" --directory "$root" .
    rm -r "$root"
}
