//! A message's stored bytes. The commit log holds them, and a pull reply carries the very same.
//!
//! One record, big-endian, no padding:
//!
//! ```text
//! | total size: 4 | magic: 4 | body crc31: 4 | queue id: 4 | flag: 4 | queue offset: 8 | commit log offset: 8 |
//! | system flag: 4 | born timestamp: 8 | born host: 8 or 20 | store timestamp: 8 | store host: 8 or 20 |
//! | reconsume times: 4 | prepared transaction offset: 8 | body length: 4 | body |
//! | topic length: 1 (V1) or 2 (V2) | topic | properties length: 2 | properties |
//! ```
//!
//! A host is its 4 or 16 address bytes and a 4-byte port; bits of the system flag say which. V2 is written only for
//! topics longer than 127 bytes.
//!
//! [`RecordFields`] encodes, [`Record`] decodes and checks, [`BatchEntries`] walks the body of a client batch.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::message::{CommitLogOffset, Properties, QueueOffset, SysFlag, crc31};

/// First bytes of a record with a one-byte topic length.
#[doc(alias = "MESSAGE_MAGIC_CODE")]
pub const MAGIC_V1: i32 = 0xDAA3_20A7_u32 as i32;
/// First bytes of a record with a two-byte topic length.
#[doc(alias = "MESSAGE_MAGIC_CODE_V2")]
pub const MAGIC_V2: i32 = 0xDAA3_20AB_u32 as i32;
/// Marks the unused rest of a commit log file: rest in bytes (4), this (4).
#[doc(alias = "BLANK_MAGIC_CODE")]
pub const MAGIC_BLANK: i32 = 0xCBD4_3194_u32 as i32;

/// The longest topic of a V1 record, in bytes.
pub const TOPIC_LENGTH_V1_MAX: usize = 127;
/// The longest properties string, in bytes.
pub const PROPERTIES_LENGTH_MAX: usize = i16::MAX as usize;

/// Bytes before the born host; the queue offset, commit log offset and system flag lie in them.
const BEFORE_BORN_HOST: usize = 48;

/// Byte of the queue offset in a record.
pub const QUEUE_OFFSET_AT: usize = 20;
/// Byte of the commit log offset in a record.
pub const COMMIT_LOG_OFFSET_AT: usize = 28;

/// What a record is made of. Borrowed, so that nothing is copied but into the log.
#[derive(Clone, Copy, Debug)]
pub struct RecordFields<'a> {
    /// Topic; up to 127 bytes make a V1 record, more a V2 record.
    pub topic: &'a str,
    /// Queue of the topic.
    pub queue_id: i32,
    /// The producer's own flag; RocketMQ gives it no meaning.
    pub flag: i32,
    /// Place in the queue; 0 for half messages and roll-back marks.
    pub queue_offset: QueueOffset,
    /// Place in the commit log.
    pub commit_log_offset: CommitLogOffset,
    /// See [`SysFlag`]; the encoder sets the two IPv6 bits as the hosts are.
    pub sys_flag: i32,
    /// When the producer made it, in ms since 1970.
    pub born_timestamp: i64,
    /// Who made it.
    pub born_host: SocketAddr,
    /// When it was stored, in ms since 1970.
    pub store_timestamp: i64,
    /// Where it was stored.
    pub store_host: SocketAddr,
    /// How often its consumption failed.
    pub reconsume_times: i32,
    /// Commit log offset of the half message that this commits, else 0.
    pub prepared_transaction_offset: i64,
    /// Body as stored, perhaps compressed.
    pub body: &'a [u8],
    /// [`crc31`] of `body`.
    pub body_crc: u32,
    /// Properties as stored, see [`Properties`]; at most [`PROPERTIES_LENGTH_MAX`] bytes.
    pub properties: &'a [u8],
}

