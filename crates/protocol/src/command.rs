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

mod binary;
mod json;

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
