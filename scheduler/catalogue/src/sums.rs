//! Sums over the objects of each dataset, kept beside them: their number, their bytes, and the small ones by size.
//!
//! INVARIANT: they equal the sums over the table `objects` after every transaction.

use std::collections::BTreeMap;

use domicile_estate::ByteCount;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use crate::error::CatalogueError;
use crate::row::{count, stored};

/// Sizes of at most so many binary digits, which is below 1 MiB, are small: no store known to us bills a minimum beyond.
const SMALL_DIGITS: u32 = 20;
/// Rows of one statement: four values each, below SQLite's limit of 32,766 values.
const ROWS_MAX: usize = 2_000;

/// What objects add to the sums of their dataset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub objects: u64,
    pub bytes: u64,
    /// Objects and bytes of the small ones, by the binary digits of their size, ascending.
    pub small: Vec<(u32, u64, u64)>,
}

impl Sums {
    pub fn of(sizes: impl Iterator<Item = ByteCount>) -> Self {
        let mut sums = Self::default();
        sizes.for_each(|size| sums.add(size));
        sums
    }

    pub fn add(&mut self, size: ByteCount) {
        self.objects += 1;
        self.bytes = self.bytes.saturating_add(size.0);
        let class = digits(size);
        if class > SMALL_DIGITS {
            return;
        }
        let at = self.small.partition_point(|(other, ..)| *other < class);
        match self.small.get_mut(at) {
            Some((known, objects, bytes)) if *known == class => {
                *objects += 1;
                *bytes += size.0;
            }
            _ => self.small.insert(at, (class, 1, size.0)),
        }
    }
}

/// The binary digits of a size.
fn digits(size: ByteCount) -> u32 {
    u64::BITS - size.0.leading_zeros()
}

/// Adds to the sums of datasets.
pub(crate) async fn add_sums(
    connection: &mut SqliteConnection,
    added: &BTreeMap<i64, Sums>,
) -> Result<(), CatalogueError> {
    add_objects(connection, added).await?;
    add_small(connection, added.iter().map(|(dataset, sums)| (*dataset, sums))).await
}

