//! Help, completion and the manual name every row of every table: what can be said can be found.

use crate::support::tools::{finish, moby};
use formats::{OptionSpec, kernel::Arch};
use moby::{
    names::Named,
    outputs::{EfiVarsOutput, OUTPUTS},
    platforms::PLATFORMS,
    request::{InitrdCompression, OutputCompression, Root},
};
use std::collections::BTreeSet;

fn said(arguments: &[&str]) -> String {
    finish(moby().args(arguments)).success().text()
}

fn names<T: Named>() -> Vec<&'static str> {
    T::all().into_iter().map(Named::name).collect()
}

fn containers() -> Vec<&'static str> {
    formats::FORMATS.iter().map(|format| format.name()).collect()
}

/// Every option that `--opt` takes.
fn options() -> Vec<&'static OptionSpec> {
    let of_outputs = OUTPUTS.iter().flat_map(|output| output.options());
    of_outputs.chain(Root::all().into_iter().flat_map(Root::option_specs)).collect()
}

/// Every option that names a row, and the rows.
fn tables() -> Vec<(&'static str, Vec<&'static str>)> {
    vec![
        ("--format", OUTPUTS.iter().map(|output| output.name).collect()),
        ("--target", PLATFORMS.iter().map(|platform| platform.name).collect()),
        ("--from", ["tar"].into_iter().chain(containers()).collect()),
        ("--root", names::<Root>()),
        ("--arch", names::<Arch>()),
        ("--initrd-compression", names::<InitrdCompression>()),
        ("--compress-output", names::<OutputCompression>()),
        ("--efi-vars", names::<EfiVarsOutput>()),
    ]
}

/// The names of the commands, as help lists them.
fn commands() -> Vec<String> {
    let help = said(&["--help"]);
    let listed = help.split("Commands:").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("help lists the commands");
    // What a command does goes on in lines that are indented further.
    let names = listed.lines().filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with(' '));
    let names: Vec<_> = names.filter_map(|line| line.split(' ').next()).filter(|name| *name != "help").map(String::from).collect();
    assert!(names.len() >= 9, "{names:?}");
    names
}

#[track_caller]
fn all_in<'a>(what: &str, found: &BTreeSet<&str>, rows: impl IntoIterator<Item = &'a str>) {
    let missing: Vec<_> = rows.into_iter().filter(|row| !found.contains(row)).collect();
    assert!(missing.is_empty(), "{what} does not name {missing:?}; it has {found:?}");
}

/// What bash is offered behind an option of `moby convert`.
fn offered<'a>(script: &'a str, option: &str) -> BTreeSet<&'a str> {
    let convert = script
        .split("esac")
        .find(|part| part.contains("--initrd-compression)") && part.contains("--from)"))
        .expect("there is a part for convert");
    let line = convert.split(&format!("{option})\n")).nth(1).and_then(|rest| rest.lines().next());
    let words = line.and_then(|line| line.split('"').nth(1)).unwrap_or_else(|| panic!("nothing is offered behind {option}"));
    words.split_whitespace().collect()
}

#[test]
fn completion_offers_every_row() {
    let script = said(&["completion", "bash"]);
    for (option, rows) in tables() {
        all_in(&format!("completion of {option}"), &offered(&script, option), rows);
    }
    let keys = offered(&script, "--opt").into_iter().filter_map(|word| word.split('=').next()).collect();
    all_in("completion of --opt", &keys, options().into_iter().map(|spec| spec.name));
}

#[test]
fn help_names_every_row() {
    fn words(text: &str) -> BTreeSet<&str> {
        text.split(|c: char| c.is_whitespace() || ",:]=".contains(c)).collect()
    }
    let help = said(&["convert", "--help"]);
    for (option, rows) in tables().into_iter().filter(|(option, _)| !["--format", "--target"].contains(option)) {
        all_in(&format!("help, which should list what {option} takes,"), &words(&help), rows);
    }
    all_in("moby formats", &words(&said(&["formats"])), OUTPUTS.iter().map(|output| output.name));
    all_in("moby formats --targets", &words(&said(&["formats", "--targets"])), PLATFORMS.iter().map(|platform| platform.name));
    let listed = said(&["formats", "--options"]);
    all_in("moby formats --options", &words(&listed), options().into_iter().map(|spec| spec.name));
    assert_eq!(listed.matches("--opt cluster_size=").count(), 1, "a set of options is listed once:\n{listed}");
}

