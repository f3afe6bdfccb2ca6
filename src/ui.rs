//! Progress: a bar on a terminal, plain lines or JSON lines elsewhere, always on standard error.

use crate::{convert::Reporter, emit::Target, input};
use formats::{
    Progress,
    plain::Plain,
    units::{KIB, show_size},
};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::{
    io::{IsTerminal, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Style {
    /// A bar on a terminal, plain lines elsewhere.
    Auto,
    /// One line when a step ends.
    Plain,
    /// One JSON object a line: {"step", "done", "total", "seconds", "finished"}.
    Json,
    /// Nothing.
    None,
}

/// Shows the steps of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ui {
    style: Style,
}

impl Ui {
    /// A display of this style, `Auto` settled by what standard error is.
    pub(crate) fn new(style: Style) -> Self {
        Self { style }
    }

    /// Tells what was done.
    pub(crate) fn note(&self, text: impl std::fmt::Display) {
        if matches!(self.style, Style::Auto | Style::Plain) {
            say(format_args!("{text}"));
        }
    }
}

impl Reporter for Ui {
    fn step(&self, name: &'static str) -> Arc<dyn Progress> {
        let bars = (self.style == Style::Auto && std::io::stderr().is_terminal()).then(|| Bars::new(name));
        let [total, done, told] = [0; 3].map(AtomicU64::new);
        Arc::new(Step { name, total, style: self.style, bars, done, told, since: Instant::now() })
    }

    fn warn(&self, text: &str) {
        if self.style != Style::None {
            say(format_args!("moby: warning: {text}"));
        }
    }
}

/// What a run made, for a closing line.
#[derive(Debug)]
pub(crate) struct Summary(Instant);

impl Summary {
    /// A run begins.
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Tells what became of it: each file, which has so many bytes, and all together.
    pub(crate) fn tell<'a>(&self, ui: &Ui, files: impl IntoIterator<Item = (&'a Target, u64)>) {
        let (mut count, mut all, mut is_here) = (0, 0, true);
        for (target, len) in files {
            is_here &= !matches!(target, Target::Remote(_));
            ui.note(format_args!("{:>8}: {target}, {}", "made", size(target, len)));
            count += 1;
            all += stored(target, len);
        }
        let seconds = self.0.elapsed().as_secs_f64();
        let noun = if count == 1 { "file" } else { "files" };
        let place = if is_here { " on disk" } else { "" };
        ui.note(format_args!("{:>8}: {count} {noun}, {}{place}, in {seconds:.1} s", "done", show_size(all)));
    }
}

/// What a file takes where it is stored.
fn stored(target: &Target, len: u64) -> u64 {
    match target {
        Target::Path(path) => input::allocated(path).unwrap_or(len),
        Target::Stdout | Target::Remote(_) => len,
    }
}

/// How large a file is, and what it takes where that is less.
fn size(target: &Target, len: u64) -> String {
    let stored = stored(target, len);
    // A file takes whole blocks.
    if stored + 64 * KIB < len { format!("{}, {} on disk", show_size(len), show_size(stored)) } else { show_size(len) }
}

/// Where nobody waits for progress: what the input gives to warn of is told all the same.
impl Progress for Ui {
    fn advance(&self, _: u64) {}

    fn warn(&self, text: &str) {
        Reporter::warn(self, text);
    }
}

/// Standard error may be closed; that is no reason to fail.
fn say(line: std::fmt::Arguments<'_>) {
    let _: std::io::Result<()> = writeln!(std::io::stderr(), "{}", Plain(line));
}

/// The bar of a step, and below it those of its parts.
#[derive(Debug)]
struct Bars {
    all: MultiProgress,
    whole: ProgressBar,
}

impl Bars {
    fn new(name: &str) -> Self {
        let all = MultiProgress::new();
        Self { whole: bar(name, &all), all }
    }
}

