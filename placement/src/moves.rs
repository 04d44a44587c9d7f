//! Moves: what to copy and what to retire, and what must wait for what.
//!
//! A dataset's retirements wait for its copies. A copy that finds no room waits for the retirements that make it, so
//! that no backend is ever above its capacity on the way (PL-3). Room counts everything that is recorded, also what is
//! yet to be retired.

use std::collections::BTreeMap;

use domicile_estate::{BackendName, ByteCount, DatasetName};
use sha2::{Digest, Sha256};

use crate::cost::{self, Transfer};
use crate::ground::{self, Ground};
use crate::problem::{Problem, Subject};
use crate::solution::Solution;

/// Bytes of the digest that a move's id shows.
const ID_BYTES: usize = 8;
/// Datasets with moves up to which a careful order is sought where the greedy one is stuck: its time grows with their
/// square.
const CAREFUL_DATASETS: usize = 5_000;

/// One copy to make or to retire.
#[derive(Debug, Clone, PartialEq)]
pub struct Move {
    /// Its id: equal for equal dataset, action and places.
    pub id: String,
    /// The dataset.
    pub dataset: DatasetName,
    /// What is done.
    pub action: Action,
    /// Bytes to move or to delete.
    pub bytes: ByteCount,
    /// Objects to move or to delete.
    pub objects: u64,
    /// Ids of the moves that must be done before, sorted.
    pub after: Vec<String>,
}

/// What a move does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Makes, completes or repairs a copy.
    Copy {
        /// Where it is read.
        from: BackendName,
        /// Where it is written.
        to: BackendName,
        /// Relays on the way.
        via: Vec<BackendName>,
        /// Money, once, without priced carbon.
        cost: f64,
        /// kg CO2e, once.
        carbon_kg: f64,
    },
    /// Deletes a copy.
    Retire {
        /// Where it lies.
        from: BackendName,
    },
}

impl Move {
    fn copy(problem: &Problem, subject: &Subject, to: usize, transfer: &Transfer) -> Self {
        let (from, to) = (&problem.backends[transfer.from].name, &problem.backends[to].name);
        Self {
            id: id(&subject.name, "Copy", from.as_str(), to.as_str()),
            dataset: subject.name.clone(),
            action: Action::Copy {
                from: from.clone(),
                to: to.clone(),
                via: Vec::new(),
                cost: transfer.money,
                carbon_kg: transfer.carbon_kg,
            },
            bytes: ByteCount(transfer.bytes),
            objects: transfer.objects,
            after: Vec::new(),
        }
    }

    fn retire(problem: &Problem, subject: &Subject, from: usize) -> Self {
        let from = &problem.backends[from].name;
        Self {
            id: id(&subject.name, "Retire", from.as_str(), ""),
            dataset: subject.name.clone(),
            action: Action::Retire { from: from.clone() },
            bytes: subject.summary.bytes,
            objects: subject.summary.objects,
            after: Vec::new(),
        }
    }
}

fn id(dataset: &DatasetName, action: &str, from: &str, to: &str) -> String {
    // No name holds a NUL, so that no two moves give the same text.
    let text = [dataset.as_str(), action, from, to].join("\0");
    hex(&Sha256::digest(text.as_bytes())[..ID_BYTES])
}

/// Bytes in lower case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The backends to which a dataset's copies are to be made, completed or repaired for a set.
pub(crate) fn targets(problem: &Problem, subject: &Subject, set: &[usize]) -> Vec<(usize, Transfer)> {
    let made = |backend: &usize| {
        cost::copy_cost(problem, subject, *backend)
            .transfer
            .map(|made| (*backend, made))
    };
    set.iter().filter_map(made).collect()
}

/// The backends from which a dataset's copies are to be retired for a set.
pub(crate) fn retired(problem: &Problem, subject: &Subject, set: &[usize]) -> Vec<usize> {
    let left = ground::left_alone(problem, subject, set);
    let retires = |backend: &usize| !set.contains(backend) && !left.contains(backend);
    subject
        .copies
        .iter()
        .map(|held| held.backend)
        .filter(retires)
        .collect()
}

