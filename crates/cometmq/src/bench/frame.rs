//! Requests prepared once and sent many times, and answers looked at where they lie.

use super::BenchArgs;
use protocol::command::{Command, FRAME_SIZE_MAX};
use protocol::message::{SysFlag, property, push_property};
use protocol::request::Request;
use protocol::request::pull::PullMessage;
use protocol::request::send::SendMessage;
use protocol::request::transaction::EndTransaction;
use protocol::topic::DEFAULT_TOPIC;
use remoting::Credentials;
use remoting::signature::{ACCESS_KEY, Key, SIGNATURE, SIGNATURE_LENGTH, signed_header};
use std::io;
use std::ops::Range;

/// Digits of a unique key that differ from one message to the next.
const KEY_GAP: &str = "ZZZZZZZZZZZZ";
/// Stands for a queue offset; as many digits as one can have. No digits before it make it begin earlier: what is signed stands without
/// anything in between.
const OFFSET_GAP: i64 = 1_234_567_890_987_654_321;

/// Stands for a place in the commit log, likewise.
const PLACE_GAP: i64 = 2_345_678_901_098_765_432;

/// Who sends.
const PRODUCER_GROUP: &str = "cometmq-bench";
/// Who pulls, if nobody is named; brokers have it from the start.
pub const PULL_GROUP: &str = "TOOLS_CONSUMER";

/// Stands for a signature: as long as one, and no base64.
const SIGNATURE_GAP: &str = "?????cometmq bench signs????";
const _: () = assert!(SIGNATURE_GAP.len() == SIGNATURE_LENGTH);

/// A whole request, but for digits that are written before each use, and then signed.
#[derive(Clone)]
pub struct Frame {
    pub bytes: Vec<u8>,
    pub gap: Range<usize>,
    /// `None`: nobody signs.
    pub seal: Option<Seal>,
}

/// How a request is signed that is filled in: by what stands in it then.
#[derive(Clone)]
pub struct Seal {
    key: Key,
    /// What is signed, one behind the other.
    parts: Vec<Part>,
    /// Where the signature stands in the frame.
    signature: Range<usize>,
}

#[derive(Clone)]
enum Part {
    /// It is always the same.
    Fixed(Vec<u8>),
    /// It stands here in the frame, gap or body.
    OfFrame(Range<usize>),
}

impl Seal {
    /// Of a frame and the request that it was made of, in which each of `gaps` stands once.
    fn new(credentials: &Credentials, command: &Command, bytes: &[u8], gaps: &[&str]) -> Seal {
        let range = |within: &[u8], text: &str| {
            let at = memchr::memmem::find(within, text.as_bytes()).unwrap_or(0);
            at..at + text.len()
        };
        // Our own requests name each field once.
        let header = signed_header(command).unwrap_or_default();
        let mut filled: Vec<_> = gaps.iter().map(|gap| (range(&header, gap), range(bytes, gap))).collect();
        filled.sort_by_key(|(in_header, _)| in_header.start);
        filled.dedup();
        let (mut parts, mut from) = (Vec::new(), 0);
        for (in_header, in_frame) in filled {
            parts.push(Part::Fixed(header[from..in_header.start].to_vec()));
            parts.push(Part::OfFrame(in_frame));
            from = in_header.end;
        }
        parts.push(Part::Fixed(header[from..].to_vec()));
        parts.push(Part::OfFrame(bytes.len() - command.body.len()..bytes.len()));
        Seal { key: credentials.key().clone(), parts, signature: range(bytes, SIGNATURE_GAP) }
    }

    /// Signs the frame as it is now.
    pub fn sign(&self, frame: &mut [u8]) {
        let parts = self.parts.iter().map(|part| match part {
            Part::Fixed(bytes) => bytes.as_slice(),
            Part::OfFrame(range) => &frame[range.clone()],
        });
        let signature = self.key.sign(parts);
        frame[self.signature.clone()].copy_from_slice(&signature);
    }
}

impl Frame {
    /// The gap begins with `first` and ends with `last`.
    fn new(mut command: Command, opaque: i32, signs_as: Option<&Credentials>, first: &str, last: &str) -> Frame {
        command.opaque = opaque;
        if let Some(credentials) = signs_as {
            command.ext.push(ACCESS_KEY, credentials.access_key());
            command.ext.push(SIGNATURE, SIGNATURE_GAP);
        }
        let mut bytes = Vec::new();
        command.encode(&mut bytes);
        let find = |text: &str| memchr::memmem::find(&bytes, text.as_bytes()).unwrap_or(0);
        let gap = find(first)..find(last) + last.len();
        let seal = signs_as.map(|credentials| Seal::new(credentials, &command, &bytes, &[first, last]));
        Frame { bytes, gap, seal }
    }

