//! What every part of a message platform says about a message: its flags, its properties, its hashes and its ids.
//!
//! Bytes in, bytes out: the properties of a message stay the byte string that the client sent, and are scanned for the
//! few names someone asks for.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A position in a queue: message number `n` of one topic and queue id, counted from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueOffset(pub i64);

/// A byte in the commit log, counted over all its files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitLogOffset(pub i64);

impl fmt::Display for QueueOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for CommitLogOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The 31-bit CRC that RocketMQ writes everywhere: CRC-32 (IEEE) without its top bit.
#[doc(alias = "UtilAll.crc32")]
pub fn crc31(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes) & 0x7FFF_FFFF
}

/// The bits of a message's system flag.
#[doc(alias = "MessageSysFlag")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SysFlag(pub i32);

/// Where a message stands in a transaction; bits 2 and 3 of the system flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionType {
    /// An ordinary message.
    Not,
    /// A half message, not yet visible.
    Prepared,
    /// The visible copy of a committed half message.
    Commit,
    /// The mark of a rolled back half message.
    Rollback,
}

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// LZ4 frame format.
    Lz4,
    /// Zstandard.
    Zstd,
    /// zlib; also what the compressed bit alone means.
    Zlib,
}

impl SysFlag {
    /// The body is compressed.
    pub const COMPRESSED: i32 = 0x1;
    /// The message has several tags.
    pub const MULTI_TAGS: i32 = 0x2;
    /// The two bits that hold the [`TransactionType`].
    pub const TRANSACTION_MASK: i32 = 0xC;
    /// Transaction type: half message.
    pub const TRANSACTION_PREPARED: i32 = 0x4;
    /// Transaction type: committed.
    pub const TRANSACTION_COMMIT: i32 = 0x8;
    /// Transaction type: rolled back.
    pub const TRANSACTION_ROLLBACK: i32 = 0xC;
    /// The born host is an IPv6 address.
    pub const BORN_HOST_V6: i32 = 0x10;
    /// The store host is an IPv6 address.
    pub const STORE_HOST_V6: i32 = 0x20;
    /// The client must explode this inner batch.
    pub const NEED_UNWRAP: i32 = 0x40;
    /// The body is a batch kept as one record.
    pub const INNER_BATCH: i32 = 0x80;
    /// The three bits that hold the [`Compression`].
    pub const COMPRESSION_MASK: i32 = 0x700;
    /// Compression: LZ4.
    pub const COMPRESSION_LZ4: i32 = 0x100;
    /// Compression: Zstandard.
    pub const COMPRESSION_ZSTD: i32 = 0x200;
    /// Compression: zlib.
    pub const COMPRESSION_ZLIB: i32 = 0x300;

    /// The flag with all bits of `bits` set.
    pub fn with(self, bits: i32) -> SysFlag {
        SysFlag(self.0 | bits)
    }

    /// The flag with all bits of `bits` cleared.
    pub fn without(self, bits: i32) -> SysFlag {
        SysFlag(self.0 & !bits)
    }

    /// Is any bit of `bits` set?
    pub fn has(self, bits: i32) -> bool {
        self.0 & bits != 0
    }

    /// Where the message stands in a transaction.
    pub fn transaction(self) -> TransactionType {
        match self.0 & Self::TRANSACTION_MASK {
            Self::TRANSACTION_PREPARED => TransactionType::Prepared,
            Self::TRANSACTION_COMMIT => TransactionType::Commit,
            Self::TRANSACTION_ROLLBACK => TransactionType::Rollback,
            _ => TransactionType::Not,
        }
    }

    /// How the body is compressed, if it is.
    pub fn compression(self) -> Option<Compression> {
        if !self.has(Self::COMPRESSED) {
            return None;
        }
        Some(match self.0 & Self::COMPRESSION_MASK {
            Self::COMPRESSION_LZ4 => Compression::Lz4,
            Self::COMPRESSION_ZSTD => Compression::Zstd,
            _ => Compression::Zlib,
        })
    }
}

