//! From lines to a problem, each row checked when it comes.

use std::sync::Arc;

use domicile_estate::{
    BackendName, ByteCount, DatasetName, DatasetSummary, Energy, PolicyName, Price, PriceTier,
};
use serde::Deserialize;

use super::rows::{
    AIMS, AuditRow, BARS, BackendRow, CopyRow, Counts, DatasetRow, EnergyRow, Head, LinkRow, PolicyRow,
    PriceRow, ProfileRow, ReasonRow, RequirementRow, STATES, SpreadRow,
};
use super::{API_VERSION, Fault, KIND, ProblemFileError};
use crate::problem::{
    Audit, Durability, Goal, Held, Hop, Movement, Place, Problem, Profile, Reason, RefusalKind, Refused,
    Requirement, Spread, Subject, Terms,
};

/// Rows for which memory is set aside before they come: what the head counts may be a lie.
const SET_ASIDE: usize = 1 << 20;

/// Takes the lines of a problem file, one after another.
#[derive(Debug, Default)]
pub struct Reader {
    line: u64,
    counts: Option<Counts>,
    profiles: Vec<Arc<Profile>>,
    problem: Problem,
}

/// What the next line must be.
#[derive(Debug, Clone, Copy)]
enum Row {
    Backend,
    Policy,
    Reason,
    Requirement,
    Link,
    Profile,
    Dataset,
}

impl Row {
    fn name(self) -> &'static str {
        match self {
            Self::Backend => "backend",
            Self::Policy => "policy",
            Self::Reason => "reason",
            Self::Requirement => "requirement",
            Self::Link => "link",
            Self::Profile => "profile",
            Self::Dataset => "dataset",
        }
    }
}

impl Reader {
    /// Takes the next line, without its end.
    ///
    /// # Errors
    /// [`ProblemFileError`] says what is wrong with it; nothing more can be read then.
    pub fn line(&mut self, text: &str) -> Result<(), ProblemFileError> {
        self.line += 1;
        let Some(counts) = self.counts else {
            return self.head(text);
        };
        let Some(row) = self.next(&counts) else {
            return Err(ProblemFileError::Extra { line: self.line });
        };
        match row {
            Row::Backend => {
                let place = Place::try_from((self.parse::<BackendRow>(row, text)?, &counts));
                let place = self.sound(row, place)?;
                let last = self.problem.backends.last();
                self.follows(row, last.map(|last| last.name.as_str()), place.name.as_str())?;
                self.problem.backends.push(place);
            }
            Row::Policy => {
                let terms = self.sound(row, Terms::try_from(self.parse::<PolicyRow>(row, text)?))?;
                let last = self.problem.policies.last();
                self.follows(row, last.map(|last| last.name.as_str()), terms.name.as_str())?;
                self.problem.policies.push(terms);
            }
            Row::Reason => {
                let reason = Reason::try_from(self.parse::<ReasonRow>(row, text)?);
                let reason = self.sound(row, reason)?;
                self.problem.reasons.push(reason);
            }
            Row::Requirement => {
                let wanted = Requirement::try_from((self.parse::<RequirementRow>(row, text)?, &counts));
                let wanted = self.sound(row, wanted)?;
                self.problem.requirements.push(wanted);
            }
            Row::Link => self.link(text, &counts)?,
            Row::Profile => {
                let profile = Profile::try_from((self.parse::<ProfileRow>(row, text)?, &counts));
                let profile = self.sound(row, profile)?;
                self.profiles.push(Arc::new(profile));
            }
            Row::Dataset => self.dataset(text, &counts)?,
        }
        Ok(())
    }

    /// The problem, when every line was taken.
    ///
    /// # Errors
    /// [`ProblemFileError::Cut`] if lines are missing.
    pub fn finish(self) -> Result<Problem, ProblemFileError> {
        let Some(counts) = self.counts else {
            return Err(ProblemFileError::Cut { line: 0, row: "head" });
        };
        match self.next(&counts) {
            None => Ok(self.problem),
            Some(row) => Err(ProblemFileError::Cut {
                line: self.line,
                row: row.name(),
            }),
        }
    }

