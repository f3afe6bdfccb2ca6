//! Links both stages by their scripts into flat files: what comes out of cargo is what stands on the disk.

fn main() {
    let here = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    for stage in ["stage1", "stage2"] {
        // bios.ld, which both include, is found by -L.
        for arg in ["--oformat=binary", "--no-pie", "--build-id=none", &format!("-L{here}"), &format!("-T{stage}.ld")] {
            println!("cargo:rustc-link-arg-bin={stage}={arg}");
        }
    }
    for file in ["build.rs", "bios.ld", "stage1.ld", "stage2.ld"] {
        println!("cargo:rerun-if-changed={file}");
    }
}
