//! Events: as the paths of messages note them, and as the ring keeps them.
//!
//! The block of a ring has a table of the texts that its events name, and then the events, 40 bytes each. So a block can
//! be read without any other. `docs/format/life.md` has the bytes.

use foldhash::HashMap;
use protocol::subscription::TagFilter;
use std::borrow::Cow;
use std::net::SocketAddr;

/// The longest text that is kept, in bytes. Names are shorter; expressions may not be.
const TEXT_MAX: usize = 4096;

/// A block is ended at so many bytes.
const BLOCK_LEN: usize = 256 << 10;

/// Bytes of an event in a block.
const EVENT_LEN: usize = 40;

/// Pulls of one client that follow one another within so many milliseconds make one event.
const TOGETHER_MILLIS: i64 = 10;

/// Something that happened, as a path notes it: what it has at hand, moved rather than copied.
#[derive(Debug)]
pub(crate) enum Event {
    /// Messages left with the answer to a pull.
    Delivered {
        group: String,
        topic: String,
        queue_id: i32,
        /// The first place of the queue that was looked at, and the first that was not.
        range: (i64, i64),
        /// How many messages that were.
        count: u32,
        wanted: Wanted,
        to: SocketAddr,
    },
    /// A group's offset moved.
    Committed { group: String, topic: String, queue_id: i32, from: Option<i64>, to: i64, by: SocketAddr },
    /// A group's offset was set by someone else.
    Reset { group: String, topic: String, queue_id: i32, from: Option<i64>, to: i64, by: SocketAddr },
    /// Messages are passed over, as their key is parked.
    Parked { group: String, topic: String, queue_id: i32, range: (i64, i64), by: SocketAddr },
    /// What is parked of a key in this range is to be consumed now; without a key, it is one message.
    Released { group: String, topic: String, queue_id: i32, range: (i64, i64), key: Option<String>, by: SocketAddr },
    /// A message was sent back: the record at `at` was put again at `to`.
    SentBack { group: String, at: i64, to: i64, attempt: i32, dead: bool, by: SocketAddr },
    /// A message was sent back once more, and not stored again.
    SentBackAgain { group: String },
    /// The transaction of the half message at `at` ended.
    Ended { group: String, at: i64, commit: bool, by: SocketAddr },
    /// A client consumes as member of a group over a connection. Not kept: what it does is, and this says who it was.
    Consumes { group: String, client: String, at: SocketAddr },
    /// A client sends for a group over a connection: it said so, or, without its id, it did so for the first time.
    Sends { group: String, client: String, from: SocketAddr },
}

impl Event {
    /// Lets go of what is not kept of long texts: many events may wait to be kept.
    pub(super) fn shorten(&mut self) {
        let texts: &mut [&mut String] = match self {
            Event::Delivered { wanted: Wanted::Sql(text), .. } => &mut [text],
            Event::Delivered { wanted: Wanted::Tags(TagFilter::Codes(codes)), .. } => {
                // As a text each has two bytes at least.
                codes.truncate(TEXT_MAX / 2);
                return codes.shrink_to_fit();
            }
            Event::Consumes { group, client, .. } | Event::Sends { group, client, .. } => &mut [group, client],
            Event::Released { key: Some(key), .. } => &mut [key],
            _ => return,
        };
        for text in texts.iter_mut().filter(|text| text.len() > TEXT_MAX) {
            text.truncate(text.floor_char_boundary(TEXT_MAX));
            text.shrink_to_fit();
        }
    }
}

/// Which messages of a queue a pull wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// By tags.
    Tags(TagFilter),
    /// By an SQL92 expression.
    Sql(String),
    /// By a program, which may be another one when someone asks.
    Program,
}

impl Wanted {
    /// As a text, from which [`is_wanted`] can tell.
    pub(crate) fn text(&self) -> Cow<'static, str> {
        match self {
            Wanted::Tags(TagFilter::All) => Cow::Borrowed(""),
            Wanted::Tags(TagFilter::Codes(codes)) => {
                let codes: Vec<String> = codes.iter().map(i32::to_string).collect();
                format!("T{}", codes.join(",")).into()
            }
            Wanted::Sql(expression) => format!("S{expression}").into(),
            Wanted::Program => Cow::Borrowed("P"),
        }
    }
}

