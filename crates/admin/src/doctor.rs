//! What is wrong with a cluster: two looks at its state, a while apart, and what they tell.
//!
//! [`look`] asks and judges nothing; [`judge`] is pure. A finding says what it is about, since when if that is known, and
//! holds the facts; sentences are for who shows them.

use crate::{Admin, Error, ErrorKind, broker, connection, consumer, dead_letters, export, topic, transaction};
use protocol::group::GroupConflicts;
use protocol::request::group::GetGroupConflicts;
use protocol::request::route::GetClusterInfo;
use protocol::route::ClusterInfo;
use protocol::topic::{DLQ_PREFIX, PERM_WRITE, RETRY_PREFIX, SELF_TEST_TOPIC, SYSTEM_PREFIX};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// When something counts as wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A group that has fewer messages to do does not lag.
    pub lag: i64,
    /// Clocks that differ by no more milliseconds agree. Brokers tell theirs in seconds.
    pub skew_millis: i64,
    /// A transaction is to end within so many milliseconds.
    pub transaction_millis: i64,
    /// A certificate is to be good for so many milliseconds more.
    pub certificate_millis: i64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { lag: 1000, skew_millis: 5000, transaction_millis: 600_000, certificate_millis: 30 * 24 * 3_600_000 }
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// Messages are refused, or not delivered as they should be.
    Critical,
    /// It will come to that.
    Warning,
    /// Somebody should know.
    Note,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Since when, milliseconds since 1970, if that is known.
    pub since: Option<i64>,
    /// What it is.
    #[serde(flatten)]
    pub what: What,
}

/// What is wrong, and with what.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[allow(missing_docs)] // a field is named as what it holds
pub enum What {
    /// A name server does not answer.
    NameServerSilent { name_server: String, error: String },
    /// A name server does not know a broker that another one knows.
    BrokerNotListed { broker: String, address: String, name_server: String },
    /// Clients are told this address, and nobody answers there.
    BrokerUnreachable { broker: String, address: String, error: String },
    /// A broker's clock and ours differ; positive: it is ahead.
    ClockSkew { broker: String, millis: i64 },
    /// A server's certificate ends soon, or has ended; milliseconds since 1970.
    CertificateExpires { broker: String, at: i64 },
    /// The disk is fuller than it should be; percents.
    DiskFull { broker: String, used: i64, limit: i64 },
    /// `brokerPermission` forbids to write.
    WritesForbidden { broker: String, permission: String },
    /// The name servers send nobody to it: `wipeWritePerm`.
    WritesWiped { broker: String },
    /// Members of a group differ in what must be alike.
    Conflict { group: String, differs: String, values: BTreeMap<String, Vec<String>> },
    /// Several clients of a group have one id.
    ClientClash { group: String, client_id: String, addresses: Vec<String> },
    /// Members are online, messages wait, and the offset does not move.
    QueueStuck { group: String, topic: String, broker: String, queue_id: i32, offset: i64, lag: i64 },
    /// A group does less than there comes.
    LagGrows { group: String, before: i64, now: i64 },
    /// Messages wait for a group that has no members.
    NobodyConsumes { group: String, lag: i64 },
    /// A topic grows, and no group consumes it.
    NoGroup { topic: String, messages: i64, more: i64 },
    /// A group gave messages up.
    DeadLetters { group: String, letters: i64 },
    /// Transactions wait for their end for too long.
    TransactionsOpen { broker: String, count: usize },
    /// Nobody could say how these transactions ended.
    TransactionsParked { broker: String, count: usize },
}

/// One look at a cluster.
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// When, milliseconds since 1970.
    pub at: i64,
    /// Name server → the addresses that it knows, or why it does not answer.
    pub name_servers: BTreeMap<String, Result<BTreeSet<String>, String>>,
    /// The masters.
    pub brokers: Vec<BrokerLook>,
    /// Broker names that nobody is sent to.
    pub wiped: BTreeSet<String>,
    /// The groups.
    pub groups: Vec<GroupLook>,
    /// What differs among members of groups.
    pub conflicts: GroupConflicts,
    /// Topics that no group consumes → how many messages they ever had.
    pub unconsumed: BTreeMap<String, TopicLook>,
    /// The groups that have dead letters which nobody has looked at.
    pub dead: Vec<DeadLook>,
}

