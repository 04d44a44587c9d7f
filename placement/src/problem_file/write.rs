//! A problem as lines.

use serde::Serialize;

use super::ProblemFileError;
use super::rows::{BackendRow, DatasetRow, Head, LinkRow, PolicyRow, ProfileRow, ReasonRow, RequirementRow};
use crate::digest;
use crate::problem::Problem;

/// The lines of a problem's file, without their ends. They are made as they are asked for, so that a million datasets are
/// never held as text.
///
/// Equal problems give equal lines.
///
/// # Errors
/// [`ProblemFileError::Unwritable`] if a row cannot be put as JSON.
pub fn lines(problem: &Problem) -> impl Iterator<Item = Result<String, ProblemFileError>> + '_ {
    let (profiles, profile_of) = digest::stated(&problem.datasets);
    let head = std::iter::once_with({
        let head = Head::of(problem, profiles.len());
        move || line(&head)
    });
    let datasets = problem.datasets.iter().zip(profile_of);
    head.chain(
        problem
            .backends
            .iter()
            .map(|place| line(&BackendRow::from(place))),
    )
    .chain(problem.policies.iter().map(|terms| line(&PolicyRow::from(terms))))
    .chain(
        problem
            .reasons
            .iter()
            .map(|reason| line(&ReasonRow::from(reason))),
    )
    .chain(
        problem
            .requirements
            .iter()
            .map(|wanted| line(&RequirementRow::from(wanted))),
    )
    .chain(problem.links.iter().map(|link| line(&LinkRow::from(link))))
    .chain(
        profiles
            .into_iter()
            .map(|profile| line(&ProfileRow::from(profile))),
    )
    .chain(datasets.map(|(subject, profile)| line(&DatasetRow::of(subject, profile))))
}

fn line(row: &impl Serialize) -> Result<String, ProblemFileError> {
    serde_json::to_string(row).map_err(|error| ProblemFileError::Unwritable(error.to_string()))
}
