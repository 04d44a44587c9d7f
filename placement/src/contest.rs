//! What a dataset lost to others: where it would lie if it were alone, and had no room or no money.
//!
//! Documents say it of every dataset, and there may be a million. So what is the same for all datasets of a profile is
//! found once ([`Outlook`]), and of a hundred backends only the few that can be in a best set are looked at closely
//! ([`Contest::is_sought`]).

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cost::{
    TRANSFER_KWH_PER_GB, carbon_kg_per_month, copy_cost, egress_per_gib, price_per_kg, storage_per_month,
};
use crate::ground::{self, BudgetLimit, Cause};
use crate::problem::{Profile, Requirement, Subject};
use crate::refusals::{Had, Scene};
use crate::solve;

/// By how much more than this a backend may be too dear before it is left aside: what rounding may do is far less.
const ROUNDING: f64 = 1e-9;

/// How the backends look to the datasets of one profile, wherever they hold none of its copies and no way there is
/// closed.
#[derive(Debug, Default)]
pub(crate) struct Outlook {
    /// What keeps a new copy out, and of which backends; ascending.
    pub causes: Vec<(Cause, Vec<usize>)>,
    /// The backends that a new copy may come to and some requirement accepts; all, if nothing is required.
    pub open: Vec<usize>,
    /// Those that no requirement accepts.
    pub elsewhere: Vec<usize>,
    /// The most copies that any requirement asks for.
    copies: usize,
}

impl Outlook {
    fn of(scene: &Scene<'_>, subject: &Subject) -> Self {
        let problem = scene.problem;
        let mut outlook = Self::default();
        let mut causes: BTreeMap<Cause, Vec<usize>> = BTreeMap::new();
        let asked = || {
            let positions = subject.profile.requirements.iter();
            positions.map(|position| &problem.requirements[*position])
        };
        for backend in 0..problem.backends.len() {
            let found = ground::causes_of_new(problem, scene.ground, subject, backend);
            if !found.is_empty() {
                found
                    .into_iter()
                    .for_each(|cause| causes.entry(cause).or_default().push(backend));
            } else if !subject.is_reached() || asked().any(|requirement| requirement.accepts[backend]) {
                outlook.open.push(backend);
            } else {
                outlook.elsewhere.push(backend);
            }
        }
        outlook.causes = causes.into_iter().collect();
        outlook.copies = asked().map(|r| r.copies as usize).max().unwrap_or(0);
        outlook
    }
}

/// What is found once for a whole problem.
#[derive(Debug, Default)]
pub(crate) struct Known {
    outlooks: BTreeMap<*const Profile, Arc<Outlook>>,
    /// Price per GiB of reading from one backend for another, row by row.
    egress: Vec<f64>,
}

impl Known {
    /// How the backends look to a dataset, its own copies aside; `None` where that depends on where these lie.
    pub fn outlook(&mut self, scene: &Scene<'_>, subject: &Subject) -> Option<Arc<Outlook>> {
        if !scene.problem.links.is_empty() || !subject.has_current() {
            return None;
        }
        let places = &scene.problem.backends;
        if self.egress.is_empty() {
            let row = |a| places.iter().map(move |b| egress_per_gib(a, b, None));
            self.egress = places.iter().flat_map(row).collect();
        }
        let known = self.outlooks.entry(Arc::as_ptr(&subject.profile));
        Some(Arc::clone(
            known.or_insert_with(|| Arc::new(Outlook::of(scene, subject))),
        ))
    }
}

/// What a dataset lost to others.
pub(crate) struct Contest<'a> {
    pub scene: &'a Scene<'a>,
    pub dataset: usize,
    /// What is known beforehand, if anything.
    outlook: Option<&'a Outlook>,
    egress: &'a [f64],
    /// Its requirements that lack something.
    lacking: Vec<&'a Requirement>,
    /// Where it would lie if it shared room and budgets with nobody: searched for only where that is the question.
    wanted: OnceCell<Vec<usize>>,
}

impl<'a> Contest<'a> {
    pub fn new(
        scene: &'a Scene<'a>,
        dataset: usize,
        lacking: Vec<&'a Requirement>,
        (outlook, known): (Option<&'a Outlook>, &'a Known),
    ) -> Self {
        Self {
            scene,
            dataset,
            outlook,
            egress: &known.egress,
            lacking,
            wanted: OnceCell::new(),
        }
    }

