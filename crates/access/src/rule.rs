//! Rules: what may be done with which resource, and which of them decides. Pure.
//!
//! Of a user's custom rules those count that match the resource, one of the actions and the address; if none does, of the
//! default rules. Of those that count, the most specific decide: a name before a prefix, a longer prefix before a shorter one,
//! `Topic:*` before `*`. If they are several, what one of them allows and none of them denies is allowed. Where no rule counts,
//! nothing is allowed.

use crate::address::Network;
use foldhash::{HashMap, HashMapExt};
use protocol::auth::{PolicyEntryInfo, PolicyInfo};
use std::fmt;
use std::net::IpAddr;

/// What may be done; several at a time.
#[doc(alias = "Action")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Actions(u8);

/// Send.
pub const PUB: Actions = Actions(1);
/// Receive.
pub const SUB: Actions = Actions(2);
/// Make.
pub const CREATE: Actions = Actions(4);
/// Change.
pub const UPDATE: Actions = Actions(8);
/// Delete.
pub const DELETE: Actions = Actions(16);
/// Look at one.
pub const GET: Actions = Actions(32);
/// Look at all.
pub const LIST: Actions = Actions(64);
/// Everything.
pub const ALL: Actions = Actions(127);

const NAMES: [(Actions, &str); 7] = [
    (PUB, "Pub"),
    (SUB, "Sub"),
    (CREATE, "Create"),
    (UPDATE, "Update"),
    (DELETE, "Delete"),
    (GET, "Get"),
    (LIST, "List"),
];

impl Actions {
    /// These and those.
    pub const fn and(self, others: Actions) -> Actions {
        Actions(self.0 | others.0)
    }

    /// These but not those.
    pub const fn without(self, others: Actions) -> Actions {
        Actions(self.0 & !others.0)
    }

    /// Those that are in both.
    pub const fn common(self, others: Actions) -> Actions {
        Actions(self.0 & others.0)
    }

    /// None at all?
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Reads one name, in any case.
    pub fn named(name: &str) -> Option<Actions> {
        if name.eq_ignore_ascii_case("All") {
            return Some(ALL);
        }
        NAMES.iter().find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(action, _)| *action)
    }

    /// The names, `All` for everything.
    pub fn names(self) -> Vec<&'static str> {
        if self == ALL {
            return vec!["All"];
        }
        NAMES.iter().filter(|(action, _)| !self.common(*action).is_none()).map(|(_, name)| *name).collect()
    }
}

impl fmt::Display for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().join(" or "))
    }
}

/// What kind of thing.
#[doc(alias = "ResourceType")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The brokers of a cluster, and what belongs to no topic and no group.
    Cluster,
    /// Known to Apache's tools; nothing asks for it.
    Namespace,
    /// A topic.
    Topic,
    /// A consumer group.
    Group,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::Cluster, Kind::Namespace, Kind::Topic, Kind::Group];

    /// RocketMQ's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Cluster => "Cluster",
            Kind::Namespace => "Namespace",
            Kind::Topic => "Topic",
            Kind::Group => "Group",
        }
    }
}

/// Which things a rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// `Topic:name`
    Named(Kind, String),
    /// `Topic:begin*`
    Prefixed(Kind, String),
    /// `Topic:*`
    AllOf(Kind),
    /// `*`
    Everything,
}

impl Resource {
    /// Reads it as it is written. Names are as they are: case counts.
    pub fn parse(text: &str) -> Option<Resource> {
        let text = text.trim();
        if text == "*" {
            return Some(Resource::Everything);
        }
        let (kind, name) = text.split_once(':')?;
        if kind.eq_ignore_ascii_case("Any") {
            return Some(Resource::Everything);
        }
        let kind = Kind::ALL.into_iter().find(|known| known.name().eq_ignore_ascii_case(kind))?;
        match name.strip_suffix('*') {
            Some("") => Some(Resource::AllOf(kind)),
            Some(prefix) if prefix.contains('*') => None,
            Some(prefix) => Some(Resource::Prefixed(kind, prefix.to_owned())),
            None if name.is_empty() || name.contains('*') => None,
            None => Some(Resource::Named(kind, name.to_owned())),
        }
    }

