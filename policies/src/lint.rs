//! What is no error but probably not meant: rules that nothing can meet, keys that nothing has.

mod durability;
mod limits;
mod links;
mod movement;
mod prices;

use std::collections::BTreeSet;

use domicile_estate::{Backend, ByteCount, DatasetName, DomainName, Labels};

use crate::diagnostic::{Diagnostic, Place};
use crate::evaluate::DatasetFacts;
use crate::manifests::Manifests;
use crate::policy::{Key, Policy, Requirement, Test};
use crate::suggest;

/// Warnings about manifests that were read without errors, by source and place.
#[must_use]
pub fn lint(manifests: &Manifests) -> Vec<Diagnostic> {
    let mut lint = Lint {
        manifests,
        found: Vec::new(),
    };
    lint.domains();
    lint.relays();
    lint.links();
    lint.limits();
    lint.prices();
    for policy in manifests.policies.values() {
        lint.policy(policy);
    }
    lint.found
        .sort_by(|a, b| (a.place(), &a.message).cmp(&(b.place(), &b.message)));
    lint.found
}

struct Lint<'m> {
    manifests: &'m Manifests,
    found: Vec<Diagnostic>,
}

impl<'m> Lint<'m> {
    fn place(&self, path: &str) -> Place {
        self.manifests.places.get(path).copied().unwrap_or_default()
    }

    fn warn(&mut self, path: &str, message: String, help: &str) {
        let place = self.place(path);
        self.found
            .push(Diagnostic::warning(place, message).with_help(help));
    }

    fn domains(&mut self) {
        let with_backends: BTreeSet<&DomainName> = self
            .manifests
            .backends
            .values()
            .map(|backend| &backend.domain)
            .collect();
        for name in self.manifests.domains.keys() {
            if !with_backends.contains(name) {
                let message = format!("the domain `{name}` offers no backend");
                self.warn(
                    &format!("Domain/{name}"),
                    message,
                    "it can own datasets, but nothing is ever placed there",
                );
            }
        }
    }

    fn policy(&mut self, policy: &Policy) {
        let path = format!("ReplicationPolicy/{}", policy.name);
        self.selection(policy, &path);
        let states_nothing = policy.confine.is_empty()
            && policy.require.is_empty()
            && policy.objective.is_none()
            && policy.budget == crate::Budget::default()
            && policy.movement == crate::Movement::default();
        if states_nothing {
            let message = format!("the policy `{}` states nothing", policy.name);
            self.warn(
                &path,
                message,
                "add `require`, `confine`, `objective`, `budget` or `movement`",
            );
        }
        if self.manifests.backends.is_empty() {
            return;
        }
        self.movement(policy, &path);
        for rule in &policy.confine {
            let at = format!("{path}/confine/{}", rule.name);
            self.key(&rule.test, &at);
            if self.accepted(&[&rule.test]).is_empty() {
                let message = format!("no backend fits `{}`: {}", rule.name, rule.describe());
                self.warn(
                    &at,
                    message,
                    "no copy of the datasets that it selects can lie anywhere",
                );
            }
        }
        for requirement in &policy.require {
            self.requirement(
                policy,
                requirement,
                &format!("{path}/require/{}", requirement.name),
            );
        }
    }

    fn selection(&mut self, policy: &Policy, path: &str) {
        let datasets = &self.manifests.datasets;
        // Inventories may bring the datasets; what they bring is not known here.
        let selects_one = datasets.values().any(|dataset| {
            let (name, domain, labels) = (&dataset.name, &dataset.domain, &dataset.labels);
            policy.selects(&DatasetFacts {
                name,
                domain,
                labels,
                bytes: ByteCount(0),
                objects: 0,
            })
        });
        if !datasets.is_empty() && !selects_one {
            let message = format!(
                "the policy `{}` selects none of the {} datasets",
                policy.name,
                datasets.len()
            );
            self.warn(
                &format!("{path}/selector"),
                message,
                "compare it with the labels of the datasets",
            );
        }
    }

