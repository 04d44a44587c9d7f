//! What policies say of one dataset and one backend.

use domicile_estate::{
    Backend, ByteCount, Country, CountrySet, Dataset, DatasetName, DatasetSummary, DomainName, Labels,
    group_table, parse_decimal,
};

use crate::expression::Variables;
use crate::manifests::Manifests;
use crate::policy::{Key, LabelExpression, Operator, Policy, Rule, Selector, Test};

/// What rules may know of a dataset. Borrowed, since there may be millions of them.
#[derive(Debug, Clone, Copy)]
pub struct DatasetFacts<'a> {
    /// Its name.
    pub name: &'a DatasetName,
    /// The owner.
    pub domain: &'a DomainName,
    /// Its labels.
    pub labels: &'a Labels,
    /// Sum of the sizes of its objects.
    pub bytes: ByteCount,
    /// Number of its objects.
    pub objects: u64,
}

impl<'a> DatasetFacts<'a> {
    /// The facts of a dataset with what is known of its objects.
    #[must_use]
    pub fn new(dataset: &'a Dataset, summary: &DatasetSummary) -> Self {
        Self {
            name: &dataset.name,
            domain: &dataset.domain,
            labels: &dataset.labels,
            bytes: summary.bytes,
            objects: summary.objects,
        }
    }
}

/// What a rule says of a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It accepts it.
    Accepted,
    /// It refuses it.
    Refused,
    /// It could not be evaluated, which counts as refused; the reason is shown in the refusal.
    Failed(String),
}

impl Verdict {
    /// Whether the rule accepts.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        *self == Self::Accepted
    }
}

impl From<bool> for Verdict {
    fn from(accepted: bool) -> Self {
        if accepted { Self::Accepted } else { Self::Refused }
    }
}

impl Policy {
    /// Whether the policy selects a dataset. Audit policies select as well; they only do not act.
    #[must_use]
    pub fn selects(&self, dataset: &DatasetFacts<'_>) -> bool {
        self.selector.selects(dataset)
    }
}

impl Selector {
    /// Whether every given part matches the dataset.
    #[must_use]
    pub fn selects(&self, dataset: &DatasetFacts<'_>) -> bool {
        if self.match_all {
            return true;
        }
        let stated =
            !(self.match_labels.is_empty() && self.match_expressions.is_empty() && self.domains.is_empty());
        stated
            && (self.domains.is_empty() || self.domains.contains(dataset.domain))
            && self
                .match_labels
                .iter()
                .all(|(key, value)| dataset.labels.get(key) == Some(value))
            && self
                .match_expressions
                .iter()
                .all(|expression| expression.matches(dataset.labels))
    }
}

impl LabelExpression {
    /// Whether the expression holds for these labels, as Kubernetes has it; `Gt` and `Lt` also take decimals.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        compare_text(
            labels.get(&self.key).map(String::as_str),
            self.operator,
            &self.values,
        )
    }
}

impl Rule {
    /// What the rule says of a backend for a dataset.
    #[must_use]
    pub fn accepts(&self, backend: &Backend, dataset: &DatasetFacts<'_>) -> Verdict {
        self.test.accepts(backend, dataset)
    }

    /// The rule for people: `jurisdiction In EU, CH (groups as of 2026-11-22)`.
    #[must_use]
    pub fn describe(&self) -> String {
        self.test.describe()
    }
}

impl Test {
    /// What the test says of a backend for a dataset.
    #[must_use]
    pub fn accepts(&self, backend: &Backend, dataset: &DatasetFacts<'_>) -> Verdict {
        match self {
            Self::Key {
                key,
                operator,
                values,
                countries,
            } => key.accepts(backend, *operator, values, countries).into(),
            Self::Cel(expression) => expression.holds(&Variables {
                backend: Some(backend),
                dataset: Some(*dataset),
                domain: None,
            }),
        }
    }

    /// Whether the verdict may differ from dataset to dataset; if not, one verdict per backend is enough.
    #[must_use]
    pub fn depends_on_dataset(&self) -> bool {
        match self {
            Self::Key { .. } => false,
            Self::Cel(expression) => expression.depends_on_dataset(),
        }
    }