    /// The higher, the more specific.
    fn rank(&self) -> usize {
        match self {
            Resource::Named(..) => usize::MAX,
            Resource::Prefixed(_, prefix) => prefix.len() + 2,
            Resource::AllOf(_) => 1,
            Resource::Everything => 0,
        }
    }

    fn matches(&self, asked: &Asked<'_>) -> bool {
        let (kind, name) = (asked.kind, asked.name);
        match self {
            Resource::Named(of, this) => *of == kind && name == this,
            Resource::Prefixed(of, prefix) => *of == kind && name.starts_with(prefix.as_str()),
            Resource::AllOf(of) => *of == kind && !asked.by_name,
            Resource::Everything => !asked.by_name,
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Resource::Named(kind, name) => write!(f, "{}:{name}", kind.name()),
            Resource::Prefixed(kind, prefix) => write!(f, "{}:{prefix}*", kind.name()),
            Resource::AllOf(kind) => write!(f, "{}:*", kind.name()),
            Resource::Everything => f.write_str("*"),
        }
    }
}

/// What someone wants to do.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// With what kind of thing.
    pub kind: Kind,
    /// Its name.
    pub name: &'a str,
    /// One of these must be allowed.
    pub actions: Actions,
    /// Only a rule that names it, or a prefix of it, reaches it: topics in which messages of other topics lie.
    pub by_name: bool,
    /// From where.
    pub address: IpAddr,
}

impl Asked<'_> {
    /// What it is about, as a rule would name it.
    pub fn resource(&self) -> String {
        format!("{}:{}", self.kind.name(), self.name)
    }
}

/// A rule.
#[doc(alias = "PolicyEntry")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What it is about.
    pub resource: Resource,
    /// What is done.
    pub actions: Actions,
    /// From where it counts; empty: everywhere.
    pub networks: Vec<Network>,
    /// It allows. Otherwise it denies.
    pub allows: bool,
}

impl Rule {
    /// A rule that counts everywhere.
    pub fn new(resource: Resource, actions: Actions, allows: bool) -> Rule {
        Rule { resource, actions, networks: Vec::new(), allows }
    }

    /// Reads a rule as tools send it. The error is Apache's sentence where Apache has one.
    pub fn read(info: &PolicyEntryInfo) -> Result<Rule, String> {
        let text = info.resource.as_deref().unwrap_or("");
        if text.trim().is_empty() {
            return Err("The resource is null.".into());
        }
        let resource = Resource::parse(text).ok_or_else(|| {
            format!(
                "The resource is null. `{}` is no resource: write Topic:name, Topic:begin*, Topic:*, Group:…, Cluster:… or *",
                text.chars().take(128).collect::<String>()
            )
        })?;
        let mut actions = Actions::default();
        for name in &info.actions {
            if name.trim().eq_ignore_ascii_case("Any") {
                return Err("The actions can not be Any.".into());
            }
            actions = actions.and(Actions::named(name.trim()).ok_or_else(|| {
                format!(
                    "unknown action `{}`; there are Pub, Sub, Create, Update, Delete, Get, List and All",
                    name.chars().take(64).collect::<String>()
                )
            })?);
        }
        if actions.is_none() {
            return Err("The actions is empty.".into());
        }
        let mut networks = Vec::new();
        for text in info.source_ips.iter().flatten() {
            if text.trim().is_empty() {
                return Err("The source ip is empty.".into());
            }
            networks.push(Network::parse(text.trim()).ok_or_else(|| {
                format!(
                    "The source ip is invalid. `{}` is neither an address nor a range like 10.0.0.0/8",
                    text.chars().take(64).collect::<String>()
                )
            })?);
        }
        let allows = match info.decision.as_deref() {
            Some(text) if text.trim().eq_ignore_ascii_case("Allow") => true,
            Some(text) if text.trim().eq_ignore_ascii_case("Deny") => false,
            _ => return Err("The decision is null or illegal.".into()),
        };
        Ok(Rule { resource, actions, networks, allows })
    }

