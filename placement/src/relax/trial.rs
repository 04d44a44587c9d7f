//! Trying changes out: the problem is changed, solved anew, and the dataset looked at.

use std::sync::Arc;

use domicile_estate::ByteCount;

use super::change::Change;
use crate::cost::copy_cost;
use crate::ground::{self, BudgetLimit, BudgetUnit, Ground};
use crate::plan::carry_out;
use crate::problem::{Problem, Requirement, Subject};
use crate::refusals::{Had, Scene};
use crate::solution::Solution;

/// Pairs of a dataset and a backend up to which every try plans the whole estate anew; beyond, the other datasets stay
/// as planned.
const WHOLE_PAIRS: usize = 400;
/// Pairs up to which what was found beside the others is tried once more by planning the whole estate anew.
const VERIFIED_PAIRS: usize = 20_000;
/// Pairs that one plan may solve anew for its relaxations, all tries together.
const PLAN_PAIRS: usize = 100_000;
/// The same for the explanation of one dataset.
const EXPLANATION_PAIRS: usize = 200_000;
/// Times that one plan is made anew to verify what was found beside the others: few, since it may take as long each time
/// as the plan itself.
const PLAN_VERIFICATIONS: usize = 4;
/// The same for the explanation of one dataset, so that all that is offered is verified.
const EXPLANATION_VERIFICATIONS: usize = 12;
/// Tries for one dataset and one kind of change where the whole estate is planned anew.
const WHOLE_TRIES: usize = 400;
/// Tries for one dataset and one kind of change where the others stay.
const BESIDE_TRIES: usize = 160;

/// How much may still be tried.
#[derive(Debug)]
pub(crate) struct Effort {
    pairs: usize,
    verifications: usize,
}

impl Effort {
    /// What one plan may try for all its datasets.
    pub fn of_a_plan() -> Self {
        Self {
            pairs: PLAN_PAIRS,
            verifications: PLAN_VERIFICATIONS,
        }
    }

    /// What the explanation of one dataset may try.
    pub fn of_an_explanation() -> Self {
        Self {
            pairs: EXPLANATION_PAIRS,
            verifications: EXPLANATION_VERIFICATIONS,
        }
    }
}

/// Tries changes for one dataset.
pub(super) struct Trial<'a> {
    pub scene: &'a Scene<'a>,
    pub dataset: usize,
    /// Whether each try plans the whole estate anew.
    pub whole: bool,
    effort: &'a mut Effort,
    tries: usize,
    beside: Beside,
}

/// What a try led to.
pub(super) struct Answer {
    /// Bytes that each backend holds in the end, all datasets together.
    pub used: Vec<u128>,
    /// What is spent of each budget in the end, all datasets together.
    pub spent: Vec<f64>,
    /// For each policy, bytes and money that the plan moves of its datasets.
    pub moved: Vec<(u64, f64)>,
    /// Other datasets that were satisfied before and are not now.
    pub victims: Vec<usize>,
}

/// The dataset with what the others leave it.
#[derive(Default)]
struct Beside {
    problem: Problem,
    /// Bytes of others on each backend in the end.
    used: Vec<u128>,
    /// Moved of others, for each policy.
    moved: Vec<(u64, f64)>,
}

impl<'a> Trial<'a> {
    /// Tries that plan the whole estate anew; `None` where it is too large, or too much was tried already.
    pub fn whole(scene: &'a Scene<'a>, dataset: usize, effort: &'a mut Effort) -> Option<Self> {
        let pairs = pairs(scene.problem);
        if pairs > WHOLE_PAIRS || effort.pairs < pairs {
            return None;
        }
        Some(Self {
            scene,
            dataset,
            whole: true,
            effort,
            tries: WHOLE_TRIES,
            beside: Beside::default(),
        })
    }

    /// Tries in which the other datasets stay as planned.
    pub fn beside(scene: &'a Scene<'a>, dataset: usize, effort: &'a mut Effort) -> Self {
        Self {
            scene,
            dataset,
            whole: false,
            effort,
            tries: BESIDE_TRIES,
            beside: Beside::of(scene, dataset),
        }
    }

