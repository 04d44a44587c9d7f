//! Evaluates an expression once, over made-up values, when it is compiled.

use cel::ExecutionError;
use domicile_estate::{
    AccessMode, Backend, BackendName, ByteCount, DatasetName, Domain, DomainName, Energy, Labels, Location,
    Price, Store, StoreKind, country,
};

use super::{Expression, ExpressionError, Scope, Variables, describe};
use crate::evaluate::DatasetFacts;

/// Evaluates the expression over made-up values, to find what is never true or false: values of kinds that do not go
/// together, and answers that are no boolean. What depends on the values themselves (a text that is no number)
/// is left to the evaluation.
pub(super) fn try_out(expression: &Expression, scope: Scope) -> Result<(), ExpressionError> {
    let (Some(backend), Some(domain), Ok(name)) =
        (sample_backend(), sample_domain(), DatasetName::new("sample"))
    else {
        return Ok(());
    };
    let labels = Labels::new();
    let dataset = DatasetFacts {
        name: &name,
        domain: &domain.name,
        labels: &labels,
        bytes: ByteCount(1 << 30),
        objects: 1000,
    };
    let variables = match scope {
        Scope::Rule => Variables {
            backend: Some(&backend),
            dataset: Some(dataset),
            domain: None,
        },
        Scope::Admission => Variables {
            backend: None,
            dataset: Some(dataset),
            domain: Some(&domain),
        },
    };
    match expression.evaluate(&variables) {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(
            ExpressionError::new("the expression must be true or false, this is something else")
                .with_help("compare it with something, such as `== 'restricted'`"),
        ),
        Err(
            error @ (ExecutionError::NoSuchOverload(_)
            | ExecutionError::UnsupportedBinaryOperator(..)
            | ExecutionError::UndeclaredReference(_)
            | ExecutionError::UnexpectedType { .. }
            | ExecutionError::InvalidArgumentCount { .. }
            | ExecutionError::ValuesNotComparable(..)),
        ) => Err(ExpressionError::new(format!(
            "the expression cannot be evaluated: {}",
            describe(&error)
        ))
        .with_help(
            "labels are texts: compare them with texts, or turn them into numbers by `int()` or `double()`",
        )),
        Err(_) => Ok(()),
    }
}

fn sample_domain() -> Option<Domain> {
    Some(Domain {
        name: DomainName::new("sample").ok()?,
        labels: Labels::new(),
        title: String::new(),
        jurisdiction: country("DE").ok()?,
        weight: 1,
        admission: Vec::new(),
    })
}

fn sample_backend() -> Option<Backend> {
    Some(Backend {
        name: BackendName::new("sample").ok()?,
        labels: Labels::new(),
        domain: DomainName::new("sample").ok()?,
        location: Location::default(),
        operator_country: country("DE").ok()?,
        store: Store {
            kind: StoreKind::Memory,
            options: Default::default(),
        },
        credentials: None,
        capacity: ByteCount(0),
        access_mode: AccessMode::ReadWrite,
        cordoned: false,
        drain: false,
        relay: false,
        limits: domicile_estate::RateLimits::default(),
        price: Price::default(),
        energy: Energy {
            grid_grams_per_kwh: 100.0,
            grid_source: String::new(),
            watt_hours_per_tb_hour: 0.65,
            pue: 1.2,
            physical_copies: 1.0,
        },
        nines: Some(4.0),
    })
}
