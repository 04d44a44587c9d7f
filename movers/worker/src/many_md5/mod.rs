//! MD5 of many things at once. Where it is all that a store says of an object, it costs more than everything else that is
//! done to the bytes; side by side in the lanes of one processor, sixteen cost hardly more than one (`lanes`).
//!
//! ```text
//!  an object ──▶┐
//!  a part    ──▶├─ waiting ──▶ one thread: up to 16 side by side, a new one wherever one has ended
//!  an object ──▶┘
//! ```

mod lanes;

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::digest::hex;
use lanes::{BLOCK, LANES, START, State};

/// Less is digested at once by whoever has it: waiting would cost more.
const ALONE_BELOW: usize = 32 * 1024;
/// Bytes of each that are taken in before another may come in: they stay in the processor's cache.
const STRETCH: usize = 8 * 1024;
/// The first one waits so long for others to come.
const GATHER: Duration = Duration::from_millis(8);
/// An idle thread waits so long for more.
const LINGER: Duration = Duration::from_millis(200);

/// The MD5 of bytes that come in chunks.
#[derive(Debug)]
pub(crate) struct RunningMd5 {
    state: State,
    size: u64,
    /// Bytes that make no block yet.
    rest: Vec<u8>,
}

/// Something that waits to be digested along with others.
struct Job {
    state: State,
    /// Whole blocks each.
    stretches: VecDeque<Bytes>,
    told: oneshot::Sender<State>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Job>,
    /// Whether a thread works.
    works: bool,
}

static QUEUE: Mutex<Queue> = Mutex::new(Queue {
    waiting: VecDeque::new(),
    works: false,
});
static COME: Condvar = Condvar::new();

fn queue() -> MutexGuard<'static, Queue> {
    // Nothing panics while it holds the lock.
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl RunningMd5 {
    pub(crate) fn new() -> Self {
        Self {
            state: START,
            size: 0,
            rest: Vec::new(),
        }
    }

    /// Takes in what comes next. If this is given up in the middle, the digest is none of anything.
    pub(crate) async fn update(&mut self, chunks: &[Bytes]) {
        let stretches = self.cut(chunks);
        let bytes: usize = stretches.iter().map(Bytes::len).sum();
        self.state = match bytes < ALONE_BELOW {
            true => alone(self.state, &stretches),
            false => together(self.state, stretches).await,
        };
    }

    /// What has come of whole blocks; what is over waits for more.
    fn cut(&mut self, chunks: &[Bytes]) -> VecDeque<Bytes> {
        let mut stretches = VecDeque::new();
        for chunk in chunks {
            self.size += chunk.len() as u64;
            let mut chunk = chunk.clone();
            if !self.rest.is_empty() {
                let wanted = (BLOCK - self.rest.len()).min(chunk.len());
                self.rest.extend_from_slice(&chunk.split_to(wanted));
                if self.rest.len() < BLOCK {
                    continue;
                }
                stretches.push_back(Bytes::from(std::mem::take(&mut self.rest)));
            }
            let whole = chunk.split_to(chunk.len() - chunk.len() % BLOCK);
            if !whole.is_empty() {
                stretches.push_back(whole);
            }
            self.rest.extend_from_slice(&chunk);
        }
        stretches
    }

    /// The digest, in lower case hexadecimal.
    pub(crate) fn finish(self) -> String {
        // RFC 1321, 3.1 and 3.2: a one, zeros up to a whole block, and at its end the number of bits.
        let mut end = self.rest;
        end.push(0x80);
        let blocks = (end.len() + 8).div_ceil(BLOCK);
        end.resize(blocks * BLOCK - 8, 0);
        end.extend_from_slice(&self.size.wrapping_mul(8).to_le_bytes());
        let state = alone(self.state, &VecDeque::from([Bytes::from(end)]));
        let bytes: Vec<u8> = state.iter().flat_map(|word| word.to_le_bytes()).collect();
        hex(&bytes)
    }
}

fn alone(state: State, stretches: &VecDeque<Bytes>) -> State {
    let mut states = [state];
    for stretch in stretches {
        lanes::take_in(pulp::Arch::new(), &mut states, &[stretch]);
    }
    let [state] = states;
    state
}

async fn together(state: State, stretches: VecDeque<Bytes>) -> State {
    let (told, heard) = oneshot::channel();
    let again = stretches.clone();
    hand_in(Job {
        state,
        stretches,
        told,
    });
    // Where the thread is gone it is done here.
    heard.await.unwrap_or_else(|_| alone(state, &again))
}

fn hand_in(job: Job) {
    let mut queue = queue();
    queue.waiting.push_back(job);
    if queue.works {
        // The first one wakes a thread that idles, and the last one that there is room for ends its waiting for others.
        if matches!(queue.waiting.len(), 1 | LANES) {
            COME.notify_one();
        }
        return;
    }
    queue.works = true;
    drop(queue);
    let begun = std::thread::Builder::new().name("md5".to_owned()).spawn(work_off);
    if begun.is_err() {
        // What waits is dropped, and done by whoever waits for it.
        *self::queue() = Queue::default();
    }
}

/// Takes back, also in a panic, that a thread works.
struct Works;

impl Drop for Works {
    fn drop(&mut self) {
        *queue() = Queue::default();
    }
}

