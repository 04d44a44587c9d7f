//! The exact best set for one dataset at given prices, by branch and bound over its candidates in the order of price.
//!
//! Only sets in which every member is useful are looked at: prices are never below zero and needs are monotone and
//! submodular, so a member that was useless when it joined never becomes useful, and leaving it out is never dearer.

use super::need::{Need, Needs, Shortfall, Unit};

/// Sets that one pick may look at before it settles for the best found.
const PICK_STEPS: u64 = 200_000;
/// Relative difference of prices below which two sets count as equally good.
const TIE: f64 = 1e-12;

/// What candidates and shortfalls cost.
#[derive(Debug, Clone, Default)]
pub(crate) struct Prices {
    /// For each candidate, what it costs; never below zero. `INFINITY`: not allowed.
    pub candidates: Vec<f64>,
    /// What each missing unit costs, by [`Unit`].
    pub missing: [f64; 3],
    /// How much may be missing, by [`Unit`].
    pub max_missing: [Option<u32>; 3],
}

impl Prices {
    /// Candidates at these prices; no more may be missing than this.
    pub fn within(candidates: Vec<f64>, most: Shortfall) -> Self {
        Self {
            candidates,
            missing: [0.0; 3],
            max_missing: Unit::ALL.map(|unit| Some(most.of(unit))),
        }
    }

    /// Candidates at these prices; anything may be missing.
    pub fn unlimited(candidates: Vec<f64>) -> Self {
        Self {
            candidates,
            ..Self::default()
        }
    }

    fn of_shortfall(&self, short: Shortfall) -> f64 {
        let pay = |unit: Unit| self.missing[unit as usize] * f64::from(short.of(unit));
        Unit::ALL.into_iter().map(pay).sum()
    }

    fn allow(&self, short: Shortfall) -> bool {
        let within = |unit: &Unit| self.max_missing[*unit as usize].is_none_or(|max| short.of(*unit) <= max);
        Unit::ALL.iter().all(within)
    }
}

/// What one dataset chooses among.
#[derive(Clone, Copy)]
pub(crate) struct Offer<'a> {
    /// What it needs.
    pub needs: &'a Needs,
    /// For each need, what it has now of what is wanted: no plan takes that away (MV-4).
    pub floors: &'a [u32],
    /// For each candidate, whether a current copy lies there: of equal ones these come first.
    pub current: &'a [bool],
}

/// The best set found.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Pick {
    /// Positions of its candidates, ascending.
    pub members: Vec<usize>,
    /// Its price.
    pub value: f64,
    /// No allowed set is cheaper than this; equal to `value` unless the search was cut short.
    pub bound: f64,
    /// Its shortfall.
    pub short: Shortfall,
}

/// The cheapest allowed set; `None` if there is none.
pub(crate) fn pick(offer: Offer<'_>, prices: &Prices) -> Option<Pick> {
    Picker::default().pick(offer, prices)
}

/// Every allowed set of useful members whose price is at most `threshold`; `None` if there are more than `limit`.
pub(crate) fn enumerate(
    offer: Offer<'_>,
    prices: &Prices,
    threshold: f64,
    limit: usize,
) -> Option<Vec<Vec<usize>>> {
    let mut picker = Picker::default();
    let mut search = picker.search(offer, prices);
    let mut within = Within {
        threshold,
        limit,
        found: Vec::new(),
    };
    search.run(0, &mut within);
    (within.found.len() <= limit && search.desk.steps < PICK_STEPS).then_some(within.found)
}

/// What a search looks for.
trait Goal {
    /// Sets at or above this price are of no interest.
    fn ceiling(&self) -> f64;
    /// Takes an allowed set.
    fn take(&mut self, members: &[usize], value: f64, short: Shortfall);
}

struct Cheapest {
    best: Option<Pick>,
}

impl Goal for Cheapest {
    fn ceiling(&self) -> f64 {
        self.best
            .as_ref()
            .map_or(f64::INFINITY, |best| best.value - TIE * best.value.abs())
    }