    /// As tools show it.
    pub fn info(&self) -> PolicyEntryInfo {
        PolicyEntryInfo {
            resource: Some(self.resource.to_string()),
            actions: self.actions.names().into_iter().map(str::to_owned).collect(),
            source_ips: Some(self.networks.iter().map(Network::to_string).collect::<Vec<_>>())
                .filter(|networks| !networks.is_empty()),
            decision: Some(if self.allows { "Allow" } else { "Deny" }.to_owned()),
        }
    }

    fn counts(&self, asked: &Asked<'_>) -> bool {
        !self.actions.common(asked.actions).is_none()
            && self.resource.matches(asked)
            && (self.networks.is_empty() || self.networks.iter().any(|network| network.contains(asked.address)))
    }
}

/// Rules of one type, so that those for a name are found at once.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    named: HashMap<String, Vec<Rule>>,
    /// The most specific first.
    others: Vec<Rule>,
}

impl FromIterator<Rule> for Policy {
    fn from_iter<I: IntoIterator<Item = Rule>>(rules: I) -> Policy {
        let mut policy = Policy { named: HashMap::new(), others: Vec::new() };
        for rule in rules {
            match &rule.resource {
                Resource::Named(_, name) => policy.named.entry(name.clone()).or_default().push(rule),
                _ => policy.others.push(rule),
            }
        }
        policy.others.sort_by_key(|rule| std::cmp::Reverse(rule.resource.rank()));
        policy
    }
}

impl Policy {
    /// The rules of the most specific resource that has one that counts.
    fn deciding(&self, asked: &Asked<'_>) -> &[Rule] {
        let named = self.named.get(asked.name).filter(|rules| rules.iter().any(|rule| rule.counts(asked)));
        if let Some(named) = named {
            return named;
        }
        let Some(first) = self.others.iter().position(|rule| rule.counts(asked)) else { return &[] };
        let rank = self.others[first].resource.rank();
        let behind = self.others[first..].iter().take_while(|rule| rule.resource.rank() == rank).count();
        &self.others[first..first + behind]
    }
}

/// Which of the two types decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyType {
    /// What counts first.
    Custom,
    /// What counts where nothing else does.
    Default,
}

impl PolicyType {
    /// RocketMQ's name of it.
    pub fn name(self) -> &'static str {
        match self {
            PolicyType::Custom => "Custom",
            PolicyType::Default => "Default",
        }
    }

    /// Reads it, in any case.
    pub fn named(name: &str) -> Option<PolicyType> {
        [PolicyType::Custom, PolicyType::Default].into_iter().find(|known| known.name().eq_ignore_ascii_case(name))
    }
}

/// What a user may.
#[doc(alias = "Acl")]
#[derive(Debug, Clone, Default)]
pub struct Rights {
    custom: Policy,
    default: Policy,
}

/// How something was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision<'a> {
    /// This rule allows it.
    Allowed(PolicyType, &'a Rule),
    /// This rule denies it.
    Denied(PolicyType, &'a Rule),
    /// No rule is about it.
    NoRule,
}

impl Decision<'_> {
    /// Is it allowed?
    pub fn allows(&self) -> bool {
        matches!(self, Decision::Allowed(..))
    }
}

impl Rights {
    /// These rules.
    pub fn new(custom: impl IntoIterator<Item = Rule>, default: impl IntoIterator<Item = Rule>) -> Rights {
        Rights { custom: custom.into_iter().collect(), default: default.into_iter().collect() }
    }

    /// Reads them as tools send them.
    pub fn read(policies: &[PolicyInfo]) -> Result<Rights, String> {
        let (mut custom, mut default) = (Vec::new(), Vec::new());
        for policy in policies {
            let rules = match policy_type(policy)? {
                PolicyType::Custom => &mut custom,
                PolicyType::Default => &mut default,
            };
            for entry in &policy.entries {
                rules.push(Rule::read(entry)?);
            }
        }
        Ok(Rights::new(custom, default))
    }