/// Datasets whose copies wait for each other in a circle, by name, each with the backends that they wait for.
pub(crate) type Stuck = Vec<(usize, Vec<usize>)>;

/// The moves that lead to a solution, by dataset, copies first, then by backend.
pub(crate) fn moves(problem: &Problem, solution: &Solution) -> Result<Vec<Move>, Stuck> {
    let mut way = Way::begin(problem, solution);
    way.run();
    let stuck = way.stuck();
    if stuck.is_empty() {
        return Ok(way.into_moves());
    }
    let mut careful = Way::begin(problem, solution);
    careful.run_carefully();
    if careful.stuck().is_empty() {
        Ok(careful.into_moves())
    } else {
        Err(stuck)
    }
}

/// The way from what is there now to a solution, simulated. The greedy order is quick and waits little: copies that fit
/// run, then what they free is retired, and so on. But a dataset of which only some copies fit takes room then and
/// frees none, and may so bar the way of others; the careful order finishes one dataset before it begins the next.
struct Way<'a> {
    problem: &'a Problem,
    used: Vec<u128>,
    room: Vec<u128>,
    /// By dataset, then target.
    copies: Vec<CopyStep>,
    /// For each dataset, what it retires and whether it has.
    retires: BTreeMap<usize, RetireStep>,
    /// For each backend, the ids of the retirements there that were run so far.
    freed: Vec<Vec<String>>,
}

struct CopyStep {
    dataset: usize,
    to: usize,
    /// Bytes of room that it takes: none where a copy is recorded already.
    takes: u128,
    done: bool,
    waited: bool,
    planned: Move,
}

struct RetireStep {
    done: bool,
    from: Vec<usize>,
    planned: Vec<Move>,
}

impl<'a> Way<'a> {
    fn begin(problem: &'a Problem, solution: &Solution) -> Self {
        let ground = Ground::of(problem);
        let mut copies = Vec::new();
        let mut retires = BTreeMap::new();
        for (dataset, (subject, set)) in problem.datasets.iter().zip(&solution.sets).enumerate() {
            for (to, transfer) in targets(problem, subject, set) {
                let takes = if subject.copy_on(to).is_some() {
                    0
                } else {
                    u128::from(subject.summary.bytes.0)
                };
                let planned = Move::copy(problem, subject, to, &transfer);
                copies.push(CopyStep {
                    dataset,
                    to,
                    takes,
                    done: false,
                    waited: false,
                    planned,
                });
            }
            let from = retired(problem, subject, set);
            let planned = from
                .iter()
                .map(|from| Move::retire(problem, subject, *from))
                .collect::<Vec<_>>();
            if !from.is_empty() {
                retires.insert(
                    dataset,
                    RetireStep {
                        done: false,
                        from,
                        planned,
                    },
                );
            }
        }
        let freed = vec![Vec::new(); problem.backends.len()];
        Self {
            problem,
            used: ground.used,
            room: ground.room,
            copies,
            retires,
            freed,
        }
    }

    fn run(&mut self) {
        while self.run_copies() | self.run_retires() {}
    }

    /// Runs one whole dataset at a time, its copies and then its retirements, as long as one fits.
    ///
    /// A copy waits for every retirement at its target that ran before it. However moves then run side by side, of
    /// the copies begun on a backend the latest of this order finds done there all that was retired before it; no more
    /// copies than those up to it are there, so that the backend never holds more than in this order.
    fn run_carefully(&mut self) {
        let mut open = self.by_dataset();
        if open.len() > CAREFUL_DATASETS {
            return;
        }
        while let Some(dataset) = self.next_whole(&open) {
            for copy in open.remove(&dataset).into_iter().flatten() {
                let step = &mut self.copies[copy];
                self.used[step.to] += step.takes;
                step.done = true;
                if step.takes > 0 {
                    step.planned.after.clone_from(&self.freed[step.to]);
                }
            }
            self.retire(dataset);
        }
    }

    /// The places in `copies` of every dataset that has moves.
    fn by_dataset(&self) -> BTreeMap<usize, Vec<usize>> {
        let mut open: BTreeMap<usize, Vec<usize>> = self
            .retires
            .keys()
            .map(|dataset| (*dataset, Vec::new()))
            .collect();
        for (place, copy) in self.copies.iter().enumerate() {
            open.entry(copy.dataset).or_default().push(place);
        }
        open
    }