    fn take(&mut self, members: &[usize], value: f64, short: Shortfall) {
        if value < self.ceiling() {
            let best = self.best.get_or_insert_with(Pick::default);
            best.members.clear();
            best.members.extend_from_slice(members);
            (best.value, best.bound, best.short) = (value, value, short);
        }
    }
}

struct Within {
    threshold: f64,
    limit: usize,
    found: Vec<Vec<usize>>,
}

impl Goal for Within {
    fn ceiling(&self) -> f64 {
        // A list that is too long ends the search at once.
        if self.found.len() > self.limit {
            f64::NEG_INFINITY
        } else {
            self.threshold.next_up()
        }
    }

    fn take(&mut self, members: &[usize], value: f64, _: Shortfall) {
        if value <= self.threshold {
            let mut members = members.to_vec();
            members.sort_unstable();
            self.found.push(members);
        }
    }
}

/// Finds best sets, one after the other, in memory that is kept.
#[derive(Debug, Default)]
pub(crate) struct Picker {
    desk: Desk,
}

/// What a search works on.
#[derive(Debug, Default)]
struct Desk {
    /// Positions of the needs that are looked at.
    needs: Vec<usize>,
    /// Candidates that may be added, cheapest first; among equals those that are there, then by name.
    order: Vec<usize>,
    members: Vec<usize>,
    paid: f64,
    /// For each need looked at, what is had.
    had: Vec<u32>,
    /// For each need looked at, how much it must have for the limits and floors to hold.
    must: Vec<u32>,
    /// For each need looked at, where its groups begin in `best` and `seen`.
    starts: Vec<usize>,
    /// For each group, the worth of its best member.
    best: Vec<u32>,
    /// For each group, the scan that saw it last.
    seen: Vec<u64>,
    scan: u64,
    /// What each member replaced as the best of its groups: group and worth.
    replaced: Vec<(usize, u32)>,
    whole: u32,
    steps: u64,
}

impl Picker {
    /// The cheapest allowed set; `None` if there is none.
    pub fn pick(&mut self, offer: Offer<'_>, prices: &Prices) -> Option<Pick> {
        let mut search = self.search(offer, prices);
        let root_bound = search.desk.paid + search.still_to_pay(0)?;
        let mut cheapest = Cheapest { best: None };
        search.run(0, &mut cheapest);
        let cut_short = search.desk.steps >= PICK_STEPS;
        cheapest.best.map(|mut best| {
            best.members.sort_unstable();
            leave_out_useless(offer, prices, &mut best.members);
            if cut_short {
                best.bound = root_bound.min(best.value);
            }
            best
        })
    }

    fn search<'a>(&'a mut self, offer: Offer<'a>, prices: &'a Prices) -> Search<'a> {
        let Offer {
            needs,
            floors,
            current,
        } = offer;
        let desk = &mut self.desk;
        let allowed = |member: &usize| prices.candidates[*member].is_finite() && !needs.forced[*member];
        desk.order.clear();
        desk.order.extend((0..needs.candidates()).filter(allowed));
        desk.order.sort_unstable_by(|a, b| {
            let rank = |member: usize| (prices.candidates[member], !current[member]);
            let ((price_a, new_a), (price_b, new_b)) = (rank(*a), rank(*b));
            price_a.total_cmp(&price_b).then(new_a.cmp(&new_b)).then(a.cmp(b))
        });
        desk.members.clear();
        desk.replaced.clear();
        desk.paid = 0.0;
        desk.whole = 0;
        desk.steps = 0;
        desk.set_needs(needs, floors, prices);
        let mut search = Search { needs, prices, desk };
        for member in (0..needs.candidates()).filter(|member| needs.forced[*member]) {
            search.add(member);
        }
        search
    }
}

