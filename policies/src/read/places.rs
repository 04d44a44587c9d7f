//! Where documents and their rules are written, for what is found later.

use std::collections::BTreeMap;

use super::document::Draft;
use super::record::Record;
use crate::diagnostic::Place;

/// Notes the places of a document: `Kind/name`, and of a policy `…/selector`, `…/confine/<rule>`, `…/require/<name>`,
/// `…/require/<name>/where/<index>`, `…/require/<name>/spread/<index>`; of a domain `…/admission/<rule>`.
pub(super) fn note(draft: &Draft, spec: &Record, places: &mut BTreeMap<String, Place>) {
    let whole = format!("{}/{}", draft.kind(), draft.name);
    places.insert(whole.clone(), draft.place);
    if let Some(selector) = spec.item("selector") {
        places.insert(format!("{whole}/selector"), selector.key);
    }
    for list in ["confine", "require", "admission"] {
        for record in spec.records(list) {
            let path = format!("{whole}/{list}/{}", record.text("name"));
            for (part, field) in [("where", "key"), ("spread", "across")] {
                for (index, entry) in record.records(part).iter().enumerate() {
                    let place = entry.item(field).map_or(entry.place_of("cel"), |item| item.place);
                    places.insert(format!("{path}/{part}/{index}"), place);
                }
            }
            places.insert(path, record.place_of("name"));
        }
    }
}
