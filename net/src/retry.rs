//! What is tried again, when, and how often.

use crate::{clock::Clock, dates};
use formats::{Error, Result};
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

/// How long and how often a server is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For a host to be found and connected, TLS included.
    pub connect: Duration,
    /// Between two bytes of an answer.
    pub stall: Duration,
    /// For a whole answer that is small: a manifest, a token, the head of a blob.
    pub answer: Duration,
    /// What a server may ask us to wait; more is an error.
    pub wait: Duration,
    /// How often something is tried until it fails. What went on for a mebibyte before it broke is not counted.
    pub attempts: u32,
}

impl Default for Limits {
    fn default() -> Self {
        let [connect, stall, answer, wait] = [20, 30, 300, 120].map(Duration::from_secs);
        Self { connect, stall, answer, wait, attempts: 5 }
    }
}

/// A failure, and whether trying again may help.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What the user is told when it does not.
    pub(crate) error: Error,
    /// None: never. Otherwise how long the server asked to wait, if it did.
    again: Option<Option<Duration>>,
    /// Whether it stays when it comes first: nobody was ever there.
    unless_first: bool,
    /// Whether enough went well before it that the attempt is not counted.
    pub(crate) got_on: bool,
}

impl Failure {
    /// One that may pass.
    pub(crate) fn passing(error: Error) -> Self {
        Self::after(error, None)
    }

    /// One that may pass after so long, where that is known.
    pub(crate) fn after(error: Error, asked: Option<Duration>) -> Self {
        Self { error, again: Some(asked), unless_first: false, got_on: false }
    }

    /// One that may pass only where the server was there before.
    pub(crate) fn unless_first(error: Error) -> Self {
        Self { unless_first: true, ..Self::passing(error) }
    }
}

/// One that stays.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, again: None, unless_first: false, got_on: false }
    }
}

/// Whether a status may be another one next time.
pub(crate) fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
}

/// Does `work` until it succeeds, fails for good, or failed too often. `of` names what is asked for; the waits depend on it.
///
/// # Errors
/// The last one.
pub(crate) fn persist<T>(limits: &Limits, clock: &dyn Clock, of: &str, mut work: impl FnMut() -> Result<T, Failure>) -> Result<T> {
    let mut tried = 0;
    loop {
        let failure = match work() {
            Ok(done) => return Ok(done),
            Err(failure) => failure,
        };
        tried = if failure.got_on { 1 } else { tried + 1 };
        let Some(asked) = failure.again.filter(|_| tried > 1 || !failure.unless_first) else { return Err(failure.error) };
        if let Some(asked) = asked.filter(|asked| *asked > limits.wait) {
            let hint = format!("it asks to wait {} s, and moby waits {} s at most: try later", asked.as_secs(), limits.wait.as_secs());
            return Err(hinted(failure.error, hint));
        }
        if tried >= limits.attempts {
            return Err(if tried > 1 { failure.error.at(format!("tried {tried} times")) } else { failure.error });
        }
        clock.wait(delay(tried, asked, of));
    }
}

/// Adds to what is hinted already.
pub(crate) fn hinted(error: Error, hint: String) -> Error {
    let hint = error.hint_text().map_or_else(|| hint.clone(), |had| format!("{had}; {hint}"));
    error.hint(hint)
}

/// How long to wait after so many attempts: what was asked for, else a second, doubled each time, to half a minute; less up to a
/// quarter of it that is different for each request, so that those that failed together do not come back together.
fn delay(tried: u32, asked: Option<Duration>, of: &str) -> Duration {
    if let Some(asked) = asked {
        return asked;
    }
    let whole = Duration::from_secs(1 << tried.saturating_sub(1).min(5)).min(Duration::from_secs(30));
    // Its keys are fixed: the same request waits the same.
    let mut hasher = DefaultHasher::new();
    (of, tried).hash(&mut hasher);
    let less = u32::try_from(hasher.finish() % 256).unwrap_or_default();
    whole - whole / 1024 * less
}

/// What `Retry-After` asks for: seconds, or a date as HTTP writes it; a date that has passed is no time.
pub(crate) fn retry_after(value: &str, now: Duration) -> Option<Duration> {
    let value = value.trim();
    value.parse().ok().map(Duration::from_secs).or_else(|| Some(dates::of_http(value)?.saturating_sub(now)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Debug, Default)]
    struct Waits(Mutex<Vec<Duration>>);

    impl Clock for Waits {
        fn now(&self) -> Duration {
            Duration::ZERO
        }

        fn wait(&self, time: Duration) {
            self.0.lock().unwrap().push(time);
        }
    }

    fn failing(limits: Limits, failure: impl Fn(usize) -> Failure) -> (Error, Vec<Duration>) {
        let waits = Waits::default();
        let mut tried = 0;
        let error = persist(&limits, &waits, "a", || {
            tried += 1;
            Err::<(), _>(failure(tried))
        });
        (error.unwrap_err(), waits.0.into_inner().unwrap())
    }

    #[test]
    fn waits_double_and_end() {
        let limits = Limits { attempts: 9, ..Limits::default() };
        let (error, waits) = failing(limits, |_| Failure::passing(Error::bad_input("no")));
        assert_eq!(error.to_string(), "tried 9 times: no");
        let most = [1, 2, 4, 8, 16, 30, 30, 30].map(Duration::from_secs);
        assert!(waits.iter().zip(most).all(|(wait, most)| *wait <= most && *wait > most * 3 / 4 - Duration::from_millis(1)), "{waits:?}");
        assert_eq!(waits.len(), most.len());
        assert_ne!(delay(1, None, "a"), delay(1, None, "b"));
    }

    #[test]
    fn what_is_asked_for_comes_first() {
        let asked = |seconds| move |_| Failure::after(Error::bad_input("no"), Some(Duration::from_secs(seconds)));
        let limits = Limits { attempts: 2, ..Limits::default() };
        assert_eq!(failing(limits, asked(7)).1, [Duration::from_secs(7)]);
        let (error, waits) = failing(limits, asked(3600));
        assert!(waits.is_empty() && error.hint_text().unwrap().contains("3600 s"), "{error}");
    }

    #[test]
    fn some_failures_stay() {
        let (error, waits) = failing(Limits::default(), |_| Error::bad_input("no").into());
        assert!(waits.is_empty() && error.to_string() == "no");
    }

    #[test]
    fn who_was_never_there_is_not_waited_for() {
        let limits = Limits { attempts: 4, ..Limits::default() };
        assert!(failing(limits, |_| Failure::unless_first(Error::bad_input("no"))).1.is_empty());
        let (_, waits) = failing(limits, |tried| match tried {
            1 => Failure::passing(Error::bad_input("reset")),
            _ => Failure::unless_first(Error::bad_input("refused")),
        });
        assert_eq!(waits.len(), 3);
    }

    #[test]
    fn getting_on_is_no_failing() {
        let limits = Limits { attempts: 2, ..Limits::default() };
        let (_, waits) = failing(limits, |tried| Failure { got_on: tried < 5, ..Failure::passing(Error::bad_input("no")) });
        assert_eq!(waits.len(), 4);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = Duration::from_secs(784_111_700);
        assert_eq!(retry_after(" 120 ", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(Duration::from_secs(77)));
        assert_eq!(retry_after("Thu, 01 Jan 1970 00:00:00 GMT", now), Some(Duration::ZERO));
        for bad in [
            "",
            "-1",
            "soon",
            "Sun, 06 Nov 1994",
            "Sun, 06 Foo 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 99 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(retry_after(bad, now), None, "{bad}");
        }
    }
}
