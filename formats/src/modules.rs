//! Modules of Linux: which of them a machine needs, with all that they depend on, and the indexes that depmod(8) would make of these.
//!
//! ```text
//!  lib/modules/RELEASE/  kernel/.../NAME.ko[.gz|.xz|.zst], or in updates/    modules.order    modules.builtin
//! ```
//! Everything is told by the modules' own `.modinfo`, as packages come without indexes: `depends=`, `softdep=`, `alias=`. Names
//! are compared as Linux has them, `_` for `-`; of two modules of one name that in `updates/` counts, as for depmod.
//!
//! Modules are handed out unpacked, for few kernels unpack them by themselves (`CONFIG_MODULE_DECOMPRESS`); what stands behind the ELF file, a
//! signature, stays.
//!
//! Oracle: depmod.

mod boot;
mod modinfo;

use crate::{
    At, Blob, Env, Error, Result, Tree,
    compress::{self, Codec},
    likeness::nearest,
    parallel, plain,
    tree::{Content, ShowPath},
    units,
};
use modinfo::Modinfo;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    io::Read,
    str::FromStr,
};

/// Most bytes of a module, unpacked.
const MODULE_MAX: u64 = 128 * units::MIB;
/// Most bytes of all modules that are kept.
const MODULES_MAX: u64 = 4 * units::GIB;
/// Most modules that one needs, itself among them; a real one needs some twenty.
const CLOSURE_MAX: usize = 128;
/// Most bytes of an index, of a list, and of what all modules say about themselves.
const TEXT_MAX: u64 = 64 * units::MIB;

/// Which modules are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Set {
    /// What machines boot with: drivers of their disks, networks and consoles, file systems.
    #[default]
    Boot,
    /// All.
    All,
    /// What machines boot with, and these.
    Plus(Vec<String>),
}

/// `boot`, `all`, `+NAME,NAME`.
impl FromStr for Set {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match (text, text.strip_prefix('+')) {
            ("boot", _) => Ok(Self::Boot),
            ("all", _) => Ok(Self::All),
            (_, Some(names)) if names.split(',').all(|name| !name.is_empty()) => {
                Ok(Self::Plus(names.split(',').map(String::from).collect()))
            }
            _ => {
                let what = format!("'{text}' is no set of modules, must be 'boot', 'all' or '+' and names");
                Err(Error::bad_input(what).hint("as in +nf_tables,wireguard"))
            }
        }
    }
}

/// The modules of one release.
#[derive(Debug)]
pub struct Modules {
    /// In the order in which depmod lists them.
    files: Vec<File>,
    /// Where in `files` a name is.
    places: BTreeMap<String, usize>,
    builtin: BTreeSet<String>,
    /// The list of these.
    builtin_list: Option<Blob>,
}

/// A module's file.
#[derive(Debug)]
struct File {
    /// Its path below `lib/modules/RELEASE`, without the ending of a compression.
    path: String,
    /// As Linux calls it.
    name: String,
    body: Blob,
}

/// Modules that were chosen, with indexes of these alone.
#[derive(Debug, Default)]
pub struct Selection {
    /// Paths below `lib/modules/RELEASE`, and the modules, unpacked.
    pub modules: Vec<(String, Blob)>,
    /// `modules.dep`: what each needs, whatever is to be loaded first standing last.
    pub dep: String,
    /// `modules.alias`: patterns of devices and other names, and the modules for them.
    pub alias: String,
    /// `modules.softdep`: what else is to be loaded before or behind some.
    pub softdep: String,
    /// `modules.builtin`: what needs no module, as far as the kernel's package says.
    pub builtin: Option<Blob>,
}

impl Selection {
    /// All files by their paths below `lib/modules/RELEASE`, indexes last; none where there is no module.
    pub fn files(self) -> Vec<(String, Blob)> {
        let mut files = self.modules;
        if !files.is_empty() {
            let indexes = [("modules.dep", self.dep), ("modules.alias", self.alias), ("modules.softdep", self.softdep)];
            files.extend(indexes.map(|(name, text)| (name.to_owned(), Blob::from(text.into_bytes()))));
            files.extend(self.builtin.map(|list| ("modules.builtin".to_owned(), list)));
        }
        files
    }
}

