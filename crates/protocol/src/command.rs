//! A frame: what travels on a connection, in both directions.
//!
//! ```text
//! | length: 4 | header encoding: 1 | header length: 3 | header | body |
//! ```
//!
//! Big-endian; `length` counts everything behind itself. The header is JSON (encoding 0) or RocketMQ's binary form
//! (encoding 1). We read both, tolerate what old C++, Go and JavaScript clients write, and always write JSON: every
//! client reads it, whatever it sent.
//!
//! Java: `org.apache.rocketmq.remoting.protocol.RemotingCommand`.

use bytes::{Buf, Bytes, BytesMut};
use std::borrow::Cow;
use std::fmt::Display;
use std::ops::Range;

/// The largest frame taken, in bytes, its length field included (`com.rocketmq.remoting.frameMaxLength`).
pub const FRAME_SIZE_MAX: usize = 16 * 1024 * 1024;

/// The version that we report, `V5_3_3` in Java's `MQVersion`: clients and tools unlock features by it.
pub const VERSION: i32 = 479;

const RESPONSE: i32 = 1;
const ONEWAY: i32 = 2;

const FIELDS_USUAL: usize = 16;
const TEXT_USUAL: usize = 256;

/// A request or a response.
#[doc(alias = "RemotingCommand")]
#[derive(Debug, Clone, Default)]
pub struct Command {
    /// Request code, or response code where [`Command::is_response`].
    pub code: i32,
    /// The sender's language.
    pub language: Language,
    /// The sender's version, an ordinal of Java's `MQVersion`; 0 when it sent none.
    pub version: i32,
    /// Pairs a response with its request, per direction of a connection.
    pub opaque: i32,
    /// Bit 0: response. Bit 1: oneway.
    pub flag: i32,
    /// Text for people; of an error, its reason.
    pub remark: Option<String>,
    /// The header's own fields.
    pub ext: ExtFields,
    /// Opaque bytes.
    pub body: Bytes,
}

impl Command {
    /// A request of this code, with no fields and no body.
    pub fn request(code: i32) -> Command {
        Command { code, version: VERSION, ..Command::default() }
    }

    /// A response with this code; who sends it fills in `opaque`.
    pub fn response(code: i32) -> Command {
        Command { code, version: VERSION, flag: RESPONSE, ..Command::default() }
    }

    /// True of a response, false of a request.
    pub fn is_response(&self) -> bool {
        self.flag & RESPONSE != 0
    }

    /// True when the sender wants no answer, not even an error.
    pub fn is_oneway(&self) -> bool {
        self.flag & ONEWAY != 0
    }

    /// Marks a request as one that wants no answer.
    pub fn oneway(mut self) -> Command {
        self.flag |= ONEWAY;
        self
    }

    /// Takes one whole frame off the front of `buffer`; `None` when it has not arrived in full yet.
    ///
    /// An error means that the stream can't be trusted any more: close the connection. Never reserves memory for what
    /// a length field only announces.
    pub fn decode(buffer: &mut BytesMut) -> Result<Option<Command>, BadFrame> {
        let Some(length) = buffer.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        if !(4..=FRAME_SIZE_MAX - 4).contains(&length) {
            return Err(BadFrame::Length(length));
        }
        if buffer.len() < 4 + length {
            return Ok(None);
        }
        buffer.advance(4);
        let mut frame = buffer.split_to(length);
        let word = frame.get_u32();
        let (encoding, header_length) = (word >> 24, (word & 0x00ff_ffff) as usize);
        if header_length > frame.len() {
            return Err(BadFrame::HeaderLength { header: header_length, frame: length });
        }
        let body = frame.split_off(header_length).freeze();
        let mut command = match encoding {
            0 => json::decode(&frame)?,
            1 => binary::decode(&frame)?,
            other => return Err(BadFrame::Encoding(other)),
        };
        command.body = body;
        Ok(Some(command))
    }

    /// Appends the whole frame to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.encode_head(self.body.len(), out);
        out.extend_from_slice(&self.body);
    }

    /// Appends all of the frame but its body, of which `body_size` bytes are to follow.
    pub fn encode_head(&self, body_size: usize, out: &mut Vec<u8>) {
        let (code, language, version) = (self.code, self.language, self.version);
        let remark = self.remark.as_deref();
        let head = |fields| Head { code, language, version, flag: self.flag, opaque: self.opaque, remark, fields };
        if self.ext.received {
            head(self.ext.iter().collect::<ExtFields>().json.as_bytes()).encode(body_size, out);
        } else {
            head(self.ext.json.as_bytes()).encode(body_size, out);
        }
    }
}

