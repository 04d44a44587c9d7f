//! Limits of movement that keep a dataset where it is for good.

use domicile_estate::{AccessMode, Backend};

use super::Lint;
use crate::evaluate::DatasetFacts;
use crate::policy::{Enforcement, Policy};
use crate::ways::Way;

impl Lint<'_> {
    pub(super) fn movement(&mut self, policy: &Policy, path: &str) {
        if policy.enforcement == Enforcement::Audit {
            return;
        }
        let path = format!("{path}/movement");
        let movement = &policy.movement;
        if movement.max_bytes.is_some_and(|most| most.0 == 0) {
            let message = format!(
                "`maxBytes` of the policy `{}` lets no plan copy a byte",
                policy.name
            );
            self.warn(&path, message, "allow at least the size of the largest dataset");
        } else {
            self.large_fixtures(policy, &path);
        }
        if movement.max_cost == Some(0.0) && !self.some_way_is_free() {
            let message = format!(
                "`maxCost` of the policy `{}` lets no plan copy anything: no way between backends is free",
                policy.name
            );
            self.warn(
                &path,
                message,
                "allow at least the transfer of the largest dataset",
            );
        }
    }

    /// Sizes are known of datasets that tests make up; those stand for datasets that there are.
    fn large_fixtures(&mut self, policy: &Policy, path: &str) {
        let Some(most) = policy.movement.max_bytes else {
            return;
        };
        for test in &self.manifests.tests {
            for fixture in &test.datasets {
                let facts = DatasetFacts {
                    name: &fixture.name,
                    domain: &fixture.domain,
                    labels: &fixture.labels,
                    bytes: fixture.bytes,
                    objects: fixture.objects,
                };
                if fixture.bytes <= most || !policy.selects(&facts) {
                    continue;
                }
                let message = format!(
                    "`maxBytes` of the policy `{}` never lets a dataset like `{}` of the test `{}` move: it has {}, \
                     one plan may copy {most}",
                    policy.name, fixture.name, test.name, fixture.bytes
                );
                self.warn(
                    path,
                    message,
                    "a dataset is copied by one plan or not at all: allow its size",
                );
            }
        }
    }

    fn some_way_is_free(&self) -> bool {
        let ways = self.manifests.ways();
        let backends: Vec<&Backend> = self.manifests.backends.values().collect();
        let targets = backends
            .iter()
            .enumerate()
            .filter(|(_, to)| to.access_mode == AccessMode::ReadWrite);
        let mut pairs = targets.flat_map(|to| backends.iter().enumerate().map(move |from| (from, to)));
        pairs.any(|((from, source), (to, target))| {
            let way = ways.get(&(from, to)).copied().unwrap_or_default();
            from != to && !way.forbidden && is_free(source, target, &way)
        })
    }
}

/// Whether copying from one backend to another costs nothing, requests included.
fn is_free(source: &Backend, target: &Backend, way: &Way) -> bool {
    let same = |a: &Option<String>, b: &Option<String>| a.is_some() && a == b;
    let (from, to) = (&source.location, &target.location);
    let egress = way.price_per_gib.unwrap_or({
        match (same(&from.provider, &to.provider), same(&from.region, &to.region)) {
            (true, true) => source.price.egress_within_region_per_gib,
            (true, false) => source.price.egress_within_provider_per_gib,
            (false, _) => source.price.egress_per_gib,
        }
    });
    let prices = [
        egress,
        target.price.ingress_per_gib,
        source.price.get_per_1000,
        target.price.put_per_1000,
    ];
    prices.iter().all(|price| *price == 0.0)
}
