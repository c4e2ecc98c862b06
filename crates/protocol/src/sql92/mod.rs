//! The language of SQL92 subscriptions: conditions on a message's properties, `price > 10 AND city IN ('A', 'B')`.
//!
//! 1. text → words (`token`)
//! 2. words → a tree, with what Apache's parser refuses refused (`parse`)
//! 3. the tree against the properties of a message: [`Expression::evaluate`]
//!
//! Verdicts are those of Apache's `rocketmq-filter`, oddities and all; `just filter-cases` compares. What differs on
//! purpose stands in `docs/filter.md`.
//!
//! ```text
//! or         = and { OR and }
//! and        = equality { AND equality }
//! equality   = comparison { = comparison | <> comparison | IS [NOT] NULL }
//! comparison = unary { > unary | >= unary | < unary | <= unary
//!                    | [NOT] BETWEEN unary AND unary | [NOT] IN ( 'text' {, 'text'} )
//!                    | [NOT] CONTAINS 'text' | [NOT] STARTSWITH 'text' | [NOT] ENDSWITH 'text' }
//! unary      = + unary | - unary | NOT unary | primary
//! primary    = 'text' | number | TRUE | FALSE | NULL | name | ( or )
//! ```
//!
//! What stands behind a complete expression is not read, as with Apache.

mod number;
mod parse;
mod token;

use crate::message::Properties;
use std::cmp::Ordering;

/// The longest expression, in bytes.
pub const LENGTH_MAX: usize = 64 << 10;
/// How deep parentheses, signs, `NOT` and chains of `=` may lie in one another.
pub const DEPTH_MAX: usize = 100;
/// How many conditions one expression may have. All texts of an `IN` are one.
pub const CONDITIONS_MAX: usize = 500;
/// How many different properties one expression may name.
pub const NAMES_MAX: usize = 64;

/// An expression, read once and evaluated for every message.
#[doc(alias = "org.apache.rocketmq.filter.expression.BooleanExpression")]
#[derive(Debug, Clone, PartialEq)]
pub struct Expression {
    root: Node,
    /// Names of properties in byte order; [`Node::Property`] counts in `order`.
    names: Vec<(Box<str>, usize)>,
    ignored: Option<Box<str>>,
}

/// Why a text is no expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is no SQL92 expression, see character {at}: {reason}")]
pub struct ParseError {
    /// Which character of the text it is about, from 1.
    pub at: usize,
    /// What is wrong there.
    pub reason: String,
}

impl ParseError {
    fn new(text: &str, byte: usize, reason: String) -> ParseError {
        ParseError { at: text[..byte].chars().count() + 1, reason }
    }
}

/// A value cannot be compared: a property's text is no number that fits, or a condition is compared with a text. The
/// message does not match, whatever the rest of the expression says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotComparable;

