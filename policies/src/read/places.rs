//! Where documents and their rules are written, for what is found later.

use std::collections::BTreeMap;

use super::document::Draft;
use super::record::Record;
use crate::diagnostic::Place;

/// Notes the places of a document: `Kind/name`, and of a policy `…/selector`, `…/confine/<rule>`, `…/require/<name>`,
/// `…/require/<name>/where/<index>`, `…/require/<name>/spread/<index>`, `…/require/<name>/nines`, `…/movement`; of a
/// domain `…/admission/<rule>`; of a backend `…/relay`, `…/price` and `…/price/tiers/<index>`; of a link `…/from`, `…/to` and
/// `…/forbidden`.
pub(super) fn note(draft: &Draft, spec: &Record, places: &mut BTreeMap<String, Place>) {
    let whole = format!("{}/{}", draft.kind(), draft.name);
    places.insert(whole.clone(), draft.place);
    for field in ["selector", "movement", "price", "relay", "forbidden"] {
        if let Some(item) = spec.item(field) {
            places.insert(format!("{whole}/{field}"), item.key);
        }
    }
    for end in ["from", "to"] {
        // An end has exactly one field, whose value is what may be wrong.
        let value = spec.record(end).and_then(|record| record.items.values().next());
        places.extend(value.map(|item| (format!("{whole}/{end}"), item.place)));
    }
    for (index, tier) in spec
        .record("price")
        .map_or(&[][..], |price| price.records("tiers"))
        .iter()
        .enumerate()
    {
        places.insert(format!("{whole}/price/tiers/{index}"), tier.place_of("above"));
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
            if let Some(nines) = record.item("nines") {
                places.insert(format!("{path}/nines"), nines.place);
            }
            places.insert(path, record.place_of("name"));
        }
    }
}
