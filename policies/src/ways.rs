//! What the links say together of the way from one backend to another.

use std::collections::BTreeMap;

use domicile_estate::{Backend, BackendName, Link, LinkEnd, LinkName};

use crate::manifests::Manifests;

/// What is said of the way from one backend to another.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Way {
    /// Whether bytes must not go this way.
    pub forbidden: bool,
    /// Per GiB, instead of the egress price of the backend that is read.
    pub price_per_gib: Option<f64>,
    /// Bits per second.
    pub bandwidth_bits_per_second: Option<u64>,
    /// Milliseconds.
    pub latency_ms: Option<u64>,
}

impl Manifests {
    /// What the links say of the ordered pairs of backends, by their positions in the order of the names; pairs of which
    /// nothing is said are left out.
    ///
    /// Field by field the most specific link that states it holds. Of two links that one counts as more specific whose
    /// more specific end is (backend, region, domain, provider); if these are equal, whose other end is; if these are
    /// too, whose `from` is. Of links that are as specific the first name holds, except that bytes must not go where one
    /// of them forbids it.
    #[must_use]
    pub fn ways(&self) -> BTreeMap<(usize, usize), Way> {
        let ways = self
            .said(|_| true)
            .into_iter()
            .map(|(pair, said)| (pair, said.way()));
        ways.filter(|(_, way)| *way != Way::default()).collect()
    }

    /// The ways whose bytes some link limits, by the name of that link and whether it is its way back: what goes the same
    /// direction of one link shares its limits. The links agree on them as they do in [`Manifests::ways`].
    #[must_use]
    pub fn limited_ways(&self) -> BTreeMap<(LinkName, bool), Vec<(BackendName, BackendName)>> {
        let names: Vec<&BackendName> = self.backends.keys().collect();
        let mut limited: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for ((from, to), said) in self.said(|link| link.limits.is_some()) {
            let Some((_, link, back)) = said.limits else {
                continue;
            };
            if link.limits.as_ref().is_some_and(|limits| !limits.is_unlimited()) {
                let ways = limited.entry((link.name.clone(), back)).or_default();
                ways.push((names[from].clone(), names[to].clone()));
            }
        }
        limited
    }

    /// What some of the links say of the ordered pairs of backends.
    fn said(&self, of: impl Fn(&Link) -> bool) -> BTreeMap<(usize, usize), Said<'_>> {
        let mut said: BTreeMap<(usize, usize), Said<'_>> = BTreeMap::new();
        for link in self.links.values().filter(|link| of(link)) {
            for (back, (from, to)) in directions(link).enumerate() {
                let rank = rank(from, to);
                let targets = self.at(to);
                for reader in self.at(from) {
                    for &target in targets.iter().filter(|target| **target != reader) {
                        said.entry((reader, target))
                            .or_default()
                            .hear(link, rank, back > 0);
                    }
                }
            }
        }
        said
    }

    /// The positions of the backends at an end of a link.
    fn at(&self, end: &LinkEnd) -> Vec<usize> {
        let backends = self.backends.values().enumerate();
        backends
            .filter(|(_, backend): &(usize, &Backend)| end.holds(backend))
            .map(|(position, _)| position)
            .collect()
    }
}

/// The directions that a link speaks of.
fn directions(link: &Link) -> impl Iterator<Item = (&LinkEnd, &LinkEnd)> {
    let back = link.bidirectional.then_some((&link.to, &link.from));
    std::iter::once((&link.from, &link.to)).chain(back)
}

/// How specific a link is in one direction; the higher, the more.
type Rank = (u8, u8, u8);

fn rank(from: &LinkEnd, to: &LinkEnd) -> Rank {
    let (from, to) = (from.specificity(), to.specificity());
    (from.max(to), from.min(to), from)
}

