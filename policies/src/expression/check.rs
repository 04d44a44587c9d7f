//! What can be said of an expression before it is ever evaluated: the names that it uses, the kind of its value.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, EntryExpr, Expr, LiteralValue, SelectExpr, operators};

use super::{ExpressionError, Scope};

/// Functions that an expression may call, macros and operators apart.
const FUNCTIONS: [&str; 11] = [
    "contains",
    "endsWith",
    "startsWith",
    "size",
    "int",
    "uint",
    "double",
    "string",
    "bool",
    "dyn",
    "type",
];
/// Macros, which the parser has replaced by loops; listed for suggestions.
const MACROS: [&str; 6] = ["has", "all", "exists", "exists_one", "map", "filter"];

const BACKEND_FIELDS: [(&str, Kind); 10] = [
    ("name", Kind::Text),
    ("domain", Kind::Text),
    ("labels", Kind::Labels),
    ("country", Kind::Text),
    ("operatorCountry", Kind::Text),
    ("provider", Kind::Text),
    ("region", Kind::Text),
    ("zone", Kind::Text),
    ("gridGramsPerKWh", Kind::Number),
    ("nines", Kind::Number),
];
const DATASET_FIELDS: [(&str, Kind); 5] = [
    ("name", Kind::Text),
    ("domain", Kind::Text),
    ("labels", Kind::Labels),
    ("bytes", Kind::Number),
    ("objects", Kind::Number),
];
const DOMAIN_FIELDS: [(&str, Kind); 3] = [
    ("name", Kind::Text),
    ("jurisdiction", Kind::Text),
    ("labels", Kind::Labels),
];

/// The kind of a value, as far as it can be told without evaluating.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Boolean,
    Text,
    Number,
    Labels,
    List,
    Record,
    Unknown,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Boolean => "true or false",
            Self::Text => "a text",
            Self::Number => "a number",
            Self::Labels => "a set of labels",
            Self::List => "a list",
            Self::Record => "a whole backend, dataset or domain",
            Self::Unknown => "a value",
        }
    }
}

/// The fields of a variable.
fn fields(variable: &str) -> &'static [(&'static str, Kind)] {
    match variable {
        "backend" => &BACKEND_FIELDS,
        "dataset" => &DATASET_FIELDS,
        "domain" => &DOMAIN_FIELDS,
        _ => &[],
    }
}

/// Checks names and kinds. Returns whether the expression looks at the dataset.
pub(super) fn check(tree: &IdedExpr, scope: Scope) -> Result<bool, ExpressionError> {
    let mut names = Names {
        scope,
        bound: Vec::new(),
        dataset: false,
    };
    names.visit(tree)?;
    require_boolean(tree, scope)?;
    Ok(names.dataset)
}

struct Names {
    scope: Scope,
    /// Variables of the loops that surround the place.
    bound: Vec<String>,
    dataset: bool,
}

impl Names {
    fn visit(&mut self, tree: &IdedExpr) -> Result<(), ExpressionError> {
        match &tree.expr {
            Expr::Unspecified | Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.variable(name),
            Expr::Select(select) => {
                self.visit(&select.operand)?;
                self.field(&select.operand, &select.field)
            }
            Expr::Call(call) => self.call(call),
            Expr::List(list) => list.elements.iter().try_for_each(|element| self.visit(element)),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| self.entry(&entry.expr)),
            Expr::Struct(structure) => Err(ExpressionError::new(format!(
                "`{}` is no type of this language",
                structure.type_name
            ))),
            Expr::Comprehension(comprehension) => {
                self.visit(&comprehension.iter_range)?;
                self.visit(&comprehension.accu_init)?;
                let outer = self.bound.len();
                self.bound.push(comprehension.iter_var.clone());
                self.bound.extend(comprehension.iter_var2.clone());
                self.bound.push(comprehension.accu_var.clone());
                self.visit(&comprehension.loop_cond)?;
                self.visit(&comprehension.loop_step)?;
                self.visit(&comprehension.result)?;
                self.bound.truncate(outer);
                Ok(())
            }
        }
    }

    fn entry(&mut self, entry: &EntryExpr) -> Result<(), ExpressionError> {
        match entry {
            EntryExpr::StructField(field) => self.visit(&field.value),
            EntryExpr::MapEntry(entry) => {
                self.visit(&entry.key)?;
                self.visit(&entry.value)
            }
        }
    }

    fn is_bound(&self, name: &str) -> bool {
        self.bound.iter().any(|bound| bound == name)
    }

    fn variable(&mut self, name: &str) -> Result<(), ExpressionError> {
        if self.is_bound(name) {
            return Ok(());
        }
        self.dataset |= name == "dataset";
        if self.scope.variables().contains(&name) {
            return Ok(());
        }
        let variables = self.scope.variables().iter().copied();
        let error = ExpressionError::new(format!("`{name}` is no variable here"));
        Err(match crate::suggest::nearest(name, variables.clone()) {
            Some(near) => error.with_help(format!("did you mean `{near}`?")),
            None => error.with_help(format!(
                "here an expression sees {}; texts stand in quotes",
                crate::suggest::list(variables)
            )),
        })
    }

    fn field(&self, operand: &IdedExpr, field: &str) -> Result<(), ExpressionError> {
        let Expr::Ident(variable) = &operand.expr else {
            return Ok(());
        };
        if self.is_bound(variable) {
            return Ok(());
        }
        let known = fields(variable);
        if known.is_empty() || known.iter().any(|(name, _)| *name == field) {
            return Ok(());
        }
        let error = ExpressionError::new(format!("`{variable}` has no field `{field}`"));
        let names = known.iter().map(|(name, _)| *name);
        Err(match crate::suggest::nearest(field, names.clone()) {
            Some(near) => error.with_help(format!("did you mean `{variable}.{near}`?")),
            None => error.with_help(format!(
                "it has {}; a label is `{variable}.labels['{field}']`",
                crate::suggest::list(names)
            )),
        })
    }

    fn call(&mut self, call: &CallExpr) -> Result<(), ExpressionError> {
        if let Some(target) = &call.target {
            self.visit(target)?;
        }
        call.args.iter().try_for_each(|argument| self.visit(argument))?;
        if let (operators::INDEX, [operand, index]) = (call.func_name.as_str(), call.args.as_slice())
            && let Expr::Literal(LiteralValue::String(field)) = &index.expr
        {
            return self.field(operand, field.inner());
        }
        let name = call.func_name.as_str();
        let is_operator = name.contains('_') && !name.starts_with(|c: char| c.is_ascii_alphabetic());
        if is_operator || name.starts_with('@') || FUNCTIONS.contains(&name) {
            return Ok(());
        }
        let known = FUNCTIONS.into_iter().chain(MACROS);
        let error = ExpressionError::new(format!("`{name}` is no function here"));
        Err(match crate::suggest::nearest(name, known.clone()) {
            Some(near) => error.with_help(format!("did you mean `{near}`?")),
            None => error.with_help(format!("there are {}", crate::suggest::list(known))),
        })
    }
}

