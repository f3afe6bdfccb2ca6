//! Debian's packages: deb(5).
//!
//! ```text
//!  ar: "debian-binary" | "control.tar.*" with ./control | "data.tar.*": the files
//! ```
//! Either tar is plain or compressed in any way that is read.
//!
//! Oracle: dpkg-deb.

use super::{Kind, about, unpacked};
use crate::{At, Blob, Env, Error, Result, ar, tar, tree::Builder};

pub(super) const KIND: Kind = Kind { probe, unpack, depends };

/// An archive's first member says that it is a package.
fn probe(file: &Blob) -> Result<bool> {
    Ok(ar::probe(file)? && matches!(ar::Members::new(file).next(), Some(Ok(first)) if first.name == b"debian-binary"))
}

fn unpack(file: &Blob, tree: &mut Builder, env: &mut Env) -> Result<()> {
    let data = unpacked(&member(file, "data.tar")?, env).at(|| "data.tar")?;
    tar::Members::new(&data).try_for_each(|member| member?.add_to(tree)).at(|| "data.tar")
}

/// The tar whose name begins so.
fn member(file: &Blob, start: &str) -> Result<Blob> {
    for member in ar::Members::new(file) {
        let ar::Member { name, body } = member?;
        if name.strip_prefix(start.as_bytes()).is_some_and(|rest| rest.is_empty() || rest.starts_with(b".")) {
            return Ok(body);
        }
    }
    Err(Error::bad_input(format!("it has no {start}, as every Debian package has")).hint("it is truncated, or not a package"))
}

/// `Depends: a (>= 1) | b, c:any`, the value of which goes on in lines that begin with a blank. Of alternatives the first.
fn depends(file: &Blob) -> Result<Vec<String>> {
    let control = about(&member(file, "control.tar")?, b"control")?.replace("\n ", " ").replace("\n\t", " ");
    let values = control.lines().filter_map(|line| line.strip_prefix("Depends:").or_else(|| line.strip_prefix("Pre-Depends:")));
    let names = values.flat_map(|value| value.split(',')).map(|one| one.trim().split([' ', '(', '|', ':']).next().unwrap_or_default());
    Ok(names.filter(|name| !name.is_empty()).map(str::to_owned).collect())
}