    /// The test for people: `jurisdiction In EU, CH (groups as of 2026-11-22)`.
    #[must_use]
    pub fn describe(&self) -> String {
        let (key, operator, values, countries) = match self {
            Self::Key {
                key,
                operator,
                values,
                countries,
            } => (key, operator, values, countries),
            Self::Cel(expression) => return format!("`{}`", expression.text()),
        };
        let mut text = format!("{} {}", key.as_str(), operator.as_str());
        if !values.is_empty() {
            text.push(' ');
            text.push_str(&values.join(", "));
        }
        let named_group = values
            .iter()
            .any(|value| value.len() != 2 || group_table().groups.contains_key(value));
        if !countries.is_empty() && named_group {
            text.push_str(&format!(" (groups as of {})", group_table().as_of));
        }
        text
    }
}

impl Operator {
    /// Every operator, in the order in which they are listed to users.
    pub const ALL: [Operator; 6] = [
        Self::In,
        Self::NotIn,
        Self::Exists,
        Self::DoesNotExist,
        Self::Gt,
        Self::Lt,
    ];

    /// The operator as manifests write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::In => "In",
            Self::NotIn => "NotIn",
            Self::Exists => "Exists",
            Self::DoesNotExist => "DoesNotExist",
            Self::Gt => "Gt",
            Self::Lt => "Lt",
        }
    }
}

impl Key {
    /// The keys that are no labels, as manifests write them.
    pub const NAMES: [(&'static str, Key); 10] = [
        ("backend", Key::Backend),
        ("domain", Key::Domain),
        ("provider", Key::Provider),
        ("region", Key::Region),
        ("zone", Key::Zone),
        ("country", Key::Country),
        ("operatorCountry", Key::OperatorCountry),
        ("jurisdiction", Key::Jurisdiction),
        ("gridGramsPerKWh", Key::GridGramsPerKwh),
        ("nines", Key::Nines),
    ];

    /// The key that a text of a manifest stands for: one of the names, otherwise a label.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        Self::NAMES
            .iter()
            .find(|(name, _)| *name == text)
            .map_or_else(|| Self::Label(text.to_owned()), |(_, key)| key.clone())
    }

    /// The key as manifests write it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        if let Self::Label(label) = self {
            return label;
        }
        Self::NAMES
            .iter()
            .find(|(_, key)| key == self)
            .map_or("", |(name, _)| name)
    }

    /// Whether the values of the key are countries.
    #[must_use]
    pub fn is_country(&self) -> bool {
        matches!(self, Self::Country | Self::OperatorCountry | Self::Jurisdiction)
    }

    /// Whether the values of the key are numbers.
    #[must_use]
    pub fn is_number(&self) -> bool {
        matches!(self, Self::GridGramsPerKwh | Self::Nines)
    }

    /// The value of a backend, which is its group in a spread; `None` where the backend has none, so that it is in no
    /// group. Numbers are plain text. For `jurisdiction`, which no spread may name, both countries, for messages.
    #[must_use]
    pub fn value(&self, backend: &Backend) -> Option<String> {
        let location = &backend.location;
        let code = |country: Option<Country>| country.map(|c| c.to_string());
        match self {
            Self::Backend => Some(backend.name.to_string()),
            Self::Domain => Some(backend.domain.to_string()),
            Self::Provider => location.provider.clone(),
            Self::Region => location.region.clone(),
            Self::Zone => location.zone.clone(),
            Self::Country => code(location.country),
            Self::OperatorCountry => code(Some(backend.operator_country)),
            Self::Jurisdiction => {
                let soil = location
                    .country
                    .map_or_else(|| "unknown".to_owned(), |c| c.to_string());
                Some(format!(
                    "country {soil}, operatorCountry {}",
                    backend.operator_country
                ))
            }
            Self::GridGramsPerKwh => Some(backend.energy.grid_grams_per_kwh.to_string()),
            Self::Nines => backend.nines.map(|nines| nines.to_string()),
            Self::Label(label) => backend.labels.get(label).cloned(),
        }
    }

    fn accepts(
        &self,
        backend: &Backend,
        operator: Operator,
        values: &[String],
        countries: &CountrySet,
    ) -> bool {
        let soil = backend.location.country;
        let law = backend.operator_country;
        match self {
            Self::Country => compare_country(soil, operator, countries),
            Self::OperatorCountry => compare_country(Some(law), operator, countries),
            Self::Jurisdiction => {
                compare_country(soil, operator, countries)
                    && compare_jurisdiction_law(law, operator, countries)
            }
            Self::GridGramsPerKwh => {
                compare_number(Some(backend.energy.grid_grams_per_kwh), operator, values)
            }
            Self::Nines => compare_number(backend.nines, operator, values),
            Self::Backend => compare_text(Some(backend.name.as_str()), operator, values),
            Self::Domain => compare_text(Some(backend.domain.as_str()), operator, values),
            Self::Provider => compare_text(backend.location.provider.as_deref(), operator, values),
            Self::Region => compare_text(backend.location.region.as_deref(), operator, values),
            Self::Zone => compare_text(backend.location.zone.as_deref(), operator, values),
            Self::Label(label) => {
                compare_text(backend.labels.get(label).map(String::as_str), operator, values)
            }
        }
    }
}

