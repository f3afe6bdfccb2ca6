//! The page `moby-formats(7)`: the rows of every table that a user names something from.

use super::{head, see_also, term};
use crate::{
    cli::formats,
    names::Named,
    outputs::{EFI_VARS, OUTPUTS, Output},
    platforms::PLATFORMS,
    request::{InitrdCompression, OutputCompression, Root},
};
use ::formats::{Format, OptionSpec, kernel::Arch, units::show_size};
use clap::Command;
use roff::{Roff, bold, roman};

/// What the page is called in `moby man`.
pub(super) const NAME: &str = "formats.7";
/// How other pages name it.
pub(super) const REFERENCE: &str = "moby-formats(7)";

pub(super) fn page(program: &Command) -> Roff {
    let mut page = Roff::new();
    head(&mut page, program, "moby-formats", "7", "What moby makes and reads: outputs, platforms, containers and their options");
    page.control("SH", ["DESCRIPTION"]);
    page.text([roman(
        "What moby convert makes is an output (--format), made as a platform wants it (--target). \
         What it reads is a tagged tar, a unified kernel image, an ISO or a disk in one of the containers (--from). \
         NAME is the name of the image.",
    )]);
    outputs(&mut page, "OUTPUTS (--format)", OUTPUTS);
    targets(&mut page);
    containers(&mut page);
    page.control("SH", ["ROOTS (--root)"]);
    names::<Root>(&mut page);
    page.control("SH", ["COMPRESSION OF THE INITRD (--initrd-compression)"]);
    names::<InitrdCompression>(&mut page);
    page.control("SH", ["COMPRESSION OF OUTPUTS (--compress-output)"]);
    names::<OutputCompression>(&mut page);
    outputs(&mut page, "VARIABLES OF FIRMWARE (--efi-vars)", EFI_VARS);
    page.control("SH", ["ARCHITECTURES (--arch)"]);
    names::<Arch>(&mut page);
    options(&mut page);
    see_also(&mut page, ["moby(1)", "moby-convert(1)", "moby-formats(1)", "moby-lint(1)"].map(String::from).into_iter());
    page
}

fn outputs(page: &mut Roff, heading: &str, rows: &[Output]) {
    page.control("SH", [heading]);
    for output in rows {
        let facts = format!("{}. Files: {}. Firmware: {}.", output.about, formats::files(output).join(", "), output.firmware);
        term(page, output.name, &facts);
    }
}

fn targets(page: &mut Roff) {
    page.control("SH", ["PLATFORMS (--target)"]);
    for platform in PLATFORMS {
        let size = show_size(platform.size_multiple);
        let mut facts = format!("{}. Output: {}, a multiple of {size} long.", platform.about, platform.output);
        if !platform.consoles.x86.is_empty() {
            facts += &format!(" Consoles on x86: {}.", platform.consoles.x86.join(" "));
        }
        term(page, platform.name, &facts);
    }
}

fn containers(page: &mut Roff) {
    page.control("SH", ["CONTAINERS (--from)"]);
    for container in ::formats::FORMATS {
        let use_of = if container.is_written() { "Read and written." } else { "Read only." };
        let aliases = Format::aliases(*container);
        let also = if aliases.is_empty() { String::new() } else { format!(" Also called {}.", aliases.join(", ")) };
        term(page, Format::name(*container), &format!("{use_of}{also}"));
    }
}

/// The names of a table, with what they mean where they do not say it.
fn names<T: Named>(page: &mut Roff) {
    for row in T::all() {
        let also = if row.aliases().is_empty() { String::new() } else { format!("also called {}", row.aliases().join(", ")) };
        let about = [row.about(), also.as_str()].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; ");
        let about = if about.is_empty() { about } else { format!(": {about}") };
        page.control("IP", ["\\(bu", "2"]).text([bold(row.name()), roman(about)]);
    }
}

fn options(page: &mut Roff) {
    page.control("SH", ["OPTIONS (--opt)"]);
    for (names, specs) in formats::option_sets() {
        page.control("SS", [names.join(", ").as_str()]);
        specs.iter().for_each(|spec| option(page, spec));
    }
}

fn option(page: &mut Roff, spec: &OptionSpec) {
    term(page, &formats::option(spec), spec.help);
}
