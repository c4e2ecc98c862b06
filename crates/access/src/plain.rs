//! `plain_acl.yml` and the files in the directory `acl` beside it: Apache's access control of 4.4 to 5.3.2. Pure.
//!
//! An account becomes a user with rules:
//!
//! | account | rules |
//! |---|---|
//! | `topicPerms: [a=SUB]` | allows Sub on `Topic:a`, denies all else there: a default does not add to it |
//! | `groupPerms: [g=SUB]` | the same on `Group:g` |
//! | `defaultTopicPerm: PUB` | allows Pub on `Topic:*`, where the topic is not named |
//! | `admin: true`, with no permissions listed | everything |
//! | `admin: true`, with some listed | everything but Pub and Sub, which are as listed |
//! | always | Pub on the topic of message traces |

use crate::address::Pattern;
use crate::rule::{ALL, Actions, Kind, PUB, Resource, Rights, Rule, SUB};
use protocol::auth::PlainAccessConfig;
use protocol::nearest::nearest;
use protocol::topic::{DataVersion, TRACE_TOPIC};
use remoting::Credentials;
use serde::Deserialize;
use std::path::Path;
use yaml_serde::{Mapping, Value};

/// Names and secrets are longer than this.
const KEY_LENGTH_MIN: usize = 6;

/// Why a file can't be used, with its line where that is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}{}: {reason}", line.map(|line| format!(":{line}")).unwrap_or_default())]
pub struct BadFile {
    /// The file.
    pub path: String,
    /// The line, from 1.
    pub line: Option<usize>,
    /// What is wrong.
    pub reason: String,
}

