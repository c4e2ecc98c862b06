//! Random SQL92 expressions, properties, and what CometMQ says to them; `interop/filter/run` asks Apache's filter the same.
//!
//! `cargo run --example filter_cases -- COUNT SEED` prints a line of JSON for each case: `sql`, `properties`, and as
//! `verdict` `true`, `false`, `null` (unknown), `error` (not comparable, no match) or `refused`.

use protocol::message::{Properties, push_property};
use protocol::sql92::Expression;
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufWriter, Write};

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let (count, seed) = (arguments.next().unwrap_or(100_000u64), arguments.next().unwrap_or(1));
    let mut random = Random(seed);
    let mut out = BufWriter::new(std::io::stdout().lock());
    for _ in 0..count {
        let sql = expression(&mut random);
        let properties = properties(&mut random);
        let mut bytes = Vec::new();
        for (name, value) in &properties {
            push_property(&mut bytes, name, value);
        }
        let verdict = match Expression::parse(&sql) {
            Err(_) => "refused",
            Ok(expression) => match expression.evaluate(&Properties(&bytes)) {
                Ok(Some(true)) => "true",
                Ok(Some(false)) => "false",
                Ok(None) => "null",
                Err(_) => "error",
            },
        };
        writeln!(out, "{}", json!({ "sql": sql, "properties": properties, "verdict": verdict }))?;
    }
    out.flush()
}

/// SplitMix64: the same seed gives the same cases everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }
}

const NAMES: [&str; 9] = ["a", "b", "c", "price", "TAGS", "_x", "$y", "nothing", "notes"];

/// Values of properties and, between quotes, texts in expressions.
const TEXTS: [&str; 46] = [
    "0",
    "1",
    "2",
    "5",
    "10",
    "-5",
    "+5",
    "05",
    "5.0",
    "5.5",
    "-5.5",
    ".5",
    "5.",
    "1e3",
    "1E-3",
    "5d",
    "5f",
    "5L",
    " 5",
    "5 ",
    "3000000000",
    "-3000000000",
    "2147483647",
    "2147483648",
    "-2147483648",
    "9223372036854775807",
    "9223372036854775808",
    "99999999999999999999",
    "NaN",
    "Infinity",
    "-Infinity",
    "inf",
    "nan",
    "１２",
    "٣",
    "true",
    "TRUE",
    "false",
    "x",
    "xy",
    "yx",
    "it's",
    "杭州",
    "杭",
    "😀",
    "-",
];

const NUMBERS: [&str; 24] = [
    "0",
    "1",
    "2",
    "5",
    "10",
    "5L",
    "10l",
    "0L",
    "05",
    "5.0",
    "5.5",
    ".5",
    "5.",
    "1e3",
    "1E-3",
    "5e",
    "0.0",
    "1e999",
    "1e-999",
    "3000000000",
    "2147483647",
    "2147483648",
    "9223372036854775807",
    "9223372036854775808",
];

fn properties(random: &mut Random) -> BTreeMap<&'static str, String> {
    let mut properties = BTreeMap::new();
    for name in &NAMES[..7] {
        if random.below(4) > 0 {
            let value = match random.below(3) {
                0 => random.below(12).to_string(),
                _ => random.of(&TEXTS).to_owned(),
            };
            properties.insert(*name, value);
        }
    }
    properties
}

/// Three in four are right by the grammar, the others have words changed, added or left out.
fn expression(random: &mut Random) -> String {
    let mut words = Vec::new();
    or(random, 3, &mut words);
    if random.below(4) == 0 {
        for _ in 0..=random.below(2) {
            let at = random.below(words.len() + 1);
            match random.below(4) {
                0 if at < words.len() => drop(words.remove(at)),
                1 if at < words.len() => words[at] = word(random),
                2 if at > 0 => words.truncate(at),
                _ => words.insert(at, word(random)),
            }
        }
    }
    let mut text = String::new();
    for word in words {
        let blank =
            random.of(&[" ", " ", " ", " ", " ", "", "  ", "\t", "\n", "\r\n", "/* c */", "-- c\n", "/***/", "--"]);
        // Two words grow together only now and then: it makes other words of them.
        let blank = if blank.is_empty() && random.below(3) > 0 { " " } else { blank };
        let blank = if blank == "--" && random.below(8) > 0 { " " } else { blank };
        let _ = write!(text, "{word}{blank}");
    }
    text
}