/// A header that only has to be written.
#[derive(Debug, Clone, Copy)]
struct Head<'a> {
    code: i32,
    language: Language,
    version: i32,
    opaque: i32,
    flag: i32,
    remark: Option<&'a str>,
    /// As JSON, without braces.
    fields: &'a [u8],
}

impl Head<'_> {
    fn encode(&self, body_size: usize, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; 8]);
        json::encode(self, out);
        let header = out.len() - start - 8;
        out[start..start + 4].copy_from_slice(&((4 + header + body_size) as u32).to_be_bytes());
        out[start + 4..start + 8].copy_from_slice(&(header as u32).to_be_bytes());
    }
}

/// A response that only has to be written: the fields stand in it as they travel.
#[derive(Debug, Default)]
pub struct Response {
    /// Response code.
    pub code: i32,
    /// Text for people; of an error, its reason.
    pub remark: Option<String>,
    /// The header's own fields.
    pub fields: JsonFields,
}

impl Response {
    /// Appends all of the frame but its body, of which `body_size` bytes are to follow.
    pub fn encode_head(&self, opaque: i32, body_size: usize, out: &mut Vec<u8>) {
        let (code, remark, fields) = (self.code, self.remark.as_deref(), &*self.fields.json);
        Head { code, language: Language::JAVA, version: VERSION, opaque, flag: RESPONSE, remark, fields }
            .encode(body_size, out);
    }
}

/// Takes the fields of a header, one behind the other. Their names are RocketMQ's: no quote, backslash or control
/// character is in them.
pub trait Fields {
    /// Adds a field whose value is a number.
    fn push_number(&mut self, key: &str, value: i64);

    /// Adds a field whose value is text.
    fn push_str(&mut self, key: &str, value: &str);
}

/// Fields that only have to be written.
#[derive(Debug, Default)]
pub struct JsonFields {
    json: Vec<u8>,
}

impl JsonFields {
    #[inline]
    fn push_key(&mut self, key: &str) {
        debug_assert!(json::is_plain(key), "{key}");
        if self.json.is_empty() {
            // One allocation, for most headers.
            self.json.reserve(TEXT_USUAL);
            self.json.push(b'"');
        } else {
            self.json.extend_from_slice(b",\"");
        }
        self.json.extend_from_slice(key.as_bytes());
        self.json.extend_from_slice(b"\":\"");
    }
}

impl Fields for JsonFields {
    #[inline]
    fn push_number(&mut self, key: &str, value: i64) {
        self.push_key(key);
        self.json.extend_from_slice(digits(value, &mut [0; 20]));
        self.json.push(b'"');
    }

    #[inline]
    fn push_str(&mut self, key: &str, value: &str) {
        self.push_key(key);
        json::escape(value, &mut self.json);
        self.json.push(b'"');
    }
}

/// Why a connection's bytes can't be a frame. There is no answer to it: the connection is closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    /// The announced length is impossible.
    #[error("a frame announces {0} bytes; 4 to {max} are possible", max = FRAME_SIZE_MAX - 4)]
    Length(usize),
    /// The header would be longer than its frame.
    #[error("a frame of {frame} bytes announces a header of {header}")]
    HeaderLength {
        /// Announced for the header, bytes.
        header: usize,
        /// Announced for the frame, bytes.
        frame: usize,
    },
    /// Neither JSON (0) nor binary (1).
    #[error("unknown header encoding {0}; 0 (JSON) and 1 (ROCKETMQ) are known")]
    Encoding(u32),
    /// The header's bytes don't parse.
    #[error("unreadable header: {0}")]
    Header(&'static str),
}

/// The fields of a header, in order, as text. Looked up by a scan: there are at most two dozen.
#[doc(alias = "extFields")]
#[derive(Debug, Clone, Default)]
pub struct ExtFields {
    /// All fields as JSON, without the braces around them.
    json: String,
    /// Names and values that stand escaped in `json`, one behind the other.
    unescaped: String,
    fields: Vec<Field>,
    /// `json` is how someone else wrote it, who may have written more than fields.
    received: bool,
}

#[derive(Debug, Clone, Copy)]
struct Field {
    key: Span,
    value: Span,
}

