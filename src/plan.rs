//! `moby plan`: a matrix of inputs, outputs and platforms becomes rows, each a command line of its own.
//!
//! ```text
//!  matrix ─► input × format × target ─ exclude ─ include ─► rows { id, args } ─► every engine that runs a command
//! ```
//! `include` and `exclude` are those of GitHub's matrices: an `exclude` takes away every row that has its values; an `include` adds to every
//! row whose values it does not contradict, and where there is none it is a row of its own.
//!
//! The rows are in the order of the file, and depend on nothing but the matrix.

mod key;
mod matrix;
mod shard;

pub(crate) use key::{Digests, is_elsewhere};
pub(crate) use shard::Shard;

use crate::error::{Error, Result};
use formats::units;
use matrix::{Entry, Input, Matrix, Place, Words};
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// Most rows of a matrix: more than any engine takes.
const ROWS_MAX: usize = 1 << 16;
/// Most characters of an identifier: with what engines put around it, it stays a label of DNS (63).
const ID_MAX: usize = 40;
/// Digits of a hash that tell two identifiers apart.
const ID_HASH: usize = 8;

/// A row of a plan.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// What it is called: small letters, digits and single dashes.
    pub(crate) id: String,
    /// The words of its command line in the order of their places: behind each of them the line is longer.
    pieces: Vec<(Place, Vec<String>)>,
}

impl Row {
    /// The command line behind the program's name.
    pub(crate) fn args(&self) -> Vec<String> {
        self.pieces.iter().flat_map(|(_, words)| words.iter().cloned()).collect()
    }

    /// The place to blame for a command line that is refused: of the first piece with which it is.
    pub(crate) fn blame(&self, mut is_refused: impl FnMut(&[String]) -> bool) -> String {
        let mut args = Vec::new();
        for (place, words) in &self.pieces {
            args.extend(words.iter().cloned());
            if is_refused(&args) {
                return place.to_string();
            }
        }
        self.place()
    }

    /// Where it comes from.
    pub(crate) fn place(&self) -> String {
        self.pieces.first().map_or_else(String::new, |(place, _)| place.to_string())
    }
}

/// The rows of a matrix; `file` is what messages call it.
///
/// # Errors
/// Names the first mistake with its line and key.
pub(crate) fn rows(file: &str, text: &str) -> Result<Vec<Row>> {
    let matrix = Matrix::parse(file, text)?;
    let count = [matrix.formats.len(), matrix.targets.len()].iter().fold(matrix.inputs.len(), |all, n| all.saturating_mul((*n).max(1)));
    if count.saturating_add(matrix.includes.len()) > ROWS_MAX {
        return Err(Error::bad_input(format!("makes {count} rows, at most {ROWS_MAX}")).hint("cut it in several").at(file));
    }
    let mut cells = product(&matrix);
    for exclude in &matrix.excludes {
        let before = cells.len();
        cells.retain(|cell| !cell.has(exclude));
        if cells.len() == before {
            return Err(Error::bad_input("there is no such row").hint("leave it out").at(&exclude.at));
        }
    }
    include(&mut cells, &matrix)?;
    if cells.is_empty() {
        return Err(Error::bad_input("makes no row").hint("name inputs: [[input]]").at(file));
    }
    let mut rows: Vec<Row> = cells.iter().map(|cell| cell.row(&matrix)).collect();
    tell_apart(&mut rows);
    if matrix.metadata {
        for row in &mut rows {
            let directory = if matrix.dir == "." { String::new() } else { format!("{}/", matrix.dir.trim_end_matches('/')) };
            let file = format!("{directory}{}.json", row.id);
            row.pieces[0].1.extend(["--metadata-file".to_owned(), file]);
        }
    }
    Ok(rows)
}

/// A row as it comes to be.
#[derive(Clone, Debug)]
struct Cell {
    input: Input,
    format: Option<String>,
    target: Option<String>,
    name: Option<String>,
    /// Whether the values are the matrix's, which nothing replaces.
    is_fixed: [bool; 2],
    more: Vec<Words>,
}

