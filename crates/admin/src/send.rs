//! Sending, as tools do: a message of an operator, and probes that take the time.

use crate::{Admin, Error, message::StoredMessage, topic};
use bytes::Bytes;
use protocol::code::response;
use protocol::message::{property, push_property};
use protocol::request::send::SendMessage;
use protocol::topic::DEFAULT_TOPIC;
use serde::Serialize;
use std::time::Instant;

/// A send whose message is stored; some of these codes say that it is not on disk or not on a slave yet.
pub(crate) const STORED: [i32; 4] =
    [response::SUCCESS, response::FLUSH_DISK_TIMEOUT, response::FLUSH_SLAVE_TIMEOUT, response::SLAVE_NOT_AVAILABLE];

/// What is to be sent.
#[derive(Debug, Clone, Default)]
pub struct Outgoing {
    /// Where to.
    pub topic: String,
    /// What it says.
    pub body: Bytes,
    /// Its tags.
    pub tags: Option<String>,
    /// Its keys, parted by blanks.
    pub keys: Option<String>,
    /// The broker's name and the queue; `None`: the first that can be written to.
    pub queue: Option<(String, i32)>,
}

/// A message that was stored, or was not.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SentTo {
    /// The broker's name.
    pub broker: String,
    /// The queue.
    pub queue_id: i32,
    /// Its place in the queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_offset: Option<i64>,
    /// Its id: where it is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset_message_id: Option<String>,
    /// How long the answer took, milliseconds.
    pub millis: f64,
    /// What the broker said, `SEND_OK` and the like, or why it refused.
    pub status: String,
}

/// Sends one message (`sendMessage`).
pub async fn message(admin: &Admin, outgoing: &Outgoing) -> Result<SentTo, Error> {
    let queues = writable(admin, &outgoing.topic).await?;
    let wanted = outgoing.queue.as_ref();
    let queue = match wanted {
        None => queues.first(),
        Some((broker, id)) => {
            queues.iter().find(|it| it.queue_id == *id && (it.broker == *broker || it.address == *broker))
        }
    };
    let Some(queue) = queue else {
        let name = wanted.map_or(outgoing.topic.clone(), |(broker, id)| format!("{}@{broker}#{id}", outgoing.topic));
        return Err(crate::not_there("queue to write to", &name, std::iter::empty()));
    };
    let mut properties = Vec::new();
    let named = [(property::KEYS, &outgoing.keys), (property::TAGS, &outgoing.tags)];
    for (name, value) in named {
        if let Some(value) = value {
            if value.contains(['\u{1}', '\u{2}']) {
                return Err(Error::Input(format!("{name} holds the character U+0001 or U+0002")));
            }
            push_property(&mut properties, name, value);
        }
    }
    push_property(&mut properties, property::UNIQ_KEY, &unique_key());
    push_property(&mut properties, property::WAIT, "true");
    let properties = String::from_utf8_lossy(&properties).into_owned();
    put(admin, queue, &outgoing.topic, properties, outgoing.body.clone()).await
}

/// Sends a stored message once more (`queryMsgById -s`): to its topic, to the first queue that can be written to, with what
/// it says, its properties and its unique key. What waited for its time or for a transaction's end is sent as it was sent.
pub async fn again(admin: &Admin, message: &StoredMessage) -> Result<SentTo, Error> {
    let queues = writable(admin, &message.topic).await?;
    let Some(queue) = queues.first() else {
        return Err(crate::not_there("queue to write to", &message.topic, std::iter::empty()));
    };
    let properties = String::from_utf8_lossy(&message.raw_properties).into_owned();
    put(admin, queue, &message.topic, properties, message.body.clone()).await
}

/// An id such as clients give messages: 32 hexadecimal digits that no other message has.
fn unique_key() -> String {
    use std::hash::{BuildHasher, RandomState};
    // Each is seeded by the system, differently each time.
    let random = || RandomState::new().hash_one(std::process::id());
    format!("{:016X}{:016X}", random(), random())
}

/// A queue to write to.
#[derive(Debug, Clone)]
pub(crate) struct Writable {
    pub broker: String,
    pub address: String,
    pub queue_id: i32,
}

/// The queues of a topic that can be written to.
pub(crate) async fn writable(admin: &Admin, topic: &str) -> Result<Vec<Writable>, Error> {
    let route = topic::route(admin, topic).await?;
    let mut queues = Vec::new();
    for data in &route.queue_datas {
        let broker = route.broker_datas.iter().find(|broker| broker.broker_name == data.broker_name);
        let Some(address) = broker.and_then(|broker| broker.broker_addrs.get(&0)) else { continue };
        let count = if data.perm & protocol::topic::PERM_WRITE == 0 { 0 } else { data.write_queue_nums };
        queues.extend((0..count.min(protocol::topic::QUEUES_MAX)).map(|queue_id| Writable {
            broker: data.broker_name.clone(),
            address: address.clone(),
            queue_id,
        }));
    }
    queues.sort_by(|a, b| (&a.broker, a.queue_id).cmp(&(&b.broker, b.queue_id)));
    Ok(queues)
}

