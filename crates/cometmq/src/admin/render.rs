//! Tables of what the `admin` crate found: a column is a field, by its name in JSON.

use crate::output::{bytes, local_time, table};
use crate::text::Language;
use serde::Serialize;
use serde_json::Value;

/// A field, and what it is called in English and Chinese. `a.b` is the field `b` of the field `a`.
pub type Column = (&'static str, &'static str, &'static str);

/// A table of `rows`.
pub fn rows<T: Serialize>(rows: &[T], columns: &[Column], language: Language) -> String {
    let head: Vec<&str> = columns.iter().map(|(_, english, chinese)| language.pick(english, chinese)).collect();
    let cells = |row: &T| {
        let row = serde_json::to_value(row).unwrap_or_default();
        columns.iter().map(|(field, ..)| cell(field, find(&row, field))).collect::<Vec<_>>()
    };
    table(&head, &rows.iter().map(cells).collect::<Vec<_>>())
}

/// A line for each field of `what`.
pub fn facts<T: Serialize>(what: &T, names: &[Column], language: Language) -> String {
    let what = serde_json::to_value(what).unwrap_or_default();
    let fact = |(field, english, chinese): &Column| {
        vec![language.pick(english, chinese).to_owned(), cell(field, find(&what, field))]
    };
    table(&["", ""], &names.iter().map(fact).collect::<Vec<_>>()).trim_start_matches('\n').to_owned()
}

/// Names and values, a line for each.
pub fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a String, &'a String)>) -> String {
    let pairs: Vec<_> = pairs.into_iter().collect();
    let width = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let line = |(name, value): (&String, &String)| format!("{name:width$} = {value}\n");
    pairs.into_iter().map(line).collect()
}

fn find<'a>(row: &'a Value, field: &str) -> &'a Value {
    field.split('.').fold(row, |value, name| &value[name])
}

/// A value as people read it, by its type and by what its name says of it.
fn cell(field: &str, value: &Value) -> String {
    let is = |ending: &str| field.to_lowercase().ends_with(ending);
    match value {
        Value::Null => "-".into(),
        Value::Number(number) if is("timestamp") || field == "since" => match number.as_i64() {
            Some(1..) => local_time(number.as_i64().unwrap_or(0)),
            _ => "-".into(),
        },
        Value::Number(number) if is("bytes") => bytes(number.as_u64().unwrap_or(0)),
        Value::Number(number) if number.is_f64() => format!("{:.1}", number.as_f64().unwrap_or(0.0)),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(|item| cell("", item)).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn cells_are_what_their_names_say() {
        let it = json!({"lag": 3, "tps": 1.25, "members": ["a", "b"], "none": null, "of": {"sizeBytes": 1500}, "lastTimestamp": 0});
        let columns = [
            ("lag", "lag", "堆积"),
            ("tps", "tps", "tps"),
            ("members", "members", "成员"),
            ("none", "none", "无"),
            ("of.sizeBytes", "size", "大小"),
            ("lastTimestamp", "last", "最近"),
        ];
        let shown = rows(&[it], &columns, Language::English);
        let line: Vec<&str> = shown.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(line, ["3", "1.2", "a,", "b", "-", "1.5", "kB", "-"], "{shown}");
        assert!(rows::<Value>(&[], &columns, Language::Chinese).contains("堆积"));
    }
}
