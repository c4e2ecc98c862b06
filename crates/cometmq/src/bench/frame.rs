//! Requests prepared once and sent many times, and answers looked at where they lie.

use protocol::command::{Command, FRAME_SIZE_MAX};
use protocol::message::{property, push_property};
use protocol::request::Request;
use protocol::request::pull::PullMessage;
use protocol::request::send::SendMessage;
use protocol::topic::DEFAULT_TOPIC;
use std::io;
use std::ops::Range;

/// Digits of a unique key that differ from one message to the next.
const KEY_GAP: &str = "ZZZZZZZZZZZZ";
/// Stands for a queue offset; as many digits as one can have.
const OFFSET_GAP: i64 = 1_111_111_111_111_111_111;

/// A whole request, but for digits that are written before each use.
#[derive(Clone)]
pub struct Frame {
    pub bytes: Vec<u8>,
    pub gap: Range<usize>,
}

impl Frame {
    fn new(mut command: Command, opaque: i32, gap: &str) -> Frame {
        command.opaque = opaque;
        let mut bytes = Vec::new();
        command.encode(&mut bytes);
        let start = memchr::memmem::find(&bytes, gap.as_bytes()).unwrap_or(0);
        Frame { bytes, gap: start..start + gap.len() }
    }

    /// Sends a message of `size` bytes to a queue; the gap is the end of its unique key. `producer` makes it differ
    /// from those of other connections.
    pub fn send(topic: &str, queue_id: i32, size: usize, producer: u32, opaque: i32) -> Frame {
        let process = std::process::id() as u16;
        let mut properties = Vec::new();
        push_property(&mut properties, property::UNIQ_KEY, &format!("7F000001{process:04X}{producer:08X}{KEY_GAP}"));
        push_property(&mut properties, property::WAIT, "true");
        let request = SendMessage {
            producer_group: "cometmq-bench".into(),
            topic: topic.into(),
            default_topic: DEFAULT_TOPIC.into(),
            default_topic_queue_nums: 4,
            queue_id,
            born_timestamp: jiff::Timestamp::now().as_millisecond(),
            properties: String::from_utf8(properties).ok(),
            ..SendMessage::default()
        };
        let mut command = request.write();
        command.body = vec![b'x'; size].into();
        Frame::new(command, opaque, KEY_GAP)
    }

    /// Pulls from a queue; the gap is the offset. Waits at the broker for `suspend_millis`, if there is nothing.
    pub fn pull(topic: &str, queue_id: i32, suspend_millis: Option<i64>, opaque: i32) -> Frame {
        let suspend = if suspend_millis.is_some() { PullMessage::SUSPEND } else { 0 };
        let request = PullMessage {
            consumer_group: "TOOLS_CONSUMER".into(),
            topic: topic.into(),
            queue_id,
            queue_offset: OFFSET_GAP,
            max_msg_nums: 32,
            sys_flag: PullMessage::SUBSCRIPTION | suspend,
            commit_offset: 0,
            suspend_timeout_millis: Some(suspend_millis.unwrap_or(0)),
            subscription: Some("*".into()),
            sub_version: Some(0),
            expression_type: Some("TAG".into()),
            max_msg_bytes: Some(256 * 1024),
        };
        Frame::new(request.write(), opaque, &OFFSET_GAP.to_string())
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

    fn decoded(frame: &Frame) -> Command {
        Command::decode(&mut (&frame.bytes[..]).into()).unwrap().unwrap()
    }

    #[test]
    fn a_filled_gap_makes_a_good_request() {
        let mut frame = Frame::send("t", 3, 100, 9, 7);
        write_key(&mut frame.bytes[frame.gap.clone()], 0x1F);
        let command = decoded(&frame);
        let send = SendMessage::read(&command).unwrap();
        assert_eq!((command.opaque, command.body.len(), send.queue_id), (7, 100, 3));
        assert!(send.properties.unwrap().contains("0000000900000000001F\u{2}"));

        let mut frame = Frame::pull("t", 3, Some(5), 8);
        write_offset(&mut frame.bytes[frame.gap.clone()], 4711);
        let pull = PullMessage::read(&decoded(&frame)).unwrap();
        assert_eq!((pull.queue_offset, pull.suspend_timeout_millis), (4711, Some(5)));
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