    /// Reads a file of which every line is at hand.
    ///
    /// # Errors
    /// As [`Reader::line`] and [`Reader::finish`].
    pub fn read<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Problem, ProblemFileError> {
        let mut reader = Self::default();
        for line in lines {
            reader.line(line)?;
        }
        reader.finish()
    }

    fn next(&self, counts: &Counts) -> Option<Row> {
        let problem = &self.problem;
        let sections = [
            (Row::Backend, problem.backends.len(), counts.backends),
            (Row::Policy, problem.policies.len(), counts.policies),
            (Row::Reason, problem.reasons.len(), counts.reasons),
            (Row::Requirement, problem.requirements.len(), counts.requirements),
            (Row::Link, problem.links.len(), counts.links),
            (Row::Profile, self.profiles.len(), counts.profiles),
            (Row::Dataset, problem.datasets.len(), counts.datasets),
        ];
        let unread = sections.into_iter().find(|(_, read, counted)| read < counted);
        unread.map(|(row, ..)| row)
    }

    fn head(&mut self, text: &str) -> Result<(), ProblemFileError> {
        let form = |error: serde_json::Error| ProblemFileError::Form {
            line: 1,
            row: "head",
            message: error.to_string(),
        };
        // Another version has other fields: what it is comes first.
        let head: serde_json::Value = serde_json::from_str(text).map_err(form)?;
        let word = |field: &str| {
            let word = head.get(field).and_then(serde_json::Value::as_str);
            word.unwrap_or_default().to_owned()
        };
        let (api_version, kind) = (word("apiVersion"), word("kind"));
        if api_version != API_VERSION || kind != KIND {
            return Err(ProblemFileError::Version { api_version, kind });
        }
        let Head {
            api_version: _,
            kind: _,
            currency,
            rows,
        } = serde_json::from_value(head).map_err(form)?;
        self.problem.currency = currency;
        self.problem.datasets.reserve(rows.datasets.min(SET_ASIDE));
        self.counts = Some(rows);
        Ok(())
    }

    fn link(&mut self, text: &str, counts: &Counts) -> Result<(), ProblemFileError> {
        let row: LinkRow = self.parse(Row::Link, text)?;
        let pair = (row.from, row.to);
        let hop = index("from", row.from, counts.backends)
            .and_then(|_| index("to", row.to, counts.backends))
            .and_then(|_| Hop::try_from(row));
        let hop = self.sound(Row::Link, hop)?;
        let last = self.problem.links.last_key_value();
        if last.is_some_and(|(last, _)| *last >= pair) {
            return self.sound(Row::Link, Err(Fault::Unsorted("from, to")));
        }
        self.problem.links.insert(pair, hop);
        Ok(())
    }

    fn dataset(&mut self, text: &str, counts: &Counts) -> Result<(), ProblemFileError> {
        let row: DatasetRow<'_> = self.parse(Row::Dataset, text)?;
        let subject = self.subject(row, counts);
        let subject = self.sound(Row::Dataset, subject)?;
        let last = self.problem.datasets.last();
        self.follows(
            Row::Dataset,
            last.map(|last| last.name.as_str()),
            subject.name.as_str(),
        )?;
        self.problem.datasets.push(subject);
        Ok(())
    }

