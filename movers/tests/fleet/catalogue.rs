//! A model of the catalogue: one transfer, its lease and its ledger. Each record is one compare-and-set on the epoch.

use domicile_movers::{Epoch, Failure, Ledger, Receipt, Record};

/// How a transfer ended for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Final {
    Registered(Receipt),
    Failed(Failure),
    Cancelled,
}

#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    pub epoch: u64,
    pub ledger: Ledger,
    /// Whether uploads may have been begun: the sweep looks for them, whatever became of the transfer.
    pub swept_later: bool,
    pub end: Option<(Epoch, Final)>,
    /// How often a receipt was registered by different leases.
    pub registrations: u32,
    /// A mistake to be found by the tests: records of lost leases are taken.
    pub takes_anything: bool,
}

impl Catalogue {
    pub fn claim(&mut self) -> Epoch {
        self.epoch += 1;
        Epoch(self.epoch)
    }

    /// Takes a record; `false` means that the lease is lost.
    pub fn record(&mut self, epoch: Epoch, record: &Record) -> bool {
        if epoch.0 != self.epoch && !self.takes_anything {
            return false;
        }
        self.swept_later |= matches!(record, Record::Intended(_));
        let end = match record {
            Record::Registered(receipt) => Some(Final::Registered(receipt.clone())),
            Record::Failed(failure) => Some(Final::Failed(failure.clone())),
            Record::Cancelled => Some(Final::Cancelled),
            _ => None,
        };
        if let Some(end) = end {
            // The reply to the same record may have been lost.
            if self.end.as_ref().is_none_or(|(by, _)| *by != epoch) {
                self.registrations += u32::from(matches!(end, Final::Registered(_)));
            }
            self.end = Some((epoch, end));
        }
        self.ledger.apply(record);
        true
    }
}