/// A piece of `ExtFields::json`, or of `ExtFields::unescaped`. A header is at most 16 MiB long.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    const UNESCAPED: u32 = 1 << 31;

    fn plain(start: usize, end: usize) -> Span {
        Span { start: start as u32, end: end as u32 }
    }

    fn unescaped(start: usize, end: usize) -> Span {
        Span { start: start as u32 | Span::UNESCAPED, end: end as u32 }
    }

    fn len(self) -> u32 {
        self.end - (self.start & !Span::UNESCAPED)
    }
}

impl ExtFields {
    /// The value of `key`, if it was sent.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(k, _)| *k == key).map(|(_, value)| value)
    }

    /// All fields in the order in which they were sent.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|field| (self.text(field.key), self.text(field.value)))
    }

    fn text(&self, Span { start, end }: Span) -> &str {
        let of = if start & Span::UNESCAPED == 0 { &self.json } else { &self.unescaped };
        &of[(start & !Span::UNESCAPED) as usize..end as usize]
    }

    /// The value of each field whose name is one letter, with that letter.
    pub fn letters(&self) -> impl Iterator<Item = (u8, &str)> {
        self.fields.iter().filter(|field| field.key.len() == 1).filter_map(|field| {
            let letter = self.json.as_bytes().get(field.key.start as usize)?;
            Some((*letter, self.text(field.value)))
        })
    }

    /// Adds a field behind the others.
    pub fn push(&mut self, key: &str, value: impl Display) {
        self.add(key, &value.to_string());
    }

    fn add(&mut self, key: &str, value: &str) {
        if self.fields.capacity() == 0 {
            // One allocation each, for most headers.
            self.fields.reserve(FIELDS_USUAL);
            self.json.reserve(TEXT_USUAL);
        }
        self.json.push_str(if self.fields.is_empty() { "\"" } else { ",\"" });
        let key = self.add_text(key);
        self.json.push_str("\":\"");
        let value = self.add_text(value);
        self.json.push('"');
        self.fields.push(Field { key, value });
    }

    fn add_text(&mut self, text: &str) -> Span {
        let (start, from) = (self.json.len(), self.unescaped.len());
        if json::is_plain(text) {
            self.json.push_str(text);
            return Span::plain(start, self.json.len());
        }
        let mut escaped = Vec::new();
        json::escape(text, &mut escaped);
        // Escaping takes whole characters only.
        self.json.push_str(&String::from_utf8_lossy(&escaped));
        self.unescaped.push_str(text);
        Span::unescaped(from, self.unescaped.len())
    }

    /// True when there is no field.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}

impl Fields for ExtFields {
    fn push_number(&mut self, key: &str, value: i64) {
        // Digits are UTF-8.
        self.add(key, std::str::from_utf8(digits(value, &mut [0; 20])).unwrap_or_default());
    }

    fn push_str(&mut self, key: &str, value: &str) {
        self.add(key, value);
    }
}

impl PartialEq for ExtFields {
    fn eq(&self, other: &ExtFields) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for ExtFields {}

impl<'a> FromIterator<(&'a str, &'a str)> for ExtFields {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(fields: I) -> ExtFields {
        let mut ext = ExtFields::default();
        fields.into_iter().for_each(|(key, value)| ext.add(key, value));
        ext
    }
}

/// A number in decimal, in the last bytes of `buffer`.
fn digits(value: i64, buffer: &mut [u8; 20]) -> &[u8] {
    let mut at = buffer.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        buffer[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        at -= 1;
        buffer[at] = b'-';
    }
    &buffer[at..]
}

/// What a client is written in; unknown names are `OTHER`.
#[doc(alias = "LanguageCode")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Language(pub u8);

const LANGUAGES: [&str; 14] = [
    "JAVA", "CPP", "DOTNET", "PYTHON", "DELPHI", "ERLANG", "RUBY", "OTHER", "HTTP", "GO", "PHP", "OMS", "RUST",
    "NODE_JS",
];

impl Language {
    /// What servers say of themselves.
    pub const JAVA: Language = Language(0);
    /// Clients that read 8-byte-keyed maps by hand: C++.
    pub const CPP: Language = Language(1);
    /// Any that we have no number for.
    pub const OTHER: Language = Language(7);

    /// RocketMQ's name of it.
    pub fn name(self) -> &'static str {
        LANGUAGES.get(self.0 as usize).copied().unwrap_or("OTHER")
    }

    /// Of its name, or of its number as text, which some clients write.
    fn of_name(name: &str) -> Language {
        if name.starts_with(|first: char| first.is_ascii_digit()) {
            return name.parse().map_or(Language::OTHER, Language);
        }
        LANGUAGES.iter().position(|known| *known == name).map_or(Language::OTHER, |i| Language(i as u8))
    }
}