impl RecordFields<'_> {
    /// Size of the record in bytes.
    pub fn encoded_len(&self) -> usize {
        let topic_length = if self.topic.len() > TOPIC_LENGTH_V1_MAX { 2 } else { 1 };
        84 - 16
            + host_len(self.born_host)
            + host_len(self.store_host)
            + 4
            + self.body.len()
            + topic_length
            + self.topic.len()
            + 2
            + self.properties.len()
    }

    /// Appends the record to `out`.
    ///
    /// The caller has checked the limits: topic ≤ 32767 bytes, properties ≤ [`PROPERTIES_LENGTH_MAX`], body < 2 GiB.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let size = self.encoded_len();
        debug_assert!(self.topic.len() <= i16::MAX as usize && self.properties.len() <= PROPERTIES_LENGTH_MAX);
        out.reserve(size);
        let long_topic = self.topic.len() > TOPIC_LENGTH_V1_MAX;
        let sys_flag = self.sys_flag & !(SysFlag::BORN_HOST_V6 | SysFlag::STORE_HOST_V6)
            | if self.born_host.is_ipv6() { SysFlag::BORN_HOST_V6 } else { 0 }
            | if self.store_host.is_ipv6() { SysFlag::STORE_HOST_V6 } else { 0 };

        let mut head = [0u8; 128];
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            head[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        put(&(size as i32).to_be_bytes());
        put(&(if long_topic { MAGIC_V2 } else { MAGIC_V1 }).to_be_bytes());
        put(&self.body_crc.to_be_bytes());
        put(&self.queue_id.to_be_bytes());
        put(&self.flag.to_be_bytes());
        put(&self.queue_offset.0.to_be_bytes());
        put(&self.commit_log_offset.0.to_be_bytes());
        put(&sys_flag.to_be_bytes());
        put(&self.born_timestamp.to_be_bytes());
        put_host(&mut put, self.born_host);
        put(&self.store_timestamp.to_be_bytes());
        put_host(&mut put, self.store_host);
        put(&self.reconsume_times.to_be_bytes());
        put(&self.prepared_transaction_offset.to_be_bytes());
        put(&(self.body.len() as i32).to_be_bytes());

        out.extend_from_slice(&head[..at]);
        out.extend_from_slice(self.body);
        if long_topic {
            out.extend_from_slice(&(self.topic.len() as i16).to_be_bytes());
        } else {
            out.push(self.topic.len() as u8);
        }
        out.extend_from_slice(self.topic.as_bytes());
        out.extend_from_slice(&(self.properties.len() as i16).to_be_bytes());
        out.extend_from_slice(self.properties);
    }
}

fn host_len(host: SocketAddr) -> usize {
    if host.is_ipv6() { 20 } else { 8 }
}

fn put_host(put: &mut impl FnMut(&[u8]), host: SocketAddr) {
    match host.ip() {
        IpAddr::V4(ip) => put(&ip.octets()),
        IpAddr::V6(ip) => put(&ip.octets()),
    }
    put(&i32::from(host.port()).to_be_bytes());
}

/// Why bytes are no record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes end before the record does.
    #[error("the record needs {need} bytes, {have} are there")]
    Truncated {
        /// Bytes that the record takes, as far as it can be told.
        need: usize,
        /// Bytes there are.
        have: usize,
    },
    /// No record begins here, but the unused rest of a commit log file.
    #[error("the unused rest of a file begins here ({rest} bytes)")]
    Blank {
        /// Bytes from here to the end of the file.
        rest: i32,
    },
    /// The magic number is not that of a record.
    #[error("magic number {found:#010x} is not that of a record")]
    Magic {
        /// What stands there.
        found: u32,
    },
    /// A length in the record cannot be.
    #[error("{field} length {length} cannot be")]
    Length {
        /// Which length.
        field: &'static str,
        /// What stands there.
        length: i64,
    },
    /// The fields do not add up to the total size.
    #[error("the record says it has {total} bytes, its fields have {fields}")]
    Size {
        /// What the record says.
        total: usize,
        /// What its fields take.
        fields: usize,
    },
    /// The topic is not UTF-8.
    #[error("the topic is not UTF-8")]
    Topic,
    /// The body is not the one that was stored.
    #[error("the body's checksum is {found:#010x}, stored was {stored:#010x}")]
    Crc {
        /// Checksum in the record.
        stored: u32,
        /// Checksum of the body that is there.
        found: u32,
    },
}