/// Leaves out new copies that no need counts, which a set may have begun with and which cost nothing: nobody asked for them.
fn leave_out_useless(offer: Offer<'_>, prices: &Prices, members: &mut Vec<usize>) {
    let needs = offer.needs;
    let mut whole = members.iter().filter(|member| needs.whole[**member]).count();
    members.retain(|member| {
        let counts = needs.needs.iter().any(|need| need.parts[*member].is_some());
        let stays =
            counts || needs.forced[*member] || offer.current[*member] || prices.candidates[*member] < 0.0;
        if stays || (needs.whole[*member] && whole == 1) {
            return true;
        }
        whole -= usize::from(needs.whole[*member]);
        false
    });
}

impl Desk {
    /// Chooses the needs to look at and what each must have.
    fn set_needs(&mut self, needs: &Needs, floors: &[u32], prices: &Prices) {
        let all_met = prices.max_missing.iter().all(|max| *max == Some(0));
        self.needs.clear();
        if all_met {
            // What the others imply need not be looked at.
            self.needs.extend_from_slice(&needs.core);
        } else {
            self.needs.extend(0..needs.needs.len());
        }
        self.starts.clear();
        let mut groups = 0;
        for need in &self.needs {
            self.starts.push(groups);
            groups += needs.needs[*need].groups;
        }
        self.best.clear();
        self.best.resize(groups, 0);
        self.seen.clear();
        self.seen.resize(groups, 0);
        self.scan = 0;
        self.had.clear();
        self.had.resize(self.needs.len(), 0);
        self.must.clear();
        if all_met {
            self.must
                .extend(self.needs.iter().map(|need| needs.needs[*need].wanted));
        } else {
            let must = demanded(needs, prices);
            self.must
                .extend(must.into_iter().zip(floors).map(|(must, floor)| must.max(*floor)));
        }
    }
}

/// With a limit on what all together may miss, what each need cannot do without: the limit less what the others of its
/// unit must miss anyway. Nothing without a limit.
fn demanded(needs: &Needs, prices: &Prices) -> Vec<u32> {
    let available = |member: &usize| needs.forced[*member] || prices.candidates[*member].is_finite();
    let all: Vec<_> = (0..needs.candidates()).filter(available).collect();
    let unavoidable: Vec<_> = needs
        .needs
        .iter()
        .map(|need| need.wanted - need.had(&all))
        .collect();
    let must = |(need, own): (&Need, &u32)| {
        let Some(limit) = prices.max_missing[need.unit as usize] else {
            return 0;
        };
        let same_unit = needs
            .needs
            .iter()
            .zip(&unavoidable)
            .filter(|(other, _)| other.unit == need.unit);
        let together = same_unit.fold(0u32, |sum, (_, missing)| sum.saturating_add(*missing));
        need.wanted.saturating_sub(limit.saturating_sub(together - own))
    };
    needs.needs.iter().zip(&unavoidable).map(must).collect()
}

struct Search<'a> {
    needs: &'a Needs,
    prices: &'a Prices,
    desk: &'a mut Desk,
}

