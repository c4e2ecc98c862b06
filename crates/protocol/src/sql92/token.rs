//! Words of an expression: text → tokens, one at a time and no earlier than someone asks.

use super::ParseError;

/// A word of the language.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Token<'a> {
    Not,
    And,
    Or,
    Between,
    In,
    True,
    False,
    Null,
    Is,
    Contains,
    StartsWith,
    EndsWith,
    /// A property's name.
    Name(&'a str),
    /// A string as it is written, without its outer quotes; `''` still stands for `'`.
    Text(&'a str),
    /// A whole number, perhaps with an `L`.
    Whole(&'a str),
    /// A number with a point or an exponent.
    Floating(&'a str),
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    Open,
    Close,
    Comma,
    Plus,
    Minus,
    End,
}

const KEYWORDS: [(&str, Token); 12] = [
    ("NOT", Token::Not),
    ("AND", Token::And),
    ("OR", Token::Or),
    ("BETWEEN", Token::Between),
    ("IN", Token::In),
    ("TRUE", Token::True),
    ("FALSE", Token::False),
    ("NULL", Token::Null),
    ("IS", Token::Is),
    ("CONTAINS", Token::Contains),
    ("STARTSWITH", Token::StartsWith),
    ("ENDSWITH", Token::EndsWith),
];

/// Longer ones before their beginnings.
const SYMBOLS: [(&str, Token); 11] = [
    ("<>", Token::NotEqual),
    (">=", Token::GreaterOrEqual),
    ("<=", Token::LessOrEqual),
    ("=", Token::Equal),
    (">", Token::Greater),
    ("<", Token::Less),
    ("(", Token::Open),
    (")", Token::Close),
    (",", Token::Comma),
    ("+", Token::Plus),
    ("-", Token::Minus),
];

/// The token at or behind byte `at` of `text`, the byte where it begins, and the byte behind it.
pub(super) fn token(text: &str, at: usize) -> Result<(Token<'_>, usize, usize), ParseError> {
    let start = skip_blanks(text, at);
    let rest = &text[start..];
    let found = |token, len| Ok((token, start, start + len));
    let Some(first) = rest.chars().next() else { return found(Token::End, 0) };
    if let Some((number, len)) = number(rest) {
        return found(number, len);
    }
    if first.is_ascii_alphabetic() || first == '_' || first == '$' {
        let len = count(rest, |byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$');
        let word = &rest[..len];
        let keyword = KEYWORDS.iter().find(|(keyword, _)| keyword.eq_ignore_ascii_case(word));
        return found(keyword.map_or(Token::Name(word), |(_, token)| *token), len);
    }
    if first == '\'' {
        return match text_len(rest) {
            Some(len) => found(Token::Text(&rest[1..len - 1]), len),
            None => Err(ParseError::new(text, start, "the string has no end: a `'` is missing".to_owned())),
        };
    }
    if let Some((symbol, token)) = SYMBOLS.iter().find(|(symbol, _)| rest.starts_with(symbol)) {
        return found(*token, symbol.len());
    }
    let help = match first {
        '"' => ": strings stand between single quotes",
        '!' => ": unequal is `<>`, not is `NOT`",
        '&' => ": and is `AND`",
        '|' => ": or is `OR`",
        '*' | '/' | '%' => ": there is no arithmetic",
        _ => "",
    };
    Err(ParseError::new(text, start, format!("`{first}` has no meaning here{help}")))
}

/// A line comment needs the end of its line: without one, `--` is minus twice.
fn skip_blanks(text: &str, at: usize) -> usize {
    let mut at = at;
    loop {
        let rest = &text[at..];
        at += if let Some(comment) = rest.strip_prefix("--")
            && let Some(end) = comment.find(['\n', '\r'])
        {
            2 + end + 1
        } else if let Some(comment) = rest.strip_prefix("/*")
            && let Some(end) = comment.find("*/")
        {
            2 + end + 2
        } else {
            match count(rest, |byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0C)) {
                0 => return at,
                blanks => blanks,
            }
        };
    }
}

/// A number at the front of `rest`, and its length. A whole number does not begin with 0, so that `012` is 0 and then 12.
fn number(rest: &str) -> Option<(Token<'_>, usize)> {
    let digits = |from: usize| count(&rest[from..], |byte| byte.is_ascii_digit());
    let exponent = |from: usize| {
        let bytes = &rest.as_bytes()[from..];
        let sign = usize::from(matches!(bytes.get(1), Some(b'+' | b'-')));
        match bytes.first() {
            Some(b'e' | b'E') if bytes.get(1 + sign).is_some_and(u8::is_ascii_digit) => {
                1 + sign + digits(from + 1 + sign)
            }
            _ => 0,
        }
    };
    let whole = digits(0);
    let point = rest.as_bytes().get(whole) == Some(&b'.');
    let mut end = whole;
    if point {
        let fraction = digits(whole + 1);
        if whole == 0 && fraction == 0 {
            return None;
        }
        end = whole + 1 + fraction;
    } else if whole == 0 {
        return None;
    }
    let exponent = exponent(end);
    if point || exponent > 0 {
        return Some((Token::Floating(&rest[..end + exponent]), end + exponent));
    }
    if rest.starts_with('0') {
        return Some((Token::Whole("0"), 1));
    }
    let suffix = usize::from(matches!(rest.as_bytes().get(whole), Some(b'l' | b'L')));
    Some((Token::Whole(&rest[..whole + suffix]), whole + suffix))
}

/// Length of the string at the front of `rest`, with its quotes. `None`: it has no end.
///
/// If the end is missing, the last `''` that could be taken for one is: only a text behind the expression, which is not
/// read, can have such a string.
fn text_len(rest: &str) -> Option<usize> {
    let mut at = 1;
    let mut end = None;
    while let Some(before) = rest[at..].find('\'') {
        at += before + 1;
        end = Some(at);
        if !rest[at..].starts_with('\'') {
            break;
        }
        at += 1;
    }
    end
}

fn count(text: &str, belongs: impl Fn(u8) -> bool) -> usize {
    text.bytes().take_while(|byte| belongs(*byte)).count()
}
