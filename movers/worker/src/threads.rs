//! Work that blocks.
//!
//! Work that may take long gets a thread of its own. Of work that is brief there is much: waking a thread for each piece, and
//! being woken by it, would cost more than the work. So few threads do it, one piece after the other, and tell several
//! results at once. What is to be done side by side gets threads that are kept for a while, since beginning one costs about as
//! much as syncing a small file.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// Runs what blocks on a thread that may. A panic there goes on here: it is a bug, not a failure.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // Cancelled: the runtime is going down, and nobody waits for an answer.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Threads for brief work where it is brief indeed.
const THREADS: usize = 2;
/// Threads for it at most, where a disk or a server makes it long after all.
const THREADS_MAX: usize = 32;
/// Work that has waited so long gets another thread.
const PATIENCE: Duration = Duration::from_millis(2);
/// An idle thread waits so long for more.
const LINGER: Duration = Duration::from_millis(200);
/// Results that are told at once.
const TOLD_AT_ONCE: usize = 8;
/// A result is held back no longer than this.
const HELD_BACK: Duration = Duration::from_millis(1);

/// Does a piece of work and returns how to tell its result.
type Work = Box<dyn FnOnce() -> Tell + Send>;
type Tell = Box<dyn FnOnce()>;

struct Queue {
    waiting: VecDeque<(Instant, Work)>,
    threads: usize,
    idle: usize,
}

static QUEUE: Mutex<Queue> = Mutex::new(Queue {
    waiting: VecDeque::new(),
    threads: 0,
    idle: 0,
});
static COME: Condvar = Condvar::new();

fn queue() -> MutexGuard<'static, Queue> {
    // Nothing panics while it holds the lock.
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs what blocks a little: a few calls of the system that are hardly ever waited for. A panic goes on here.
pub(crate) async fn brief<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (told, heard) = oneshot::channel::<Result<T, Box<dyn Any + Send>>>();
    hand_in(Box::new(move || {
        let result = catch_unwind(AssertUnwindSafe(work));
        Box::new(move || {
            // Whoever asked may have gone.
            let _ = told.send(result);
        })
    }));
    match heard.await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => resume_unwind(panic),
        // The work is always done, and its result told.
        Err(_) => std::future::pending().await,
    }
}

fn hand_in(work: Work) {
    let mut queue = queue();
    queue.waiting.push_back((Instant::now(), work));
    if queue.idle > 0 {
        COME.notify_one();
        return;
    }
    let oldest = queue.waiting.front().map(|(since, _)| since.elapsed());
    let late = oldest.is_some_and(|waited| waited > PATIENCE);
    if queue.threads >= THREADS && !(late && queue.threads < THREADS_MAX) {
        return;
    }
    queue.threads += 1;
    let only = queue.threads == 1;
    drop(queue);
    let begun = std::thread::Builder::new()
        .name("brief".to_owned())
        .spawn(|| work_off(LINGER));
    match begun {
        Ok(_) => {}
        // No thread is to be had: then it is done here, or by those that there are.
        Err(_) if only => work_off(Duration::ZERO),
        Err(_) => self::queue().threads -= 1,
    }
}

fn work_off(linger: Duration) {
    let mut tells: Vec<Tell> = Vec::new();
    let mut since = Instant::now();
    loop {
        let mut queue = queue();
        let mut next = queue.waiting.pop_front();
        if next.is_none() && tells.is_empty() {
            queue.idle += 1;
            queue = COME
                .wait_timeout(queue, linger)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            queue.idle -= 1;
            next = queue.waiting.pop_front();
            if next.is_none() {
                queue.threads -= 1;
                return;
            }
        }
        drop(queue);
        let more = next.is_some();
        if let Some((_, work)) = next {
            if tells.is_empty() {
                since = Instant::now();
            }
            tells.push(work());
        }
        if !more || tells.len() >= TOLD_AT_ONCE || since.elapsed() > HELD_BACK {
            tells.drain(..).for_each(|tell| tell());
        }
    }
}

/// Work that is done beside other work.
type Beside = Box<dyn FnOnce() + Send>;

/// Threads that are kept for it.
struct Kept {
    waiting: VecDeque<Beside>,
    idle: usize,
}

static KEPT: Mutex<Kept> = Mutex::new(Kept {
    waiting: VecDeque::new(),
    idle: 0,
});
static BESIDE: Condvar = Condvar::new();

fn kept() -> MutexGuard<'static, Kept> {
    // Nothing panics while it holds the lock.
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does the work at once on a thread of its own, one that is idle or a new one. Where none is to be had, it is dropped.
pub(crate) fn beside(work: Beside) {
    let mut kept = kept();
    if kept.idle > kept.waiting.len() {
        kept.waiting.push_back(work);
        BESIDE.notify_one();
        return;
    }
    drop(kept);
    let _ = std::thread::Builder::new()
        .name("beside".to_owned())
        .spawn(|| work_beside(work));
}

fn work_beside(first: Beside) {
    let mut next = Some(first);
    while let Some(work) = next.take() {
        // A panic has been told of by now; the thread serves others.
        let _ = catch_unwind(AssertUnwindSafe(work));
        let mut kept = kept();
        if kept.waiting.is_empty() {
            kept.idle += 1;
            kept = BESIDE
                .wait_timeout(kept, LINGER)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            kept.idle -= 1;
        }
        next = kept.waiting.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_beside_goes_on_at_once_and_a_panic_harms_no_other() {
        let (told, heard) = std::sync::mpsc::channel();
        for round in 0..50_u64 {
            // Each waits for all others: they are under way at the same time.
            let together = std::sync::Arc::new(std::sync::Barrier::new(8));
            for number in 0..8 {
                let (told, together) = (told.clone(), together.clone());
                beside(Box::new(move || {
                    together.wait();
                    let _ = told.send(round * 8 + number);
                    assert!(number != 3, "a bug");
                }));
            }
            let mut all: Vec<_> = (0..8).filter_map(|_| heard.recv().ok()).collect();
            all.sort_unstable();
            assert_eq!(all, (round * 8..round * 8 + 8).collect::<Vec<_>>());
        }
    }

    #[tokio::test]
    async fn each_piece_of_work_gives_its_own_result() {
        let works = (0..1_000_u64).map(|number| async move { brief(move || number * 2).await });
        let results = futures::future::join_all(works).await;
        assert_eq!(results, (0..1_000).map(|number| number * 2).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_panic_goes_on_where_the_work_was_wanted() {
        let panicked = tokio::spawn(brief(|| panic!("a bug"))).await;
        assert!(panicked.unwrap_err().is_panic());
        assert_eq!(brief(|| 1).await, 1, "and harms no other work");
    }

    #[tokio::test]
    async fn work_that_takes_long_does_not_hold_up_what_comes_later() {
        let long: Vec<_> = (0..THREADS)
            .map(|_| tokio::spawn(brief(|| std::thread::sleep(Duration::from_secs(5)))))
            .collect();
        // Somebody has to come after patience has run out.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let waits = tokio::spawn(brief(|| 1));
        tokio::time::sleep(Duration::from_millis(50)).await;
        let begun = Instant::now();
        assert_eq!(brief(|| 2).await, 2);
        assert_eq!(waits.await.unwrap(), 1);
        assert!(begun.elapsed() < Duration::from_secs(3));
        drop(long);
    }
}