    pub fn subject(&self) -> &'a Subject {
        &self.scene.problem.datasets[self.dataset]
    }

    /// The budgets that a copy there would overspend, with what is spent and what it would spend.
    pub fn overspent(&self, backend: usize) -> Vec<(&'a BudgetLimit, f64, f64)> {
        let (scene, subject) = (self.scene, self.subject());
        let budgets = scene.ground.budgets.iter().zip(&scene.spent);
        budgets
            .map(|(budget, spent)| (budget, *spent, budget.spends(scene.problem, subject, backend)))
            .filter(|(budget, spent, spends)| *spends > 0.0 && !budget.allows(*spent + *spends))
            .collect()
    }

    /// Whether a copy there would help: a requirement that lacks something accepts it, or it is where the dataset would
    /// lie if it were alone.
    pub fn is_sought(&self, backend: usize) -> bool {
        let lacks = |requirement: &&Requirement| requirement.accepts[backend];
        self.lacking.iter().any(lacks) || self.wanted.get_or_init(|| self.best_alone()).contains(&backend)
    }

    /// Where the dataset would lie if it shared room and budgets with nobody.
    fn best_alone(&self) -> Vec<usize> {
        let (problem, ground, dataset) = (self.scene.problem, self.scene.ground, self.dataset);
        let all = || solve::best_alone(problem, ground, dataset);
        let wanted = match self.near() {
            Near::Everywhere => return all(),
            Near::Exactly(set) => set,
            Near::Among(backends) => solve::best_alone_among(problem, ground, dataset, backends.into_iter()),
        };
        debug_assert_eq!(
            wanted,
            all(),
            "a backend was left aside that belongs to the best set"
        );
        wanted
    }

    /// Backends outside which no best set reaches. The plan's set meets everything, so that none is dearer; and a set with
    /// a backend costs at least that, the kept origin, and the cheapest other copies that must be there.
    fn near(&self) -> Near {
        let (problem, subject) = (self.scene.problem, self.subject());
        let set = &self.scene.solution.sets[self.dataset];
        let origin = subject.kept_origin();
        let admits = |backend: usize| ground::causes(problem, self.scene.ground, subject, backend).is_empty();
        let Some(outlook) = self.outlook.filter(|outlook| outlook.copies > 0) else {
            return Near::Everywhere;
        };
        if !self.lacking.is_empty() || !set.iter().all(|b| origin == Some(*b) || admits(*b)) {
            return Near::Everywhere;
        }
        let exact = |backend: usize| copy_cost(problem, subject, backend).per_month();
        let limit: f64 = set.iter().map(|backend| exact(*backend)).sum();
        let forced = origin.map_or(0.0, exact);
        let apart = outlook
            .open
            .iter()
            .copied()
            .filter(|b| subject.copy_on(*b).is_none());
        let there = subject.copies.iter().map(|held| held.backend);
        let there = there.filter(|b| origin != Some(*b) && admits(*b));
        let mut offers: Vec<_> = apart
            .map(|b| (self.about(b), b))
            .chain(there.map(|b| (exact(b), b)))
            .collect();
        // The origin may count for a requirement, and then for one copy.
        let others = outlook.copies - usize::from(origin.is_some_and(admits));
        let rounding = ROUNDING * limit.abs();
        let split = others.min(offers.len());
        if split > 0 {
            offers.select_nth_unstable_by(split - 1, |a, b| a.0.total_cmp(&b.0));
        }
        let (first, rest) = offers.split_at(split);
        let next = rest.iter().map(|(cost, _)| *cost).fold(f64::INFINITY, f64::min);
        let dearest = first.iter().map(|(cost, _)| *cost).fold(0.0, f64::max);
        let mut cheapest: Vec<usize> = first.iter().map(|(_, backend)| *backend).chain(origin).collect();
        cheapest.sort_unstable();
        if split == others && next > dearest + rounding && self.suffices(&cheapest, admits) {
            return Near::Exactly(cheapest);
        }
        let least: f64 = first.iter().map(|(cost, _)| *cost).sum();
        // With the dearest of the cheapest left out for it.
        let within = |cost: f64| forced + least - dearest.min(cost) + cost <= limit + rounding;
        let near = offers.iter().filter(|(cost, _)| within(*cost));
        let held = subject.copies.iter().map(|held| held.backend);
        let mut near: Vec<_> = near.map(|(_, backend)| *backend).chain(held).collect();
        near.sort_unstable();
        near.dedup();
        Near::Among(near)
    }

    /// Whether a set meets every requirement and holds a copy that is, or will be, whole.
    fn suffices(&self, set: &[usize], admits: impl Fn(usize) -> bool) -> bool {
        let (problem, subject) = (self.scene.problem, self.subject());
        let counting: Vec<_> = set.iter().copied().filter(|backend| admits(*backend)).collect();
        let meets = |requirement: &usize| {
            let requirement = &problem.requirements[*requirement];
            let accepted = counting.iter().copied().filter(|b| requirement.accepts[*b]);
            Had::of(&accepted.collect::<Vec<_>>(), requirement).is_all_of(requirement)
        };
        let is_whole =
            |backend: &usize| subject.kept_origin() != Some(*backend) || subject.is_current_on(*backend);
        set.iter().any(is_whole) && subject.profile.requirements.iter().all(meets)
    }

    /// What a new copy there adds to the objective, but for rounding: [`copy_cost`] without comparing names.
    fn about(&self, backend: usize) -> f64 {
        let (problem, subject) = (self.scene.problem, self.subject());
        let (place, price_per_kg) = (&problem.backends[backend], price_per_kg(subject));
        let (gib, thousands) = (
            subject.summary.bytes.gib(),
            subject.summary.objects as f64 / 1000.0,
        );
        let kwh = subject.summary.bytes.0 as f64 / 1e9 * TRANSFER_KWH_PER_GB;
        let read = |from: usize| {
            let source = &problem.backends[from];
            let egress = self.egress[from * problem.backends.len() + backend];
            let grid = f64::midpoint(source.energy.grid_grams_per_kwh, place.energy.grid_grams_per_kwh);
            gib * (egress + place.price.ingress_per_gib)
                + thousands * (source.price.get_per_1000 + place.price.put_per_1000)
                + kwh * grid / 1000.0 * price_per_kg
        };
        let current = || subject.copies.iter().filter(|held| held.is_current());
        let reachable = |from: &usize| problem.backends[*from].reachable;
        let cheapest = |froms: &mut dyn Iterator<Item = usize>| froms.map(read).reduce(f64::min);
        let transfer = cheapest(&mut current().map(|held| held.backend).filter(reachable))
            .or_else(|| cheapest(&mut current().map(|held| held.backend)));
        storage_per_month(subject, place)
            + carbon_kg_per_month(subject, place) * price_per_kg
            + transfer.unwrap_or(0.0) / f64::from(subject.profile.horizon_months.max(1))
    }
}

/// Where the best set of a dataset alone can reach.
enum Near {
    Everywhere,
    /// It is this one.
    Exactly(Vec<usize>),
    /// These backends, ascending.
    Among(Vec<usize>),
}
