//! The rows of the table in `docs/transactions.md`.

use super::*;

const LIMITS: Limits =
    Limits { timeout: Duration::from_secs(6), checks_max: 15, kept_for: Duration::from_secs(72 * 3600) };

const SECOND: i64 = 1000;

fn half(offset: i64) -> Half {
    Half { at: CommitLogOffset(offset * 100), born: 0, checks: 0, immunity: None, first: offset }
}

fn immune(seconds: u64) -> Half {
    Half { immunity: Some(Duration::from_secs(seconds)), ..half(0) }
}

fn none() -> Transactions {
    Transactions::new(Progress { half: 0, operation: 0 })
}

#[test]
fn a_young_half_message_waits_and_an_old_one_is_asked_about() {
    assert_eq!(half(0).judge(6 * SECOND, &LIMITS), Verdict::Wait);
    assert_eq!(half(0).judge(6 * SECOND + 1, &LIMITS), Verdict::Ask);
}

#[test]
fn one_that_is_immune_moves_and_nobody_is_asked_until_its_time_is_over() {
    assert_eq!(immune(60).judge(SECOND, &LIMITS), Verdict::Renew);
    assert_eq!(immune(60).judge(60 * SECOND, &LIMITS), Verdict::Renew);
    assert_eq!(immune(60).judge(60 * SECOND + 1, &LIMITS), Verdict::Ask);
    assert_eq!(immune(2).judge(3 * SECOND, &LIMITS), Verdict::Ask, "also when that is sooner than the time-out");
}

#[test]
fn one_from_the_future_is_asked_about_at_once() {
    assert_eq!(half(0).judge(-1, &LIMITS), Verdict::Ask);
    assert_eq!(immune(60).judge(-1, &LIMITS), Verdict::Ask);
}

#[test]
fn one_is_given_up_when_it_was_asked_about_often_enough_or_is_too_old() {
    let asked = |checks| Half { checks, ..half(0) };
    assert_eq!(asked(14).judge(7 * SECOND, &LIMITS), Verdict::Ask);
    assert_eq!(asked(15).judge(7 * SECOND, &LIMITS), Verdict::GiveUp(GaveUp::Checks));
    let old = 72 * 3600 * SECOND;
    assert_eq!(half(0).judge(old, &LIMITS), Verdict::Ask);
    assert_eq!(half(0).judge(old + 1, &LIMITS), Verdict::GiveUp(GaveUp::Age));
    assert_eq!(immune(u64::MAX).judge(old + 1, &LIMITS), Verdict::GiveUp(GaveUp::Age));
    assert_eq!(Half { born: i64::MIN, ..half(0) }.judge(i64::MAX, &LIMITS), Verdict::GiveUp(GaveUp::Age));
}

#[test]
fn a_transaction_ends_once() {
    let mut transactions = none();
    transactions.prepared(0, half(0));
    assert_eq!(transactions.find(0, 0), Some(0));
    assert!(transactions.end(0));
    assert_eq!(transactions.find(0, 0), None);
    assert!(!transactions.end(0));
    assert_eq!(transactions.unsaid(), [0]);
    assert_eq!(transactions.find(1, 1), None, "one that never was");
}

#[test]
fn any_copy_ends_the_last_one_and_only_that_counts() {
    let mut transactions = none();
    transactions.prepared(0, half(0));
    transactions.prepared(1, half(1));
    transactions.prepared(2, Half { first: 0, checks: 1, ..half(2) });
    transactions.prepared(3, Half { first: 0, checks: 2, ..half(3) });
    assert_eq!(transactions.len(), 2);
    for (copy, first) in [(0, 0), (2, 0), (3, 0)] {
        assert_eq!(transactions.find(copy, first), Some(3));
    }
    assert!(transactions.end(3));
    for (copy, first) in [(0, 0), (2, 0), (3, 0)] {
        assert_eq!(transactions.find(copy, first), None);
    }
    assert_eq!(transactions.find(1, 1), Some(1));
}

#[test]
fn the_log_says_the_same_after_a_restart() {
    let mut transactions = none();
    for offset in 0..4 {
        transactions.prepared(offset, half(offset));
    }
    transactions.prepared(4, Half { first: 0, checks: 1, ..half(4) });
    transactions.prepared(5, Half { first: 3, ..half(5) });
    // One alone, several with commas, one that is known by its first copy only, one that is long gone.
    transactions.read_operation(0, &[1]);
    transactions.read_operation(1, &[3, 77]);
    assert_eq!(transactions.next(0).map(|(offset, _)| offset), Some(2));
    assert_eq!(transactions.next(3).map(|(offset, half)| (offset, half.checks)), Some((4, 1)));
    assert_eq!(transactions.next(5), None);
    assert!(transactions.unsaid().is_empty(), "the log says so already");
}

#[test]
fn what_is_noted_is_never_ahead_of_what_waits_nor_of_what_was_said() {
    let mut transactions = none();
    for offset in 0..100 {
        transactions.prepared(offset, half(offset));
    }
    assert_eq!(transactions.progress(), Progress { half: 0, operation: 0 });
    transactions.end(0);
    assert_eq!(transactions.progress().half, 0, "nobody has said that it ended");
    transactions.said(0, 1);
    assert_eq!(transactions.progress(), Progress { half: 1, operation: 1 });
    for offset in (2..100).rev() {
        transactions.end(offset);
        transactions.said(100 - offset, 1);
    }
    assert_eq!(transactions.progress(), Progress { half: 1, operation: 1 }, "one waits in front of them");
    assert!(transactions.operations.len() <= 5, "many operation messages take little room");
    transactions.prepared(100, Half { first: 1, ..half(100) });
    assert_eq!(transactions.progress(), Progress { half: 100, operation: 99 }, "it moved behind them");
    transactions.end(100);
    transactions.said(99, 1);
    assert_eq!(transactions.progress(), Progress { half: 101, operation: 100 });
    assert!(transactions.is_empty() && transactions.copies.is_empty());
}