fn product(matrix: &Matrix) -> Vec<Cell> {
    let axis = |values: &[matrix::Said<String>]| match values.is_empty() {
        true => vec![None],
        false => values.iter().map(|said| Some(said.value.clone())).collect(),
    };
    let (formats, targets) = (axis(&matrix.formats), axis(&matrix.targets));
    let mut cells = Vec::new();
    for input in &matrix.inputs {
        for format in &formats {
            for target in &targets {
                let is_fixed = [format.is_some(), target.is_some()];
                let (format, target) = (format.clone(), target.clone());
                cells.push(Cell { input: input.clone(), format, target, name: None, is_fixed, more: Vec::new() });
            }
        }
    }
    cells
}

/// Adds what `include` says, to the rows of the matrix or as rows of its own.
fn include(cells: &mut Vec<Cell>, matrix: &Matrix) -> Result<()> {
    let of_matrix = cells.len();
    for entry in &matrix.includes {
        let mut is_added = false;
        for cell in cells[..of_matrix].iter_mut().filter(|cell| cell.takes(entry)) {
            cell.add(entry);
            is_added = true;
        }
        if !is_added {
            cells.push(of_its_own(entry, matrix)?);
        }
    }
    Ok(())
}

fn of_its_own(entry: &Entry, matrix: &Matrix) -> Result<Cell> {
    let named = |name: &String| matrix.inputs.iter().find(|input| input.name == *name).cloned();
    let input = match (&entry.path, &entry.input) {
        (Some(path), _) => {
            let name = entry.name.as_ref().map_or_else(|| matrix::base_name(&path.value), |name| Ok(name.value.clone()));
            let name = name.map_err(|error| error.at(&path.at))?;
            Some(Input { at: path.at.clone(), path: path.value.clone(), name, args: None })
        }
        (None, name) => name.as_ref().and_then(named),
    };
    let what = "fits no row, and has no input for a row of its own";
    let input = input.ok_or_else(|| Error::bad_input(what).hint("name one with input, or a new one with path").at(&entry.at))?;
    let mut cell = Cell { input, format: None, target: None, name: None, is_fixed: [false; 2], more: Vec::new() };
    cell.add(entry);
    Ok(cell)
}

impl Cell {
    /// Whether it has all the values of an entry.
    fn has(&self, entry: &Entry) -> bool {
        let is = |wanted: &Option<String>, value: Option<&String>| wanted.is_none() || wanted.as_ref() == value;
        is(&entry.input, Some(&self.input.name)) && is(&entry.format, self.format.as_ref()) && is(&entry.target, self.target.as_ref())
    }

    /// Whether an entry contradicts none of the matrix's values.
    fn takes(&self, entry: &Entry) -> bool {
        let free = |wanted: &Option<String>, value: &Option<String>, is_fixed: bool| wanted.is_none() || !is_fixed || wanted == value;
        entry.path.is_none()
            && entry.input.as_ref().is_none_or(|input| *input == self.input.name)
            && free(&entry.format, &self.format, self.is_fixed[0])
            && free(&entry.target, &self.target, self.is_fixed[1])
    }

    fn add(&mut self, entry: &Entry) {
        let replace = |value: &mut Option<String>, new: Option<&String>| {
            if let Some(new) = new {
                *value = Some(new.clone());
            }
        };
        replace(&mut self.format, entry.format.as_ref());
        replace(&mut self.target, entry.target.as_ref());
        replace(&mut self.name, entry.name.as_ref().map(|name| &name.value));
        self.more.push(entry.args.clone());
    }

    fn row(&self, matrix: &Matrix) -> Row {
        // Platforms share formats: their outputs would have one name.
        let name = match (&self.name, &self.target) {
            (Some(name), _) => name.clone(),
            (None, Some(target)) => format!("{}-{target}", self.input.name),
            (None, None) => self.input.name.clone(),
        };
        let command = if matrix::is_configuration(&self.input.path) { "build" } else { "convert" };
        let mut words = vec![command, &self.input.path];
        for (option, value) in [("--format", &self.format), ("--target", &self.target)] {
            words.extend(value.iter().flat_map(|value| [option, value]));
        }
        words.extend(["--name", &name, "--dir", &matrix.dir]);
        let mut pieces = vec![(self.input.at.clone(), words.into_iter().map(str::to_owned).collect())];
        let more = [&matrix.args, &self.input.args].into_iter().chain(&self.more).flatten();
        pieces.extend(more.map(|said| (said.at.clone(), said.value.clone())));
        let parts = [Some(self.name.as_ref().unwrap_or(&self.input.name)), self.format.as_ref(), self.target.as_ref()];
        Row { id: id(&parts.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join("-")), pieces }
    }
}

