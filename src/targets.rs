//! Where the files of a conversion go, and what they are called.

use crate::{
    convert::Artifact,
    emit::{self, Body, Target},
    error::{Error, Kind, Result},
    in_use::{self, Use},
    input::{FileId, STDIN},
    outputs::{OUTPUTS, Output, SHARED},
    stores::Stores,
};
use formats::{FORMATS, compare, compress::Codec};
use std::{
    fs::File,
    io::IsTerminal,
    path::{Path, PathBuf},
};

/// How the user wants files to be called.
#[derive(Clone, Debug, Default)]
pub(crate) struct Naming {
    /// The one file of the one output.
    pub output: Option<PathBuf>,
    /// What the names begin with; the input's name when absent.
    pub name: Option<String>,
    /// Where they go.
    pub dir: PathBuf,
    /// What outputs are compressed with that can be.
    pub codec: Option<Codec>,
    /// Whether what exists stays.
    pub no_clobber: bool,
    /// How places are reached that are no paths.
    pub stores: Stores,
}

/// A file of an output: the number of the output, the number of the file in its row, and where it goes. Files that several outputs
/// share are there once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) output: usize,
    pub(crate) file: usize,
    /// Where it goes.
    pub target: Target,
}

impl Naming {
    /// Where each file goes.
    ///
    /// # Errors
    /// When two files would have one name, `-o` does not fit, or a file exists that must stay.
    pub(crate) fn places(&self, input: &Path, outputs: &[&Output]) -> Result<Vec<Place>> {
        let places = self.planned(input, outputs)?;
        places.iter().try_for_each(|place| self.may_write(&place.target))?;
        Ok(places)
    }

    /// Where each file goes, whatever is there now.
    ///
    /// # Errors
    /// When two files would have one name, or `-o` does not fit.
    pub(crate) fn planned(&self, input: &Path, outputs: &[&Output]) -> Result<Vec<Place>> {
        let mut places: Vec<Place> = Vec::new();
        for (number, output) in outputs.iter().enumerate() {
            let packed = self.codec.filter(|_| output.is_compressible());
            for (file, suffix) in output.files.iter().enumerate() {
                let target = self.target(input, &format!("{suffix}{}", packed.map_or("", Codec::ending)), outputs)?;
                if let (Some(codec), Target::Path(path)) = (packed, &target)
                    && emit::is_device(path)
                {
                    let what = format!("{target} is a device, which would take {codec} data for what it is to hold");
                    return Err(Error::unsupported(what).hint("leave out --compress-output, or name a file with -o"));
                }
                match places.iter().find(|earlier| earlier.target == target) {
                    Some(_) if SHARED.contains(suffix) => {}
                    Some(other) => {
                        let (other, one) = (outputs[other.output].name, output.name);
                        return Err(Error::bad_input(format!("formats {other} and {one} would both write {target}"))
                            .hint("run them one by one, with another --name or --dir"));
                    }
                    None => places.push(Place { output: number, file, target }),
                }
            }
        }
        Ok(places)
    }

    fn target(&self, input: &Path, suffix: &str, outputs: &[&Output]) -> Result<Target> {
        let Some(path) = &self.output else {
            let name = self.base_name(input)? + suffix;
            return self.in_directory(name);
        };
        let files: usize = outputs.iter().map(|o| o.files.len()).sum();
        if files != 1 {
            let names: Vec<_> = outputs.iter().map(|o| o.name).collect();
            let makes = if names.len() == 1 { "makes" } else { "make" };
            let what = format!("-o takes one file, {} {makes} {files}", names.join(" and "));
            return Err(Error::bad_input(what).hint("use --name and --dir instead of -o"));
        }
        self.at(path)
    }

    /// What a path, an address or a dash leads to.
    ///
    /// # Errors
    /// When it is an address that no store has.
    pub(crate) fn at(&self, path: &Path) -> Result<Target> {
        match path.to_str().map(|text| self.stores.at(text)).transpose()?.flatten() {
            Some(there) => Ok(Target::Remote(there)),
            None if path == Path::new(STDIN) => Ok(Target::Stdout),
            None => Ok(Target::Path(path.to_owned())),
        }
    }

    /// A name in the directory.
    fn in_directory(&self, name: String) -> Result<Target> {
        let address = self.dir.to_str().map(|dir| format!("{}/{name}", dir.trim_end_matches('/')));
        match address.map(|address| self.stores.at(&address)).transpose()?.flatten() {
            Some(there) => Ok(Target::Remote(there)),
            None if self.dir == Path::new(".") => Ok(Target::Path(name.into())),
            None => Ok(Target::Path(self.dir.join(name))),
        }
    }

