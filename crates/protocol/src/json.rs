//! fastjson's JSON, in which RocketMQ writes bodies and tables.
//!
//! It differs from JSON in its map keys: integers stand there without quotes (`{0:"a"}`), and objects do too
//! (`{{"topic":"t","queueId":0}:5}`). [`read`] takes both forms. [`write()`] writes standard JSON, with quoted integers,
//! which every Java client and broker reads; [`write_bare_keys`] writes integer keys bare, for old Go clients, which
//! cut the text apart by hand.

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
    let mut out = Vec::new();
    let mut writer = serde_json::Serializer::with_formatter(&mut out, BareKeys::default());
    match value.serialize(&mut writer) {
        Ok(()) => out,
        Err(_) => Vec::new(),
    }
}

/// Puts quotes around integers that stand as keys, and leaves everything else as it is.
fn quote_bare_keys(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 16);
    let mut rest = text;
    let mut quoted = false;
    while let [byte, behind @ ..] = rest {
        out.push(*byte);
        rest = behind;
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

/// Leaves the quotes of a key away when an integer is written as one.
#[derive(Default)]
struct BareKeys {
    text: Text,
    in_key: bool,
}

/// What is known of the string that is being written.
#[derive(Default, PartialEq)]
enum Text {
    /// Its opening quote is written.
    #[default]
    Quoted,
    /// A key of which nothing is written yet.
    Unknown,
    /// An integer key: no quotes.
    Bare,
}

impl BareKeys {
    fn open<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        if self.text == Text::Unknown {
            self.text = Text::Quoted;
            out.write_all(b"\"")?;
        }
        Ok(())
    }

    fn integer<W: ?Sized + Write>(&mut self, out: &mut W, number: i64) -> io::Result<()> {
        self.text = Text::Bare;
        write!(out, "{number}")
    }
}

impl Formatter for BareKeys {
    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.in_key = true;
        if first { Ok(()) } else { out.write_all(b",") }
    }

    fn end_object_key<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.in_key = false;
        Ok(())
    }

    fn begin_string<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.text = Text::Unknown;
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
        self.open(out)?;
        out.write_all(fragment.as_bytes())
    }

    fn write_char_escape<W: ?Sized + Write>(&mut self, out: &mut W, escape: CharEscape) -> io::Result<()> {
        self.open(out)?;
        CompactFormatter.write_char_escape(out, escape)
    }

    fn end_string<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        if self.text == Text::Bare {
            return Ok(());
        }
        self.open(out)?;
        out.write_all(b"\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn no_text_makes_the_reader_fail_other_than_with_an_error() {
        for text in ["", "{", "{1", "{1:", "\"\\", "{\"a\\", &"[".repeat(100_000), &"{1:".repeat(100_000)] {
            assert!(read::<serde_json::Value>(text.as_bytes()).is_err());
        }
    }
}