impl Modules {
    /// The modules of a tree that has `lib/modules/RELEASE`. None is looked into.
    ///
    /// # Errors
    /// When a path cannot stand in an index, or a list is damaged.
    pub fn of(tree: &Tree) -> Result<Self> {
        let mut files = Vec::new();
        let (mut order, mut builtin, mut builtin_list) = (HashMap::new(), BTreeSet::new(), None);
        for entry in &tree.names {
            let Content::File(body) = &tree.inodes[entry.inode].content else { continue };
            let Some(path) = entry.path.splitn(4, |byte| *byte == b'/').nth(3) else { continue };
            let place = || format!("entry {}", ShowPath(&entry.path));
            match path {
                b"modules.order" => order = (0..).zip(list(body).at(place)?).map(|(nth, path)| (path, nth)).collect(),
                b"modules.builtin" => {
                    builtin = list(body).at(place)?.iter().map(|path| name(path)).collect();
                    builtin_list = Some(body.clone());
                }
                _ if is_module(path) => {
                    let path = fit(path).at(place)?;
                    let (path, _) = Codec::of_name(path);
                    files.push(File { path: path.to_owned(), name: name(path), body: body.clone() });
                }
                _ => {}
            }
        }
        // Stable: what is in no list stays in the order of paths.
        files.sort_by_key(|file| order.get(&file.path).copied().unwrap_or(usize::MAX));
        let mut places = BTreeMap::new();
        for (place, file) in files.iter().enumerate() {
            let known = places.entry(file.name.clone()).or_insert(place);
            if is_update(&file.path) && !is_update(&files[*known].path) {
                *known = place;
            }
        }
        Ok(Self { files, places, builtin, builtin_list })
    }

    /// The names of all, without those that are built in.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }

    /// Whether the kernel has what a module of this name would bring, as a module or built in.
    pub fn has(&self, name: &str) -> bool {
        self.places.contains_key(&normal(name)) || self.is_builtin(name)
    }

    /// Whether what a module of this name would bring is built in.
    pub fn is_builtin(&self, name: &str) -> bool {
        self.builtin.contains(&normal(name))
    }

    /// The modules of a set with all that they depend on. Those that were compressed are unpacked into the spool.
    ///
    /// # Errors
    /// When a module is damaged, or one that the user names is not there. What depends on something that is not there is warned of.
    pub fn select(&self, set: &Set, env: &mut Env) -> Result<Selection> {
        let every: Vec<usize> = self.places.values().copied().collect::<BTreeSet<_>>().into_iter().collect();
        let (infos, bodies) = self.read(&every, *set == Set::All, env)?;
        let graph = Graph::new(self, &every, &infos);
        let more: &[String] = if let Set::Plus(names) = set { names } else { &[] };
        if let Some(name) = more.iter().find(|name| graph.named(name).is_empty() && !self.is_builtin(name)) {
            return Err(self.lacks(name));
        }
        let chosen: BTreeSet<usize> = match set {
            Set::All => every.iter().copied().collect(),
            Set::Boot | Set::Plus(_) => {
                graph.closure(boot::names().flat_map(|name| graph.named(name)).chain(more.iter().flat_map(|name| graph.named(name))))
            }
        };
        graph.warn_of_missing(&chosen, env);
        let chosen: Vec<usize> = chosen.into_iter().collect();
        let bodies = if *set == Set::All { bodies } else { self.read(&chosen, true, env)?.1 };
        let mut selection = graph.indexes(&chosen)?;
        selection.builtin = self.builtin_list.clone();
        selection.modules = chosen.iter().map(|file| self.files[*file].path.clone()).zip(bodies).collect();
        Ok(selection)
    }