/// A topic that nobody consumes.
#[derive(Debug, Clone, Copy, Default)]
pub struct TopicLook {
    /// Messages that are there.
    pub messages: i64,
    /// Messages that were ever stored.
    pub stored: i64,
}

/// Dead letters of a group.
#[derive(Debug, Clone, Default)]
pub struct DeadLook {
    /// The group.
    pub group: String,
    /// How many nobody did anything about.
    pub open: i64,
    /// When the first of these died, milliseconds since 1970.
    pub since: Option<i64>,
}

/// A broker, as it was seen.
#[derive(Debug, Clone, Default)]
pub struct BrokerLook {
    /// Its name.
    pub name: String,
    /// Where clients are told it is.
    pub address: String,
    /// Why it does not answer.
    pub error: Option<String>,
    /// When it was asked, milliseconds since 1970: the middle of the time that the answer took.
    pub asked_at: i64,
    /// How long that was, milliseconds.
    pub took: i64,
    /// How it is.
    pub status: BTreeMap<String, String>,
    /// How it is set.
    pub config: BTreeMap<String, String>,
    /// When the transactions that are open began, milliseconds since 1970.
    pub open: Vec<i64>,
    /// When those that were given up began.
    pub parked: Vec<i64>,
}

/// A group, as it was seen.
#[derive(Debug, Clone, Default)]
pub struct GroupLook {
    /// Its name.
    pub name: String,
    /// Ids of its members.
    pub members: Vec<String>,
    /// How far it is.
    pub progress: consumer::Progress,
}

/// So many transactions are looked at.
const TRANSACTIONS_MAX: i32 = 1000;

/// So many dead letters of a group are looked at: the oldest that is open tells since when.
const LETTERS_MAX: usize = 10_000;

/// Looks at everything. Fails only when no name server answers.
pub async fn look(admin: &Admin) -> Result<Look, Error> {
    let mut look = Look { at: crate::now_millis(), ..Look::default() };
    let mut masters: BTreeMap<String, String> = BTreeMap::new();
    let mut silent = None;
    for name_server in admin.name_servers() {
        let told = match admin.ask_for::<ClusterInfo>(name_server, &GetClusterInfo {}).await {
            Ok(info) => {
                let found = info
                    .broker_addr_table
                    .into_values()
                    .filter_map(|mut it| Some((it.broker_addrs.remove(&0)?, it.broker_name)));
                let found: Vec<_> = found.collect();
                masters.extend(found.clone());
                Ok(found.into_iter().map(|(address, _)| address).collect())
            }
            Err(error) => {
                let told = Err(error.to_string());
                silent = Some(error);
                told
            }
        };
        look.name_servers.insert(name_server.clone(), told);
    }
    match silent {
        Some(silent) if look.name_servers.values().all(Result::is_err) => return Err(silent),
        _ => {}
    }
    for (address, name) in masters {
        look.brokers.push(look_at_broker(admin, name, address).await);
    }
    let answers: Vec<&BrokerLook> = look.brokers.iter().filter(|broker| broker.error.is_none()).collect();
    if let Ok(route) = topic::route(admin, SELF_TEST_TOPIC).await {
        let queues = route.queue_datas.into_iter().filter(|queues| queues.perm & PERM_WRITE == 0);
        look.wiped = queues.map(|queues| queues.broker_name).collect();
    }
    let mut groups = BTreeSet::new();
    let mut knows_conflicts = !answers.is_empty();
    for broker in &answers {
        let found = consumer::configs(admin, &broker.address).await?;
        groups.extend(found.into_keys().filter(|group| !export::is_system_group(group)));
        match admin.ask_for::<GroupConflicts>(&broker.address, &GetGroupConflicts::default()).await {
            Ok(mut found) => look.conflicts.groups.append(&mut found.groups),
            Err(_) => knows_conflicts = false,
        }
    }
    for name in groups {
        let members = or_nothing(connection::members(admin, &name).await)?;
        if !knows_conflicts && members.len() > 1 {
            look.conflicts.groups.extend(differences(admin, &name, &members).await);
        }
        let progress = or_nothing(consumer::progress(admin, &name, None, false).await)?;
        let members = members.into_iter().map(|member| member.client_id).collect();
        look.groups.push(GroupLook { name, members, progress });
    }
    look_at_topics(admin, &mut look).await?;
    Ok(look)
}

