//! fastjson's JSON, in which RocketMQ writes bodies and tables.
//!
//! It differs from JSON in its map keys: integers stand there without quotes (`{0:"a"}`), and objects do too
//! (`{{"topic":"t","queueId":0}:5}`). [`read`] takes both forms. [`write()`] writes standard JSON, with quoted integers,
//! which every Java client and broker reads; [`write_bare_keys`] writes integer keys bare, for old Go clients, which
//! cut the text apart by hand; [`write_object_keys`] writes maps by queue ([`by_queue`]) as Java reads them.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::ser::{CharEscape, CompactFormatter, Formatter};
use std::io::{self, Write};

/// Why text is not the body it should be.
#[derive(Debug, thiserror::Error)]
#[error("unreadable JSON: {0}")]
pub struct BadJson(#[from] serde_json::Error);

/// Reads a body. Bounded: serde_json refuses what is nested deeper than 128.
pub fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, BadJson> {
    Ok(serde_json::from_slice(&quote_bare_keys(text))?)
}

/// Writes compact standard JSON.
pub fn write<T: Serialize>(value: &T) -> Vec<u8> {
    // Only a map with keys that are no strings, or a failing Serialize, could fail; none of our types has either.
    serde_json::to_vec(value).unwrap_or_default()
}

/// Writes compact JSON with bare integer keys.
pub fn write_bare_keys<T: Serialize>(value: &T) -> Vec<u8> {
    JavaKeys::default().write(value)
}

/// Writes compact JSON in which the keys of maps by queue stand as objects, `{{"brokerName":…}:…}`: the only form in which
/// Java reads such maps.
pub fn write_object_keys<T: Serialize>(value: &T) -> Vec<u8> {
    JavaKeys { objects: true, ..JavaKeys::default() }.write(value)
}

/// Maps by queue, `#[serde(with = "json::by_queue")]`: a key is the queue's JSON.
pub mod by_queue {
    use crate::heartbeat::MessageQueue;
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::{Serialize, Serializer};
    use std::collections::BTreeMap;

    /// Writes it; the keys as text, which [`write_object_keys`](super::write_object_keys) takes out of its quotes.
    pub fn serialize<V: Serialize, S: Serializer>(map: &BTreeMap<MessageQueue, V>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(
            map.iter().map(|(queue, value)| (String::from_utf8_lossy(&super::write(queue)).into_owned(), value)),
        )
    }

    /// Reads it.
    pub fn deserialize<'de, V: Deserialize<'de>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<MessageQueue, V>, D::Error> {
        let map: Option<BTreeMap<String, V>> = Option::deserialize(from)?;
        let read = |(key, value): (String, V)| match serde_json::from_str(&key) {
            Ok(queue) => Ok((queue, value)),
            Err(error) => Err(D::Error::custom(format!("a key that is no queue: {error}"))),
        };
        map.unwrap_or_default().into_iter().map(read).collect()
    }
}

/// Puts quotes around integers and objects that stand as keys, and leaves everything else as it is.
fn quote_bare_keys(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 16);
    let mut rest = text;
    let mut quoted = false;
    // What is open: `{` or `[`.
    let mut open = Vec::new();
    while let [byte, behind @ ..] = rest {
        out.push(*byte);
        rest = behind;
        if !quoted {
            match byte {
                b'{' | b'[' => open.push(*byte),
                b'}' | b']' => _ = open.pop(),
                _ => {}
            }
            if matches!(byte, b'{' | b',') && open.last() == Some(&b'{') {
                let blanks = rest.iter().take_while(|b| b.is_ascii_whitespace()).count();
                if rest.get(blanks) == Some(&b'{') {
                    let (key, behind) = rest[blanks..].split_at(object_length(&rest[blanks..]));
                    // No text is made longer by this than its keys are twice over: none is looked at again.
                    out.push(b'"');
                    key.iter().for_each(|byte| match byte {
                        b'"' | b'\\' => out.extend([b'\\', *byte]),
                        control if control.is_ascii_control() => out.push(b' '),
                        _ => out.push(*byte),
                    });
                    out.push(b'"');
                    rest = behind;
                    continue;
                }
            }
        }
        if quoted {
            match byte {
                b'\\' => {
                    out.extend(rest.first());
                    rest = rest.get(1..).unwrap_or_default();
                }
                b'"' => quoted = false,
                _ => {}
            }
        } else if *byte == b'"' {
            quoted = true;
        } else if matches!(byte, b'{' | b',') {
            let blanks = rest.iter().take_while(|b| b.is_ascii_whitespace()).count();
            let digits = rest[blanks..].iter().take_while(|b| b.is_ascii_digit() || **b == b'-').count();
            let (key, behind) = rest.split_at(blanks + digits);
            let colon = behind.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b':');
            if digits > 0 && colon {
                out.push(b'"');
                out.extend_from_slice(&key[blanks..]);
                out.push(b'"');
                rest = behind;
            }
        }
    }
    out
}

/// How long the object is with which `text` begins; all of it, if that object does not end.
fn object_length(text: &[u8]) -> usize {
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' if !quoted => depth += 1,
            b'}' if !quoted => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    text.len()
}

/// Takes keys out of their quotes: integers, and objects' JSON if that is wanted.
#[derive(Default)]
struct JavaKeys {
    objects: bool,
    in_key: bool,
    key: Key,
}

/// What is known of the string that is being written.
#[derive(Default, PartialEq)]
enum Key {
    /// It is no key, or one in quotes: its opening quote is written.
    #[default]
    Text,
    /// A key of which nothing is written yet.
    Unknown,
    /// An integer: no quotes.
    Integer,
    /// An object: it is written as it is.
    Object,
}