/// Adds to the numbers and bytes alone.
pub(crate) async fn add_objects(
    connection: &mut SqliteConnection,
    added: &BTreeMap<i64, Sums>,
) -> Result<(), CatalogueError> {
    for (dataset, sums) in added.iter().filter(|(_, sums)| sums.objects > 0) {
        let update = sqlx::query("UPDATE datasets SET objects = objects + ?, bytes = bytes + ? WHERE id = ?");
        let update = update.bind(stored(sums.objects, "a number of objects")?);
        let update = update.bind(stored(sums.bytes, "a dataset's size")?).bind(dataset);
        update.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Adds to what is kept of small objects alone.
pub(crate) async fn add_small(
    connection: &mut SqliteConnection,
    added: impl Iterator<Item = (i64, &Sums)>,
) -> Result<(), CatalogueError> {
    let small =
        |(dataset, sums): (i64, &Sums)| sums.small.iter().map(move |small| (dataset, *small)).collect();
    let rows: Vec<(i64, (u32, u64, u64))> = added.flat_map::<Vec<_>, _>(small).collect();
    for chunk in rows.chunks(ROWS_MAX) {
        let mut upsert =
            QueryBuilder::<Sqlite>::new("INSERT INTO small_objects (dataset_id, class, objects, bytes) ");
        // Less than 2^63 objects of less than 1 MiB: neither sum can be too large, for objects are counted by rows.
        upsert.push_values(chunk, |mut row, (dataset, (class, objects, bytes))| {
            row.push_bind(*dataset).push_bind(*class);
            row.push_bind(objects.cast_signed())
                .push_bind(bytes.cast_signed());
        });
        upsert.push(
            " ON CONFLICT DO UPDATE SET objects = objects + excluded.objects, bytes = bytes + excluded.bytes",
        );
        upsert.build().execute(&mut *connection).await?;
    }
    Ok(())
}

/// Sums up the objects of a dataset anew; their number and bytes.
pub(crate) async fn resum(
    connection: &mut SqliteConnection,
    dataset: i64,
) -> Result<(u64, u64), CatalogueError> {
    let update = sqlx::query_as(
        "UPDATE datasets SET (objects, bytes) =
             (SELECT count(*), coalesce(sum(size), 0) FROM objects WHERE dataset_id = ?1)
         WHERE id = ?1 RETURNING objects, bytes",
    );
    let (objects, bytes) = update.bind(dataset).fetch_one(&mut *connection).await?;
    for sql in [
        "DELETE FROM small_objects WHERE dataset_id = ?1",
        "INSERT INTO small_objects (dataset_id, class, objects, bytes)
         WITH RECURSIVE classes (class, low, high) AS (
             VALUES (0, 0, 1) UNION ALL SELECT class + 1, high, 2 * high FROM classes WHERE class < 20
         )
         SELECT o.dataset_id, c.class, count(*), sum(o.size)
         FROM objects o JOIN classes c ON o.size >= c.low AND o.size < c.high
         WHERE o.dataset_id = ?1 GROUP BY c.class",
    ] {
        sqlx::query(sql).bind(dataset).execute(&mut *connection).await?;
    }
    Ok((count(objects)?, count(bytes)?))
}

/// How a minimum object size divides sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Minimum {
    /// In bytes.
    pub size: ByteCount,
    /// Sizes of fewer binary digits than this are below it, and are kept as sums.
    pub below: u32,
    /// The sizes from here up to the minimum are known from the objects alone; none for a power of two up to 1 MiB.
    pub read_from: ByteCount,
}

impl Minimum {
    pub fn new(size: ByteCount) -> Self {
        let below = digits(size).min(SMALL_DIGITS + 1);
        let read_from = ByteCount(if below == 0 { 0 } else { 1 << (below - 1) });
        Self {
            size,
            below,
            read_from,
        }
    }

    /// Whether single objects must be read for it.
    pub fn reads_objects(self) -> bool {
        self.read_from < self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is billed by the sums and the objects that are read beside them.
    fn billed(sizes: &[u64], minimum: u64) -> u64 {
        let sums = Sums::of(sizes.iter().copied().map(ByteCount));
        let minimum = Minimum::new(ByteCount(minimum));
        let kept = sums.small.iter().filter(|(class, ..)| *class < minimum.below);
        let kept: u64 = kept
            .map(|(_, objects, bytes)| objects * minimum.size.0 - bytes)
            .sum();
        let read = minimum.read_from.0..minimum.size.0;
        let read: u64 = sizes
            .iter()
            .filter(|size| read.contains(size))
            .map(|size| minimum.size.0 - size)
            .sum();
        sums.bytes + kept + read
    }

    #[test]
    fn every_minimum_is_exact() {
        let sizes = [
            0,
            0,
            1,
            2,
            3,
            4,
            63,
            64,
            65,
            1000,
            65_535,
            65_536,
            65_537,
            1 << 20,
            (1 << 20) - 1,
            5 << 20,
        ];
        for minimum in sizes
            .into_iter()
            .chain([7, 100_000, 128 << 10, 1 << 21, 3 << 20, 1 << 30])
        {
            let exact: u64 = sizes.iter().map(|size| (*size).max(minimum)).sum();
            assert_eq!(billed(&sizes, minimum), exact, "{minimum}");
        }
    }

    #[test]
    fn usual_minimums_read_no_objects() {
        for minimum in [0, 1, 4 << 10, 64 << 10, 128 << 10, 1 << 20] {
            assert!(!Minimum::new(ByteCount(minimum)).reads_objects(), "{minimum}");
        }
        assert!(Minimum::new(ByteCount(100_000)).reads_objects());
    }
}