fn compare_country(country: Option<Country>, operator: Operator, countries: &CountrySet) -> bool {
    match operator {
        Operator::In => country.is_some_and(|c| countries.contains(&c)),
        Operator::NotIn => country.is_none_or(|c| !countries.contains(&c)),
        Operator::Exists => country.is_some(),
        Operator::DoesNotExist => country.is_none(),
        Operator::Gt | Operator::Lt => false,
    }
}

/// The operator's law is always known, so that a jurisdiction is absent where the soil is.
fn compare_jurisdiction_law(law: Country, operator: Operator, countries: &CountrySet) -> bool {
    match operator {
        Operator::In | Operator::NotIn => compare_country(Some(law), operator, countries),
        Operator::Exists | Operator::DoesNotExist => true,
        Operator::Gt | Operator::Lt => false,
    }
}

fn compare_number(number: Option<f64>, operator: Operator, values: &[String]) -> bool {
    let is_among = |number: f64| values.iter().any(|value| parse_decimal(value) == Ok(number));
    let limit = values.first().and_then(|value| parse_decimal(value).ok());
    match operator {
        Operator::In => number.is_some_and(is_among),
        Operator::NotIn => !number.is_some_and(is_among),
        Operator::Exists => number.is_some(),
        Operator::DoesNotExist => number.is_none(),
        Operator::Gt => matches!((number, limit), (Some(number), Some(limit)) if number > limit),
        Operator::Lt => matches!((number, limit), (Some(number), Some(limit)) if number < limit),
    }
}

fn compare_text(text: Option<&str>, operator: Operator, values: &[String]) -> bool {
    let is_among = |text: &str| values.iter().any(|value| value == text);
    match operator {
        Operator::In => text.is_some_and(is_among),
        Operator::NotIn => !text.is_some_and(is_among),
        Operator::Exists => text.is_some(),
        Operator::DoesNotExist => text.is_none(),
        Operator::Gt | Operator::Lt => {
            compare_number(text.and_then(|text| parse_decimal(text).ok()), operator, values)
        }
    }
}

impl Manifests {
    /// What the domain of a backend says of holding a copy of a dataset: its first admission rule that does not
    /// accept, by name, with the verdict; `None` where it admits the dataset.
    #[must_use]
    pub fn refuses(&self, domain: &DomainName, dataset: &DatasetFacts<'_>) -> Option<(&str, Verdict)> {
        let variables = Variables {
            backend: None,
            dataset: Some(*dataset),
            domain: self.domains.get(domain),
        };
        for (name, expression) in self.admissions.get(domain).into_iter().flatten() {
            let verdict = expression.holds(&variables);
            if !verdict.is_accepted() {
                return Some((name, verdict));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