/// For each field the link that holds so far.
#[derive(Default)]
struct Said<'l> {
    forbidden: Option<(Rank, bool)>,
    price: Option<(Rank, &'l Link)>,
    bandwidth: Option<(Rank, &'l Link)>,
    latency: Option<(Rank, &'l Link)>,
    /// With whether this is its way back.
    limits: Option<(Rank, &'l Link, bool)>,
}

impl<'l> Said<'l> {
    /// Links come in the order of their names.
    fn hear(&mut self, link: &'l Link, rank: Rank, back: bool) {
        if let Some(forbidden) = link.forbidden {
            match self.forbidden {
                Some((held, _)) if held > rank => {}
                Some((held, before)) if held == rank => self.forbidden = Some((rank, before || forbidden)),
                _ => self.forbidden = Some((rank, forbidden)),
            }
        }
        let stated = [
            (link.price_per_gib.is_some(), &mut self.price),
            (link.bandwidth_bits_per_second.is_some(), &mut self.bandwidth),
            (link.latency_ms.is_some(), &mut self.latency),
        ];
        for (is_stated, slot) in stated {
            if is_stated && slot.is_none_or(|(held, _)| rank > held) {
                *slot = Some((rank, link));
            }
        }
        if link.limits.is_some() && self.limits.is_none_or(|(held, ..)| rank > held) {
            self.limits = Some((rank, link, back));
        }
    }

    fn way(&self) -> Way {
        Way {
            forbidden: self.forbidden.is_some_and(|(_, forbidden)| forbidden),
            price_per_gib: self.price.and_then(|(_, link)| link.price_per_gib),
            bandwidth_bits_per_second: self
                .bandwidth
                .and_then(|(_, link)| link.bandwidth_bits_per_second),
            latency_ms: self.latency.and_then(|(_, link)| link.latency_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use domicile_estate::{BackendName, DomainName, LinkName};
    use proptest::prelude::*;

    use super::*;

    /// Four backends: `a` and `b` of the domain `home` in the region `r`, provider `p`; `c` of `away`, region `s`,
    /// provider `p`; `d` of `away` without a place.
    fn ways(links: &[&str]) -> BTreeMap<(usize, usize), Way> {
        estate(links).ways()
    }

    fn estate(links: &[&str]) -> Manifests {
        let mut text = String::from(
            "apiVersion: domicile.dev/v1alpha1
kind: Domain
metadata: {name: home}
spec: {jurisdiction: DE}
---
{kind: Domain, metadata: {name: away}, spec: {jurisdiction: FR}}
",
        );
        let places = [
            ("a", "home", "country: DE, region: r, provider: p"),
            ("b", "home", "country: DE, region: r, provider: p"),
            ("c", "away", "country: FR, region: s, provider: p"),
            ("d", "away", "country: FR"),
        ];
        for (name, domain, location) in places {
            text.push_str(&format!(
                "---\n{{kind: Backend, metadata: {{name: {name}}}, spec: {{domain: {domain}, location: {{{location}}}, \
                 store: {{type: Memory}}, capacity: 1Ti}}}}\n"
            ));
        }
        for (index, spec) in links.iter().enumerate() {
            text.push_str(&format!(
                "---\n{{kind: Link, metadata: {{name: l{index}}}, spec: {spec}}}\n"
            ));
        }
        let source = crate::Source {
            name: "x".to_owned(),
            text,
            folder: "/".to_owned(),
            stored: false,
        };
        crate::read(&[source]).unwrap_or_else(|errors| panic!("{errors:#?}"))
    }

    const A: usize = 0;
    const B: usize = 1;
    const C: usize = 2;
    const D: usize = 3;

    fn priced(price: f64) -> Way {
        Way {
            price_per_gib: Some(price),
            ..Way::default()
        }
    }

    #[test]
    fn a_link_speaks_of_every_pair_of_its_ends_and_of_no_other() {
        let one_way = ways(&["{from: {region: r}, to: {domain: away}, pricePerGiB: \"1\"}"]);
        let pairs: Vec<_> = one_way.keys().copied().collect();
        assert_eq!(pairs, [(A, C), (A, D), (B, C), (B, D)]);
        let both =
            ways(&["{from: {backend: a}, to: {domain: away}, bidirectional: true, pricePerGiB: \"1\"}"]);
        let pairs: Vec<_> = both.keys().copied().collect();
        assert_eq!(pairs, [(A, C), (A, D), (C, A), (D, A)]);
        // A backend has no way to itself.
        let within = ways(&["{from: {domain: home}, to: {domain: home}, latencyMilliseconds: 0}"]);
        let pairs: Vec<_> = within.keys().copied().collect();
        assert_eq!(pairs, [(A, B), (B, A)]);
    }

    #[test]
    fn the_most_specific_link_holds_field_by_field() {
        let all = "{from: {provider: p}, to: {provider: p}, pricePerGiB: \"1\", latencyMilliseconds: 9, \
                   bandwidthBitsPerSecond: 10G}";
        let domains = "{from: {domain: home}, to: {domain: away}, pricePerGiB: \"2\"}";
        let regions = "{from: {region: r}, to: {region: s}, pricePerGiB: \"3\"}";
        let backends = "{from: {backend: a}, to: {backend: c}, latencyMilliseconds: 4}";
        for links in [
            [all, domains, regions, backends],
            [backends, regions, domains, all],
        ] {
            let ways = ways(&links);
            let expected = Way {
                forbidden: false,
                price_per_gib: Some(3.0),
                bandwidth_bits_per_second: Some(10_000_000_000),
                latency_ms: Some(4),
            };
            assert_eq!(ways[&(A, C)], expected);
            assert_eq!(ways[&(B, C)].latency_ms, Some(9));
            assert_eq!(ways[&(B, D)], priced(2.0));
            assert_eq!(ways[&(C, A)].price_per_gib, Some(1.0));
        }
    }

    #[test]
    fn the_more_specific_end_counts_first_then_the_other_then_from() {
        let winner = |first: &str, second: &str| {
            let link = |ends: &str, price: u8| format!("{{{ends}, pricePerGiB: \"{price}\"}}");
            let (one, two) = (link(first, 1), link(second, 2));
            let forth = ways(&[&one, &two])[&(A, C)].price_per_gib;
            let back = ways(&[&two, &one])[&(A, C)].price_per_gib;
            assert_eq!(forth, back, "the order of the names does not matter");
            forth
        };
        let first = Some(1.0);
        assert_eq!(
            winner(
                "from: {backend: a}, to: {provider: p}",
                "from: {region: r}, to: {region: s}"
            ),
            first
        );
        assert_eq!(
            winner(
                "from: {backend: a}, to: {region: s}",
                "from: {domain: home}, to: {backend: c}"
            ),
            first
        );
        assert_eq!(
            winner(
                "from: {region: r}, to: {domain: away}",
                "from: {domain: home}, to: {region: s}"
            ),
            first
        );
    }

    #[test]
    fn of_equal_links_the_first_name_holds() {
        let links = [
            "{from: {backend: a}, to: {backend: c}, pricePerGiB: \"7\"}",
            "{from: {backend: a}, to: {backend: c}, pricePerGiB: \"5\"}",
        ];
        assert_eq!(ways(&links)[&(A, C)], priced(7.0));
    }

    #[test]
    fn what_is_forbidden_stays_so_unless_a_more_specific_link_allows_it() {
        let forbid = "{from: {domain: home}, to: {domain: away}, forbidden: true}";
        let allow = "{from: {backend: a}, to: {domain: away}, forbidden: false}";
        let allow_as_much = "{from: {domain: home}, to: {domain: away}, forbidden: false}";
        let priced_only = "{from: {backend: b}, to: {backend: c}, pricePerGiB: \"0\"}";
        for links in [
            [forbid, allow, allow_as_much, priced_only],
            [allow_as_much, priced_only, allow, forbid],
        ] {
            let ways = ways(&links);
            assert!(!ways.contains_key(&(A, C)), "allowed, and nothing else is said");
            assert!(ways[&(B, D)].forbidden);
            assert!(
                ways[&(B, C)].forbidden,
                "a link that says nothing of it does not allow it"
            );
            assert_eq!(ways[&(B, C)].price_per_gib, Some(0.0));
        }
    }

    /// The same rules, restated for one pair and one field: every link that speaks of it, the best first.
    fn holds<T: Copy>(
        links: &[Link],
        backends: &[&Backend],
        pair: (usize, usize),
        field: impl Fn(&Link) -> Option<T>,
    ) -> Vec<T> {
        let mut heard: Vec<(Vec<u8>, usize, T)> = Vec::new();
        for (index, link) in links.iter().enumerate() {
            for (from, to, speaks) in [
                (&link.from, &link.to, true),
                (&link.to, &link.from, link.bidirectional),
            ] {
                if let (true, Some(value)) = (
                    speaks && from.holds(backends[pair.0]) && to.holds(backends[pair.1]),
                    field(link),
                ) {
                    let mut ends = vec![from.specificity(), to.specificity()];
                    ends.sort_unstable_by(|a, b| b.cmp(a));
                    ends.push(from.specificity());
                    heard.push((ends, index, value));
                }
            }
        }
        let best = heard.iter().map(|(rank, ..)| rank.clone()).max();
        heard.retain(|(rank, ..)| Some(rank) == best.as_ref());
        heard.sort_by_key(|(_, index, _)| *index);
        heard.into_iter().map(|(.., value)| value).collect()
    }

    fn any_end() -> impl Strategy<Value = LinkEnd> {
        prop_oneof![
            "[pq]".prop_map(LinkEnd::Provider),
            "(home|away)".prop_map(|name| LinkEnd::Domain(DomainName::new(&name).expect("a name"))),
            "[rs]".prop_map(LinkEnd::Region),
            "[abcd]".prop_map(|name| LinkEnd::Backend(BackendName::new(&name).expect("a name"))),
        ]
    }

    prop_compose! {
        fn any_link()(
            from in any_end(),
            to in any_end(),
            bidirectional in any::<bool>(),
            price in prop::option::of(0..4u8),
            latency_ms in prop::option::of(0..4u64),
            bandwidth in prop::option::of(1..4u64),
            forbidden in prop::option::of(any::<bool>()),
        ) -> Link {
            Link {
                name: LinkName::new("unnamed").expect("a name"),
                from,
                to,
                bidirectional,
                price_per_gib: price.map(f64::from),
                bandwidth_bits_per_second: bandwidth,
                latency_ms,
                forbidden,
                limits: None,
            }
        }
    }

    #[test]
    fn what_goes_one_direction_of_a_link_shares_its_limits() {
        let names = |limited: BTreeMap<(LinkName, bool), Vec<(BackendName, BackendName)>>| -> Vec<String> {
            let shown = |((link, back), ways): ((LinkName, bool), Vec<(BackendName, BackendName)>)| {
                let ways: Vec<_> = ways.iter().map(|(from, to)| format!("{from}{to}")).collect();
                format!("{link}{}: {}", if back { " back" } else { "" }, ways.join(" "))
            };
            limited.into_iter().map(shown).collect()
        };
        let domains =
            "{from: {domain: home}, to: {domain: away}, bidirectional: true, limits: {bytesPerSecond: 10Mi}}";
        let all = ["l0: ac ad bc bd", "l0 back: ca cb da db"];
        assert_eq!(names(estate(&[domains]).limited_ways()), all);
        // The more specific link limits otherwise, or not at all; one that does not speak of it leaves it as it is.
        let other = "{from: {backend: a}, to: {backend: c}, limits: {requestsPerSecond: 5}}";
        let free = "{from: {backend: b}, to: {domain: away}, limits: {}}";
        let silent = "{from: {backend: d}, to: {backend: a}, pricePerGiB: \"1\"}";
        let limited = estate(&[domains, other, free, silent]).limited_ways();
        assert_eq!(names(limited), ["l0: ad", "l0 back: ca cb da db", "l1: ac"]);
        // From the way itself to the way back of a region to itself there is no difference.
        let within = "{from: {region: r}, to: {region: r}, bidirectional: true, limits: {bytesPerSecond: 1}}";
        assert_eq!(names(estate(&[within]).limited_ways()), ["l0: ab ba"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_ways_are_those_of_the_rules(mut links in prop::collection::vec(any_link(), 0..8)) {
            let mut manifests = estate(&[]);
            for (index, link) in links.iter_mut().enumerate() {
                link.name = LinkName::new(&format!("l{index}")).expect("a name");
                manifests.links.insert(link.name.clone(), link.clone());
            }
            let ways = manifests.ways();
            let backends: Vec<&Backend> = manifests.backends.values().collect();
            for pair in (0..4).flat_map(|from| (0..4).map(move |to| (from, to))) {
                let mut expected = Way::default();
                if pair.0 != pair.1 {
                    expected = Way {
                        forbidden: holds(&links, &backends, pair, |link| link.forbidden).contains(&true),
                        price_per_gib: holds(&links, &backends, pair, |link| link.price_per_gib).first().copied(),
                        bandwidth_bits_per_second: holds(&links, &backends, pair, |link| link.bandwidth_bits_per_second)
                            .first()
                            .copied(),
                        latency_ms: holds(&links, &backends, pair, |link| link.latency_ms).first().copied(),
                    };
                }
                prop_assert_eq!(ways.get(&pair).copied().unwrap_or_default(), expected, "{:?}", pair);
            }
        }
    }
}
