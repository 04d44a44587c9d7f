//! `mover`: one more process that carries what `apply` has approved.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use domicile_scheduler::Scrubbable;
use tokio::task::JoinSet;

use super::apply::carrier;
use super::scrub::{self, read_some};
use crate::answer;
use crate::carry::consign::{self, Leasing};
use crate::carry::{Carrier, now_ms};
use crate::cli::{Files, Global, MoverArgs};
use crate::outcome::Outcome;
use crate::terminal;
use crate::world::{World, open_to_write};

/// Consignments that a mover carries at once.
const CONSIGNMENTS: usize = 4;
/// How often an idle mover looks for work.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// What an idle mover reads back before it looks again whether there is something to carry.
const SLICE_EFFORT: u64 = 256 << 20;
/// How long nobody else takes up a copy of which a slice is read back.
const SLICE_MS: u64 = 10 * 60 * 1000;
/// How often it is looked which copies are due, if none was.
const SCRUB_LOOK_EVERY: Duration = Duration::from_secs(60);
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// `mover`.
pub async fn mover(global: &Global, args: &MoverArgs) -> anyhow::Result<Outcome> {
    anyhow::ensure!(args.lease > 0, "a lease lasts one second at least");
    let mut mover = Mover {
        global,
        leasing: Leasing {
            ttl: Duration::from_secs(args.lease),
            ..Leasing::default()
        },
        once: args.once,
        scrub_ms: args.scrub_days.map(|days| i64::from(days).saturating_mul(DAY_MS)),
        carrier: None,
        due: VecDeque::new(),
        looked: None,
        tally: Tally::default(),
    };
    let interrupted = mover.run().await?;
    let Tally {
        carried,
        failed,
        read_back,
        damaged,
    } = mover.tally;
    let mut told = format!("{carried} consignments carried, {failed} with failures");
    if args.scrub_days.is_some() {
        told += &format!("; {read_back} objects read back, {damaged} damaged or gone");
    }
    let document = serde_json::json!({
        "carried": carried, "failed": failed, "readBack": read_back, "damaged": damaged,
    });
    if !answer::structured(global.output, &document, std::slice::from_ref(&document))? {
        terminal::answer(&told);
    }
    Ok(match (interrupted, failed, damaged) {
        (true, ..) => Outcome::Interrupted,
        (false, 0, 0) => Outcome::Done,
        (false, 0, _) => Outcome::Unsatisfied,
        (false, ..) => Outcome::MovesFailed,
    })
}

struct Mover<'a> {
    global: &'a Global,
    leasing: Leasing,
    once: bool,
    /// What it carries with, and for which plan that was read.
    carrier: Option<(u64, Carrier)>,
    /// Milliseconds within which every copy is to be read back.
    scrub_ms: Option<i64>,
    /// Copies whose turn it is to be read back.
    due: VecDeque<Scrubbable>,
    /// When it was last looked which are due.
    looked: Option<Instant>,
    tally: Tally,
}

/// What a mover has done.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    carried: u64,
    failed: u64,
    read_back: u64,
    damaged: u64,
}