#[test]
fn one_format_is_told_with_its_files_and_options() {
    for output in OUTPUTS {
        let text = said(&["formats", output.name]);
        assert!(text.starts_with(&format!("{}: {}\n", output.name, output.about)), "{text}");
        assert!(text.contains(output.firmware) && output.files.iter().all(|suffix| text.contains(&format!("NAME{suffix}"))), "{text}");
        let told = text.lines().filter_map(|line| line.trim().strip_prefix("--opt ")?.split('=').next());
        assert!(told.eq(output.options().iter().map(|spec| spec.name)), "{text}");
    }
    let refused = finish(moby().args(["formats", "qcow"]));
    assert_eq!(refused.code(), 2, "{refused}");
    assert!(refused.errors().starts_with("moby: error: the format 'qcow' is unknown\n  hint: did you mean 'qcow2'?"), "{refused}");
}

/// A page as its reader sees it, as far as words go.
fn page(arguments: &[&str]) -> String {
    let roff = said(&[&["man"], arguments].concat());
    roff.replace("\\-", "-").replace("\\fB", "").replace("\\fI", "").replace("\\fR", "").replace("\\*(Aq", "'")
}

#[test]
fn the_manual_has_a_page_for_the_formats_that_names_every_row() {
    let page = page(&["formats.7"]);
    let lines: BTreeSet<&str> = page.lines().map(|line| line.split(':').next().unwrap_or_default()).collect();
    for (option, rows) in tables() {
        // A tar is no container.
        all_in(&format!("moby-formats(7), for {option}"), &lines, rows.into_iter().filter(|row| *row != "tar"));
    }
    let keys = page.lines().filter_map(|line| line.strip_prefix("--opt ")?.split('=').next()).collect();
    all_in("moby-formats(7), for --opt", &keys, options().into_iter().map(|spec| spec.name));
}

/// What `moby push` pushes to, each with an option of its own.
#[test]
fn the_manual_has_a_page_for_every_target_of_push() {
    let push = page(&["push"]);
    let lines: BTreeSet<&str> = push.lines().collect();
    for (target, option) in [
        ("aws", "--uefi-data"),
        ("azure", "--gallery"),
        ("gcp", "--family"),
        ("oci", "--mount"),
        ("openstack", "--protected"),
        ("vsphere", "--datastore"),
    ] {
        assert!(lines.contains(format!("moby-push-{target}(1)").as_str()), "moby-push(1) does not name {target}:\n{push}");
        let page = page(&[&format!("push-{target}")]);
        assert!(page.lines().any(|line| line.split(' ').next() == Some(option)), "moby-push-{target}(1) has no {option}:\n{page}");
        assert!(page.contains(&format!("\nmoby push {target} [OPTIONS]")) && page.contains("moby(1), moby-push(1), moby-push-"), "{page}");
    }
}

#[test]
fn the_manual_has_a_page_for_every_command() {
    let (overview, commands) = (page(&[]), commands());
    let lines = overview.lines().collect();
    let names: Vec<_> = commands.iter().map(|command| format!("moby-{command}(1)")).collect();
    all_in("moby(1)", &lines, names.iter().map(String::as_str));
    for command in &commands {
        let page = page(&[command]);
        let lines = page.lines().collect();
        let sections = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES"].map(|section| format!(".SH {section}"));
        all_in(&format!("moby-{command}(1)"), &lines, sections.iter().map(String::as_str));
        all_in(&format!("moby-{command}(1)"), &lines, [".SH \"EXIT STATUS\"", ".SH \"SEE ALSO\""]);
        assert!(page.contains(&format!("\nmoby {command} [OPTIONS]")), "the synopsis of {command}:\n{page}");
    }
    let refused = finish(moby().args(["man", "chekc"]));
    assert_eq!(refused.code(), 2, "{refused}");
    assert!(refused.errors().contains("did you mean 'check'?"), "{refused}");
}

/// Exit codes come from one table, for help as for the manual.
#[test]
fn exit_codes_are_told() {
    for (command, code, meaning) in [("check", "63", "cannot be checked"), ("compare", "1", "different")] {
        let help = said(&[command, "--help"]);
        let told = help.lines().any(|line| line.trim_start().starts_with(&format!("{code}  ")) && line.contains(meaning));
        assert!(told, "{help}");
        let page = page(&[command]);
        let told = page.lines().zip(page.lines().skip(1)).any(|(word, text)| word == code && text.contains(meaning));
        assert!(told, "{page}");
    }
    assert!(said(&["--help"]).contains("  130  interrupted"));
}

#[test]
fn help_has_examples_and_fits_a_hundred_columns() {
    for command in commands() {
        let help = said(&[&command, "--help"]);
        assert!(help.contains("\nExamples:\n  moby "), "{help}");
        let wide = help.lines().filter(|line| line.chars().count() > 100);
        assert_eq!(wide.collect::<Vec<_>>(), Vec::<&str>::new(), "moby {command} --help");
    }
}
