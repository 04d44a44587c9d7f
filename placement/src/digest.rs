//! The digest of a plan's inputs: equal for equal problems, and for no others.

use std::collections::BTreeMap;
use std::sync::Arc;

use domicile_estate::{CopyState, DatasetSummary, Energy, Price, PriceTier};
use sha2::{Digest, Sha256};

use crate::moves::hex;
use crate::problem::{
    Audit, Bars, Durability, Goal, GoalAim, Held, Hop, Movement, Place, Problem, Profile, Reason, Refused,
    Requirement, Spread, Subject, Terms,
};

/// The digest of everything that a plan depends on, as `sha256:<hex>`.
///
/// Every value is written with its length, in the order of its fields; each structure is taken apart whole, so that a
/// new field cannot be forgotten here.
#[must_use]
pub fn input_digest(problem: &Problem) -> String {
    let Problem {
        currency,
        backends,
        policies,
        reasons,
        requirements,
        links,
        datasets,
    } = problem;
    let mut canon = Canon::default();
    // Version 3: summaries leave out what follows from bytes and objects.
    canon.text("domicile.dev/placement/v3");
    canon.text(currency);
    canon.list(backends, place);
    canon.list(policies, terms);
    canon.list(reasons, reason);
    canon.list(requirements, requirement);
    canon.list(links, |canon, ((from, to), way)| {
        canon.index(*from);
        canon.index(*to);
        hop(canon, way);
    });
    let profiles = stated(datasets);
    canon.list(&profiles.0, |canon, shared| profile(canon, shared));
    canon.list(datasets.iter().zip(&profiles.1), subject);
    format!("sha256:{}", hex(canon.finish().as_ref()))
}

/// Bytes that are gathered before they are hashed: a hash taken of eight bytes at a time is slow.
const GATHERED: usize = 1 << 14;

#[derive(Default)]
struct Canon {
    hash: Sha256,
    gathered: Vec<u8>,
}

impl Canon {
    fn bytes(&mut self, bytes: &[u8]) {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= GATHERED {
            self.hash.update(&self.gathered);
            self.gathered.clear();
        }
    }

    fn finish(mut self) -> impl AsRef<[u8]> {
        self.hash.update(&self.gathered);
        self.hash.finalize()
    }

    fn number(&mut self, number: u64) {
        self.bytes(&number.to_be_bytes());
    }

    fn index(&mut self, index: usize) {
        self.number(index as u64);
    }

    fn flag(&mut self, flag: bool) {
        self.number(u64::from(flag));
    }

    fn amount(&mut self, amount: f64) {
        // 0.0 and -0.0 are the same amount.
        self.number((amount + 0.0).to_bits());
    }

    fn text(&mut self, text: &str) {
        self.index(text.len());
        self.bytes(text.as_bytes());
    }

    fn list<T>(
        &mut self,
        items: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
        item: impl Fn(&mut Self, T),
    ) {
        let items = items.into_iter();
        self.index(items.len());
        items.for_each(|value| item(self, value));
    }

    fn option<T>(&mut self, value: Option<T>, item: impl Fn(&mut Self, T)) {
        self.flag(value.is_some());
        if let Some(value) = value {
            item(self, value);
        }
    }
}

fn place(canon: &mut Canon, place: &Place) {
    let Place {
        name,
        provider,
        region,
        capacity,
        price: prices,
        energy: emits,
        reachable,
        relays,
        reasons,
    } = place;
    canon.text(name.as_str());
    canon.option(provider.as_deref(), Canon::text);
    canon.option(region.as_deref(), Canon::text);
    canon.number(capacity.0);
    price(canon, prices);
    energy(canon, emits);
    canon.flag(*reachable);
    canon.flag(*relays);
    canon.list(reasons.iter().copied(), Canon::index);
}

fn price(canon: &mut Canon, price: &Price) {
    // Where the figures are from is for people, and changes no plan.
    let Price {
        currency,
        storage_per_gib_month,
        tiers,
        included_storage,
        base_fee_per_month,
        ingress_per_gib,
        egress_per_gib,
        egress_within_provider_per_gib,
        egress_within_region_per_gib,
        put_per_1000,
        get_per_1000,
        min_object_size,
        source: _,
    } = price;
    canon.option(currency.as_deref(), Canon::text);
    let amounts = [
        storage_per_gib_month,
        base_fee_per_month,
        ingress_per_gib,
        egress_per_gib,
        egress_within_provider_per_gib,
        egress_within_region_per_gib,
        put_per_1000,
        get_per_1000,
    ];
    canon.list(amounts.into_iter().copied(), Canon::amount);
    canon.number(min_object_size.0);
    canon.number(included_storage.0);
    canon.list(tiers, |canon, tier| {
        let PriceTier {
            above,
            storage_per_gib_month,
        } = tier;
        canon.number(above.0);
        canon.amount(*storage_per_gib_month);
    });
}

fn energy(canon: &mut Canon, energy: &Energy) {
    // Where the figure is from is for people, and changes no plan.
    let Energy {
        grid_grams_per_kwh,
        grid_source: _,
        watt_hours_per_tb_hour,
        pue,
        physical_copies,
    } = energy;
    let amounts = [grid_grams_per_kwh, watt_hours_per_tb_hour, pue, physical_copies];
    canon.list(amounts.into_iter().copied(), Canon::amount);
}

