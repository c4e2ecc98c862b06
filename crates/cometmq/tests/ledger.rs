//! The ledger itself: it accepts what is right, and finds each kind of wrong. A judge that never condemns is worth nothing.

mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use support::Message;
use support::ledger::{Content, Faults, Ledger, Name, Promise, Queue, body, name_of};

const GROUP: &str = "g";

fn queue() -> Queue {
    ("T".into(), 1)
}

fn message(name: Name, queue_offset: i64) -> Message {
    Message {
        topic: "T".into(),
        queue_id: 1,
        queue_offset,
        commit_log_offset: 1000 + 100 * queue_offset,
        body: body(name, 50),
        properties: String::new(),
    }
}

/// Three messages were sent and acknowledged, and stand where they should.
fn right() -> (Ledger, Vec<Message>) {
    let mut ledger = Ledger::new(1024);
    for offset in 0..3 {
        let name = (7, offset as u64);
        ledger.send(name);
        ledger.acknowledge("T", 1, offset, 1000 + 100 * offset, name);
    }
    (ledger, (0..3).map(|offset| message((7, offset as u64), offset)).collect())
}

fn judged(ledger: &Ledger, min: i64, messages: Vec<Message>, faults: Faults) -> String {
    let queues = BTreeMap::from([(queue(), Content { min, messages })]);
    ledger.judge(&queues, faults).err().map_or("right".into(), |violation| violation.0)
}

fn assert_found(ledger: &Ledger, messages: Vec<Message>, expected: &str) {
    for faults in [Faults::None, Faults::Some] {
        let said = judged(ledger, 0, messages.clone(), faults);
        assert!(said.contains(expected), "`{said}` does not contain `{expected}`");
    }
}

#[test]
fn what_is_right_is_found_right() {
    let (mut ledger, mut messages) = right();
    assert_eq!(judged(&ledger, 0, messages.clone(), Faults::None), "right");
    // One whose answer was lost may be there, or not.
    ledger.send((8, 0));
    assert_eq!(judged(&ledger, 0, messages.clone(), Faults::Some), "right");
    messages.push(message((8, 0), 3));
    assert_eq!(judged(&ledger, 0, messages, Faults::Some), "right");
}

#[test]
fn a_lost_message_is_found_with_the_places_to_look_at() {
    let (ledger, mut messages) = right();
    messages.pop();
    assert_found(
        &ledger,
        messages,
        "T queue 1 offset 2 (commit log offset 1200: file 00000000000000001024 position 176): the acknowledged \
         message (7, 2) is lost",
    );
    assert_found(&ledger, vec![], "offset 0");
    assert!(ledger.judge(&BTreeMap::new(), Faults::Some).unwrap_err().0.contains("lost"), "the whole queue is gone");
}

#[test]
fn a_gap_is_found() {
    let (ledger, mut messages) = right();
    messages.remove(1);
    assert_found(&ledger, messages, "offset 2 (commit log offset 1200: file 00000000000000001024 position 176): a gap");
}

#[test]
fn two_messages_at_one_offset_are_found() {
    let (mut ledger, mut messages) = right();
    messages.insert(1, message((7, 0), 0));
    assert_found(&ledger, messages, "a second message at this offset");
    ledger.send((8, 0));
    ledger.acknowledge("T", 1, 2, 1200, (8, 0));
    let (_, messages) = right();
    assert_found(&ledger, messages, "acknowledged for message (8, 0), and before for (7, 2)");
}

#[test]
fn a_message_that_nobody_sent_is_found_and_one_changed_byte_makes_it_so() {
    let (ledger, mut messages) = right();
    messages.push(message((9, 0), 3));
    assert_found(
        &ledger,
        messages,
        "offset 3 (commit log offset 1300: file 00000000000000001024 position 276): nobody",
    );
    for byte in 0..50 {
        let (ledger, mut messages) = right();
        messages[1].body[byte] ^= 1;
        assert_found(&ledger, messages, "offset 1");
    }
    assert_eq!(name_of(&body((3, 4), 100)), Some((3, 4)));
    assert_eq!(name_of(b""), None);
}