    fn lacks(&self, name: &str) -> Error {
        let error = Error::bad_input(format!("the kernel has no module '{}'", plain::line(name)));
        let known: Vec<_> = self.names().collect();
        match nearest(&normal(name), &known) {
            Some(nearest) => error.hint(format!("did you mean '{nearest}'?")),
            None if known.is_empty() => error.hint("there are no modules with it: give the kernel as its distribution's package"),
            None => error,
        }
    }

    /// What modules say of themselves, and, where they are kept, they, unpacked.
    fn read(&self, places: &[usize], is_kept: bool, env: &mut Env) -> Result<(Vec<Modinfo>, Vec<Blob>)> {
        let (mut infos, mut bodies) = (Vec::new(), Vec::new());
        let (mut told, mut kept) = (0, 0);
        let spool = &mut env.spool;
        parallel::ordered(
            env.threads,
            places.iter().map(|place| Ok(&self.files[*place])),
            |file| {
                let body = file.unpacked().at(|| file.place())?;
                let info = Modinfo::of(&body).at(|| file.place())?;
                Ok((file, info, is_kept.then_some(body)))
            },
            |(file, info, body)| {
                told += info.len();
                kept += body.as_ref().map_or(0, Blob::len);
                if told > TEXT_MAX || kept > MODULES_MAX {
                    let (told, kept) = (units::show_size(TEXT_MAX), units::show_size(MODULES_MAX));
                    return Err(Error::bad_input(format!("with it, modules have more than {kept}, or say more than {told} of themselves"))
                        .at(file.place()));
                }
                infos.push(info);
                if let Some(body) = body {
                    let is_packed = Codec::of(&file.body)? != Codec::None;
                    bodies.push(if is_packed { spool.copy(&mut body.reader())? } else { body });
                }
                Ok(())
            },
        )?;
        Ok((infos, bodies))
    }
}

impl File {
    /// What errors call it.
    fn place(&self) -> String {
        format!("module {}", self.path)
    }

    /// The module as it is loaded: in memory where it was compressed.
    fn unpacked(&self) -> Result<Blob> {
        let codec = Codec::of(&self.body)?;
        if codec == Codec::None {
            return Ok(self.body.clone());
        }
        let mut bytes = Vec::new();
        compress::reader(codec, self.body.reader())?.take(MODULE_MAX).read_to_end(&mut bytes)?;
        match units::bytes(bytes.len()) {
            MODULE_MAX => Err(Error::unsupported(format!("it unpacks to {} or more", units::show_size(MODULE_MAX)))),
            _ => Ok(Blob::from(bytes)),
        }
    }
}

/// Who needs whom.
struct Graph<'a> {
    modules: &'a Modules,
    /// By the place of a module.
    infos: HashMap<usize, &'a Modinfo>,
    /// Who answers to an alias, word for word.
    aliases: HashMap<String, Vec<usize>>,
}

impl<'a> Graph<'a> {
    fn new(modules: &'a Modules, places: &[usize], infos: &'a [Modinfo]) -> Self {
        let mut aliases: HashMap<_, Vec<_>> = HashMap::new();
        for (place, info) in places.iter().zip(infos) {
            for alias in info.aliases() {
                aliases.entry(normal(alias)).or_default().push(*place);
            }
        }
        Self { modules, infos: places.iter().copied().zip(infos).collect(), aliases }
    }

    /// The module of a name, or those that it is an alias of, as modprobe(8) would have it.
    fn named(&self, name: &str) -> Vec<usize> {
        let name = normal(name);
        match self.modules.places.get(&name) {
            Some(place) => vec![*place],
            None => self.aliases.get(&name).cloned().unwrap_or_default(),
        }
    }

    /// What a module cannot be loaded without, as far as it is there.
    fn needs(&self, place: usize) -> impl Iterator<Item = usize> {
        self.infos[&place].depends().filter_map(|name| self.modules.places.get(&normal(name)).copied())
    }

    /// Modules with all that they need or want.
    fn closure(&self, of: impl Iterator<Item = usize>) -> BTreeSet<usize> {
        let mut pending: Vec<usize> = of.collect();
        let (mut closure, mut wanted) = (BTreeSet::new(), HashSet::new());
        while let Some(place) = pending.pop() {
            if closure.insert(place) {
                pending.extend(self.needs(place));
                let new = self.infos[&place].soft().filter(|name| wanted.insert(*name));
                pending.extend(new.flat_map(|name| self.named(name)));
            }
        }
        closure
    }