/// The JSON header.
mod json {
    use super::*;

    pub fn encode(head: &Head<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"code\":");
        number(head.code, out);
        if !head.fields.is_empty() {
            out.extend_from_slice(b",\"extFields\":{");
            out.extend_from_slice(head.fields);
            out.push(b'}');
        }
        out.extend_from_slice(b",\"flag\":");
        number(head.flag, out);
        out.extend_from_slice(b",\"language\":\"");
        out.extend_from_slice(head.language.name().as_bytes());
        out.extend_from_slice(b"\",\"opaque\":");
        number(head.opaque, out);
        if let Some(remark) = head.remark {
            out.extend_from_slice(b",\"remark\":\"");
            escape(remark, out);
            out.push(b'"');
        }
        out.extend_from_slice(b",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":");
        number(head.version, out);
        out.push(b'}');
    }

    fn number(value: i32, out: &mut Vec<u8>) {
        out.extend_from_slice(digits(value.into(), &mut [0; 20]));
    }

    /// Must this byte be escaped in a JSON string?
    fn is_special(byte: u8) -> bool {
        matches!(byte, b'"' | b'\\' | ..0x20)
    }

    /// Does `text` stand in a JSON string as it is? Looks at all of it, many bytes at a time.
    pub fn is_plain(text: &str) -> bool {
        !text.bytes().fold(false, |special, byte| special | is_special(byte))
    }

    /// Appends `text` as it stands between the quotes of a JSON string.
    pub fn escape(text: &str, out: &mut Vec<u8>) {
        if is_plain(text) {
            return out.extend_from_slice(text.as_bytes());
        }
        for byte in text.bytes() {
            match byte {
                b'"' => out.extend_from_slice(b"\\\""),
                b'\\' => out.extend_from_slice(b"\\\\"),
                b'\n' => out.extend_from_slice(b"\\n"),
                ..0x20 => {
                    const HEX: &[u8; 16] = b"0123456789abcdef";
                    let digits = [HEX[(byte >> 4) as usize], HEX[(byte & 15) as usize]];
                    out.extend_from_slice(b"\\u00");
                    out.extend_from_slice(&digits);
                }
                _ => out.push(byte),
            }
        }
    }

    pub fn decode(header: &[u8]) -> Result<Command, BadFrame> {
        let text = std::str::from_utf8(header).map_err(|_| BadFrame::Header("not UTF-8"))?;
        let mut scan = Scan { text, at: 0 };
        let mut command = Command::default();
        scan.expect(b'{', "no JSON object")?;
        while scan.next_key()? {
            match scan.key()? {
                Key::Code => command.code = scan.integer()?,
                Key::Flag => command.flag = scan.integer()?,
                Key::Opaque => command.opaque = scan.integer()?,
                Key::Version => command.version = scan.integer()?,
                Key::Language => command.language = Language::of_name(&scan.plain()?),
                Key::Remark => {
                    let mut remark = String::new();
                    command.remark = scan.value(&mut remark)?.then_some(remark);
                }
                Key::ExtFields => command.ext = scan.ext_fields()?,
                Key::Other => scan.skip()?,
            }
        }
        scan.blanks();
        if scan.at < text.len() { Err(BadFrame::Header("bytes behind the JSON object")) } else { Ok(command) }
    }

    #[derive(Clone, Copy)]
    enum Key {
        Code,
        ExtFields,
        Flag,
        Language,
        Opaque,
        Remark,
        Version,
        Other,
    }

    /// As they stand in nearly every header.
    const KEYS: [(&[u8], Key); 7] = [
        (b"\"code\":", Key::Code),
        (b"\"extFields\":", Key::ExtFields),
        (b"\"flag\":", Key::Flag),
        (b"\"language\":", Key::Language),
        (b"\"opaque\":", Key::Opaque),
        (b"\"remark\":", Key::Remark),
        (b"\"version\":", Key::Version),
    ];

    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;

    /// The lowest high bit of the result marks the first byte of `word` that equals `byte`.
    fn equal(word: u64, byte: u8) -> u64 {
        let zero_where_equal = word ^ (ONES * u64::from(byte));
        zero_where_equal.wrapping_sub(ONES) & !zero_where_equal & HIGHS
    }

