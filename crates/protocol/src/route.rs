//! Where topics are: what brokers tell name servers, and what name servers tell clients.

use crate::json::{self, BadJson};
use crate::topic::{DataVersion, TopicConfig};
use flate2::read::ZlibDecoder;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

/// The brokers of a topic and the queues it has there: the answer to GET_ROUTEINFO_BY_TOPIC.
#[doc(alias = "TopicRouteData")]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicRoute {
    /// The brokers.
    pub broker_datas: Vec<BrokerData>,
    /// Always empty; very old clients fail without it.
    pub filter_server_table: BTreeMap<String, Vec<String>>,
    /// Of an ordered topic, how many queues each broker has, `broker-a:4;broker-b:4`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_topic_conf: Option<String>,
    /// Its queues on each broker.
    pub queue_datas: Vec<QueueData>,
    /// Of a static topic, where its logical queues are, per broker. Passed on as it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic_queue_mapping_by_broker: Option<BTreeMap<String, Value>>,
}

/// A master and its slaves.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BrokerData {
    /// Where to reach each, by broker id; 0 is the master.
    pub broker_addrs: BTreeMap<i64, String>,
    /// The name that they share.
    pub broker_name: String,
    /// Their cluster.
    pub cluster: String,
    /// A slave may act as master.
    pub enable_acting_master: bool,
    /// Where they stand, when they say so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone_name: Option<String>,
}

/// The queues of a topic on one broker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueData {
    /// The broker's name.
    pub broker_name: String,
    /// Bits: 4 read, 2 write.
    pub perm: i32,
    /// Queues to read from.
    pub read_queue_nums: i32,
    /// Bits of unit mode.
    #[serde(alias = "topicSynFlag")]
    pub topic_sys_flag: i32,
    /// Queues to write to.
    pub write_queue_nums: i32,
}

/// All brokers and clusters: the answer to GET_BROKER_CLUSTER_INFO.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterInfo {
    /// Brokers by name.
    pub broker_addr_table: BTreeMap<String, BrokerData>,
    /// Names of brokers by cluster.
    pub cluster_addr_table: BTreeMap<String, BTreeSet<String>>,
}

/// Names of topics: the answer to GET_ALL_TOPIC_LIST_FROM_NAMESERVER.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicList {
    /// The broker's address, where the list is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker_addr: Option<String>,
    /// The names.
    pub topic_list: Vec<String>,
}

/// Names and values: settings on a name server, facts about a broker.
#[doc(alias = "org.apache.rocketmq.remoting.protocol.body.KVTable")]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KvTable {
    /// By name.
    pub table: BTreeMap<String, String>,
}

/// What a broker registers: its topics.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RegisterBrokerBody {
    /// Its topics, and in which state they are.
    pub topic_config_serialize_wrapper: RegisteredTopics,
    /// A feature that Apache removed; empty.
    pub filter_server_list: Vec<String>,
}

/// A broker's topics, in a registration.
#[doc(alias = "TopicConfigAndMappingSerializeWrapper")]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RegisteredTopics {
    /// Goes up with each change of the topics.
    pub data_version: DataVersion,
    /// The topics by name, with the permissions that the broker has taken from them.
    pub topic_config_table: BTreeMap<String, TopicConfig>,
    /// Static topics: where their logical queues are.
    pub topic_queue_mapping_info_map: BTreeMap<String, Value>,
}

