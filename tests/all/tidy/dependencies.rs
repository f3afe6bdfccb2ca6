//! What we depend on, held against deny.toml: no banned crate, no other licence, no other source. `cargo deny`, which takes minutes to
//! compile, judges by the same file in `make nightly`; this is the part of it that nobody should have to wait for.

use super::{none, root};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

/// What deny.toml says.
struct Policy {
    licences: BTreeSet<String>,
    /// A crate, and who may depend on it all the same.
    banned: BTreeMap<String, BTreeSet<String>>,
}

/// The words between quotation marks.
fn quoted(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split('"').skip(1).step_by(2).map(str::to_owned)
}

fn policy() -> Policy {
    let text = fs::read_to_string(root().join("deny.toml")).unwrap();
    let lines = || text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let allow = lines().find(|line| line.starts_with("allow = ")).unwrap();
    let deny = lines().skip_while(|line| *line != "deny = [").skip(1).take_while(|line| *line != "]");
    let ban = |line| {
        let mut words = quoted(line);
        (words.next().unwrap(), words.collect())
    };
    Policy { licences: quoted(allow).collect(), banned: deny.map(ban).collect() }
}

/// `AND` and `OR` of licences, as SPDX writes them and, with a slash for `OR`, as old crates do.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    fn any<'a>(words: &mut impl Iterator<Item = &'a str>, allowed: &BTreeSet<String>) -> bool {
        let (mut one_is, mut all_are) = (false, None);
        let also = |all_are: Option<bool>, is: bool| Some(all_are.unwrap_or(true) && is);
        while let Some(word) = words.next() {
            match word {
                "(" => all_are = also(all_are, any(words, allowed)),
                ")" => break,
                "AND" => {}
                "OR" => one_is |= all_are.take() == Some(true),
                // An exception takes nothing away.
                "WITH" => _ = words.next(),
                licence => all_are = also(all_are, allowed.contains(licence)),
            }
        }
        one_is || all_are == Some(true)
    }
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    any(&mut spaced.split_whitespace(), allowed)
}

/// What ships, as `cargo tree` prints it: depth, package and licence, for every edge of the graph. What only tests use may be more.
fn tree(manifest: &str) -> String {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["tree", "--locked", "--workspace", "--all-features", "--target", "all", "--edges", "normal,build", "--prefix", "depth"]);
    let out = cargo.args(["--format", "|{p}|{l}|", "--manifest-path"]).arg(root().join(manifest)).output().unwrap();
    assert!(out.status.success(), "cargo tree: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// What in a tree is against the policy.
fn against(policy: &Policy, tree: &str) -> BTreeSet<String> {
    let mut findings = BTreeSet::new();
    let mut above: Vec<String> = Vec::new();
    for line in tree.lines().filter(|line| !line.is_empty()) {
        let [depth, package, licence, _] = line.splitn(4, '|').collect::<Vec<_>>().try_into().expect("as the format says");
        let name = package.split(' ').next().unwrap().to_owned();
        above.truncate(depth.parse().unwrap());
        if !is_allowed(licence, &policy.licences) {
            findings.insert(format!("{package}: its licence is {licence:?}"));
        }
        if package.contains("://") {
            findings.insert(format!("{package}: it is from no registry"));
        }
        if let (Some(user), Some(wrappers)) = (above.last(), policy.banned.get(&name))
            && !wrappers.contains(user)
        {
            findings.insert(format!("{name}: {user} depends on it"));
        }
        above.push(name);
    }
    assert!(tree.lines().count() > 3, "{tree}");
    findings
}

#[test]
fn what_ships_depends_on_nothing_that_is_banned() {
    let policy = policy();
    let found = ["Cargo.toml", "boot/Cargo.toml"].into_iter().flat_map(|manifest| against(&policy, &tree(manifest)));
    none("dependencies against deny.toml", found);
}

#[test]
fn a_banned_dependency_would_be_found() {
    let mut policy = policy();
    policy.licences.remove("CDLA-Permissive-2.0");
    policy.banned.get_mut("rustls").unwrap().remove("ureq");
    policy.banned.insert("clap".to_owned(), BTreeSet::new());
    let found = against(&policy, &tree("Cargo.toml"));
    for wanted in ["rustls: ureq depends on it", "clap: moby depends on it", "its licence is \"CDLA-Permissive-2.0\""] {
        assert!(found.iter().any(|finding| finding.contains(wanted)), "{wanted} is not among {found:?}");
    }
    assert!(is_allowed("(MIT/Apache-2.0) AND ISC", &policy.licences) && is_allowed("GPL-3.0 OR MIT", &policy.licences));
    assert!(!is_allowed("MIT AND GPL-3.0", &policy.licences) && !is_allowed("", &policy.licences));
}
