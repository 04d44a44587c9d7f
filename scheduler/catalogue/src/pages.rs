//! Datasets by the thousand. A page of rows is read as one text: to hand over a million rows one at a time takes several
//! times as long as to read them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use domicile_estate::{
    BackendName, ByteCount, Dataset, DatasetName, DomainName, FairRecord, Labels, Origin, OriginFinding,
};
use futures::TryStreamExt;
use sqlx::SqliteConnection;

use crate::dataset::{DatasetSource, Registered, labels_of, record_of};
use crate::error::CatalogueError;
use crate::observed::{Counts, Tally};
use crate::row::{backend_name, corrupt, count, dataset_name, domain_name};
use crate::sums::Minimum;

/// Datasets of a page.
const PAGE: i64 = 2_048;
/// Between fields and between rows: names hold no control characters, JSON escapes them, and prefixes are in hexadecimal.
const FIELD: char = '\u{1f}';
const ROW: char = '\u{1e}';

const SELECT_DATASETS: &str = "
    SELECT max(id), group_concat(row, char(30)) FROM (
        SELECT id, concat_ws(char(31), id, name, objects, bytes, coalesce(origin_backend_id, 0)) AS row
        FROM datasets WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3)";
const SELECT_DESCRIBED: &str = "
    SELECT max(id), group_concat(row, char(30)) FROM (
        SELECT id, concat_ws(char(31), id, name, objects, bytes, coalesce(origin_backend_id, 0), source, domain, labels,
                             record, keep_origin, hex(origin_prefix), coalesce(released_backend_id, 0),
                             hex(released_prefix)) AS row
        FROM datasets WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3)";
const SELECT_COPIES: &str = "
    SELECT group_concat(concat_ws(char(31), c.dataset_id, c.backend_id,
        c.origin + 2 * c.retiring + 4 * c.begun + 8 * (c.trusted_through > 0),
        c.verified_objects, c.verified_bytes, c.damaged_objects, c.gone_objects,
        iif(c.gone_objects = 0, 0, (SELECT coalesce(sum(o.size), 0) FROM placed p JOIN objects o ON o.id = p.object_id
            WHERE p.dataset_id = c.dataset_id AND p.backend_id = c.backend_id AND p.state = 3))), char(30))
    FROM copies c WHERE c.dataset_id BETWEEN ?1 AND ?2";
const SELECT_SMALL: &str = "
    SELECT group_concat(concat_ws(char(31), dataset_id, class, objects, bytes), char(30))
    FROM small_objects WHERE dataset_id BETWEEN ?1 AND ?2 AND class < ?3";

/// Which datasets are read, and what of them.
pub(crate) struct Pages {
    after: i64,
    last: i64,
    minimums: Vec<Minimum>,
    backends: BTreeMap<i64, BackendName>,
    findings: BTreeMap<i64, Vec<OriginFinding>>,
    words: Option<Words>,
}

/// One dataset as it was read.
pub(crate) struct Told {
    pub name: DatasetName,
    pub tally: Tally,
    /// How it is registered, if that was asked for.
    pub registered: Option<Registered>,
}

/// Descriptions that many datasets share.
#[derive(Default)]
struct Words {
    domains: HashMap<String, DomainName>,
    labels: HashMap<String, Arc<Labels>>,
    records: HashMap<String, Arc<FairRecord>>,
}

impl Pages {
    /// Begins to read datasets whose numbers lie within a range, with billable sums for these minimum object sizes.
    pub async fn begin(
        connection: &mut SqliteConnection,
        (first, last): (i64, i64),
        minimums: &[ByteCount],
        described: bool,
    ) -> Result<Self, CatalogueError> {
        let mut sizes = minimums.to_vec();
        sizes.sort_unstable();
        sizes.dedup();
        let sizes = sizes.into_iter().filter(|size| size.0 > 0);
        Ok(Self {
            after: first - 1,
            last,
            minimums: sizes.map(Minimum::new).collect(),
            backends: backends(connection).await?,
            findings: findings(connection, (first, last)).await?,
            words: described.then(Words::default),
        })
    }

