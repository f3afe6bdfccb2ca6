//! Which modules import each other in a circle.
//!
//! The rule: at every level of a crate, the modules beside one another, each with all that is below it, import each other in no circle.
//! A module and what is below it (`x.rs`, `x/y.rs`) are one seen from outside, and free inside: the parent uses its children's items and
//! they use its own, for it is one module cut into files. What a parent only passes on counts as its owner's. Tests do not count.
//!
//! It is read from the text: `use` declarations, and paths that begin with `crate::` or `super::`.

use std::collections::{BTreeMap, BTreeSet};

/// A module's place in its crate: none is the crate's root.
type Place = Vec<String>;

/// The modules of one crate.
#[derive(Default)]
pub(crate) struct Modules(BTreeMap<Place, Module>);

struct Module {
    file: String,
    imports: Vec<Import>,
}

struct Import {
    path: Vec<String>,
    /// What it is called here.
    name: String,
}

impl Modules {
    /// Adds a file, `path` being counted from the crate's root: `emit.rs`, `cli/check.rs`.
    pub(crate) fn add(&mut self, dir: &str, path: &str, text: &str) {
        let place = match path.trim_end_matches(".rs") {
            "lib" | "main" => Place::new(),
            stem => stem.split('/').map(String::from).collect(),
        };
        self.0.insert(place, Module { file: format!("{dir}/{path}"), imports: imports(text) });
    }

    /// Every import that is part of a circle, in words.
    pub(crate) fn circles(&self) -> Vec<String> {
        let mut levels: BTreeMap<&[String], Vec<Edge<'_>>> = BTreeMap::new();
        for (place, module) in &self.0 {
            for import in &module.imports {
                let Some(owner) = self.owner(place, &import.path) else { continue };
                let common = place.iter().zip(&owner).take_while(|(a, b)| a == b).count();
                let (Some(from), Some(to)) = (place.get(common), self.0.get_key_value(&owner).and_then(|(owner, _)| owner.get(common)))
                else {
                    continue;
                };
                let said = format!("{} imports {} of {}", module.file, import.path.join("::"), self.0[&owner].file);
                levels.entry(&place[..common]).or_default().push(Edge { from, to, said });
            }
        }
        let found: BTreeSet<String> = levels.into_values().flat_map(in_circles).collect();
        found.into_iter().collect()
    }

    /// The module that has what a path names, seen from `from`; none when it is of another crate.
    fn owner(&self, from: &[String], path: &[String]) -> Option<Place> {
        let supers = path.iter().take_while(|name| *name == "super").count();
        let (mut at, mut rest) = match path.first()?.as_str() {
            "crate" => (Place::new(), &path[1..]),
            "self" => (from.to_vec(), &path[1..]),
            "super" => (from[..from.len().checked_sub(supers)?].to_vec(), &path[supers..]),
            _ if self.child(from, path).is_some() => (from.to_vec(), path),
            _ => return None,
        };
        while let Some(child) = self.child(&at, rest) {
            (at, rest) = (child, &rest[1..]);
        }
        // What it got from a child is the child's.
        let passed_on = rest.first().and_then(|name| {
            let import = self.0[&at].imports.iter().find(|import| import.name == *name)?;
            let path = import.path.strip_prefix(&["self".to_owned()]).unwrap_or(&import.path);
            self.child(&at, path).and_then(|_| self.owner(&at, path))
        });
        Some(passed_on.unwrap_or(at))
    }

    /// The child of a module that a path goes on with.
    fn child(&self, of: &[String], path: &[String]) -> Option<Place> {
        let child = [of, path.get(..1)?].concat();
        self.0.contains_key(&child).then_some(child)
    }
}

/// An import between two modules of one level.
struct Edge<'a> {
    from: &'a str,
    to: &'a str,
    said: String,
}

/// Everything that edges lead to from one module, itself included.
fn reached<'a>(edges: &[Edge<'a>], start: &'a str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::from([start]);
    let mut next = vec![start];
    while let Some(at) = next.pop() {
        let new = edges.iter().filter(|edge| edge.from == at && reached.insert(edge.to));
        next.extend(new.map(|edge| edge.to));
    }
    reached
}

/// What the edges say that lead back to where they came from.
fn in_circles(edges: Vec<Edge<'_>>) -> Vec<String> {
    let leads_back = |edge: &&Edge<'_>| reached(&edges, edge.to).contains(edge.from);
    edges.iter().filter(leads_back).map(|edge| edge.said.clone()).collect()
}