/// A bar of nothing yet: its length grows as work is announced.
fn bar(name: &str, below: &MultiProgress) -> ProgressBar {
    let bar = below.add(ProgressBar::new(0));
    let template = "{msg:>8} [{bar:32}] {bytes:>10}/{total_bytes:<10} {binary_bytes_per_sec:>12} eta {eta}";
    let style = ProgressStyle::with_template(template).expect("the template is right").progress_chars("=> ");
    bar.set_style(style);
    bar.set_message(name.to_owned());
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// A step of a run.
#[derive(Debug)]
pub(crate) struct Step {
    name: &'static str,
    /// What was announced so far.
    total: AtomicU64,
    style: Style,
    bars: Option<Bars>,
    done: AtomicU64,
    told: AtomicU64,
    since: Instant,
}

impl Step {
    fn tell_json(&self, finished: bool) {
        let total = Some(self.total.load(Ordering::Relaxed)).filter(|total| *total > 0);
        let line = serde_json::json!({
            "step": self.name,
            "done": self.done.load(Ordering::Relaxed),
            "total": total,
            "seconds": self.since.elapsed().as_secs_f64(),
            "finished": finished,
        });
        say(format_args!("{line}"));
    }
}

impl Progress for Step {
    fn expect(&self, bytes: u64) {
        self.total.fetch_add(bytes, Ordering::Relaxed);
        if let Some(bars) = &self.bars {
            bars.whole.inc_length(bytes);
        }
    }

    fn advance(&self, bytes: u64) {
        /// Milliseconds between JSON lines.
        const PAUSE: u64 = 250;
        self.done.fetch_add(bytes, Ordering::Relaxed);
        if let Some(bars) = &self.bars {
            bars.whole.inc(bytes);
        }
        if self.style == Style::Json {
            let now = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
            let told = self.told.load(Ordering::Relaxed);
            if now >= told + PAUSE && self.told.compare_exchange(told, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                self.tell_json(false);
            }
        }
    }

    fn warn(&self, text: &str) {
        let tell = || Reporter::warn(&Ui::new(self.style), text);
        match &self.bars {
            Some(bars) => bars.all.suspend(tell),
            None => tell(),
        }
    }

    fn part<'a>(&'a self, name: &str) -> Option<Box<dyn Progress + 'a>> {
        let bars = self.bars.as_ref()?;
        Some(Box::new(Part { step: self, bar: bar(name, &bars.all) }))
    }
}

/// A part of a step, which has a line of its own until it is done.
#[derive(Debug)]
struct Part<'a> {
    step: &'a Step,
    bar: ProgressBar,
}

impl Progress for Part<'_> {
    fn expect(&self, bytes: u64) {
        self.bar.inc_length(bytes);
        self.step.expect(bytes);
    }

    fn advance(&self, bytes: u64) {
        self.bar.inc(bytes);
        self.step.advance(bytes);
    }

    fn warn(&self, text: &str) {
        self.step.warn(text);
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        let done = self.done.load(Ordering::Relaxed);
        if let Some(bars) = &self.bars {
            bars.whole.finish_and_clear();
        }
        match self.style {
            Style::Json => self.tell_json(true),
            Style::Auto | Style::Plain if done > 0 => {
                let seconds = self.since.elapsed().as_secs_f64();
                say(format_args!("{:>8}: {} in {seconds:.1} s", self.name, show_size(done)));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_of_a_part_is_done_of_the_whole() {
        let bars = Some(Bars::new("pull"));
        let [total, done, told] = [0; 3].map(AtomicU64::new);
        let step = Step { name: "pull", total, style: Style::None, bars, done, told, since: Instant::now() };
        for (name, bytes) in [("one", 3), ("two", 4)] {
            let part = step.part(name).unwrap();
            part.expect(bytes);
            part.advance(bytes);
        }
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        assert_eq!((read(&step.done), read(&step.total), step.bars.as_ref().unwrap().whole.position()), (7, 7, 7));
    }
}