    /// The next datasets, by their numbers; none at the end.
    pub async fn next(&mut self, connection: &mut SqliteConnection) -> Result<Vec<Told>, CatalogueError> {
        let sql = if self.words.is_some() {
            SELECT_DESCRIBED
        } else {
            SELECT_DATASETS
        };
        let select = sqlx::query_as(sql).bind(self.after).bind(self.last).bind(PAGE);
        let page: (Option<i64>, Option<String>) = select.fetch_one(&mut *connection).await?;
        let (Some(last), Some(text)) = page else {
            return Ok(Vec::new());
        };
        let first = self.after + 1;
        self.after = last;
        let mut tallies = Vec::new();
        let mut rows = Vec::new();
        for row in text.split(ROW) {
            let mut row = Fields(row.split(FIELD));
            let id = row.number()?;
            let name = dataset_name(row.text()?)?;
            let mut tally = Tally::empty(self.minimums.iter().map(|minimum| minimum.size));
            tally.objects = count(row.number()?)?;
            tally.bytes = count(row.number()?)?;
            tally.findings = self.findings.remove(&id).unwrap_or_default();
            for (_, sum) in &mut tally.billable {
                sum.0 = tally.bytes;
            }
            tallies.push((id, tally));
            rows.push((name, row));
        }
        self.add_copies(connection, (first, last), &mut tallies).await?;
        self.add_billable(connection, (first, last), &mut tallies).await?;
        let mut told = Vec::with_capacity(rows.len());
        for ((name, mut row), (_, tally)) in rows.into_iter().zip(tallies) {
            let origin = row.number()?;
            let registered = match &mut self.words {
                Some(words) => Some(words.registered(&self.backends, (&name, origin, &tally), &mut row)?),
                None => None,
            };
            told.push(Told {
                name,
                tally,
                registered,
            });
        }
        Ok(told)
    }

    async fn add_copies(
        &self,
        connection: &mut SqliteConnection,
        (first, last): (i64, i64),
        tallies: &mut [(i64, Tally)],
    ) -> Result<(), CatalogueError> {
        let select = sqlx::query_scalar::<_, Option<String>>(SELECT_COPIES);
        let text = select.bind(first).bind(last).fetch_one(connection).await?;
        for row in text.iter().flat_map(|text| text.split(ROW)) {
            let mut row = Fields(row.split(FIELD));
            let tally = tally_of(tallies, row.number()?)?;
            let backend = named(&self.backends, row.number()?)?;
            let flags = row.number()?;
            let counts = Counts {
                origin: flags & 1 > 0,
                retiring: flags & 2 > 0,
                begun: flags & 4 > 0,
                trusted: flags & 8 > 0,
                verified_objects: count(row.number()?)?,
                verified_bytes: count(row.number()?)?,
                damaged_objects: count(row.number()?)?,
                gone_objects: count(row.number()?)?,
                gone_bytes: count(row.number()?)?,
            };
            *tally.copy_entry(&backend) = counts;
        }
        Ok(())
    }

    /// Adds to the bytes what objects below each minimum are billed for beyond their sizes.
    async fn add_billable(
        &self,
        connection: &mut SqliteConnection,
        (first, last): (i64, i64),
        tallies: &mut [(i64, Tally)],
    ) -> Result<(), CatalogueError> {
        let Some(largest) = self.minimums.last() else {
            return Ok(());
        };
        let select = sqlx::query_scalar::<_, Option<String>>(SELECT_SMALL);
        let select = select.bind(first).bind(last).bind(largest.below);
        let text = select.fetch_one(&mut *connection).await?;
        for row in text.iter().flat_map(|text| text.split(ROW)) {
            let mut row = Fields(row.split(FIELD));
            let tally = tally_of(tallies, row.number()?)?;
            let class = row.number()?;
            let (objects, bytes) = (count(row.number()?)?, count(row.number()?)?);
            for (minimum, (_, sum)) in self.minimums.iter().zip(&mut tally.billable) {
                if class < i64::from(minimum.below) {
                    add_beyond(&mut sum.0, *minimum, (objects, bytes))?;
                }
            }
        }
        for (at, minimum) in self
            .minimums
            .iter()
            .enumerate()
            .filter(|(_, m)| m.reads_objects())
        {
            let select = sqlx::query_as::<_, (i64, i64, i64)>(
                "SELECT dataset_id, count(*), sum(size) FROM objects
                 WHERE dataset_id BETWEEN ?1 AND ?2 AND size >= ?3 AND size < ?4 GROUP BY dataset_id",
            );
            let bounds =
                [minimum.read_from, minimum.size].map(|size| i64::try_from(size.0).unwrap_or(i64::MAX));
            let select = select.bind(first).bind(last).bind(bounds[0]).bind(bounds[1]);
            let mut rows = select.fetch(&mut *connection);
            while let Some((id, objects, bytes)) = rows.try_next().await? {
                if let Some((_, sum)) = tally_of(tallies, id)?.billable.get_mut(at) {
                    add_beyond(&mut sum.0, *minimum, (count(objects)?, count(bytes)?))?;
                }
            }
        }
        Ok(())
    }
}

/// Adds what objects are billed for beyond their bytes, all of them being below a minimum.
fn add_beyond(sum: &mut u64, minimum: Minimum, (objects, bytes): (u64, u64)) -> Result<(), CatalogueError> {
    let beyond = objects
        .checked_mul(minimum.size.0)
        .and_then(|billed| billed.checked_sub(bytes))
        .and_then(|beyond| sum.checked_add(beyond));
    *sum = beyond.ok_or(CatalogueError::TooLarge {
        what: "a dataset's billable size",
    })?;
    Ok(())
}