    /// Begins to look for changes of another kind, with as many tries as for the first.
    pub fn refill(&mut self) {
        self.tries = if self.whole { WHOLE_TRIES } else { BESIDE_TRIES };
    }

    /// Whether nothing more may be tried. What was being made smaller then is not known to be the smallest.
    pub fn is_exhausted(&self) -> bool {
        self.tries == 0
    }

    /// Whether the plan as a whole may try nothing more.
    pub fn is_spent(&self) -> bool {
        self.effort.pairs < pairs(self.scene.problem)
    }

    /// What these changes lead to, if they satisfy the dataset.
    pub fn satisfying(&mut self, changes: &[Change]) -> Option<Answer> {
        let pairs = if self.whole { pairs(self.scene.problem) } else { 0 };
        if self.tries == 0 || self.effort.pairs < pairs {
            self.tries = 0;
            return None;
        }
        self.tries -= 1;
        self.effort.pairs -= pairs;
        if self.whole {
            self.by_planning_anew(changes)
        } else {
            self.beside_the_others(changes)
        }
    }

    /// Plans the whole estate anew with what was found beside the others: whether that satisfies the dataset too, and
    /// whom it harms. `None` where the estate is too large or too much was tried already.
    pub fn verified(&mut self, changes: &[Change]) -> Option<Option<Vec<usize>>> {
        if pairs(self.scene.problem) > VERIFIED_PAIRS || self.effort.verifications == 0 {
            return None;
        }
        self.effort.verifications -= 1;
        Some(self.by_planning_anew(changes).map(|answer| answer.victims))
    }

    fn by_planning_anew(&self, changes: &[Change]) -> Option<Answer> {
        let mut changed = self.scene.problem.clone();
        for change in changes {
            change.apply(&mut changed, self.dataset);
        }
        if !could_be_satisfied(&changed, self.dataset) {
            return None;
        }
        let solution = carry_out(&changed, None).0;
        let ground = Ground::of(&changed);
        let after = Scene::new(&changed, &ground, &solution);
        if !after.is_satisfied(self.dataset) {
            return None;
        }
        let suffers = |other: &usize| self.scene.is_satisfied(*other) && !after.is_satisfied(*other);
        Some(Answer {
            victims: (0..changed.datasets.len()).filter(suffers).collect(),
            moved: moved(&changed, &solution, |_| true),
            used: after.used,
            spent: in_the_order_of(&self.scene.ground.budgets, &ground.budgets, &after.spent),
        })
    }

    fn beside_the_others(&self, changes: &[Change]) -> Option<Answer> {
        let (scene, beside) = (self.scene, &self.beside);
        let mut changed = beside.problem.clone();
        for change in changes {
            self.left_of(change).apply(&mut changed, 0);
        }
        if !could_be_satisfied(&changed, 0) {
            return None;
        }
        let solution = carry_out(&changed, None).0;
        let ground = Ground::of(&changed);
        let after = Scene::new(&changed, &ground, &solution);
        if !after.is_satisfied(0) {
            return None;
        }
        let used = beside
            .used
            .iter()
            .zip(&after.used)
            .map(|(others, own)| others + own);
        let own_spent = in_the_order_of(&scene.ground.budgets, &ground.budgets, &after.spent);
        let own_moved = moved(&changed, &solution, |_| true);
        let answer = Answer {
            used: used.collect(),
            spent: (0..own_spent.len())
                .map(|budget| self.spent_by_others(budget) + own_spent[budget])
                .collect(),
            moved: own_moved
                .iter()
                .zip(&beside.moved)
                .map(|(own, others)| (own.0 + others.0, own.1 + others.1))
                .collect(),
            victims: Vec::new(),
        };
        self.fits(changes, &answer).then_some(answer)
    }