/// A text as small letters, digits and single dashes, of bounded length.
fn id(text: &str) -> String {
    let letters = text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { ' ' });
    let plain = letters.collect::<String>().split_whitespace().collect::<Vec<_>>().join("-");
    match plain.len() {
        0 => with_hash("row", text),
        1..=ID_MAX => plain,
        _ => with_hash(&plain, text),
    }
}

/// A beginning, and a hash of the whole.
fn with_hash(plain: &str, whole: &str) -> String {
    let head = &plain[..plain.len().min(ID_MAX - ID_HASH - 1)];
    format!("{}-{}", head.trim_end_matches('-'), &units::hex(&Sha256::digest(whole))[..ID_HASH])
}

/// Gives rows of one identifier a hash of what they do, which does not depend on where they stand.
fn tell_apart(rows: &mut [Row]) {
    let mut count: HashMap<String, usize> = HashMap::new();
    rows.iter().for_each(|row| *count.entry(row.id.clone()).or_default() += 1);
    for row in rows.iter_mut().filter(|row| count[&row.id] > 1) {
        row.id = with_hash(&row.id, &row.args().join("\0"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        rows("m.toml", text).unwrap().iter().map(|row| format!("{}: {}", row.id, row.args().join(" "))).collect()
    }

    const TWO: &str = "[[input]]\npath = 'a.tar'\n[[input]]\npath = 'in/b.yml'\nname = 'box'\nargs = ['--locked']\n";

    #[test]
    fn rows_are_the_product_in_the_order_of_the_file() {
        let text = format!("dir = 'out'\nargs = ['-q']\nformat = ['iso', 'raw,vhdx']\n{TWO}");
        assert_eq!(
            lines(&text),
            [
                "a-iso: convert a.tar --format iso --name a --dir out -q",
                "a-raw-vhdx: convert a.tar --format raw,vhdx --name a --dir out -q",
                "box-iso: build in/b.yml --format iso --name box --dir out -q --locked",
                "box-raw-vhdx: build in/b.yml --format raw,vhdx --name box --dir out -q --locked",
            ]
        );
        let text = format!("target = ['aws', 'gcp']\nmetadata = true\n{TWO}");
        let found = lines(&text);
        assert_eq!(found[1], "a-gcp: convert a.tar --target gcp --name a-gcp --dir . --metadata-file a-gcp.json");
        assert_eq!(found.len(), 4);
    }

    #[test]
    fn exclude_takes_away_and_include_adds() {
        let text = format!(
            "format = ['iso', 'qcow2']\n{TWO}\
             [[exclude]]\ninput = 'a'\nformat = 'iso'\n\
             [[include]]\nformat = 'qcow2'\nargs = ['-c']\n\
             [[include]]\ninput = 'box'\nformat = 'vdi'\n\
             [[include]]\npath = 'c.vmdk'\nname = 'see'\n"
        );
        assert_eq!(
            lines(&text),
            [
                "a-qcow2: convert a.tar --format qcow2 --name a --dir . -c",
                "box-iso: build in/b.yml --format iso --name box --dir . --locked",
                "box-qcow2: build in/b.yml --format qcow2 --name box --dir . --locked -c",
                "box-vdi: build in/b.yml --format vdi --name box --dir . --locked",
                "see: convert c.vmdk --name see --dir .",
            ]
        );
    }

    /// The example of GitHub's own documentation, in our words: what was added may be replaced, what is the matrix's may not.
    #[test]
    fn include_is_github_s() {
        let text = "format = ['iso', 'qcow2']\n[[input]]\npath = 'apple'\n[[input]]\npath = 'pear'\n\
             [[include]]\ntarget = 'aws'\n\
             [[include]]\nformat = 'iso'\ntarget = 'gcp'\n\
             [[include]]\ninput = 'apple'\nname = 'round'\n\
             [[include]]\npath = 'banana'\n\
             [[include]]\npath = 'banana'\nformat = 'iso'\n";
        let ids: Vec<_> = rows("m.toml", text).unwrap().into_iter().map(|row| row.id).collect();
        assert_eq!(ids, ["round-iso-gcp", "round-qcow2-aws", "pear-iso-gcp", "pear-qcow2-aws", "banana", "banana-iso"]);
    }

    proptest::proptest! {
        /// Whatever stands in a matrix: rows that can be told apart, or words.
        #[test]
        fn no_matrix_is_a_danger(lines in proptest::collection::vec(proptest::sample::select(LINES), 0..12)) {
            if let Ok(rows) = rows("m.toml", &lines.join("\n")) {
                let ids: std::collections::HashSet<_> = rows.iter().map(|row| row.id.as_str()).collect();
                proptest::prop_assert!(!rows.is_empty() && ids.len() == rows.len());
                proptest::prop_assert!(ids.iter().all(|id| id.len() <= ID_MAX && !id.is_empty()));
            }
        }
    }

    /// Lines of matrices, good ones and others.
    const LINES: &[&str] = &[
        "dir = 'out'",
        "metadata = true",
        "args = ['-q', '']",
        "format = ['iso', 'raw']",
        "target = ['aws', 'gcp', 'metal']",
        "[[input]]",
        "[[include]]",
        "[[exclude]]",
        "path = 'a.tar'",
        "path = 'A.tar'",
        "path = 'oci://example.org/a:1'",
        "path = 'b.yml'",
        "name = 'a'",
        "name = '\u{202e}'",
        "input = 'a'",
        "format = 'raw'",
        "target = 'aws'",
        "args = []",
        "[input]",
        "\"",
    ];

    #[test]
    fn identifiers_are_labels_and_differ() {
        let long = "n".repeat(200);
        let text = format!(
            "format = ['kernel+initrd', 'kernel+iso']\n[[input]]\npath = 'Ä_x.tar'\n[[input]]\npath = 'x.tar'\n[[input]]\npath = 'X.tar'\n\
             [[input]]\npath = '{long}'\n[[input]]\npath = 'ü'\n"
        );
        let mut ids: Vec<_> = rows("m.toml", &text).unwrap().into_iter().map(|row| row.id).collect();
        for id in &ids {
            assert!(id.len() <= ID_MAX && !id.starts_with('-') && !id.ends_with('-') && !id.contains("--"), "{id}");
            assert!(id.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-'), "{id}");
        }
        let count = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), count, "{ids:?}");
    }

    #[test]
    fn an_identifier_does_not_depend_on_its_neighbours() {
        let text = |inputs: &[&str]| inputs.iter().map(|path| format!("[[input]]\npath = '{path}'\n")).collect::<String>();
        let ids = |inputs: &[&str]| rows("m.toml", &text(inputs)).unwrap().into_iter().map(|row| row.id).collect::<Vec<_>>();
        let (one, other) = (ids(&["x.tar", "X.tar"]), ids(&["X.tar", "x.tar", "y.tar"]));
        assert_eq!((&one[0], &one[1]), (&other[1], &other[0]));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (text, said) in [
            (String::new(), "m.toml: makes no row"),
            (format!("{TWO}[[exclude]]\nformat = 'iso'\n"), "m.toml:7: exclude: there is no such row"),
            ("format = ['raw']\n[[include]]\nformat = 'iso'\n".to_owned(), "m.toml:2: include: fits no row, and has no input"),
            (TWO.to_owned() + "[[exclude]]\n", "m.toml: makes no row"),
        ] {
            let refused = rows("m.toml", &text).unwrap_err().to_string();
            assert!(refused.starts_with(said), "{text}\n{refused}");
        }
    }

    #[test]
    fn the_piece_that_is_refused_is_blamed() {
        let text = format!("args = ['-q']\n{TWO}[[include]]\nargs = ['--wrong']\n");
        let row = &rows("m.toml", &text).unwrap()[0];
        assert_eq!(row.blame(|args| args.iter().any(|word| word == "--wrong")), "m.toml:9: include: args");
        assert_eq!(row.blame(|args| args.iter().any(|word| word == "-q")), "m.toml:1: args");
        assert_eq!(row.blame(|_| true), "m.toml:3: input: path");
    }
}