/// What a text of [`Wanted::text`] says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum WantedText<'a> {
    /// Every message.
    All,
    /// Messages with one of these tags codes.
    Tags(TagFilter),
    /// Messages that match the expression.
    Sql(&'a str),
    /// Some; which ones is not known: a program said it, or the text was too long.
    Some,
}

impl<'a> WantedText<'a> {
    pub(crate) fn read(text: &'a str) -> WantedText<'a> {
        match text.split_at_checked(1) {
            _ if text.len() > TEXT_MAX - 4 => WantedText::Some,
            None => WantedText::All,
            Some(("T", codes)) => {
                WantedText::Tags(TagFilter::Codes(codes.split(',').filter_map(|code| code.parse().ok()).collect()))
            }
            Some(("S", expression)) => WantedText::Sql(expression),
            Some(_) => WantedText::Some,
        }
    }
}

/// What kind an event is of; its number in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// `from..to` of the queue was delivered.
    Delivered = 1,
    /// The offset moved from `from` (−1: there was none) to `to`.
    Committed = 2,
    /// The record at `from` was put again at `to`; `queue_id` is the attempt.
    SentBack = 3,
    /// The transaction of the half message at `from` was committed (`to` 1) or rolled back (0).
    Ended = 4,
    /// A client sends for a group from `address`; without its id: this connection sent for the group for the first time.
    Sends = 5,
    /// `from` events could not be kept.
    NotKept = 6,
    /// The offset was set from `from` (−1: there was none) to `to`.
    Reset = 7,
    /// `from..to` of the queue was passed over, as its keys are parked.
    Parked = 8,
    /// Of `from..to` of the queue, what has the key in `wanted` was released; all, if that is empty.
    Released = 9,
}

impl Kind {
    fn of(number: u8) -> Option<Kind> {
        let first = [Kind::Delivered, Kind::Committed, Kind::SentBack, Kind::Ended, Kind::Sends, Kind::NotKept];
        let all = first.into_iter().chain([Kind::Reset, Kind::Parked, Kind::Released]);
        all.into_iter().find(|kind| *kind as u8 == number)
    }
}

/// An event as a block has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kept<'a> {
    pub kind: Kind,
    /// In ms since 1970.
    pub time: i64,
    pub group: &'a str,
    pub topic: &'a str,
    pub client: &'a str,
    pub address: &'a str,
    /// What a pull wanted, see [`WantedText`].
    pub wanted: &'a str,
    pub queue_id: i32,
    pub from: i64,
    pub to: i64,
}

impl Kept<'_> {
    /// One of this kind, of which nothing else is known.
    pub(crate) fn of(kind: Kind, time: i64) -> Self {
        Kept { kind, time, group: "", topic: "", client: "", address: "", wanted: "", queue_id: 0, from: 0, to: 0 }
    }
}

/// An event whose texts are numbers of the block's table.
#[derive(Debug, Clone, Copy)]
struct Numbered {
    kind: Kind,
    texts: [u16; 5],
    queue_id: i32,
    time: i64,
    from: i64,
    to: i64,
}

/// A block in the making.
#[derive(Debug, Default)]
pub(crate) struct BlockBuilder {
    numbers: HashMap<String, u16>,
    texts: Vec<u8>,
    events: Vec<Numbered>,
    /// The last event of a stream of deliveries: its texts and queue → its place in `events`.
    streams: HashMap<([u16; 5], i32), usize>,
}

