//! Links that speak of nothing, and those that leave a backend without a way to it.

use std::collections::BTreeMap;

use domicile_estate::{AccessMode, Backend, Link, LinkEnd};

use super::Lint;
use crate::suggest;

impl Lint<'_> {
    pub(super) fn links(&mut self) {
        if self.manifests.links.is_empty() || self.manifests.backends.is_empty() {
            return;
        }
        for link in self.manifests.links.values() {
            self.link(link);
        }
        self.contradictions();
        self.cut_off();
    }

    /// Links between the same ends that state one field differently: the first name holds, which nobody may have meant.
    fn contradictions(&mut self) {
        let mut said: BTreeMap<(&LinkEnd, &LinkEnd), &Link> = BTreeMap::new();
        let mut found = Vec::new();
        for link in self.manifests.links.values() {
            let back = link.bidirectional.then_some((&link.to, &link.from));
            let other = std::iter::once((&link.from, &link.to))
                .chain(back)
                .find_map(|ends| said.get(&ends))
                .copied();
            if let Some(other) = other
                && let Some(field) = disagreement(other, link)
            {
                found.push((other, link, field));
            }
            for ends in std::iter::once((&link.from, &link.to)).chain(back) {
                said.entry(ends).or_insert(link);
            }
        }
        for (first, second, field) in found {
            let message = format!(
                "the links `{}` and `{}` state another `{field}` of the same way",
                first.name, second.name
            );
            let help = if field == "forbidden" {
                "bytes must not go this way, since one of them forbids it: keep one of the two".to_owned()
            } else {
                format!(
                    "that of `{}` holds, whose name is first: keep one of the two",
                    first.name
                )
            };
            self.warn(&format!("Link/{}", second.name), message, &help);
        }
    }

    /// Backends that offer to relay what nothing can be written to.
    pub(super) fn relays(&mut self) {
        for backend in self.manifests.backends.values() {
            if backend.relay && backend.access_mode == AccessMode::ReadOnly {
                let message = format!(
                    "the backend `{}` is read-only and can relay nothing",
                    backend.name
                );
                self.warn(
                    &format!("Backend/{}/relay", backend.name),
                    message,
                    "leave out `relay`, or make it `accessMode: ReadWrite`",
                );
            }
        }
    }

    fn link(&mut self, link: &Link) {
        let path = format!("Link/{}", link.name);
        if link.is_silent() {
            let message = format!("the link `{}` says nothing", link.name);
            self.warn(
                &path,
                message,
                "add `pricePerGiB`, `bandwidthBitsPerSecond`, `latencyMilliseconds`, `forbidden` or `limits`",
            );
        }
        let mut is_empty = false;
        for (field, end) in [("from", &link.from), ("to", &link.to)] {
            if self.manifests.backends.values().any(|backend| end.holds(backend)) {
                continue;
            }
            is_empty = true;
            let (kind, value) = end.parts();
            let help = match suggest::nearest(value, self.values_of(end)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "the link speaks of no way until a backend is there".to_owned(),
            };
            let message = format!("no backend has the {kind} `{value}`");
            self.warn(&format!("{path}/{field}"), message, &help);
        }
        let mut pairs = self
            .manifests
            .backends
            .values()
            .flat_map(|from| self.manifests.backends.values().map(move |to| (from, to)));
        let speaks =
            pairs.any(|(from, to)| from.name != to.name && link.from.holds(from) && link.to.holds(to));
        drop(pairs);
        if !is_empty && !speaks {
            let message = format!("both ends of the link `{}` are one backend", link.name);
            self.warn(
                &path,
                message,
                "a link speaks of the ways from one backend to another",
            );
        }
    }

    /// What the backends have for the kind of an end that no document is named by.
    fn values_of(&self, end: &LinkEnd) -> impl Iterator<Item = &str> {
        self.manifests.backends.values().filter_map(|backend| match end {
            LinkEnd::Region(_) => backend.location.region.as_deref(),
            LinkEnd::Provider(_) => backend.location.provider.as_deref(),
            LinkEnd::Domain(_) | LinkEnd::Backend(_) => None,
        })
    }

    /// Backends that nothing can be copied to, since every way to them is forbidden. No relay helps: the last hop is
    /// forbidden as well.
    fn cut_off(&mut self) {
        let ways = self.manifests.ways();
        let backends: Vec<&Backend> = self.manifests.backends.values().collect();
        for (target, backend) in backends.iter().enumerate() {
            let mut others = (0..backends.len()).filter(|other| *other != target).peekable();
            if backend.access_mode == AccessMode::ReadOnly || others.peek().is_none() {
                continue;
            }
            if !others.all(|other| ways.get(&(other, target)).is_some_and(|way| way.forbidden)) {
                continue;
            }
            let forbids = |link: &&Link| {
                let is_end = link.to.holds(backend) || link.bidirectional && link.from.holds(backend);
                link.forbidden == Some(true) && is_end
            };
            let Some(link) = self.manifests.links.values().find(forbids) else {
                continue;
            };
            let message = format!("links forbid every way to the backend `{}`", backend.name);
            self.warn(
                &format!("Link/{}/forbidden", link.name),
                message,
                "allow one way by a more specific link with `forbidden: false`, or make the backend `accessMode: ReadOnly`",
            );
        }
    }
}

/// The first field that two links both state, and not alike.
fn disagreement(one: &Link, other: &Link) -> Option<&'static str> {
    fn differ<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
        one.is_some() && other.is_some() && one != other
    }
    let fields = [
        (differ(one.price_per_gib, other.price_per_gib), "pricePerGiB"),
        (
            differ(one.bandwidth_bits_per_second, other.bandwidth_bits_per_second),
            "bandwidthBitsPerSecond",
        ),
        (differ(one.latency_ms, other.latency_ms), "latencyMilliseconds"),
        (differ(one.forbidden, other.forbidden), "forbidden"),
        (differ(one.limits.as_ref(), other.limits.as_ref()), "limits"),
    ];
    fields
        .into_iter()
        .find(|(differ, _)| *differ)
        .map(|(_, field)| field)
}