    /// A cursor over one JSON object. It goes no deeper than header and extFields; anything deeper is skipped by
    /// counting brackets, so that no nesting costs stack.
    struct Scan<'a> {
        text: &'a str,
        at: usize,
    }

    impl<'a> Scan<'a> {
        fn peek(&self) -> Option<u8> {
            self.text.as_bytes().get(self.at).copied()
        }

        fn blanks(&mut self) {
            while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
                self.at += 1;
            }
        }

        fn expect(&mut self, byte: u8, otherwise: &'static str) -> Result<(), BadFrame> {
            if self.peek() != Some(byte) {
                self.blanks();
            }
            if self.peek() == Some(byte) {
                self.at += 1;
                Ok(())
            } else {
                Err(BadFrame::Header(otherwise))
            }
        }

        /// Inside an object: goes to the next key (true), or behind the object's end (false).
        fn next_key(&mut self) -> Result<bool, BadFrame> {
            loop {
                match self.peek() {
                    Some(b'"') => return Ok(true),
                    Some(b',') => self.at += 1,
                    Some(b' ' | b'\n' | b'\r' | b'\t') => self.blanks(),
                    Some(b'}') => {
                        self.at += 1;
                        return Ok(false);
                    }
                    _ => return Err(BadFrame::Header("a JSON object that does not end")),
                }
            }
        }

        /// Passes a key and its colon.
        fn key(&mut self) -> Result<Key, BadFrame> {
            let rest = &self.text.as_bytes()[self.at..];
            // No two begin with the same letter.
            let mut likely = KEYS.iter().filter(|(key, _)| key.get(1) == rest.get(1));
            if let Some((key, known)) = likely.next()
                && rest.starts_with(key)
            {
                self.at += key.len();
                return Ok(*known);
            }
            let key = self.plain()?;
            self.expect(b':', "no colon behind a key")?;
            let known = KEYS.iter().find(|(known, _)| known[1..known.len() - 2] == *key.as_bytes());
            Ok(known.map_or(Key::Other, |(_, known)| *known))
        }

        fn ext_fields(&mut self) -> Result<ExtFields, BadFrame> {
            self.blanks();
            if self.peek() != Some(b'{') {
                self.skip()?;
                return Ok(ExtFields::default());
            }
            self.at += 1;
            let begin = self.at;
            let mut unescaped = String::new();
            let mut fields = Vec::with_capacity(FIELDS_USUAL);
            while self.next_key()? {
                if let Some((key, value)) = self.plain_field() {
                    let of = |string: Range<usize>| Span::plain(string.start - begin, string.end - begin);
                    fields.push(Field { key: of(key), value: of(value) });
                    continue;
                }
                let Some(key) = self.span(begin, &mut unescaped)? else { continue };
                self.expect(b':', "no colon behind a key")?;
                if let Some(value) = self.span(begin, &mut unescaped)? {
                    fields.push(Field { key, value });
                }
            }
            // One copy of all of them, in which they are found where they stand.
            let json = self.text[begin..self.at - 1].to_owned();
            Ok(ExtFields { json, unescaped, fields, received: true })
        }

        /// Passes a field as nearly all of them are, `"key":"value"` without blanks and escapes. Else it goes nowhere.
        fn plain_field(&mut self) -> Option<(Range<usize>, Range<usize>)> {
            let bytes = self.text.as_bytes();
            let start = self.at + 1;
            let key = match bytes.get(start..)?.first_chunk()? {
                // Most have one letter.
                [letter, b'"', b':', b'"'] if !matches!(letter, b'"' | b'\\') => start..start + 1,
                _ => start..self.quote_or_escape(start)?,
            };
            if bytes.get(key.end..)?.first_chunk()? != b"\":\"" {
                return None;
            }
            let value = key.end + 3..self.quote_or_escape(key.end + 3)?;
            if *bytes.get(value.end)? != b'"' {
                return None;
            }
            self.at = value.end + 1;
            Some((key, value))
        }

        /// Where the scalar stands that begins here, counted from `begin`; unescaped if need be. `None` when it is null.
        fn span(&mut self, begin: usize, unescaped: &mut String) -> Result<Option<Span>, BadFrame> {
            if self.peek() != Some(b'"') {
                self.blanks();
            }
            let start = self.at;
            if self.peek() == Some(b'"') {
                if let Some(end) = self.plain_string() {
                    return Ok(Some(Span::plain(start + 1 - begin, end - begin)));
                }
                let from = unescaped.len();
                unescaped.reserve(TEXT_USUAL);
                self.string(unescaped)?;
                return Ok(Some(Span::unescaped(from, unescaped.len())));
            }
            self.skip()?;
            let raw = self.text[start..self.at].trim_ascii_end();
            Ok((raw != "null").then_some(Span::plain(start - begin, start + raw.len() - begin)))
        }

        /// Passes the string that begins here and returns where it ends; `None`, and goes nowhere, when it has escapes.
        fn plain_string(&mut self) -> Option<usize> {
            let end = self.quote_or_escape(self.at + 1)?;
            (self.text.as_bytes()[end] == b'"').then(|| {
                self.at = end + 1;
                end
            })
        }

        /// Where the next quote or backslash stands.
        fn quote_or_escape(&self, from: usize) -> Option<usize> {
            let bytes = self.text.as_bytes();
            let mut at = from;
            while let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
                let word = u64::from_le_bytes(*word);
                let found = equal(word, b'"') | equal(word, b'\\');
                if found != 0 {
                    return Some(at + found.trailing_zeros() as usize / 8);
                }
                at += 8;
            }
            let tail = bytes.get(at..)?.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
            Some(at + tail)
        }

        /// Appends a scalar as text: strings unescaped, numbers and booleans as written, anything nested as its JSON.
        /// False when it is null.
        fn value(&mut self, out: &mut String) -> Result<bool, BadFrame> {
            self.blanks();
            if self.peek() == Some(b'"') {
                self.string(out)?;
                return Ok(true);
            }
            let start = self.at;
            self.skip()?;
            let raw = self.text[start..self.at].trim_ascii_end();
            if raw == "null" {
                return Ok(false);
            }
            out.push_str(raw);
            Ok(true)
        }

        /// The value that begins here, borrowed where it is a string without escapes.
        fn plain(&mut self) -> Result<Cow<'a, str>, BadFrame> {
            if self.peek() != Some(b'"') {
                self.blanks();
            }
            let start = self.at + 1;
            if self.peek() == Some(b'"')
                && let Some(end) = self.plain_string()
            {
                return Ok(Cow::Borrowed(&self.text[start..end]));
            }
            let mut value = String::new();
            self.value(&mut value)?;
            Ok(Cow::Owned(value))
        }

        fn integer(&mut self) -> Result<i32, BadFrame> {
            // Codes beyond i32 don't exist; a number out of range is no header of ours.
            const NONE: BadFrame = BadFrame::Header("a number that is none");
            self.blanks();
            let start = self.at;
            let negative = self.peek() == Some(b'-');
            self.at += usize::from(negative);
            let mut value = 0i64;
            while let Some(digit @ b'0'..=b'9') = self.peek() {
                value = (value * 10 + i64::from(digit - b'0')).min(1 << 32);
                self.at += 1;
            }
            if self.at > start {
                let value = if negative { -value } else { value };
                let has_digits = self.at > start + usize::from(negative);
                return i32::try_from(value).ok().filter(|_| has_digits).ok_or(NONE);
            }
            let value = self.plain()?;
            if value.is_empty() {
                return Ok(0);
            }
            value.trim().parse().map_err(|_| NONE)
        }

        /// Reads the string that begins here.
        fn string(&mut self, out: &mut String) -> Result<(), BadFrame> {
            self.at += 1;
            loop {
                let Some(end) = self.quote_or_escape(self.at) else {
                    return Err(BadFrame::Header("a string that does not end"));
                };
                out.push_str(&self.text[self.at..end]);
                self.at = end + 1;
                if self.text.as_bytes()[end] == b'"' {
                    return Ok(());
                }
                self.escape(out)?;
            }
        }

        /// Behind a backslash.
        fn escape(&mut self, out: &mut String) -> Result<(), BadFrame> {
            // What separates properties: the escapes that are frequent.
            if let Some([b'u', b'0', b'0', b'0', digit @ b'0'..=b'9']) = self.text.as_bytes()[self.at..].first_chunk() {
                out.push(char::from(digit - b'0'));
                self.at += 5;
                return Ok(());
            }
            let escape = self.peek().ok_or(BadFrame::Header("a string that does not end"))?;
            self.at += 1;
            match escape {
                b'u' => {
                    let unit = self.hex4()?;
                    let low_follows = self.text.as_bytes()[self.at..].starts_with(b"\\u");
                    if (0xd800..0xdc00).contains(&unit) && low_follows {
                        self.at += 2;
                        let low = self.hex4()?;
                        out.extend(char::decode_utf16([unit, low]).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)));
                    } else {
                        out.push(char::from_u32(unit as u32).unwrap_or(char::REPLACEMENT_CHARACTER));
                    }
                }
                b'n' => out.push('\n'),
                b't' => out.push('\t'),
                b'r' => out.push('\r'),
                b'b' => out.push('\u{8}'),
                b'f' => out.push('\u{c}'),
                b'"' | b'\\' | b'/' | b'\'' => out.push(escape as char),
                _ => return Err(BadFrame::Header("an unknown escape in a string")),
            }
            Ok(())
        }

        fn hex4(&mut self) -> Result<u16, BadFrame> {
            let digits = self.text.get(self.at..self.at + 4).ok_or(BadFrame::Header("a short \\u escape"))?;
            let unit = u16::from_str_radix(digits, 16).map_err(|_| BadFrame::Header("a bad \\u escape"))?;
            self.at += 4;
            Ok(unit)
        }

        /// Passes one value of any kind.
        fn skip(&mut self) -> Result<(), BadFrame> {
            self.blanks();
            let start = self.at;
            let mut depth = 0usize;
            let mut ignored = String::new();
            while let Some(byte) = self.peek() {
                match byte {
                    b'"' => {
                        if self.plain_string().is_none() {
                            ignored.clear();
                            self.string(&mut ignored)?;
                        }
                        if depth == 0 {
                            return Ok(());
                        }
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' | b',' if depth == 0 && self.at == start => {
                        return Err(BadFrame::Header("a key without a value"));
                    }
                    b'}' | b']' | b',' if depth == 0 => return Ok(()),
                    b'}' | b']' => {
                        depth -= 1;
                        if depth == 0 {
                            self.at += 1;
                            return Ok(());
                        }
                    }
                    _ => {}
                }
                self.at += 1;
            }
            Err(BadFrame::Header("a JSON value that does not end"))
        }
    }
}

