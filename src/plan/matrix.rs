//! What a matrix says: TOML 1.0, read into lists whose every value knows its line.
//!
//! ```toml
//! dir = "out"                            # where outputs go: a directory, or a place in a store
//! args = ["--initrd-level", "3"]         # words of every command line
//! metadata = true                        # beside the outputs of each row, ID.json
//! format = ["qcow2", "raw,vhdx"]         # outputs: one row for each
//! target = ["aws", "gcp"]                # platforms: one row for each
//! [[input]]                              # path, and, where wanted, name and args
//! path = "a.tar"
//! [[exclude]]                            # the rows of these values are left out
//! input = "a"
//! [[include]]                            # what is added to the rows of these values; or a row of its own
//! format = "iso"
//! args = ["-j", "1"]
//! ```

use crate::{
    error::{At, Error, Result},
    names::{self, find},
    outputs::Output,
    platforms::Platform,
    targets,
};
use formats::oci::Reference;
use std::{fmt, ops::Range, path::Path};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// A value, and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Said<T> {
    pub(super) value: T,
    pub(super) at: Place,
}

/// A place in a matrix: file, line and key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    file: String,
    line: usize,
    key: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.key)
    }
}

/// Words of a command line.
pub(super) type Words = Option<Said<Vec<String>>>;

/// A matrix.
#[derive(Debug)]
pub(super) struct Matrix {
    pub(super) dir: String,
    pub(super) args: Words,
    pub(super) metadata: bool,
    pub(super) inputs: Vec<Input>,
    pub(super) formats: Vec<Said<String>>,
    pub(super) targets: Vec<Said<String>>,
    pub(super) excludes: Vec<Entry>,
    pub(super) includes: Vec<Entry>,
}

/// An input.
#[derive(Clone, Debug)]
pub(super) struct Input {
    pub(super) at: Place,
    pub(super) path: String,
    /// What it is called, in the matrix and in the names of its outputs.
    pub(super) name: String,
    pub(super) args: Words,
}

/// A row of `include` or `exclude`.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) at: Place,
    /// An input of the matrix, by its name.
    pub(super) input: Option<String>,
    /// An input of its own.
    pub(super) path: Option<Said<String>>,
    pub(super) format: Option<String>,
    pub(super) target: Option<String>,
    pub(super) name: Option<Said<String>>,
    pub(super) args: Words,
}

impl Matrix {
    /// Understands a text; `file` is what messages call it.
    ///
    /// # Errors
    /// Names the first mistake with its line and key.
    pub(super) fn parse(file: &str, text: &str) -> Result<Self> {
        let root = DeTable::parse(text).map_err(|refused| {
            let at = refused.span().map_or(0, |span| span.start);
            Error::bad_input(refused.message()).at(format!("{file}:{}", line(text, at)))
        })?;
        let keys = &["dir", "args", "metadata", "input", "format", "target", "exclude", "include"];
        let root = Table::new(root.get_ref(), &Document { file, text }, "", keys)?;
        let inputs: Vec<Input> = root.tables("input", &["path", "name", "args"])?.iter().map(input).collect::<Result<_>>()?;
        for (number, one) in inputs.iter().enumerate() {
            if let Some(first) = inputs[..number].iter().find(|other| other.name == one.name) {
                let what = format!("the input '{}' is there already, in line {}", one.name.escape_debug(), first.at.line);
                return Err(Error::bad_input(what).hint("give one of them another name").at(&one.at));
            }
        }
        let excludes = root.tables("exclude", &["input", "format", "target"])?;
        let includes = root.tables("include", &["input", "path", "format", "target", "name", "args"])?;
        let entries = |tables: &[Table<'_>]| tables.iter().map(|table| entry(table, &inputs)).collect::<Result<Vec<_>>>();
        Ok(Self {
            dir: root.text("dir")?.map_or_else(|| ".".to_owned(), |dir| dir.value),
            args: root.words("args")?,
            metadata: root.flag("metadata")?,
            formats: root.axis("format", format)?,
            targets: root.axis("target", target)?,
            excludes: entries(&excludes)?,
            includes: entries(&includes)?,
            inputs,
        })
    }
}

fn input(table: &Table<'_>) -> Result<Input> {
    let path = table.text("path")?.ok_or_else(|| Error::bad_input("has no path").at(&table.at))?;
    check_path(&path)?;
    let name = table.name("name")?;
    let name = match name {
        Some(name) => name.value,
        None => base_name(&path.value).at(|| &path.at)?,
    };
    Ok(Input { at: path.at, path: path.value, name, args: table.words("args")? })
}

fn entry(table: &Table<'_>, inputs: &[Input]) -> Result<Entry> {
    let input = table.text("input")?;
    let names: Vec<_> = inputs.iter().map(|input| input.name.as_str()).collect();
    if let Some(unknown) = input.as_ref().filter(|input| !names.contains(&input.value.as_str())) {
        return Err(names::unknown("input", &unknown.value, &names).at(&unknown.at));
    }
    let path = table.text("path")?;
    if let Some(path) = &path {
        check_path(path)?;
        if input.is_some() {
            return Err(Error::bad_input("an entry has either input or path").at(&path.at));
        }
    }
    let (of_format, of_target) = (table.text("format")?, table.text("target")?);
    let checked = |value: Option<Said<String>>, check: fn(&str) -> Result<()>| match value {
        Some(said) => check(&said.value).at(|| &said.at).map(|()| Some(said.value)),
        None => Ok(None),
    };
    Ok(Entry {
        at: table.at.clone(),
        input: input.map(|input| input.value),
        path,
        format: checked(of_format, format)?,
        target: checked(of_target, target)?,
        name: table.name("name")?,
        args: table.words("args")?,
    })
}

/// One format, or several that one run makes: `raw,vhdx`.
fn format(value: &str) -> Result<()> {
    value.split(',').try_for_each(|name| find::<&Output>(name).map(drop))
}

fn target(value: &str) -> Result<()> {
    find::<&Platform>(value).map(drop)
}

fn check_path(path: &Said<String>) -> Result<()> {
    match path.value.as_str() {
        "-" => Err(Error::bad_input("standard input is there once, and a plan is run more often").hint("name a file").at(&path.at)),
        text if text.starts_with('-') => {
            Err(Error::bad_input("begins with a dash, as options do").hint(format!("say ./{text}")).at(&path.at))
        }
        "" => Err(Error::bad_input("is empty").at(&path.at)),
        _ => Ok(()),
    }
}

/// What an input is called where nobody says: as its outputs would be.
pub(super) fn base_name(path: &str) -> Result<String> {
    if let Some(name) = path.strip_prefix("oci://") {
        return Ok(name.parse::<Reference>()?.path().rsplit('/').next().unwrap_or_default().to_owned());
    }
    let name =
        Path::new(path).file_name().and_then(|name| name.to_str()).ok_or_else(|| Error::bad_input("has no name").hint("give it one"))?;
    let stem = if is_configuration(path) { name.rsplit_once('.').map_or(name, |(stem, _)| stem) } else { targets::bare(name) };
    Ok(stem.to_owned())
}

/// Whether an input is built, and not converted.
pub(super) fn is_configuration(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|ending| ending == "yml" || ending == "yaml")
}

