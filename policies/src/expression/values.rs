//! Backends, datasets and domains as CEL values that borrow: nothing is copied for an evaluation.

use std::fmt;
use std::sync::OnceLock;

use cel::ExecutionError;
use cel::common::traits::{Container, Indexer, Iterable, Sizer};
use cel::common::types::{CelDouble, CelInt, CelString, MAP_TYPE, Type};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use domicile_estate::{Backend, Country, Domain, Labels};

use super::Variables;
use crate::evaluate::DatasetFacts;

static RECORD: Type = Type::new_unspecified_type("record");
static MAP: Type = MAP_TYPE;

/// The variables of one evaluation.
pub(super) struct Values<'a> {
    backend: Option<Record<'a>>,
    dataset: Option<Record<'a>>,
    domain: Option<Record<'a>>,
}

impl<'a> Values<'a> {
    pub(super) fn new(variables: &Variables<'a>) -> Self {
        Self {
            backend: variables.backend.map(Record::Backend),
            dataset: variables.dataset.map(Record::Dataset),
            domain: variables.domain.map(Record::Domain),
        }
    }
}

impl VariableResolver for Values<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let record = match variable {
            "backend" => self.backend.as_ref(),
            "dataset" => self.dataset.as_ref(),
            "domain" => self.domain.as_ref(),
            _ => None,
        };
        record.map(|record| CowVal::Borrowed(record as &(dyn Val + 'b)))
    }
}

/// One of the nouns.
#[derive(Clone, Copy)]
enum Record<'a> {
    Backend(&'a Backend),
    Dataset(DatasetFacts<'a>),
    Domain(&'a Domain),
}

impl fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Backend(_) => "backend",
            Self::Dataset(_) => "dataset",
            Self::Domain(_) => "domain",
        })
    }
}

impl<'a> Record<'a> {
    fn field<'b, 'v>(&self, name: &str) -> Option<CowVal<'b, 'v>>
    where
        'a: 'v,
    {
        match self {
            Self::Backend(backend) => backend_field(backend, name),
            Self::Dataset(dataset) => Some(match name {
                "name" => text(dataset.name.as_str()),
                "domain" => text(dataset.domain.as_str()),
                "labels" => labels(dataset.labels),
                "bytes" => integer(dataset.bytes.0),
                "objects" => integer(dataset.objects),
                _ => return None,
            }),
            Self::Domain(domain) => Some(match name {
                "name" => text(domain.name.as_str()),
                "jurisdiction" => country(Some(domain.jurisdiction)),
                "labels" => labels(&domain.labels),
                _ => return None,
            }),
        }
    }
}

fn backend_field<'b, 'v>(backend: &'v Backend, name: &str) -> Option<CowVal<'b, 'v>> {
    let location = &backend.location;
    Some(match name {
        "name" => text(backend.name.as_str()),
        "domain" => text(backend.domain.as_str()),
        "labels" => labels(&backend.labels),
        "country" => country(location.country),
        "operatorCountry" => country(Some(backend.operator_country)),
        "provider" => text(location.provider.as_deref().unwrap_or_default()),
        "region" => text(location.region.as_deref().unwrap_or_default()),
        "zone" => text(location.zone.as_deref().unwrap_or_default()),
        "gridGramsPerKWh" => CowVal::owned(CelDouble::from(backend.energy.grid_grams_per_kwh)),
        "nines" => CowVal::owned(CelDouble::from(backend.nines?)),
        _ => return None,
    })
}

fn text<'b, 'v>(text: &'v str) -> CowVal<'b, 'v> {
    CowVal::owned(CelString::from(text))
}

fn country<'b, 'v>(country: Option<Country>) -> CowVal<'b, 'v> {
    CowVal::owned(CelString::from(
        country.map_or_else(String::new, |c| c.to_string()),
    ))
}

/// Sizes are at most 2^63 - 1 by `parse_quantity`; what a sum brings beyond is taken as that.
fn integer<'b, 'v>(number: u64) -> CowVal<'b, 'v> {
    CowVal::owned(CelInt::from(i64::try_from(number).unwrap_or(i64::MAX)))
}

fn labels<'b, 'v>(labels: &'v Labels) -> CowVal<'b, 'v> {
    CowVal::owned(LabelMap {
        labels,
        keys: OnceLock::new(),
    })
}

impl Val for Record<'_> {
    fn get_type(&self) -> &Type {
        &RECORD
    }

    fn cel_type() -> &'static Type {
        &RECORD
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(*self)
    }
}

impl<'a> Indexer for Record<'a> {
    fn get<'b, 'v>(&'b self, index: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let name = key_of(index)?;
        // A copy of the borrow: what a field hands out lives as long as the estate, not as long as this value.
        let record: Record<'a> = *self;
        record
            .field(name)
            .ok_or_else(|| ExecutionError::no_such_key(name))
    }

    fn steal<'v>(self: Box<Self>, index: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(index).map(CowVal::into_owned)
    }
}

fn key_of(index: &dyn Val) -> Result<&str, ExecutionError> {
    let unexpected = || ExecutionError::UnexpectedType {
        got: index.get_type().name().to_owned(),
        want: "string".to_owned(),
    };
    index
        .downcast_ref::<CelString<'_>>()
        .map(CelString::inner)
        .ok_or_else(unexpected)
}

/// Labels, where a missing one reads as the empty text.
#[derive(Clone)]
struct LabelMap<'a> {
    labels: &'a Labels,
    /// The keys as values, made when an expression iterates over them.
    keys: OnceLock<Vec<CelString<'a>>>,
}

impl fmt::Debug for LabelMap<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.labels.fmt(f)
    }
}

impl Val for LabelMap<'_> {
    fn get_type(&self) -> &Type {
        &MAP
    }

    fn cel_type() -> &'static Type {
        &MAP
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }

    fn as_iterable<'b, 'v>(&'b self) -> Option<&'b (dyn Iterable + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_sizer(&self) -> Option<&dyn Sizer> {
        Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(self.clone())
    }
}

impl<'a> Indexer for LabelMap<'a> {
    fn get<'b, 'v>(&'b self, index: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let labels: &'a Labels = self.labels;
        Ok(text(labels.get(key_of(index)?).map_or("", String::as_str)))
    }

    fn steal<'v>(self: Box<Self>, index: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(index).map(CowVal::into_owned)
    }
}

impl Container for LabelMap<'_> {
    fn contains(&self, value: &dyn Val) -> Result<bool, ExecutionError> {
        Ok(self.labels.contains_key(key_of(value)?))
    }
}

impl Sizer for LabelMap<'_> {
    fn size(&self) -> CelInt {
        CelInt::from(i64::try_from(self.labels.len()).unwrap_or(i64::MAX))
    }
}

impl<'a> Iterable for LabelMap<'a> {
    fn iter<'b, 'v>(&'b self) -> Box<dyn cel::common::traits::Iterator<'b, 'v> + 'b>
    where
        Self: 'v,
    {
        let labels: &'a Labels = self.labels;
        let keys = self
            .keys
            .get_or_init(|| labels.keys().map(|key| CelString::from(key.as_str())).collect());
        Box::new(Keys(keys.iter()))
    }
}

struct Keys<'b, 'a>(std::slice::Iter<'b, CelString<'a>>);

impl<'b, 'v, 'a: 'v> cel::common::traits::Iterator<'b, 'v> for Keys<'b, 'a> {
    fn next(&mut self) -> Option<&'b (dyn Val + 'v)> {
        self.0.next().map(|key| key as &(dyn Val + 'v))
    }
}