impl BlockBuilder {
    pub(crate) fn push(&mut self, kept: &Kept<'_>) {
        let texts = [kept.group, kept.topic, kept.client, kept.address, kept.wanted].map(|text| self.number(text));
        if kept.kind == Kind::Delivered {
            let next = self.events.len();
            let last = self.streams.entry((texts, kept.queue_id)).or_insert(next);
            if let Some(before) = self.events.get_mut(*last)
                && before.to == kept.from
                && (0..=TOGETHER_MILLIS).contains(&(kept.time - before.time))
            {
                before.to = kept.to;
                return;
            }
            *last = next;
        }
        let Kept { kind, queue_id, time, from, to, .. } = *kept;
        self.events.push(Numbered { kind, texts, queue_id, time, from, to });
    }

    fn number(&mut self, text: &str) -> u16 {
        let text = &text[..text.floor_char_boundary(TEXT_MAX)];
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        // A block is ended long before numbers do.
        let number = self.numbers.len() as u16;
        self.texts.extend_from_slice(&(text.len() as u16).to_be_bytes());
        self.texts.extend_from_slice(text.as_bytes());
        self.numbers.insert(text.to_owned(), number);
        number
    }

    pub(crate) fn is_full(&self) -> bool {
        self.texts.len() + self.events.len() * EVENT_LEN >= BLOCK_LEN || self.numbers.len() > 60_000
    }

    /// How many events it has.
    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    /// The block, and when its first and its last event happened. `None`: it has no event.
    pub(crate) fn finish(self) -> Option<((i64, i64), Vec<u8>)> {
        let first = self.events.iter().map(|event| event.time).min()?;
        let last = self.events.iter().map(|event| event.time).max()?;
        let mut bytes = Vec::with_capacity(2 + self.texts.len() + self.events.len() * EVENT_LEN);
        bytes.extend_from_slice(&(self.numbers.len() as u16).to_be_bytes());
        bytes.extend_from_slice(&self.texts);
        for event in &self.events {
            bytes.extend_from_slice(&[event.kind as u8, 0]);
            event.texts.iter().for_each(|text| bytes.extend_from_slice(&text.to_be_bytes()));
            bytes.extend_from_slice(&event.queue_id.to_be_bytes());
            for number in [event.time, event.from, event.to] {
                bytes.extend_from_slice(&number.to_be_bytes());
            }
        }
        Some(((first, last), bytes))
    }
}

