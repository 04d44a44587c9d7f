//! Random small estates as plain values, and as manifests.

use std::fmt::Write;

use domicile_tests::{Random, manifest};

/// Countries that the rules are about.
const COUNTRIES: [&str; 4] = ["DE", "FR", "SE", "US"];

/// One backend. Prices are per GiB or per 1,000 requests.
#[derive(Debug)]
pub struct Backend {
    pub name: String,
    pub country: &'static str,
    pub operator: &'static str,
    pub provider: u64,
    pub region: Option<u64>,
    pub tier: u64,
    pub storage: f64,
    /// Bytes above which another price holds, ascending.
    pub tiers: Vec<(u64, f64)>,
    pub included: u64,
    pub fee: f64,
    pub ingress: f64,
    pub egress: [f64; 3],
    pub put: f64,
    pub get: f64,
    pub minimum: u64,
    pub grid: f64,
    pub pue: f64,
    pub physical: u64,
    pub capacity: u64,
    pub cordoned: bool,
    pub read_only: bool,
}

/// One dataset; its origin is the first backend.
#[derive(Debug)]
pub struct Dataset {
    pub name: String,
    pub sizes: Vec<u64>,
    pub keep: bool,
}

/// One policy. `selects` has one entry for each dataset.
#[derive(Debug)]
pub struct Policy {
    pub name: String,
    pub priority: i64,
    pub selects: Vec<bool>,
    pub confine: Option<Confine>,
    pub require: Option<Require>,
    pub objective: Option<(f64, u64)>,
}

/// A confinement by jurisdiction or soil.
#[derive(Debug)]
pub struct Confine {
    pub jurisdiction: bool,
    pub inside: bool,
    pub countries: Vec<&'static str>,
}

/// A requirement, perhaps on one tier, perhaps spread over providers or countries.
#[derive(Debug)]
pub struct Require {
    pub copies: usize,
    pub tier: Option<u64>,
    pub spread: Option<(Across, usize)>,
}

/// What a requirement is spread over.
#[derive(Debug, Clone, Copy)]
pub enum Across {
    Provider,
    Country,
}

/// A whole estate.
#[derive(Debug)]
pub struct World {
    pub backends: Vec<Backend>,
    pub datasets: Vec<Dataset>,
    pub policies: Vec<Policy>,
}

/// A price with four decimals, never quite equal to another.
fn price(random: &mut Random, most: u64) -> f64 {
    random.below(most * 10_000) as f64 / 10_000.0
}

/// Tiers in the size of these datasets, dearer ones among them.
fn tiers(random: &mut Random) -> Vec<(u64, f64)> {
    let mut above = 0;
    let mut tiers = Vec::new();
    for _ in 0..random.below(3) {
        above += 1 + random.below(120_000);
        tiers.push((above, price(random, 4)));
    }
    tiers
}

fn some_countries(random: &mut Random) -> Vec<&'static str> {
    let chosen: Vec<_> = COUNTRIES.into_iter().filter(|_| random.below(4) > 0).collect();
    if chosen.is_empty() { vec!["DE"] } else { chosen }
}

impl World {
    /// An estate from chance. Where origins are released, capacities are wide, so that what must stay always fits.
    pub fn random(random: &mut Random) -> Self {
        let tight = random.below(2) == 0;
        let datasets: Vec<_> = (0..1 + random.below(3))
            .map(|at| Dataset {
                name: format!("d{at}"),
                sizes: (0..1 + random.below(3)).map(|_| random.below(90_000)).collect(),
                keep: tight || random.below(3) > 0,
            })
            .collect();
        let backends: Vec<_> = (0..4 + random.below(2))
            .map(|at| backend(random, at, tight))
            .collect();
        let policies = (0..1 + random.below(3))
            .map(|at| policy(random, at, datasets.len()))
            .collect();
        Self {
            backends,
            datasets,
            policies,
        }
    }

    /// The estate as a user writes it.
    pub fn manifests(&self) -> String {
        let mut text = String::new();
        for provider in 0..3 {
            text.push_str(&manifest::domain(&format!("p{provider}"), "DE"));
        }
        for backend in &self.backends {
            text.push_str(&backend_text(backend));
        }
        for (at, dataset) in self.datasets.iter().enumerate() {
            let labels: Vec<_> = self
                .policies
                .iter()
                .filter(|policy| policy.selects[at])
                .map(|policy| &policy.name)
                .collect();
            text.push_str(&dataset_text(dataset, &labels));
        }
        for policy in &self.policies {
            text.push_str(&policy_text(policy));
        }
        text
    }
}

fn backend(random: &mut Random, at: u64, tight: bool) -> Backend {
    let country = COUNTRIES[random.below(4) as usize];
    Backend {
        name: format!("b{at}"),
        country,
        operator: if random.below(4) == 0 {
            COUNTRIES[random.below(4) as usize]
        } else {
            country
        },
        provider: random.below(3),
        region: (random.below(3) > 0).then(|| random.below(2)),
        tier: random.below(2),
        storage: price(random, 4),
        tiers: if random.below(2) == 0 {
            tiers(random)
        } else {
            Vec::new()
        },
        included: if random.below(4) == 0 {
            random.below(150_000)
        } else {
            0
        },
        // What a copy costs is about a ten-thousandth, and a fee that matters is like it.
        fee: if random.below(3) == 0 {
            price(random, 4) / 1e4
        } else {
            0.0
        },
        ingress: if random.below(2) == 0 {
            0.0
        } else {
            price(random, 1)
        },
        egress: [price(random, 9), price(random, 2), price(random, 1)],
        put: price(random, 1) / 100.0,
        get: price(random, 1) / 100.0,
        minimum: if random.below(3) == 0 { 65_536 } else { 0 },
        grid: 20.0 + random.below(700) as f64,
        pue: 1.0 + random.below(6) as f64 / 10.0,
        physical: 1 + random.below(5),
        capacity: if tight && at > 0 {
            30_000 + random.below(300_000)
        } else {
            1 << 40
        },
        cordoned: random.below(8) == 0,
        read_only: at > 0 && random.below(10) == 0,
    }
}

