//! "Did you mean": the known word that is nearest to an unknown one.

/// The nearest of the known words, if any is near: at most a third of the letters differ, upper and lower case
/// apart. Of equally near ones the first.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Longer words are no slips of the pen, and the distance takes time in the square of the length.
    const WORD_MAX: usize = 64;
    if word.len() > WORD_MAX {
        return None;
    }
    let folded = word.to_lowercase();
    let letters = folded.chars().count();
    let mut best: Option<(usize, &str)> = None;
    for candidate in known {
        let distance = strsim::damerau_levenshtein(&folded, &candidate.to_lowercase());
        let near = distance * 3 <= letters.max(candidate.chars().count()).max(3);
        if near && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Words as a list for people: `` `a`, `b` and `c` ``.
pub(crate) fn list<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match words.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_not() {
        let known = ["capacity", "cordoned", "price"];
        assert_eq!(nearest("capasity", known), Some("capacity"));
        assert_eq!(nearest("Capacity", known), Some("capacity"));
        assert_eq!(nearest("prize", known), Some("price"));
        assert_eq!(nearest("drain", known), None);
        assert_eq!(nearest(&"x".repeat(1000), known), None);
    }

    #[test]
    fn lists_read_well() {
        assert_eq!(list([]), "");
        assert_eq!(list(["a"]), "`a`");
        assert_eq!(list(["a", "b", "c"]), "`a`, `b` and `c`");
    }
}
