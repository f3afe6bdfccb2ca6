//! The corpus in `fixtures/linuxkit`: what the real tool said of each yml, and what it wrote.

use super::config::Config;
use super::metadata::{self, Form};
use crate::error::{Error, Kind, Result};
use std::{fs, path::PathBuf};

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/linuxkit")
}

fn lines(name: &str) -> Vec<Vec<String>> {
    let table = fs::read_to_string(fixtures().join(name)).unwrap();
    table.lines().skip(1).map(|line| line.split('\t').map(String::from).collect()).collect()
}

/// The image of the one package that the corpus has.
fn package(directory: &str) -> Result<String> {
    match directory {
        "../pkgs/thing" => Ok("docker.io/lab/thing:latest".to_owned()),
        other => Err(Error::bad_input(format!("no package {other}"))),
    }
}

fn load(arguments: &str) -> Result<Config> {
    let mut config = Config::default();
    for file in arguments.split(' ').filter(|word| word.ends_with(".yml")) {
        let text = fs::read(fixtures().join(file))?;
        let packages = (!arguments.contains("- <")).then_some(&package as super::config::Packages<'_>);
        config = config.merge(Config::parse(file, &text, packages)?)?;
    }
    Ok(config)
}

/// Every yml that is refused for what is in it, and all that is said of it.
fn refused() -> Vec<Vec<String>> {
    lines("refused.tsv")
}

#[test]
fn what_is_wrong_is_refused_and_all_else_is_read() {
    let refused = refused();
    for case in lines("cases.tsv").iter().filter(|case| case[2].contains(".yml") && case[0] != "e-no-file") {
        let expected = refused.iter().find(|row| row[0] == case[0]).map(|row| &row[1..]);
        match (load(&case[2]), expected) {
            (Ok(_), None) => {}
            (Err(error), Some(said)) => {
                assert_eq!(error.kind(), Kind::BadInput, "{}", case[0]);
                assert_eq!(error.to_string().lines().collect::<Vec<_>>(), said, "{}", case[0]);
            }
            (result, _) => panic!("{}: {:?}", case[0], result.map(|_| ())),
        }
    }
}

#[test]
fn every_refusal_of_the_real_tool_is_ours() {
    let is_config = |message: &str| message.starts_with("invalid config") || message.starts_with("cannot append");
    let refused = refused();
    for case in lines("errors.tsv").iter().filter(|case| is_config(&case[2])) {
        assert!(refused.iter().any(|row| row[0] == case[0]), "{}", case[0]);
    }
}

#[test]
fn metadata_is_the_real_tools_to_the_byte() {
    let cases = lines("cases.tsv");
    let mut compared = 0;
    for file in fs::read_dir(fixtures().join("metadata")).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let case = cases.iter().find(|case| case[0] == name).unwrap();
        let config = load(&case[2]).unwrap();
        let expected = fs::read_to_string(&path).unwrap();
        let text = match path.extension().unwrap().to_str().unwrap() {
            // `println` adds one.
            "out" => metadata::text(&config, Form::DryRun) + "\n",
            index => match config.files[index.parse::<usize>().unwrap()].metadata.as_deref().map(String::as_str) {
                Some("json") => metadata::text(&config, Form::Json),
                _ => metadata::text(&config, Form::Yaml),
            },
        };
        pretty(&expected, &text, name);
        compared += 1;
    }
    assert!(compared >= 19, "{compared}");
}

/// Says the first line that differs, for these texts are long.
fn pretty(expected: &str, found: &str, name: &str) {
    let differs = expected.lines().zip(found.lines()).find(|(a, b)| a != b);
    assert!(expected == found, "{name}: {differs:?}\n{found}");
}

#[test]
fn what_was_written_is_read_back() {
    for case in lines("cases.tsv").iter().filter(|case| case[1] == "ok" && case[2].contains(".yml")) {
        let config = load(&case[2]).unwrap();
        let again = Config::parse("again", metadata::text(&config, Form::DryRun).as_bytes(), None);
        // Keys in lower case, and empty lists of mappings, do not pass the schema: theirs do not, either.
        if let Ok(again) = again {
            assert_eq!(metadata::text(&again, Form::Yaml), metadata::text(&config, Form::Yaml), "{}", case[0]);
        }
    }
}