fn work_off() {
    let works = Works;
    let arch = pulp::Arch::new();
    let mut under_way: Vec<Job> = Vec::new();
    loop {
        let mut queue = queue();
        if under_way.is_empty() {
            queue = wait(queue);
            if queue.waiting.is_empty() {
                queue.works = false;
                // It would throw away what comes from here on.
                std::mem::forget(works);
                return;
            }
        }
        let free = LANES - under_way.len();
        let come = queue.waiting.len().min(free);
        under_way.extend(queue.waiting.drain(..come));
        drop(queue);
        under_way = go_on(arch, under_way);
    }
}

/// Waits for something to do, and then a little for more of it.
fn wait(mut queue: MutexGuard<'static, Queue>) -> MutexGuard<'static, Queue> {
    let woken = |guard, timeout, until: fn(&mut Queue) -> bool| {
        let waited = COME.wait_timeout_while(guard, timeout, move |queue| !until(queue));
        waited.unwrap_or_else(PoisonError::into_inner).0
    };
    if queue.waiting.is_empty() {
        queue = woken(queue, LINGER, |queue| !queue.waiting.is_empty());
    }
    if queue.waiting.is_empty() {
        return queue;
    }
    woken(queue, GATHER, |queue| queue.waiting.len() >= LANES)
}

/// Takes in a stretch of each, and tells those that have ended.
fn go_on(arch: pulp::Arch, mut under_way: Vec<Job>) -> Vec<Job> {
    let shortest = under_way
        .iter()
        .filter_map(|job| job.stretches.front().map(Bytes::len))
        .min();
    let bytes = shortest.unwrap_or(0).min(STRETCH);
    let mut states: Vec<State> = under_way.iter().map(|job| job.state).collect();
    let messages: Vec<&[u8]> = under_way
        .iter()
        .map(|job| {
            job.stretches
                .front()
                .and_then(|front| front.get(..bytes))
                .unwrap_or_default()
        })
        .collect();
    lanes::take_in(arch, &mut states, &messages);
    for (job, state) in under_way.iter_mut().zip(states) {
        job.state = state;
        if let Some(front) = job.stretches.front_mut() {
            let _taken = front.split_to(bytes);
            if front.is_empty() {
                job.stretches.pop_front();
            }
        }
    }
    let ended = under_way.extract_if(.., |job| job.stretches.is_empty());
    for job in ended {
        // Whoever asked may have gone.
        let _ = job.told.send(job.state);
    }
    under_way
}

#[cfg(test)]
mod tests {
    use md5::{Digest as _, Md5};

    use super::*;

    fn bytes_of(size: usize, seed: usize) -> Vec<u8> {
        (0..size).map(|at| ((at + seed) * 31 % 251) as u8).collect()
    }

    async fn of(bytes: &[u8], cut: usize) -> String {
        let mut running = RunningMd5::new();
        let chunks: Vec<_> = bytes.chunks(cut).map(Bytes::copy_from_slice).collect();
        // In two goes, as parts come.
        let (first, second) = chunks.split_at(chunks.len() / 3);
        running.update(first).await;
        running.update(second).await;
        running.finish()
    }

    #[tokio::test]
    async fn digests_are_those_of_the_standard() {
        // RFC 1321, A.5.
        assert_eq!(of(b"", 1).await, "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(of(b"abc", 1).await, "900150983cd24fb0d6963f7d28e17f72");
        let digits = "1234567890".repeat(8);
        assert_eq!(of(digits.as_bytes(), 7).await, "57edf4a22be3c955ac49da2e2107b67a");
    }

    #[tokio::test]
    async fn any_number_of_any_size_side_by_side_are_as_if_alone() {
        for count in [1, 2, 7, 8, 9, 15, 16, 17, 40] {
            let all = (0..count).map(|number| async move {
                let sizes = [
                    0,
                    1,
                    55,
                    56,
                    63,
                    64,
                    65,
                    4096,
                    100_000,
                    1 << 20,
                    (1 << 20) + 63,
                    3_000_001,
                ];
                let bytes = bytes_of(sizes[number * 5 % sizes.len()] + number, number);
                let cut = [64, 1000, 65_536, 1 << 20, 777_777][number % 5];
                let found = of(&bytes, cut).await;
                assert_eq!(found, hex(&Md5::digest(&bytes)), "{} bytes by {cut}", bytes.len());
            });
            futures::future::join_all(all).await;
        }
    }

    #[tokio::test]
    async fn one_bit_makes_another_digest() {
        let bytes = bytes_of(200_000, 1);
        let right = of(&bytes, 1 << 16).await;
        for at in [0, 63, 64, 99_999, 199_999] {
            let mut other = bytes.clone();
            other[at] ^= 0x10;
            assert_ne!(of(&other, 1 << 16).await, right, "{at}");
        }
    }

    #[tokio::test]
    async fn who_goes_away_holds_up_nobody() {
        let bytes = Bytes::from(bytes_of(1 << 20, 3));
        for _ in 0..20 {
            let mut gone = RunningMd5::new();
            let chunks = [bytes.clone()];
            tokio::select! {
                biased;
                () = gone.update(&chunks) => {}
                () = std::future::ready(()) => {}
            }
        }
        assert_eq!(of(&bytes, 1 << 20).await, hex(&Md5::digest(&bytes)));
    }
}