/// Names of message properties that RocketMQ gives a meaning.
#[doc(alias = "MessageConst")]
#[allow(missing_docs)] // each constant is its own value
pub mod property {
    pub const KEYS: &str = "KEYS";
    /// CometMQ's own: messages of a topic with the same one, within its `dedup.window`, are the same message.
    pub const DEDUP_ID: &str = "DEDUP_ID";
    pub const TAGS: &str = "TAGS";
    pub const WAIT: &str = "WAIT";
    pub const DELAY: &str = "DELAY";
    pub const RETRY_TOPIC: &str = "RETRY_TOPIC";
    pub const REAL_TOPIC: &str = "REAL_TOPIC";
    pub const REAL_QID: &str = "REAL_QID";
    pub const TRAN_MSG: &str = "TRAN_MSG";
    pub const PGROUP: &str = "PGROUP";
    pub const MIN_OFFSET: &str = "MIN_OFFSET";
    pub const MAX_OFFSET: &str = "MAX_OFFSET";
    pub const BUYER_ID: &str = "BUYER_ID";
    pub const ORIGIN_MESSAGE_ID: &str = "ORIGIN_MESSAGE_ID";
    pub const TRANSFER_FLAG: &str = "TRANSFER_FLAG";
    pub const CORRECTION_FLAG: &str = "CORRECTION_FLAG";
    pub const MQ2_FLAG: &str = "MQ2_FLAG";
    pub const RECONSUME_TIME: &str = "RECONSUME_TIME";
    pub const MSG_REGION: &str = "MSG_REGION";
    pub const TRACE_ON: &str = "TRACE_ON";
    pub const UNIQ_KEY: &str = "UNIQ_KEY";
    pub const EXTEND_UNIQ_INFO: &str = "EXTEND_UNIQ_INFO";
    pub const MAX_RECONSUME_TIMES: &str = "MAX_RECONSUME_TIMES";
    pub const CONSUME_START_TIME: &str = "CONSUME_START_TIME";
    pub const INNER_NUM: &str = "INNER_NUM";
    pub const INNER_BASE: &str = "INNER_BASE";
    pub const DUP_INFO: &str = "DUP_INFO";
    pub const CHECK_IMMUNITY_TIME_IN_SECONDS: &str = "CHECK_IMMUNITY_TIME_IN_SECONDS";
    pub const TRAN_PREPARED_QUEUE_OFFSET: &str = "TRAN_PREPARED_QUEUE_OFFSET";
    pub const TRANSACTION_ID: &str = "__transactionId__";
    pub const TRANSACTION_CHECK_TIMES: &str = "TRANSACTION_CHECK_TIMES";
    pub const INSTANCE_ID: &str = "INSTANCE_ID";
    pub const CORRELATION_ID: &str = "CORRELATION_ID";
    pub const REPLY_TO_CLIENT: &str = "REPLY_TO_CLIENT";
    pub const TTL: &str = "TTL";
    pub const ARRIVE_TIME: &str = "ARRIVE_TIME";
    pub const PUSH_REPLY_TIME: &str = "PUSH_REPLY_TIME";
    pub const CLUSTER: &str = "CLUSTER";
    pub const MSG_TYPE: &str = "MSG_TYPE";
    pub const POP_CK: &str = "POP_CK";
    pub const POP_CK_OFFSET: &str = "POP_CK_OFFSET";
    pub const FIRST_POP_TIME: &str = "1ST_POP_TIME";
    pub const SHARDINGKEY: &str = "__SHARDINGKEY";
    pub const FORWARD_QUEUE_ID: &str = "PROPERTY_FORWARD_QUEUE_ID";
    pub const REDIRECT: &str = "REDIRECT";
    pub const INNER_MULTI_DISPATCH: &str = "INNER_MULTI_DISPATCH";
    pub const INNER_MULTI_QUEUE_OFFSET: &str = "INNER_MULTI_QUEUE_OFFSET";
    pub const TRACE_CONTEXT: &str = "TRACE_CONTEXT";
    pub const TIMER_DELAY_SEC: &str = "TIMER_DELAY_SEC";
    pub const TIMER_DELAY_MS: &str = "TIMER_DELAY_MS";
    pub const TIMER_DELIVER_MS: &str = "TIMER_DELIVER_MS";
    pub const TIMER_DELAY_LEVEL: &str = "TIMER_DELAY_LEVEL";
    pub const TIMER_ENQUEUE_MS: &str = "TIMER_ENQUEUE_MS";
    pub const TIMER_DEQUEUE_MS: &str = "TIMER_DEQUEUE_MS";
    pub const TIMER_ROLL_TIMES: &str = "TIMER_ROLL_TIMES";
    pub const TIMER_OUT_MS: &str = "TIMER_OUT_MS";
    pub const TIMER_DEL_UNIQKEY: &str = "TIMER_DEL_UNIQKEY";
    pub const TIMER_ROLL_LABEL: &str = "TIMER_ROLL_LABEL";
    pub const ORIGIN_GROUP: &str = "ORIGIN_GROUP";
    pub const TRANS_OFFSET: &str = "TRANS_OFFSET";
    pub const PRIORITY: &str = "_SYS_MSG_PRIORITY_";
    pub const LITE_TOPIC: &str = "__LITE_TOPIC";
    pub const BORN_HOST: &str = "__BORNHOST";
    pub const BORN_TIMESTAMP: &str = "BORN_TIMESTAMP";
    pub const CRC32: &str = "__CRC32#";
    /// Of a copy in a retry topic, the id of the dead letter that it was. CometMQ's own.
    pub const DLQ_REQUEUED_FROM: &str = "DLQ_REQUEUED_FROM";
    pub const DLQ_ORIGIN_TOPIC: &str = "DLQ_ORIGIN_TOPIC";
    pub const DLQ_ORIGIN_MESSAGE_ID: &str = "DLQ_ORIGIN_MESSAGE_ID";
}

