//! Expressions in CEL over `backend`, `dataset` and `domain`, compiled once and evaluated for many pairs.
//!
//! A missing label reads as the empty text, and so do an absent country, region, zone and provider. `'x' in
//! backend.labels`, `has(backend.labels.x)` and `has(backend.region)` say whether there is one.

mod check;
mod try_out;
mod values;

use std::fmt;
use std::sync::{Arc, LazyLock};

use cel::common::types::CelBool;
use cel::parser::PrattParser;
use cel::{Context, Env, ExecutionError, Value};
use domicile_estate::{Backend, Domain};

use crate::evaluate::{DatasetFacts, Verdict};

/// Longest expression, in bytes.
const EXPRESSION_BYTES_MAX: usize = 2048;
/// Deepest nesting of an expression: what descends into it needs stack for every level.
const EXPRESSION_DEPTH_MAX: usize = 32;
/// Deepest nesting of brackets that the parser follows.
const PARSER_DEPTH_MAX: u16 = 24;

static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// A compiled expression with its text.
#[derive(Clone)]
pub struct Expression {
    text: Arc<str>,
    tree: Arc<cel::IdedExpr>,
    depends_on_dataset: bool,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.text, f)
    }
}

/// Where an expression stands, which says what names it may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// `confine` and `where` of a policy: `backend` and `dataset`.
    Rule,
    /// `admission` of a domain: `dataset` and `domain`.
    Admission,
}

impl Scope {
    /// The variables that an expression may use.
    #[must_use]
    pub fn variables(self) -> &'static [&'static str] {
        match self {
            Self::Rule => &["backend", "dataset"],
            Self::Admission => &["dataset", "domain"],
        }
    }
}

/// Why a text is no expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExpressionError {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl ExpressionError {
    fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: None,
        }
    }

    fn with_help(self, help: impl Into<String>) -> Self {
        Self {
            help: Some(help.into()),
            ..self
        }
    }
}

/// What an expression is evaluated over; what its scope does not have is `None`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Variables<'a> {
    /// The backend that a rule judges.
    pub backend: Option<&'a Backend>,
    /// The dataset.
    pub dataset: Option<DatasetFacts<'a>>,
    /// The domain that admits.
    pub domain: Option<&'a Domain>,
}

impl Expression {
    /// Compiles an expression and checks that it uses only names of its scope and says yes or no.
    ///
    /// # Errors
    /// [`ExpressionError`] for anything else, with a suggestion where a name is near.
    pub fn compile(text: &str, scope: Scope) -> Result<Self, ExpressionError> {
        check_size(text)?;
        let mut tree = PrattParser::new()
            .max_recursion_depth(PARSER_DEPTH_MAX)
            .parse(text)
            .map_err(|errors| syntax_error(&errors))?;
        if is_too_deep(&tree) {
            let message = format!("an expression is nested at most {EXPRESSION_DEPTH_MAX} deep");
            let help = "split it into several rules: all must hold";
            return Err(ExpressionError::new(message).with_help(help));
        }
        let depends_on_dataset = check::check(&tree, scope)?;
        check::rewrite_presence(&mut tree);
        let expression = Self {
            text: Arc::from(text),
            tree: Arc::new(tree),
            depends_on_dataset,
        };
        try_out::try_out(&expression, scope)?;
        Ok(expression)
    }

    /// The expression as written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the verdict may differ from dataset to dataset; if not, one verdict per backend is enough.
    #[must_use]
    pub fn depends_on_dataset(&self) -> bool {
        self.depends_on_dataset
    }

    /// What the expression says.
    #[must_use]
    pub fn holds(&self, variables: &Variables<'_>) -> Verdict {
        match self.evaluate(variables) {
            Ok(Some(answer)) => answer.into(),
            Ok(None) => Verdict::Failed("the expression is neither true nor false".to_owned()),
            Err(error) => Verdict::Failed(describe(&error)),
        }
    }

    /// The answer; `None` where it is no boolean.
    fn evaluate(&self, variables: &Variables<'_>) -> Result<Option<bool>, ExecutionError> {
        let values = values::Values::new(variables);
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        context.set_variable_resolver(&values);
        let value = Value::resolve_val(&self.tree, &context)?;
        Ok(value.downcast_ref::<CelBool>().map(|answer| *answer.inner()))
    }
}

fn check_size(text: &str) -> Result<(), ExpressionError> {
    if text.trim().is_empty() {
        return Err(ExpressionError::new("an expression must not be empty"));
    }
    if text.len() > EXPRESSION_BYTES_MAX {
        let message = format!(
            "an expression has at most {EXPRESSION_BYTES_MAX} bytes, this one has {}",
            text.len()
        );
        return Err(ExpressionError::new(message).with_help("split it into several rules: all must hold"));
    }
    Ok(())
}

/// Whether a tree is deeper than the bound. It holds its own stack, so that no tree is too deep
/// for it; whatever descends into the tree later may recurse.
fn is_too_deep(tree: &cel::IdedExpr) -> bool {
    let mut open = vec![(tree, 1usize)];
    while let Some((node, depth)) = open.pop() {
        if depth > EXPRESSION_DEPTH_MAX {
            return true;
        }
        check::for_each_child(node, &mut |child| open.push((child, depth + 1)));
    }
    false
}

fn syntax_error(errors: &cel::ParseErrors) -> ExpressionError {
    let first = errors.errors.first().map_or_else(String::new, |error| {
        format!(": at column {} {}", error.pos.1, error.msg.to_lowercase())
    });
    ExpressionError::new(format!("this is no expression in CEL{first}"))
        .with_help("an example: `dataset.labels['sensitivity'] != 'restricted'`")
}

/// The error of an evaluation for people. The library prints values as its own types; the kinds that a checked
/// expression can still meet are said in our words.
fn describe(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(key) => format!("`{key}` is not known here"),
        ExecutionError::NoSuchOverload(overload) => {
            format!(
                "`{}` cannot be used with {}",
                overload.function(),
                overload.argument_types().join(" and ")
            )
        }
        ExecutionError::FunctionError { function, message } => format!("`{function}` failed: {message}"),
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
            "division by zero".to_owned()
        }
        ExecutionError::Overflow(..) => "a number is too large".to_owned(),
        ExecutionError::IndexOutOfBounds(_) => "a list has no such entry".to_owned(),
        ExecutionError::UnsupportedBinaryOperator(operator, ..) => {
            format!("`{operator}` cannot be used with values of these kinds")
        }
        other => other.to_string().to_lowercase(),
    }
}

#[cfg(test)]
mod tests;