    /// A module and what it needs, in the order of loading.
    fn loading(&self, place: usize) -> Result<Vec<usize>> {
        let mut order = Vec::new();
        let mut seen = BTreeSet::from([place]);
        // A module stands in it until those that it needs are in the order.
        let mut pending = vec![(place, self.needs(place))];
        while let Some((at, needs)) = pending.last_mut() {
            match needs.find(|need| seen.insert(*need)) {
                Some(need) => pending.push((need, self.needs(need))),
                None => {
                    order.push(*at);
                    pending.pop();
                }
            }
            if seen.len() > CLOSURE_MAX {
                let what = format!("it needs more than {CLOSURE_MAX} modules, at most so many are taken");
                return Err(Error::bad_input(what).at(self.modules.files[place].place()));
            }
        }
        Ok(order)
    }

    fn warn_of_missing(&self, chosen: &BTreeSet<usize>, env: &Env) {
        /// More are not told of.
        const TOLD_MAX: usize = 8;
        let missing = chosen.iter().flat_map(|place| self.infos[place].depends().map(move |name| (place, name)));
        for (place, name) in missing.filter(|(_, name)| !self.modules.has(name)).take(TOLD_MAX) {
            let module = &self.modules.files[*place].name;
            env.progress.warn(&format!("module {module} needs {}, which is not among the kernel's", plain::line(name)));
        }
    }

    /// The indexes of modules, in depmod's words.
    fn indexes(&self, places: &[usize]) -> Result<Selection> {
        let mut made = Selection {
            alias: "# Aliases extracted from modules themselves.\n".to_owned(),
            softdep: "# Soft dependencies extracted from modules themselves.\n".to_owned(),
            ..Selection::default()
        };
        for place in places {
            let (file, info) = (&self.modules.files[*place], self.infos[place]);
            made.dep += &file.path;
            made.dep.push(':');
            for need in self.loading(*place)?.iter().rev().skip(1) {
                made.dep.push(' ');
                made.dep += &self.modules.files[*need].path;
            }
            made.dep.push('\n');
            let name = &file.name;
            info.aliases().for_each(|alias| made.alias += &format!("alias {alias} {name}\n"));
            info.softdeps().for_each(|softdep| made.softdep += &format!("softdep {name} {softdep}\n"));
            if units::bytes(made.dep.len().max(made.alias.len())) > TEXT_MAX {
                return Err(Error::bad_input(format!("the indexes of its modules have more than {}", units::show_size(TEXT_MAX))));
            }
        }
        Ok(made)
    }
}

/// The lines of a list.
fn list(body: &Blob) -> Result<Vec<String>> {
    let text = body.to_vec(TEXT_MAX)?;
    Ok(String::from_utf8_lossy(&text).lines().map(str::to_owned).collect())
}

/// Whether a file is a module by its name: what else there is in these directories has no magic.
fn is_module(path: &[u8]) -> bool {
    Codec::of_name(&String::from_utf8_lossy(path)).0.ends_with(".ko")
}

/// A path that may stand in an index.
fn fit(path: &[u8]) -> Result<&str> {
    let path = std::str::from_utf8(path).ok().filter(|path| path.chars().all(|c| plain::is_plain(c) && !c.is_whitespace() && c != ':'));
    path.ok_or_else(|| Error::bad_input("its path has blanks, colons or controls, or is not UTF-8: no index can hold it"))
}

/// The name of the module in a file, as Linux has it.
fn name(path: &str) -> String {
    let base = path.rsplit('/').next().unwrap_or_default();
    normal(base.strip_suffix(".ko").unwrap_or(base))
}

fn normal(name: &str) -> String {
    name.replace('-', "_")
}

fn is_update(path: &str) -> bool {
    path.starts_with("updates/")
}

#[cfg(test)]
mod tests;
