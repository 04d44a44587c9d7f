//! Whose turn it is to have a consignment carried, of owners who share what is under way by their weights.

use domicile_movers::{Standing, turn};
use sqlx::SqliteConnection;

use crate::error::CatalogueError;
use crate::leases::NOW_MS;
use crate::row::{count, stored};

/// The first consignment of each owner that nobody carries, or whose worker has not been heard of for too long, and that
/// nobody has ordered to rest, with how the owner stands. Without ?1 and ?2 any copy's.
const FREE: &str = "
    WITH under_way AS MATERIALIZED (
        SELECT e.domain, sum(c.bytes) AS bytes FROM leases c JOIN datasets e ON e.id = c.dataset_id
        WHERE c.state = 'Open' AND c.deadline_ms >= NOW_MS GROUP BY e.domain)
    SELECT min(l.id) AS id, l.deadline_ms IS NOT NULL AS expired, d.domain,
        coalesce(CAST(json_extract(m.json, '$.spec.weight') AS INTEGER), 1) AS weight,
        coalesce(o.bytes, 0) AS under_way, coalesce(t.next, 0) AS next
    FROM leases l JOIN datasets d ON d.id = l.dataset_id JOIN backends b ON b.id = l.backend_id
    LEFT JOIN under_way o ON o.domain = d.domain
    LEFT JOIN turns t ON t.domain = d.domain
    LEFT JOIN manifests m ON m.kind = 'Domain' AND m.name = d.domain
    WHERE l.state = 'Open' AND (l.deadline_ms IS NULL OR l.deadline_ms < NOW_MS)
      AND (?1 IS NULL OR d.name = ?1 AND b.name = ?2)
      AND NOT EXISTS (SELECT 1 FROM holds h WHERE h.dataset_id = l.dataset_id AND h.backend_id = l.backend_id)
    GROUP BY d.domain, expired ORDER BY min(l.id)";

#[derive(sqlx::FromRow)]
struct Free {
    id: i64,
    expired: bool,
    domain: String,
    weight: i64,
    under_way: i64,
    next: i64,
}

impl Free {
    fn standing(&self) -> Result<Standing, CatalogueError> {
        Ok(Standing {
            weight: u32::try_from(self.weight).unwrap_or(1),
            under_way: count(self.under_way)?,
            next: count(self.next)?,
        })
    }
}

/// The consignment that is to be carried next, and its owner's turn is over with it. What lies with a worker that is not heard
/// of comes after what nobody has.
pub(crate) async fn next(
    connection: &mut SqliteConnection,
    (dataset, backend): (Option<&str>, Option<&str>),
) -> Result<Option<i64>, CatalogueError> {
    let select = sqlx::query_as::<_, Free>(sqlx::AssertSqlSafe(FREE.replace("NOW_MS", NOW_MS)));
    let mut free = select
        .bind(dataset)
        .bind(backend)
        .fetch_all(&mut *connection)
        .await?;
    if free.iter().any(|one| !one.expired) {
        free.retain(|one| !one.expired);
    }
    let clock: i64 = sqlx::query_scalar("SELECT coalesce(max(began), 0) FROM turns")
        .fetch_one(&mut *connection)
        .await?;
    let clock = count(clock)?;
    let mut waiting = Vec::with_capacity(free.len());
    for one in &free {
        waiting.push((one, one.standing()?));
    }
    let Some(chosen) = turn(waiting, clock) else {
        return Ok(None);
    };
    let bytes: i64 = sqlx::query_scalar("SELECT bytes FROM leases WHERE id = ?")
        .bind(chosen.id)
        .fetch_one(&mut *connection)
        .await?;
    let mut standing = chosen.standing()?;
    let began = standing.begin(clock, count(bytes)?);
    // Above what the database can count nothing tells owners apart but what they have under way.
    let most = |turns: u64| stored(turns.min(i64::MAX.cast_unsigned()), "a turn");
    sqlx::query("INSERT OR REPLACE INTO turns (domain, began, next) VALUES (?, ?, ?)")
        .bind(&chosen.domain)
        .bind(most(began)?)
        .bind(most(standing.next)?)
        .execute(connection)
        .await?;
    Ok(Some(chosen.id))
}
