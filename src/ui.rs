//! Progress: a bar on a terminal, plain lines or JSON lines elsewhere, always on standard error.

use formats::{Progress, units::show_size};
use indicatif::{ProgressBar, ProgressStyle};
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
pub enum Style {
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
pub struct Ui {
    style: Style,
}

impl Ui {
    /// A display of this style, `Auto` settled by what standard error is.
    pub fn new(style: Style) -> Self {
        Self { style }
    }

    /// Begins a step of `total` bytes, if that is known. The step ends when it is dropped.
    pub fn step(&self, name: &'static str, total: Option<u64>) -> Arc<Step> {
        let bar = (self.style == Style::Auto && std::io::stderr().is_terminal()).then(|| bar(name, total));
        Arc::new(Step { name, total, style: self.style, bar, done: AtomicU64::new(0), told: AtomicU64::new(0), since: Instant::now() })
    }

    /// Tells something that the user should know and that is no error.
    pub fn warn(&self, text: impl std::fmt::Display) {
        if self.style != Style::None {
            say(format_args!("moby: warning: {text}"));
        }
    }

    /// Tells what was done.
    pub fn note(&self, text: impl std::fmt::Display) {
        if matches!(self.style, Style::Auto | Style::Plain) {
            say(format_args!("{text}"));
        }
    }
}

/// Standard error may be closed; that is no reason to fail.
fn say(line: std::fmt::Arguments<'_>) {
    let _: std::io::Result<()> = writeln!(std::io::stderr(), "{line}");
}

fn bar(name: &'static str, total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (ProgressBar::new(total), "{msg:>8} [{bar:32}] {bytes:>10}/{total_bytes:<10} {binary_bytes_per_sec:>12} eta {eta}"),
        None => (ProgressBar::new_spinner(), "{msg:>8} {spinner} {bytes:>10} {binary_bytes_per_sec:>12}"),
    };
    let style = ProgressStyle::with_template(template).expect("the template is right").progress_chars("=> ");
    bar.set_style(style);
    bar.set_message(name);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// A step of a run.
#[derive(Debug)]
pub struct Step {
    name: &'static str,
    total: Option<u64>,
    style: Style,
    bar: Option<ProgressBar>,
    done: AtomicU64,
    told: AtomicU64,
    since: Instant,
}

impl Step {
    fn tell_json(&self, finished: bool) {
        let line = serde_json::json!({
            "step": self.name,
            "done": self.done.load(Ordering::Relaxed),
            "total": self.total,
            "seconds": self.since.elapsed().as_secs_f64(),
            "finished": finished,
        });
        say(format_args!("{line}"));
    }
}

impl Progress for Step {
    fn advance(&self, bytes: u64) {
        /// Milliseconds between JSON lines.
        const PAUSE: u64 = 250;
        self.done.fetch_add(bytes, Ordering::Relaxed);
        if let Some(bar) = &self.bar {
            bar.inc(bytes);
        }
        if self.style == Style::Json {
            let now = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
            let told = self.told.load(Ordering::Relaxed);
            if now >= told + PAUSE && self.told.compare_exchange(told, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                self.tell_json(false);
            }
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        let done = self.done.load(Ordering::Relaxed);
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
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