/// Calls `each` with every event of a block. What is of a kind that a later version writes is passed over.
pub(crate) fn read_block(bytes: &[u8], each: &mut dyn FnMut(Kept<'_>)) {
    let Some((count, mut rest)) = bytes.split_first_chunk::<2>() else { return };
    let mut texts = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let Some((len, behind)) = rest.split_first_chunk::<2>() else { return };
        let Some((text, behind)) = behind.split_at_checked(u16::from_be_bytes(*len).into()) else { return };
        texts.push(std::str::from_utf8(text).unwrap_or_default());
        rest = behind;
    }
    for event in rest.chunks_exact(EVENT_LEN) {
        let Some(kind) = Kind::of(event[0]) else { continue };
        let short = |at: usize| u16::from_be_bytes([event[at], event[at + 1]]);
        let long = |at: usize| event[at..at + 8].iter().fold(0, |number, byte| number << 8 | i64::from(*byte));
        let text = |n: usize| texts.get(usize::from(short(2 + 2 * n))).copied().unwrap_or_default();
        each(Kept {
            kind,
            time: long(16),
            group: text(0),
            topic: text(1),
            client: text(2),
            address: text(3),
            wanted: text(4),
            queue_id: i32::from(short(12) as i16) << 16 | i32::from(short(14)),
            from: long(24),
            to: long(32),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivered(time: i64, queue_id: i32, from: i64, to: i64) -> Kept<'static> {
        let names = ("g", "T", "c", "10.0.0.1:5");
        let (group, topic, client, address) = names;
        Kept { group, topic, client, address, queue_id, from, to, ..Kept::of(Kind::Delivered, time) }
    }

    fn all(block: &[u8]) -> Vec<String> {
        let mut all = Vec::new();
        read_block(block, &mut |it| {
            all.push(format!(
                "{:?} {} {}/{}/{}/{} {} {}..{}",
                it.kind, it.time, it.group, it.topic, it.client, it.wanted, it.queue_id, it.from, it.to
            ));
        });
        all
    }

    #[test]
    fn a_block_is_read_as_it_was_made() {
        let mut block = BlockBuilder::default();
        block.push(&delivered(5, 1, 0, 3));
        block.push(&Kept { group: "组", from: -1, to: 1 << 40, queue_id: -2, ..Kept::of(Kind::Committed, 6) });
        let (times, bytes) = block.finish().unwrap();
        assert_eq!(times, (5, 6));
        assert_eq!(all(&bytes), ["Delivered 5 g/T/c/ 1 0..3", "Committed 6 组/// -2 -1..1099511627776"]);
        for cut in 0..bytes.len() {
            read_block(&bytes[..cut], &mut |_| {});
        }
        assert!(BlockBuilder::default().finish().is_none());
    }

    #[test]
    fn pulls_that_follow_one_another_at_once_are_one_event() {
        let mut block = BlockBuilder::default();
        for kept in [
            delivered(100, 0, 0, 3),
            delivered(100, 1, 0, 1),
            delivered(105, 0, 3, 9),
            delivered(111, 0, 9, 10),
            delivered(112, 0, 0, 2),
        ] {
            block.push(&kept);
        }
        assert_eq!(
            all(&block.finish().unwrap().1),
            [
                "Delivered 100 g/T/c/ 0 0..9",
                "Delivered 100 g/T/c/ 1 0..1",
                "Delivered 111 g/T/c/ 0 9..10",
                "Delivered 112 g/T/c/ 0 0..2",
            ]
        );
    }

    #[test]
    fn what_was_wanted_can_be_told_later() {
        for wanted in [TagFilter::All, TagFilter::Codes(vec![-5, 7])] {
            let text = Wanted::Tags(wanted.clone()).text();
            let read = WantedText::read(&text);
            assert_eq!(read, if wanted == TagFilter::All { WantedText::All } else { WantedText::Tags(wanted) });
        }
        assert_eq!(WantedText::read(&Wanted::Sql("a > 1".into()).text()), WantedText::Sql("a > 1"));
        assert_eq!(WantedText::read(&Wanted::Program.text()), WantedText::Some);
        let mut block = BlockBuilder::default();
        let long = Wanted::Sql("x".repeat(10_000)).text();
        block.push(&Kept { wanted: &long, ..delivered(1, 0, 0, 1) });
        read_block(&block.finish().unwrap().1, &mut |kept| {
            assert_eq!(WantedText::read(kept.wanted), WantedText::Some);
        });
    }

    #[test]
    fn of_a_long_text_no_more_waits_than_is_kept() {
        let to = "127.0.0.1:1".parse().unwrap();
        let shortened = |wanted: Wanted| {
            let (group, topic) = ("g".into(), "T".into());
            let mut event = Event::Delivered { group, topic, queue_id: 0, range: (0, 1), count: 1, wanted, to };
            event.shorten();
            let Event::Delivered { wanted, .. } = event else { unreachable!("it was one") };
            let text = wanted.text();
            let bytes = match wanted {
                Wanted::Sql(text) => text.capacity(),
                Wanted::Tags(TagFilter::Codes(codes)) => codes.capacity() * 4,
                _ => 0,
            };
            let told = text[..text.floor_char_boundary(TEXT_MAX)].to_owned();
            (bytes, WantedText::read(&told) == WantedText::Some)
        };
        assert_eq!(shortened(Wanted::Sql("語".repeat(20_000))), (TEXT_MAX - 1, true), "no character is cut");
        let codes = |count| Wanted::Tags(TagFilter::Codes(vec![7; count]));
        assert_eq!(shortened(codes(20_000)), (TEXT_MAX * 2, true));
        assert_eq!(shortened(codes(10)), (40, false));
        let mut event = Event::Sends { group: "g".repeat(1 << 20), client: "c".repeat(1 << 20), from: to };
        event.shorten();
        let Event::Sends { group, client, .. } = event else { unreachable!("it was one") };
        assert_eq!([group, client].map(|text| text.capacity()), [TEXT_MAX; 2]);
    }
}
