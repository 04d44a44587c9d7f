//! Connections that are kept for the next request.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use http::uri::Authority;

use super::connection::Connection;

/// How long a kept connection may lie idle: less than servers wait, which often is a minute.
pub(super) const IDLE: Duration = Duration::from_secs(30);

/// Whom a connection leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Peer {
    pub with_tls: bool,
    pub authority: Authority,
}

#[derive(Debug)]
struct Kept {
    peer: Peer,
    connection: Connection,
    since: Instant,
}

#[derive(Debug, Default)]
struct State {
    /// The one that has lain longest comes first.
    kept: Vec<Kept>,
    /// Whether somebody looks for those that lie too long.
    watched: bool,
}

/// Idle connections.
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<State>);

impl Pool {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection that was used last, if it is still good.
    pub(super) fn take(&self, peer: &Peer) -> Option<Connection> {
        loop {
            let mut kept = {
                let mut state = self.state();
                let place = state.kept.iter().rposition(|kept| kept.peer == *peer)?;
                state.kept.remove(place)
            };
            if kept.since.elapsed() < IDLE && kept.connection.is_alive() {
                return Some(kept.connection);
            }
        }
    }

    pub(super) fn keep(self: &Arc<Self>, peer: Peer, connection: Connection) {
        let mut state = self.state();
        state.kept.push(Kept {
            peer,
            connection,
            since: Instant::now(),
        });
        if !state.watched
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            state.watched = true;
            runtime.spawn(watch(Arc::downgrade(self)));
        }
    }

    /// Closes those that have lain too long; `false` if none is left.
    fn close_idle(&self) -> bool {
        let mut state = self.state();
        state.kept.retain(|kept| kept.since.elapsed() < IDLE);
        state.watched = !state.kept.is_empty();
        state.watched
    }
}

/// Looks after idle connections until none is left, or nobody who uses them.
async fn watch(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(IDLE).await;
        if !pool.upgrade().is_some_and(|pool| pool.close_idle()) {
            return;
        }
    }
}