impl Mover<'_> {
    /// Works until it is interrupted, or with `--once` until nothing is offered; says whether it was interrupted.
    async fn run(&mut self) -> anyhow::Result<bool> {
        loop {
            let carrier = self.carrier().await?;
            let worked = {
                let work = self.work_or_scrub(&carrier);
                tokio::pin!(work);
                tokio::select! {
                    worked = &mut work => worked?,
                    _ = tokio::signal::ctrl_c() => {
                        // What is under way is given back, so that others need not wait for the lease to run out.
                        carrier.cancel.cancel();
                        work.await?;
                        return Ok(true);
                    }
                }
            };
            if worked {
                continue;
            }
            if self.once {
                return Ok(false);
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                _ = tokio::signal::ctrl_c() => return Ok(true),
            }
        }
    }

    /// What there is to carry with: manifests are read anew when another plan was recorded.
    async fn carrier(&mut self) -> anyhow::Result<Carrier> {
        let catalogue = match &self.carrier {
            Some((_, carrier)) => Arc::clone(&carrier.catalogue),
            None => open_to_write(self.global).await?,
        };
        let plan = catalogue.next_plan_number().await?;
        if let Some((known, carrier)) = &self.carrier
            && *known == plan
        {
            return Ok(carrier.clone());
        }
        let world = World::load(self.global, catalogue, &Files::default()).await;
        let world = world.context("what the catalogue holds could not be read")?;
        let carrier = Carrier {
            leasing: self.leasing.clone(),
            ..carrier(&world)
        };
        self.carrier = Some((plan, carrier.clone()));
        Ok(carrier)
    }

    /// Carries what is offered, or else reads some of what is due back; says whether there was anything.
    async fn work_or_scrub(&mut self, carrier: &Carrier) -> anyhow::Result<bool> {
        Ok(self.work(carrier).await? || self.scrub(carrier).await?)
    }

    /// Reads a slice of a copy back whose turn it is; says whether there was one.
    async fn scrub(&mut self, carrier: &Carrier) -> anyhow::Result<bool> {
        let Some(period_ms) = self.scrub_ms else {
            return Ok(false);
        };
        self.look_what_is_due(carrier, period_ms).await?;
        while let Some(target) = self.due.pop_front() {
            let (dataset, backend) = (&target.dataset, &target.backend);
            if !carrier.catalogue.claim_scrub(dataset, backend, SLICE_MS).await? {
                continue;
            }
            let inspected = read_some(carrier, &target, Some(SLICE_EFFORT)).await?;
            scrub::tell(self.global, &target, &inspected);
            let wrong = (inspected.damaged.len() + inspected.gone.len()) as u64;
            self.tally.read_back += inspected.whole + wrong;
            self.tally.damaged += wrong;
            if wrong > 0 {
                let next = "damaged copies no longer count; `domicile apply` repairs them from good ones";
                terminal::say(self.global, next);
            }
            // What cannot be read now waits until it is looked again what is due.
            if !inspected.ended && inspected.unread.is_empty() {
                self.due.push_front(target);
            }
            return Ok(true);
        }
        Ok(false)
    }

    async fn look_what_is_due(&mut self, carrier: &Carrier, period_ms: i64) -> anyhow::Result<()> {
        let recent = self
            .looked
            .is_some_and(|looked| looked.elapsed() < SCRUB_LOOK_EVERY);
        if recent || !self.due.is_empty() {
            return Ok(());
        }
        self.looked = Some(Instant::now());
        let catalogue = Arc::clone(&carrier.catalogue);
        let world = World::load(self.global, catalogue, &Files::default()).await?;
        let mut copies: Vec<_> = scrub::copies(&world).collect();
        scrub::mark(&carrier.catalogue, &mut copies).await?;
        let reachable = |copy: &Scrubbable| !world.observed.unreachable.contains_key(&copy.backend);
        let due = copies
            .into_iter()
            .filter(|copy| copy.is_due(now_ms(), period_ms) && reachable(copy));
        self.due = due.collect();
        Ok(())
    }

    /// Carries what is offered as long as there is any; says whether there was.
    async fn work(&mut self, carrier: &Carrier) -> anyhow::Result<bool> {
        let mut under_way = JoinSet::new();
        let _measuring = carrier.measuring();
        let before = self.tally.carried;
        let plan = self.carrier.as_ref().map(|(plan, _)| *plan);
        loop {
            // Another plan may have other manifests: what is under way ends first.
            let same_plan = Some(carrier.catalogue.next_plan_number().await?) == plan;
            while same_plan && under_way.len() < CONSIGNMENTS && !carrier.cancel.is_cancelled() {
                match consign::lease(carrier, None).await? {
                    Some(keeper) => {
                        let consigned = &keeper.lease.consignment;
                        let copy = (&consigned.dataset, &consigned.target);
                        let (carrier, moving) = carrier.of_move(copy, consigned.bytes.0);
                        under_way.spawn(async move {
                            let _moving = moving;
                            consign::carry(carrier, keeper).await
                        });
                    }
                    None => break,
                }
            }
            let Some(ended) = under_way.join_next().await else {
                return Ok(self.tally.carried > before);
            };
            self.tally.carried += 1;
            if let Some(reason) = ended.context("a consignment broke down")??.reason() {
                self.tally.failed += 1;
                terminal::say(self.global, &format!("failed: {reason}"));
            }
        }
    }
}