/// That nobody is there is told by a refusal. Without an answer, nothing is known, and nothing must be said.
fn or_nothing<T: Default>(found: Result<T, Error>) -> Result<T, Error> {
    found.or_else(|error| if error.kind() == ErrorKind::NotReached { Err(error) } else { Ok(T::default()) })
}

async fn look_at_broker(admin: &Admin, name: String, address: String) -> BrokerLook {
    let mut it = BrokerLook { name, address, asked_at: crate::now_millis(), ..BrokerLook::default() };
    match broker::status(admin, &it.address).await {
        Ok(status) => it.status = status,
        Err(error) => {
            it.error = Some(error.to_string());
            return it;
        }
    }
    // Half of the way there and back lies before the answer.
    it.took = crate::now_millis() - it.asked_at;
    it.asked_at += it.took / 2;
    it.config = broker::config(admin, &it.address).await.unwrap_or_default();
    let born = |found: Result<Vec<protocol::request::transaction::OpenTransaction>, Error>| {
        found.unwrap_or_default().into_iter().map(|transaction| transaction.born).collect::<Vec<_>>()
    };
    it.open = born(transaction::open(admin, &it.address, 0, TRANSACTIONS_MAX).await);
    it.parked = born(transaction::parked(admin, &it.address, 0, TRANSACTIONS_MAX).await);
    it
}

/// Apache's brokers do not know what differs, so the members are asked.
async fn differences(
    admin: &Admin,
    group: &str,
    members: &[connection::Member],
) -> Option<protocol::group::GroupConflict> {
    let mut topics: BTreeMap<String, BTreeMap<String, Vec<String>>> = BTreeMap::new();
    let mut told = 0;
    for member in members {
        let Ok(running) = connection::running(admin, &member.broker, group, &member.client_id, false).await else {
            continue;
        };
        told += 1;
        for (topic, expression) in running.subscriptions {
            topics.entry(topic).or_default().entry(expression).or_default().push(member.client_id.clone());
        }
    }
    let mut conflict = protocol::group::GroupConflict { group: group.to_owned(), ..Default::default() };
    for (topic, mut values) in topics {
        let subscribed: usize = values.values().map(Vec::len).sum();
        if subscribed < told {
            let with: BTreeSet<&String> = values.values().flatten().collect();
            let without = members.iter().map(|member| &member.client_id).filter(|id| !with.contains(id));
            let without: Vec<String> = without.cloned().collect();
            values.insert(String::new(), without);
        }
        if values.len() > 1 {
            conflict
                .differences
                .push(protocol::group::Difference { what: format!("subscription of topic {topic}"), values });
        }
    }
    Some(conflict).filter(|conflict| !conflict.differences.is_empty())
}

async fn look_at_topics(admin: &Admin, look: &mut Look) -> Result<(), Error> {
    let mut system: BTreeSet<String> = BTreeSet::new();
    for broker in look.brokers.iter().filter(|broker| broker.error.is_none()) {
        system.extend(topic::system_topics(admin, &broker.address).await.unwrap_or_default());
        // Topics of brokers and clusters are named after them.
        system.extend(broker.config.get("brokerClusterName").cloned());
    }
    for name in topic::list(admin).await? {
        if name.starts_with(RETRY_PREFIX) || name == dead_letters::MARKS_TOPIC || system.contains(&name) {
            continue;
        }
        // Reachable or not: a topic that can't be looked at is a broker that can't.
        let Ok(status) = topic::status(admin, &name).await else { continue };
        if let Some(group) = name.strip_prefix(DLQ_PREFIX) {
            if status.messages() > 0 {
                look.dead.extend(open_letters(admin, group).await?);
            }
            continue;
        }
        let is_own = name.starts_with(SYSTEM_PREFIX) || name.ends_with("_REPLY_TOPIC");
        if is_own || !consumer::of_topic(admin, &name).await.unwrap_or_default().is_empty() {
            continue;
        }
        let stored = status.queues.iter().map(|queue| queue.max_offset).sum();
        look.unconsumed.insert(name, TopicLook { messages: status.messages(), stored });
    }
    Ok(())
}