/// What a part of an expression is for one message.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Value<'a> {
    /// A property that is missing, or what follows from that: unknown.
    Null,
    Boolean(bool),
    Text(&'a str),
    Int(i32),
    Long(i64),
    Double(f64),
}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Literal(Value<'static>),
    Text(String),
    /// Number so-and-so of the names.
    Property(usize),
    /// A property that stands where a condition should: false, whatever its text.
    Cast(usize),
    Negative(Box<Node>),
    Not(Box<Node>),
    All(Vec<Node>),
    Any(Vec<Node>),
    IsNull(Box<Node>),
    Equal(Box<[Node; 2]>),
    Ordered(Order, Box<[Node; 2]>),
    /// Texts in byte order.
    In {
        property: usize,
        texts: Vec<String>,
        not: bool,
    },
    Search {
        search: Search,
        within: Box<Node>,
        text: String,
        not: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Search {
    Contains,
    StartsWith,
    EndsWith,
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    ///
    /// What Apache's parser refuses, and what exceeds [`LENGTH_MAX`], [`DEPTH_MAX`], [`CONDITIONS_MAX`] or [`NAMES_MAX`].
    #[doc(alias = "SelectorParser.parse")]
    pub fn parse(text: &str) -> Result<Expression, ParseError> {
        parse::parse(text)
    }

    /// What stands behind the expression and is not read: probably not what its author meant.
    pub fn ignored(&self) -> Option<&str> {
        self.ignored.as_deref()
    }

    /// Is a message with these properties wanted?
    pub fn matches(&self, properties: &Properties) -> bool {
        self.evaluate(properties) == Ok(Some(true))
    }

    /// True, false, or `None` for unknown. Allocates nothing.
    ///
    /// # Errors
    ///
    /// [`NotComparable`]; such a message does not match.
    pub fn evaluate(&self, properties: &Properties) -> Result<Option<bool>, NotComparable> {
        let mut values = [None; NAMES_MAX];
        for (name, value) in properties.raw() {
            if let Ok(n) = self.names.binary_search_by(|(known, _)| known.as_bytes().cmp(name)) {
                values[self.names[n].1] = std::str::from_utf8(value).ok();
            }
        }
        self.root.condition(&values)
    }
}

impl Node {
    fn condition(&self, values: &[Option<&str>; NAMES_MAX]) -> Result<Option<bool>, NotComparable> {
        Ok(match self.value(values)? {
            Value::Boolean(condition) => Some(condition),
            _ => None,
        })
    }

    /// No deeper than [`DEPTH_MAX`], which the parser sees to.
    fn value<'a>(&'a self, values: &[Option<&'a str>; NAMES_MAX]) -> Result<Value<'a>, NotComparable> {
        let known = |condition: Option<bool>| condition.map_or(Value::Null, Value::Boolean);
        Ok(match self {
            Node::Literal(value) => *value,
            Node::Text(text) => Value::Text(text),
            Node::Property(n) => values[*n].map_or(Value::Null, Value::Text),
            Node::Cast(n) => known(values[*n].map(|_| false)),
            Node::Negative(of) => match of.value(values)? {
                Value::Int(number) => Value::Int(number.wrapping_neg()),
                Value::Long(number) => Value::Long(number.wrapping_neg()),
                Value::Double(number) => Value::Double(-number),
                _ => Value::Null,
            },
            Node::Not(of) => known(of.condition(values)?.map(|condition| !condition)),
            Node::All(conditions) => known(first(false, conditions, values)?),
            Node::Any(conditions) => known(first(true, conditions, values)?),
            Node::IsNull(of) => Value::Boolean(of.value(values)? == Value::Null),
            Node::Equal(sides) => match (sides[0].value(values)?, sides[1].value(values)?) {
                (Value::Null, Value::Null) => Value::Boolean(true),
                (Value::Null, _) => Value::Null,
                // Not unknown: Apache's oddity.
                (_, Value::Null) => Value::Boolean(false),
                (left, right) => Value::Boolean(compare(left, right)?.is_eq()),
            },
            Node::Ordered(order, sides) => match (sides[0].value(values)?, sides[1].value(values)?) {
                (Value::Null, _) | (_, Value::Null) => Value::Null,
                (Value::Text(left), Value::Text(right)) => {
                    let (left, right) = (double(left)?, double(right)?);
                    Value::Boolean(order.holds(left.total_cmp(&right)))
                }
                (left, right) => Value::Boolean(order.holds(compare(left, right)?)),
            },
            Node::In { property, texts, not } => known(
                values[*property].map(|value| texts.binary_search_by(|text| text.as_str().cmp(value)).is_ok() != *not),
            ),
            // Nothing contains the empty text, and nothing does not contain it either. It is not even looked.
            Node::Search { text, .. } if text.is_empty() => Value::Boolean(false),
            Node::Search { search, within, text, not } => match within.value(values)? {
                Value::Text(within) => Value::Boolean(search.finds(within, text) != *not),
                _ => Value::Boolean(false),
            },
        })
    }
}

/// The three-valued AND (`decides` is false) and OR (`decides` is true).
fn first(
    decides: bool,
    conditions: &[Node],
    values: &[Option<&str>; NAMES_MAX],
) -> Result<Option<bool>, NotComparable> {
    let mut all = Some(!decides);
    for condition in conditions {
        match condition.condition(values)? {
            Some(condition) if condition == decides => return Ok(Some(decides)),
            Some(_) => {}
            None => all = None,
        }
    }
    Ok(all)
}

impl Order {
    fn holds(self, ordering: Ordering) -> bool {
        match self {
            Order::Greater => ordering.is_gt(),
            Order::GreaterOrEqual => ordering.is_ge(),
            Order::Less => ordering.is_lt(),
            Order::LessOrEqual => ordering.is_le(),
        }
    }
}

impl Search {
    fn finds(self, within: &str, text: &str) -> bool {
        match self {
            Search::Contains => within.contains(text),
            Search::StartsWith => within.starts_with(text),
            Search::EndsWith => within.ends_with(text),
        }
    }
}

/// A text beside a number is read as a number of just that type: `'5.0'` is no match for `5`, and an error.
#[doc(alias = "ComparisonExpression.__compare")]
fn compare(left: Value, right: Value) -> Result<Ordering, NotComparable> {
    use Value::{Boolean, Double, Int, Long, Null, Text};
    Ok(match (left, right) {
        (Text(left), Text(right)) => left.cmp(right),
        (Boolean(left), Boolean(right)) => left.cmp(&right),
        (Text(left), Boolean(right)) => left.eq_ignore_ascii_case("true").cmp(&right),
        (Boolean(_), Text(_)) => return Err(NotComparable),
        (Text(left), Int(right)) => number::int(left).ok_or(NotComparable)?.cmp(&right),
        (Int(left), Text(right)) => left.cmp(&number::int(right).ok_or(NotComparable)?),
        (Text(left), Long(right)) => number::long(left).ok_or(NotComparable)?.cmp(&right),
        (Long(left), Text(right)) => left.cmp(&number::long(right).ok_or(NotComparable)?),
        (Text(left), Double(right)) => double(left)?.total_cmp(&right),
        (Double(left), Text(right)) => left.total_cmp(&double(right)?),
        (Int(left), Int(right)) => left.cmp(&right),
        (Int(left), Long(right)) => i64::from(left).cmp(&right),
        (Long(left), Int(right)) => left.cmp(&i64::from(right)),
        (Long(left), Long(right)) => left.cmp(&right),
        (Double(left), Double(right)) => left.total_cmp(&right),
        (Double(left), Int(right)) => left.total_cmp(&f64::from(right)),
        (Int(left), Double(right)) => f64::from(left).total_cmp(&right),
        (Double(left), Long(right)) => left.total_cmp(&(right as f64)),
        (Long(left), Double(right)) => (left as f64).total_cmp(&right),
        // Unequal, and the left one is the lesser.
        (Boolean(_), _) | (_, Boolean(_)) | (Null, _) | (_, Null) => Ordering::Less,
    })
}

fn double(text: &str) -> Result<f64, NotComparable> {
    number::double(text).ok_or(NotComparable)
}

#[cfg(test)]
mod tests;