/// RocketMQ's own binary header (`ROCKETMQ_SERIALIZE_TYPE=ROCKETMQ`).
mod binary {
    use super::*;

    pub fn decode(mut header: &[u8]) -> Result<Command, BadFrame> {
        const SHORT: BadFrame = BadFrame::Header("a binary header that ends too early");
        if header.len() < 17 {
            return Err(SHORT);
        }
        let mut command = Command {
            code: header.get_i16() as i32,
            language: Language(header.get_u8()),
            version: header.get_i16() as i32,
            opaque: header.get_i32(),
            flag: header.get_i32(),
            ..Command::default()
        };
        let remark = text32(&mut header).ok_or(SHORT)?;
        command.remark = (!remark.is_empty()).then(|| remark.to_owned());
        if header.is_empty() {
            return Ok(command);
        }
        let size = header.try_get_i32().map_err(|_| SHORT)?;
        let mut fields = usize::try_from(size).ok().and_then(|size| header.get(..size)).ok_or(SHORT)?;
        command.ext.json.reserve(fields.len() * 2);
        while !fields.is_empty() {
            let key_size = usize::from(fields.try_get_u16().map_err(|_| SHORT)?);
            let key = fields.split_off(..key_size).and_then(|key| std::str::from_utf8(key).ok()).ok_or(SHORT)?;
            let value = text32(&mut fields).ok_or(SHORT)?;
            command.ext.add(key, value);
        }
        Ok(command)
    }

