//! `moby man`: the manual, in roff: a page for the program, for each of its commands and of theirs, and for the formats. Everything comes
//! from what clap and the tables know.

mod formats_page;

use super::{Cli, notes::Notes};
use crate::{
    error::{self, Result},
    names,
};
use clap::{
    Arg, Command, CommandFactory,
    builder::{PossibleValue, StringValueParser, TypedValueParser},
};
use roff::{Inline, Roff, bold, italic, roman};
use std::ffi::OsStr;

/// Print a page of the manual (roff): of moby, of one command, or of the formats
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  moby man convert | man -l -
  moby man push-aws | man -l -
  moby man formats.7 > /usr/share/man/man7/moby-formats.7")]
pub(super) struct Man {
    /// A command, of those that have commands of their own also one of these, or formats.7 for every format, platform and option [default: the overview]
    #[arg(value_name = "PAGE", value_parser = PageParser)]
    page: Option<String>,
}

impl Man {
    pub(super) fn run(&self) -> Result<()> {
        let mut program = Cli::command();
        program.build();
        let page = match self.page.as_deref() {
            None => command_page(&program, None, &program),
            Some(formats_page::NAME) => formats_page::page(&program),
            Some(name) => match with_pages(&program).into_iter().find(|(page, _)| page == name) {
                Some((page, command)) => command_page(&program, Some(&page), command),
                None => return Err(names::unknown("page", name, &pages().iter().map(String::as_str).collect::<Vec<_>>())),
            },
        };
        super::print(&page.render())
    }
}

/// Offers the pages that there are.
#[derive(Clone, Debug)]
struct PageParser;

impl TypedValueParser for PageParser {
    type Value = String;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> std::result::Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(pages().into_iter().map(PossibleValue::new)))
    }
}

fn pages() -> Vec<String> {
    let program = Cli::command();
    with_pages(&program).into_iter().map(|(page, _)| page).chain([formats_page::NAME.to_owned()]).collect()
}

/// What has a page, and how that is called behind the program: `push`, `push-aws`.
fn with_pages(program: &Command) -> Vec<(String, &Command)> {
    let below = |command| commands(command).map(move |below| (format!("{}-{}", Command::get_name(command), below.get_name()), below));
    commands(program).flat_map(|command| [(command.get_name().to_owned(), command)].into_iter().chain(below(command))).collect()
}

/// The commands of the program or of one of its commands.
fn commands(of: &Command) -> impl Iterator<Item = &Command> {
    of.get_subcommands().filter(|command| command.get_name() != "help")
}

/// The page of the program, or of a command, which is called so.
fn command_page(program: &Command, name: Option<&str>, command: &Command) -> Roff {
    let title = name.map_or_else(|| program.get_name().to_owned(), |name| format!("{}-{name}", program.get_name()));
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let (about, notes) = (command.get_about().map(ToString::to_string).unwrap_or_default(), Notes::of(&after));

    let mut page = Roff::new();
    head(&mut page, program, &title, "1", &about);
    page.control("SH", ["SYNOPSIS"]);
    let usage = command.clone().render_usage().to_string().replace(['<', '>'], "");
    let (words, rest) = usage.trim_start_matches("Usage: ").split_at(title.len());
    page.text([bold(words), roman(rest)]);
    page.control("SH", ["DESCRIPTION"]);
    page.text([roman(format!("{about}."))]);
    for remark in &notes.remarks {
        page.control("PP", []).text([roman(*remark)]);
    }
    below(&mut page, &title, command);
    options(&mut page, command);
    if name.is_none() {
        environment(&mut page);
    }
    examples(&mut page, &notes);
    exit_status(&mut page, &notes);
    // Those beside it, and those above.
    let above: Vec<_> = title.match_indices('-').map(|(end, _)| format!("{}(1)", &title[..end])).collect();
    let (around, parent) = match name.and_then(|name| name.split_once('-')) {
        Some((parent, _)) => (program.find_subcommand(parent).unwrap_or(program), format!("{}-{parent}", program.get_name())),
        None => (program, program.get_name().to_owned()),
    };
    let others = commands(around).map(|other| format!("{parent}-{}(1)", other.get_name()));
    see_also(&mut page, above.into_iter().chain(others.filter(|other| *other != format!("{title}(1)"))));
    page
}

/// COMMANDS, of what has some.
fn below(page: &mut Roff, title: &str, command: &Command) {
    let mut commands = commands(command).peekable();
    if commands.peek().is_some() {
        page.control("SH", ["COMMANDS"]);
    }
    for command in commands {
        // Alone on its line, without a font: whoever installs the pages looks for it.
        page.control("TP", []).text([roman(format!("{title}-{}(1)", command.get_name()))]);
        page.text([roman(command.get_about().map(ToString::to_string).unwrap_or_default())]);
    }
}

