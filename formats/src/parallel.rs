//! Work on all cores whose results come out in the order of the input, with bounded memory.

use crate::{Error, Kind, Result};
use std::{
    any::Any,
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

/// Runs `work` on every item on `threads` threads and hands the results to `sink` in the order of the items.
///
/// At most about three items a thread are in flight, so memory is bounded by the size of items and results.
/// The workers draw the items one at a time, so the iterator may itself read input.
///
/// # Errors
/// The first error in item order of the iterator, the work or the sink; a panic in `work` is a [`Kind::Bug`] error.
pub fn ordered<T, R>(
    threads: NonZeroUsize,
    items: impl Iterator<Item = Result<T>> + Send,
    work: impl Fn(T) -> Result<R> + Sync,
    mut sink: impl FnMut(R) -> Result<()>,
) -> Result<()>
where
    T: Send,
    R: Send,
{
    let run = |item: Result<T>| {
        let item = item?;
        catch_unwind(AssertUnwindSafe(|| work(item))).unwrap_or_else(|panic| Err(panicked(&*panic)))
    };
    if threads.get() == 1 {
        return items.map(run).try_for_each(|result| sink(result?));
    }
    let window = Window::new(threads.get() * 3);
    let slots: Vec<_> = (0..window.len).map(|_| Mutex::new(None)).collect();
    let items = Mutex::new(items);
    let worker = || {
        loop {
            let mut items = lock(&items);
            let Some(place) = window.draw() else { return };
            match catch_unwind(AssertUnwindSafe(|| items.next())).unwrap_or_else(|panic| Some(Err(panicked(&*panic)))) {
                None => return window.end(),
                Some(item) => {
                    drop(items);
                    let result = run(item);
                    *lock(&slots[place]) = Some(result);
                    window.done(place);
                }
            }
        }
    };
    on_threads(threads, &worker, &mut || {
        let _given_up = GiveUp(&window);
        while let Some(place) = window.wait() {
            let lost = || Err(Error::new(Kind::Bug, "a worker ended without a result"));
            let result = lock(&slots[place]).take();
            sink(result.unwrap_or_else(lost)?)?;
            window.take();
        }
        Ok(())
    })
}

/// Runs a worker on so many threads and something else on this one, until all are done. Nothing here depends on what they work on, so that
/// it is compiled once.
fn on_threads(threads: NonZeroUsize, worker: &(dyn Fn() + Sync), here: &mut dyn FnMut() -> Result<()>) -> Result<()> {
    thread::scope(|scope| {
        for _ in 0..threads.get() {
            scope.spawn(worker);
        }
        here()
    })
}

/// Which items are in flight: they are drawn, done in any order, and taken in the order in which they were drawn.
struct Window {
    /// Most items in flight. An item's place is its number modulo this.
    len: usize,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// How many were drawn, and how many of these were taken.
    drawn: usize,
    taken: usize,
    /// Whether an item is done, by its place.
    is_done: Vec<bool>,
    /// Whether none is drawn any more.
    is_over: bool,
}

impl Window {
    fn new(len: usize) -> Self {
        let state = State { drawn: 0, taken: 0, is_done: vec![false; len], is_over: false };
        Self { len, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// The place of the next item, once there is room for it; nothing when none is drawn any more.
    fn draw(&self) -> Option<usize> {
        let full = |state: &mut State| !state.is_over && state.drawn - state.taken == self.len;
        let mut state = self.changed.wait_while(lock(&self.state), full).unwrap_or_else(PoisonError::into_inner);
        if state.is_over {
            return None;
        }
        state.drawn += 1;
        Some((state.drawn - 1) % self.len)
    }

    /// What was drawn last is no item, and none comes behind it.
    fn end(&self) {
        let mut state = lock(&self.state);
        state.drawn -= 1;
        state.is_over = true;
        self.changed.notify_all();
    }

    fn done(&self, place: usize) {
        lock(&self.state).is_done[place] = true;
        self.changed.notify_all();
    }

    /// The place of the next item in order, once it is done; nothing behind the last.
    fn wait(&self) -> Option<usize> {
        let pending = |state: &mut State| match state.taken == state.drawn {
            true => !state.is_over,
            false => !state.is_done[state.taken % self.len],
        };
        let state = self.changed.wait_while(lock(&self.state), pending).unwrap_or_else(PoisonError::into_inner);
        (state.taken < state.drawn).then_some(state.taken % self.len)
    }

    /// That item was taken.
    fn take(&self) {
        let mut state = lock(&self.state);
        let place = state.taken % self.len;
        state.is_done[place] = false;
        state.taken += 1;
        self.changed.notify_all();
    }
}

/// Has nobody draw another item when nobody takes them any more.
struct GiveUp<'a>(&'a Window);

impl Drop for GiveUp<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).is_over = true;
        self.0.changed.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The same items, up to `most` at a time: for work that is over too soon to be handed out one by one. An error comes alone, after
/// the items before it.
pub(crate) fn batches<T>(mut items: impl Iterator<Item = Result<T>>, most: usize) -> impl Iterator<Item = Result<Vec<T>>> {
    let mut failed = None;
    std::iter::from_fn(move || {
        if let Some(error) = failed.take() {
            return Some(Err(error));
        }
        let mut batch = Vec::new();
        while batch.len() < most {
            match items.next() {
                Some(Ok(item)) => batch.push(item),
                Some(Err(error)) if batch.is_empty() => return Some(Err(error)),
                Some(Err(error)) => {
                    failed = Some(error);
                    break;
                }
                None => break,
            }
        }
        (!batch.is_empty()).then_some(Ok(batch))
    })
}

/// Runs `work` on every item on `threads` threads, in no particular order, and gives all results in the order of the items.
///
/// # Errors
/// The first error in item order that was met before the run ended; a panic in `work` is a [`Kind::Bug`] error.
pub fn map<T: Send, R: Send>(threads: NonZeroUsize, items: Vec<T>, work: impl Fn(T) -> Result<R> + Sync) -> Result<Vec<R>> {
    let count = items.len();
    let items = Mutex::new(items.into_iter().enumerate());
    let results = Mutex::new(Vec::with_capacity(count));
    let draw = || lock(&items).next();
    let worker = || {
        while let Some((nth, item)) = draw() {
            let result = catch_unwind(AssertUnwindSafe(|| work(item))).unwrap_or_else(|panic| Err(panicked(&*panic)));
            let is_failed = result.is_err();
            lock(&results).push((nth, result));
            if is_failed {
                // Nobody draws another item.
                lock(&items).by_ref().for_each(drop);
            }
        }
    };
    on_threads(threads, &worker, &mut || Ok(()))?;
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(nth, _)| *nth);
    results.into_iter().map(|(_, result)| result).collect()
}