/// Refuses an expression, or a part of one that must be true or false, that is plainly something else.
fn require_boolean(tree: &IdedExpr, scope: Scope) -> Result<(), ExpressionError> {
    if let Expr::Call(call) = &tree.expr {
        match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::LOGICAL_AND | operators::LOGICAL_OR | operators::LOGICAL_NOT, parts) => {
                return parts.iter().try_for_each(|part| require_boolean(part, scope));
            }
            (operators::CONDITIONAL, [condition, then, otherwise]) => {
                require_boolean(condition, scope)?;
                require_boolean(then, scope)?;
                return require_boolean(otherwise, scope);
            }
            _ => {}
        }
    }
    let kind = kind_of(tree, scope);
    if matches!(kind, Kind::Boolean | Kind::Unknown) {
        return Ok(());
    }
    Err(ExpressionError::new(format!(
        "the expression must be true or false, this is {}",
        kind.as_str()
    ))
    .with_help("compare it with something, such as `== 'restricted'`"))
}

fn kind_of(tree: &IdedExpr, scope: Scope) -> Kind {
    match &tree.expr {
        Expr::Literal(literal) => match literal {
            LiteralValue::Boolean(_) => Kind::Boolean,
            LiteralValue::String(_) | LiteralValue::Bytes(_) => Kind::Text,
            LiteralValue::Double(_) | LiteralValue::Int(_) | LiteralValue::UInt(_) => Kind::Number,
            LiteralValue::Null => Kind::Record,
        },
        Expr::Ident(name) if scope.variables().contains(&name.as_str()) => Kind::Record,
        Expr::List(_) => Kind::List,
        Expr::Map(_) => Kind::Labels,
        Expr::Select(SelectExpr { test: true, .. }) => Kind::Boolean,
        Expr::Select(select) => kind_of_field(&select.operand, &select.field, scope),
        Expr::Call(call) => kind_of_call(call, scope),
        _ => Kind::Unknown,
    }
}

fn kind_of_field(operand: &IdedExpr, field: &str, scope: Scope) -> Kind {
    if let Expr::Ident(variable) = &operand.expr {
        let known = fields(variable).iter().find(|(name, _)| *name == field);
        return known.map_or(Kind::Unknown, |(_, kind)| *kind);
    }
    if kind_of(operand, scope) == Kind::Labels {
        Kind::Text
    } else {
        Kind::Unknown
    }
}

