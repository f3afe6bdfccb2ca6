#!/bin/sh
# PID 1 of a system that moby built: does with the bundles what LinuxKit's init, runc's starter and containerd's do, and says that it is done.
export PATH=/bin:/usr/bin:/usr/sbin:/sbin
if [ "$1" != again ]; then
    # A container's root cannot be pivoted into from the kernel's first root: everything moves into another.
    mount -t tmpfs -o size=80% tmpfs /mnt
    for each in /*; do
        [ "$each" = /mnt ] || cp -a "$each" /mnt/
    done
    mkdir -p /mnt/mnt
    exec switch_root /mnt /init again
fi
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm /run /tmp /var/lib/containerd /var/run
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
dmesg -n 1
while read -r module; do insmod "/modules/$module" 2>/dev/null; done </modules/order
ip link set lo up

firmware=bios
[ -d /sys/firmware/efi ] && firmware=efi
echo "SYSTEM init on $firmware"

# What runtime.json says is mounted before a container starts, as shell commands: one key a line, as it is written.
prepare() {
    awk '
        function text(line) { sub(/^[^:]*: "/, "", line); sub(/",?$/, "", line); return line }
        /^    "mounts": \[/ { inside = 1; next }
        inside && /^    \]/ { inside = 0 }
        !inside { next }
        /^        \{/ { type = source = options = "" }
        /"destination":/ { destination = text($0) }
        /"type":/ { type = text($0) }
        /"source":/ { source = text($0) }
        /^                "/ { option = $1; gsub(/[",]/, "", option); options = options (options == "" ? "" : ",") option }
        /^        \}/ {
            print "mkdir -p " destination
            if (options == "remount,private") { print "mount --make-private " destination; next }
            count = split(options, each, ",")
            for (n = 1; n <= count; n++) if (each[n] ~ /^(upperdir|workdir)=/) { sub(/^[^=]*=/, "", each[n]); print "mkdir -p " each[n] }
            print "mount" (type == "" ? "" : " -t " type) (options == "" ? "" : " -o " options) " " (source == "" ? type : source) " " destination
        }
    ' "$1/runtime.json" | sh -e
}

# Volumes: what is written goes over what came with the image.
for volume in /containers/volumes/*; do
    mount -t tmpfs tmpfs "$volume/tmp"
    mkdir "$volume/tmp/upper" "$volume/tmp/work"
    mount -t overlay -o "lowerdir=$volume/lower,upperdir=$volume/tmp/upper,workdir=$volume/tmp/work" overlay "$volume/merged"
done

for bundle in /containers/onboot/*; do
    prepare "$bundle" || echo "SYSTEM BAD $bundle cannot be prepared"
    runc run --bundle "$bundle" "${bundle##*/}" </dev/null || echo "SYSTEM BAD $bundle"
done

containerd --log-level error >/run/containerd.log 2>&1 &
tries=0
until ctr version >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 60 ] || { echo "SYSTEM BAD containerd"; cat /run/containerd.log; break; }
    sleep 1
done
for bundle in /containers/services/*; do
    name=${bundle##*/}
    prepare "$bundle" || echo "SYSTEM BAD $bundle cannot be prepared"
    sed "s#\"path\": \"rootfs\"#\"path\": \"$bundle/rootfs\"#" "$bundle/config.json" >"/run/$name.json"
    ctr --namespace services run --config "/run/$name.json" "$name" </dev/null || { echo "SYSTEM BAD $bundle"; tail -n 3 /run/containerd.log; }
done
echo "SYSTEM done"
poweroff -f