    /// The dataset to run next of those whose copies all fit: first one that frees a backend which a waiting copy
    /// lacks, for any other may take room that is needed on the way; then one that frees any; then the first by name.
    fn next_whole(&self, open: &BTreeMap<usize, Vec<usize>>) -> Option<usize> {
        let mut lacking = vec![false; self.used.len()];
        let mut whole = Vec::new();
        for (dataset, copies) in open {
            let mut fits = true;
            for copy in copies.iter().map(|copy| &self.copies[*copy]) {
                if !self.fits(copy) {
                    fits = false;
                    lacking[copy.to] = true;
                }
            }
            if fits {
                whole.push(*dataset);
            }
        }
        let rank = |dataset: &usize| match self.retires.get(dataset) {
            Some(step) if step.from.iter().any(|from| lacking[*from]) => 0,
            Some(_) => 1,
            None => 2,
        };
        // The first of equal ones is the first by name.
        whole.into_iter().min_by_key(rank)
    }

    fn fits(&self, step: &CopyStep) -> bool {
        step.takes == 0 || self.used[step.to] + step.takes <= self.room[step.to]
    }

    /// Datasets with copies that did not run, each with where these would go.
    fn stuck(&self) -> Stuck {
        let mut stuck: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for step in self.copies.iter().filter(|step| !step.done) {
            stuck.entry(step.dataset).or_default().push(step.to);
        }
        stuck.into_iter().collect()
    }

    /// Runs every copy that fits. Whether any did.
    fn run_copies(&mut self) -> bool {
        let mut ran = false;
        for place in 0..self.copies.len() {
            let fits = self.fits(&self.copies[place]);
            let step = &mut self.copies[place];
            if step.done {
                continue;
            }
            if !fits {
                step.waited = true;
                continue;
            }
            self.used[step.to] += step.takes;
            step.done = true;
            ran = true;
            if step.waited {
                step.planned.after.clone_from(&self.freed[step.to]);
            }
        }
        ran
    }

    /// Runs the retirements of every dataset whose copies are done. Whether any ran.
    fn run_retires(&mut self) -> bool {
        let open = self.retires.iter().filter(|(_, step)| !step.done);
        let ready: Vec<_> = open
            .map(|(dataset, _)| *dataset)
            .filter(|dataset| self.copies_of(*dataset).all(|copy| copy.done))
            .collect();
        ready.iter().for_each(|dataset| self.retire(*dataset));
        !ready.is_empty()
    }

    fn copies_of(&self, dataset: usize) -> impl Iterator<Item = &CopyStep> {
        let start = self.copies.partition_point(|copy| copy.dataset < dataset);
        self.copies[start..]
            .iter()
            .take_while(move |copy| copy.dataset == dataset)
    }

    /// Runs the retirements of a dataset; they wait for its copies.
    fn retire(&mut self, dataset: usize) {
        let copies: Vec<_> = self
            .copies_of(dataset)
            .map(|copy| copy.planned.id.clone())
            .collect();
        let Some(step) = self.retires.get_mut(&dataset) else {
            return;
        };
        for (from, planned) in step.from.iter().zip(&mut step.planned) {
            self.used[*from] -= u128::from(self.problem.datasets[dataset].summary.bytes.0);
            self.freed[*from].push(planned.id.clone());
            planned.after.clone_from(&copies);
        }
        step.done = true;
    }

    fn into_moves(self) -> Vec<Move> {
        let copies = self
            .copies
            .into_iter()
            .map(|step| ((step.dataset, 0, step.to), step.planned));
        let retires = self.retires.into_iter().flat_map(|(dataset, step)| {
            step.from
                .into_iter()
                .map(move |from| (dataset, 1, from))
                .zip(step.planned)
        });
        let sorted: BTreeMap<_, _> = copies.chain(retires).collect();
        let finish = |mut planned: Move| {
            planned.after.sort_unstable();
            planned
        };
        sorted.into_values().map(finish).collect()
    }
}
