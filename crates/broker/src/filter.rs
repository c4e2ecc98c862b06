//! SQL92 expressions of subscriptions: read once, then known by their text.

use crate::Broker;
use parking_lot::Mutex;
use protocol::code::response;
use protocol::sql92::{Expression, ParseError};
use protocol::subscription::SQL92;
use remoting::Reject;
use std::collections::HashMap;
use std::sync::Arc;

/// So many expressions are remembered, of so many bytes together; then all are forgotten, and those in use read again.
const KNOWN_MAX: usize = 1000;
const KNOWN_BYTES_MAX: usize = 4 << 20;

/// The expressions that clients have come with, also those that are wrong.
#[doc(alias = "ConsumerFilterManager")]
#[derive(Debug, Default)]
pub struct Filters {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    expressions: HashMap<String, Result<Arc<Expression>, ParseError>>,
    bytes: usize,
}

impl Filters {
    /// The expression that `text` is.
    pub fn expression(&self, text: &str) -> Result<Arc<Expression>, ParseError> {
        let mut known = self.known.lock();
        if let Some(found) = known.expressions.get(text) {
            return found.clone();
        }
        let read = Expression::parse(text).map(Arc::new);
        match &read {
            Ok(expression) => {
                if let Some(ignored) = expression.ignored() {
                    tracing::warn!(
                        expression = text,
                        "what begins with `{}` is no part of the SQL92 expression and is passed over, as in Apache's \
                         broker: see whether AND, OR or a quote is missing",
                        crate::processor::short(ignored)
                    );
                }
            }
            Err(error) => tracing::warn!(expression = crate::processor::short(text), "{error}"),
        }
        // A text that is too long is refused at a glance, and not worth remembering.
        if text.len() <= protocol::sql92::LENGTH_MAX {
            if known.expressions.len() >= KNOWN_MAX || known.bytes + text.len() > KNOWN_BYTES_MAX {
                *known = Known::default();
            }
            known.bytes += text.len();
            known.expressions.insert(text.to_owned(), read.clone());
        }
        read
    }
}

impl Broker {
    /// The filter that a subscription other than by tags asks for, or the refusal.
    pub(crate) fn expression(&self, expression_type: &str, text: &str) -> Result<Arc<Expression>, Reject> {
        let expression_type = crate::processor::short(expression_type);
        if !self.config.property_filter {
            return Err(Reject::system_error(format!(
                "The broker does not support consumer to filter message by {expression_type} \
                 (enablePropertyFilter=false): set it to true, or subscribe by tags"
            )));
        }
        if expression_type != SQL92 {
            return Err(Reject::new(
                response::SUBSCRIPTION_PARSE_FAILED,
                format!("`{expression_type}` is no type of expression: subscribe by TAG or SQL92"),
            ));
        }
        self.filters
            .expression(text)
            .map_err(|error| Reject::new(response::SUBSCRIPTION_PARSE_FAILED, error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_read_once() {
        let filters = Filters::default();
        let first = filters.expression("a > 5").unwrap();
        assert!(Arc::ptr_eq(&first, &filters.expression("a > 5").unwrap()));
        assert_eq!(filters.expression("a >"), filters.expression("a >"));
    }

    #[test]
    fn expressions_are_forgotten_before_there_are_too_many() {
        let filters = Filters::default();
        for n in 0..=KNOWN_MAX {
            filters.expression(&format!("a > {n}")).unwrap();
        }
        assert_eq!(filters.known.lock().expressions.len(), 1);
        for n in 0..1000 {
            let list = format!("a IN ('{n}{}')", "x".repeat(60_000));
            filters.expression(&list).unwrap();
            assert!(filters.known.lock().bytes <= KNOWN_BYTES_MAX);
        }
        assert!(filters.expression(&"x".repeat(10 << 20)).is_err());
        assert!(filters.known.lock().bytes <= KNOWN_BYTES_MAX);
    }
}