/// Everything that a file imports. Only what stands before its own tests.
fn imports(text: &str) -> Vec<Import> {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let code: String = text.lines().map(|line| line.split("//").next().unwrap_or_default().to_owned() + "\n").collect();
    let mut found = Vec::new();
    for statement in code.split_inclusive(';') {
        let declaration = statement.rfind("use ").filter(|at| statement[..*at].lines().last().is_none_or(declares));
        let code = match declaration {
            Some(at) => {
                expand("", statement[at + 4..].trim_end_matches(';'), &mut found);
                &statement[..at]
            }
            None => statement,
        };
        found.extend(inline(code));
    }
    found
}

/// Whether what stands before `use` on its line makes it a declaration.
fn declares(before: &str) -> bool {
    matches!(before.trim(), "" | "pub" | "pub(crate)" | "pub(super)")
}

/// `crate::{a::B, c as d}` as `crate::a::B` and `crate::c`.
fn expand(prefix: &str, tree: &str, to: &mut Vec<Import>) {
    let Some((head, rest)) = tree.split_once('{') else {
        let path = format!("{prefix}{tree}");
        let (path, name) = path.split_once(" as ").map_or((path.as_str(), None), |(path, name)| (path, Some(name.trim().to_owned())));
        let path: Vec<String> = path.split("::").map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect();
        let own = if path.last().is_some_and(|name| name == "self") { path.iter().nth_back(1) } else { path.last() };
        to.extend(name.or(own.cloned()).map(|name| Import { path, name }));
        return;
    };
    let inside = rest.rsplit_once('}').map_or(rest, |(inside, _)| inside);
    let (mut depth, mut start) = (0, 0);
    for (at, c) in inside.char_indices().chain([(inside.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                // After the last comma there is nothing.
                if !inside[start..at].trim().is_empty() {
                    expand(&format!("{prefix}{}", head.trim()), inside[start..at].trim(), to);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// The paths in a piece of code that begin with `crate::` or `super::`.
fn inline(code: &str) -> Vec<Import> {
    let words = code.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
    let paths = words.filter(|word| word.starts_with("crate::") || word.starts_with("super::"));
    let import = |path: &str| {
        let path: Vec<String> = path.split("::").filter(|name| !name.is_empty()).map(String::from).collect();
        // Nobody gets at it by a name.
        Import { path, name: String::new() }
    };
    paths.map(import).collect()
}

#[test]
fn a_circle_is_seen() {
    let circles = |files: &[(&str, &str)]| {
        let mut modules = Modules::default();
        files.iter().for_each(|(path, text)| modules.add("src", path, text));
        modules.circles()
    };
    let direct = circles(&[("a.rs", "use crate::{x::Y, b::{self, B}};"), ("b.rs", "use super::a::A;"), ("x.rs", "")]);
    assert_eq!(direct.len(), 3, "{direct:?}");
    assert_eq!(direct[2], "src/b.rs imports super::a::A of src/a.rs");
    let long =
        circles(&[("a.rs", "fn f() { crate::b::f(); }"), ("b.rs", "pub(crate) use crate::c::C;"), ("c.rs", "use crate::a::{\n    A,\n};")]);
    assert_eq!(long.len(), 3, "{long:?}");
    // By way of the root, and by way of a parent and its child.
    let passed = circles(&[("lib.rs", "mod a; pub use b::B;"), ("a.rs", "use crate::B;"), ("b.rs", "use crate::a;")]);
    assert_eq!(passed.len(), 2, "{passed:?}");
    let rooms = circles(&[("a.rs", ""), ("a/x.rs", "use crate::b::B;"), ("b.rs", "use crate::a::A;")]);
    assert_eq!(rooms.len(), 2, "{rooms:?}");
}

#[test]
fn what_is_no_circle_is_let_be() {
    let mut modules = Modules::default();
    let files = [
        ("lib.rs", "mod a;\nmod b;\npub use a::A;\npub struct Own;"),
        ("a.rs", "//! Not a `use crate::b::B;`.\nmod x;\nuse crate::Own;\nuse x::X;\nuse std::fmt;"),
        ("a/x.rs", "use super::Y;\nuse crate::Own;"),
        ("b.rs", "use crate::{A, Own};\n#[cfg(test)]\nmod tests {\n    use super::*;\n}"),
        ("c.rs", "use crate::a::A;\n#[cfg(test)]\nmod tests {\n    use crate::d::D;\n}"),
        ("d.rs", "use crate::c::C;"),
    ];
    files.iter().for_each(|(path, text)| modules.add("src", path, text));
    assert_eq!(modules.circles(), Vec::<String>::new());
}
