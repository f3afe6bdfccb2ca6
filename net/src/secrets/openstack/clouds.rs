//! OpenStack's `clouds.yaml`: for each cloud settings, those in `auth` beside the others. `secure.yaml` beside it adds to it.
//!
//! Every value is a text, or nothing. Aliases of YAML are not followed.

use super::super::{Secret, environment::Environment};
use formats::{At, Error, Result};
use granit_parser::{Event, Parser, ScalarStyle, options};
use serde_json::{Map, Value};
use std::{
    collections::HashMap,
    env, fs, io,
    path::{Path, PathBuf},
};

/// More levels than this nobody writes.
const DEPTH_MAX: usize = 32;

/// The settings of one cloud, by their names; each may be a secret.
pub(super) type Settings = HashMap<String, Secret>;

/// Where the file may be; the first that is there counts.
pub(super) fn files(env: &Environment) -> Vec<PathBuf> {
    let config = env.path("XDG_CONFIG_HOME").or_else(|| env.in_home(".config"));
    let places = [env::current_dir().ok(), config.map(|dir| dir.join("openstack")), Some(PathBuf::from("/etc/openstack"))];
    let beside = places.into_iter().flatten().map(|dir| dir.join("clouds.yaml"));
    env.path("OS_CLIENT_CONFIG_FILE").into_iter().chain(beside).collect()
}

/// The settings of a cloud, and the file that has them.
///
/// # Errors
/// Bad input: no file is there, or the first one is broken or has no such cloud.
pub(super) fn cloud(env: &Environment, name: &str) -> Result<(Settings, PathBuf)> {
    let files = files(env);
    for file in &files {
        let Some(clouds) = read(file)? else { continue };
        let mut settings = Settings::new();
        let secrets = read(&file.with_file_name("secure.yaml"))?;
        let mut is_there = false;
        for all in [Some(clouds), secrets].iter().flatten() {
            if let Some(Value::Object(cloud)) = all.get("clouds").and_then(|clouds| clouds.get(name)) {
                is_there = true;
                add(&mut settings, cloud);
            }
        }
        if !is_there {
            return Err(Error::bad_input(format!("has no cloud '{name}', which OS_CLOUD names")).at(file.display()));
        }
        return Ok((settings, file.clone()));
    }
    let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
    Err(Error::bad_input(format!("OS_CLOUD is '{name}', but none of these files is there: {}", files.join(", "))))
}

/// Settings that are texts, those of `auth` among them.
fn add(settings: &mut Settings, from: &Map<String, Value>) {
    let of_auth = from.get("auth").and_then(Value::as_object);
    for (name, value) in from.iter().chain(of_auth.into_iter().flatten()) {
        if let Some(text) = value.as_str().filter(|text| !text.is_empty()) {
            settings.insert(name.clone(), Secret::new(text));
        }
    }
}

/// A file, if it is there.
fn read(path: &Path) -> Result<Option<Value>> {
    match fs::read_to_string(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        text => text.map_err(Error::from).and_then(|text| parse(&text)).at(|| path.display()).map(Some),
    }
}

/// The first document of a text.
fn parse(text: &str) -> Result<Value> {
    let mut tree = Tree::default();
    for event in Parser::new_from_str_with_options(text, options! { emit_comments: false }) {
        let (event, span) = event.map_err(|e| Error::bad_input(format!("line {}: {}", e.marker().line(), e.info())))?;
        match event {
            Event::DocumentEnd => break,
            event => tree.take(event).at(|| format!("line {}", span.start.line()))?,
        }
    }
    Ok(tree.root)
}

/// What is put together out of events.
#[derive(Default)]
struct Tree {
    /// Collections whose end was not seen yet, each with the key whose value comes next.
    open: Vec<(Value, Option<String>)>,
    root: Value,
}

impl Tree {
    fn take(&mut self, event: Event<'_>) -> Result<()> {
        match event {
            Event::Scalar(text, ScalarStyle::Plain, ..) if matches!(&*text, "" | "~" | "null") => self.put(Value::Null)?,
            Event::Scalar(text, ..) => self.put(Value::String(text.into_owned()))?,
            Event::SequenceStart(..) => self.open.push((Value::Array(Vec::new()), None)),
            Event::MappingStart(..) => self.open.push((Value::Object(Map::new()), None)),
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some((value, _)) = self.open.pop() {
                    self.put(value)?;
                }
            }
            Event::Alias(_) => return Err(Error::unsupported("has an alias, which moby does not follow").hint("write its value out")),
            _ => {}
        }
        if self.open.len() > DEPTH_MAX { Err(Error::bad_input(format!("nested deeper than {DEPTH_MAX} levels"))) } else { Ok(()) }
    }

    fn put(&mut self, value: Value) -> Result<()> {
        match self.open.last_mut() {
            None => self.root = value,
            Some((Value::Array(values), _)) => values.push(value),
            Some((Value::Object(map), key)) => match key.take() {
                Some(key) => drop(map.insert(key, value)),
                None => match value {
                    Value::String(text) => *key = Some(text),
                    _ => return Err(Error::bad_input("a key is a list or a mapping, must be a text")),
                },
            },
            Some(_) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn yaml_becomes_texts() {
        let text =
            "clouds:\n  a: # comment\n    auth: {password: 0123, x: [1, 'two']}\n    verify: false\n    empty:\n    none: ~\n---\nsecond\n";
        let wanted =
            json!({"clouds": {"a": {"auth": {"password": "0123", "x": ["1", "two"]}, "verify": "false", "empty": null, "none": null}}});
        assert_eq!(parse(text).unwrap(), wanted);
    }

    #[test]
    fn what_is_broken_is_named_by_its_line() {
        for (text, words) in [
            ("a: &x 1\nb: *x\n", "line 2: has an alias"),
            ("a: [1\nb: 2", "line 2: "),
            ("? [a]\n: b\n", "line 1: a key is a list or a mapping"),
            (&format!("{}{}", "[".repeat(40), "]".repeat(40)), "line 1: nested deeper than 32 levels"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.starts_with(words), "{error}");
        }
    }
}
