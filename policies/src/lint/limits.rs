//! Timetables whose hours are in each other's way, and limits above what a link is said to carry.

use domicile_estate::RateLimits;

use super::Lint;

impl Lint<'_> {
    pub(super) fn limits(&mut self) {
        for backend in self.manifests.backends.values() {
            let what = format!("backend `{}`", backend.name);
            self.timetable(&format!("Backend/{}", backend.name), &what, &backend.limits);
        }
        for link in self.manifests.links.values() {
            let Some(limits) = &link.limits else {
                continue;
            };
            let path = format!("Link/{}", link.name);
            self.timetable(&path, &format!("link `{}`", link.name), limits);
            let all = std::iter::once(limits.usual).chain(limits.timetable.iter().map(|hours| hours.rates));
            let most = all.filter_map(|rates| rates.bytes_per_second).max();
            if let (Some(bits), Some(most)) = (link.bandwidth_bits_per_second, most)
                && most > bits / 8
            {
                let message = format!(
                    "the link `{}` carries {} bytes per second by its bandwidth, fewer than the {most} that it is limited to",
                    link.name,
                    bits / 8
                );
                self.warn(
                    &path,
                    message,
                    "bandwidth is told in bits, limits in bytes per second",
                );
            }
        }
    }

    fn timetable(&mut self, path: &str, what: &str, limits: &RateLimits) {
        let (pairs, hidden) = limits.clashes();
        for (first, later) in pairs {
            let message = format!(
                "the hours {} and {} of the timetable of the {what} overlap and say different things",
                first + 1,
                later + 1
            );
            self.warn(
                path,
                message,
                "the first of them counts where both hold: put the narrower hours first",
            );
        }
        for later in hidden {
            let message = format!(
                "the hours {} of the timetable of the {what} never count",
                later + 1
            );
            self.warn(
                path,
                message,
                "hours before them always hold as well: leave them out, or put them first",
            );
        }
    }
}
