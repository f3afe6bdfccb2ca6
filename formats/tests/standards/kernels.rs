//! Kernels from packages, and their modules: what dpkg-deb, rpm2cpio, GNU tar and depmod make of the same.

use crate::support::{Desk, env, run};
use formats::{
    Blob, Kind,
    modules::{Modules, Selection, Set},
    package::{self, KernelPackage, Packages},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    fs,
    path::{Path, PathBuf},
};

/// A release of nobody's. depmod wants a number, a dot and a number in front.
const RELEASE: &str = "9.0-test";

/// A package of Debian, as `tests/setup.sh` downloaded it.
fn debian(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/debian/kernel-packages").join(name)
}

fn blob(path: &Path) -> Blob {
    Blob::from(fs::read(path).unwrap_or_else(|error| panic!("{}: {error}; tests/setup.sh makes it", path.display())))
}

fn read(packages: &[&Path]) -> formats::Result<KernelPackage> {
    let mut read = Packages::default();
    for path in packages {
        let file = blob(path);
        read.add(&file, package::probe(&file)?.expect("a package"), &mut env(2))?;
    }
    read.finish()
}

fn select(package: &KernelPackage, set: &str) -> Selection {
    Modules::of(&package.modules).unwrap().select(&set.parse().unwrap(), &mut env(2)).unwrap()
}

/// Runs a script of the shell in a directory.
fn sh(directory: &Path, script: &str) -> String {
    run("sh", &[&"-euc", &format!("cd '{}'\n{script}", directory.display())])
}

fn count<T: Ord>(mut counts: BTreeMap<T, usize>, one: T) -> BTreeMap<T, usize> {
    *counts.entry(one).or_default() += 1;
    counts
}

/// An index of depmod's: its lines without remarks, what stands behind a colon as a set.
fn lines(text: &str) -> BTreeMap<(String, BTreeSet<String>), usize> {
    let parted = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let (head, needs) = line.split_once(": ").unwrap_or((line.trim_end_matches(':'), ""));
        (head.to_owned(), needs.split(' ').map(str::to_owned).collect())
    });
    parted.fold(BTreeMap::new(), count)
}

/// Two indexes have the same lines, as often.
fn same<T: Ord + Debug>(ours: &BTreeMap<T, usize>, theirs: &BTreeMap<T, usize>, name: &str) {
    let only = |these: &BTreeMap<T, usize>, those: &BTreeMap<T, usize>| -> Vec<String> {
        these.iter().filter(|(line, n)| those.get(*line) != Some(*n)).take(9).map(|(line, n)| format!("{n} {line:?}")).collect()
    };
    assert!(ours == theirs, "{name}: we {:#?}, depmod {:#?}", only(ours, theirs), only(theirs, ours));
}

/// The selection of all modules is what depmod said of a directory with `lib/modules/RELEASE`.
fn as_depmod_has_it(all: &Selection, root: &Path, release: &str) {
    let index = |name: &str| fs::read_to_string(root.join("lib/modules").join(release).join(name)).unwrap();
    // Where there is no modules.order, depmod has the order of the directory.
    let sorted = |text: &str| text.lines().map(str::to_owned).fold(BTreeMap::new(), count);
    for (ours, name) in [(&all.alias, "modules.alias"), (&all.softdep, "modules.softdep")] {
        same(&sorted(ours), &sorted(&index(name)), name);
    }
    let dep = index("modules.dep");
    assert_eq!(dep.lines().count(), all.modules.len());
    same(&lines(&all.dep), &lines(&dep), "modules.dep");
    // Whatever is loaded first stands last, so every line holds those of the modules in it.
    let needs: BTreeMap<&str, Vec<&str>> =
        all.dep.lines().filter_map(|line| line.split_once(':')).map(|(path, needs)| (path, needs.split_whitespace().collect())).collect();
    for (path, line) in &needs {
        for (nth, need) in line.iter().enumerate() {
            assert!(needs[need].iter().all(|deeper| line[nth + 1..].contains(deeper)), "{path}: {need}");
        }
    }
}