    /// A change of the whole estate as a change of what the others leave.
    fn left_of(&self, change: &Change) -> Change {
        let scene = self.scene;
        match change {
            Change::Capacity { backend, bytes } => {
                let room = u128::from(*bytes).max(scene.ground.used[*backend]);
                let left = room.saturating_sub(self.beside.used[*backend]);
                Change::Capacity {
                    backend: *backend,
                    bytes: u64::try_from(left).unwrap_or(u64::MAX),
                }
            }
            Change::Budget { policy, unit, amount } => {
                let budgets = &scene.ground.budgets;
                let same = |budget: &BudgetLimit| budget.policy == *policy && budget.unit == *unit;
                let others = budgets
                    .iter()
                    .position(same)
                    .map_or(0.0, |b| self.spent_by_others(b));
                Change::Budget {
                    policy: *policy,
                    unit: *unit,
                    amount: (amount - others).max(0.0),
                }
            }
            Change::MovedBytes { policy, bytes } => Change::MovedBytes {
                policy: *policy,
                bytes: bytes.saturating_sub(self.beside.moved[*policy].0),
            },
            Change::MovedCost { policy, amount } => Change::MovedCost {
                policy: *policy,
                amount: (amount - self.beside.moved[*policy].1).max(0.0),
            },
            Change::Require(_) | Change::Lift(_) | Change::State { .. } => change.clone(),
        }
    }

    fn spent_by_others(&self, budget: usize) -> f64 {
        let scene = self.scene;
        let subject = &scene.problem.datasets[self.dataset];
        let own: f64 = scene.solution.sets[self.dataset]
            .iter()
            .map(|b| scene.ground.budgets[budget].spends(scene.problem, subject, *b))
            .sum();
        scene.spent[budget] - own
    }

    /// Whether everything together keeps to the limits: alone, a dataset may always keep what it has now, even where
    /// the others have spent it.
    fn fits(&self, changes: &[Change], answer: &Answer) -> bool {
        let scene = self.scene;
        let room = |backend: usize| {
            let larger = changes.iter().find_map(|change| match change {
                Change::Capacity { backend: of, bytes } if *of == backend => Some(u128::from(*bytes)),
                _ => None,
            });
            scene.ground.room[backend].max(larger.unwrap_or(0))
        };
        let limit = |budget: &BudgetLimit| {
            let larger = changes.iter().find_map(|change| match change {
                Change::Budget { policy, unit, amount }
                    if *policy == budget.policy && *unit == budget.unit =>
                {
                    Some(*amount)
                }
                Change::MovedBytes { policy, bytes }
                    if *policy == budget.policy && budget.unit == BudgetUnit::MoveBytes =>
                {
                    Some(*bytes as f64)
                }
                Change::MovedCost { policy, amount }
                    if *policy == budget.policy && budget.unit == BudgetUnit::MoveCost =>
                {
                    Some(*amount)
                }
                _ => None,
            });
            BudgetLimit {
                stated: larger.unwrap_or(budget.stated),
                ..*budget
            }
        };
        let has_room = (0..answer.used.len()).all(|backend| answer.used[backend] <= room(backend));
        let budgets = scene.ground.budgets.iter().zip(&answer.spent);
        has_room
            && budgets
                .into_iter()
                .all(|(budget, spent)| limit(budget).allows(*spent))
    }
}

/// Whether the backends that the rules leave to a dataset would satisfy it, were there room and money for all of them:
/// most changes need not be planned to see that they do not help.
fn could_be_satisfied(problem: &Problem, dataset: usize) -> bool {
    let subject = &problem.datasets[dataset];
    let ground = Ground {
        used: vec![0; problem.backends.len()],
        room: Vec::new(),
        budgets: Vec::new(),
    };
    let admissible: Vec<usize> = (0..problem.backends.len())
        .filter(|backend| ground::causes(problem, &ground, subject, *backend).is_empty())
        .collect();
    let requirements = subject.profile.requirements.iter();
    let meets = |requirement: &Requirement| {
        let counting: Vec<usize> = admissible
            .iter()
            .copied()
            .filter(|backend| requirement.accepts[*backend])
            .collect();
        Had::of(&counting, requirement).is_all_of(requirement)
    };
    requirements
        .map(|position| &problem.requirements[*position])
        .all(meets)
}

/// Pairs of a dataset and a backend.
fn pairs(problem: &Problem) -> usize {
    problem.datasets.len() * problem.backends.len()
}

