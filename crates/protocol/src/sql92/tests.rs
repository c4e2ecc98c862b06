use super::*;
use crate::message::push_property;

fn properties(pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in pairs {
        push_property(&mut bytes, name, value);
    }
    bytes
}

/// Of every message here: `n` is 5, `big` is beyond 32 bits, `t` is "true", `s` is text; `none` is missing.
const MESSAGE: [(&str, &str); 6] =
    [("n", "5"), ("big", "3000000000"), ("half", "5.5"), ("t", "true"), ("s", "it's 杭州"), ("TAGS", "A")];

const TRUE: Result<Option<bool>, NotComparable> = Ok(Some(true));
const FALSE: Result<Option<bool>, NotComparable> = Ok(Some(false));
const UNKNOWN: Result<Option<bool>, NotComparable> = Ok(None);
const ERROR: Result<Option<bool>, NotComparable> = Err(NotComparable);

#[track_caller]
fn check(cases: &[(&str, Result<Option<bool>, NotComparable>)]) {
    let bytes = properties(&MESSAGE);
    for (text, verdict) in cases {
        let expression = Expression::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(expression.evaluate(&Properties(&bytes)), *verdict, "{text}");
        assert_eq!(expression.matches(&Properties(&bytes)), *verdict == TRUE, "{text}");
    }
}

#[track_caller]
fn refused(texts: &[&str]) {
    for text in texts {
        let parsed = Expression::parse(text);
        assert!(parsed.is_err(), "{text}: {parsed:?}");
    }
}

#[test]
fn properties_are_compared_with_numbers_and_texts() {
    check(&[
        ("n = 5", TRUE),
        ("5 = n", TRUE),
        ("n <> 5", FALSE),
        ("n > 4 and n >= 5 AND n < 6 And n <= 5", TRUE),
        ("n > 5 OR n < 5", FALSE),
        ("-n = 5", UNKNOWN),
        ("n > -5 AND n > - +5", TRUE),
        ("s = 'it''s 杭州'", TRUE),
        ("s <> 'x'", TRUE),
        ("TAGS = 'A'", TRUE),
        ("n = '5' AND n <> '5.0'", TRUE),
        ("n < big", TRUE),
        ("half > n", TRUE),
        ("(((n)) = (5))", TRUE),
    ]);
}

#[test]
fn a_text_is_read_as_a_number_of_the_literals_type() {
    check(&[
        ("half > 5", ERROR),
        ("half > 5.0", TRUE),
        ("big > 5", ERROR),
        ("big > 3000000001", FALSE),
        ("big > 5.0", TRUE),
        ("s > 5", ERROR),
        ("s > n", ERROR),
        ("s = 5 OR n = 5", ERROR),
        ("n = 5 OR s = 5", TRUE),
        ("n = 5L", TRUE),
        ("5 = 5.0 AND 3000000000 > 5 AND 3000000000 > 5.0 AND .5 < 5. AND 5e-1 = .5", TRUE),
    ]);
}

#[test]
fn booleans_compare_with_texts_on_one_side_only() {
    check(&[
        ("t = TRUE", TRUE),
        ("t = false", FALSE),
        ("s = FALSE", TRUE),
        ("TRUE = t", ERROR),
        ("TRUE = TRUE AND TRUE <> FALSE", TRUE),
        ("5 = TRUE", FALSE),
        ("(n > 1) = (n > 2)", TRUE),
        ("(n > 1) = 5", FALSE),
        ("t = (n > 1)", TRUE),
        ("TRUE", TRUE),
        ("t", FALSE),
        ("NOT t", TRUE),
        ("none", UNKNOWN),
        ("NOT n = 5", FALSE),
        ("NOT n = '5'", ERROR),
        ("NOT (n = 5)", FALSE),
    ]);
}