impl JavaKeys {
    fn write<T: Serialize>(self, value: &T) -> Vec<u8> {
        let mut out = Vec::new();
        match value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, self)) {
            Ok(()) => out,
            Err(_) => Vec::new(),
        }
    }

    fn open<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        if self.key == Key::Unknown {
            self.key = Key::Text;
            out.write_all(b"\"")?;
        }
        Ok(())
    }

    fn integer<W: ?Sized + Write>(&mut self, out: &mut W, number: i64) -> io::Result<()> {
        self.key = Key::Integer;
        write!(out, "{number}")
    }
}

impl Formatter for JavaKeys {
    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.in_key = true;
        if first { Ok(()) } else { out.write_all(b",") }
    }

    fn end_object_key<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.in_key = false;
        Ok(())
    }

    fn begin_string<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.key = Key::Unknown;
        if self.in_key { Ok(()) } else { self.open(out) }
    }

    fn write_i64<W: ?Sized + Write>(&mut self, out: &mut W, number: i64) -> io::Result<()> {
        self.integer(out, number)
    }

    fn write_i32<W: ?Sized + Write>(&mut self, out: &mut W, number: i32) -> io::Result<()> {
        self.integer(out, number.into())
    }

    fn write_u32<W: ?Sized + Write>(&mut self, out: &mut W, number: u32) -> io::Result<()> {
        self.integer(out, number.into())
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        if self.objects && self.key == Key::Unknown && fragment.starts_with('{') {
            self.key = Key::Object;
        }
        self.open(out)?;
        out.write_all(fragment.as_bytes())
    }

    fn write_char_escape<W: ?Sized + Write>(&mut self, out: &mut W, escape: CharEscape) -> io::Result<()> {
        self.open(out)?;
        match escape {
            CharEscape::Quote if self.key == Key::Object => out.write_all(b"\""),
            CharEscape::ReverseSolidus if self.key == Key::Object => out.write_all(b"\\"),
            escape => CompactFormatter.write_char_escape(out, escape),
        }
    }

    fn end_string<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        if matches!(self.key, Key::Integer | Key::Object) {
            return Ok(());
        }
        self.open(out)?;
        out.write_all(b"\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heartbeat::MessageQueue;
    use std::collections::BTreeMap;

    #[test]
    fn integer_keys_are_read_quoted_and_bare() {
        let expected = BTreeMap::from([(-1i64, "a,1:b"), (7, "c\"{2:")].map(|(k, v)| (k, v.to_owned())));
        for text in
            [r#"{-1:"a,1:b",7:"c\"{2:"}"#, r#"{"-1":"a,1:b", "7":"c\"{2:"}"#, "{ -1 :\"a,1:b\",\n\t7:\"c\\\"{2:\"}"]
        {
            assert_eq!(read::<BTreeMap<i64, String>>(text.as_bytes()).unwrap(), expected, "{text}");
        }
        assert_eq!(read::<Vec<i32>>(b"[1,2,-3]").unwrap(), [1, 2, -3]);
    }

    #[test]
    fn integer_keys_are_written_quoted_or_bare() {
        let table = BTreeMap::from([("", BTreeMap::from([(0i64, "x"), (12, "")])), ("k\n", BTreeMap::new())]);
        assert_eq!(write(&table), br#"{"":{"0":"x","12":""},"k\n":{}}"#);
        assert_eq!(write_bare_keys(&table), br#"{"":{0:"x",12:""},"k\n":{}}"#);
        assert_eq!(write_bare_keys(&BTreeMap::from([("n", vec![1i64, 2])])), br#"{"n":[1,2]}"#);
    }

    #[test]
    fn maps_by_queue_are_read_and_written_with_objects_as_keys() {
        #[derive(Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        struct Body {
            #[serde(with = "by_queue")]
            table: BTreeMap<MessageQueue, i64>,
            rest: Vec<BTreeMap<String, i64>>,
        }
        let queue = |topic: &str, queue_id| MessageQueue { broker_name: "b".into(), queue_id, topic: topic.into() };
        let table = BTreeMap::from([(queue("T", 0), 5), (queue("a\"\\{", 1), -1)]);
        let body = Body { table, rest: vec![BTreeMap::from([("x\"".into(), 1)]), BTreeMap::new()] };
        let text = br#"{"table":{{"brokerName":"b","queueId":0,"topic":"T"}:5,{"brokerName":"b","queueId":1,"topic":"a\"\\{"}:-1},"rest":[{"x\"":1},{}]}"#;
        assert_eq!(String::from_utf8(write_object_keys(&body)).unwrap(), String::from_utf8(text.to_vec()).unwrap());
        assert_eq!(read::<Body>(text).unwrap(), body);
        assert_eq!(read::<Body>(&write(&body)).unwrap(), body, "also quoted, as standard JSON has it");
        let spaced =
            b"{ \"rest\" : [ ] , \"table\" : { { \"queueId\" : \"3\",\n\"topic\":\"T\" } : 7 , {\"queueId\":4}:8 } }";
        assert_eq!(read::<Body>(spaced).unwrap().table.values().copied().collect::<Vec<_>>(), [7, 8]);
        assert_eq!(read::<Body>(br#"{"table":null,"rest":[]}"#).unwrap(), Body::default());
        assert!(read::<Body>(br#"{"table":{"T":1},"rest":[]}"#).is_err());
    }

    #[test]
    fn no_text_makes_the_reader_fail_other_than_with_an_error() {
        for text in
            ["", "{", "{1", "{1:", "\"\\", "{\"a\\", &"[".repeat(100_000), &"{1:".repeat(100_000), &"{".repeat(100_000)]
        {
            assert!(read::<serde_json::Value>(text.as_bytes()).is_err());
        }
    }
}