    fn requirement(&mut self, policy: &Policy, requirement: &Requirement, path: &str) {
        for (index, test) in requirement.place.iter().enumerate() {
            self.key(test, &format!("{path}/where/{index}"));
        }
        let tests: Vec<&Test> = requirement
            .place
            .iter()
            .chain(policy.confine.iter().map(|rule| &rule.test))
            .collect();
        let accepted = self.accepted(&tests);
        let copies = usize::try_from(requirement.copies).unwrap_or(usize::MAX);
        if accepted.len() < copies {
            let message = format!(
                "`{}` asks for {copies} copies, but only {} of {} backends fit `where` and `confine`",
                requirement.name,
                accepted.len(),
                self.manifests.backends.len(),
            );
            self.warn(
                path,
                message,
                "ask for fewer copies, loosen a rule, or add backends",
            );
        }
        self.durability(requirement, &accepted, path);
        let mut warnings = Vec::new();
        for (index, spread) in requirement.spread.iter().enumerate() {
            let at = format!("{path}/spread/{index}");
            if let Some(unknown) = self.unknown_key(&spread.across) {
                warnings.push((at, unknown.0, unknown.1));
                continue;
            }
            let groups: BTreeSet<String> = accepted
                .iter()
                .filter_map(|backend| spread.across.value(backend))
                .collect();
            // Too few backends was said above.
            if accepted.len() >= copies && groups.len() < usize::try_from(spread.groups).unwrap_or(usize::MAX)
            {
                let message = format!(
                    "`{}` asks for {} groups across `{}`, but the backends that fit lie in {}",
                    requirement.name,
                    spread.groups,
                    spread.across.as_str(),
                    groups.len(),
                );
                warnings.push((
                    at,
                    message,
                    "ask for fewer groups, loosen a rule, or add backends".to_owned(),
                ));
            }
        }
        for (at, message, help) in warnings {
            self.warn(&at, message, &help);
        }
    }

    fn key(&mut self, test: &Test, path: &str) {
        if let Test::Key { key, .. } = test
            && let Some((message, help)) = self.unknown_key(key)
        {
            self.warn(path, message, &help);
        }
    }

    /// A label that no backend has, and what may have been meant.
    fn unknown_key(&self, key: &Key) -> Option<(String, String)> {
        let Key::Label(label) = key else { return None };
        let backends = self.manifests.backends.values();
        let labels: BTreeSet<&str> = backends
            .flat_map(|backend| backend.labels.keys())
            .map(String::as_str)
            .collect();
        if self.manifests.backends.is_empty() || labels.contains(label.as_str()) {
            return None;
        }
        let known = Key::NAMES.iter().map(|(name, _)| *name).chain(labels);
        let help = match suggest::nearest(label, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "a key that is not built in is a label of backends".to_owned(),
        };
        Some((format!("no backend has the label `{label}`"), help))
    }

    /// Backends that all tests accept; those that look at the dataset are taken to accept.
    fn accepted(&self, tests: &[&Test]) -> Vec<&'m Backend> {
        let (Ok(name), Ok(domain)) = (DatasetName::new("any"), DomainName::new("any")) else {
            return Vec::new();
        };
        let labels = Labels::new();
        let any = DatasetFacts {
            name: &name,
            domain: &domain,
            labels: &labels,
            bytes: ByteCount(0),
            objects: 0,
        };
        let fits = |backend: &&'m Backend| {
            tests
                .iter()
                .all(|test| test.depends_on_dataset() || test.accepts(backend, &any).is_accepted())
        };
        self.manifests.backends.values().filter(fits).collect()
    }
}

#[cfg(test)]
mod extended_tests;

#[cfg(test)]
mod tests {
    use super::*;