fn terms(canon: &mut Canon, terms: &Terms) {
    let Terms {
        name,
        enforced,
        cost_per_month,
        carbon_kg_per_month,
        movement,
    } = terms;
    let Movement {
        bytes,
        cost,
        payback_days,
    } = movement;
    canon.text(name.as_str());
    canon.flag(*enforced);
    canon.option(*cost_per_month, Canon::amount);
    canon.option(*carbon_kg_per_month, Canon::amount);
    canon.option(*bytes, Canon::number);
    canon.option(*cost, Canon::amount);
    canon.option(payback_days.map(u64::from), Canon::number);
}

fn reason(canon: &mut Canon, reason: &Reason) {
    let Reason {
        rule,
        kind,
        bars,
        message,
    } = reason;
    canon.text(rule);
    canon.text(kind.as_str());
    canon.flag(*bars == Bars::Every);
    canon.text(message);
}

fn requirement(canon: &mut Canon, requirement: &Requirement) {
    let Requirement {
        policy,
        name,
        copies,
        place,
        accepts,
        spread: spreads,
        durability: lasts,
    } = requirement;
    canon.index(*policy);
    canon.text(name);
    canon.number(u64::from(*copies));
    canon.text(place);
    canon.list(accepts.iter().copied(), Canon::flag);
    canon.list(spreads, spread);
    canon.option(lasts.as_ref(), durability);
}

fn durability(canon: &mut Canon, durability: &Durability) {
    let Durability { milli_nines, of } = durability;
    canon.number(u64::from(*milli_nines));
    canon.list(of.iter().copied(), |canon, own| {
        canon.option(own, |canon, (domain, milli_nines)| {
            canon.index(domain);
            canon.number(u64::from(milli_nines));
        });
    });
}

fn spread(canon: &mut Canon, spread: &Spread) {
    let Spread {
        across,
        groups,
        group_of,
    } = spread;
    canon.text(across);
    canon.number(u64::from(*groups));
    canon.list(group_of.iter().copied(), |canon, group| {
        canon.option(group, Canon::index)
    });
}

/// Every profile once, in the order in which datasets first have them, and for each dataset the position of its own.
pub(crate) fn stated(datasets: &[Subject]) -> (Vec<&Profile>, Vec<usize>) {
    // Most datasets share their profile, so that few are compared by value.
    let mut seen: BTreeMap<*const Profile, usize> = BTreeMap::new();
    let mut positions: BTreeMap<&Profile, usize> = BTreeMap::new();
    let mut profiles: Vec<&Profile> = Vec::new();
    let of_dataset = datasets.iter().map(|subject| {
        *seen.entry(Arc::as_ptr(&subject.profile)).or_insert_with(|| {
            *positions.entry(&subject.profile).or_insert_with(|| {
                profiles.push(&subject.profile);
                profiles.len() - 1
            })
        })
    });
    let of_dataset = of_dataset.collect();
    (profiles, of_dataset)
}

fn hop(canon: &mut Canon, hop: &Hop) {
    let Hop {
        forbidden,
        price_per_gib,
        bandwidth_bits_per_second,
        latency_ms,
    } = hop;
    canon.flag(*forbidden);
    canon.option(*price_per_gib, Canon::amount);
    canon.option(*bandwidth_bits_per_second, Canon::number);
    canon.option(*latency_ms, Canon::number);
}

fn profile(canon: &mut Canon, profile: &Profile) {
    let Profile {
        priority,
        carbon_price_per_tonne,
        horizon_months,
        goals,
        policies,
        requirements,
        refused,
        audits,
    } = profile;
    canon.number(priority.cast_unsigned());
    canon.amount(*carbon_price_per_tonne);
    canon.number(u64::from(*horizon_months));
    canon.list(
        goals,
        |canon,
         Goal {
             aim,
             slack_millionths,
         }| {
            canon.number(match aim {
                GoalAim::Carbon => 0,
                GoalAim::Cost => 1,
            });
            canon.number(u64::from(*slack_millionths));
        },
    );
    canon.list(policies.iter().copied(), Canon::index);
    canon.list(requirements.iter().copied(), Canon::index);
    canon.list(refused, refusal);
    canon.list(audits, audit);
}

fn subject(canon: &mut Canon, (subject, profile): (&Subject, &usize)) {
    let Subject {
        name,
        summary,
        keep_origin,
        copies,
        profile: _,
    } = subject;
    let DatasetSummary {
        bytes,
        objects,
        billable,
    } = summary;
    canon.text(name.as_str());
    canon.number(bytes.0);
    canon.number(*objects);
    canon.list(billable, |canon, (minimum, sum)| {
        canon.number(minimum.0);
        canon.number(sum.0);
    });
    canon.flag(*keep_origin);
    canon.list(copies, held);
    canon.index(*profile);
}

fn held(canon: &mut Canon, held: &Held) {
    let Held {
        backend,
        origin,
        state,
        missing_bytes,
        missing_objects,
    } = held;
    canon.index(*backend);
    canon.flag(*origin);
    canon.number(match state {
        CopyState::Unknown => 0,
        CopyState::Listed => 1,
        CopyState::Incomplete => 2,
        CopyState::Verified => 3,
        CopyState::Damaged => 4,
        CopyState::Retiring => 5,
    });
    canon.number(missing_bytes.0);
    canon.number(*missing_objects);
}

fn refusal(canon: &mut Canon, refused: &Refused) {
    let Refused { backend, reason } = refused;
    canon.index(*backend);
    canon.index(*reason);
}

fn audit(canon: &mut Canon, audit: &Audit) {
    let Audit {
        policy,
        refused,
        requirements,
    } = audit;
    canon.index(*policy);
    canon.list(refused, refusal);
    canon.list(requirements.iter().copied(), Canon::index);
}
