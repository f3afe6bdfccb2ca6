//! Work on all cores whose results come out in the order of the input, with bounded memory.

use crate::{Error, Kind, Result};
use std::{
    any::Any,
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, PoisonError, mpsc},
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
    // Each item travels with a slot for its result; the queue of slots keeps the order, and its bound limits what is in flight.
    let (queue, slots) = mpsc::sync_channel(threads.get() * 2);
    let source = Mutex::new(Some((items, queue)));
    let draw = || {
        let mut source = source.lock().ok()?;
        let (items, queue) = source.as_mut()?;
        let item = catch_unwind(AssertUnwindSafe(|| items.next())).unwrap_or_else(|panic| Some(Err(panicked(&*panic))));
        let (result, slot) = mpsc::sync_channel(1);
        // A failed send means that the sink gave up. Dropping the queue at the end is what ends the loop below.
        match item.filter(|_| queue.send(slot).is_ok()) {
            Some(item) => Some((item, result)),
            None => {
                *source = None;
                None
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads.get() {
            scope.spawn(|| {
                while let Some((item, result)) = draw() {
                    // A failed send means that the sink gave up.
                    let _: Result<_, _> = result.send(run(item));
                }
            });
        }
        slots.into_iter().try_for_each(|slot: mpsc::Receiver<Result<R>>| {
            let lost = |_| Err(Error::new(Kind::Bug, "a worker ended without a result"));
            sink(slot.recv().unwrap_or_else(lost)?)
        })
    })
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
    let draw = || items.lock().ok()?.next();
    let run = || {
        while let Some((nth, item)) = draw() {
            let result = catch_unwind(AssertUnwindSafe(|| work(item))).unwrap_or_else(|panic| Err(panicked(&*panic)));
            let is_failed = result.is_err();
            if let Ok(mut results) = results.lock() {
                results.push((nth, result));
            }
            if is_failed {
                // Nobody draws another item.
                if let Ok(mut items) = items.lock() {
                    items.by_ref().for_each(drop);
                }
            }
        }
    };
    thread::scope(|scope| (0..threads.get()).for_each(|_| drop(scope.spawn(run))));
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