    /// What the names begin with, where a name is known under which files can lie beside each other.
    ///
    /// # Errors
    /// As [`Naming::places`].
    pub(crate) fn stem(&self, input: &Path) -> Result<Option<String>> {
        match &self.output {
            None => self.base_name(input).map(Some),
            Some(path) if path == Path::new(STDIN) || path.exists() && !path.is_file() => Ok(None),
            Some(path) => Ok(path.file_name().and_then(|name| name.to_str()).map(|name| bare(name).to_owned())),
        }
    }

    /// Every file of a run with its place: a file that outputs share once, and the extents of a disk in front of the file that names them, so
    /// that nothing ever names what is not there.
    ///
    /// # Errors
    /// When an extent would replace what nobody named: an input, another output, a file of which this run replaces nothing else. When files
    /// that are shared are not the same: a fault of ours.
    pub(crate) fn files(&self, places: &[Place], artifacts: &[Artifact], inputs: &[FileId]) -> Result<Vec<(Target, Body)>> {
        refuse_different(places, artifacts)?;
        let mut files: Vec<(Target, Body)> = Vec::new();
        for Place { output, file, target } in places {
            let artifact = &artifacts[*output];
            if *file == 0 {
                for (name, extent) in &artifact.extents {
                    let beside = beside(target, name)?;
                    let others = places.iter().map(|place| &place.target).chain(files.iter().map(|(target, _)| target));
                    self.may_add(&beside, target, others, inputs)?;
                    files.push((beside, extent.clone().into()));
                }
            }
            files.push((target.clone(), Body { blob: artifact.files[*file].clone(), encoding: artifact.encoding }));
        }
        Ok(files)
    }

    /// Refuses to write a file that the user did not name where something is, unless it belongs to the disk that is replaced.
    fn may_add<'a>(&self, target: &Target, first: &Target, mut others: impl Iterator<Item = &'a Target>, inputs: &[FileId]) -> Result<()> {
        refuse_inputs([target], inputs)?;
        if others.any(|other| other == target) {
            return Err(Error::bad_input(format!("{first} and another output would both write {target}")).hint("give them other names"));
        }
        // By a link the disk would be opened in one directory, and by its name in another.
        if let Target::Path(path) = first
            && path.is_symlink()
        {
            let what = format!("{first} is a symbolic link, and the other files of the disk lie beside it");
            return Err(Error::unsupported(what).hint("name the file that it leads to"));
        }
        if let (Target::Path(path), Target::Path(first)) = (target, first)
            && path.symlink_metadata().is_ok()
            && !(path.is_file() && first.is_file())
        {
            let what = format!("{target} exists, and is of no disk that this run replaces");
            return Err(Error::bad_input(what).hint("remove it, or choose another name for the output"));
        }
        self.may_write(target)
    }

    /// What the names begin with.
    fn base_name(&self, input: &Path) -> Result<String> {
        if let Some(name) = &self.name {
            // On Windows that is also one without \ and without a drive.
            return if Path::new(name).file_name() == Some(name.as_ref()) {
                Ok(name.clone())
            } else {
                let what = format!("--name '{}' must be a file name without a directory", name.escape_debug());
                Err(Error::bad_input(what).hint("say the directory with --dir"))
            };
        }
        if input == Path::new(STDIN) {
            return Ok("image".to_owned());
        }
        let name = input.file_name().and_then(|n| n.to_str()).ok_or_else(|| {
            Error::bad_input(format!("{} has no name to name the outputs after", input.display())).hint("give one with --name")
        })?;
        Ok(bare(name).to_owned())
    }

    /// Refuses a terminal, a file that must stay, and one that others use.
    ///
    /// # Errors
    /// Names it.
    pub(crate) fn may_write(&self, target: &Target) -> Result<()> {
        match target {
            Target::Stdout if std::io::stdout().is_terminal() => {
                Err(Error::bad_input("standard output is a terminal").hint("redirect it, or name a file with -o"))
            }
            Target::Path(path) if self.no_clobber && path.symlink_metadata().is_ok() => {
                Err(Error::bad_input(format!("{} exists and --no-clobber is given", path.display())))
            }
            // Of others who use it we hear now what we can; a device is asked when it is opened.
            Target::Path(path) if path.is_file() => {
                let used = File::open(path).map_or(Ok(()), |file| in_use::refuse_others(&file, Use::Replace));
                used.map_err(|error| error.hint("stop what uses it, or choose another name").at(path.display()))
            }
            _ => Ok(()),
        }
    }
}

/// Refuses to replace a file that is read.
///
/// # Errors
/// Names it.
pub(crate) fn refuse_inputs<'a>(targets: impl IntoIterator<Item = &'a Target>, inputs: &[FileId]) -> Result<()> {
    let is_input = |target: &&Target| match target {
        Target::Path(path) => FileId::of(path).is_some_and(|id| inputs.contains(&id)),
        Target::Stdout | Target::Remote(_) => false,
    };
    match targets.into_iter().find(is_input) {
        Some(target) => Err(Error::bad_input(format!("{target} is an input and would be overwritten"))
            .hint("name another file with -o, or others with --name or --dir")),
        None => Ok(()),
    }
}

