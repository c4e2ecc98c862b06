//! What an audit log says of a change: who asked for what, from where, what held before and after, and how it ended.

use crate::code::{request, response};
use crate::command::Command;
use crate::json;
use crate::properties;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Strings of requests are cut off behind so many characters.
const TEXT_MAX: usize = 512;

/// Of lists, so many elements are kept.
const ELEMENTS_MAX: usize = 100;

/// What stands in place of a secret.
pub const SECRET: &str = "******";

/// Words that make the value behind a name a secret.
const SECRETS: [&str; 7] =
    ["password", "secret", "signature", "token", "credential", "privatekey", "initauthenticationuser"];

/// Longer bodies are told by their length alone.
const BODY_MAX: usize = 64 * 1024;

/// One change, or an attempt at one: a line of `audit.log`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuditEntry {
    /// When it ended, milliseconds since 1970.
    pub at: i64,
    /// The same for people, in UTC.
    pub time: String,
    /// Who asked, where users are told apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// From where.
    pub address: String,
    /// The request's name, `UPDATE_AND_CREATE_TOPIC`.
    pub what: String,
    /// Its code.
    pub code: i32,
    /// Its fields and body, without secrets.
    pub asked: Value,
    /// What held before; null where that can't be said.
    pub before: Value,
    /// What held then.
    pub after: Value,
    /// `done`, `refused`, or `unknown`: whoever asked was gone before it was over.
    pub outcome: String,
    /// The answer's code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<i32>,
    /// The answer's text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
}

impl AuditEntry {
    /// A request that was answered so: code and text; `None`: nobody waited for that any more. It has no time, nobody who asked
    /// for it, and says nothing of before and after.
    pub fn of(code: i32, asked: Value, answer: Option<(i32, Option<&str>)>) -> AuditEntry {
        let outcome = match answer {
            Some((response::SUCCESS, _)) => "done",
            Some(_) => "refused",
            None => "unknown",
        };
        AuditEntry {
            what: request::name(code).map_or_else(|| code.to_string(), str::to_owned),
            code,
            asked,
            outcome: outcome.to_owned(),
            response: answer.map(|(code, _)| code),
            remark: answer.and_then(|(_, remark)| remark).filter(|it| !it.is_empty()).map(str::to_owned),
            ..AuditEntry::default()
        }
    }
}

/// Which entries are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// From then on, milliseconds since 1970.
    pub since: i64,
    /// That have this name in what was asked for: of a topic, a group, a key.
    pub about: Option<String>,
    /// By this user, or from this address or host.
    pub who: Option<String>,
    /// Whose request's name has this in it.
    pub what: Option<String>,
}

impl AuditFilter {
    /// Is this one wanted?
    pub fn matches(&self, entry: &AuditEntry) -> bool {
        let host = entry.address.rsplit_once(':').map_or("", |(host, _)| host);
        let who = |who: &str| entry.user.as_deref() == Some(who) || entry.address == who || host == who;
        let what = |what: &str| entry.what.contains(&what.to_ascii_uppercase());
        entry.at >= self.since
            && self.who.as_deref().is_none_or(who)
            && self.what.as_deref().is_none_or(what)
            && self.about.as_deref().is_none_or(|name| mentions(&entry.asked, name))
    }
}

/// Is this name a value in there, or a key?
fn mentions(value: &Value, name: &str) -> bool {
    match value {
        Value::String(text) => text == name,
        Value::Array(elements) => elements.iter().any(|element| mentions(element, name)),
        Value::Object(fields) => fields.iter().any(|(key, value)| key == name || mentions(value, name)),
        _ => false,
    }
}

/// What a request asks for: its fields, and its body where that is JSON or settings. No secrets.
pub fn asked(request: &Command) -> Value {
    let mut asked = Map::new();
    for (key, value) in request.ext.iter().filter(|(key, _)| *key != "AccessKey") {
        asked.insert(key.to_owned(), value.into());
    }
    if !request.body.is_empty() {
        asked.insert("body".to_owned(), body(&request.body));
    }
    let mut asked = Value::Object(asked);
    without_secrets(&mut asked);
    asked
}