/// Why the body of a registration can't be read.
#[derive(Debug, thiserror::Error)]
pub enum BadRegistration {
    /// A part is no JSON.
    #[error(transparent)]
    Json(#[from] BadJson),
    /// It can't be inflated, or ends too early.
    #[error("the deflated registration can't be inflated: {0}")]
    Deflated(#[from] std::io::Error),
    /// More than a broker can mean.
    #[error("the deflated registration announces {announced} bytes in one piece; up to {max} are taken")]
    Length {
        /// How many it announces.
        announced: i32,
        /// How many are taken.
        max: usize,
    },
    /// A topic's text is not `name read write perm filter [attributes]`.
    #[error("`{0}` is no topic: `name readQueues writeQueues perm filterType [attributes]` was expected")]
    Topic(String),
}

/// The most that a deflated registration may inflate to: some 400,000 topics.
const INFLATED_MAX: u64 = 64 * 1024 * 1024;

/// The longest piece of one.
const PIECE_MAX: usize = 1024 * 1024;

/// zlib's data begins with it, JSON does not.
const ZLIB: u8 = 0x78;

/// From this version on, a deflated registration ends with static topics (`V5_0_0`).
const WITH_MAPPINGS: i32 = 413;

/// Before this version, a registration is only the topics (`V3_0_11`).
const WITH_FILTER_SERVERS: i32 = 37;

impl RegisterBrokerBody {
    /// Reads a registration as a broker of `version` writes it; an empty body registers no topics.
    ///
    /// Whether it is deflated shows in its first byte. The header's `compressed` is no guide: with
    /// `compressedRegister=true`, Apache's broker 5.5.0 deflates and says `false`.
    pub fn read(body: &[u8], version: i32) -> Result<RegisterBrokerBody, BadRegistration> {
        if body.is_empty() {
            Ok(RegisterBrokerBody::default())
        } else if body[0] == ZLIB {
            RegisterBrokerBody::inflate(body, version, INFLATED_MAX)
        } else if version < WITH_FILTER_SERVERS {
            Ok(RegisterBrokerBody { topic_config_serialize_wrapper: json::read(body)?, ..Default::default() })
        } else {
            Ok(json::read(body)?)
        }
    }

    /// Deflated (zlib), a registration is
    ///
    /// ```text
    /// | length: 4 | DataVersion JSON |
    /// | number of topics: 4 | { length: 4 | name read write perm filter [attributes JSON] }…
    /// | length: 4 | filter servers JSON |
    /// | number of static topics: 4 | { length: 4 | JSON }…         from version 413 on
    /// ```
    ///
    /// Memory is taken only for what has been inflated, and for no more than `inflated_max` bytes.
    fn inflate(body: &[u8], version: i32, inflated_max: u64) -> Result<RegisterBrokerBody, BadRegistration> {
        let mut source = ZlibDecoder::new(body).take(inflated_max);
        let mut topics = RegisteredTopics { data_version: json::read(&piece(&mut source)?)?, ..Default::default() };
        for _ in 0..number(&mut source)? {
            let topic = read_topic(&String::from_utf8_lossy(&piece(&mut source)?))?;
            topics.topic_config_table.insert(topic.topic_name.clone(), topic);
        }
        let filter_server_list = json::read(&piece(&mut source)?)?;
        if version >= WITH_MAPPINGS {
            for _ in 0..number(&mut source)? {
                let mapping: Value = json::read(&piece(&mut source)?)?;
                if let Some(topic) = mapping.get("topic").and_then(Value::as_str) {
                    topics.topic_queue_mapping_info_map.insert(topic.to_owned(), mapping);
                }
            }
        }
        Ok(RegisterBrokerBody { topic_config_serialize_wrapper: topics, filter_server_list })
    }

    /// What `bodyCrc32` of a registration's header must be for this body.
    pub fn checksum(body: &[u8]) -> i32 {
        (crc32fast::hash(body) & 0x7fff_ffff) as i32
    }
}

fn number(source: &mut impl Read) -> Result<i32, BadRegistration> {
    let mut bytes = [0; 4];
    source.read_exact(&mut bytes)?;
    Ok(i32::from_be_bytes(bytes))
}

fn piece(source: &mut impl Read) -> Result<Vec<u8>, BadRegistration> {
    let announced = number(source)?;
    let length = usize::try_from(announced).ok().filter(|length| *length <= PIECE_MAX);
    let length = length.ok_or(BadRegistration::Length { announced, max: PIECE_MAX })?;
    let mut piece = Vec::new();
    if source.take(length as u64).read_to_end(&mut piece)? < length {
        return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
    }
    Ok(piece)
}

fn read_topic(text: &str) -> Result<TopicConfig, BadRegistration> {
    let bad = || BadRegistration::Topic(text.chars().take(200).collect());
    let parts: Vec<&str> = text.splitn(6, ' ').collect();
    let [name, read, write, perm, filter, attributes @ ..] = &parts[..] else { return Err(bad()) };
    let number = |text: &str| text.parse::<i32>().map_err(|_| bad());
    Ok(TopicConfig {
        topic_name: name.to_string(),
        read_queue_nums: number(read)?,
        write_queue_nums: number(write)?,
        perm: number(perm)?,
        topic_filter_type: filter.to_string(),
        // Attributes are for tools; a route is the same without them.
        attributes: attributes.first().and_then(|text| json::read(text.as_bytes()).ok()).unwrap_or_default(),
        ..TopicConfig::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::ZlibEncoder};
    use std::io::Write;

    #[test]
    fn a_route_is_written_as_apache_writes_it() {
        let broker = BrokerData {
            broker_addrs: BTreeMap::from([(0, "10.0.0.1:10911".into()), (1, "10.0.0.2:10911".into())]),
            broker_name: "broker-a".into(),
            cluster: "DefaultCluster".into(),
            ..BrokerData::default()
        };
        let queues = QueueData {
            broker_name: "broker-a".into(),
            perm: 6,
            read_queue_nums: 8,
            write_queue_nums: 8,
            ..QueueData::default()
        };
        let route = TopicRoute { broker_datas: vec![broker], queue_datas: vec![queues], ..TopicRoute::default() };
        let standard = r#"{"brokerDatas":[{"brokerAddrs":{"0":"10.0.0.1:10911","1":"10.0.0.2:10911"},"brokerName":"broker-a","cluster":"DefaultCluster","enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"broker-a","perm":6,"readQueueNums":8,"topicSysFlag":0,"writeQueueNums":8}]}"#;
        assert_eq!(String::from_utf8(json::write(&route)).unwrap(), standard);
        let bare = standard.replace(r#""0":"#, "0:").replace(r#""1":"#, "1:");
        assert_eq!(String::from_utf8(json::write_bare_keys(&route)).unwrap(), bare);
        for text in [standard, &bare, &standard.replace("Sys", "Syn")] {
            assert_eq!(json::read::<TopicRoute>(text.as_bytes()).unwrap(), route);
        }
    }

    fn deflated(pieces: &[&[u8]]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        for piece in pieces {
            encoder.write_all(piece).unwrap();
        }
        encoder.finish().unwrap()
    }

    fn piece(text: &str) -> Vec<u8> {
        [&(text.len() as i32).to_be_bytes(), text.as_bytes()].concat()
    }

    #[test]
    fn deflated_registrations_are_those_in_json() {
        let old = [
            piece(r#"{"counter":7,"timestamp":1700000000000}"#),
            2i32.to_be_bytes().to_vec(),
            piece("TBW102 8 8 7 SINGLE_TAG"),
            piece(r#"orders 4 2 6 SINGLE_TAG {"message.type":"FI FO"}"#),
            piece("[]"),
        ]
        .concat();
        let new = [old.clone(), 1i32.to_be_bytes().to_vec(), piece(r#"{"topic":"s","currIdMap":{0:0}}"#)].concat();
        let from_json = RegisterBrokerBody::read(
            br#"{"filterServerList":[],"topicConfigSerializeWrapper":{"dataVersion":{"counter":7,"stateVersion":0,"timestamp":1700000000000},
                "topicConfigTable":{"TBW102":{"order":false,"perm":7,"readQueueNums":8,"topicFilterType":"SINGLE_TAG","topicName":"TBW102","topicSysFlag":0,"writeQueueNums":8},
                "orders":{"attributes":{"message.type":"FI FO"},"perm":6,"readQueueNums":4,"topicName":"orders","writeQueueNums":2}},
                "topicQueueMappingInfoMap":{"s":{"topic":"s","currIdMap":{0:0}}},"topicQueueMappingDetailMap":{}}}"#,
            479,
        )
        .unwrap();
        assert_eq!(RegisterBrokerBody::read(&deflated(&[&new]), 479).unwrap(), from_json);

        let mut without_mappings = from_json;
        without_mappings.topic_config_serialize_wrapper.topic_queue_mapping_info_map.clear();
        assert_eq!(RegisterBrokerBody::read(&deflated(&[&old]), 407).unwrap(), without_mappings);
        assert!(matches!(RegisterBrokerBody::read(&deflated(&[&old]), 479), Err(BadRegistration::Deflated(_))));
    }

    #[test]
    fn a_zip_bomb_is_refused_without_being_inflated() {
        let announced = deflated(&[&i32::MAX.to_be_bytes()]);
        assert!(matches!(RegisterBrokerBody::read(&announced, 0), Err(BadRegistration::Length { .. })));
        let negative = deflated(&[&(-1i32).to_be_bytes()]);
        assert!(matches!(RegisterBrokerBody::read(&negative, 0), Err(BadRegistration::Length { .. })));

        // 2 MiB of topics, all the same.
        let topics = piece("t 1 1 6 SINGLE_TAG").repeat(100_000);
        let bomb = deflated(&[&piece("{}"), &100_000i32.to_be_bytes(), &topics, &piece("[]")]);
        assert!(RegisterBrokerBody::inflate(&bomb, 0, 4 * 1024 * 1024).is_ok());
        let refused = RegisterBrokerBody::inflate(&bomb, 0, 1024 * 1024);
        assert!(matches!(refused, Err(BadRegistration::Deflated(_))));
    }

    #[test]
    fn no_body_makes_the_reader_fail_other_than_with_an_error() {
        let whole = deflated(&[&[piece("{}"), 1i32.to_be_bytes().to_vec(), piece("t 1 1 6 X"), piece("[]")].concat()]);
        assert!(RegisterBrokerBody::read(&whole, 0).is_ok());
        for cut in 1..whole.len() - 5 {
            assert!(RegisterBrokerBody::read(&whole[..cut], 0).is_err(), "{cut}");
        }
        for text in ["t", "t 1 1 6", "t x 1 6 X", ""] {
            let body = deflated(&[&[piece("{}"), 1i32.to_be_bytes().to_vec(), piece(text)].concat()]);
            assert!(matches!(RegisterBrokerBody::read(&body, 0), Err(BadRegistration::Topic(_))));
        }
        assert_eq!(RegisterBrokerBody::read(b"", 0).unwrap(), RegisterBrokerBody::default());
    }

    #[test]
    fn brokers_before_3_0_11_register_only_topics() {
        let body = br#"{"dataVersion":{"counter":1},"topicConfigTable":{"t":{"topicName":"t"}}}"#;
        let read = RegisterBrokerBody::read(body, 36).unwrap();
        assert!(read.topic_config_serialize_wrapper.topic_config_table.contains_key("t"));
    }
}