fn word(random: &mut Random) -> String {
    const OTHERS: [&str; 38] = [
        "=",
        "<>",
        ">",
        ">=",
        "<",
        "<=",
        "(",
        ")",
        ",",
        "+",
        "-",
        "AND",
        "OR",
        "NOT",
        "IN",
        "IS",
        "NULL",
        "BETWEEN",
        "CONTAINS",
        "STARTSWITH",
        "ENDSWITH",
        "TRUE",
        "FALSE",
        "LIKE",
        "!=",
        "==",
        "*",
        "/",
        "'",
        "\"",
        "''",
        "||",
        ".",
        "#",
        "é",
        "--",
        "/*",
        "*/",
    ];
    match random.below(4) {
        0 => random.of(&NAMES).to_owned(),
        1 => value(random),
        _ => random.of(&OTHERS).to_owned(),
    }
}

type Words = Vec<String>;

fn or(random: &mut Random, depth: usize, words: &mut Words) {
    chain(random, depth, words, "OR", |random, depth, words| chain(random, depth, words, "AND", equality));
}

fn chain(
    random: &mut Random,
    depth: usize,
    words: &mut Words,
    between: &str,
    part: fn(&mut Random, usize, &mut Words),
) {
    part(random, depth, words);
    while depth > 0 && random.below(3) == 0 {
        keyword(random, between, words);
        part(random, depth - 1, words);
    }
}

fn equality(random: &mut Random, depth: usize, words: &mut Words) {
    match random.below(8) {
        0 => {
            operand(random, depth, words);
            keyword(random, "IS", words);
            if random.below(2) == 0 {
                keyword(random, "NOT", words);
            }
            keyword(random, "NULL", words);
        }
        1 => {
            condition(random, depth, words);
            words.push(random.of(&["=", "<>"]).to_owned());
            condition(random, depth, words);
        }
        2 | 3 => {
            operand(random, depth, words);
            words.push(random.of(&["=", "<>"]).to_owned());
            operand(random, depth, words);
        }
        _ => comparison(random, depth, words),
    }
}

fn comparison(random: &mut Random, depth: usize, words: &mut Words) {
    match random.below(6) {
        0 => condition(random, depth, words),
        1 | 2 => {
            ordered(random, words);
            words.push(random.of(&[">", ">=", "<", "<="]).to_owned());
            ordered(random, words);
        }
        3 => {
            ordered(random, words);
            not(random, words);
            keyword(random, "BETWEEN", words);
            ordered(random, words);
            keyword(random, "AND", words);
            ordered(random, words);
        }
        4 => {
            words.push(random.of(&NAMES).to_owned());
            not(random, words);
            keyword(random, "IN", words);
            words.push("(".to_owned());
            words.push(text(random));
            for _ in 0..random.below(8) {
                words.push(",".to_owned());
                words.push(text(random));
            }
            words.push(")".to_owned());
        }
        _ => {
            operand(random, depth, words);
            not(random, words);
            let search = random.of(&["CONTAINS", "STARTSWITH", "ENDSWITH"]);
            keyword(random, search, words);
            words.push(text(random));
        }
    }
}

/// What can be true or false.
fn condition(random: &mut Random, depth: usize, words: &mut Words) {
    if random.below(5) == 0 {
        keyword(random, "NOT", words);
    }
    if depth > 0 && random.below(3) > 0 {
        words.push("(".to_owned());
        or(random, depth - 1, words);
        words.push(")".to_owned());
    } else {
        words.push(random.of(&["TRUE", "FALSE", "NULL", "a", "b", "nothing"]).to_owned());
    }
}

fn operand(random: &mut Random, depth: usize, words: &mut Words) {
    match random.below(12) {
        0 => condition(random, depth.min(1), words),
        1 | 2 => words.push(text(random)),
        _ => ordered(random, words),
    }
}

fn ordered(random: &mut Random, words: &mut Words) {
    if random.below(8) == 0 {
        words.push(random.of(&["+", "-", "- -"]).to_owned());
    }
    match random.below(5) {
        0 | 1 => words.push(random.of(&NUMBERS).to_owned()),
        _ => words.push(random.of(&NAMES).to_owned()),
    }
}

fn not(random: &mut Random, words: &mut Words) {
    if random.below(3) == 0 {
        keyword(random, "NOT", words);
    }
}

fn value(random: &mut Random) -> String {
    match random.below(2) {
        0 => random.of(&NUMBERS).to_owned(),
        _ => text(random),
    }
}

fn text(random: &mut Random) -> String {
    match random.below(16) {
        0 => "''".to_owned(),
        1 => format!("'{}'", random.below(12)),
        _ => format!("'{}'", random.of(&TEXTS).replace('\'', "''")),
    }
}

fn keyword(random: &mut Random, keyword: &str, words: &mut Words) {
    words.push(match random.below(4) {
        0 => keyword.to_lowercase(),
        1 => keyword[..1].to_owned() + &keyword[1..].to_lowercase(),
        _ => keyword.to_owned(),
    });
}
