//! How tools write: for people or for programs.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// For whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// JSON, for programs
    Json,
}

/// A time in ms since 1970 as people read it, in the local time zone.
pub fn local_time(millis: i64) -> String {
    let time = Timestamp::from_millisecond(millis).unwrap_or_default();
    time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

/// A time in ms since 1970 as programs read it.
pub fn iso_time(millis: i64) -> Option<String> {
    Timestamp::from_millisecond(millis).ok().map(|time| format!("{time:.3}"))
}

/// As RFC 4648 writes it, with `=` at the end.
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for n in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * n)) as usize % 64] as char;
            out.push(if n <= three.len() { digit } else { '=' });
        }
    }
    out
}

/// 1234567 as 1.2 MB.
pub fn bytes(count: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let mut count = count as f64;
    let mut unit = 0;
    while count >= 999.95 && unit + 1 < units.len() {
        count /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{count:.0} B") } else { format!("{count:.1} {}", units[unit]) }
}

/// Rows of cells in columns: text to the left, numbers to the right. On a terminal that is too narrow, the widest cells are
/// cut.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    fitted(head, rows, terminal_width())
}

/// How many characters fit into a line of the terminal; `None`: nobody looks at one.
fn terminal_width() -> Option<usize> {
    let stdout = std::io::stdout();
    let is_terminal = std::io::IsTerminal::is_terminal(&stdout);
    let size = is_terminal.then(|| rustix::termios::tcgetwinsize(&stdout).ok()).flatten()?;
    Some(usize::from(size.ws_col)).filter(|width| *width > 0)
}

/// No cell is cut to fewer characters.
const CELL_MIN: usize = 8;

fn fitted(head: &[&str], rows: &[Vec<String>], line: Option<usize>) -> String {
    let longest = |n: usize| rows.iter().map(|row| width(&row[n])).chain([width(head[n])]).max().unwrap_or(0);
    let mut widths: Vec<usize> = (0..head.len()).map(longest).collect();
    if let Some(line) = line {
        // Two blanks stand before each.
        while widths.iter().map(|width| width + 2).sum::<usize>() > line {
            match widths.iter_mut().max() {
                Some(widest) if *widest > CELL_MIN => *widest -= 1,
                _ => break,
            }
        }
    }
    let is_number = |cell: &str| !cell.is_empty() && cell.chars().all(|c| c.is_ascii_digit() || ".-+%".contains(c));
    let right: Vec<bool> = (0..head.len())
        .map(|n| {
            let mut cells = rows.iter().map(|row| row[n].as_str()).filter(|cell| !cell.is_empty()).peekable();
            n > 0 && cells.peek().is_some() && cells.all(is_number)
        })
        .collect();
    let mut out = String::new();
    for row in std::iter::once(head.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>()).chain(rows.to_vec()) {
        for (n, cell) in row.iter().enumerate() {
            let cell = cut(cell, widths[n]);
            let pad = " ".repeat(widths[n].saturating_sub(width(&cell)));
            out.push_str("  ");
            if right[n] { out.extend([pad, cell]) } else { out.extend([cell, pad]) }
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
    }
    out
}

/// How many columns of a terminal text takes.
fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

fn char_width(c: char) -> usize {
    if c as u32 >= 0x1100 && c != '…' { 2 } else { 1 }
}

/// Text in so many columns; what does not fit is left out. Nothing in it moves the cursor.
fn cut(text: &str, columns: usize) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    if width(text) <= columns {
        return text.chars().map(plain).collect();
    }
    let (mut cut, mut left) = (String::new(), columns.saturating_sub(1));
    for c in text.chars().map(plain) {
        match left.checked_sub(char_width(c)) {
            Some(rest) => left = rest,
            None => break,
        }
        cut.push(c);
    }
    cut + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_for_people_and_programs() {
        assert_eq!([0, 999, 1500, 1_000_000, 5 << 40].map(bytes), ["0 B", "999 B", "1.5 kB", "1.0 MB", "5.5 TB"]);
        assert_eq!(iso_time(1_700_000_000_123).as_deref(), Some("2023-11-14T22:13:20.123Z"));
        assert_eq!(["", "f", "fo", "foo"].map(|text| base64(text.as_bytes())), ["", "Zg==", "Zm8=", "Zm9v"]);
        assert_eq!(base64(&[0xff, 0xfe, 0xfd, 0xfc]), "//79/A==");
        let rows = [vec!["订单".into(), "1".into()], vec!["T".into(), "100".into()]];
        assert_eq!(table(&["topic", "n"], &rows), "  topic    n\n  订单     1\n  T      100\n");
    }

    #[test]
    fn a_table_fits_the_terminal_and_nothing_in_it_moves_the_cursor() {
        let rows = [vec!["a\u{1b}[2J".into(), "订单订单订单订单".into(), "7".into()]];
        let narrow = fitted(&["name", "what", "n"], &rows, Some(26));
        assert!(narrow.contains("a [2J") && narrow.contains("…"), "{narrow}");
        assert!(narrow.lines().all(|line| width(line) <= 26), "{narrow}");
        assert!(fitted(&["name", "what", "n"], &rows, None).contains("订单订单订单订单"));
    }
}