    fn warnings(policy: &str) -> Vec<(String, String, String)> {
        let text = format!(
            "apiVersion: domicile.dev/v1alpha1
kind: Domain
metadata: {{name: a}}
spec: {{jurisdiction: DE}}
---
{{kind: Backend, metadata: {{name: one, labels: {{tier: warm}}}}, spec: {{domain: a, location: {{country: DE}}, store: {{type: Memory}}, capacity: 1Ti}}}}
---
{{kind: Backend, metadata: {{name: two}}, spec: {{domain: a, location: {{country: FR}}, store: {{type: Memory}}, capacity: 1Ti}}}}
---
{{kind: Dataset, metadata: {{name: d, labels: {{theme: x}}}}, spec: {{domain: a}}}}
---
{{kind: ReplicationPolicy, metadata: {{name: p}}, spec: {policy}}}
"
        );
        let source = crate::Source {
            name: "x".to_owned(),
            text: text.clone(),
            folder: "/".to_owned(),
            stored: false,
        };
        let manifests = crate::read(&[source]).unwrap_or_else(|errors| panic!("{errors:#?}"));
        lint(&manifests)
            .into_iter()
            .map(|d| {
                (
                    d.message,
                    d.help.unwrap_or_default(),
                    text[d.offset..d.offset + d.length].to_owned(),
                )
            })
            .collect()
    }

    #[test]
    fn a_sound_policy_has_no_warnings() {
        let policy =
            "{selector: {matchAll: true}, confine: [{name: eu, key: country, operator: In, values: [EU]}],
          require: [{name: r, copies: 2, spread: [{across: country, groups: 2}]}]}";
        assert_eq!(warnings(policy), []);
        let by_dataset =
            "{selector: {matchAll: true}, confine: [{name: own, cel: \"dataset.domain == 'b'\"}]}";
        assert_eq!(warnings(by_dataset), []);
    }

    #[test]
    fn what_cannot_be_met_is_said_where_it_is_written() {
        let cases = [
            (
                "{selector: {matchLabels: {theme: y}}, require: [{name: r, copies: 1}]}",
                "selects none of the 1 datasets",
                "labels",
                "selector",
            ),
            ("{selector: {matchAll: true}}", "states nothing", "require", "p"),
            (
                "{selector: {matchAll: true}, confine: [{name: far, key: country, operator: In, values: [US]}]}",
                "no backend fits `far`: country In US",
                "anywhere",
                "far",
            ),
            (
                "{selector: {matchAll: true}, require: [{name: r, copies: 3}]}",
                "asks for 3 copies, but only 2 of 2 backends",
                "fewer",
                "r",
            ),
            (
                "{selector: {matchAll: true}, require: [{name: r, copies: 2, spread: [{across: domain, groups: 2}]}]}",
                "asks for 2 groups across `domain`, but the backends that fit lie in 1",
                "fewer",
                "domain",
            ),
            (
                "{selector: {matchAll: true}, require: [{name: r, copies: 2, spread: [{across: zon, groups: 2}]}]}",
                "no backend has the label `zon`",
                "did you mean `zone`?",
                "zon",
            ),
            (
                "{selector: {matchAll: true}, require: [{name: r, copies: 1, where: [{key: teir, operator: NotIn, values: [x]}]}]}",
                "no backend has the label `teir`",
                "did you mean `tier`?",
                "teir",
            ),
        ];
        for (policy, message, help, marked) in cases {
            let found = warnings(policy);
            assert_eq!(found.len(), 1, "{policy}: {found:?}");
            assert!(found[0].0.contains(message), "{found:?}");
            assert!(found[0].1.contains(help), "{found:?}");
            assert_eq!(found[0].2, marked, "{found:?}");
        }
    }

    #[test]
    fn a_domain_without_backends_is_said() {
        let text = "{apiVersion: domicile.dev/v1alpha1, kind: Domain, metadata: {name: a}, spec: {jurisdiction: DE}}";
        let source = crate::Source {
            name: "x".to_owned(),
            text: text.to_owned(),
            folder: "/".to_owned(),
            stored: false,
        };
        let found = lint(&crate::read(&[source]).expect("good"));
        assert_eq!(found.len(), 1);
        assert!(found[0].message.contains("`a` offers no backend"));
    }
}
