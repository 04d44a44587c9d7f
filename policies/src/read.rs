//! Reads manifests: text to tree, tree to records by the table of fields, records to values, and the checks across
//! documents. It collects every mistake and stops at none.

mod canonical;
mod cross;
mod document;
pub(crate) mod fields;
mod leaf;
mod limits;
mod link;
mod nouns;
mod objective;
mod path;
mod places;
mod price;
mod record;
mod report;
mod rules;
mod walk;
mod yaml;

use std::collections::BTreeMap;

use document::{Draft, Drafts};
use fields::NameOf;
use record::Record;
use report::Report;

use crate::diagnostic::Diagnostic;
use crate::manifests::{Document, Manifests, Source};

/// Reads the manifests of an estate: all sources together, so that references may cross from one to another, and a
/// fresh document replaces a stored one of the same kind and name.
///
/// # Errors
/// Every mistake found, by source and place.
pub fn read(sources: &[Source]) -> Result<Manifests, Vec<Diagnostic>> {
    let mut report = Report::new(sources);
    let mut drafts = Drafts::default();
    let mut whole = true;
    for (index, source) in sources.iter().enumerate() {
        let (nodes, read_to_the_end) = yaml::parse(&source.text, index, &mut report);
        whole &= read_to_the_end;
        document::take_all(nodes, index, sources, &mut drafts, &mut report);
    }
    if !whole {
        // What could not be read may hold what is missing: references and comparisons would be guesses.
        return Err(report.finish().0);
    }
    let mut manifests = Manifests::default();
    let mut specs = BTreeMap::new();
    for (key, draft) in &drafts.by_name {
        if let Some(spec) = document::spec(draft, &mut report) {
            specs.insert(key.clone(), spec);
        }
    }
    let mut nameless = Vec::new();
    for draft in &drafts.nameless {
        if let Some(spec) = document::spec(draft, &mut report) {
            nameless.push((draft, spec));
        }
    }
    let reading = Reading {
        drafts: &drafts,
        specs: &specs,
        nameless: &nameless,
        sources,
    };
    reading.nouns(&mut manifests, &mut report);
    reading.rules(&mut manifests, &mut report);
    cross::check(&reading, &mut manifests, &mut report);
    let broken = report.has_errors();
    if !broken {
        reading.finish(&mut manifests);
    }
    let (errors, warnings) = report.finish();
    if broken {
        return Err(errors);
    }
    manifests.warnings = warnings;
    Ok(manifests)
}

/// The documents with their walked `spec`.
struct Reading<'r> {
    drafts: &'r Drafts,
    specs: &'r BTreeMap<(NameOf, String), Record>,
    /// Those whose name cannot be used: no values come of them, but further mistakes.
    nameless: &'r [(&'r Draft, Record)],
    sources: &'r [Source],
}

impl<'r> Reading<'r> {
    /// Every document of a kind whose `spec` could be walked.
    fn of_kind(&self, of: NameOf) -> impl Iterator<Item = (&'r Draft, &'r Record)> {
        let specs = self.specs;
        let nameless = self.nameless.iter().map(|(draft, spec)| (*draft, spec));
        self.drafts
            .of_kind(of)
            .filter_map(move |draft| specs.get(&(of, draft.name.clone())).map(|spec| (draft, spec)))
            .chain(nameless.filter(move |(draft, _)| draft.table.name_of == of))
    }

    fn folder(&self, draft: &Draft) -> &'r str {
        self.sources
            .get(draft.source)
            .map_or("/", |source| source.folder.as_str())
    }

    fn nouns(&self, manifests: &mut Manifests, report: &mut Report<'_>) {
        for (draft, spec) in self.of_kind(NameOf::Domain) {
            if let Some((domain, rules)) = nouns::domain(draft, spec) {
                if !rules.is_empty() {
                    manifests.admissions.insert(domain.name.clone(), rules);
                }
                manifests.domains.insert(domain.name.clone(), domain);
            }
        }
        for (draft, spec) in self.of_kind(NameOf::Backend) {
            self.check_domain(spec, report);
            let backend = nouns::backend(draft, spec, self.folder(draft), &manifests.domains, report);
            manifests
                .backends
                .extend(backend.map(|backend| (backend.name.clone(), backend)));
        }
        for (draft, spec) in self.of_kind(NameOf::Link) {
            let link = link::link(draft, spec, self.drafts, report);
            manifests.links.extend(link.map(|link| (link.name.clone(), link)));
        }
        for (draft, spec) in self.of_kind(NameOf::Dataset) {
            self.check_domain(spec, report);
            let dataset = nouns::dataset(draft, spec, self.drafts, report);
            manifests
                .datasets
                .extend(dataset.map(|dataset| (dataset.name.clone(), dataset)));
        }
    }

    fn check_domain(&self, spec: &Record, report: &mut Report<'_>) {
        if spec.item("domain").is_some() {
            self.drafts.check(
                NameOf::Domain,
                spec.text("domain"),
                spec.place_of("domain"),
                report,
            );
        }
    }

    fn rules(&self, manifests: &mut Manifests, report: &mut Report<'_>) {
        for (draft, spec) in self.of_kind(NameOf::Policy) {
            let policy = rules::policy(draft, spec, self.drafts, report);
            manifests
                .policies
                .extend(policy.map(|policy| (policy.name.clone(), policy)));
        }
        for (draft, spec) in self.of_kind(NameOf::Test) {
            manifests
                .tests
                .push(rules::policy_test(draft, spec, self.drafts, report));
        }
    }

    /// The canonical documents and the places that later findings point at.
    fn finish(&self, manifests: &mut Manifests) {
        for ((of, name), draft) in &self.drafts.by_name {
            manifests.documents.push(Document {
                kind: draft.kind().to_owned(),
                name: name.clone(),
                json: canonical::json(draft, self.folder(draft)),
                stored: draft.stored,
            });
            if let Some(spec) = self.specs.get(&(*of, name.clone())) {
                places::note(draft, spec, &mut manifests.places);
            }
        }
        manifests.documents.sort();
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use tests::good::ESTATE as EXAMPLE;