#[test]
fn what_is_missing_is_unknown() {
    check(&[
        ("none = 5", UNKNOWN),
        ("none <> 5", UNKNOWN),
        ("5 = none", FALSE),
        ("5 <> none", TRUE),
        ("none = nothing", TRUE),
        ("none > 5", UNKNOWN),
        ("5 > none", UNKNOWN),
        ("none IS NULL", TRUE),
        ("none IS NOT NULL", FALSE),
        ("n IS NULL OR n IS NOT NULL", TRUE),
        ("(none > 5) IS NULL", TRUE),
        ("NULL IS NULL", TRUE),
        ("NULL", UNKNOWN),
        ("none BETWEEN 1 AND 5", UNKNOWN),
        ("none NOT BETWEEN 1 AND 5", UNKNOWN),
        ("none IN ('a')", UNKNOWN),
        ("none NOT IN ('a')", UNKNOWN),
    ]);
}

#[test]
fn logic_has_three_values() {
    check(&[
        ("NULL AND FALSE", FALSE),
        ("FALSE AND NULL", FALSE),
        ("NULL AND TRUE", UNKNOWN),
        ("NULL OR TRUE", TRUE),
        ("NULL OR FALSE", UNKNOWN),
        ("FALSE OR NULL OR TRUE", TRUE),
        ("NOT NULL", UNKNOWN),
        ("TRUE OR FALSE AND FALSE", TRUE),
        ("(TRUE OR FALSE) AND FALSE", FALSE),
    ]);
}

#[test]
fn ranges_and_lists() {
    check(&[
        ("n BETWEEN 5 AND 5", TRUE),
        ("n BETWEEN 6 AND 7 OR n NOT BETWEEN 6 AND 7", TRUE),
        ("n NOT BETWEEN 7 AND 6", TRUE),
        ("n BETWEEN -1 AND -5", FALSE),
        ("5 BETWEEN 1 AND n", TRUE),
        ("n IN ('4', '5')", TRUE),
        ("n IN ('5.0')", FALSE),
        ("n NOT IN ('4')", TRUE),
        ("(+s) IN ('it''s 杭州', 'x')", TRUE),
    ]);
    refused(&["n BETWEEN 2 AND 1", "n BETWEEN 2.5 AND 1", "n BETWEEN NULL AND 1", "n IN ()", "n IN (5)", "5 IN ('5')"]);
}

#[test]
fn parts_of_texts() {
    check(&[
        ("s CONTAINS 't''s'", TRUE),
        ("s NOT contains 'x'", TRUE),
        ("s STARTSWITH 'it' AND s ENDSWITH '杭州'", TRUE),
        ("s NOT STARTSWITH 'it' OR s NOT ENDSWITH '杭州'", FALSE),
        ("none CONTAINS 'x'", FALSE),
        ("none NOT CONTAINS 'x'", FALSE),
        ("s CONTAINS '' OR s NOT CONTAINS ''", FALSE),
        ("'abc' CONTAINS 'b'", TRUE),
        ("5 NOT CONTAINS '5'", FALSE),
    ]);
    refused(&["s CONTAINS 5", "s CONTAINS n", "s NOT 'x'"]);
}

#[test]
fn comments_blanks_and_names() {
    check(&[
        ("n/* five */=/***/5", TRUE),
        ("n = -- five\n5", TRUE),
        ("n\t=\u{c}\r\n5", TRUE),
        ("$x_1 IS NULL AND _ IS NULL AND notes IS NULL", TRUE),
        // Without the end of its line a comment is two minus signs.
        ("5 = --5", TRUE),
    ]);
    refused(&["n = /* 5", "n # 5", "\"n\" = 5", "n = 'five", "n = 'five ''", "n = 5 'x", "n != 5", "杭 = 1"]);
}

