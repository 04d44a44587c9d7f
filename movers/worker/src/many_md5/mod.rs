//! MD5 of many things at once. Where it is all that a store says of an object, it costs more than everything else that is
//! done to the bytes; side by side in the lanes of one processor, sixteen cost hardly more than one (`lanes`).
//!
//! ```text
//!  an object ──▶┐
//!  a part    ──▶├─ waiting ──▶ one thread: up to 16 side by side, a new one wherever one has ended
//!  an object ──▶┘
//!  coming: what is being read meanwhile, and will ask
//! ```
//!
//! Few side by side cost as much as many. So whoever begins to read what he will ask for says so, and as long as few wait and
//! others are coming, the thread waits for these a little.

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
/// Fewer than these wait for others that are coming.
const FEW: usize = 8;
/// They wait so long.
const GATHER: Duration = Duration::from_millis(60);
/// An idle thread waits so long for more.
const LINGER: Duration = Duration::from_millis(200);

/// The MD5 of bytes that come in chunks.
#[derive(Debug)]
pub(crate) struct RunningMd5 {
    state: State,
    size: u64,
    /// Bytes that make no block yet.
    rest: Vec<u8>,
    /// That its bytes are still coming.
    coming: Option<Coming>,
}

/// The word that bytes are coming of which the MD5 will be asked for.
#[derive(Debug)]
pub(crate) struct Coming(());

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
    /// How many have said that they are coming.
    coming: usize,
    /// The thread is woken when so many wait.
    wanted: usize,
    /// Whether a thread works.
    works: bool,
}

static QUEUE: Mutex<Queue> = Mutex::new(Queue {
    waiting: VecDeque::new(),
    coming: 0,
    wanted: 1,
    works: false,
});
static COME: Condvar = Condvar::new();

fn queue() -> MutexGuard<'static, Queue> {
    // Nothing panics while it holds the lock.
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Coming {
    /// Nobody waits for few bytes.
    pub(crate) fn say(bytes: u64) -> Option<Self> {
        if bytes < ALONE_BELOW as u64 {
            return None;
        }
        queue().coming += 1;
        Some(Self(()))
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        let mut queue = queue();
        queue.coming -= 1;
        if queue.coming == 0 && queue.works {
            COME.notify_one();
        }
    }
}

impl RunningMd5 {
    pub(crate) fn new() -> Self {
        Self {
            state: START,
            size: 0,
            rest: Vec::new(),
            coming: None,
        }
    }

    /// Of so many bytes that are going to be read now. Nothing else is waited for before they are taken in.
    pub(crate) fn of_coming(bytes: u64) -> Self {
        Self {
            coming: Coming::say(bytes),
            ..Self::new()
        }
    }

    /// Takes in what comes next. If this is given up in the middle, the digest is none of anything.
    pub(crate) async fn update(&mut self, chunks: &[Bytes]) {
        let stretches = self.cut(chunks);
        let bytes: usize = stretches.iter().map(Bytes::len).sum();
        if bytes < ALONE_BELOW {
            self.state = alone(self.state, &stretches);
            return;
        }
        let done = together(self.state, stretches);
        // It waits by now, and is no longer coming.
        self.coming = None;
        self.state = done.await;
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
        hex(&self.digest())
    }

    /// The digest of what has come.
    pub(crate) fn digest(&self) -> Vec<u8> {
        // RFC 1321, 3.1 and 3.2: a one, zeros up to a whole block, and at its end the number of bits.
        let mut end = self.rest.clone();
        end.push(0x80);
        let blocks = (end.len() + 8).div_ceil(BLOCK);
        end.resize(blocks * BLOCK - 8, 0);
        end.extend_from_slice(&self.size.wrapping_mul(8).to_le_bytes());
        let state = alone(self.state, &VecDeque::from([Bytes::from(end)]));
        state.iter().flat_map(|word| word.to_le_bytes()).collect()
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

fn together(state: State, stretches: VecDeque<Bytes>) -> impl Future<Output = State> {
    let (told, heard) = oneshot::channel();
    let again = stretches.clone();
    hand_in(Job {
        state,
        stretches,
        told,
    });
    // Where the thread is gone it is done here.
    async move { heard.await.unwrap_or_else(|_| alone(state, &again)) }
}

fn hand_in(job: Job) {
    let mut queue = queue();
    queue.waiting.push_back(job);
    if queue.works {
        if queue.waiting.len() == queue.wanted {
            COME.notify_one();
        }
        return;
    }
    queue.works = true;
    drop(queue);
    let begun = std::thread::Builder::new().name("md5".to_owned()).spawn(work_off);
    if begun.is_err() {
        // What waits is dropped, and done by whoever waits for it.
        self::queue().forget();
    }
}

impl Queue {
    /// Nobody works; whoever waits does it himself.
    fn forget(&mut self) {
        self.waiting.clear();
        self.works = false;
    }
}

/// Takes back, also in a panic, that a thread works.
struct Works;

impl Drop for Works {
    fn drop(&mut self) {
        queue().forget();
    }
}

fn work_off() {
    let works = Works;
    let arch = pulp::Arch::new();
    let mut under_way: Vec<Job> = Vec::new();
    let mut may_gather = true;
    loop {
        let mut queue = queue();
        if under_way.is_empty() {
            queue = wait(queue, 1, LINGER, |queue| !queue.waiting.is_empty());
            if queue.waiting.is_empty() {
                queue.works = false;
                // It would throw away what comes from here on.
                std::mem::forget(works);
                return;
            }
        }
        let free = LANES - under_way.len();
        if may_gather && under_way.len() + queue.waiting.len() < FEW {
            queue = wait(queue, free, GATHER, |queue| queue.coming == 0);
        }
        let come = queue.waiting.len().min(free);
        under_way.extend(queue.waiting.drain(..come));
        drop(queue);
        let before = under_way.len();
        under_way = go_on(arch, under_way);
        // They have waited; those who are left wait again when others have ended.
        may_gather = under_way.len() < before;
    }
}

/// Waits until so many wait or there is no reason to, at most so long.
fn wait(
    mut queue: MutexGuard<'static, Queue>,
    wanted: usize,
    timeout: Duration,
    is_enough: fn(&Queue) -> bool,
) -> MutexGuard<'static, Queue> {
    queue.wanted = wanted;
    let goes_on = |queue: &mut Queue| queue.waiting.len() < wanted && !is_enough(queue);
    let waited = COME.wait_timeout_while(queue, timeout, goes_on);
    waited.unwrap_or_else(PoisonError::into_inner).0
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
    async fn who_said_he_would_come_and_does_not_holds_up_nobody_for_long() {
        let bytes = Bytes::from(bytes_of(1 << 20, 5));
        let coming = RunningMd5::of_coming(1 << 20);
        assert_eq!(of(&bytes, 1 << 20).await, hex(&Md5::digest(&bytes)));
        drop(coming);
        let mut came = RunningMd5::of_coming(1 << 20);
        came.update(std::slice::from_ref(&bytes)).await;
        assert_eq!(came.finish(), hex(&Md5::digest(&bytes)));
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