fn body(bytes: &[u8]) -> Value {
    if bytes.len() > BODY_MAX {
        return format!("{} bytes", bytes.len()).into();
    }
    if let Ok(value @ (Value::Object(_) | Value::Array(_))) = json::read::<Value>(bytes) {
        return value;
    }
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.contains('=') && !text.contains('\0'));
    let settings = text.map(properties::read).filter(|settings| !settings.is_empty());
    match settings {
        Some(settings) => {
            settings.into_iter().map(|it| (it.key, Value::String(it.value))).collect::<Map<_, _>>().into()
        }
        None => format!("{} bytes", bytes.len()).into(),
    }
}

/// Puts [`SECRET`] in place of what is behind a name of a secret, and cuts off what is long.
pub fn without_secrets(value: &mut Value) {
    match value {
        Value::String(text) if text.chars().count() > TEXT_MAX => {
            *text = text.chars().take(TEXT_MAX).chain(['…']).collect();
        }
        Value::Array(elements) => {
            elements.truncate(ELEMENTS_MAX);
            elements.iter_mut().for_each(without_secrets);
        }
        Value::Object(fields) => {
            for (key, value) in fields.iter_mut() {
                match is_secret(key) {
                    true => *value = SECRET.into(),
                    false => without_secrets(value),
                }
            }
        }
        _ => {}
    }
}

/// Is the value behind this name nobody's business?
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRETS.iter().any(|secret| name.contains(secret))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn secrets_are_left_out_wherever_they_stand() {
        let mut request = Command::request(3001);
        request.ext.push("topic", "T");
        request.ext.push("AccessKey", "a");
        request.ext.push("Signature", "s3cret");
        request.ext.push("long", "x".repeat(1000));
        request.body = r#"{"username":"u","password":"s3cret","more":[{"secretKey":"s3cret"}]}"#.into();
        let asked = asked(&request);
        assert!(!asked.to_string().contains("s3cret"), "{asked}");
        assert_eq!((&asked["topic"], &asked["body"]["username"]), (&json!("T"), &json!("u")));
        assert_eq!((asked.get("AccessKey"), asked["long"].as_str().unwrap().chars().count()), (None, TEXT_MAX + 1));
        request.body = "deleteWhen=04\ntlsKeyPassword=s3cret\n".into();
        assert_eq!(super::asked(&request)["body"], json!({ "deleteWhen": "04", "tlsKeyPassword": SECRET }));
        request.body = b"\0asm\x01\0\0\0".as_slice().into();
        assert_eq!(super::asked(&request)["body"], "8 bytes");
    }

    #[test]
    fn entries_are_found_by_time_name_person_and_request() {
        let entry = AuditEntry {
            at: 1000,
            user: Some("ann".into()),
            address: "10.0.0.1:5000".into(),
            what: "UPDATE_AND_CREATE_TOPIC".into(),
            asked: json!({ "topic": "T", "body": [{ "groupName": "G" }] }),
            ..AuditEntry::default()
        };
        let name = |text: &str| Some(text.to_owned());
        for (filter, wanted) in [
            (AuditFilter::default(), true),
            (AuditFilter { since: 1001, ..AuditFilter::default() }, false),
            (AuditFilter { about: name("T"), ..AuditFilter::default() }, true),
            (AuditFilter { about: name("G"), ..AuditFilter::default() }, true),
            (AuditFilter { about: name("U"), ..AuditFilter::default() }, false),
            (AuditFilter { who: name("ann"), ..AuditFilter::default() }, true),
            (AuditFilter { who: name("10.0.0.1"), ..AuditFilter::default() }, true),
            (AuditFilter { who: name("10.0.0"), ..AuditFilter::default() }, false),
            (AuditFilter { what: name("create_topic"), ..AuditFilter::default() }, true),
            (AuditFilter { what: name("delete"), ..AuditFilter::default() }, false),
        ] {
            assert_eq!(filter.matches(&entry), wanted, "{filter:?}");
        }
    }
}
