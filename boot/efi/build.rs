//! Linker arguments of the EFI application; on the host it is an empty program.

fn main() {
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "uefi") {
        // Without these the PE carries a path of this machine and the time of the build.
        for argument in ["/DEBUG:NONE", "/Brepro"] {
            println!("cargo:rustc-link-arg-bins={argument}");
        }
    }
}