    /// May this be done?
    pub fn decide(&self, asked: &Asked<'_>) -> Decision<'_> {
        for (of, policy) in [(PolicyType::Custom, &self.custom), (PolicyType::Default, &self.default)] {
            let counting = policy.deciding(asked).iter().filter(|rule| rule.counts(asked));
            let (denying, mut allowing) =
                (counting.clone().filter(|rule| !rule.allows), counting.filter(|rule| rule.allows));
            let denied = denying.clone().fold(Actions::default(), |all, rule| all.and(rule.actions));
            let allowing = allowing.find(|rule| !rule.actions.common(asked.actions).without(denied).is_none());
            match (allowing, denying.clone().next()) {
                (Some(rule), _) => return Decision::Allowed(of, rule),
                (None, Some(rule)) => return Decision::Denied(of, rule),
                (None, None) => {}
            }
        }
        Decision::NoRule
    }
}

/// The type of a policy; one that has none is custom.
pub(crate) fn policy_type(policy: &PolicyInfo) -> Result<PolicyType, String> {
    match policy.policy_type.as_deref() {
        None | Some("") => Ok(PolicyType::Custom),
        Some(name) => PolicyType::named(name).ok_or_else(|| {
            format!("unknown policy type `{}`; there are Custom and Default", name.chars().take(64).collect::<String>())
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Rule {
        let mut words = text.split_whitespace();
        let info = PolicyEntryInfo {
            decision: words.next().map(str::to_owned),
            actions: words.next().unwrap().split(',').map(str::to_owned).collect(),
            resource: words.next().map(str::to_owned),
            source_ips: words.next().map(|ips| ips.split(',').map(str::to_owned).collect()),
        };
        Rule::read(&info).unwrap()
    }

    /// What decides about `Sub Topic:orders`, asked from 10.0.0.1, in words.
    fn decided(custom: &[&str], default: &[&str], ask: &str) -> String {
        let rights = Rights::new(custom.iter().map(|text| rule(text)), default.iter().map(|text| rule(text)));
        let (actions, resource) = ask.split_once(' ').unwrap();
        let (kind, name) = match Resource::parse(resource).unwrap() {
            Resource::Named(kind, name) => (kind, name),
            other => panic!("{other}"),
        };
        let actions = actions.split(',').fold(Actions::default(), |all, name| all.and(Actions::named(name).unwrap()));
        let by_name = name.starts_with('%');
        let asked = Asked { kind, name: &name, actions, by_name, address: "10.0.0.1".parse().unwrap() };
        match rights.decide(&asked) {
            Decision::Allowed(of, rule) => format!("allowed by {} {}", of.name(), rule.resource),
            Decision::Denied(of, rule) => format!("denied by {} {}", of.name(), rule.resource),
            Decision::NoRule => "no rule".to_owned(),
        }
    }

    #[test]
    fn the_most_specific_rule_decides() {
        let rules =
            ["Deny Sub *", "Allow Sub Topic:*", "Deny Sub Topic:o*", "Allow Sub Topic:ord*", "Deny Sub Topic:orders"];
        for (count, decision) in [
            (5, "denied by Custom Topic:orders"),
            (4, "allowed by Custom Topic:ord*"),
            (3, "denied by Custom Topic:o*"),
            (2, "allowed by Custom Topic:*"),
            (1, "denied by Custom *"),
            (0, "no rule"),
        ] {
            let mut some = rules[..count].to_vec();
            assert_eq!(decided(&some, &[], "Sub Topic:orders"), decision);
            some.reverse();
            assert_eq!(decided(&some, &[], "Sub Topic:orders"), decision, "their order does not matter");
        }
    }

    #[test]
    fn default_rules_count_where_no_custom_rule_does() {
        let default = ["Allow Sub Topic:*"];
        assert_eq!(decided(&["Deny Sub Topic:o*"], &default, "Sub Topic:orders"), "denied by Custom Topic:o*");
        assert_eq!(decided(&["Deny Pub Topic:orders"], &default, "Sub Topic:orders"), "allowed by Default Topic:*");
        assert_eq!(decided(&[], &default, "Sub Topic:orders"), "allowed by Default Topic:*");
        assert_eq!(decided(&[], &default, "Sub Group:orders"), "no rule");
    }

    #[test]
    fn of_rules_for_the_same_a_denial_takes_away_its_own_actions_only() {
        let rules = ["Allow Sub Topic:orders", "Deny Pub Topic:orders"];
        assert_eq!(decided(&rules, &[], "Sub Topic:orders"), "allowed by Custom Topic:orders");
        assert_eq!(decided(&rules, &[], "Pub,Sub,Get Topic:orders"), "allowed by Custom Topic:orders");
        assert_eq!(decided(&rules, &[], "Pub Topic:orders"), "denied by Custom Topic:orders");
        let both = ["Allow All Topic:orders", "Deny Sub Topic:orders"];
        assert_eq!(decided(&both, &[], "Sub Topic:orders"), "denied by Custom Topic:orders");
    }

    #[test]
    fn names_are_compared_letter_by_letter_and_kinds_are_kept_apart() {
        for other in
            ["Sub Topic:Orders", "Sub Topic:orders2", "Sub Topic:order", "Sub Group:orders", "Pub Topic:orders"]
        {
            assert_eq!(decided(&["Allow Sub Topic:orders"], &[], other), "no rule", "{other}");
        }
    }

    #[test]
    fn rules_count_from_their_addresses_only() {
        assert_eq!(decided(&["Allow Sub Topic:* 10.0.0.0/8"], &[], "Sub Topic:a"), "allowed by Custom Topic:*");
        assert_eq!(decided(&["Allow Sub Topic:* 11.0.0.0/8,::1"], &[], "Sub Topic:a"), "no rule");
    }

    #[test]
    fn topics_with_the_messages_of_others_are_reached_by_name_only() {
        let asked = "Sub Topic:%DLQ%g";
        assert_eq!(decided(&["Allow All Topic:*", "Allow All *"], &[], asked), "no rule");
        assert_eq!(decided(&["Allow Sub Topic:%DLQ%g"], &[], asked), "allowed by Custom Topic:%DLQ%g");
        assert_eq!(decided(&["Allow Sub Topic:%DLQ%*"], &[], asked), "allowed by Custom Topic:%DLQ%*");
    }

    #[test]
    fn a_rule_for_a_cluster_is_for_no_other() {
        assert_eq!(decided(&["Allow Get Cluster:c1"], &[], "Get Cluster:c1"), "allowed by Custom Cluster:c1");
        assert_eq!(decided(&["Allow Get Cluster:c1"], &[], "Get Cluster:c2"), "no rule");
        assert_eq!(decided(&["Allow Get Topic:c1"], &[], "Get Cluster:c1"), "no rule");
    }

    #[test]
    fn what_is_read_is_shown_as_it_was_and_what_is_wrong_is_named() {
        for text in ["Allow Pub,Sub Topic:a 10.0.0.0/8,::1", "Deny All *", "Allow List Cluster:*", "Deny Get Group:a*"]
        {
            let read = rule(text);
            assert_eq!(Rule::read(&read.info()), Ok(read));
        }
        let read = |resource: &str, action: &str, ip: Option<&str>, decision: &str| {
            Rule::read(&PolicyEntryInfo {
                resource: Some(resource.into()),
                actions: vec![action.into()],
                source_ips: ip.map(|ip| vec![ip.into()]),
                decision: Some(decision.into()),
            })
        };
        assert!(read("", "Pub", None, "Allow").unwrap_err().starts_with("The resource is null."));
        for bad in ["Topic", "Topic:", "Queue:a", "Topic:a*b", "Topic:*a", "Topic:**"] {
            assert!(read(bad, "Pub", None, "Allow").unwrap_err().contains(bad), "{bad}");
        }
        assert_eq!(read("Topic:a", "Any", None, "Allow").unwrap_err(), "The actions can not be Any.");
        assert!(read("Topic:a", "Publish", None, "Allow").unwrap_err().contains("`Publish`"));
        assert!(read("Topic:a", "Pub", Some("10.0.0"), "Allow").unwrap_err().contains("The source ip is invalid."));
        assert_eq!(read("Topic:a", "Pub", None, "Maybe").unwrap_err(), "The decision is null or illegal.");
    }
}