/// A decoded record. It borrows from the bytes it was parsed from.
#[doc(alias = "MessageExt")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The whole record.
    pub bytes: &'a [u8],
    /// [`crc31`] of the body as it was when stored.
    pub body_crc: u32,
    /// Queue of the topic.
    pub queue_id: i32,
    /// The producer's own flag.
    pub flag: i32,
    /// Place in the queue.
    pub queue_offset: QueueOffset,
    /// Place in the commit log.
    pub commit_log_offset: CommitLogOffset,
    /// See [`SysFlag`].
    pub sys_flag: i32,
    /// When the producer made it, in ms since 1970.
    pub born_timestamp: i64,
    /// Who made it.
    pub born_host: SocketAddr,
    /// When it was stored, in ms since 1970.
    pub store_timestamp: i64,
    /// Where it was stored.
    pub store_host: SocketAddr,
    /// How often its consumption failed.
    pub reconsume_times: i32,
    /// Commit log offset of the half message that this commits, else 0.
    pub prepared_transaction_offset: i64,
    /// Body as stored, perhaps compressed.
    pub body: &'a [u8],
    /// Topic.
    pub topic: &'a str,
    /// Properties as stored, see [`Record::properties`].
    pub properties: &'a [u8],
}

impl<'a> Record<'a> {
    /// Decodes the record that `bytes` begin with; more may follow.
    ///
    /// Size, magic and all lengths are checked, the body's checksum is not: see [`Record::verify_crc`].
    pub fn parse(bytes: &'a [u8]) -> Result<Record<'a>, RecordError> {
        let mut head = Reader { bytes, at: 0 };
        let total = head.i32()?;
        let magic = head.i32()?;
        let long_topic = match magic {
            MAGIC_V1 => false,
            MAGIC_V2 => true,
            MAGIC_BLANK => return Err(RecordError::Blank { rest: total }),
            other => return Err(RecordError::Magic { found: other as u32 }),
        };
        let size = length("total", total)?;
        if size > bytes.len() {
            if bytes.len() >= OUTLINE_LEN {
                Outline::of(bytes)?;
            }
            return Err(RecordError::Truncated { need: size, have: bytes.len() });
        }
        let mut reader = Reader { bytes: &bytes[..size], at: 8 };
        let body_crc = reader.i32()? as u32;
        let queue_id = reader.i32()?;
        let flag = reader.i32()?;
        let queue_offset = QueueOffset(reader.i64()?);
        let commit_log_offset = CommitLogOffset(reader.i64()?);
        let sys_flag = reader.i32()?;
        let born_timestamp = reader.i64()?;
        let born_host = reader.host(sys_flag & SysFlag::BORN_HOST_V6 != 0)?;
        let store_timestamp = reader.i64()?;
        let store_host = reader.host(sys_flag & SysFlag::STORE_HOST_V6 != 0)?;
        let reconsume_times = reader.i32()?;
        let prepared_transaction_offset = reader.i64()?;
        let body_length = length("body", reader.i32()?)?;
        check_size(size, reader.at.saturating_add(body_length), long_topic)?;
        let body = reader.take(body_length)?;
        let topic_length =
            if long_topic { i32::from(reader.i16()?) } else { i32::from(i8::from_be_bytes(reader.array()?)) };
        let topic = reader.take(length("topic", topic_length)?)?;
        let properties_length = reader.i16()?;
        let properties = reader.take(length("properties", i32::from(properties_length))?)?;
        if reader.at != size {
            return Err(RecordError::Size { total: size, fields: reader.at });
        }
        let topic = std::str::from_utf8(topic).map_err(|_| RecordError::Topic)?;
        Ok(Record {
            bytes: &bytes[..size],
            body_crc,
            queue_id,
            flag,
            queue_offset,
            commit_log_offset,
            sys_flag,
            born_timestamp,
            born_host,
            store_timestamp,
            store_host,
            reconsume_times,
            prepared_transaction_offset,
            body,
            topic,
            properties,
        })
    }

    /// Is the body the one that was stored?
    pub fn verify_crc(&self) -> Result<(), RecordError> {
        let found = crc31(self.body);
        // An empty body was stored with whatever its writer had: nothing, or nothing's checksum. Both are 0.
        if found == self.body_crc { Ok(()) } else { Err(RecordError::Crc { stored: self.body_crc, found }) }
    }

    /// The properties, to look into.
    pub fn properties(&self) -> Properties<'a> {
        Properties(self.properties)
    }

