//! The runner-up: the cheapest other set of one dataset that meets as much, at its cost and the worth of the room that
//! it takes. An exact search by branch and bound over the backends in the order of price.
//!
//! A set that merely adds a copy to the plan's is no alternative to it. So at least one copy of the plan's set is left
//! out, each in turn.

use std::collections::BTreeSet;

use domicile_estate::BackendName;

use crate::cost::copy_cost;
use crate::ground;
use crate::plan::names;
use crate::problem::Requirement;
use crate::refusals::{Had, Scene};

/// Sets that the search may look at for one dataset.
const STEPS: u32 = 200_000;
/// Relative difference below which two sets count as equally good.
const TIE: f64 = 1e-12;

/// The best set other than the plan's.
#[derive(Debug, Clone, PartialEq)]
pub struct RunnerUp {
    /// Its backends, by name.
    pub backends: Vec<BackendName>,
    /// What it costs per month more than the plan's set; below zero where dear room is all that speaks for the plan's.
    pub cost_more: f64,
    /// What the room that it takes is worth per month more than that of the plan's set, at the shadow prices.
    pub room_worth_more: f64,
    /// Whether there is room for it with everything else as planned.
    pub has_room: bool,
    /// Whether no other set is better; `false` where the search was cut short.
    pub exact: bool,
}

/// The runner-up of a dataset; `None` if no other set meets as much.
pub(crate) fn runner_up(scene: &Scene<'_>, dataset: usize) -> Option<RunnerUp> {
    let (problem, subject) = (scene.problem, &scene.problem.datasets[dataset]);
    let planned = &scene.solution.sets[dataset];
    let forced = subject.kept_origin();
    let admissible = |backend: &usize| ground::causes(problem, scene.ground, subject, *backend).is_empty();
    let is_placed = subject.is_reached() && subject.has_current();
    if !is_placed || !planned.iter().all(|b| forced == Some(*b) || admissible(b)) {
        return None;
    }
    let bytes = u128::from(subject.summary.bytes.0);
    let could_hold =
        |backend: &usize| subject.copy_on(*backend).is_some() || bytes <= scene.ground.room[*backend];
    let offers = (0..problem.backends.len())
        .filter(|backend| forced != Some(*backend) && admissible(backend) && could_hold(backend))
        .map(|backend| Offer {
            backend,
            price: price(scene, dataset, backend),
        });
    let mut search = Search::new(scene, dataset, offers.collect());
    for left_out in planned.iter().filter(|backend| forced != Some(**backend)) {
        search.left_out = Some(*left_out);
        search.run(0, 0.0);
    }
    let (_, mut set) = search.best?;
    set.extend(forced);
    set.sort_unstable();
    let sum = |set: &[usize], of: &dyn Fn(usize) -> f64| set.iter().map(|b| of(*b)).sum::<f64>();
    let more = |of: &dyn Fn(usize) -> f64| sum(&set, of) - sum(planned, of);
    Some(RunnerUp {
        backends: names(problem, &set),
        cost_more: more(&|backend| {
            copy_cost(problem, subject, backend).per_month() + scene.tariff_more(dataset, backend)
        }),
        room_worth_more: more(&|backend| room_worth(scene, dataset, backend)),
        has_room: set
            .iter()
            .all(|b| subject.copy_on(*b).is_some() || scene.has_room(dataset, *b)),
        exact: search.steps < STEPS,
    })
}

/// What the room that a copy takes is worth to others, per month: its size times the shadow price; nothing where a copy
/// lies that stays anyway.
pub(crate) fn room_worth(scene: &Scene<'_>, dataset: usize, backend: usize) -> f64 {
    let subject = &scene.problem.datasets[dataset];
    if ground::stays_anyway(subject, backend) {
        return 0.0;
    }
    scene.solution.shadow_prices[backend] * subject.summary.bytes.gib()
}

fn price(scene: &Scene<'_>, dataset: usize, backend: usize) -> f64 {
    let cost = copy_cost(scene.problem, &scene.problem.datasets[dataset], backend);
    // What reduces the list price leaves no less than nothing but by rounding.
    let cost = (cost.per_month() + scene.tariff_more(dataset, backend)).max(0.0);
    cost + room_worth(scene, dataset, backend)
}

/// A backend at its price.
struct Offer {
    backend: usize,
    price: f64,
}

struct Search<'a> {
    requirements: Vec<&'a Requirement>,
    /// What the plan's set has of each: the least that another must have.
    least: Vec<Had>,
    /// Cheapest first.
    offers: Vec<Offer>,
    forced: Option<usize>,
    /// Whether the kept origin counts for the requirements.
    forced_counts: bool,
    /// Whether the kept origin is whole, so that the set may consist of it alone.
    forced_is_whole: bool,
    left_out: Option<usize>,
    chosen: Vec<usize>,
    best: Option<(f64, Vec<usize>)>,
    steps: u32,
}

