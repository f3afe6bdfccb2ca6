//! What every chain does: it looks from place to place, says where it looked, and keeps what it found while that is good.

use crate::clock::Clock;
use formats::{Error, Result};
use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// So long before its end something is fetched anew: what begins with it should end with it.
const MARGIN: Duration = Duration::from_secs(120);

/// Something that was found.
#[derive(Clone)]
pub(super) struct Found<T> {
    pub(super) value: T,
    /// When it ends, since 1970.
    pub(super) until: Option<Duration>,
    /// Where it is from, for messages.
    pub(super) from: String,
}

/// What came of looking at one place.
pub(super) enum Looked<T> {
    Found(Found<T>),
    /// What the place is called, and why there is nothing where that is not plain.
    Nothing(String),
}

/// The first thing found, or the names of all places.
///
/// # Errors
/// What a place says that is broken.
pub(super) fn look<T>(places: &[&dyn Fn() -> Result<Looked<T>>]) -> Result<Looked<T>> {
    let mut searched = Vec::new();
    for place in places {
        match place()? {
            Looked::Found(found) => return Ok(Looked::Found(found)),
            Looked::Nothing(place) if place.is_empty() => {}
            Looked::Nothing(place) => searched.push(place),
        }
    }
    Ok(Looked::Nothing(searched.join("; ")))
}

/// The first thing found; otherwise `what` says what is missing, and `hint` how to come by it.
///
/// # Errors
/// Bad input: no place has anything. What a place says that is broken.
pub(super) fn first<T>(what: &str, hint: &str, places: &[&dyn Fn() -> Result<Looked<T>>]) -> Result<Found<T>> {
    match look(places)? {
        Looked::Found(found) => Ok(found),
        Looked::Nothing(searched) => Err(Error::bad_input(format!("{what} in none of these places: {searched}")).hint(hint)),
    }
}

/// What was fetched, by what it is good for.
pub(super) struct Lasting<T>(Mutex<HashMap<String, Found<T>>>);

impl<T: Clone> Lasting<T> {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self(Mutex::default())
    }

    /// What is good for `of` and some minutes more, fetched when there is none.
    ///
    /// # Errors
    /// What `fetch` says; bad input when that has ended already.
    pub(super) fn get(&self, of: &str, clock: &dyn Clock, fetch: impl FnOnce() -> Result<Found<T>>) -> Result<T> {
        // Held while it is fetched: of many threads one asks.
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_good = |found: &&Found<T>, margin| found.until.is_none_or(|until| clock.now() + margin < until);
        if let Some(found) = kept.get(of).filter(|found| is_good(found, MARGIN)) {
            return Ok(found.value.clone());
        }
        let found = match (fetch(), kept.get(of)) {
            (Ok(found), _) => found,
            // It is asked again: who gives it may be back before this one ends.
            (Err(_), Some(last)) if is_good(&last, Duration::ZERO) => return Ok(last.value.clone()),
            (Err(error), _) => return Err(error),
        };
        if let Some(late) = found.until.and_then(|until| clock.now().checked_sub(until)) {
            let error = Error::bad_input(format!("has credentials that ended {} s ago", late.as_secs())).at(&found.from);
            return Err(error.hint("make new ones; if they are new, the clock of this machine is wrong"));
        }
        let value = found.value.clone();
        kept.insert(of.to_owned(), found);
        Ok(value)
    }

    /// Keeps nothing any more: somebody refused it.
    pub(super) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Nothing of what is kept.
impl<T> fmt::Debug for Lasting<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lasting")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct At(u64);

    impl Clock for At {
        fn now(&self) -> Duration {
            Duration::from_secs(self.0)
        }

        fn wait(&self, _: Duration) {}
    }

    fn found(value: u32, until: Option<u64>) -> Result<Found<u32>> {
        Ok(Found { value, until: until.map(Duration::from_secs), from: "the place".to_owned() })
    }

    #[test]
    fn what_ends_is_fetched_before_its_end() {
        let lasting = Lasting::new();
        assert_eq!(lasting.get("a", &At(1000), || found(1, Some(4600))).unwrap(), 1);
        assert_eq!(lasting.get("a", &At(4479), || found(2, None)).unwrap(), 1);
        assert_eq!(lasting.get("b", &At(4479), || found(3, None)).unwrap(), 3);
        assert_eq!(lasting.get("a", &At(4480), || found(2, None)).unwrap(), 2);
        assert_eq!(lasting.get("a", &At(u64::MAX / 2), || found(4, None)).unwrap(), 2);
        lasting.forget();
        assert_eq!(lasting.get("a", &At(0), || found(5, None)).unwrap(), 5);
    }

    #[test]
    fn what_cannot_be_fetched_anew_is_good_to_its_end() {
        let (lasting, fails) = (Lasting::new(), || Err::<Found<u32>, _>(Error::bad_input("away")));
        lasting.get("a", &At(1000), || found(1, Some(4600))).unwrap();
        assert_eq!(lasting.get("a", &At(4599), fails).unwrap(), 1);
        assert_eq!(lasting.get("a", &At(4600), fails).unwrap_err().to_string(), "away");
    }

    #[test]
    fn what_has_ended_is_refused() {
        let error = Lasting::new().get("a", &At(4600), || found(1, Some(1000))).unwrap_err();
        assert_eq!(error.to_string(), "the place: has credentials that ended 3600 s ago");
        assert!(error.hint_text().unwrap().contains("clock"));
    }

    #[test]
    fn places_are_asked_in_order() {
        let nothing = |name: &str| Ok(Looked::<u32>::Nothing(name.to_owned()));
        let none = first("nothing", "make one", &[&|| nothing("a"), &|| nothing(""), &|| nothing("b")]).err().unwrap();
        assert_eq!(none.to_string(), "nothing in none of these places: a; b");
        let one = first("", "", &[&|| nothing("a"), &|| found(1, None).map(Looked::Found), &|| Err(Error::bad_input("not asked"))]);
        assert_eq!(one.ok().unwrap().value, 1);
        assert!(first("", "", &[&|| Err(Error::bad_input("broken")), &|| found(1, None).map(Looked::Found)]).is_err());
    }
}