    /// The records that follow one another in `bytes`, as in a pull reply. Ends after the first error.
    #[doc(alias = "MessageDecoder.decodes")]
    pub fn all(bytes: &'a [u8]) -> impl Iterator<Item = Result<Record<'a>, RecordError>> {
        let mut rest = bytes;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let record = Record::parse(rest);
            rest = record.as_ref().map_or(&[], |record| &rest[record.bytes.len()..]);
            Some(record)
        })
    }
}

/// With so many bytes an [`Outline`] can be told of any record.
pub const OUTLINE_LEN: usize = 112;

/// What the first bytes of a record say of all of it: enough to know what to read, before room is made for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outline {
    /// Bytes of the record.
    pub size: usize,
    /// Place in the commit log.
    pub commit_log_offset: CommitLogOffset,
    /// Where its body ends. Topic and properties follow: at most 64 KiB and a few bytes.
    pub body_end: usize,
    long_topic: bool,
}

impl Outline {
    /// Reads the beginning of a record: [`OUTLINE_LEN`] bytes, or all there are if these are fewer.
    ///
    /// Size and length of the body fit together, or that is an error. No more is checked.
    pub fn of(head: &[u8]) -> Result<Outline, RecordError> {
        let mut reader = Reader { bytes: head, at: 0 };
        let total = reader.i32()?;
        let long_topic = match reader.i32()? {
            MAGIC_V1 => false,
            MAGIC_V2 => true,
            MAGIC_BLANK => return Err(RecordError::Blank { rest: total }),
            other => return Err(RecordError::Magic { found: other as u32 }),
        };
        let size = length("total", total)?;
        reader.at = COMMIT_LOG_OFFSET_AT;
        let commit_log_offset = CommitLogOffset(reader.i64()?);
        let sys_flag = reader.i32()?;
        let host_len = |flag: i32| if sys_flag & flag != 0 { 20 } else { 8 };
        reader.at = BEFORE_BORN_HOST + host_len(SysFlag::BORN_HOST_V6) + 8 + host_len(SysFlag::STORE_HOST_V6) + 12;
        let body_length = length("body", reader.i32()?)?;
        let body_end = reader.at.saturating_add(body_length);
        check_size(size, body_end, long_topic)?;
        Ok(Outline { size, commit_log_offset, body_end, long_topic })
    }

    /// Can the record end with these bytes, all from [`Outline::body_end`] on?
    pub fn may_end_with(&self, tail: &[u8]) -> bool {
        let mut reader = Reader { bytes: tail, at: 0 };
        let mut skip = |long: bool| {
            let len = if long { i32::from(reader.i16()?) } else { i32::from(i8::from_be_bytes(reader.array()?)) };
            reader.take(length("", len)?).map(<[u8]>::len)
        };
        let topic = skip(self.long_topic);
        let properties = skip(true);
        matches!((topic, properties), (Ok(1..), Ok(_)))
            && reader.at == tail.len()
            && self.body_end + tail.len() == self.size
    }
}