    fn subject(&self, row: DatasetRow<'_>, counts: &Counts) -> Result<Subject, Fault> {
        let DatasetRow(name, bytes, objects, profile, keep_origin, copies, billable) = row;
        let copies = copies.into_iter().map(|copy| Held::try_from((copy, counts)));
        let mut copies: Vec<_> = copies.collect::<Result<_, _>>()?;
        // What a parser set aside for more copies would stay, a million times over.
        copies.shrink_to_fit();
        ascending("copies", copies.iter().map(|held| held.backend))?;
        let billable = billable.unwrap_or_else(|| vec![(0, bytes)]);
        ascending("billable", billable.iter().map(|(minimum, _)| *minimum))?;
        if billable.iter().any(|(_, sum)| *sum < bytes) {
            return Err(Fault::Billable);
        }
        let found = self.profiles.get(profile);
        let profile = found.ok_or(Fault::Range {
            field: "profile",
            found: profile,
            limit: counts.profiles,
        })?;
        let billable = billable
            .into_iter()
            .map(|(minimum, sum)| (ByteCount(minimum), ByteCount(sum)));
        let mut billable: Vec<_> = billable.collect();
        billable.shrink_to_fit();
        Ok(Subject {
            name: DatasetName::new(&name)?,
            summary: DatasetSummary {
                bytes: ByteCount(bytes),
                objects,
                billable,
            },
            keep_origin,
            copies,
            profile: profile.clone(),
        })
    }

    fn parse<'a, T: Deserialize<'a>>(&self, row: Row, text: &'a str) -> Result<T, ProblemFileError> {
        serde_json::from_str(text).map_err(|error| ProblemFileError::Form {
            line: self.line,
            row: row.name(),
            message: error.to_string(),
        })
    }

    fn sound<T>(&self, row: Row, result: Result<T, Fault>) -> Result<T, ProblemFileError> {
        result.map_err(|fault| ProblemFileError::Row {
            line: self.line,
            row: row.name(),
            fault,
        })
    }

    /// Names come in their order, each once.
    fn follows(&self, row: Row, last: Option<&str>, name: &str) -> Result<(), ProblemFileError> {
        let sorted = last.is_none_or(|last| last < name);
        self.sound(
            row,
            if sorted {
                Ok(())
            } else {
                Err(Fault::Unsorted("name"))
            },
        )
    }
}

impl TryFrom<(BackendRow, &Counts)> for Place {
    type Error = Fault;

    fn try_from((row, counts): (BackendRow, &Counts)) -> Result<Self, Fault> {
        indices("reasons", &row.reasons, counts.reasons)?;
        Ok(Self {
            name: BackendName::new(&row.name)?,
            provider: row.provider,
            region: row.region,
            capacity: ByteCount(row.capacity),
            price: Price::try_from(row.price)?,
            energy: Energy::try_from(row.energy)?,
            reachable: row.reachable,
            relays: row.relays,
            reasons: row.reasons,
        })
    }
}

impl TryFrom<PriceRow> for Price {
    type Error = Fault;

    fn try_from(row: PriceRow) -> Result<Self, Fault> {
        Ok(Self {
            currency: row.currency,
            storage_per_gib_month: amount("storagePerGiBMonth", row.storage_per_gib_month)?,
            ingress_per_gib: amount("ingressPerGiB", row.ingress_per_gib)?,
            egress_per_gib: amount("egressPerGiB", row.egress_per_gib)?,
            egress_within_provider_per_gib: amount(
                "egressWithinProviderPerGiB",
                row.egress_within_provider_per_gib,
            )?,
            egress_within_region_per_gib: amount(
                "egressWithinRegionPerGiB",
                row.egress_within_region_per_gib,
            )?,
            put_per_1000: amount("putPer1000", row.put_per_1000)?,
            get_per_1000: amount("getPer1000", row.get_per_1000)?,
            min_object_size: ByteCount(row.min_object_size),
            tiers: row.tiers.into_iter().map(tier).collect::<Result<_, Fault>>()?,
            included_storage: ByteCount(row.included_storage),
            base_fee_per_month: amount("baseFeePerMonth", row.base_fee_per_month)?,
            source: row.source,
        })
    }
}

fn tier((above, price): (u64, f64)) -> Result<PriceTier, Fault> {
    Ok(PriceTier {
        above: ByteCount(above),
        storage_per_gib_month: amount("tiers.storagePerGiBMonth", price)?,
    })
}

impl TryFrom<EnergyRow> for Energy {
    type Error = Fault;