/// Every module of Debian's cloud kernel, and the kernel itself.
#[test]
fn kernels_of_debian_are_what_dpkg_and_depmod_say() {
    let desk = Desk::new();
    let (deb, root) = (debian("linux-image.deb"), desk.path("root"));
    run("dpkg-deb", &[&"-x", &deb, &root]);
    let package = read(&[&deb]).unwrap();
    let release = package.release.clone().unwrap();
    let kernel = fs::read(root.join(format!("boot/vmlinuz-{release}"))).unwrap();
    assert!(package.kernel.to_vec(1 << 30).unwrap() == kernel);
    let all = select(&package, "all");
    assert!(all.modules.len() > 1000, "{}", all.modules.len());
    let directory = root.join("lib/modules").join(&release);
    for (path, body) in &all.modules {
        assert!(body.to_vec(1 << 30).unwrap() == fs::read(directory.join(path)).unwrap(), "{path}");
    }
    run("depmod", &[&"-b", &root, &release]);
    as_depmod_has_it(&all, &root, &release);

    // The set that machines boot with: closed, and small enough for a BIOS to read it.
    let boot = select(&package, "boot");
    let (all, lines_of_boot) = (lines(&all.dep), lines(&boot.dep));
    assert!(lines_of_boot.keys().all(|line| all.contains_key(line)));
    let chosen: BTreeSet<_> = boot.modules.iter().map(|(path, _)| path.as_str()).collect();
    assert!(lines_of_boot.keys().flat_map(|(_, needs)| needs).all(|need| need.is_empty() || chosen.contains(need.as_str())));
    for name in ["virtio_blk", "virtio_net", "squashfs", "overlay", "crc32c-intel", "nls_ascii", "dm-verity"] {
        assert!(chosen.iter().any(|path| path.ends_with(&format!("/{name}.ko"))), "{name}");
    }
    let len: u64 = boot.modules.iter().map(|(_, body)| body.len()).sum();
    assert!(chosen.len() < 100 && len < 10 << 20, "{} modules, {len} bytes", chosen.len());
    let modules = Modules::of(&package.modules).unwrap();
    assert!(["ext4", "nvme", "crc32c-generic"].into_iter().all(|name| modules.is_builtin(name)), "in Debian's cloud kernel they are");

    let error = read(&[&debian("linux-image-cloud.deb")]).unwrap_err();
    assert!(error.kind() == Kind::BadInput && error.hint_text().unwrap().contains(&format!("linux-image-{release}")), "{error}");
}

/// A kernel with the modules of a `boot` set of Debian's, for packages of our own.
fn small(root: &Path) -> (KernelPackage, Selection) {
    let package = read(&[&debian("linux-image.deb")]).unwrap();
    let boot = select(&package, "boot");
    let directory = root.join("lib/modules").join(RELEASE);
    for (path, body) in &boot.modules {
        fs::create_dir_all(directory.join(path).parent().unwrap()).unwrap();
        fs::write(directory.join(path), body.to_vec(1 << 30).unwrap()).unwrap();
    }
    // While they are not compressed: Debian's depmod knows no gzip.
    run("depmod", &[&"-b", &root, &RELEASE]);
    // Its own release would tell that these are not its modules.
    let mut kernel = package.kernel.to_vec(1 << 30).unwrap();
    let version = 0x200 + usize::from(u16::from_le_bytes([kernel[0x20e], kernel[0x20f]]));
    let release = format!("{RELEASE} ");
    kernel[version..version + release.len()].copy_from_slice(release.as_bytes());
    fs::create_dir_all(root.join("boot")).unwrap();
    fs::write(root.join(format!("boot/vmlinuz-{RELEASE}")), kernel).unwrap();
    (package, boot)
}

/// What comes out of packages of the modules in `root` is what was put in, whatever the package compresses and how.
fn is_the_same(packages: &[&Path], root: &Path, boot: &Selection) {
    let found = read(packages).unwrap();
    let kernel = fs::read_dir(root.join("boot")).unwrap().next().unwrap().unwrap().path();
    assert!(found.kernel.to_vec(1 << 30).unwrap() == fs::read(kernel).unwrap());
    assert_eq!(found.release.as_deref(), Some(RELEASE));
    let all = select(&found, "all");
    assert_eq!(all.modules.len(), boot.modules.len());
    let wanted: BTreeMap<_, _> = boot.modules.iter().map(|(path, body)| (path, body)).collect();
    for (path, body) in &all.modules {
        assert!(body.to_vec(1 << 30).unwrap() == wanted[path].to_vec(1 << 30).unwrap(), "{path}");
    }
    as_depmod_has_it(&all, root, RELEASE);
}

/// Packages of dpkg-deb's, with modules compressed by others.
#[test]
fn kernels_in_debs_however_they_are_compressed() {
    let desk = Desk::new();
    let root = desk.path("root");
    let (_, boot) = small(&root);
    fs::create_dir_all(root.join("DEBIAN")).unwrap();
    fs::write(root.join("DEBIAN/control"), "Package: kernel\nVersion: 1\nArchitecture: all\nMaintainer: me\nDescription: test\n").unwrap();
    let deb = desk.path("kernel.deb");
    for (build, pack) in [
        ("-Zxz", "find lib -name '*.ko' -exec xz -0 --check=crc32 {} +"),
        ("-Znone", "find lib -name '*.ko.xz' -exec xz -d {} +"),
        ("-Zzstd", "find lib -name '*.ko' -exec gzip -1 {} +"),
        ("-Zgzip", "find lib -name '*.ko.gz' -exec gzip -d {} + ; find lib -name '*.ko' -exec zstd -q --rm {} +"),
    ] {
        sh(&root, pack);
        run("dpkg-deb", &[&"--root-owner-group", &build, &"-z1", &"-b", &root, &deb]);
        is_the_same(&[&deb], &root, &boot);
    }
}