    fn text32<'a>(from: &mut &'a [u8]) -> Option<&'a str> {
        let size = usize::try_from(from.try_get_i32().ok()?).ok()?;
        std::str::from_utf8(from.split_off(..size)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(encoding: u8, header: &[u8], body: &[u8]) -> BytesMut {
        let mut bytes = BytesMut::new();
        bytes.extend_from_slice(&((4 + header.len() + body.len()) as u32).to_be_bytes());
        bytes.extend_from_slice(&((encoding as u32) << 24 | header.len() as u32).to_be_bytes());
        bytes.extend_from_slice(header);
        bytes.extend_from_slice(body);
        bytes
    }

    fn decoded(header: &str) -> Result<Command, BadFrame> {
        Command::decode(&mut frame(0, header.as_bytes(), b"")).map(|command| command.expect("whole"))
    }

    #[test]
    fn what_is_encoded_decodes_to_the_same() {
        let mut sent = Command::request(310);
        sent.opaque = -7;
        sent.remark = Some("line\n\"quoted\" \\ 中文".into());
        sent.ext.push("i", "KEYS\u{1}订单\u{2}");
        sent.ext.push("e", 3);
        sent.body = Bytes::from_static(b"body");
        let mut bytes = Vec::new();
        sent.encode(&mut bytes);
        let got = Command::decode(&mut BytesMut::from(&bytes[..])).unwrap().unwrap();
        assert_eq!((got.code, got.opaque, got.flag, got.version), (310, -7, 0, VERSION));
        assert_eq!((got.remark, got.ext, got.body), (sent.remark, sent.ext, sent.body));
    }

    #[test]
    fn headers_of_old_clients_are_served() {
        let got = decoded(
            "{\"code\":11,\"extFields\":{\"queueId\":3,\"batch\":true,\"sub\":null,\"AccessKey\":\"\"},\"language\":\"COBOL\"}\n",
        )
        .unwrap();
        assert_eq!(got.ext.get("queueId"), Some("3"));
        assert_eq!(got.ext.get("batch"), Some("true"));
        assert_eq!(got.ext.get("sub"), None);
        assert_eq!(got.ext.get("AccessKey"), Some(""));
        assert_eq!((got.language, got.opaque, got.version), (Language::OTHER, 0, 0));
        assert!(
            decoded("{\"code\":34,\"extFields\":null,\"x\":{\"y\":[1,{\"z\":\"}\"}]},\"opaque\":5}").unwrap().opaque
                == 5
        );
    }

    #[test]
    fn escapes_become_what_they_mean() {
        let got = decoded(r#"{"code":1,"extFields":{"i":"A\u0001\u4e2d\ud83d\ude00\u0002\/\ud800"}}"#).unwrap();
        assert_eq!(got.ext.get("i"), Some("A\u{1}中😀\u{2}/\u{fffd}"));
    }

    #[test]
    fn binary_headers_are_read() {
        let mut header = Vec::new();
        header.extend_from_slice(&310i16.to_be_bytes());
        header.push(9);
        header.extend_from_slice(&317i16.to_be_bytes());
        header.extend_from_slice(&42i32.to_be_bytes());
        header.extend_from_slice(&2i32.to_be_bytes());
        header.extend_from_slice(&0i32.to_be_bytes());
        let mut fields = Vec::new();
        for (key, value) in [("a", "group"), ("b", "主题")] {
            fields.extend_from_slice(&(key.len() as i16).to_be_bytes());
            fields.extend_from_slice(key.as_bytes());
            fields.extend_from_slice(&(value.len() as i32).to_be_bytes());
            fields.extend_from_slice(value.as_bytes());
        }
        header.extend_from_slice(&(fields.len() as i32).to_be_bytes());
        header.extend_from_slice(&fields);
        let got = Command::decode(&mut frame(1, &header, b"xyz")).unwrap().unwrap();
        assert_eq!((got.code, got.language.name(), got.opaque, got.is_oneway()), (310, "GO", 42, true));
        assert_eq!((got.ext.get("a"), got.ext.get("b"), &got.body[..]), (Some("group"), Some("主题"), &b"xyz"[..]));
        for cut in 0..header.len() {
            // No prefix panics; where it is no whole header, it is refused.
            let _ = Command::decode(&mut frame(1, &header[..cut], b""));
        }
    }

    #[test]
    fn impossible_frames_are_refused() {
        let refused = |bytes: &[u8]| Command::decode(&mut BytesMut::from(bytes)).unwrap_err();
        assert_eq!(refused(&[0xff; 8]), BadFrame::Length(0xffff_ffff));
        assert_eq!(refused(&[0, 0, 0, 0, 9]), BadFrame::Length(0));
        assert_eq!(refused(&[0, 0, 0, 4, 0, 0, 0, 1]), BadFrame::HeaderLength { header: 1, frame: 4 });
        assert_eq!(refused(&[0, 0, 0, 4, 7, 0, 0, 0]), BadFrame::Encoding(7));
        for header in
            ["", "[]", "{", "{\"code\"", "{\"code\":}", "{\"a\":\"", "{\"a\":\"\\u12\"}", "{\"code\":1}x", "null"]
        {
            assert!(decoded(header).is_err(), "{header}");
        }
    }

    #[test]
    fn deep_nesting_costs_no_stack() {
        let deep = format!("{{\"x\":{}{}}}", "[".repeat(1_000_000), "]".repeat(1_000_000));
        assert!(decoded(&deep).is_ok());
    }

    #[test]
    fn half_a_frame_waits() {
        let mut bytes = Vec::new();
        Command::request(34).encode(&mut bytes);
        for cut in 0..bytes.len() {
            assert!(Command::decode(&mut BytesMut::from(&bytes[..cut])).unwrap().is_none());
        }
    }
}
