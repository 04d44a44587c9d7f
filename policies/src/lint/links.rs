//! Links that speak of nothing, and those that leave a backend without a way to it.

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
        self.cut_off();
    }

    fn link(&mut self, link: &Link) {
        let path = format!("Link/{}", link.name);
        if link.is_silent() {
            let message = format!("the link `{}` says nothing", link.name);
            self.warn(
                &path,
                message,
                "add `pricePerGiB`, `bandwidthBitsPerSecond`, `latencyMilliseconds` or `forbidden`",
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
