//! Countries, groups of countries and the carbon intensity of their grids, from the shipped tables.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::LazyLock;

/// A country by its ISO 3166-1 alpha-2 code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country([u8; 2]);

impl Country {
    /// The alpha-2 code.
    #[must_use]
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("??")
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A set of countries.
pub type CountrySet = BTreeSet<Country>;

/// A code or group that the tables do not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownCountry {
    /// Neither a code nor a group.
    #[error("`{text}` is no country code of ISO 3166-1 alpha-2 and no known group of countries")]
    Unknown {
        /// What was given.
        text: String,
        /// The nearest code or group, if any is near.
        suggestion: Option<String>,
    },
    /// A group whose members count under a condition only, given without one.
    #[error("`{text}` holds only under conditions, which must be named one by one")]
    Conditional {
        /// What was given.
        text: String,
        /// What can be written instead.
        suggestion: Option<String>,
    },
    /// A condition that the group does not have.
    #[error("`{condition}` is no condition of the group `{group}`")]
    UnknownCondition {
        /// The group.
        group: String,
        /// The condition given.
        condition: String,
        /// A condition that the group has.
        suggestion: Option<String>,
    },
}

impl UnknownCountry {
    /// What the user may have meant.
    #[must_use]
    pub fn suggestion(&self) -> Option<&str> {
        match self {
            Self::Unknown { suggestion, .. }
            | Self::Conditional { suggestion, .. }
            | Self::UnknownCondition { suggestion, .. } => suggestion.as_deref(),
        }
    }
}

struct Row {
    name: &'static str,
    alpha3: &'static str,
    grid: Option<(f64, u16)>,
}

static COUNTRIES: LazyLock<BTreeMap<Country, Row>> = LazyLock::new(|| {
    let mut rows = BTreeMap::new();
    for line in include_str!("../data/countries.csv").lines().skip(1) {
        let mut cells = line.split(',');
        let mut cell = || cells.next().unwrap_or("");
        let (alpha2, alpha3, name, year, grams) = (cell(), cell(), cell(), cell(), cell());
        if let [a, b] = alpha2.as_bytes() {
            let grid = grams.parse().ok().zip(year.parse().ok());
            rows.insert(Country([*a, *b]), Row { name, alpha3, grid });
        }
    }
    rows
});

/// A country by its alpha-2 code, in upper case as ISO writes it.
///
/// # Errors
/// [`UnknownCountry::Unknown`], with a suggestion for lower case, alpha-3 codes and names.
pub fn country(code: &str) -> Result<Country, UnknownCountry> {
    if let [a, b] = code.as_bytes() {
        let candidate = Country([*a, *b]);
        if COUNTRIES.contains_key(&candidate) {
            return Ok(candidate);
        }
    }
    Err(UnknownCountry::Unknown {
        text: code.to_owned(),
        suggestion: suggest(code, &[]),
    })
}

/// Every country with its name, in the order of the codes.
pub fn countries() -> impl Iterator<Item = (Country, &'static str)> {
    COUNTRIES.iter().map(|(country, row)| (*country, row.name))
}

/// Mean carbon intensity of a country's grid in gCO2e/kWh and the year it is of (Ember and Our World in Data by
/// codecarbon 3.3.2), if the shipped table has it.
#[must_use]
pub fn grid_grams_per_kwh(country: Country) -> Option<(f64, u16)> {
    COUNTRIES.get(&country).and_then(|row| row.grid)
}