#[test]
fn another_message_than_was_acknowledged_is_found() {
    let (mut ledger, mut messages) = right();
    ledger.send((8, 0));
    messages[1] = message((8, 0), 1);
    assert_found(&ledger, messages, "Some((8, 0)) stands where (7, 1) was acknowledged");
    let (_, mut messages) = right();
    messages[1].commit_log_offset += 1;
    assert_found(&ledger, messages, "has moved to commit log offset 1101");
}

#[test]
fn one_senders_messages_in_another_order_are_found() {
    let mut ledger = Ledger::new(1024);
    for (offset, number) in [(0, 1), (1, 0)] {
        ledger.send((7, number));
        ledger.acknowledge("T", 1, offset, 1000 + 100 * offset, (7, number));
    }
    assert_found(&ledger, vec![message((7, 1), 0), message((7, 0), 1)], "stands behind a later one");
}

#[test]
fn a_message_twice_is_found_when_there_were_no_faults() {
    let (ledger, mut messages) = right();
    messages.push(message((7, 1), 3));
    assert_eq!(judged(&ledger, 0, messages.clone(), Faults::Some), "right");
    assert!(judged(&ledger, 0, messages, Faults::None).contains("(7, 1) is there twice"));
}

#[test]
fn retention_takes_what_it_may_and_no_more() {
    let (mut ledger, messages) = right();
    let rest = messages[2..].to_vec();
    assert!(judged(&ledger, 2, rest.clone(), Faults::Some).contains("offset 0"));
    ledger.forgive(1100);
    assert!(judged(&ledger, 2, rest.clone(), Faults::Some).contains("offset 1"));
    ledger.forgive(1200);
    assert_eq!(judged(&ledger, 2, rest, Faults::Some), "right");
    assert!(judged(&ledger, 3, vec![], Faults::Some).contains("offset 2"));
}

#[test]
fn what_a_group_did_not_receive_is_found_and_an_offset_ahead_of_it() {
    let (mut ledger, messages) = right();
    let now = Instant::now();
    ledger.receive(GROUP, &messages[0], 0, now);
    assert!(ledger.still_to_come(GROUP, "T").unwrap().contains("offset 1"));
    assert_eq!(ledger.judge_offset(GROUP, &queue(), 1), Ok(()));
    assert!(ledger.judge_offset(GROUP, &queue(), 2).unwrap_err().0.contains("offset 1"));
    assert!(ledger.judge_offset("other", &queue(), 1).is_err());
    messages[1..].iter().for_each(|message| ledger.receive(GROUP, message, 0, now));
    assert_eq!(ledger.still_to_come(GROUP, "T"), None);
    assert_eq!(ledger.judge_offset(GROUP, &queue(), 3), Ok(()));
    ledger.receive(GROUP, &message((9, 9), 3), 0, now);
    assert_found(&ledger, messages, "group g received a message that nobody sent");
}

#[test]
fn a_promise_is_kept_in_time_or_found() {
    let (mut ledger, messages) = right();
    let now = Instant::now();
    let not_before = now + Duration::from_secs(1);
    messages.iter().for_each(|message| ledger.receive(GROUP, message, 0, now));
    ledger.promise(Promise { group: GROUP, name: (7, 0), attempt: 1, not_before });
    assert!(ledger.still_to_come(GROUP, "T").unwrap().contains("(7, 0), promised for attempt 1"));
    ledger.receive(GROUP, &messages[0], 0, now);
    assert!(ledger.still_to_come(GROUP, "T").is_some(), "the first attempt may come again, and is not the second");
    ledger.receive(GROUP, &messages[0], 1, not_before);
    assert_eq!(ledger.still_to_come(GROUP, "T"), None);
    assert_eq!(judged(&ledger, 0, messages.clone(), Faults::Some), "right");
    ledger.receive(GROUP, &messages[0], 1, now);
    assert_found(&ledger, messages, "came to group g 1s before its time");
}