impl Search<'_> {
    fn add(&mut self, member: usize) {
        let desk = &mut *self.desk;
        desk.members.push(member);
        desk.paid += self.prices.candidates[member];
        desk.whole += u32::from(self.needs.whole[member]);
        for (place, need) in desk.needs.iter().enumerate() {
            let Some(part) = self.needs.needs[*need].parts[member] else {
                continue;
            };
            let group = desk.starts[place] + part.group as usize;
            let before = desk.best[group];
            desk.replaced.push((group, before));
            desk.best[group] = before.max(part.worth);
            desk.had[place] += desk.best[group] - before;
        }
    }

    fn remove_last(&mut self, paid_before: f64) {
        let desk = &mut *self.desk;
        let Some(member) = desk.members.pop() else { return };
        desk.paid = paid_before;
        desk.whole -= u32::from(self.needs.whole[member]);
        for (place, need) in desk.needs.iter().enumerate().rev() {
            if self.needs.needs[*need].parts[member].is_none() {
                continue;
            }
            if let Some((group, before)) = desk.replaced.pop() {
                desk.had[place] -= desk.best[group] - before;
                desk.best[group] = before;
            }
        }
    }

    fn short(&self) -> Shortfall {
        let mut short = Shortfall::default();
        for (need, had) in self.desk.needs.iter().zip(&self.desk.had) {
            let need = &self.needs.needs[*need];
            short.add(need.unit, need.wanted.saturating_sub(*had));
        }
        short
    }

    fn is_useful(&self, member: usize) -> bool {
        let gains = |(place, need): (usize, &usize)| {
            let need = &self.needs.needs[*need];
            let better = |part: super::need::Part| {
                part.worth > self.desk.best[self.desk.starts[place] + part.group as usize]
            };
            self.desk.had[place] < need.wanted && need.parts[member].is_some_and(better)
        };
        self.desk.whole == 0 || self.desk.needs.iter().enumerate().any(gains)
    }

    fn is_allowed(&self, short: Shortfall) -> bool {
        let desk = &*self.desk;
        desk.whole > 0
            && self.prices.allow(short)
            && desk.had.iter().zip(&desk.must).all(|(had, must)| had >= must)
    }

    /// Visits every allowed set that extends the present one by candidates from `start` on and may be below the
    /// ceiling.
    fn run(&mut self, start: usize, goal: &mut impl Goal) {
        self.desk.steps += 1;
        let short = self.short();
        if self.is_allowed(short) {
            let value = self.desk.paid + self.prices.of_shortfall(short);
            goal.take(&self.desk.members, value, short);
        }
        for next in start..self.desk.order.len() {
            let member = self.desk.order[next];
            // Whatever is added costs at least this: no need for the closer bound.
            if self.desk.paid + self.prices.candidates[member] >= goal.ceiling() {
                return;
            }
            let Some(rest) = self.still_to_pay(next) else {
                return;
            };
            if self.desk.steps >= PICK_STEPS || self.desk.paid + rest >= goal.ceiling() {
                return;
            }
            if self.is_useful(member) {
                let paid_before = self.desk.paid;
                self.add(member);
                self.run(next + 1, goal);
                self.remove_last(paid_before);
            }
        }
    }

    /// A bound from below of what any allowed extension by candidates from `start` on pays further: the most that one
    /// need alone must pay, in candidates or in shortfall. `None` if no extension is allowed.
    fn still_to_pay(&mut self, start: usize) -> Option<f64> {
        let mut bound: f64 = 0.0;
        if self.desk.whole == 0 {
            bound = self.prices.candidates[*self.desk.order.get(start)?];
        }
        for place in 0..self.desk.needs.len() {
            bound = bound.max(self.still_to_pay_for(place, start)?);
        }
        Some(bound)
    }

    /// The same for one need: the cheapest offers of groups that are not had in full yet, each taken as if it brought the
    /// most that any offer brings.
    fn still_to_pay_for(&mut self, place: usize, start: usize) -> Option<f64> {
        let need = &self.needs.needs[self.desk.needs[place]];
        let without = self.prices.missing[need.unit as usize];
        let desk = &mut *self.desk;
        let (mut had, must) = (desk.had[place], desk.must[place]);
        if had >= need.wanted {
            return Some(0.0);
        }
        desk.scan += 1;
        let first = desk.starts[place];
        let most = if need.unit == Unit::MilliNines {
            need.parts
                .iter()
                .flatten()
                .map(|part| part.worth)
                .max()
                .unwrap_or(1)
        } else {
            1
        };
        let mut sum = 0.0;
        for member in &desk.order[start..] {
            if had >= need.wanted {
                return Some(sum);
            }
            let Some(part) = need.parts[*member] else { continue };
            let group = first + part.group as usize;
            let repeats = desk.seen[group] == desk.scan && need.unit != Unit::MilliNines;
            if part.worth <= desk.best[group] || repeats {
                continue;
            }
            desk.seen[group] = desk.scan;
            let price = self.prices.candidates[*member];
            let brings = most.min(need.wanted - had);
            if had < must {
                sum += price;
            } else {
                sum += price.min(without * f64::from(brings));
            }
            had += brings;
        }
        if had < must {
            return None;
        }
        Some(sum + without * f64::from(need.wanted.saturating_sub(had)))
    }
}