pub(crate) async fn put(
    admin: &Admin,
    queue: &Writable,
    topic: &str,
    properties: String,
    body: Bytes,
) -> Result<SentTo, Error> {
    let request = SendMessage {
        producer_group: "TOOLS_PRODUCER".to_owned(),
        topic: topic.to_owned(),
        default_topic: DEFAULT_TOPIC.to_owned(),
        default_topic_queue_nums: 4,
        queue_id: queue.queue_id,
        born_timestamp: crate::now_millis(),
        properties: Some(properties),
        ..SendMessage::default()
    };
    let began = Instant::now();
    let answer = admin.ask_any(&queue.address, &request, body, &STORED).await?;
    Ok(SentTo {
        broker: queue.broker.clone(),
        queue_id: answer.reply.queue_id,
        queue_offset: Some(answer.reply.queue_offset),
        offset_message_id: Some(answer.reply.msg_id),
        millis: began.elapsed().as_secs_f64() * 1000.0,
        status: match answer.code {
            response::SUCCESS => "SEND_OK",
            response::FLUSH_DISK_TIMEOUT => "FLUSH_DISK_TIMEOUT",
            response::FLUSH_SLAVE_TIMEOUT => "FLUSH_SLAVE_TIMEOUT",
            _ => "SLAVE_NOT_AVAILABLE",
        }
        .to_owned(),
    })
}

/// Sends `count` messages of `size` bytes to a topic, one queue after the other, and takes the time of each
/// (`checkMsgSendRT`, `sendMsgStatus`). A refusal is a result, too.
pub async fn probe(admin: &Admin, topic: &str, count: usize, size: usize) -> Result<Vec<SentTo>, Error> {
    let queues = writable(admin, topic).await?;
    if queues.is_empty() {
        return Err(crate::not_there("queue to write to", topic, std::iter::empty()));
    }
    let body = Bytes::from(vec![b'a'; size]);
    let mut sent = Vec::new();
    for queue in queues.iter().cycle().take(count) {
        let mut properties = Vec::new();
        push_property(&mut properties, property::UNIQ_KEY, &unique_key());
        let properties = String::from_utf8_lossy(&properties).into_owned();
        let began = Instant::now();
        sent.push(put(admin, queue, topic, properties, body.clone()).await.unwrap_or_else(|error| SentTo {
            broker: queue.broker.clone(),
            queue_id: queue.queue_id,
            millis: began.elapsed().as_secs_f64() * 1000.0,
            status: error.to_string(),
            ..SentTo::default()
        }));
    }
    Ok(sent)
}

/// How long a cluster takes to store messages.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterProbe {
    /// The cluster.
    pub cluster: String,
    /// How long an answer took on average, milliseconds.
    pub millis: f64,
    /// The longest.
    pub millis_max: f64,
    /// Messages that were stored.
    pub stored: usize,
    /// Messages that were not.
    pub refused: usize,
    /// Why, the first time.
    pub error: Option<String>,
}

/// Sends `count` messages of `size` bytes to the topic that has a cluster's name, of one cluster or of each (`clusterRT`).
#[doc(alias = "clusterRT")]
pub async fn probe_clusters(
    admin: &Admin,
    cluster: Option<&str>,
    count: usize,
    size: usize,
) -> Result<Vec<ClusterProbe>, Error> {
    let known = crate::cluster::list(admin).await?.cluster_addr_table;
    if let Some(name) = cluster.filter(|name| !known.contains_key(*name)) {
        let known = known.into_keys().collect::<Vec<_>>().join(", ");
        return Err(Error::NoCluster { name: name.to_owned(), known });
    }
    let mut all = Vec::new();
    for name in known.into_keys().filter(|name| cluster.is_none_or(|only| only == name)) {
        all.push(match probe(admin, &name, count, size).await {
            Ok(sent) => {
                let (stored, refused): (Vec<_>, Vec<_>) =
                    sent.into_iter().partition(|it| it.offset_message_id.is_some());
                let sum: f64 = stored.iter().map(|it| it.millis).sum();
                ClusterProbe {
                    cluster: name,
                    millis: if stored.is_empty() { 0.0 } else { sum / stored.len() as f64 },
                    millis_max: stored.iter().map(|it| it.millis).fold(0.0, f64::max),
                    stored: stored.len(),
                    refused: refused.len(),
                    error: refused.into_iter().next().map(|it| it.status),
                }
            }
            // One cluster that is down must not hide the others.
            Err(error) => ClusterProbe {
                cluster: name,
                refused: count,
                error: Some(error.to_string()),
                ..ClusterProbe::default()
            },
        });
    }
    Ok(all)
}
