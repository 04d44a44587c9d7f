//! `mover`: one more process that carries what `apply` has approved.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinSet;

use super::apply::carrier;
use crate::answer;
use crate::carry::Carrier;
use crate::carry::consign::{self, Leasing};
use crate::cli::{Files, Global, MoverArgs};
use crate::outcome::Outcome;
use crate::terminal;
use crate::world::{World, open_to_write};

/// Consignments that a mover carries at once.
const CONSIGNMENTS: usize = 4;
/// How often an idle mover looks for work.
const LOOK_EVERY: Duration = Duration::from_millis(500);

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
        carrier: None,
        carried: 0,
        failed: 0,
    };
    let interrupted = mover.run().await?;
    let told = format!(
        "{} consignments carried, {} with failures",
        mover.carried, mover.failed
    );
    let document = serde_json::json!({"carried": mover.carried, "failed": mover.failed});
    if !answer::structured(global.output, &document, std::slice::from_ref(&document))? {
        terminal::answer(&told);
    }
    Ok(match (interrupted, mover.failed) {
        (true, _) => Outcome::Interrupted,
        (false, 0) => Outcome::Done,
        (false, _) => Outcome::MovesFailed,
    })
}

struct Mover<'a> {
    global: &'a Global,
    leasing: Leasing,
    once: bool,
    /// What it carries with, and for which plan that was read.
    carrier: Option<(u64, Carrier)>,
    carried: u64,
    failed: u64,
}

impl Mover<'_> {
    /// Works until it is interrupted, or with `--once` until nothing is offered; says whether it was interrupted.
    async fn run(&mut self) -> anyhow::Result<bool> {
        loop {
            let carrier = self.carrier().await?;
            let worked = {
                let work = self.work(&carrier);
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

    /// Carries what is offered as long as there is any; says whether there was.
    async fn work(&mut self, carrier: &Carrier) -> anyhow::Result<bool> {
        let mut under_way = JoinSet::new();
        let before = self.carried;
        let plan = self.carrier.as_ref().map(|(plan, _)| *plan);
        loop {
            // Another plan may have other manifests: what is under way ends first.
            let same_plan = Some(carrier.catalogue.next_plan_number().await?) == plan;
            while same_plan && under_way.len() < CONSIGNMENTS && !carrier.cancel.is_cancelled() {
                match consign::lease(carrier, None).await? {
                    Some(keeper) => drop(under_way.spawn(consign::carry(carrier.clone(), keeper))),
                    None => break,
                }
            }
            let Some(ended) = under_way.join_next().await else {
                return Ok(self.carried > before);
            };
            self.carried += 1;
            if let Some(reason) = ended.context("a consignment broke down")??.reason() {
                self.failed += 1;
                terminal::say(self.global, &format!("failed: {reason}"));
            }
        }
    }
}