/// Amounts beside budgets, in the order of other budgets; a budget that is no longer there counts as unspent.
fn in_the_order_of(wanted: &[BudgetLimit], given: &[BudgetLimit], amounts: &[f64]) -> Vec<f64> {
    let amount = |budget: &BudgetLimit| {
        let same = |other: &BudgetLimit| other.policy == budget.policy && other.unit == budget.unit;
        given.iter().position(same).map_or(0.0, |at| amounts[at])
    };
    wanted.iter().map(amount).collect()
}

/// For each policy, bytes and money that a solution moves of the datasets that it selects.
fn moved(problem: &Problem, solution: &Solution, counts: impl Fn(usize) -> bool) -> Vec<(u64, f64)> {
    let mut moved = vec![(0u64, 0.0); problem.policies.len()];
    let limited = |terms: &crate::problem::Terms| terms.movement != crate::problem::Movement::default();
    if !problem.policies.iter().any(limited) {
        return moved;
    }
    for (dataset, subject) in problem.datasets.iter().enumerate().filter(|(at, _)| counts(*at)) {
        let transfers = solution.sets[dataset]
            .iter()
            .filter_map(|backend| copy_cost(problem, subject, *backend).transfer);
        for transfer in transfers {
            for policy in &subject.profile.policies {
                moved[*policy].0 = moved[*policy].0.saturating_add(transfer.bytes);
                moved[*policy].1 += transfer.money;
            }
        }
    }
    moved
}

/// The requirements of one dataset in their places; of the others no more than the place, since every try copies them.
fn requirements_of(problem: &Problem, subject: &Subject) -> Vec<Requirement> {
    let own = &subject.profile.requirements;
    let stated = problem.requirements.iter().enumerate();
    stated
        .map(|(position, requirement)| {
            if own.contains(&position) {
                return requirement.clone();
            }
            Requirement {
                policy: requirement.policy,
                name: String::new(),
                copies: 0,
                place: String::new(),
                accepts: Vec::new(),
                spread: Vec::new(),
                durability: None,
            }
        })
        .collect()
}

impl Beside {
    fn of(scene: &Scene<'_>, dataset: usize) -> Self {
        let problem = scene.problem;
        let mut subject = problem.datasets[dataset].clone();
        Arc::make_mut(&mut subject.profile).audits.clear();
        let others: Vec<_> = (0..problem.backends.len())
            .map(|backend| scene.used_by_others(dataset, backend))
            .collect();
        let mut backends = problem.backends.clone();
        for (backend, place) in backends.iter_mut().enumerate() {
            let overfull = scene.ground.is_overfull(problem, backend) && subject.copy_on(backend).is_none();
            let room = if overfull { 0 } else { scene.ground.room[backend] };
            let left = room.saturating_sub(others[backend]);
            place.capacity = ByteCount(u64::try_from(left).unwrap_or(u64::MAX));
        }
        let moved = moved(problem, scene.solution, |other| other != dataset);
        let mut policies = problem.policies.clone();
        for (terms, moved) in policies.iter_mut().zip(&moved) {
            let movement = &mut terms.movement;
            movement.bytes = movement.bytes.map(|bytes| bytes.saturating_sub(moved.0));
            movement.cost = movement.cost.map(|cost| (cost - moved.1).max(0.0));
        }
        for (budget, spent) in scene.ground.budgets.iter().zip(&scene.spent) {
            let own: f64 = scene.solution.sets[dataset]
                .iter()
                .map(|b| budget.spends(problem, &subject, *b))
                .sum();
            let left = Some((budget.limit() - (spent - own)).max(0.0));
            let terms = &mut policies[budget.policy];
            match budget.unit {
                BudgetUnit::Cost => terms.cost_per_month = left,
                BudgetUnit::CarbonKg => terms.carbon_kg_per_month = left,
                // What the others move was taken away above, to the byte.
                BudgetUnit::MoveBytes | BudgetUnit::MoveCost => {}
            }
        }
        Self {
            problem: Problem {
                currency: problem.currency.clone(),
                backends,
                policies,
                reasons: problem.reasons.clone(),
                requirements: requirements_of(problem, &subject),
                links: problem.links.clone(),
                datasets: vec![subject],
            },
            used: others,
            moved,
        }
    }
}
