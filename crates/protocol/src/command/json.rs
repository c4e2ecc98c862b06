//! The JSON header.

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