/// The code, or one of the groups, that was probably meant; none where several are as near, for a guess among them
/// helps nobody.
fn suggest(text: &str, groups: &[&str]) -> Option<String> {
    // Longer texts are no slips of the pen, and the distance takes time in the square of the length.
    const TEXT_MAX: usize = 64;
    if text.len() > TEXT_MAX {
        return None;
    }
    let upper = text.to_uppercase();
    for (country, row) in COUNTRIES.iter() {
        if country.code() == upper || row.alpha3 == upper || row.name.eq_ignore_ascii_case(text) {
            return Some(country.to_string());
        }
    }
    if upper == "UK" {
        return Some("GB".to_owned());
    }
    let near = |word: &str, code: &str| {
        let distance = strsim::damerau_levenshtein(&upper, &word.to_uppercase());
        // At most a quarter of a long word is wrong, one letter of a short one.
        let is_near = distance <= (word.len() / 4).max(1);
        let begins_alike = upper.starts_with(word) || word.starts_with(&upper);
        is_near.then(|| ((distance, !begins_alike), code.to_owned()))
    };
    let codes = COUNTRIES
        .keys()
        .filter_map(|country| near(country.code(), country.code()));
    let names = COUNTRIES
        .iter()
        .filter_map(|(country, row)| near(row.name, country.code()));
    let groups = groups.iter().filter_map(|group| near(group, group));
    let mut found: Vec<_> = codes.chain(names).chain(groups).collect();
    found.sort();
    match found.as_slice() {
        [(rank, _), (next, _), ..] if rank == next => None,
        [(_, code), ..] => Some(code.clone()),
        [] => None,
    }
}

/// A named group of countries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountryGroup {
    /// Members that belong without a condition.
    pub members: CountrySet,
    /// Members that belong only where the condition is named: `US-DPF` to `US`.
    pub conditional: BTreeMap<String, Country>,
}

/// The shipped groups of countries, at a date.
#[derive(Debug, Clone)]
pub struct GroupTable {
    /// The date of the table, `YYYY-MM-DD`.
    pub as_of: String,
    /// The groups by name.
    pub groups: BTreeMap<String, CountryGroup>,
}

/// Names of the conditions under which the members of `GDPR-ADEQUATE-CONDITIONAL` count. Sources: the adequacy
/// decisions for Canada (2002/2/EC, PIPEDA), Japan (2019/419, APPI), Korea (2022/254, PIPA), US (2023/1795, DPF).
const ADEQUACY_CONDITIONS: [(&str, &str); 4] = [
    ("CA-PIPEDA", "CA"),
    ("JP-APPI", "JP"),
    ("KR-PIPA", "KR"),
    ("US-DPF", "US"),
];

static GROUPS: LazyLock<GroupTable> = LazyLock::new(|| {
    let table: serde_json::Value =
        serde_json::from_str(include_str!("../data/jurisdiction-groups.json")).unwrap_or_default();
    let raw = table.get("groups").and_then(|g| g.as_object());
    let members_of = |name: &str| -> CountrySet {
        let mut members = CountrySet::new();
        // Groups extend groups; the depth is that of the shipped table, three at most.
        let mut open = vec![name.to_owned()];
        while let Some(next) = open.pop() {
            let Some(group) = raw.and_then(|r| r.get(&next)) else {
                continue;
            };
            let list = |field: &str| group.get(field).and_then(|v| v.as_array()).into_iter().flatten();
            members.extend(
                list("members")
                    .filter_map(|v| v.as_str())
                    .filter_map(country_of_table),
            );
            open.extend(list("extends").filter_map(|v| v.as_str()).map(str::to_owned));
        }
        members
    };
    let mut groups = BTreeMap::new();
    for name in raw.into_iter().flat_map(|r| r.keys()) {
        if name == "GDPR-ADEQUATE-CONDITIONAL" || name == "GDPR-ADEQUATE-ORG" {
            continue;
        }
        groups.insert(
            name.clone(),
            CountryGroup {
                members: members_of(name),
                conditional: BTreeMap::new(),
            },
        );
    }
    let conditional = ADEQUACY_CONDITIONS
        .iter()
        .filter_map(|(name, code)| Some(((*name).to_owned(), country_of_table(code)?)))
        .collect();
    let adequate = CountryGroup {
        members: members_of("GDPR-ADEQUATE-FULL"),
        conditional,
    };
    groups.insert("GDPR-ADEQUATE".to_owned(), adequate);
    let as_of = table
        .get("as_of")
        .and_then(|v| v.as_str())
        .unwrap_or("unknown")
        .to_owned();
    GroupTable { as_of, groups }
});

fn country_of_table(code: &str) -> Option<Country> {
    let [a, b] = code.as_bytes() else { return None };
    let candidate = Country([*a, *b]);
    COUNTRIES.contains_key(&candidate).then_some(candidate)
}

/// The shipped groups of countries.
#[must_use]
pub fn group_table() -> &'static GroupTable {
    &GROUPS
}