impl<'a> Search<'a> {
    fn new(scene: &Scene<'a>, dataset: usize, mut offers: Vec<Offer>) -> Self {
        let (problem, subject) = (scene.problem, &scene.problem.datasets[dataset]);
        let requirements: Vec<_> = subject
            .profile
            .requirements
            .iter()
            .map(|position| &problem.requirements[*position])
            .collect();
        offers.sort_by(|a, b| a.price.total_cmp(&b.price).then(a.backend.cmp(&b.backend)));
        let forced = subject.kept_origin();
        Self {
            least: requirements.iter().map(|r| scene.had(dataset, r)).collect(),
            requirements,
            offers,
            forced,
            forced_counts: forced
                .is_some_and(|backend| ground::causes(problem, scene.ground, subject, backend).is_empty()),
            forced_is_whole: forced.is_some_and(|backend| subject.is_current_on(backend)),
            left_out: None,
            chosen: Vec::new(),
            best: None,
            steps: 0,
        }
    }

    /// What the chosen backends and the kept origin have of each requirement, no more than is needed.
    fn had(&self) -> Vec<Had> {
        let pairs = self.requirements.iter().zip(&self.least);
        pairs
            .map(|(requirement, least)| self.had_of(requirement).at_most(least))
            .collect()
    }

    fn had_of(&self, requirement: &Requirement) -> Had {
        let forced = self.forced.filter(|_| self.forced_counts);
        let counting: Vec<_> = self
            .chosen
            .iter()
            .copied()
            .chain(forced)
            .filter(|backend| requirement.accepts[*backend])
            .collect();
        Had::of(&counting, requirement)
    }

    /// Visits every set that extends the chosen one by offers from `start` on and may be better than the best.
    fn run(&mut self, start: usize, paid: f64) {
        self.steps = self.steps.saturating_add(1);
        let had = self.had();
        let is_whole = self.forced_is_whole || !self.chosen.is_empty();
        let enough = had.iter().zip(&self.least).all(|(had, least)| had.reaches(least));
        let ceiling = self
            .best
            .as_ref()
            .map_or(f64::INFINITY, |(best, _)| best - TIE * best.abs());
        if is_whole && enough {
            if paid < ceiling {
                self.best = Some((paid, self.chosen.clone()));
            }
            // Whatever is added is useless.
            return;
        }
        for next in start..self.offers.len() {
            let Some(rest) = self.still_to_pay(&had, next) else {
                return;
            };
            let ceiling = self.best.as_ref().map_or(f64::INFINITY, |(best, _)| *best);
            if self.steps >= STEPS || paid + rest >= ceiling {
                return;
            }
            let Offer { backend, price } = self.offers[next];
            if self.left_out == Some(backend) {
                continue;
            }
            self.chosen.push(backend);
            // Requirements are monotone and submodular: what is useless when it joins never becomes useful.
            if !is_whole || self.had() != had {
                self.run(next + 1, paid + price);
            }
            self.chosen.pop();
        }
    }

    /// A bound from below of what is still to be paid: the most that one requirement or spread alone must pay. `None`
    /// if the offers left cannot give enough.
    fn still_to_pay(&self, had: &[Had], start: usize) -> Option<f64> {
        let rest = || {
            self.offers[start..]
                .iter()
                .filter(|offer| self.left_out != Some(offer.backend))
        };
        let mut bound = if self.forced_is_whole || !self.chosen.is_empty() {
            0.0
        } else {
            rest().next()?.price
        };
        for (at, requirement) in self.requirements.iter().enumerate() {
            let (had, least) = (&had[at], &self.least[at]);
            let counting = || rest().filter(|offer| requirement.accepts[offer.backend]);
            let copies = least.copies.saturating_sub(had.copies) as usize;
            bound = f64::max(bound, cheapest(counting(), copies)?);
            for (position, spread) in requirement.spread.iter().enumerate() {
                let groups = least.groups[position].saturating_sub(had.groups[position]) as usize;
                let mut seen: BTreeSet<_> = self
                    .chosen
                    .iter()
                    .copied()
                    .chain(self.forced.filter(|_| self.forced_counts))
                    .filter(|backend| requirement.accepts[*backend])
                    .filter_map(|backend| spread.group_of[backend])
                    .collect();
                let new_groups =
                    counting().filter(|o| spread.group_of[o.backend].is_some_and(|group| seen.insert(group)));
                bound = f64::max(bound, cheapest(new_groups, groups)?);
            }
        }
        Some(bound)
    }
}

/// The sum of the first so many prices, which ascend; `None` if there are fewer.
fn cheapest<'o>(mut offers: impl Iterator<Item = &'o Offer>, count: usize) -> Option<f64> {
    let mut sum = 0.0;
    for _ in 0..count {
        sum += offers.next()?.price;
    }
    Some(sum)
}
