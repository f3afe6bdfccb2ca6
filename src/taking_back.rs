//! What is unfinished elsewhere when the user wants no more: it is taken back, and nobody waits long for it.

use crate::error::{Error, Kind, Result};
use std::{collections::BTreeMap, sync::mpsc, thread, time::Duration};

/// How long others have to answer: somebody sits there and waits for the prompt.
pub(crate) const WITHIN: Duration = Duration::from_secs(8);

/// Something unfinished.
pub(crate) struct Unfinished {
    /// What users know it by.
    pub(crate) what: String,
    /// Leaves nothing of it; it may wait as long as it likes.
    pub(crate) take_back: Box<dyn FnOnce() -> Result<()> + Send>,
}

/// Takes all back at the same time; what may be left of it, and why.
pub(crate) fn take_back(all: Vec<Unfinished>, within: Duration) -> Vec<Error> {
    let (tell, told) = mpsc::channel();
    let mut waiting = BTreeMap::new();
    for (number, Unfinished { what, take_back }) in all.into_iter().enumerate() {
        let tell = tell.clone();
        thread::spawn(move || tell.send(Some((number, take_back()))));
        waiting.insert(number, what);
    }
    thread::spawn(move || {
        thread::sleep(within);
        tell.send(None)
    });
    let mut left = Vec::new();
    while !waiting.is_empty()
        && let Ok(Some((number, done))) = told.recv()
    {
        let what = waiting.remove(&number).unwrap_or_default();
        left.extend(done.err().map(|error| error.at(what)));
    }
    let silent = || Error::new(Kind::Remote, format!("the other side did not answer within {} s", within.as_secs()));
    left.extend(waiting.into_values().map(|what| silent().at(what)));
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_waited_for_longer_than_that() {
        let unfinished = |what: &str, take_back: fn() -> Result<()>| Unfinished { what: what.to_owned(), take_back: Box::new(take_back) };
        let forever = || {
            thread::sleep(Duration::from_secs(3600));
            Ok(())
        };
        let all = vec![
            unfinished("silent", forever),
            unfinished("good", || Ok(())),
            unfinished("kept", || Err(Error::new(Kind::Remote, "refuses"))),
        ];
        let left: Vec<_> = take_back(all, Duration::from_secs(1)).iter().map(ToString::to_string).collect();
        assert_eq!(left, ["kept: refuses", "silent: the other side did not answer within 1 s"]);
        assert!(take_back(Vec::new(), Duration::from_secs(3600)).is_empty());
    }
}