/// What follows the body of a record has between these many bytes.
fn check_size(size: usize, body_end: usize, long_topic: bool) -> Result<(), RecordError> {
    let (width, topic_max) = if long_topic { (2, i16::MAX as usize) } else { (1, TOPIC_LENGTH_V1_MAX) };
    let fields = body_end.saturating_add(width + 2);
    if (fields..=fields.saturating_add(topic_max + PROPERTIES_LENGTH_MAX)).contains(&size) {
        return Ok(());
    }
    Err(RecordError::Size { total: size, fields })
}

/// Where the store timestamp of a record stands, from its first 40 bytes.
///
/// `None` if these are too few.
pub fn store_timestamp_at(head: &[u8]) -> Option<usize> {
    let sys_flag = i32::from_be_bytes(head.get(36..40)?.try_into().ok()?);
    Some(BEFORE_BORN_HOST + if sys_flag & SysFlag::BORN_HOST_V6 != 0 { 20 } else { 8 })
}

fn length(field: &'static str, length: i32) -> Result<usize, RecordError> {
    usize::try_from(length).map_err(|_| RecordError::Length { field, length: i64::from(length) })
}

/// Takes fields one after the other from the front of bytes.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], RecordError> {
        let end = self.at.saturating_add(length);
        let taken = self.bytes.get(self.at..end).ok_or(RecordError::Truncated { need: end, have: self.bytes.len() })?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn i16(&mut self) -> Result<i16, RecordError> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    fn i32(&mut self) -> Result<i32, RecordError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    fn i64(&mut self) -> Result<i64, RecordError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// A port that is none reads as 0: Java keeps it in four bytes and no reader cares.
    fn host(&mut self, v6: bool) -> Result<SocketAddr, RecordError> {
        let ip = if v6 {
            IpAddr::V6(Ipv6Addr::from(self.array::<16>()?))
        } else {
            IpAddr::V4(Ipv4Addr::from(self.array::<4>()?))
        };
        Ok(SocketAddr::new(ip, u16::try_from(self.i32()?).unwrap_or(0)))
    }
}

/// One message of a client batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchEntry<'a> {
    /// The producer's own flag.
    pub flag: i32,
    /// Body.
    pub body: &'a [u8],
    /// Properties, see [`Properties`].
    pub properties: &'a [u8],
}

impl BatchEntry<'_> {
    /// Appends the entry to the body of a batch.
    #[doc(alias = "MessageDecoder.encodeMessage")]
    pub fn encode(&self, out: &mut Vec<u8>) {
        let size = 22 + self.body.len() + self.properties.len();
        out.extend_from_slice(&(size as i32).to_be_bytes());
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&self.flag.to_be_bytes());
        out.extend_from_slice(&(self.body.len() as i32).to_be_bytes());
        out.extend_from_slice(self.body);
        out.extend_from_slice(&(self.properties.len() as i16).to_be_bytes());
        out.extend_from_slice(self.properties);
    }
}

/// Walks the body of a client batch. Each entry, big-endian:
///
/// ```text
/// | total size: 4 | magic: 4 | crc: 4 | flag: 4 | body length: 4 | body | properties length: 2 | properties |
/// ```
///
/// Clients write 0 for magic and crc. Ends after the first error.
#[derive(Clone, Debug)]
pub struct BatchEntries<'a> {
    rest: &'a [u8],
}

impl<'a> BatchEntries<'a> {
    /// The entries of `body`.
    pub fn new(body: &'a [u8]) -> BatchEntries<'a> {
        BatchEntries { rest: body }
    }

    fn parse(&mut self) -> Result<BatchEntry<'a>, RecordError> {
        let mut reader = Reader { bytes: self.rest, at: 12 };
        let flag = reader.i32()?;
        let body_length = reader.i32()?;
        let body = reader.take(length("body", body_length)?)?;
        let properties_length = reader.i16()?;
        let properties = reader.take(length("properties", i32::from(properties_length))?)?;
        self.rest = &self.rest[reader.at..];
        Ok(BatchEntry { flag, body, properties })
    }
}