    /// Signs it as it is now, if somebody signs.
    pub fn sign(&mut self) {
        if let Some(seal) = &self.seal {
            seal.sign(&mut self.bytes);
        }
    }

    /// Sends a message to a queue; the gap is the end of its unique key. `producer` makes it differ from those of other
    /// connections.
    pub fn send(args: &BenchArgs, signs_as: Option<&Credentials>, queue_id: i32, producer: u32, opaque: i32) -> Frame {
        let process = std::process::id() as u16;
        let mut properties = Vec::new();
        push_property(&mut properties, property::UNIQ_KEY, &format!("7F000001{process:04X}{producer:08X}{KEY_GAP}"));
        push_property(&mut properties, property::WAIT, "true");
        for (name, value) in &args.property {
            push_property(&mut properties, name, value);
        }
        if args.transaction {
            push_property(&mut properties, property::TRAN_MSG, "true");
            push_property(&mut properties, property::PGROUP, PRODUCER_GROUP);
        }
        let request = SendMessage {
            producer_group: PRODUCER_GROUP.into(),
            topic: args.topic.as_str().into(),
            default_topic: DEFAULT_TOPIC.into(),
            default_topic_queue_nums: 4,
            queue_id,
            born_timestamp: jiff::Timestamp::now().as_millisecond(),
            sys_flag: if args.transaction { SysFlag::TRANSACTION_PREPARED } else { 0 },
            properties: String::from_utf8(properties).ok(),
            ..SendMessage::default()
        };
        let mut command = request.write();
        command.body = vec![b'x'; args.size].into();
        Frame::new(command, opaque, signs_as, KEY_GAP, KEY_GAP)
    }

    /// Commits a transaction; the gap begins with the queue offset of its half message and ends with its place in the
    /// commit log.
    pub fn commit(signs_as: Option<&Credentials>, opaque: i32) -> Frame {
        let request = EndTransaction {
            producer_group: PRODUCER_GROUP.into(),
            offset: OFFSET_GAP,
            commit_log_offset: PLACE_GAP,
            commit_or_rollback: SysFlag::TRANSACTION_COMMIT,
            from_check: Some(false),
            ..EndTransaction::default()
        };
        Frame::new(request.write(), opaque, signs_as, &OFFSET_GAP.to_string(), &PLACE_GAP.to_string())
    }

    /// Pulls from a queue; the gap is the offset. Waits at the broker for `suspend_millis`, if there is nothing.
    /// `sql`: an expression to filter by.
    pub fn pull(
        (group, topic, queue_id): (&str, &str, i32),
        signs_as: Option<&Credentials>,
        suspend_millis: Option<i64>,
        sql: Option<&str>,
        opaque: i32,
    ) -> Frame {
        let suspend = if suspend_millis.is_some() { PullMessage::SUSPEND } else { 0 };
        let request = PullMessage {
            consumer_group: group.into(),
            topic: topic.into(),
            queue_id,
            queue_offset: OFFSET_GAP,
            max_msg_nums: 32,
            sys_flag: PullMessage::SUBSCRIPTION | suspend,
            commit_offset: 0,
            suspend_timeout_millis: Some(suspend_millis.unwrap_or(0)),
            subscription: Some(sql.unwrap_or("*").into()),
            sub_version: Some(0),
            expression_type: Some(if sql.is_some() { "SQL92" } else { "TAG" }.into()),
            max_msg_bytes: Some(256 * 1024),
        };
        Frame::new(request.write(), opaque, signs_as, &OFFSET_GAP.to_string(), &OFFSET_GAP.to_string())
    }
}

/// Fills a gap of a unique key.
pub fn write_key(gap: &mut [u8], mut number: u64) {
    for digit in gap.iter_mut().rev() {
        *digit = b"0123456789ABCDEF"[(number & 15) as usize];
        number >>= 4;
    }
}

/// Fills a gap of an offset, with zeros in front.
pub fn write_offset(gap: &mut [u8], mut number: u64) {
    for digit in gap.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Fills the gap of a [`Frame::commit`].
pub fn write_half(gap: &mut [u8], offset: u64, place: u64) {
    let digits = OFFSET_GAP.to_string().len();
    write_offset(&mut gap[..digits], offset);
    let end = gap.len();
    write_offset(&mut gap[end - digits..], place);
}

/// An answer as it lies in the receive buffer.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    pub whole: &'a [u8],
    pub code: i32,
    pub opaque: i32,
    header: &'a [u8],
    pub body: &'a [u8],
}

