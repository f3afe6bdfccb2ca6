//! What the machine can do at all: a row beside others, so that the distance shows. These commands make nothing that anybody wants.

use formats::{
    Env, Silent,
    compress::{Codec, Encoding},
};
use moby::input::{Opening, open_plain};
use std::{io, num::NonZeroUsize, path::Path};

/// The word before a codec, a level and a file: with these this program packs the file on all cores and keeps nothing.
const PACK: &str = "pack-alone";

/// A runner of a race.
pub type Runner<'a> = (&'a str, String, &'a str);

/// Copying the data of a file, whose holes stay holes.
pub fn copy(file: &str) -> Runner<'static> {
    ("limit: cp", format!("cp --reflink=never {file} limit.out"), "limit.out")
}

/// Reading files and writing them as one.
pub fn cat(files: &str) -> Runner<'static> {
    ("limit: cat", format!("cat {files} > limit.out"), "limit.out")
}

/// Packing the data of a file on all cores with the codec that ours has, and nothing else.
pub fn pack(codec: Codec, level: u32, file: &str) -> Runner<'static> {
    let program = std::env::current_exe().expect("this program");
    ("limit: codec alone", format!("{} {PACK} {} {level} {file}", program.display(), codec.name()), "none")
}

/// Packs where the arguments ask for that, and says whether they did.
pub fn is_packing() -> bool {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let [word, codec, level, file] = words.as_slice() else { return false };
    if word != PACK {
        return false;
    }
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let codec = Codec::written().find(|known| known.name() == codec).expect("a codec");
    let encoding = Encoding::new(codec, Some(level.parse().expect("a level"))).expect("a level of that codec");
    let blob = open_plain(Path::new(file), &Opening::default(), &mut Env::scratch(threads)).expect("a file");
    encoding.write(&blob, NonZeroUsize::new(threads).expect("one at least"), &Silent, &mut io::sink()).expect("a file that is read");
    true
}