fn tally_of(tallies: &mut [(i64, Tally)], id: i64) -> Result<&mut Tally, CatalogueError> {
    let at = tallies.binary_search_by_key(&id, |(id, _)| *id);
    let found = at.ok().and_then(|at| tallies.get_mut(at));
    found
        .map(|(_, tally)| tally)
        .ok_or_else(|| corrupt(format!("copies or objects of no dataset {id}")))
}

fn named(backends: &BTreeMap<i64, BackendName>, id: i64) -> Result<BackendName, CatalogueError> {
    let name = backends.get(&id).cloned();
    name.ok_or_else(|| corrupt(format!("a copy on no backend {id}")))
}

/// The fields of a row, one after another.
struct Fields<'t>(std::str::Split<'t, char>);

impl<'t> Fields<'t> {
    fn text(&mut self) -> Result<&'t str, CatalogueError> {
        self.0.next().ok_or_else(|| corrupt("a row with too few fields"))
    }

    fn number(&mut self) -> Result<i64, CatalogueError> {
        let text = self.text()?;
        text.parse().map_err(|_| corrupt(format!("a number `{text}`")))
    }

    fn unhexed(&mut self) -> Result<String, CatalogueError> {
        let text = self.text()?.as_bytes();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let bytes: Option<Vec<u8>> = text.chunks(2).map(byte).collect();
        bytes
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or_else(|| corrupt("a prefix that is no text"))
    }
}

impl Words {
    fn registered(
        &mut self,
        backends: &BTreeMap<i64, BackendName>,
        (name, origin, tally): (&DatasetName, i64, &Tally),
        row: &mut Fields<'_>,
    ) -> Result<Registered, CatalogueError> {
        let source = DatasetSource::try_from(row.text()?)?;
        let domain = shared(&mut self.domains, row.text()?, domain_name)?;
        let labels = shared(&mut self.labels, row.text()?, |text| {
            labels_of(name, text).map(Arc::new)
        })?;
        let record = shared(&mut self.records, row.text()?, |text| {
            record_of(name, text).map(Arc::new)
        })?;
        let keep_origin = row.number()? != 0;
        let place = |backend: i64, prefix: String| -> Result<Option<Origin>, CatalogueError> {
            let backend = (backend != 0).then(|| named(backends, backend)).transpose()?;
            Ok(backend.map(|backend| Origin { backend, prefix }))
        };
        let origin = place(origin, row.unhexed()?)?;
        let (released, released_prefix) = (row.number()?, row.unhexed()?);
        let copy = origin.as_ref().and_then(|origin| tally.copy(&origin.backend));
        Ok(Registered {
            source,
            released_origin: place(released, released_prefix)?.map(Box::new),
            origin_known: copy.is_some(),
            origin_trusted: copy.is_some_and(|copy| copy.trusted),
            origin_retiring: copy.is_some_and(|copy| copy.retiring),
            dataset: Arc::new(Dataset {
                name: name.clone(),
                labels,
                domain,
                record,
                origin,
                keep_origin,
            }),
        })
    }
}

/// The value of a text that comes again and again.
fn shared<T: Clone>(
    known: &mut HashMap<String, T>,
    text: &str,
    read: impl FnOnce(&str) -> Result<T, CatalogueError>,
) -> Result<T, CatalogueError> {
    if let Some(value) = known.get(text) {
        return Ok(value.clone());
    }
    let value = read(text)?;
    known.insert(text.to_owned(), value.clone());
    Ok(value)
}

async fn backends(connection: &mut SqliteConnection) -> Result<BTreeMap<i64, BackendName>, CatalogueError> {
    let rows: Vec<(i64, String)> = sqlx::query_as("SELECT id, name FROM backends")
        .fetch_all(connection)
        .await?;
    rows.into_iter()
        .map(|(id, name)| Ok((id, backend_name(&name)?)))
        .collect()
}

async fn findings(
    connection: &mut SqliteConnection,
    (first, last): (i64, i64),
) -> Result<BTreeMap<i64, Vec<OriginFinding>>, CatalogueError> {
    let select =
        sqlx::query_as("SELECT dataset_id, kind, key, reason FROM findings WHERE dataset_id BETWEEN ? AND ?");
    let mut rows = select.bind(first).bind(last).fetch(connection);
    let mut findings: BTreeMap<i64, Vec<OriginFinding>> = BTreeMap::new();
    while let Some((id, kind, key, reason)) = rows.try_next().await? as Option<(i64, String, String, String)>
    {
        findings.entry(id).or_default().push(match kind.as_str() {
            "Gone" => OriginFinding::Gone { key },
            "Changed" => OriginFinding::Changed { key },
            "RefusedKey" => OriginFinding::RefusedKey { key, reason },
            "NotAFile" => OriginFinding::NotAFile { key },
            other => return Err(corrupt(format!("a finding `{other}`"))),
        });
    }
    Ok(findings)
}