/// Between a property's name and its value.
pub const NAME_VALUE_SEPARATOR: u8 = 1;
/// After each property; the last one of a string may lack it.
pub const PROPERTY_SEPARATOR: u8 = 2;
/// Between two keys in the value of `KEYS`.
pub const KEY_SEPARATOR: char = ' ';

/// A message's properties as they lie in a record: `name 0x01 value 0x02 name 0x01 value 0x02 …`.
///
/// Nothing is escaped. What is no property (no name, no separator, no value, no UTF-8) is passed over, as every other
/// reader of this format does. Of two properties of one name the last counts.
#[doc(alias = "MessageDecoder.string2messageProperties")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Properties<'a>(pub &'a [u8]);

impl<'a> Properties<'a> {
    /// The value of `name`, or `None` if there is none.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        let mut found = None;
        for (at, value) in self.raw() {
            if at == name.as_bytes() {
                found = std::str::from_utf8(value).ok();
            }
        }
        found
    }

    /// All names and values, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.raw().filter_map(|(name, value)| Some((std::str::from_utf8(name).ok()?, std::str::from_utf8(value).ok()?)))
    }

    /// What stands between the separators, in its order: properties, and what is none.
    pub fn segments(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = self.0;
        std::iter::from_fn(move || (!rest.is_empty()).then(|| next_segment(&mut rest)))
    }

    /// All names and values as bytes, in their order.
    pub fn raw(&self) -> RawProperties<'a> {
        RawProperties { rest: self.0 }
    }
}

/// The iterator of [`Properties::raw`].
#[derive(Clone, Debug)]
pub struct RawProperties<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for RawProperties<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let segment = next_segment(&mut self.rest);
            if let Some(property) = split_segment(segment) {
                return Some(property);
            }
        }
        None
    }
}