fn policy(random: &mut Random, at: u64, datasets: usize) -> Policy {
    let confine = (random.below(3) == 0).then(|| Confine {
        jurisdiction: random.below(2) == 0,
        inside: random.below(4) > 0,
        countries: some_countries(random),
    });
    let require = (confine.is_none() || random.below(4) > 0).then(|| Require {
        copies: 2 + random.below(3) as usize,
        tier: (random.below(4) == 0).then(|| random.below(2)),
        spread: None,
    });
    let require = require.map(|require| {
        let groups = 1 + random.below(require.copies as u64) as usize;
        let across = if random.below(2) == 0 {
            Across::Provider
        } else {
            Across::Country
        };
        Require {
            spread: (random.below(2) == 0).then_some((across, groups)),
            ..require
        }
    });
    Policy {
        name: format!("p{at}"),
        priority: random.below(3) as i64,
        selects: (0..datasets).map(|_| random.below(4) > 0).collect(),
        confine,
        require,
        objective: (random.below(2) == 0).then(|| (random.below(400) as f64, 1 + random.below(24))),
    }
}

fn backend_text(backend: &Backend) -> String {
    let region = backend
        .region
        .map_or_else(String::new, |region| format!(", region: r{region}"));
    let domain = format!("p{}", backend.provider);
    let mut text = format!(
        "apiVersion: domicile.dev/v1alpha1\nkind: Backend\nmetadata: {{name: {}, labels: {{tier: t{}}}}}\nspec:\n  domain: {domain}\n  \
         location: {{country: {}, provider: {domain}{region}}}\n  operatorCountry: {}\n  \
         store: {{type: Fs, root: ../stores/{}}}\n  capacity: {}\n  cordoned: {}\n",
        backend.name,
        backend.tier,
        backend.country,
        backend.operator,
        backend.name,
        backend.capacity,
        backend.cordoned
    );
    if backend.read_only {
        text.push_str("  accessMode: ReadOnly\n");
    }
    let [out, provider, region] = backend.egress;
    let tier = |(above, price): &(u64, f64)| format!("{{above: {above}, storagePerGiBMonth: \"{price}\"}}");
    let tiers = backend.tiers.iter().map(tier).collect::<Vec<_>>().join(", ");
    writeln!(
        text,
        "  price: {{currency: EUR, storagePerGiBMonth: \"{}\", ingressPerGiB: \"{}\", egressPerGiB: \"{out}\", \
         egressWithinProviderPerGiB: \"{provider}\", egressWithinRegionPerGiB: \"{region}\", putPer1000: \"{:.8}\", \
         getPer1000: \"{:.8}\", minObjectSize: {}, includedStorage: {}, baseFeePerMonth: \"{:.8}\", tiers: [{tiers}]}}\n  energy: {{gridGramsPerKWh: {}, wattHoursPerTBHour: \"0.65\", \
         pue: \"{}\", physicalCopies: {}}}\n---",
        backend.storage, backend.ingress, backend.put, backend.get, backend.minimum, backend.included, backend.fee,
        backend.grid, backend.pue, backend.physical
    )
    .expect("text grows");
    text
}

fn dataset_text(dataset: &Dataset, policies: &[&String]) -> String {
    let labels: Vec<_> = policies
        .iter()
        .map(|policy| format!("{policy}: \"yes\""))
        .collect();
    format!(
        "apiVersion: domicile.dev/v1alpha1\nkind: Dataset\nmetadata: {{name: {0}, labels: {{{1}}}}}\nspec:\n  domain: p0\n  \
         title: {0}\n  origin: {{backend: b0, prefix: {0}/}}\n  keepOrigin: {2}\n---\n",
        dataset.name,
        labels.join(", "),
        dataset.keep
    )
}

fn policy_text(policy: &Policy) -> String {
    let mut lines = vec![
        format!("priority: {}", policy.priority),
        format!("selector: {{matchLabels: {{{}: \"yes\"}}}}", policy.name),
    ];
    if let Some(confine) = &policy.confine {
        let key = if confine.jurisdiction {
            "jurisdiction"
        } else {
            "country"
        };
        let operator = if confine.inside { "In" } else { "NotIn" };
        let countries = confine.countries.join(", ");
        lines.push(format!(
            "confine: [{{name: c, key: {key}, operator: {operator}, values: [{countries}]}}]"
        ));
    }
    if let Some(require) = &policy.require {
        let place = require.tier.map_or_else(String::new, |tier| {
            format!(", where: [{{key: tier, operator: In, values: [t{tier}]}}]")
        });
        let spread = require.spread.map_or_else(String::new, |(across, groups)| {
            let across = match across {
                Across::Provider => "provider",
                Across::Country => "country",
            };
            format!(", spread: [{{across: {across}, groups: {groups}}}]")
        });
        lines.push(format!(
            "require: [{{name: r, copies: {}{place}{spread}}}]",
            require.copies
        ));
    }
    if let Some((carbon, months)) = policy.objective {
        lines.push(format!(
            "objective: {{carbonPricePerTonne: \"{carbon}\", horizonMonths: {months}}}"
        ));
    }
    manifest::policy(
        &policy.name,
        &lines.iter().map(String::as_str).collect::<Vec<_>>(),
    )
}