/// Refuses artifacts whose shared files are not the same whoever made them.
fn refuse_different(places: &[Place], artifacts: &[Artifact]) -> Result<()> {
    for artifact in artifacts {
        for (suffix, body) in artifact.output.files.iter().zip(&artifact.files) {
            let shared = places.iter().find(|place| artifacts[place.output].output.files[place.file] == *suffix);
            if let Some(shared) = shared.filter(|_| SHARED.contains(suffix))
                && !compare::same(&artifacts[shared.output].files[shared.file], body)?
            {
                return Err(Error::new(Kind::Bug, format!("two outputs make different files {suffix}")));
            }
        }
    }
    Ok(())
}

/// A file of this name in the directory of another.
fn beside(target: &Target, name: &str) -> Result<Target> {
    match target {
        Target::Path(path) => Ok(Target::Path(path.with_file_name(name))),
        Target::Remote(there) => Ok(Target::Remote(there.beside(name)?)),
        Target::Stdout => Err(Error::new(Kind::Bug, "a disk in several files without names")),
    }
}

/// A file name without the endings that say how it is packed and what it is: `disk.vmdk` and `disk.tar.gz` are `disk`.
pub(crate) fn bare(name: &str) -> &str {
    const TARS: [&str; 5] = [".tar", ".tgz", ".txz", ".tbz", ".box"];
    let strip = |name, endings: &mut dyn Iterator<Item = String>| -> Option<&str> {
        let name: &str = name;
        endings.filter_map(|ending| name.strip_suffix(&ending)).filter(|rest| !rest.is_empty()).min_by_key(|rest| rest.len())
    };
    let owned = |endings: &'static [&'static str]| endings.iter().map(|ending| (*ending).to_owned());
    let (name, _) = Codec::of_name(name);
    let of_outputs = OUTPUTS.iter().flat_map(|output| output.files).filter(|suffix| suffix.starts_with('.'));
    let of_formats = FORMATS.iter().map(|format| format!(".{}", format.name()));
    let mut known = of_outputs.map(|suffix| (*suffix).to_owned()).chain(of_formats).chain(owned(&TARS));
    strip(name, &mut known).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::find;

    fn places(naming: &Naming, formats: &[&str]) -> Result<Vec<String>> {
        let outputs: Vec<&Output> = formats.iter().map(|name| find(name).unwrap()).collect();
        let places = naming.places(Path::new("in/box.tar.gz"), &outputs)?;
        Ok(places.into_iter().map(|place| place.target.to_string()).collect())
    }

    #[test]
    fn names_say_what_a_file_is_no_more() {
        for (name, base) in [
            ("disk.vmdk", "disk"),
            ("image.tar.zst", "image"),
            ("a.b.img", "a.b"),
            ("app.img.tar.gz", "app.img"),
            ("x.tgz", "x"),
            (".img", ".img"),
            ("plain", "plain"),
            ("disk.vhd.xz", "disk"),
            ("v1.2", "v1.2"),
            ("app-libvirt.box", "app-libvirt"),
            ("disk.raw.lz4", "disk"),
        ] {
            assert_eq!(bare(name), base, "{name}");
        }
    }

    #[test]
    fn equal_files_are_shared_and_others_clash() {
        let naming = Naming { dir: "out".into(), ..Naming::default() };
        let both = places(&naming, &["kernel+initrd", "kernel+squashfs"]).unwrap();
        assert_eq!(both, ["out/box-kernel", "out/box-initrd.img", "out/box-cmdline", "out/box-squashfs.img"]);
        let clash = places(&naming, &["qcow2", "qcow2-bios"]).unwrap_err().to_string();
        assert_eq!(clash, "formats qcow2 and qcow2-bios would both write out/box.qcow2");
        let two = places(&Naming { output: Some("x".into()), ..Naming::default() }, &["raw", "qcow2"]).unwrap_err().to_string();
        assert_eq!(two, "-o takes one file, raw and qcow2 make 2");
    }

    #[test]
    fn a_name_stays_in_its_directory() {
        let named = |name: &str| places(&Naming { name: Some(name.into()), ..Naming::default() }, &["raw"]);
        assert_eq!(named("v1.2").unwrap(), ["v1.2.img"]);
        for name in ["", ".", "..", "a/b", "/a", "a/"] {
            assert!(named(name).unwrap_err().to_string().contains("must be a file name"), "{name}");
        }
    }

    #[test]
    fn what_is_read_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("base.qcow2");
        std::fs::write(&path, "").unwrap();
        let target = Target::Path(directory.path().join("./base.qcow2"));
        let id = FileId::of(&path).unwrap();
        assert!(refuse_inputs([&target], &[id]).unwrap_err().to_string().ends_with("is an input and would be overwritten"));
        assert!(refuse_inputs([&target], &[]).is_ok());
    }
}
