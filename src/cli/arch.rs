//! Architectures as Go names them, which container images do.

/// Go's name of this machine's.
pub(super) fn host() -> String {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
    .to_owned()
}
