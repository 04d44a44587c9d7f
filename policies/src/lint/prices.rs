//! Tiers of a price that are probably not meant.

use domicile_estate::Backend;

use super::Lint;

impl Lint<'_> {
    pub(super) fn prices(&mut self) {
        for backend in self.manifests.backends.values() {
            self.tiers(backend);
        }
    }

    fn tiers(&mut self, backend: &Backend) {
        let path = format!("Backend/{}/price", backend.name);
        let mut before = backend.price.storage_per_gib_month;
        for (index, tier) in backend.price.tiers.iter().enumerate() {
            let own = format!("{path}/tiers/{index}");
            let is_own = self.manifests.places.contains_key(&own);
            if tier.storage_per_gib_month > before {
                let at = if is_own { &own } else { &path };
                let message = format!(
                    "storage on `{}` gets dearer above {}: {} after {before} per GiB and month",
                    backend.name, tier.above, tier.storage_per_gib_month
                );
                let help = if is_own {
                    "prices of larger amounts are mostly lower: compare it with the price before it"
                } else {
                    "the tiers are those of the list price: state `tiers` as well, `[]` for none"
                };
                self.warn(at, message, help);
            }
            // A list price has tiers for backends of every size.
            if is_own && tier.above >= backend.capacity {
                let message = format!(
                    "`{}` holds {} and never reaches the tier above {}",
                    backend.name, backend.capacity, tier.above
                );
                self.warn(&own, message, "leave the tier out, or compare it with `capacity`");
            }
            before = tier.storage_per_gib_month;
        }
    }
}