    fn try_from(row: EnergyRow) -> Result<Self, Fault> {
        Ok(Self {
            grid_grams_per_kwh: amount("gridGramsPerKWh", row.grid_grams_per_kwh)?,
            grid_source: row.grid_source,
            watt_hours_per_tb_hour: amount("wattHoursPerTBHour", row.watt_hours_per_tb_hour)?,
            pue: amount("pue", row.pue)?,
            physical_copies: amount("physicalCopies", row.physical_copies)?,
        })
    }
}

impl TryFrom<PolicyRow> for Terms {
    type Error = Fault;

    fn try_from(row: PolicyRow) -> Result<Self, Fault> {
        Ok(Self {
            name: PolicyName::new(&row.name)?,
            enforced: row.enforced,
            cost_per_month: optional("costPerMonth", row.cost_per_month)?,
            carbon_kg_per_month: optional("carbonKgPerMonth", row.carbon_kg_per_month)?,
            movement: Movement {
                bytes: row.movement.bytes,
                cost: optional("cost", row.movement.cost)?,
                payback_days: row.movement.payback_days,
            },
        })
    }
}

impl TryFrom<ReasonRow> for Reason {
    type Error = Fault;

    fn try_from(row: ReasonRow) -> Result<Self, Fault> {
        let kind = RefusalKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == row.kind);
        Ok(Self {
            kind: kind.ok_or_else(|| unknown("kind", &row.kind))?,
            bars: meaning("bars", &BARS, &row.bars)?,
            rule: row.rule,
            message: row.message,
        })
    }
}

impl TryFrom<(RequirementRow, &Counts)> for Requirement {
    type Error = Fault;

    fn try_from((row, counts): (RequirementRow, &Counts)) -> Result<Self, Fault> {
        index("policy", row.policy, counts.policies)?;
        indices("accepts", &row.accepts, counts.backends)?;
        ascending("accepts", row.accepts.iter().copied())?;
        let mut accepts = vec![false; counts.backends];
        row.accepts.iter().for_each(|backend| accepts[*backend] = true);
        let spread = row
            .spread
            .into_iter()
            .map(|spread| Spread::try_from((spread, counts)));
        let durability = row.durability.map(|row| {
            length("of", row.of.len(), counts.backends)?;
            let domains = row.of.iter().flatten().map(|(domain, _)| domain);
            indices("of", domains, counts.backends)?;
            Ok::<_, Fault>(Durability {
                milli_nines: row.milli_nines,
                of: row.of,
            })
        });
        Ok(Self {
            policy: row.policy,
            name: row.name,
            copies: row.copies,
            place: row.place,
            accepts,
            spread: spread.collect::<Result<_, _>>()?,
            durability: durability.transpose()?,
        })
    }
}

impl TryFrom<(SpreadRow, &Counts)> for Spread {
    type Error = Fault;

    fn try_from((row, counts): (SpreadRow, &Counts)) -> Result<Self, Fault> {
        length("groupOf", row.group_of.len(), counts.backends)?;
        indices("groupOf", row.group_of.iter().flatten(), counts.backends)?;
        Ok(Self {
            across: row.across,
            groups: row.groups,
            group_of: row.group_of,
        })
    }
}

impl TryFrom<LinkRow> for Hop {
    type Error = Fault;

    fn try_from(row: LinkRow) -> Result<Self, Fault> {
        Ok(Self {
            forbidden: row.forbidden,
            price_per_gib: optional("pricePerGiB", row.price_per_gib)?,
            bandwidth_bits_per_second: row.bandwidth_bits_per_second,
            latency_ms: row.latency_ms,
        })
    }
}

impl TryFrom<(ProfileRow, &Counts)> for Profile {
    type Error = Fault;