#[test]
fn what_stands_behind_the_expression_is_not_read() {
    for (text, ignored) in [
        ("n = 5", None),
        ("n = 05", Some("5")),
        ("n = 0L", Some("L")),
        ("n = 5 XOR n = 6", Some("XOR n = 6")),
        ("n = 5) ' !", Some(") ' !")),
        ("n = 5 'x '' y", Some("'x '' y")),
    ] {
        assert_eq!(Expression::parse(text).unwrap().ignored(), ignored, "{text}");
    }
}

#[test]
fn what_apache_refuses_is_refused() {
    refused(&[
        "",
        "  ",
        "5",
        "'x'",
        "-n",
        "n =",
        "n = = 5",
        "(n = 5",
        "AND",
        "n AND",
        "n IS 5",
        "n = NULL",
        "NULL <> n",
        "n > 'x'",
        "n > TRUE",
        "(n > 5) > 5",
        "TRUE = 5",
        "TRUE = 'true'",
        "NOT 5",
        "n = 0.0",
        "n = 1e999",
        "n = 1e-999",
        "n = 9223372036854775808",
        "n = -9223372036854775808",
        "n NOT = 5",
        "NOT n IN ('5')",
    ]);
}

#[test]
fn a_refusal_says_where_and_what_helps() {
    for (text, message) in [
        ("价格 > 5", "this is no SQL92 expression, see character 1: `价` has no meaning here"),
        (
            "a = '价' AND b != 5",
            "this is no SQL92 expression, see character 15: `!` has no meaning here: unequal is `<>`, not is `NOT`",
        ),
        (
            "a = NULL",
            "this is no SQL92 expression, see character 9: nothing equals NULL: write `IS NULL` or `IS NOT NULL`",
        ),
        ("a > ", "this is no SQL92 expression, see character 5: it ends where a property, a value or `(` was expected"),
    ] {
        assert_eq!(Expression::parse(text).unwrap_err().to_string(), message);
    }
}

#[test]
fn no_expression_is_too_much_for_the_stack_or_for_the_time_of_a_pull() {
    let nested = |depth: usize, open: &str, close: &str| open.repeat(depth) + "TRUE" + &close.repeat(depth);
    for (open, close) in [("(", ")"), ("NOT ", ""), ("+", ""), ("(NOT ", ")"), ("NOT (TRUE = ", ")")] {
        for depth in [DEPTH_MAX, 20_000] {
            let error = Expression::parse(&nested(depth, open, close)).unwrap_err();
            assert!(error.reason.contains("100 deep") || error.reason.contains("65536"), "{error}");
        }
    }
    assert!(Expression::parse(&nested(DEPTH_MAX - 1, "(", ")")).is_ok());
    assert!(Expression::parse(&("TRUE".to_owned() + &" = TRUE".repeat(DEPTH_MAX))).is_ok());
    refused(&[
        &("TRUE".to_owned() + &" = TRUE".repeat(DEPTH_MAX + 1)),
        &("a".to_owned() + &" IS NULL".repeat(10_000)),
        &("a".to_owned() + &" CONTAINS 'x'".repeat(5_000)),
        &["a = 1"; CONDITIONS_MAX + 1].join(" OR "),
        &(0..=NAMES_MAX).map(|n| format!("a{n} = 1")).collect::<Vec<_>>().join(" OR "),
        &format!("a = '{}'", "x".repeat(LENGTH_MAX)),
    ]);
    let many = ["a = 1"; CONDITIONS_MAX].join(" OR ");
    assert!(Expression::parse(&many).is_ok());
    let texts: Vec<String> = (0..5_000).map(|n| format!("'{n}'")).collect();
    check(&[(&format!("n IN ({})", texts.join(",")), TRUE)]);
}

#[test]
fn the_last_of_two_properties_counts_and_damaged_ones_are_missing() {
    let expression = Expression::parse("n = 5").unwrap();
    assert!(expression.matches(&Properties(b"n\x011\x02n\x015\x02")));
    assert_eq!(expression.evaluate(&Properties(b"n\x01\xFF\x02\x02x\x01\x02n")), Ok(None));
}