/// A file that is read.
#[derive(Clone, Copy)]
struct Document<'a> {
    file: &'a str,
    text: &'a str,
}

impl Document<'_> {
    fn place(&self, span: Range<usize>, key: &str) -> Place {
        Place { file: self.file.to_owned(), line: line(self.text, span.start), key: key.to_owned() }
    }
}

/// The line of an offset, counted from 1.
fn line(text: &str, at: usize) -> usize {
    text.as_bytes()[..at.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
}

/// A table whose keys are known.
struct Table<'a> {
    of: &'a DeTable<'a>,
    document: Document<'a>,
    at: Place,
}

impl<'a> Table<'a> {
    /// # Errors
    /// When a key is none of these.
    fn new(of: &'a DeTable<'a>, document: &Document<'a>, key: &str, keys: &[&str]) -> Result<Self> {
        let first = of.keys().map(Spanned::span).min_by_key(|span| span.start).unwrap_or_default();
        let at = document.place(first, key);
        match of.keys().find(|key| !keys.contains(&key.get_ref().as_ref())) {
            Some(unknown) => {
                let place = document.place(unknown.span(), if key.is_empty() { "matrix" } else { key });
                Err(names::unknown("key", unknown.get_ref(), keys).at(place))
            }
            None => Ok(Self { of, document: *document, at }),
        }
    }

    fn get(&self, key: &str) -> Option<(&'a DeValue<'a>, Place)> {
        let value = self.of.get(key)?;
        let full = if self.at.key.is_empty() { key.to_owned() } else { format!("{}: {key}", self.at.key) };
        Some((value.get_ref(), self.document.place(value.span(), &full)))
    }

    fn text(&self, key: &str) -> Result<Option<Said<String>>> {
        let Some((value, at)) = self.get(key) else { return Ok(None) };
        text(value, &at).map(|value| Some(Said { value, at }))
    }

    /// A text that is a file name.
    fn name(&self, key: &str) -> Result<Option<Said<String>>> {
        match self.text(key)? {
            Some(name) if Path::new(&name.value).file_name() != Some(name.value.as_ref()) => {
                let what = format!("'{}' must be a file name without a directory", name.value.escape_debug());
                Err(Error::bad_input(what).hint("say the directory with dir").at(&name.at))
            }
            name => Ok(name),
        }
    }

    fn flag(&self, key: &str) -> Result<bool> {
        let Some((value, at)) = self.get(key) else { return Ok(false) };
        value.as_bool().ok_or_else(|| wrong(value, "true or false").at(&at))
    }