    fn try_from((row, counts): (ProfileRow, &Counts)) -> Result<Self, Fault> {
        if row.horizon_months == 0 {
            return Err(Fault::Horizon);
        }
        indices("policies", &row.policies, counts.policies)?;
        ascending("policies", row.policies.iter().copied())?;
        indices("requirements", &row.requirements, counts.requirements)?;
        let goals = row.goals.iter().map(|goal| {
            Ok::<_, Fault>(Goal {
                aim: meaning("aim", &AIMS, &goal.aim)?,
                slack_millionths: goal.slack_millionths,
            })
        });
        let audits = row
            .audits
            .into_iter()
            .map(|audit| Audit::try_from((audit, counts)));
        Ok(Self {
            priority: row.priority,
            carbon_price_per_tonne: amount("carbonPricePerTonne", row.carbon_price_per_tonne)?,
            horizon_months: row.horizon_months,
            goals: goals.collect::<Result<_, _>>()?,
            policies: row.policies,
            requirements: row.requirements,
            refused: refused(row.refused, counts)?,
            audits: audits.collect::<Result<_, _>>()?,
        })
    }
}

impl TryFrom<(AuditRow, &Counts)> for Audit {
    type Error = Fault;

    fn try_from((row, counts): (AuditRow, &Counts)) -> Result<Self, Fault> {
        index("policy", row.policy, counts.policies)?;
        indices("requirements", &row.requirements, counts.requirements)?;
        Ok(Self {
            policy: row.policy,
            refused: refused(row.refused, counts)?,
            requirements: row.requirements,
        })
    }
}

impl TryFrom<(CopyRow<'_>, &Counts)> for Held {
    type Error = Fault;

    fn try_from((row, counts): (CopyRow<'_>, &Counts)) -> Result<Self, Fault> {
        let CopyRow(backend, state, origin, missing_bytes, missing_objects) = row;
        Ok(Self {
            backend: index("backend", backend, counts.backends)?,
            origin,
            state: meaning("state", &STATES, &state)?,
            missing_bytes: ByteCount(missing_bytes),
            missing_objects,
        })
    }
}

fn refused(rows: Vec<(usize, usize)>, counts: &Counts) -> Result<Vec<Refused>, Fault> {
    indices(
        "refused",
        rows.iter().map(|(backend, _)| backend),
        counts.backends,
    )?;
    indices("refused", rows.iter().map(|(_, reason)| reason), counts.reasons)?;
    ascending("refused", rows.iter().copied())?;
    let refused = rows
        .into_iter()
        .map(|(backend, reason)| Refused { backend, reason });
    Ok(refused.collect())
}

fn index(field: &'static str, found: usize, limit: usize) -> Result<usize, Fault> {
    let fault = Fault::Range { field, found, limit };
    if found < limit { Ok(found) } else { Err(fault) }
}

fn indices<'a>(
    field: &'static str,
    found: impl IntoIterator<Item = &'a usize>,
    limit: usize,
) -> Result<(), Fault> {
    found
        .into_iter()
        .try_for_each(|found| index(field, *found, limit).map(|_| ()))
}

fn length(field: &'static str, found: usize, wanted: usize) -> Result<(), Fault> {
    let fault = Fault::Length { field, found, wanted };
    if found == wanted { Ok(()) } else { Err(fault) }
}

fn ascending<T: PartialOrd>(field: &'static str, items: impl Iterator<Item = T>) -> Result<(), Fault> {
    if items.is_sorted_by(|a, b| a < b) {
        Ok(())
    } else {
        Err(Fault::Unsorted(field))
    }
}

fn amount(field: &'static str, found: f64) -> Result<f64, Fault> {
    if found.is_finite() && found >= 0.0 {
        return Ok(found);
    }
    let found = found.to_string();
    Err(Fault::Amount { field, found })
}

fn optional(field: &'static str, found: Option<f64>) -> Result<Option<f64>, Fault> {
    found.map(|found| amount(field, found)).transpose()
}

fn meaning<T: Copy>(field: &'static str, words: &[(T, &str)], found: &str) -> Result<T, Fault> {
    let known = words.iter().find(|(_, word)| *word == found);
    known
        .map(|(value, _)| *value)
        .ok_or_else(|| unknown(field, found))
}

fn unknown(field: &'static str, word: &str) -> Fault {
    let word = word.escape_debug().to_string();
    Fault::Word { field, word }
}