/// Takes the bytes up to the next 0x02 (or the end) from `rest`.
fn next_segment<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    match memchr::memchr(PROPERTY_SEPARATOR, rest) {
        Some(end) => {
            let segment = &rest[..end];
            *rest = &rest[end + 1..];
            segment
        }
        None => std::mem::take(rest),
    }
}

fn split_segment(segment: &[u8]) -> Option<(&[u8], &[u8])> {
    let split = memchr::memchr(NAME_VALUE_SEPARATOR, segment)?;
    let (name, value) = (&segment[..split], &segment[split + 1..]);
    (!name.is_empty() && !value.is_empty()).then_some((name, value))
}

/// Appends one property to `properties`, without looking whether the name is there already.
pub fn push_property(properties: &mut Vec<u8>, name: &str, value: &str) {
    if properties.last().is_some_and(|last| *last != PROPERTY_SEPARATOR) {
        properties.push(PROPERTY_SEPARATOR);
    }
    properties.reserve(name.len() + value.len() + 2);
    properties.extend_from_slice(name.as_bytes());
    properties.push(NAME_VALUE_SEPARATOR);
    properties.extend_from_slice(value.as_bytes());
    properties.push(PROPERTY_SEPARATOR);
}

/// A new property string: `properties` with each name of `changes` set to its value, or taken out if that is `None`.
///
/// A name that was there keeps its place, a new one goes to the end, everything else stays byte for byte.
pub fn edit_properties(properties: &[u8], changes: &[(&str, Option<&str>)]) -> Vec<u8> {
    let added: usize = changes.iter().map(|(name, value)| name.len() + value.map_or(0, str::len) + 2).sum();
    let mut edited = Vec::with_capacity(properties.len() + added + 1);
    let mut placed = vec![false; changes.len()];
    let mut rest = properties;
    while !rest.is_empty() {
        let segment = next_segment(&mut rest);
        let name = memchr::memchr(NAME_VALUE_SEPARATOR, segment).map(|split| &segment[..split]);
        match changes.iter().position(|(changed, _)| Some(changed.as_bytes()) == name) {
            Some(n) => {
                if let (Some(value), false) = (changes[n].1, placed[n]) {
                    push_property(&mut edited, changes[n].0, value);
                }
                placed[n] = true;
            }
            None if segment.is_empty() => {}
            None => {
                edited.extend_from_slice(segment);
                edited.push(PROPERTY_SEPARATOR);
            }
        }
    }
    for (n, (name, value)) in changes.iter().enumerate() {
        if let (Some(value), false) = (value, placed[n]) {
            push_property(&mut edited, name, value);
        }
    }
    edited
}

/// Java's `String.hashCode` of `text`: over UTF-16 units, wrapping.
#[doc(alias = "hashCode")]
pub fn java_hash(text: &str) -> i32 {
    JavaHash::new().update(text).finish()
}

/// A [`java_hash`] under way, so that a common beginning (`topic#`) is hashed once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JavaHash(i32);

impl JavaHash {
    /// The hash of the empty text.
    pub const fn new() -> JavaHash {
        JavaHash(0)
    }

