//! How much of what a run may retire is used up.

use domicile_estate::ByteCount;

use crate::events::RetireCaps;
use crate::step::Step;

/// What a run has retired, or is about to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Used {
    copies: u64,
    bytes: u64,
}

impl Used {
    /// Why a retirement must wait for another run, if it must. What this run itself has put there may always go.
    pub(crate) fn reason_to_hold(self, caps: &RetireCaps, step: &Step) -> Option<String> {
        if step.undoes.is_some() {
            return None;
        }
        if let Some(most) = caps.copies
            && self.copies >= most
        {
            return Some(format!("held back, for one run retires {most} copies at most"));
        }
        let most = caps.bytes?;
        let left = ByteCount(most.0.saturating_sub(self.bytes));
        (step.bytes > left).then(|| {
            let needed = step.bytes;
            format!("held back, for one run retires {most} at most: {left} are left of that, this copy has {needed}")
        })
    }

    pub(crate) fn take(&mut self, step: &Step) {
        if step.undoes.is_none() {
            self.copies += 1;
            self.bytes = self.bytes.saturating_add(step.bytes.0);
        }
    }

    /// A retirement that was begun has deleted nothing.
    pub(crate) fn give_back(&mut self, step: &Step) {
        if step.undoes.is_none() {
            self.copies = self.copies.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(step.bytes.0);
        }
    }
}
