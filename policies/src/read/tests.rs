use super::*;

mod cases;
pub(crate) mod good;
mod mistakes;
mod pages;
mod property;

pub(super) fn source(text: &str) -> Source {
    Source {
        name: "estate.yaml".to_owned(),
        text: text.to_owned(),
        folder: "/estate".to_owned(),
        stored: false,
    }
}

/// Message, help and marked text of every error.
pub(super) fn errors(text: &str) -> Vec<(String, String, String)> {
    let found = read(&[source(text)]).err().unwrap_or_default();
    found
        .into_iter()
        .map(|d| {
            let marked = text
                .get(d.offset..d.offset + d.length)
                .expect("a range of the text")
                .to_owned();
            (d.message, d.help.unwrap_or_default(), marked)
        })
        .collect()
}