    /// Goes on with `text`.
    #[must_use]
    pub fn update(self, text: &str) -> JavaHash {
        if text.is_ascii() {
            return self.update_ascii(text.as_bytes());
        }
        let hash = text.encode_utf16().fold(self.0, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
        JavaHash(hash)
    }

    /// Goes on with bytes that are UTF-8; what is not UTF-8 counts as Java reads it, as U+FFFD.
    #[must_use]
    pub fn update_bytes(self, bytes: &[u8]) -> JavaHash {
        if bytes.is_ascii() { self.update_ascii(bytes) } else { self.update(&String::from_utf8_lossy(bytes)) }
    }

    /// Four bytes a step: the chain of multiplications is what costs.
    fn update_ascii(self, bytes: &[u8]) -> JavaHash {
        const P2: i32 = 31 * 31;
        const P3: i32 = P2 * 31;
        const P4: i32 = P3 * 31;
        let mut hash = self.0;
        let mut chunks = bytes.chunks_exact(4);
        for chunk in &mut chunks {
            let four =
                i32::from(chunk[0]) * P3 + i32::from(chunk[1]) * P2 + i32::from(chunk[2]) * 31 + i32::from(chunk[3]);
            hash = hash.wrapping_mul(P4).wrapping_add(four);
        }
        for byte in chunks.remainder() {
            hash = hash.wrapping_mul(31).wrapping_add(i32::from(*byte));
        }
        JavaHash(hash)
    }

    /// The hash of all text so far.
    pub const fn finish(self) -> i32 {
        self.0
    }
}

/// What a consume queue keeps of the tags: the whole `TAGS` value hashed, sign-extended; 0 without tags.
#[doc(alias = "MessageExtBrokerInner.tagsString2tagsCode")]
pub fn tags_code(tags: &str) -> i64 {
    i64::from(java_hash(tags))
}

/// Why a text is no offset message id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no message id of a stored message: it takes 32 (IPv4) or 56 (IPv6) hexadecimal digits")]
pub struct MessageIdError {
    /// The text.
    pub text: String,
}

/// The id that names a stored message by its place: store host and commit log offset in upper-case hex
/// (32 digits for IPv4, 56 for IPv6).
#[doc(alias = "MessageDecoder.createMessageId")]
pub fn offset_message_id(store_host: SocketAddr, at: CommitLogOffset) -> String {
    let mut id = String::with_capacity(56);
    match store_host.ip() {
        IpAddr::V4(ip) => push_hex::<8>(&mut id, u32::from(ip).into()),
        IpAddr::V6(ip) => {
            push_hex::<16>(&mut id, (u128::from(ip) >> 64) as u64);
            push_hex::<16>(&mut id, u128::from(ip) as u64);
        }
    }
    push_hex::<8>(&mut id, store_host.port().into());
    push_hex::<16>(&mut id, at.0 as u64);
    id
}

/// The place that an [`offset_message_id`] names.
#[doc(alias = "MessageDecoder.decodeMessageId")]
pub fn parse_offset_message_id(text: &str) -> Result<(SocketAddr, CommitLogOffset), MessageIdError> {
    let wrong = || MessageIdError { text: text.to_owned() };
    let mut bytes = [0u8; 28];
    let digits = text.as_bytes();
    if digits.len() != 32 && digits.len() != 56 {
        return Err(wrong());
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = hex_digit(pair[0]).zip(hex_digit(pair[1])).map(|(high, low)| high << 4 | low).ok_or_else(wrong)?;
    }
    let (ip, rest) = if digits.len() == 32 {
        let ip: [u8; 4] = bytes[..4].try_into().map_err(|_| wrong())?;
        (IpAddr::V4(Ipv4Addr::from(ip)), &bytes[4..16])
    } else {
        let ip: [u8; 16] = bytes[..16].try_into().map_err(|_| wrong())?;
        (IpAddr::V6(Ipv6Addr::from(ip)), &bytes[16..28])
    };
    let port = i32::from_be_bytes(rest[..4].try_into().map_err(|_| wrong())?);
    let at = i64::from_be_bytes(rest[4..].try_into().map_err(|_| wrong())?);
    Ok((SocketAddr::new(ip, u16::try_from(port).map_err(|_| wrong())?), CommitLogOffset(at)))
}

/// Appends the last `N` hexadecimal digits of `value`.
fn push_hex<const N: usize>(text: &mut String, value: u64) {
    let mut digits = [0; N];
    for (place, digit) in digits.iter_mut().rev().enumerate() {
        *digit = b"0123456789ABCDEF"[(value >> (place * 4)) as usize & 15];
    }
    // Digits are UTF-8.
    text.push_str(std::str::from_utf8(&digits).unwrap_or_default());
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn java_hashes_are_javas() {
        assert_eq!(java_hash("TagA"), 2_598_919);
        assert_eq!(java_hash("TagB"), 2_598_920);
        assert_eq!(java_hash("polygenelubricants"), i32::MIN);
        assert_eq!(java_hash("TopicTest#KEY1"), -1_656_969_516);
        assert_eq!(JavaHash::new().update("TopicTest#").update("KEY1").finish(), -1_656_969_516);
        assert_eq!(java_hash("é𝄞"), java_hash_by_units("é𝄞"));
        for n in 0..40 {
            let text = "a1B~z".repeat(8)[..n].to_owned();
            assert_eq!(java_hash(&text), java_hash_by_units(&text));
        }
    }

    fn java_hash_by_units(text: &str) -> i32 {
        text.encode_utf16().fold(0, |hash: i32, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
    }

    #[test]
    fn tags_codes_are_sign_extended() {
        assert_eq!(tags_code("TagA").to_be_bytes(), [0, 0, 0, 0, 0, 0x27, 0xa8, 0x07]);
        assert_eq!(tags_code("polygenelubricants").to_be_bytes(), [0xff, 0xff, 0xff, 0xff, 0x80, 0, 0, 0]);
        assert_eq!(tags_code(""), 0);
    }

    #[test]
    fn crc_has_31_bits() {
        assert_eq!(crc31(b"Hello"), 2_010_220_930);
    }

    #[test]
    fn message_ids_name_a_place() {
        let host: SocketAddr = "10.0.0.1:10911".parse().unwrap();
        assert_eq!(offset_message_id(host, CommitLogOffset(0)), "0A00000100002A9F0000000000000000");
        for host in ["10.0.0.1:10911", "[2001:db8::7]:9"] {
            let host: SocketAddr = host.parse().unwrap();
            let id = offset_message_id(host, CommitLogOffset(81_985_529_216_486_895));
            assert_eq!(parse_offset_message_id(&id), Ok((host, CommitLogOffset(81_985_529_216_486_895))));
        }
        for wrong in ["", "0A", &"Z".repeat(32), &"0A".repeat(20), &"é".repeat(16)] {
            assert!(parse_offset_message_id(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_half_property_is_passed_over() {
        let odd = Properties(b"\x02\x02noseparator\x02\x01v\x02n\x01\x02a\x01b\x01c\x02TAGS\x01old\x02TAGS\x01new");
        let all: Vec<_> = odd.iter().collect();
        assert_eq!(all, [("a", "b\x01c"), ("TAGS", "old"), ("TAGS", "new")]);
        assert_eq!(odd.get("TAGS"), Some("new"));
        assert_eq!(odd.get("n"), None);
    }

    #[test]
    fn editing_keeps_the_order() {
        let before = b"A\x011\x02B\x012\x02C\x013";
        let after = edit_properties(before, &[("B", Some("two")), ("A", None), ("D", Some("4")), ("E", None)]);
        assert_eq!(after, b"B\x01two\x02C\x013\x02D\x014\x02");
        assert_eq!(edit_properties(b"", &[("A", Some("1"))]), b"A\x011\x02");
        assert_eq!(edit_properties(b"A\x011", &[]), b"A\x011\x02");
    }

    #[test]
    fn compression_without_a_type_is_zlib() {
        assert_eq!(SysFlag(0).compression(), None);
        assert_eq!(SysFlag(0x1).compression(), Some(Compression::Zlib));
        assert_eq!(SysFlag(0x101).compression(), Some(Compression::Lz4));
        assert_eq!(SysFlag(0x201).compression(), Some(Compression::Zstd));
        assert_eq!(SysFlag(0x301).compression(), Some(Compression::Zlib));
        assert_eq!(SysFlag(0x8).transaction(), TransactionType::Commit);
    }
}
