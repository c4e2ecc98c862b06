//! What a command would change, for `--dry-run`: what is there, and what would be.

use super::print;
use crate::environment::Environment;
use crate::text::Language;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Prints field by field what would change on a server: `None` is what is not there.
pub fn show<T: Serialize>(environment: &Environment, on: &str, before: Option<&T>, after: Option<&T>) {
    print(&text(environment.language, on, &fields(before), &fields(after)));
}

/// The same for one value that has a name.
pub fn value(environment: &Environment, on: &str, name: &str, before: Option<&str>, after: Option<&str>) {
    let table = |value: Option<&str>| value.map(|value| BTreeMap::from([(name.to_owned(), value.to_owned())]));
    print(&text(environment.language, on, &table(before), &table(after)));
}

/// The same for a setting, which servers have or refuse.
pub fn setting(environment: &Environment, on: &str, key: &str, now: Option<&String>, value: &str) {
    match now {
        Some(now) => self::value(environment, on, key, Some(now), Some(value)),
        None => act(
            environment,
            ("it has no such setting, and would refuse it", "没有该配置项，将被拒绝"),
            &format!("{on}  {key}"),
        ),
    }
}

/// Something is done on a server that changes no value: this is what.
pub fn act(environment: &Environment, (english, chinese): (&str, &str), on: &str) {
    super::done(environment, &format!("[dry run] {english}"), &format!("[试运行] {chinese}"), on);
}

/// The changes of `+name=value,-name`, as brokers are sent them.
pub fn changes(text: &str) -> BTreeMap<String, String> {
    let changes = text.split(',').map(str::trim).filter(|change| !change.is_empty());
    changes
        .map(|change| {
            let (name, value) = change.split_once('=').unwrap_or((change, ""));
            (name.trim().to_owned(), value.trim().to_owned())
        })
        .collect()
}

/// What attributes are after `+name=value,-name`.
pub fn attributes(attributes: &mut BTreeMap<String, String>, text: Option<&str>) {
    attribute_changes(attributes, &changes(text.unwrap_or_default()));
}

/// What attributes are after changes that have + or - in front of their names.
pub fn attribute_changes(attributes: &mut BTreeMap<String, String>, changes: &BTreeMap<String, String>) {
    for (name, value) in changes {
        match (name.strip_prefix('-'), name.strip_prefix('+')) {
            (Some(gone), _) => _ = attributes.remove(gone),
            (None, name_of) => _ = attributes.insert(name_of.unwrap_or(name).to_owned(), value.clone()),
        }
    }
}

type Fields = Option<BTreeMap<String, String>>;

fn fields<T: Serialize>(of: Option<&T>) -> Fields {
    let of = serde_json::to_value(of?).unwrap_or_default();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let fields = of.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    Some(fields.map(|(name, value)| (name.clone(), text(value))).collect())
}

fn text(language: Language, on: &str, before: &Fields, after: &Fields) -> String {
    let pick = |english, chinese| language.pick(english, chinese);
    let head = |what: &str| match language {
        Language::English => format!("[dry run] {what}: {on}\n"),
        Language::Chinese => format!("[试运行] {what}：{on}\n"),
    };
    let all = |fields: &BTreeMap<String, String>| -> String {
        fields.iter().map(|(name, value)| format!("    {name}: {value}\n")).collect()
    };
    let (before, after) = match (before, after) {
        (Some(before), Some(after)) => (before, after),
        (None, Some(after)) => return head(pick("would be created on", "将创建于")) + &all(after),
        (Some(before), None) => return head(pick("would be deleted from", "将删除于")) + &all(before),
        (None, None) => return head(pick("nothing would change on", "无变化")),
    };
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let none = "-".to_owned();
    let changed = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
    let lines = changed.map(|name| {
        let [before, after] = [before, after].map(|fields| fields.get(name).unwrap_or(&none));
        format!("    {name}: {before} -> {after}\n")
    });
    match lines.collect::<String>() {
        lines if lines.is_empty() => head(pick("nothing would change on", "无变化")),
        lines => head(pick("would be changed on", "将更改于")) + &lines,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_differs_is_named_with_both_values() {
        let [two, three] = [2, 3].map(|queues| json!({"queues": queues, "order": false, "unit": null}));
        let said = |before: Option<&Value>, after: Option<&Value>| {
            text(Language::English, "a:1", &fields(before), &fields(after))
        };
        assert_eq!(said(Some(&two), Some(&three)), "[dry run] would be changed on: a:1\n    queues: 2 -> 3\n");
        assert_eq!(said(Some(&two), Some(&two)), "[dry run] nothing would change on: a:1\n");
        assert_eq!(said(None, Some(&two)), "[dry run] would be created on: a:1\n    order: false\n    queues: 2\n");
        assert_eq!(said(Some(&two), None), "[dry run] would be deleted from: a:1\n    order: false\n    queues: 2\n");
        assert_eq!(said(None, None), "[dry run] nothing would change on: a:1\n");
    }

    #[test]
    fn attributes_come_with_plus_and_go_with_minus() {
        let mut of = BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]);
        attributes(&mut of, Some("+a=3, -b,+c=4"));
        assert_eq!(of.into_iter().map(|(name, value)| name + &value).collect::<Vec<_>>(), ["a3", "c4"]);
    }
}