impl GroupTable {
    /// The countries that a value of a policy stands for: a code, a group, or a group with conditions such as
    /// `GDPR-ADEQUATE+US-DPF`.
    ///
    /// # Errors
    /// [`UnknownCountry`] for an unknown code, group or condition, with a suggestion where one is near.
    pub fn expand(&self, text: &str) -> Result<CountrySet, UnknownCountry> {
        let mut parts = text.split('+');
        let head = parts.next().unwrap_or("");
        if head == "GDPR-ADEQUATE-CONDITIONAL" {
            let suggestion = Some("GDPR-ADEQUATE+US-DPF".to_owned());
            return Err(UnknownCountry::Conditional {
                text: text.to_owned(),
                suggestion,
            });
        }
        let Some(group) = self.groups.get(head) else {
            if let Some(country) = country_of_table(text) {
                return Ok(CountrySet::from([country]));
            }
            let groups: Vec<_> = self.groups.keys().map(String::as_str).collect();
            return Err(UnknownCountry::Unknown {
                text: text.to_owned(),
                suggestion: suggest(head, &groups),
            });
        };
        let mut members = group.members.clone();
        for condition in parts {
            let Some(country) = group.conditional.get(condition) else {
                return Err(UnknownCountry::UnknownCondition {
                    group: head.to_owned(),
                    condition: condition.to_owned(),
                    suggestion: group.conditional.keys().next_back().cloned(),
                });
            };
            members.insert(*country);
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str) -> Vec<String> {
        let set = group_table().expand(text).unwrap_or_default();
        set.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_tables_are_whole() {
        assert_eq!(countries().count(), 249);
        assert_eq!(group_table().as_of, "2026-11-22");
        assert_eq!(expand("EU").len(), 27);
        assert_eq!(expand("EEA").len(), 30);
        assert_eq!(expand("GDPR"), expand("EEA"));
        assert_eq!(expand("FOURTEEN-EYES").len(), 14);
        assert_eq!(expand("NO"), ["NO"]);
        let germany = country("DE").expect("a code");
        assert!(grid_grams_per_kwh(germany).is_some_and(|(grams, year)| grams > 100.0 && year >= 2020));
    }

    #[test]
    fn conditional_members_count_only_where_the_condition_is_named() {
        assert!(!expand("GDPR-ADEQUATE").contains(&"US".to_owned()));
        assert!(expand("GDPR-ADEQUATE+US-DPF").contains(&"US".to_owned()));
        assert!(!expand("GDPR-ADEQUATE+US-DPF").contains(&"JP".to_owned()));
        assert_eq!(
            expand("GDPR-ADEQUATE+US-DPF+JP-APPI").len(),
            expand("GDPR-ADEQUATE").len() + 2
        );
        assert!(group_table().expand("GDPR-ADEQUATE-CONDITIONAL").is_err());
        assert!(group_table().expand("GDPR-ADEQUATE+XX").is_err());
        assert!(group_table().expand("EU+US-DPF").is_err());
    }

    #[test]
    fn what_is_near_is_suggested() {
        let near = |text| {
            group_table()
                .expand(text)
                .err()
                .and_then(|e| e.suggestion().map(str::to_owned))
        };
        assert_eq!(near("DEU").as_deref(), Some("DE"));
        assert_eq!(near("de").as_deref(), Some("DE"));
        assert_eq!(near("Germany").as_deref(), Some("DE"));
        assert_eq!(near("EUU").as_deref(), Some("EU"));
        assert_eq!(near("UK").as_deref(), Some("GB"));
        assert_eq!(near("GR1").as_deref(), Some("GR"));
        assert_eq!(near("Germny").as_deref(), Some("DE"));
        assert_eq!(near("FIVE-EYE").as_deref(), Some("FIVE-EYES"));
        // Several codes are as near as each other, or none is near.
        for text in ["ATLANTIS", "DX", "XX", "XK", "", "D"] {
            assert_eq!(near(text), None, "{text}");
        }
        let single = |text| {
            country(text)
                .err()
                .and_then(|e| e.suggestion().map(str::to_owned))
        };
        assert_eq!(single("EUU"), None, "a group is no country");
        assert_eq!(single("GR1").as_deref(), Some("GR"));
    }
}
