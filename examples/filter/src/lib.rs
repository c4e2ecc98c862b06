//! A filter program: keeps orders of at least 100, and whatever says `urgent` in its body.
//!
//! ```sh
//! cargo build --release --target wasm32-unknown-unknown
//! cometmq admin filter put -g billing -t orders target/wasm32-unknown-unknown/release/filter.wasm
//! ```
//!
//! `keep` is yours to change. What is below it reads the input; docs/filter-programs.md says how that lies.

use std::alloc::Layout;

/// Is the message wanted?
fn keep(message: &Message) -> bool {
    let amount = message.property("amount").and_then(|text| text.parse::<i64>().ok());
    amount.is_some_and(|amount| amount >= 100) || message.body.windows(6).any(|word| word == b"urgent")
}

/// A message, as the broker shows it.
struct Message<'a> {
    properties: &'a [u8],
    body: &'a [u8],
}

impl<'a> Message<'a> {
    /// `None`: this is no input of the version that we know.
    fn read(input: &'a [u8]) -> Option<Message<'a>> {
        let number = |at: usize| Some(u32::from_le_bytes(input.get(at..at + 4)?.try_into().ok()?) as usize);
        let part = |at: usize| input.get(number(at)?..)?.get(..number(at + 4)?);
        Some(Message { properties: part(0)?, body: part(8)? })
    }

    /// The first property of this name.
    fn property(&self, name: &str) -> Option<&'a str> {
        self.properties.split(|byte| *byte == 2).find_map(|property| {
            let value = property.strip_prefix(name.as_bytes())?.strip_prefix(b"\x01")?;
            str::from_utf8(value).ok()
        })
    }
}

/// Room for an input of `len` bytes. Called again only for one that is larger: the broker goes on using what it got.
#[unsafe(no_mangle)]
extern "C" fn alloc(len: usize) -> *mut u8 {
    match Layout::array::<u8>(len) {
        // SAFETY: the broker never asks for room for nothing, and with size 0 we would not get here.
        Ok(layout) if len > 0 => unsafe { std::alloc::alloc(layout) },
        _ => std::ptr::null_mut(),
    }
}

/// 1: keep the message at `input`, 0: drop it.
///
/// # Safety
///
/// `input` is what `alloc` answered, and has `len` bytes that are written.
#[unsafe(no_mangle)]
unsafe extern "C" fn filter(input: *const u8, len: usize) -> i32 {
    // SAFETY: as promised above.
    let input = unsafe { std::slice::from_raw_parts(input, len) };
    match Message::read(input) {
        Some(message) => keep(&message).into(),
        // Neither keep nor drop: the broker keeps the message, and reports it.
        None => -1,
    }
}
