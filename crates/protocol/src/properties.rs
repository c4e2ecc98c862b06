//! Java's `.properties` text, as `broker.conf` and the bodies of GET_BROKER_CONFIG are written.
//!
//! ```text
//! # comment, also with !          key and value part at the first `=`, `:` or blank
//! storePathRootDir = /data/\      a line that ends in a backslash goes on in the next
//!                    store        whose leading blanks don't count
//! brokerName=caf\u00e9            escapes: \t \n \r \f \\ \uXXXX; \ before any other character is dropped
//! ```
//!
//! Two things differ from Java: text is UTF-8, and blanks behind a value don't count (Java keeps them, to everybody's
//! surprise).

/// What is a blank to Java, and the `\r` of a line's end; other characters that Unicode calls white are text.
const BLANKS: [char; 4] = [' ', '\t', '\u{c}', '\r'];

/// One `key=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// The line that it begins in, from 1.
    pub line: usize,
    /// Its key, unescaped.
    pub key: String,
    /// Its value, unescaped.
    pub value: String,
}

/// All properties of `text`, in order; repeated keys stand there repeatedly. Nothing is an error in this format.
pub fn read(text: &str) -> Vec<Property> {
    let mut properties = Vec::new();
    let mut lines = text.trim_start_matches('\u{feff}').lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let line = line.trim_start_matches(BLANKS);
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let mut whole = line.to_owned();
        while goes_on(&whole) {
            whole.pop();
            match lines.next() {
                Some((_, next)) => whole.push_str(next.trim_start_matches(BLANKS)),
                None => break,
            }
        }
        let (key, value) = part(&whole);
        properties.push(Property { line: number + 1, key: unescape(key), value: unescape(trim_end(value)) });
    }
    properties
}

/// `key=value` lines that [`read`], and Java, read back as they are.
pub fn write<K: AsRef<str>, V: AsRef<str>>(properties: impl IntoIterator<Item = (K, V)>) -> String {
    let mut text = String::new();
    for (key, value) in properties {
        escape(key.as_ref(), true, &mut text);
        text.push('=');
        escape(value.as_ref(), false, &mut text);
        text.push('\n');
    }
    text
}

/// `text` with another value of `key`: the last line that sets it is replaced, earlier ones go, and everything else stays as it
/// is. A key that is not there comes at the end.
pub fn replace(text: &str, key: &str, value: &str) -> String {
    let new = write([(key, value)]);
    let set: Vec<usize> = read(text).iter().filter(|it| it.key == key).map(|it| it.line).collect();
    let mut out = String::with_capacity(text.len() + new.len());
    let mut lines = text.split_inclusive('\n').enumerate();
    while let Some((at, line)) = lines.next() {
        if !set.contains(&(at + 1)) {
            out.push_str(line);
            continue;
        }
        let mut whole = line;
        while goes_on(whole.trim_end_matches(['\n', '\r'])) {
            match lines.next() {
                Some((_, next)) => whole = next,
                None => break,
            }
        }
        if set.last() == Some(&(at + 1)) {
            out.push_str(&new);
        }
    }
    if set.is_empty() {
        if !out.is_empty() && !out.ends_with('\n') {
            out.push('\n');
        }
        out.push_str(&new);
    }
    out
}

/// True of a line whose last backslash is not itself escaped.
fn goes_on(line: &str) -> bool {
    line.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1
}

/// Cuts a line at its first separator: blanks, at most one `=` or `:`, blanks.
fn part(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.find(|c: char| match c {
        _ if escaped => {
            escaped = false;
            false
        }
        '\\' => {
            escaped = true;
            false
        }
        _ => c == '=' || c == ':' || BLANKS.contains(&c),
    });
    let (key, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = rest.trim_start_matches(BLANKS);
    (key, rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start_matches(BLANKS))
}

/// Without the blanks at its end; an escaped one stays.
fn trim_end(value: &str) -> &str {
    let trimmed = value.trim_end_matches(BLANKS);
    match value[trimmed.len()..].chars().next() {
        Some(blank) if goes_on(trimmed) => &value[..trimmed.len() + blank.len_utf8()],
        _ => trimmed,
    }
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(escaped) = rest.chars().next() else { break };
        rest = &rest[escaped.len_utf8()..];
        match escaped {
            't' => out.push('\t'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            'f' => out.push('\u{c}'),
            'u' => {
                let (units, behind) = utf16(rest);
                out.extend(char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)));
                rest = behind;
            }
            other => out.push(other),
        }
    }
    out + rest
}