async fn open_letters(admin: &Admin, group: &str) -> Result<Option<DeadLook>, Error> {
    let selection = dead_letters::Selection {
        groups: vec![group.to_owned()],
        max: Some(LETTERS_MAX),
        ..dead_letters::Selection::default()
    };
    let mut reader = dead_letters::Reader::new(admin, selection).await?;
    let mut dead = DeadLook { group: group.to_owned(), ..DeadLook::default() };
    loop {
        match reader.next().await {
            Ok(Some(letter)) => {
                dead.open += 1;
                dead.since = Some(dead.since.map_or(letter.died_timestamp, |since| since.min(letter.died_timestamp)));
            }
            Ok(None) => break,
            // A group whose dead letters can't be read must not hide the rest.
            Err(Error::Input(_)) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(Some(dead).filter(|dead| dead.open > 0))
}

/// What two looks tell, the worst first. The second one may be the first again: then nothing that needs time is found.
pub fn judge(before: &Look, now: &Look, limits: &Limits) -> Vec<Finding> {
    let mut found = Vec::new();
    name_servers(now, &mut found);
    for broker in &now.brokers {
        judge_broker(broker, now, limits, &mut found);
    }
    for conflict in &now.conflicts.groups {
        let group = &conflict.group;
        for difference in &conflict.differences {
            let (differs, values) = (difference.what.clone(), difference.values.clone());
            found.push(finding(Severity::Critical, None, What::Conflict { group: group.clone(), differs, values }));
        }
        for clash in &conflict.clashes {
            let (client_id, addresses) = (clash.client_id.clone(), clash.addresses.clone());
            found.push(finding(
                Severity::Critical,
                None,
                What::ClientClash { group: group.clone(), client_id, addresses },
            ));
        }
    }
    for group in &now.groups {
        let earlier = before.groups.iter().find(|it| it.name == group.name);
        judge_group(earlier.filter(|_| now.at > before.at), group, limits, &mut found);
    }
    for (topic, it) in &now.unconsumed {
        let more = before.unconsumed.get(topic).map_or(0, |earlier| it.stored - earlier.stored);
        if more > 0 {
            let what = What::NoGroup { topic: topic.clone(), messages: it.messages, more };
            found.push(finding(Severity::Note, None, what));
        }
    }
    for dead in &now.dead {
        let what = What::DeadLetters { group: dead.group.clone(), letters: dead.open };
        found.push(finding(Severity::Warning, dead.since, what));
    }
    found.sort_by_key(|finding| finding.severity);
    found
}

fn finding(severity: Severity, since: Option<i64>, what: What) -> Finding {
    Finding { severity, since, what }
}

fn name_servers(now: &Look, found: &mut Vec<Finding>) {
    for (name_server, told) in &now.name_servers {
        let known = match told {
            Ok(known) => known,
            Err(error) => {
                let (name_server, error) = (name_server.clone(), error.clone());
                found.push(finding(Severity::Critical, None, What::NameServerSilent { name_server, error }));
                continue;
            }
        };
        for broker in now.brokers.iter().filter(|broker| !known.contains(&broker.address)) {
            let what = What::BrokerNotListed {
                broker: broker.name.clone(),
                address: broker.address.clone(),
                name_server: name_server.clone(),
            };
            found.push(finding(Severity::Warning, None, what));
        }
    }
}

fn judge_broker(it: &BrokerLook, now: &Look, limits: &Limits, found: &mut Vec<Finding>) {
    let broker = it.name.clone();
    if let Some(error) = &it.error {
        let what = What::BrokerUnreachable { broker, address: it.address.clone(), error: error.clone() };
        found.push(finding(Severity::Critical, None, what));
        return;
    }
    if let Some(clock) = clock(&it.status) {
        // It tells whole seconds, so it is half a second later on average.
        let millis = clock + 500 - it.asked_at;
        // An answer that took long may have been given at any time meanwhile.
        if millis.abs() - it.took / 2 > limits.skew_millis {
            found.push(finding(Severity::Warning, None, What::ClockSkew { broker: broker.clone(), millis }));
        }
    }
    let expires = it.status.get("tlsCertificateExpires").and_then(|at| at.parse::<i64>().ok());
    if let Some(at) = expires.filter(|at| at - now.at < limits.certificate_millis) {
        let severity = if at <= now.at { Severity::Critical } else { Severity::Warning };
        found.push(finding(severity, None, What::CertificateExpires { broker: broker.clone(), at }));
    }
    let percent =
        |name: &str| it.status.get(name).and_then(|ratio| ratio.parse::<f64>().ok()).map(|it| (it * 100.0) as i64);
    let limit = it.config.get("diskMaxUsedSpaceRatio").and_then(|limit| limit.parse().ok()).unwrap_or(75);
    if let Some(used) = percent("commitLogDiskRatio").filter(|used| *used >= limit) {
        let severity = if used >= 90 { Severity::Critical } else { Severity::Warning };
        found.push(finding(severity, None, What::DiskFull { broker: broker.clone(), used, limit }));
    }
    let permission = it.config.get("brokerPermission").and_then(|bits| bits.parse::<i32>().ok());
    match permission {
        Some(bits) if bits & PERM_WRITE == 0 => {
            let what = What::WritesForbidden { broker: broker.clone(), permission: bits.to_string() };
            found.push(finding(Severity::Critical, None, what));
        }
        _ if now.wiped.contains(&it.name) => {
            found.push(finding(Severity::Critical, None, What::WritesWiped { broker: broker.clone() }));
        }
        _ => {}
    }
    let late: Vec<i64> = it.open.iter().copied().filter(|born| now.at - born > limits.transaction_millis).collect();
    if !late.is_empty() {
        let what = What::TransactionsOpen { broker: broker.clone(), count: late.len() };
        found.push(finding(Severity::Warning, late.iter().min().copied(), what));
    }
    if !it.parked.is_empty() {
        let what = What::TransactionsParked { broker, count: it.parked.len() };
        found.push(finding(Severity::Warning, it.parked.iter().min().copied(), what));
    }
}

/// A broker's clock when it answered, milliseconds since 1970: it tells when it was started, and how long it runs.
fn clock(status: &BTreeMap<String, String>) -> Option<i64> {
    let started: i64 = status.get("bootTimestamp")?.parse().ok()?;
    let numbers: Vec<i64> =
        status.get("runtime")?.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect();
    let [days, hours, minutes, seconds] = numbers[..] else { return None };
    let seconds = days
        .checked_mul(24)?
        .checked_add(hours)?
        .checked_mul(60)?
        .checked_add(minutes)?
        .checked_mul(60)?
        .checked_add(seconds)?;
    started.checked_add(seconds.checked_mul(1000)?)
}

fn judge_group(before: Option<&GroupLook>, now: &GroupLook, limits: &Limits, found: &mut Vec<Finding>) {
    let group = &now.name;
    if now.members.is_empty() {
        if now.progress.lag >= limits.lag.max(1) {
            let what = What::NobodyConsumes { group: group.clone(), lag: now.progress.lag };
            found.push(finding(Severity::Warning, consumed_until(&now.progress), what));
        }
        return;
    }
    let Some(before) = before else { return };
    for queue in now.progress.queues.iter().filter(|queue| queue.lag > 0) {
        let same = |it: &&consumer::QueueProgress| {
            it.topic == queue.topic && it.broker == queue.broker && it.queue_id == queue.queue_id
        };
        let stood = before.progress.queues.iter().find(same);
        if stood.is_some_and(|it| it.lag > 0 && it.consumer_offset == queue.consumer_offset) {
            let what = What::QueueStuck {
                group: group.clone(),
                topic: queue.topic.clone(),
                broker: queue.broker.clone(),
                queue_id: queue.queue_id,
                offset: queue.consumer_offset,
                lag: queue.lag,
            };
            // Until then it moved, at least.
            let since = Some(queue.last_timestamp).filter(|at| *at > 0);
            found.push(finding(Severity::Critical, since, what));
        }
    }
    let (lag_before, lag) = (before.progress.lag, now.progress.lag);
    if lag > lag_before && lag >= limits.lag {
        let what = What::LagGrows { group: group.clone(), before: lag_before, now: lag };
        found.push(finding(Severity::Warning, consumed_until(&now.progress), what));
    }
}

/// All messages until then are consumed: when the last consumed message of the queue that is furthest behind was stored.
fn consumed_until(progress: &consumer::Progress) -> Option<i64> {
    let behind = progress.queues.iter().filter(|queue| queue.lag > 0 && queue.last_timestamp > 0);
    behind.map(|queue| queue.last_timestamp).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::group::{Clash, Difference, GroupConflict};

    const NOW: i64 = 1_700_000_000_000;

    fn broker() -> BrokerLook {
        let table = |text: &str| {
            text.split(';').filter_map(|it| it.split_once('=')).map(|(key, value)| (key.into(), value.into())).collect()
        };
        BrokerLook {
            name: "a".into(),
            address: "h:1".into(),
            asked_at: NOW,
            status: table(&format!(
                "bootTimestamp={};runtime=[ 0 days, 1 hours, 0 minutes, 1 seconds ];commitLogDiskRatio=0.5",
                NOW - 3_601_500
            )),
            config: table("brokerPermission=6;diskMaxUsedSpaceRatio=75"),
            ..BrokerLook::default()
        }
    }

    fn look(at: i64, broker: BrokerLook) -> Look {
        let known = [broker.address.clone()].into();
        Look { at, name_servers: [("n:1".to_owned(), Ok(known))].into(), brokers: vec![broker], ..Look::default() }
    }

    fn kinds(before: &Look, now: &Look) -> Vec<String> {
        let found = judge(before, now, &Limits { lag: 10, ..Limits::default() });
        let kind = |it: &Finding| serde_json::to_value(it).unwrap()["kind"].as_str().unwrap().to_owned();
        found.iter().map(kind).collect()
    }

    fn of(now: &Look) -> Vec<String> {
        kinds(now, now)
    }

    #[test]
    fn nothing_is_wrong_with_a_sound_cluster() {
        assert!(of(&look(NOW, broker())).is_empty());
    }

    #[test]
    fn name_servers_that_are_silent_or_know_less_are_found() {
        let mut now = look(NOW, broker());
        now.name_servers.insert("n:2".into(), Ok(BTreeSet::new()));
        now.name_servers.insert("n:3".into(), Err("refused".into()));
        assert_eq!(of(&now), ["nameServerSilent", "brokerNotListed"]);
    }

    #[test]
    fn a_broker_is_looked_at_from_all_sides() {
        let change = |change: fn(&mut BrokerLook)| {
            let mut broker = broker();
            change(&mut broker);
            of(&look(NOW, broker))
        };
        assert_eq!(change(|it| it.error = Some("refused".into())), ["brokerUnreachable"]);
        assert_eq!(change(|it| it.asked_at += 60_000), ["clockSkew"]);
        assert_eq!(change(|it| it.asked_at -= 60_000), ["clockSkew"]);
        assert!(change(|it| it.asked_at += 4_000).is_empty());
        assert!(change(|it| (it.asked_at, it.took) = (it.asked_at + 60_000, 120_000)).is_empty(), "it answered late");
        let disk = |it: &mut BrokerLook, ratio: &str| _ = it.status.insert("commitLogDiskRatio".into(), ratio.into());
        let mut full = broker();
        disk(&mut full, "0.80");
        let found = judge(&Look::default(), &look(NOW, full.clone()), &Limits::default());
        assert_eq!((found[0].severity, found.len()), (Severity::Warning, 1));
        disk(&mut full, "0.95");
        assert_eq!(judge(&Look::default(), &look(NOW, full), &Limits::default())[0].severity, Severity::Critical);
        assert_eq!(change(|it| _ = it.config.insert("brokerPermission".into(), "4".into())), ["writesForbidden"]);
        let ends = |days: i64| {
            let mut broker = broker();
            broker.status.insert("tlsCertificateExpires".into(), (NOW + days * 24 * 3_600_000).to_string());
            let found = judge(&Look::default(), &look(NOW, broker), &Limits::default());
            found.first().map(|it| (it.severity, matches!(it.what, What::CertificateExpires { .. })))
        };
        assert_eq!((ends(31), ends(29)), (None, Some((Severity::Warning, true))));
        assert_eq!(ends(-1), Some((Severity::Critical, true)));
        assert_eq!(change(|it| it.open = vec![NOW - 700_000, NOW]), ["transactionsOpen"]);
        assert_eq!(change(|it| it.parked = vec![NOW]), ["transactionsParked"]);
        let mut wiped = look(NOW, broker());
        wiped.wiped.insert("a".into());
        assert_eq!(of(&wiped), ["writesWiped"]);
    }

    #[test]
    fn members_that_differ_and_ids_that_clash_are_found() {
        let mut now = look(NOW, broker());
        now.conflicts.groups.push(GroupConflict {
            group: "g".into(),
            differences: vec![Difference { what: "messageModel".into(), values: BTreeMap::new() }],
            clashes: vec![Clash { client_id: "c".into(), addresses: Vec::new() }],
        });
        assert_eq!(of(&now), ["conflict", "clientClash"]);
    }

    #[test]
    fn groups_that_stand_or_fall_behind_are_found() {
        let group = |offset: i64, end: i64, members: &[&str]| {
            let queue = consumer::QueueProgress {
                topic: "t".into(),
                consumer_offset: offset,
                broker_offset: end,
                lag: end - offset,
                last_timestamp: 7,
                ..consumer::QueueProgress::default()
            };
            let progress = consumer::Progress { lag: queue.lag, queues: vec![queue], ..consumer::Progress::default() };
            let members = members.iter().map(|it| it.to_string()).collect();
            GroupLook { name: "g".into(), members, progress }
        };
        let two = |before: GroupLook, now: GroupLook| {
            let at = |at: i64, group: GroupLook| Look { groups: vec![group], ..look(at, broker()) };
            kinds(&at(NOW - 6000, before), &at(NOW, now))
        };
        assert_eq!(two(group(5, 8, &["c"]), group(5, 8, &["c"])), ["queueStuck"]);
        assert!(two(group(5, 8, &["c"]), group(6, 9, &["c"])).is_empty(), "it moves");
        assert!(two(group(8, 8, &["c"]), group(8, 9, &["c"])).is_empty(), "it has just come");
        assert_eq!(two(group(5, 8, &["c"]), group(6, 60, &["c"])), ["lagGrows"]);
        assert_eq!(two(group(5, 60, &[]), group(5, 60, &[])), ["nobodyConsumes"]);
        let once = Look { groups: vec![group(5, 8, &["c"])], ..look(NOW, broker()) };
        assert!(of(&once).is_empty(), "one look shows no standing still");
    }

    #[test]
    fn topics_that_grow_for_nobody_and_dead_letters_are_found() {
        let mut before = look(NOW - 6000, broker());
        before.unconsumed.insert("t".into(), TopicLook { messages: 1, stored: 1 });
        let mut now = look(NOW, broker());
        now.unconsumed.insert("t".into(), TopicLook { messages: 2, stored: 2 });
        now.dead.push(DeadLook { group: "g".into(), open: 3, since: Some(9) });
        assert_eq!(kinds(&before, &now), ["deadLetters", "noGroup"]);
        assert_eq!(judge(&before, &now, &Limits::default())[0].since, Some(9));
    }
}