/// The title line, and NAME.
fn head(page: &mut Roff, program: &Command, title: &str, section: &str, about: &str) {
    let version = format!("{} {}", program.get_name(), program.get_version().unwrap_or_default());
    // No date: a page says nothing of when it was made.
    page.control("TH", [title.to_uppercase().as_str(), section, "\"\"", &version, "moby manual"]);
    page.control("SH", ["NAME"]);
    page.text([roman(format!("{title} - {about}"))]);
}

/// OPTIONS, and what stands without a dash, under the headings of help.
fn options(page: &mut Roff, command: &Command) {
    let shown = |arg: &&Arg| !arg.is_hide_set();
    let (bare, dashed): (Vec<_>, Vec<_>) = command.get_arguments().filter(shown).partition(|arg| arg.is_positional());
    let mut headings: Vec<Option<&str>> = Vec::new();
    for arg in &dashed {
        if !headings.contains(&arg.get_help_heading()) {
            headings.push(arg.get_help_heading());
        }
    }
    if !bare.is_empty() {
        page.control("SH", ["ARGUMENTS"]);
        bare.iter().for_each(|arg| option(page, arg));
    }
    page.control("SH", ["OPTIONS"]);
    headings.sort_by_key(|heading| heading.is_some());
    for heading in headings {
        if let Some(heading) = heading {
            page.control("SS", [heading]);
        }
        dashed.iter().filter(|arg| arg.get_help_heading() == heading).for_each(|arg| option(page, arg));
    }
}

fn option(page: &mut Roff, arg: &Arg) {
    let value = arg.get_value_names().map(|names| names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" "));
    let value = value.filter(|_| arg.is_positional() || arg.get_action().takes_values());
    let flags = [arg.get_short().map(|short| format!("-{short}")), arg.get_long().map(|long| format!("--{long}"))];
    let mut line: Vec<Inline> = Vec::new();
    for flag in flags.into_iter().flatten() {
        line.extend((!line.is_empty()).then(|| roman(", ")));
        line.push(bold(flag));
    }
    if let Some(value) = value {
        line.extend((!line.is_empty()).then(|| roman(" ")));
        line.push(italic(value));
    }
    page.control("TP", []).text(line);
    page.text([roman(arg.get_help().map(ToString::to_string).unwrap_or_default())]);
    if arg.get_action().takes_values() && !arg.is_hide_default_value_set() && !arg.get_default_values().is_empty() {
        let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        page.text([roman(format!("[default: {}]", defaults.join(",")))]);
    }
    if arg.get_action().takes_values() && !arg.is_hide_possible_values_set() {
        possible_values(page, arg);
    }
}

/// One a line where they have help, else all in one.
fn possible_values(page: &mut Roff, arg: &Arg) {
    let values: Vec<_> = arg.get_possible_values().into_iter().filter(|value| !value.is_hide_set()).collect();
    if values.iter().any(|value| value.get_help().is_some()) {
        page.control("RS", []);
        for value in &values {
            let help = value.get_help().map(|help| format!(": {help}")).unwrap_or_default();
            page.control("IP", ["\\(bu", "2"]).text([bold(value.get_name()), roman(help)]);
        }
        page.control("RE", []);
    } else if !values.is_empty() {
        let names: Vec<_> = values.iter().map(PossibleValue::get_name).collect();
        page.text([roman(format!("[possible values: {}]", names.join(", ")))]);
    }
}

fn environment(page: &mut Roff) {
    page.control("SH", ["ENVIRONMENT"]);
    let time = "The time, in seconds since 1970, for formats that demand one; 0 where it is not set. The clock is never asked.";
    term(page, "SOURCE_DATE_EPOCH", time);
}

fn examples(page: &mut Roff, notes: &Notes<'_>) {
    if !notes.examples.is_empty() {
        page.control("SH", ["EXAMPLES"]).control("EX", []);
        for example in &notes.examples {
            page.text([roman(*example)]);
        }
        page.control("EE", []);
    }
}

/// The command's own, or those of the program.
fn exit_status(page: &mut Roff, notes: &Notes<'_>) {
    page.control("SH", ["EXIT STATUS"]);
    for (code, meaning) in &notes.exit_codes {
        term(page, code, meaning);
    }
    if notes.exit_codes.is_empty() {
        for (code, meaning) in error::EXIT_CODES {
            term(page, &code.to_string(), meaning);
        }
    }
}

fn see_also(page: &mut Roff, pages: impl Iterator<Item = String>) {
    let pages: Vec<_> = pages.chain([formats_page::REFERENCE.to_owned()]).collect();
    page.control("SH", ["SEE ALSO"]).text([roman(pages.join(", "))]);
}

/// A word and what it means.
fn term(page: &mut Roff, word: &str, meaning: &str) {
    page.control("TP", []).text([bold(word)]).text([roman(meaning)]);
}