impl<'a> Answer<'a> {
    /// The first answer in `bytes`, unless it has not arrived in full.
    pub fn first(bytes: &'a [u8]) -> io::Result<Option<Answer<'a>>> {
        let bad = || io::Error::new(io::ErrorKind::InvalidData, "the broker answers with something that is no frame");
        let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        if !(4..=FRAME_SIZE_MAX).contains(&length) {
            return Err(bad());
        }
        let Some(frame) = rest.get(..length) else { return Ok(None) };
        let (word, frame) = frame.split_first_chunk::<4>().ok_or_else(bad)?;
        let word = u32::from_be_bytes(*word);
        let header = frame.get(..(word & 0xFF_FFFF) as usize).ok_or_else(bad)?;
        let (code, opaque) = if word >> 24 == 0 {
            (json_number(header, b"\"code\":"), json_number(header, b"\"opaque\":"))
        } else {
            let code = header.first_chunk().map(|code| i16::from_be_bytes(*code).into());
            let opaque = header.get(5..9).and_then(|opaque| opaque.try_into().ok()).map(i32::from_be_bytes);
            (code, opaque)
        };
        let (code, opaque) = code.zip(opaque).ok_or_else(bad)?;
        Ok(Some(Answer { whole: &bytes[..4 + length], code, opaque, header, body: &frame[header.len()..] }))
    }

    /// A number among the header's fields, in either encoding: what separates name and value is no digit.
    pub fn field(&self, name: &str) -> Option<u64> {
        let at = memchr::memmem::find(self.header, name.as_bytes())? + name.len();
        let value = &self.header[at..];
        let start = value.iter().position(u8::is_ascii_digit)?;
        let digits = value[start..].iter().take_while(|byte| byte.is_ascii_digit());
        digits.copied().try_fold(0u64, |number, digit| number.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
    }

    /// The place in the commit log that the message id of a send's answer names: its last 16 hexadecimal digits.
    pub fn place(&self) -> Option<u64> {
        let at = memchr::memmem::find(self.header, b"msgId")? + b"msgId".len();
        let id = &self.header[at..];
        let start = id.iter().position(u8::is_ascii_hexdigit)?;
        let id = id[start..].split(|byte| !byte.is_ascii_hexdigit()).next()?;
        u64::from_str_radix(std::str::from_utf8(id.get(id.len().checked_sub(16)?..)?).ok()?, 16).ok()
    }

    /// What it says to people.
    pub fn remark(&self) -> String {
        let decoded = Command::decode(&mut self.whole.into()).ok().flatten();
        decoded.and_then(|command| command.remark).unwrap_or_default()
    }
}

fn json_number(header: &[u8], key: &[u8]) -> Option<i32> {
    let at = memchr::memmem::find(header, key)? + key.len();
    let digits = header[at..].iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'-').count();
    std::str::from_utf8(&header[at..at + digits]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(arguments: &[&str]) -> BenchArgs {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            args: BenchArgs,
        }
        <Line as clap::Parser>::parse_from([&["bench"], arguments].concat()).args
    }

    fn decoded(frame: &Frame) -> Command {
        Command::decode(&mut (&frame.bytes[..]).into()).unwrap().unwrap()
    }

    #[test]
    fn a_filled_gap_makes_a_good_request() {
        let mut frame = Frame::send(&args(&["send", "-t", "t", "-s", "100", "--property", "n=1"]), None, 3, 9, 7);
        write_key(&mut frame.bytes[frame.gap.clone()], 0x1F);
        let command = decoded(&frame);
        let send = SendMessage::read(&command).unwrap();
        assert_eq!((command.opaque, command.body.len(), send.queue_id), (7, 100, 3));
        let properties = send.properties.unwrap();
        assert!(properties.contains("0000000900000000001F\u{2}") && properties.ends_with("n\u{1}1\u{2}"));

        let mut frame = Frame::pull(("g", "t", 3), None, Some(5), None, 8);
        write_offset(&mut frame.bytes[frame.gap.clone()], 4711);
        let pull = PullMessage::read(&decoded(&frame)).unwrap();
        assert_eq!((pull.queue_offset, pull.suspend_timeout_millis), (4711, Some(5)));
    }

    #[test]
    fn what_is_filled_in_is_signed() {
        let who = Credentials::new("alice", "a secret");
        let is_signed = |frame: &Frame| {
            let command = decoded(frame);
            who.key().signed(&command, command.ext.get(SIGNATURE).unwrap()).unwrap()
        };
        // Control characters are written otherwise in a header than they are signed.
        let line = args(&["send", "-t", "主题", "-s", "100", "--property", "n=\"1\""]);
        let mut send = Frame::send(&line, Some(&who), 3, 9, 7);
        for number in [1, 0xABC] {
            write_key(&mut send.bytes[send.gap.clone()], number);
            let body = send.bytes.len() - 100;
            send.bytes[body..body + 8].copy_from_slice(&number.to_be_bytes());
            assert!(!is_signed(&send));
            send.sign();
            assert!(is_signed(&send));
        }
        for queue_id in [0, 1, 11, 12] {
            let mut pull = Frame::pull(("g", "t", queue_id), Some(&who), Some(5), Some("a > 1"), 8);
            write_offset(&mut pull.bytes[pull.gap.clone()], 4711);
            pull.sign();
            assert!(is_signed(&pull), "queue {queue_id}");
        }
        let mut commit = Frame::commit(Some(&who), 8);
        write_half(&mut commit.bytes[commit.gap.clone()], 12, 255);
        commit.sign();
        assert!(is_signed(&commit));
    }

    #[test]
    fn a_commit_names_the_half_message_that_was_answered() {
        let half = decoded(&Frame::send(&args(&["send", "--transaction"]), None, 0, 9, 7));
        assert_eq!(SendMessage::read(&half).unwrap().sys_flag, SysFlag::TRANSACTION_PREPARED);
        let mut answer = Command::response(0);
        answer.ext.push("msgId", "7F00000100002A9F00000000000000FF");
        answer.ext.push("queueOffset", "12");
        let mut bytes = Vec::new();
        answer.encode(&mut bytes);
        let answer = Answer::first(&bytes).unwrap().unwrap();
        let mut frame = Frame::commit(None, 8);
        let gap = frame.gap.clone();
        write_half(&mut frame.bytes[gap], answer.field("queueOffset").unwrap(), answer.place().unwrap());
        let commit = EndTransaction::read(&decoded(&frame)).unwrap();
        assert_eq!((commit.offset, commit.commit_log_offset, commit.commit_or_rollback), (12, 255, 8));
    }

    #[test]
    fn an_answer_is_found_where_it_lies() {
        let mut command = Command::response(21);
        command.opaque = -5;
        command.remark = Some("\"opaque\":1".into());
        command.ext.push("nextBeginOffset", 1234);
        command.body = bytes::Bytes::from_static(b"body");
        let mut bytes = Vec::new();
        command.encode(&mut bytes);
        for cut in 0..bytes.len() {
            assert!(Answer::first(&bytes[..cut]).unwrap().is_none());
        }
        let length = bytes.len();
        bytes.extend_from_slice(b"next");
        let answer = Answer::first(&bytes).unwrap().unwrap();
        assert_eq!((answer.code, answer.opaque, answer.body, answer.whole.len()), (21, -5, &b"body"[..], length));
        assert_eq!((answer.field("nextBeginOffset"), answer.field("other")), (Some(1234), None));
        assert_eq!(answer.remark(), "\"opaque\":1");
        assert!(Answer::first(b"GET / HTTP/1.1").is_err());
    }

    #[test]
    fn a_binary_answer_is_read_too() {
        let mut header = Vec::new();
        header.extend_from_slice(&21i16.to_be_bytes());
        header.push(0);
        header.extend_from_slice(&479i16.to_be_bytes());
        header.extend_from_slice(&77i32.to_be_bytes());
        header.extend_from_slice(&1i32.to_be_bytes());
        header.extend_from_slice(&0i32.to_be_bytes());
        let mut ext = 15i16.to_be_bytes().to_vec();
        ext.extend_from_slice(b"nextBeginOffset");
        ext.extend_from_slice(&2i32.to_be_bytes());
        ext.extend_from_slice(b"42");
        header.extend_from_slice(&(ext.len() as i32).to_be_bytes());
        header.extend_from_slice(&ext);
        let mut bytes = (header.len() as u32 + 4).to_be_bytes().to_vec();
        bytes.extend_from_slice(&(header.len() as u32 | 1 << 24).to_be_bytes());
        bytes.extend_from_slice(&header);
        let answer = Answer::first(&bytes).unwrap().unwrap();
        assert_eq!((answer.code, answer.opaque, answer.field("nextBeginOffset")), (21, 77, Some(42)));
    }
}
