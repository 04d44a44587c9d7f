//! Work that blocks.

/// Runs what blocks on a thread that may. A panic there goes on here: it is a bug, not a failure.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Cancelled: the runtime is going down, and nobody waits for an answer.
            Err(_) => std::future::pending().await,
        },
    }
}