fn panicked(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Error::new(Kind::Bug, format!("a worker panicked: {}", text.unwrap_or("no message")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOUR: NonZeroUsize = NonZeroUsize::new(4).unwrap();

    #[test]
    fn results_come_in_order_on_any_number_of_threads() {
        for threads in 1..9 {
            let mut seen = Vec::new();
            let work = |n: u64| {
                thread::sleep(std::time::Duration::from_micros(n * 7919 % 50));
                Ok(n * n)
            };
            ordered(NonZeroUsize::new(threads).unwrap(), (0..200).map(Ok), work, |n| {
                seen.push(n);
                Ok(())
            })
            .unwrap();
            assert_eq!(seen, (0..200).map(|n| n * n).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_panic_ends_the_run_with_an_error() {
        for threads in [1, 4] {
            let work = |n| if n == 50 { panic!("at fifty") } else { Ok(n) };
            let error = ordered(NonZeroUsize::new(threads).unwrap(), (0..u64::MAX).map(Ok), work, |_| Ok(())).unwrap_err();
            assert_eq!(error.kind(), Kind::Bug);
            assert!(error.to_string().contains("at fifty"));
        }
    }

    #[test]
    fn the_first_error_in_order_wins_and_ends_an_endless_source() {
        let items = (0..u64::MAX).map(|n| if n == 30 { Err(Error::bad_input("thirty")) } else { Ok(n) });
        let error = ordered(FOUR, items, |n| if n == 40 { Err(Error::bad_input("forty")) } else { Ok(n) }, |_| Ok(())).unwrap_err();
        assert_eq!(error.to_string(), "thirty");
        let full = ordered(FOUR, (0..u64::MAX).map(Ok), Ok, |n| if n == 9 { Err(Error::bad_input("full")) } else { Ok(()) });
        assert_eq!(full.unwrap_err().to_string(), "full");
    }

    #[test]
    fn a_map_keeps_the_order_and_ends_at_an_error() {
        let done = map(FOUR, (0..200u64).collect(), |n| {
            thread::sleep(std::time::Duration::from_micros(n * 7919 % 50));
            Ok(n * n)
        });
        assert_eq!(done.unwrap(), (0..200).map(|n| n * n).collect::<Vec<_>>());
        let error = map(FOUR, (0..200).collect(), |n| if n == 7 { panic!("at seven") } else { Ok(n) }).unwrap_err();
        assert!(error.kind() == Kind::Bug && error.to_string().contains("at seven"));
        assert!(map(FOUR, Vec::<u8>::new(), Ok).unwrap().is_empty());
    }

    #[test]
    fn an_error_comes_after_the_items_before_it() {
        let items = (0..7).map(|n| if n == 5 { Err(Error::bad_input("five")) } else { Ok(n) });
        let seen: Vec<_> = batches(items, 3).map(|batch| batch.map_err(|error| error.to_string())).collect();
        assert_eq!(seen, [Ok(vec![0, 1, 2]), Ok(vec![3, 4]), Err("five".to_owned()), Ok(vec![6])]);
    }

    #[test]
    fn a_panic_of_the_source_is_an_error_too() {
        let items = (0..9).map(|n| if n == 5 { panic!("source") } else { Ok(n) });
        assert!(ordered(FOUR, items, Ok, |_: i32| Ok(())).unwrap_err().to_string().contains("source"));
    }
}
