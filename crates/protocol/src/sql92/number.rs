//! Numbers in texts, as Java reads them.

/// The zeros of the decimal digits that Java knows; nine others follow each.
const ZEROS: [u16; 37] = [
    0x0030, 0x0660, 0x06F0, 0x07C0, 0x0966, 0x09E6, 0x0A66, 0x0AE6, 0x0B66, 0x0BE6, 0x0C66, 0x0CE6, 0x0D66, 0x0DE6,
    0x0E50, 0x0ED0, 0x0F20, 0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90, 0x1B50, 0x1BB0, 0x1C40,
    0x1C50, 0xA620, 0xA8D0, 0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0, 0xFF10,
];

/// A whole number with an optional sign, no blanks, in any script's digits. `None`: it is none, or needs more than 64 bits.
#[doc(alias = "Long.valueOf")]
pub(super) fn long(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() {
        return None;
    }
    // Below zero there is one number more, so it is counted downwards.
    let mut value = 0i64;
    for digit in digits.chars() {
        value = value.checked_mul(10)?.checked_sub(digit_value(digit)?)?;
    }
    if negative { Some(value) } else { value.checked_neg() }
}

/// As [`long`], but `None` if it needs more than 32 bits.
#[doc(alias = "Integer.valueOf")]
pub(super) fn int(text: &str) -> Option<i32> {
    long(text).and_then(|value| i32::try_from(value).ok())
}

fn digit_value(digit: char) -> Option<i64> {
    let code = u16::try_from(u32::from(digit)).ok()?;
    let zero = ZEROS[..ZEROS.partition_point(|zero| *zero <= code)].last()?;
    (code - zero < 10).then(|| i64::from(code - zero))
}

/// A number with optional sign, point, exponent and suffix (`f` or `d`), blanks around it, `NaN` or `Infinity`.
/// `None`: it is none. Java's hexadecimal form (`0x1p3`) counts as none.
#[doc(alias = "Double.valueOf")]
pub(super) fn double(text: &str) -> Option<f64> {
    let text = text.trim_matches(|c| c <= ' ');
    let (negative, number) = match text.strip_prefix('-') {
        Some(number) => (true, number),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let value = match number {
        "NaN" => return Some(f64::from_bits(0x7FF8_0000_0000_0000)),
        "Infinity" => f64::INFINITY,
        _ => {
            let number = number.strip_suffix(['f', 'F', 'd', 'D']).unwrap_or(number);
            // What else Rust takes, `inf` and `nan`, begins with a letter.
            if !number.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
                return None;
            }
            number.parse().ok()?
        }
    };
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_read_as_java_reads_them() {
        for (text, value) in [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("+17", Some(17)),
            ("0000000000000000000000000000012", Some(12)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("１２", Some(12)),
            ("-٣", Some(-3)),
            ("", None),
            ("-", None),
            ("+-1", None),
            (" 1", None),
            ("1.0", None),
            ("1L", None),
            ("½", None),
            ("𝟏", None),
        ] {
            assert_eq!(long(text), value, "{text}");
        }
        assert_eq!((int("2147483647"), int("-2147483648"), int("2147483648")), (Some(i32::MAX), Some(i32::MIN), None));
    }

    #[test]
    fn floating_numbers_are_read_as_java_reads_them() {
        for (text, value) in [
            ("1", Some(1.0)),
            (" \t-1.5e3d\n", Some(-1500.0)),
            ("5.", Some(5.0)),
            (".5F", Some(0.5)),
            ("+Infinity", Some(f64::INFINITY)),
            ("1e999", Some(f64::INFINITY)),
            ("1e-999", Some(0.0)),
            ("0012", Some(12.0)),
            ("inf", None),
            ("nan", None),
            ("infinity", None),
            ("NaNd", None),
            ("", None),
            (".", None),
            ("e5", None),
            ("1e", None),
            ("1ff", None),
            ("1.2.3", None),
            ("１２", None),
            ("0x10", None),
        ] {
            assert_eq!(double(text), value, "{text}");
        }
        assert!(double("-NaN").is_some_and(f64::is_nan));
        assert_eq!(double("-0").map(f64::to_bits), Some((-0.0f64).to_bits()));
    }
}