/// What a file says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PlainFile {
    /// Addresses from which everything is allowed, as they are written.
    pub white_addresses: Vec<String>,
    /// The same, read.
    pub white: Vec<Pattern>,
    /// The accounts.
    pub accounts: Vec<PlainAccessConfig>,
    /// How often it was changed by tools.
    pub version: DataVersion,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Yaml {
    global_white_remote_addresses: Option<Vec<String>>,
    accounts: Option<Vec<PlainAccessConfig>>,
    data_version: Option<Vec<YamlVersion>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct YamlVersion {
    state_version: i64,
    timestamp: i64,
    counter: i64,
}

/// What a file is called that is no YAML, or has other keys. What the error quotes may be a secret that stands where it does not
/// belong: so only what looks like a key is said.
fn unreadable(error: &yaml_serde::Error) -> String {
    const KEYS: [&str; 16] = [
        "globalWhiteRemoteAddresses",
        "accounts",
        "dataVersion",
        "stateVersion",
        "timestamp",
        "counter",
        "accessKey",
        "secretKey",
        "securityToken",
        "whiteRemoteAddress",
        "admin",
        "defaultTopicPerm",
        "defaultGroupPerm",
        "topicPerms",
        "groupPerms",
        "null",
    ];
    let is_key =
        |text: &str| text.chars().all(|c| c.is_ascii_alphabetic()) && nearest(text, KEYS.into_iter()).is_some();
    let text = error.to_string();
    let (mut said, mut rest) = (String::from("can't be read: "), text.as_str());
    while let Some(open) = rest.find(['`', '"']) {
        let (quote, quoted) = (&rest[open..=open], &rest[open + 1..]);
        said.push_str(&rest[..=open]);
        // What is quoted may have quotes in it: then it goes to the end.
        let Some(close) = quoted.find(quote).filter(|close| is_key(&quoted[..*close])) else { return said + "…" };
        said.push_str(&quoted[..=close]);
        rest = &quoted[close + 1..];
    }
    said + rest
}

impl PlainFile {
    /// Reads the text of a file; `path` is for messages only. An empty file has nobody.
    pub fn read(path: &Path, text: &str) -> Result<PlainFile, BadFile> {
        let bad = |line, reason| BadFile { path: path.display().to_string(), line, reason };
        let yaml: Option<Yaml> = yaml_serde::from_str(text)
            .map_err(|error| bad(error.location().map(|at| at.line()), unreadable(&error)))?;
        let yaml = yaml.unwrap_or_default();
        let version = yaml.data_version.unwrap_or_default().into_iter().next().unwrap_or_default();
        let mut file = PlainFile {
            version: DataVersion {
                state_version: version.state_version,
                timestamp: version.timestamp,
                counter: version.counter,
            },
            ..PlainFile::default()
        };
        for address in yaml.global_white_remote_addresses.unwrap_or_default() {
            let pattern = Pattern::parse(&address)
                .map_err(|why| bad(line_of(text, &address), format!("globalWhiteRemoteAddresses: {why}")))?;
            file.white.push(pattern);
            file.white_addresses.push(address);
        }
        for account in yaml.accounts.unwrap_or_default() {
            let line = line_of(text, &account.access_key);
            rights(&account).map_err(|why| bad(line, why))?;
            file.accounts.push(account);
        }
        Ok(file)
    }
}

/// Reads `conf/tools.yml`, in which tools find as whom to ask.
pub fn tools_credentials(text: &str) -> Result<Option<Credentials>, String> {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Tools {
        access_key: Option<Value>,
        secret_key: Option<Value>,
    }
    let tools: Option<Tools> = yaml_serde::from_str(text).map_err(|error| unreadable(&error))?;
    let text = |value: Option<Value>| match value {
        Some(Value::String(text)) => Some(text).filter(|text| !text.trim().is_empty()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let Tools { access_key, secret_key } = tools.unwrap_or_default();
    Ok(text(access_key).zip(text(secret_key)).map(|(access, secret)| Credentials::new(&access, &secret)))
}

/// The first line with this text, which a person looks for there.
fn line_of(text: &str, what: &str) -> Option<usize> {
    Some(text.lines().position(|line| !what.is_empty() && line.contains(what))? + 1)
}

/// What an account may; `true`: everything.
pub type AccountRights = (bool, Rights, Pattern);

/// Checks an account, and says what it may. The error never has the secret in it.
pub fn rights(account: &PlainAccessConfig) -> Result<AccountRights, String> {
    let name: String = account.access_key.chars().take(64).collect();
    if account.access_key.chars().count() <= KEY_LENGTH_MIN || account.secret_key.chars().count() <= KEY_LENGTH_MIN {
        return Err(format!(
            "The accessKey={name} and its secretKey cannot be null and length should longer than {KEY_LENGTH_MIN}"
        ));
    }
    let white = Pattern::parse(&account.white_remote_address)
        .map_err(|why| format!("account {name}: whiteRemoteAddress: {why}"))?;
    let (mut custom, mut default) = (Vec::new(), Vec::new());
    // What a permission leaves out is denied; but an admin creates and changes what it likes.
    let named = if account.admin { PUB.and(SUB) } else { ALL };
    for (kind, key, perms) in
        [(Kind::Topic, "topicPerms", &account.topic_perms), (Kind::Group, "groupPerms", &account.group_perms)]
    {
        for text in perms {
            let (resource, actions) = named_perm(kind, text).map_err(|why| format!("account {name}: {key}: {why}"))?;
            if !actions.is_none() {
                custom.push(Rule::new(resource.clone(), actions, true));
            }
            custom.push(Rule::new(resource, named.without(actions), false));
        }
    }
    for (kind, key, perm) in [
        (Kind::Topic, "defaultTopicPerm", &account.default_topic_perm),
        (Kind::Group, "defaultGroupPerm", &account.default_group_perm),
    ] {
        let actions = perm_of(perm).map_err(|why| format!("account {name}: {key}: {why}"))?;
        if !actions.is_none() {
            default.push(Rule::new(Resource::AllOf(kind), actions, true));
        }
    }
    let everything = account.admin && custom.is_empty();
    if account.admin {
        default.push(Rule::new(Resource::Everything, ALL.without(PUB.and(SUB)), true));
    }
    let trace = Resource::Named(Kind::Topic, TRACE_TOPIC.to_owned());
    if !custom.iter().any(|rule: &Rule| rule.resource == trace) {
        custom.push(Rule::new(trace, PUB, true));
    }
    Ok((everything, Rights::new(custom, default), white))
}

/// `name=PERM`
fn named_perm(kind: Kind, text: &str) -> Result<(Resource, Actions), String> {
    let parts: Vec<&str> = text.split('=').filter(|part| !part.is_empty()).collect();
    let [name, perm] = parts[..] else {
        return Err(format!("`{}` is not like name=PERM", text.chars().take(128).collect::<String>()));
    };
    Ok((Resource::Named(kind, name.trim().to_owned()), perm_of(perm)?))
}

/// What `PUB|SUB` means. `ANY`, which stands in old manuals, allows nothing with Apache's brokers either.
fn perm_of(text: &str) -> Result<Actions, String> {
    match text.trim() {
        "PUB" => Ok(PUB),
        "SUB" => Ok(SUB),
        "PUB|SUB" | "SUB|PUB" => Ok(PUB.and(SUB)),
        "DENY" | "ANY" | "" => Ok(Actions::default()),
        other => Err(format!(
            "unknown permission `{}`; there are DENY, PUB, SUB and PUB|SUB",
            other.chars().take(64).collect::<String>()
        )),
    }
}

/// What tools change in a file. All that they do not change stays; comments do not, as with Apache's brokers.
pub enum Edit<'a> {
    /// This account is as given; what is absent stays as it was.
    Account(&'a AccountChange),
    /// This account is not there any more.
    Remove(&'a str),
    /// These addresses are trusted.
    White(&'a [String]),
}

/// What changes in an account.
#[derive(Default)]
pub struct AccountChange {
    /// The name.
    pub access_key: String,
    /// The secret.
    pub secret_key: String,
    /// Absent: as it was.
    pub white_remote_address: Option<String>,
    /// Is always said.
    pub admin: bool,
    /// Absent or empty: as it was.
    pub default_topic_perm: Option<String>,
    /// Absent or empty: as it was.
    pub default_group_perm: Option<String>,
    /// Absent: as they were.
    pub topic_perms: Option<Vec<String>>,
    /// Absent: as they were.
    pub group_perms: Option<Vec<String>>,
}

/// The text of a file behind a change, one version on at `now`, in milliseconds since 1970.
pub fn edit(path: &Path, text: &str, change: &Edit<'_>, now: i64) -> Result<String, BadFile> {
    let bad = |reason: String| BadFile { path: path.display().to_string(), line: None, reason };
    let before = PlainFile::read(path, text)?;
    let read: Option<Mapping> = yaml_serde::from_str(text).map_err(|error| bad(unreadable(&error)))?;
    let mut yaml = read.unwrap_or_default();
    let texts = |texts: &[String]| Value::Sequence(texts.iter().map(|text| text.as_str().into()).collect());
    match change {
        Edit::White(addresses) => _ = yaml.insert("globalWhiteRemoteAddresses".into(), texts(addresses)),
        Edit::Account(_) | Edit::Remove(_) => {
            let name = match change {
                Edit::Account(account) => account.access_key.as_str(),
                Edit::Remove(name) => name,
                Edit::White(_) => "",
            };
            let mut accounts = match yaml.remove("accounts") {
                Some(Value::Sequence(accounts)) => accounts,
                _ => Vec::new(),
            };
            let is_it = |account: &Value| {
                account.get("accessKey").is_some_and(|key| match key {
                    Value::String(key) => key == name,
                    Value::Number(key) => key.to_string() == name,
                    _ => false,
                })
            };
            let at = accounts.iter().position(is_it);
            let old = at.map(|at| accounts.remove(at));
            if let Edit::Account(account) = change {
                let mut new = match old {
                    Some(Value::Mapping(old)) => old,
                    _ => Mapping::new(),
                };
                let mut put = |key: &str, value: Value| _ = new.insert(key.into(), value);
                put("accessKey", name.into());
                put("secretKey", account.secret_key.as_str().into());
                if let Some(white) = &account.white_remote_address {
                    put("whiteRemoteAddress", white.as_str().into());
                }
                put("admin", account.admin.into());
                for (key, perm) in [
                    ("defaultTopicPerm", &account.default_topic_perm),
                    ("defaultGroupPerm", &account.default_group_perm),
                ] {
                    if let Some(perm) = perm.as_deref().filter(|perm| !perm.is_empty()) {
                        put(key, perm.into());
                    }
                }
                for (key, perms) in [("topicPerms", &account.topic_perms), ("groupPerms", &account.group_perms)] {
                    if let Some(perms) = perms {
                        put(key, texts(perms));
                    }
                }
                accounts.push(Value::Mapping(new));
            }
            yaml.insert("accounts".into(), Value::Sequence(accounts));
        }
    }
    let mut version = Mapping::new();
    version.insert("counter".into(), before.version.counter.saturating_add(1).into());
    version.insert("timestamp".into(), now.into());
    yaml.insert("dataVersion".into(), Value::Sequence(vec![Value::Mapping(version)]));
    let text = yaml_serde::to_string(&yaml).map_err(|error| bad(format!("can't be written: {error}")))?;
    // What could not be read the next time is not written.
    PlainFile::read(path, &text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::{Asked, GET, UPDATE};

    const APACHES: &str = r#"
globalWhiteRemoteAddresses:
- 10.10.103.*
- 192.168.0.*

accounts:
- accessKey: RocketMQ
  secretKey: 12345678
  whiteRemoteAddress:
  admin: false
  defaultTopicPerm: DENY
  defaultGroupPerm: SUB
  topicPerms:
  - topicA=DENY
  - topicB=PUB|SUB
  - topicC=SUB
  groupPerms:
  # the group should convert to retry topic
  - groupA=DENY
  - groupB=PUB|SUB
  - groupC=SUB

- accessKey: rocketmq2
  secretKey: 12345678
  whiteRemoteAddress: 192.168.1.*
  # if it is admin, it could access all resources
  admin: true
"#;

    fn read(text: &str) -> Result<PlainFile, BadFile> {
        PlainFile::read(Path::new("plain_acl.yml"), text)
    }

    fn may(account: &PlainAccessConfig, actions: Actions, kind: Kind, name: &str) -> bool {
        let (everything, rights, _) = rights(account).unwrap();
        let asked = Asked { kind, name, actions, by_name: false, address: "127.0.0.1".parse().unwrap() };
        everything || rights.decide(&asked).allows()
    }

    #[test]
    fn apaches_example_means_what_it_says() {
        let file = read(APACHES).unwrap();
        assert_eq!(file.white_addresses, ["10.10.103.*", "192.168.0.*"]);
        let [user, admin] = &file.accounts[..] else { panic!("{file:?}") };
        assert_eq!((user.access_key.as_str(), user.secret_key.as_str()), ("RocketMQ", "12345678"));
        for (name, publishes, subscribes) in
            [("topicA", false, false), ("topicB", true, true), ("topicC", false, true), ("topicD", false, false)]
        {
            assert_eq!(may(user, PUB, Kind::Topic, name), publishes, "{name}");
            assert_eq!(may(user, SUB, Kind::Topic, name), subscribes, "{name}");
            assert_eq!(may(user, PUB.and(SUB).and(GET), Kind::Topic, name), publishes || subscribes, "{name}");
            assert!(!may(user, UPDATE, Kind::Topic, name));
        }
        for (name, subscribes) in [("groupA", false), ("groupB", true), ("groupC", true), ("groupD", true)] {
            assert_eq!(may(user, SUB, Kind::Group, name), subscribes, "{name}");
        }
        assert!(may(user, PUB, Kind::Topic, TRACE_TOPIC) && !may(user, SUB, Kind::Topic, TRACE_TOPIC));
        assert!(!may(user, UPDATE, Kind::Cluster, "c") && may(admin, UPDATE, Kind::Cluster, "c"));
        assert!(may(admin, SUB, Kind::Topic, "any"));
        assert!(rights(admin).unwrap().2.contains("192.168.1.7".parse().unwrap()));
    }

    #[test]
    fn a_named_permission_is_not_added_to_by_the_default() {
        let account = PlainAccessConfig {
            access_key: "1234567".into(),
            secret_key: "1234567".into(),
            default_topic_perm: "PUB|SUB".into(),
            topic_perms: vec!["only = SUB".into(), "none=DENY".into()],
            admin: true,
            ..PlainAccessConfig::default()
        };
        assert!(may(&account, SUB, Kind::Topic, "only") && !may(&account, PUB, Kind::Topic, "only"));
        assert!(!may(&account, SUB, Kind::Topic, "none") && may(&account, PUB, Kind::Topic, "other"));
        assert!(!may(&account, SUB, Kind::Group, "g"), "an admin with permissions listed has these");
        assert!(may(&account, UPDATE, Kind::Cluster, "c") && may(&account, UPDATE, Kind::Topic, "none"));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_never_the_secret() {
        let account = |line: &str| format!("accounts:\n- accessKey: accessKey1\n  secretKey: topSecret1\n  {line}\n");
        for (text, line, reason) in [
            (account("topicPerms: [a]"), 2, "`a` is not like name=PERM"),
            (account("topicPerms: [a=PUBB]"), 2, "unknown permission `PUBB`"),
            (account("defaultTopicPerm: ALL"), 2, "unknown permission `ALL`"),
            (account("whiteRemoteAddress: 1.2.3"), 2, "`1.2.3` is no address"),
            (account("topicPrems: [a=PUB]"), 4, "unknown field `topicPrems`"),
            ("accounts:\n- accessKey: short\n  secretKey: topSecret1".into(), 2, "longer than 6"),
            ("accounts:\n\n- accessKey: [\n".into(), 4, "can't be read"),
            ("globalWhiteRemoteAddresses:\n- here\n".into(), 2, "`here` is no address"),
            ("accounts: 7".into(), 1, "can't be read"),
            ("accounts:\n- accessKey: accessKey1\n  secretKey:topSecret1:\n".into(), 2, "unknown field `…"),
            ("accounts: \"topSecret1\"".into(), 1, "can't be read"),
            ("accounts: \"top\\\"topSecret1\"".into(), 1, "can't be read"),
            ("accounts: \"a`topSecret1`b\"".into(), 1, "can't be read"),
        ] {
            let bad = read(&text).unwrap_err();
            assert!(bad.reason.contains(reason) && !bad.to_string().contains("topSecret"), "{text}: {bad}");
            assert!(bad.line.is_some_and(|at| at.abs_diff(line) <= 1), "{text}: {bad}");
        }
    }

    #[test]
    fn tools_find_as_whom_to_ask() {
        let read = |text: &str| tools_credentials(text).unwrap().map(|it| it.secret_key().to_owned());
        assert_eq!(read("accessKey: rocketmq2\nsecretKey: 12345678\n").as_deref(), Some("12345678"));
        assert_eq!(read("accessKey: rocketmq2\nsecretKey:\n"), None);
        assert_eq!(read(""), None);
        assert!(tools_credentials("accessKey: [").is_err());
    }

    #[test]
    fn an_empty_file_has_nobody() {
        for empty in ["", "# nothing\n", "accounts:\n", "---\n", "globalWhiteRemoteAddresses: []"] {
            assert_eq!(read(empty).unwrap(), PlainFile::default(), "{empty}");
        }
    }

    #[test]
    fn tools_change_accounts_and_addresses_and_nothing_else() {
        let path = Path::new("plain_acl.yml");
        let change = AccountChange {
            access_key: "RocketMQ".into(),
            secret_key: "87654321".into(),
            topic_perms: Some(vec!["topicZ=PUB".into()]),
            ..AccountChange::default()
        };
        let text = edit(path, APACHES, &Edit::Account(&change), 7).unwrap();
        let file = read(&text).unwrap();
        let changed = file.accounts.iter().find(|account| account.access_key == "RocketMQ").unwrap();
        assert_eq!(
            (changed.secret_key.as_str(), &changed.topic_perms[..]),
            ("87654321", &["topicZ=PUB".to_owned()][..])
        );
        assert_eq!((changed.default_group_perm.as_str(), changed.group_perms.len()), ("SUB", 3));
        assert_eq!((file.version.counter, file.version.timestamp, file.white.len()), (1, 7, 2));

        let text = edit(path, &text, &Edit::White(&["1.2.3.4".into()]), 8).unwrap();
        let text = edit(path, &text, &Edit::Remove("RocketMQ"), 9).unwrap();
        let file = read(&text).unwrap();
        assert_eq!(file.accounts.iter().map(|account| account.access_key.as_str()).collect::<Vec<_>>(), ["rocketmq2"]);
        assert_eq!((file.version.counter, file.white_addresses), (3, vec!["1.2.3.4".to_owned()]));

        let short = AccountChange { access_key: "a".into(), ..AccountChange::default() };
        assert!(edit(path, "", &Edit::Account(&short), 1).is_err());
        assert!(read(&edit(path, "", &Edit::Account(&change), 1).unwrap()).unwrap().accounts.len() == 1);
    }
}