/// The code units of `XXXX\uXXXX…` at the front of `text` (the first `\u` is taken off already), and what is behind.
fn utf16(text: &str) -> (Vec<u16>, &str) {
    let mut units = Vec::new();
    let mut rest = text;
    while let Some(unit) = rest.get(..4).and_then(|digits| u16::from_str_radix(digits, 16).ok()) {
        units.push(unit);
        rest = &rest[4..];
        match rest.strip_prefix("\\u") {
            Some(next) if next.get(..4).is_some_and(|digits| u16::from_str_radix(digits, 16).is_ok()) => rest = next,
            _ => break,
        }
    }
    (units, rest)
}

fn escape(text: &str, is_key: bool, out: &mut String) {
    let last = text.chars().count().saturating_sub(1);
    for (i, c) in text.chars().enumerate() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{c}' => out.push_str("\\f"),
            '=' | ':' | ' ' if is_key => out.extend(['\\', c]),
            '#' | '!' if is_key && i == 0 => out.extend(['\\', c]),
            // Those at its ends are not for looks.
            ' ' if i == 0 || i == last => out.push_str("\\ "),
            _ => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(usize, &str, &str)]) {
        let found = read(text);
        let found: Vec<_> = found.iter().map(|p| (p.line, p.key.as_str(), p.value.as_str())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn separators_are_equals_colon_and_blank() {
        check(
            "a=1\nb:2\nc 3\nd = 4 \ne\t:\t5\nf\ng==7\n",
            &[(1, "a", "1"), (2, "b", "2"), (3, "c", "3"), (4, "d", "4"), (5, "e", "5"), (6, "f", ""), (7, "g", "=7")],
        );
    }

    #[test]
    fn what_is_written_reads_back_also_where_it_is_white() {
        let all = ["\u{c}form feed", "\ttab", " blank", "\u{a0}no break", "\u{2028}line", "\rreturn", "\u{b}tab"];
        for text in all {
            let back = read(&write([(text, text)]));
            assert_eq!((back.len(), &*back[0].key, &*back[0].value), (1, text, text));
        }
    }

    #[test]
    fn comments_blank_lines_and_byte_order_mark_are_skipped() {
        check("\u{feff}# 注释 \\\n\n  ! more\r\n  a=1 # no comment\r\n", &[(4, "a", "1 # no comment")]);
    }

    #[test]
    fn a_backslash_at_the_end_goes_on_in_the_next_line() {
        check("a=1,\\\n   2,\\\n\t3\nb=c\\\\\nd=e\\", &[(1, "a", "1,2,3"), (4, "b", "c\\"), (5, "d", "e")]);
    }

    #[test]
    fn escapes_are_resolved() {
        check(
            "a\\ b\\==\\t\\n\\r\\f\\\\\\u4e2d\\ud83d\\ude00\\q\\ \nb=\\u12\\ud800x",
            &[(1, "a b=", "\t\n\r\u{c}\\中😀q "), (2, "b", "12\u{fffd}x")],
        );
    }

    #[test]
    fn a_value_is_replaced_and_all_else_stays() {
        let text = "# a comment\r\na = 1\nb=2, \\\n   3\n! a=9\na=4";
        assert_eq!(replace(text, "a", "5"), "# a comment\r\nb=2, \\\n   3\n! a=9\na=5\n");
        assert_eq!(replace(text, "b", "x y"), "# a comment\r\na = 1\nb=x y\n! a=9\na=4");
        assert_eq!(replace("a=1", "c", "\\d"), "a=1\nc=\\\\d\n");
        assert_eq!(replace("", "c", ""), "c=\n");
    }

    #[test]
    fn what_is_written_is_read_back() {
        let properties = [("a b:=#", " x=:#\\ y\n"), ("#k", ""), ("路径", "D:\\数据  "), ("t", "\ttab\r")];
        let read = read(&write(properties));
        let read: Vec<_> = read.iter().map(|p| (p.key.as_str(), p.value.as_str())).collect();
        assert_eq!(read, properties);
    }
}
