//! Packages that are a tar, compressed or not, with the files where they belong.
//!
//! ```text
//!  apk of Alpine     gzip( .SIGN.* ) gzip( .PKGINFO, scripts ) gzip( files ): the tars in the first two have no end, so it is one
//!  .pkg.tar of Arch  zstd( .BUILDINFO .MTREE .PKGINFO, files )
//!  make tar-pkg      of Linux: boot/vmlinuz-RELEASE, lib/modules/RELEASE
//! ```
//! Version 3 of apk is another format, in which Alpine has no packages yet: refused by name.
//!
//! Oracle: GNU tar and gzip, which make one.

use super::{Kind, about, front, unpacked};
use crate::{Blob, Env, Error, Result, tar, tree::Builder};

pub(super) const KIND: Kind = Kind { probe, unpack, depends };

/// What a package of apk 3 begins with; the fourth byte says how it is compressed.
const APK3: [u8; 3] = *b"ADB";

fn probe(file: &Blob) -> Result<bool> {
    Ok(is_apk3(file)? || tar::probe(&front(file, 512)?)?)
}

fn is_apk3(file: &Blob) -> Result<bool> {
    let [start @ .., compression] = if file.len() < 4 { [0; 4] } else { file.read_array(0)? };
    Ok(start == APK3 && matches!(compression, b'.' | b'c' | b'd'))
}

fn unpack(file: &Blob, tree: &mut Builder, env: &mut Env) -> Result<()> {
    if is_apk3(file)? {
        let what = "is a package of apk 3, which is not read";
        return Err(Error::unsupported(what).hint("`apk extract` unpacks it: give the directory"));
    }
    let archive = unpacked(file, env)?;
    tar::Members::new(&archive).try_for_each(|member| member?.add_to(tree))
}

/// `depend = name>=1`, one a line; what begins with `!` must not be there.
fn depends(file: &Blob) -> Result<Vec<String>> {
    let about = about(file, b".PKGINFO")?;
    let values = about.lines().filter_map(|line| line.strip_prefix("depend")?.trim_start().strip_prefix('='));
    let names = values.map(|value| value.trim().split(['<', '>', '=', '~']).next().unwrap_or_default());
    Ok(names.filter(|name| !name.is_empty() && !name.starts_with(['!', '/'])).map(str::to_owned).collect())
}