fn kind_of_call(call: &CallExpr, scope: Scope) -> Kind {
    match call.func_name.as_str() {
        operators::EQUALS
        | operators::NOT_EQUALS
        | operators::GREATER
        | operators::GREATER_EQUALS
        | operators::LESS
        | operators::LESS_EQUALS
        | operators::IN
        | operators::LOGICAL_AND
        | operators::LOGICAL_OR
        | operators::LOGICAL_NOT
        | "contains"
        | "startsWith"
        | "endsWith"
        | "bool" => Kind::Boolean,
        operators::SUBSTRACT
        | operators::MULTIPLY
        | operators::DIVIDE
        | operators::MODULO
        | operators::NEGATE
        | "size"
        | "int"
        | "uint"
        | "double" => Kind::Number,
        "string" => Kind::Text,
        operators::ADD => call
            .args
            .first()
            .map_or(Kind::Unknown, |first| match kind_of(first, scope) {
                Kind::Boolean => Kind::Unknown,
                kind => kind,
            }),
        operators::INDEX => match call.args.as_slice() {
            [
                operand,
                IdedExpr {
                    expr: Expr::Literal(LiteralValue::String(field)),
                    ..
                },
            ] => kind_of_field(operand, field.inner(), scope),
            [operand, _] if kind_of(operand, scope) == Kind::Labels => Kind::Text,
            _ => Kind::Unknown,
        },
        _ => Kind::Unknown,
    }
}

/// Calls a function with every part of a node, its own level only.
pub(super) fn for_each_child<'t>(tree: &'t IdedExpr, each: &mut impl FnMut(&'t IdedExpr)) {
    match &tree.expr {
        Expr::Unspecified | Expr::Literal(_) | Expr::Ident(_) => {}
        Expr::Select(select) => each(&select.operand),
        Expr::Call(call) => call
            .target
            .iter()
            .map(|target| &**target)
            .chain(&call.args)
            .for_each(each),
        Expr::List(list) => list.elements.iter().for_each(each),
        Expr::Map(map) => map
            .entries
            .iter()
            .for_each(|entry| each_of_entry(&entry.expr, each)),
        Expr::Struct(structure) => {
            structure
                .entries
                .iter()
                .for_each(|entry| each_of_entry(&entry.expr, each));
        }
        Expr::Comprehension(comprehension) => {
            each(&comprehension.iter_range);
            each(&comprehension.accu_init);
            each(&comprehension.loop_cond);
            each(&comprehension.loop_step);
            each(&comprehension.result);
        }
    }
}

fn each_of_entry<'t>(entry: &'t EntryExpr, each: &mut impl FnMut(&'t IdedExpr)) {
    match entry {
        EntryExpr::StructField(field) => each(&field.value),
        EntryExpr::MapEntry(entry) => {
            each(&entry.key);
            each(&entry.value);
        }
    }
}

/// Makes `has()` say whether a label or a part of the location is there, although a missing one reads as the empty
/// text: `has(x.labels.y)` becomes `'y' in x.labels`, `has(x.region)` becomes `x.region != ''`.
pub(super) fn rewrite_presence(tree: &mut IdedExpr) {
    match &mut tree.expr {
        Expr::Select(select) => rewrite_presence(&mut select.operand),
        Expr::Call(call) => {
            call.target.iter_mut().for_each(|target| rewrite_presence(target));
            call.args.iter_mut().for_each(rewrite_presence);
        }
        Expr::List(list) => list.elements.iter_mut().for_each(rewrite_presence),
        Expr::Map(map) => {
            for entry in &mut map.entries {
                if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                    rewrite_presence(&mut entry.key);
                    rewrite_presence(&mut entry.value);
                }
            }
        }
        Expr::Comprehension(comprehension) => {
            rewrite_presence(&mut comprehension.iter_range);
            rewrite_presence(&mut comprehension.accu_init);
            rewrite_presence(&mut comprehension.loop_cond);
            rewrite_presence(&mut comprehension.loop_step);
            rewrite_presence(&mut comprehension.result);
        }
        Expr::Unspecified | Expr::Literal(_) | Expr::Ident(_) | Expr::Struct(_) => {}
    }
    if let Expr::Select(select) = &tree.expr
        && select.test
        && let Some(call) = presence(select, tree.id)
    {
        tree.expr = Expr::Call(call);
    }
}

fn presence(select: &SelectExpr, id: u64) -> Option<CallExpr> {
    let literal = |text: &str| IdedExpr {
        id,
        expr: Expr::Literal(LiteralValue::String(cel::common::types::CelString::from(
            text.to_owned(),
        ))),
    };
    let operand = (*select.operand).clone();
    match &select.operand.expr {
        Expr::Select(inner) if inner.field == "labels" => Some(CallExpr {
            func_name: operators::IN.to_owned(),
            target: None,
            args: vec![literal(&select.field), operand],
        }),
        Expr::Ident(variable) => {
            let (_, kind) = fields(variable).iter().find(|(name, _)| *name == select.field)?;
            if *kind != Kind::Text {
                return None;
            }
            let value = SelectExpr {
                operand: Box::new(operand),
                field: select.field.clone(),
                test: false,
            };
            Some(CallExpr {
                func_name: operators::NOT_EQUALS.to_owned(),
                target: None,
                args: vec![
                    IdedExpr {
                        id,
                        expr: Expr::Select(value),
                    },
                    literal(""),
                ],
            })
        }
        _ => None,
    }
}
