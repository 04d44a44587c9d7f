//! `why`.
use crate::cli::{Global, WhyArgs};
use crate::outcome::Outcome;
/// `why`.
pub async fn why(_global: &Global, _args: &WhyArgs) -> anyhow::Result<Outcome> {
    anyhow::bail!("later")
}