/// Packages of rpmbuild's, cut as Fedora cuts them; and one that only requires others.
#[test]
fn kernels_in_rpms_cut_into_packages() {
    let desk = Desk::new();
    let root = desk.path("root");
    let (_, boot) = small(&root);
    let spec = format!(
        "Name: kernel\nVersion: 9.0\nRelease: test\nSummary: s\nLicense: l\nRequires: kernel-core-uname-r = {RELEASE}\n\
         %description\nd\n%package core\nSummary: s\n%description core\nd\n%package modules-core\nSummary: s\n%description modules-core\nd\n\
         %install\nmkdir -p %{{buildroot}}/lib\ncp -a '{root}/lib/modules' %{{buildroot}}/lib/\n\
         cp '{root}/boot/vmlinuz-{RELEASE}' %{{buildroot}}/lib/modules/{RELEASE}/vmlinuz\nln -s ../source %{{buildroot}}/lib/modules/{RELEASE}/build\n\
         ln %{{buildroot}}/lib/modules/{RELEASE}/vmlinuz %{{buildroot}}/lib/modules/{RELEASE}/.vmlinuz.link\n\
         %files\n%files core\n/lib/modules/{RELEASE}/vmlinuz\n/lib/modules/{RELEASE}/.vmlinuz.link\n/lib/modules/{RELEASE}/build\n\
         %files modules-core\n/lib/modules/{RELEASE}/kernel\n/lib/modules/{RELEASE}/modules.*\n",
        root = root.display()
    );
    fs::write(desk.path("kernel.spec"), spec).unwrap();
    for payload in ["w3.zstdio", "w1.xzdio", "w1.gzdio"] {
        let defines = [
            format!("_topdir {}", desk.path("top").display()),
            format!("_binary_payload {payload}"),
            "_build_id_links none".into(),
            "debug_package %{nil}".into(),
            "__os_install_post %{nil}".into(),
            "_rpmfilename %%{NAME}.rpm".into(),
        ];
        let mut arguments = vec!["-bb".to_owned(), "--quiet".into(), desk.path("kernel.spec").display().to_string()];
        arguments.extend(defines.into_iter().flat_map(|define| ["--define".to_owned(), define]));
        let arguments: Vec<&dyn crate::support::AsArg> = arguments.iter().map(|one| one as _).collect();
        run("rpmbuild", &arguments);
        let rpm = |name: &str| desk.path("top").join("RPMS").join(format!("{name}.rpm"));
        let (core, modules) = (rpm("kernel-core"), rpm("kernel-modules-core"));
        is_the_same(&[&core, &modules], &root, &boot);
        let error = read(&[&rpm("kernel")]).unwrap_err();
        let hint = error.hint_text().unwrap();
        assert!(error.kind() == Kind::BadInput && hint == "it depends on these, one of which may have it: kernel-core-uname-r", "{hint}");
        assert!(read(&[&modules]).unwrap_err().to_string().contains(&format!("there are modules of {RELEASE} in it, and no kernel")));
        // The kernel, as rpm2cpio unpacks it.
        let script =
            format!("mkdir -p out && cd out && rpm2cpio '{}' | cpio -id --quiet && cat lib/modules/{RELEASE}/vmlinuz", core.display());
        sh(&desk.path("top"), &format!("{script} | cmp - '{}/boot/vmlinuz-{RELEASE}'", root.display()));
    }
}

/// Alpine's package, three gzip tars in one, as abuild makes it; and Arch's.
#[test]
fn kernels_in_tars() {
    let desk = Desk::new();
    let root = desk.path("root");
    let (_, boot) = small(&root);
    fs::rename(root.join(format!("boot/vmlinuz-{RELEASE}")), root.join("boot/vmlinuz-virt")).unwrap();
    let script = "find lib -name '*.ko' -exec gzip -1 {} +
        printf 'pkgname = linux-virt\\ndepend = initramfs-generator\\n' >.PKGINFO; echo signature >.SIGN.RSA.me
        for part in .SIGN.RSA.me .PKGINFO; do tar -b1 -c $part | head -c -1024 | gzip; done >../linux-virt.apk
        tar --format=pax -c boot lib | gzip -1 >>../linux-virt.apk
        tar -c .PKGINFO boot lib | zstd -q >../linux.pkg.tar.zst
        printf 'pkgname = linux\\ndepend = linux-lts>=6.6\\ndepend = !old\\n' >.PKGINFO; tar -c .PKGINFO | gzip >../meta.apk
        rm .PKGINFO .SIGN.RSA.me";
    sh(&root, script);
    for package in ["linux-virt.apk", "linux.pkg.tar.zst"] {
        is_the_same(&[&desk.path(package)], &root, &boot);
    }
    let error = read(&[&desk.path("meta.apk")]).unwrap_err();
    assert_eq!(error.hint_text().unwrap(), "it depends on these, one of which may have it: linux-lts");
}

/// The modules of a set do not depend on the number of cores.
#[test]
fn kernels_have_one_selection() {
    let package = read(&[&debian("linux-image.deb")]).unwrap();
    let modules = Modules::of(&package.modules).unwrap();
    let of = |threads| modules.select(&Set::Boot, &mut env(threads)).unwrap();
    let (one, four) = (of(1), of(4));
    assert_eq!((one.dep, one.alias, one.softdep), (four.dep, four.alias, four.softdep));
    assert!(one.modules.iter().zip(&four.modules).all(|(a, b)| a.0 == b.0));
}