impl<'a> Iterator for BatchEntries<'a> {
    type Item = Result<BatchEntry<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let entry = self.parse();
        if entry.is_err() {
            self.rest = &[];
        }
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn golden() -> Vec<u8> {
        let hex = "0000009fdaa320a777d18982000000000000000000000000000000000000000000000000000000000000018bcfe56800\
                   7f0000010000c3500000018bcfe5687b0a00000100002a9f0000000000000000000000000000000548656c6c6f015400\
                   3e5441475301546167410257414954017472756502554e49515f4b455901414331313030303130303031303030303030\
                   303030303030303030303030414202";
        (0..hex.len()).step_by(2).map(|n| u8::from_str_radix(&hex[n..n + 2], 16).unwrap()).collect()
    }

    fn fields(properties: &[u8]) -> RecordFields<'_> {
        RecordFields {
            topic: "T",
            queue_id: 0,
            flag: 0,
            queue_offset: QueueOffset(0),
            commit_log_offset: CommitLogOffset(0),
            sys_flag: 0,
            born_timestamp: 1_700_000_000_000,
            born_host: "127.0.0.1:50000".parse().unwrap(),
            store_timestamp: 1_700_000_000_123,
            store_host: "10.0.0.1:10911".parse().unwrap(),
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: b"Hello",
            body_crc: crc31(b"Hello"),
            properties,
        }
    }

    #[test]
    fn the_golden_record_is_encoded_byte_for_byte() {
        let properties = b"TAGS\x01TagA\x02WAIT\x01true\x02UNIQ_KEY\x01AC1100010001000000000000000000AB\x02";
        let fields = fields(properties);
        let mut bytes = Vec::new();
        fields.encode(&mut bytes);
        assert_eq!(bytes, golden());
        assert_eq!(fields.encoded_len(), 159);
    }

    #[test]
    fn the_golden_record_is_decoded() {
        let bytes = golden();
        let record = Record::parse(&bytes).unwrap();
        assert_eq!(record.topic, "T");
        assert_eq!(record.body, b"Hello");
        assert_eq!(record.born_host, "127.0.0.1:50000".parse().unwrap());
        assert_eq!(record.store_host, "10.0.0.1:10911".parse().unwrap());
        assert_eq!(record.store_timestamp, 1_700_000_000_123);
        assert_eq!(record.properties().get("UNIQ_KEY"), Some("AC1100010001000000000000000000AB"));
        assert_eq!(store_timestamp_at(&bytes), Some(56));
        record.verify_crc().unwrap();
    }

    #[test]
    fn every_field_comes_back_in_both_versions_and_address_families() {
        let long = "%RETRY%".to_owned() + &"g".repeat(200);
        for topic in ["T", &long] {
            for host in ["1.2.3.4:5", "[fe80::1]:65535"] {
                let mut fields = fields(b"A\x011\x02");
                (fields.topic, fields.born_host, fields.queue_id, fields.flag) = (topic, host.parse().unwrap(), 7, -3);
                (fields.queue_offset, fields.commit_log_offset) = (QueueOffset(1 << 40), CommitLogOffset(1 << 50));
                (fields.reconsume_times, fields.prepared_transaction_offset, fields.sys_flag) = (3, 99, 0x8);
                let mut bytes = Vec::new();
                fields.encode(&mut bytes);
                assert_eq!(bytes.len(), fields.encoded_len());
                let record = Record::parse(&bytes).unwrap();
                assert_eq!(record.topic, topic);
                assert_eq!(record.born_host, fields.born_host);
                assert_eq!(record.store_host, fields.store_host);
                assert_eq!((record.queue_id, record.flag), (7, -3));
                assert_eq!(record.queue_offset, fields.queue_offset);
                assert_eq!(record.commit_log_offset, fields.commit_log_offset);
                assert_eq!((record.reconsume_times, record.prepared_transaction_offset), (3, 99));
                assert_eq!(record.sys_flag & 0x10 != 0, fields.born_host.is_ipv6());
                assert_eq!(record.properties, b"A\x011\x02");
            }
        }
    }

    #[test]
    fn no_cut_and_no_flipped_byte_panics() {
        let bytes = golden();
        for cut in 0..bytes.len() {
            assert!(Record::parse(&bytes[..cut]).is_err());
        }
        for at in 0..bytes.len() {
            for flip in [1, 0x80, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] ^= flip;
                let _ = Record::parse(&bytes).map(|record| record.verify_crc());
            }
        }
    }

    #[test]
    fn the_outline_of_a_record_is_told_from_its_beginning() {
        let long = "%RETRY%".to_owned() + &"g".repeat(200);
        for topic in ["T", &long] {
            for host in ["1.2.3.4:5", "[fe80::1]:65535"] {
                let mut fields = fields(b"A\x011\x02");
                (fields.topic, fields.store_host) = (topic, host.parse().unwrap());
                (fields.commit_log_offset, fields.body) = (CommitLogOffset(1 << 50), &[7; 300]);
                let mut bytes = Vec::new();
                fields.encode(&mut bytes);
                let outline = Outline::of(&bytes[..OUTLINE_LEN]).unwrap();
                assert_eq!((outline.size, outline.commit_log_offset.0), (bytes.len(), 1 << 50));
                let tail = &bytes[outline.body_end..];
                assert!(bytes[..outline.body_end].ends_with(fields.body) && outline.may_end_with(tail));
                assert!(!outline.may_end_with(&tail[1..]) && !outline.may_end_with(&vec![0; tail.len()]));

                // Of a size and a length of the body that do not fit, neither is believed: nobody reads so far.
                bytes[0] = 0x3F;
                assert!(matches!(Outline::of(&bytes), Err(RecordError::Size { .. })));
                assert!(matches!(Record::parse(&bytes), Err(RecordError::Size { .. })));
            }
        }
    }

    #[test]
    fn a_flipped_body_is_noticed() {
        let mut bytes = golden();
        bytes[88] ^= 1;
        assert!(matches!(Record::parse(&bytes).unwrap().verify_crc(), Err(RecordError::Crc { .. })));
    }

    #[test]
    fn the_rest_of_a_file_is_no_record() {
        let mut blank = 4096_i32.to_be_bytes().to_vec();
        blank.extend_from_slice(&MAGIC_BLANK.to_be_bytes());
        assert_eq!(Record::parse(&blank), Err(RecordError::Blank { rest: 4096 }));
    }

    #[test]
    fn a_batch_is_walked_entry_by_entry() {
        let entries = [
            BatchEntry { flag: 1, body: b"one", properties: b"A\x011" },
            BatchEntry { flag: 0, body: b"", properties: b"" },
            BatchEntry { flag: -1, body: &[7; 300], properties: b"B\x012\x02" },
        ];
        let mut body = Vec::new();
        entries.iter().for_each(|entry| entry.encode(&mut body));
        let walked: Result<Vec<_>, _> = BatchEntries::new(&body).collect();
        assert_eq!(walked.unwrap(), entries);
        let cut: Vec<_> = BatchEntries::new(&body[..body.len() - 1]).collect();
        assert!(cut.len() == 3 && cut[2].is_err());
    }

    #[test]
    fn a_pull_reply_is_walked_record_by_record() {
        let mut bytes = golden();
        bytes.extend_from_slice(&golden());
        assert_eq!(Record::all(&bytes).filter(|record| record.is_ok()).count(), 2);
        bytes.pop();
        assert!(Record::all(&bytes).last().unwrap().is_err());
    }
}