    fn list(&self, key: &str) -> Result<Option<Said<Vec<Said<String>>>>> {
        let Some((value, at)) = self.get(key) else { return Ok(None) };
        let array = value.as_array().ok_or_else(|| wrong(value, "an array of strings").at(&at))?;
        let one = |value: &Spanned<DeValue<'_>>| {
            let at = self.document.place(value.span(), &at.key);
            text(value.get_ref(), &at).map(|value| Said { value, at })
        };
        Ok(Some(Said { value: array.iter().map(one).collect::<Result<_>>()?, at }))
    }

    fn words(&self, key: &str) -> Result<Words> {
        let list = self.list(key)?;
        Ok(list.map(|list| Said { value: list.value.into_iter().map(|word| word.value).collect(), at: list.at }))
    }

    /// The values that each make rows of their own.
    fn axis(&self, key: &str, check: fn(&str) -> Result<()>) -> Result<Vec<Said<String>>> {
        let Some(list) = self.list(key)? else { return Ok(Vec::new()) };
        for (number, said) in list.value.iter().enumerate() {
            check(&said.value).at(|| &said.at)?;
            if list.value[..number].iter().any(|earlier| earlier.value == said.value) {
                return Err(Error::bad_input(format!("'{}' is there twice", said.value.escape_debug())).at(&said.at));
            }
        }
        match list.value.is_empty() {
            true => Err(Error::bad_input("is empty, and would make no row").hint("leave it out").at(&list.at)),
            false => Ok(list.value),
        }
    }

    fn tables(&self, key: &str, keys: &[&str]) -> Result<Vec<Table<'a>>> {
        let Some((value, at)) = self.get(key) else { return Ok(Vec::new()) };
        let expected = "an array of tables";
        let array = value.as_array().ok_or_else(|| wrong(value, expected).hint(format!("write [[{key}]]")).at(&at))?;
        let one = |value: &'a Spanned<DeValue<'a>>| {
            let place = self.document.place(value.span(), key);
            let table = value.get_ref().as_table().ok_or_else(|| wrong(value.get_ref(), "a table").at(&place))?;
            Table::new(table, &self.document, key, keys).map(|table| Table { at: place, ..table })
        };
        array.iter().map(one).collect()
    }
}

fn text(value: &DeValue<'_>, at: &Place) -> Result<String> {
    value.as_str().map(str::to_owned).ok_or_else(|| wrong(value, "a string").at(at))
}

fn wrong(value: &DeValue<'_>, needed: &str) -> Error {
    Error::bad_input(format!("is of type {}, must be {needed}", value.type_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every mistake is said with its line and key.
    #[test]
    fn mistakes_have_a_place() {
        for (text, said) in [
            ("dir = 3", "m.toml:1: dir: is of type integer, must be a string"),
            ("\nformats = []", "m.toml:2: matrix: the key 'formats' is unknown"),
            ("format = [\n  'qcow2',\n  'qcow',\n]", "m.toml:3: format: the format 'qcow' is unknown"),
            ("format = []", "m.toml:1: format: is empty, and would make no row"),
            ("format = ['iso', 'iso']", "m.toml:1: format: 'iso' is there twice"),
            ("target = 'aws'", "m.toml:1: target: is of type string, must be an array of strings"),
            ("target = ['aws', 1]", "m.toml:1: target: is of type integer, must be a string"),
            ("metadata = 'yes'", "m.toml:1: metadata: is of type string, must be true or false"),
            ("input = {path = 'a'}", "m.toml:1: input: is of type table, must be an array of tables"),
            ("[[input]]\nname = 'a'", "m.toml:1: input: has no path"),
            ("[[input]]\npath = '-'", "m.toml:2: input: path: standard input"),
            ("[[input]]\npath = '-x'", "m.toml:2: input: path: begins with a dash"),
            ("[[input]]\npath = ''", "m.toml:2: input: path: is empty"),
            ("[[input]]\npath = '..'", "m.toml:2: input: path: has no name"),
            ("[[input]]\npath = 'a'\nname = 'x/y'", "m.toml:3: input: name: 'x/y' must be a file name"),
            ("[[input]]\npath = 'a.tar'\n[[input]]\npath = 'b/a.tar'", "m.toml:4: input: path: the input 'a' is there already, in line 2"),
            ("[[input]]\npath = 'a'\n[[exclude]]\ninput = 'b'", "m.toml:4: exclude: input: the input 'b' is unknown"),
            ("[[exclude]]\nargs = []", "m.toml:2: exclude: the key 'args' is unknown"),
            ("[[include]]\npath = 'a'\ntarget = 'asw'", "m.toml:3: include: target: the target 'asw' is unknown"),
            ("a = \n", "m.toml:1: "),
            ("dir = 'a'\ndir = 'b'", "m.toml:2: duplicate key"),
            ("dir = '\u{1b}[2J", "m.toml:1: "),
        ] {
            let refused = Matrix::parse("m.toml", text).unwrap_err();
            assert!(refused.to_string().starts_with(said), "{text}\n{refused}\n{said}");
        }
    }

    #[test]
    fn inputs_are_called_as_their_outputs_would_be() {
        for (path, name) in [("in/box.tar.gz", "box"), ("app.yml", "app"), ("oci://ghcr.io/me/app:1", "app"), ("v1.2.yaml", "v1.2")] {
            assert_eq!(base_name(path).unwrap(), name);
        }
    }

    #[test]
    fn deep_nesting_is_no_danger() {
        let deep = format!("args = {}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(Matrix::parse("m.toml", &deep).is_err());
    }
}
