//! Linker arguments of the two halves; on the host both are empty programs.

fn main() {
    println!("cargo:rerun-if-changed=src/bios/bios.ld");
    let os = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    let here = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let arguments: &[&str] = match os.as_str() {
        // A flat file: what a bzImage is. Position independent, because a relocatable kernel runs where it was loaded.
        "none" => &["--oformat=binary", "--build-id=none", "--no-dynamic-linker"],
        // Without these a PE carries a path of this machine and the time of the build.
        "uefi" => &["/DEBUG:NONE", "/Brepro"],
        _ => &[],
    };
    let half = if os == "none" { "bios" } else { "efi" };
    for argument in arguments {
        println!("cargo:rustc-link-arg-bin=testkernel-{half}={argument}");
    }
    if os == "none" {
        println!("cargo:rustc-link-arg-bin=testkernel-bios=-T{here}/src/bios/bios.ld");
    }
}
