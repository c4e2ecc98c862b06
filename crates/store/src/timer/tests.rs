use super::*;
use std::fs;
use std::path::Path;

const NOW: i64 = 1_700_000_000;

fn config(root: &Path) -> TimerConfig {
    TimerConfig { root: root.to_owned(), precision: 1000, file_size: 4096, disk: Disk::default() }
}

fn open(root: &Path) -> (Timers, Resume) {
    fs::create_dir_all(root.join("config")).unwrap();
    Timers::open(config(root), NOW * 1000).unwrap()
}

fn unit(tick: i64, at: i64) -> Unit {
    Unit {
        at: CommitLogOffset(at),
        size: 100,
        enqueued: NOW * 1000,
        slot_time: tick * 1000,
        rolls: false,
        recalls: false,
        topic_hash: 0,
    }
}

fn add(timers: &mut Timers, ticks: &[i64], from: i64) {
    let units: Vec<Unit> = ticks.iter().zip(from..).map(|(tick, n)| unit(*tick, n * 100)).collect();
    timers.add(&units).unwrap();
    timers.set_queue_offset(from + units.len() as i64);
}

fn save(timers: &mut Timers) {
    timers.note();
    let mut saving = timers.save(1).unwrap();
    let outcome = saving.run();
    timers.saved(saving, outcome);
}

fn in_slot(timers: &Timers, tick: i64) -> Vec<i64> {
    let positions = timers.slot(tick).unwrap();
    timers.units(tick, &positions).unwrap().iter().map(|unit| unit.at.0 / 100).collect()
}

#[test]
fn a_slot_has_its_messages_in_the_order_in_which_they_came_over_files_and_runs() {
    let dir = tempfile::tempdir().unwrap();
    let (mut timers, resume) = open(dir.path());
    assert_eq!((resume, timers.is_empty()), (Resume::At(0), true));
    let ticks: Vec<i64> = (0..1000).map(|n| NOW + 10 + n * 7 % 5).collect();
    add(&mut timers, &ticks[..500], 0);
    save(&mut timers);
    add(&mut timers, &ticks[500..], 500);
    let of = |tick: i64| (0..1000).filter(|n| ticks[*n as usize] == tick).collect::<Vec<i64>>();
    assert!(fs::read_dir(dir.path().join("timerlog")).unwrap().count() > 10, "small files");
    for tick in NOW + 10..NOW + 15 {
        assert_eq!(in_slot(&timers, tick), of(tick));
    }
    save(&mut timers);
    drop(timers);
    let (mut timers, resume) = open(dir.path());
    assert_eq!((resume, timers.next(i64::MAX).unwrap()), (Resume::At(1000), Some(NOW + 10)));
    for tick in NOW + 10..NOW + 15 {
        assert_eq!(in_slot(&timers, tick), of(tick));
        timers.delivered(tick);
    }
    assert_eq!(timers.next(i64::MAX).unwrap(), None);
    // Its files go with the messages that they are about.
    assert!(timers.delete_before(CommitLogOffset(60_000)).unwrap() > 4);
    assert_eq!(timers.delete_before(CommitLogOffset(60_000)).unwrap(), 0);
}

#[test]
fn what_no_checkpoint_speaks_of_is_undone() {
    let dir = tempfile::tempdir().unwrap();
    let (mut timers, _) = open(dir.path());
    add(&mut timers, &[NOW + 5, NOW + 6, NOW + 5], 0);
    timers.note();
    // These are in the slots that are written, but not in what was noted.
    add(&mut timers, &[NOW + 5, NOW + 7, NOW + 6, NOW + 5], 3);
    let mut saving = timers.save(1).unwrap();
    saving.run().unwrap();
    drop(timers);
    let (timers, resume) = open(dir.path());
    assert_eq!(resume, Resume::At(3));
    assert_eq!([5, 6, 7].map(|n| in_slot(&timers, NOW + n)), [vec![0, 2], vec![1], vec![]]);
    assert_eq!(timers.wheel.slot(NOW + 5).unwrap().unwrap().count, 2);
    assert!(timers.log.unit(3 * 52, &mut Window::default()).unwrap().is_none(), "nobody takes it for a unit");
}

#[test]
fn the_oldest_message_is_known_as_it_would_be_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let (mut timers, _) = open(dir.path());
    assert_eq!(timers.oldest().unwrap(), None);
    add(&mut timers, &[NOW + 50, NOW + 5, NOW + 60], 1);
    assert_eq!(timers.oldest().unwrap(), Some(CommitLogOffset(100)));
    timers.delivered(NOW + 50);
    assert_eq!(timers.oldest().unwrap(), Some(CommitLogOffset(100)), "that is not on disk");
    save(&mut timers);
    assert_eq!(timers.oldest().unwrap(), Some(CommitLogOffset(300)));
    timers.delivered(NOW + 60);
    save(&mut timers);
    assert_eq!(timers.oldest().unwrap(), None);
}

#[test]
fn a_slot_is_not_taken_before_it_is_delivered() {
    let dir = tempfile::tempdir().unwrap();
    let (mut timers, _) = open(dir.path());
    add(&mut timers, &[NOW], 0);
    assert!(timers.has_room((NOW + SLOTS - 1) * 1000) && !timers.has_room((NOW + SLOTS) * 1000));
    timers.delivered(NOW);
    assert!(timers.has_room((NOW + SLOTS) * 1000));
    add(&mut timers, &[NOW + SLOTS], 1);
    assert_eq!(in_slot(&timers, NOW + SLOTS), [1], "nothing of the turn before");
    assert_eq!(timers.next(i64::MAX).unwrap(), Some(NOW + SLOTS));
}

#[test]
fn what_was_delivered_before_the_clock_was_set_back_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (mut timers, _) = open(dir.path());
    add(&mut timers, &[NOW + 1, NOW + 9], 0);
    timers.delivered(NOW + 1);
    timers.pass(NOW + 5);
    assert!(!timers.can_turn_back(), "no checkpoint says that it was delivered");
    save(&mut timers);
    assert!(timers.can_turn_back());
    timers.turn_back(NOW - 5).unwrap();
    add(&mut timers, &[NOW + 1], 2);
    assert_eq!((in_slot(&timers, NOW + 1), in_slot(&timers, NOW + 9)), (vec![2], vec![1]));
    save(&mut timers);
    drop(timers);
    let (timers, _) = open(dir.path());
    assert_eq!((timers.tick(), in_slot(&timers, NOW + 1)), (NOW - 5, vec![2]));
}

#[test]
fn files_that_do_not_belong_together_are_made_again() {
    let spoil: [fn(&Path); 5] = [
        |root| fs::remove_file(root.join("timerwheel")).unwrap(),
        |root| fs::remove_dir_all(root.join("timerlog")).unwrap(),
        |root| fs::write(root.join("timerwheel"), [0; 100]).unwrap(),
        |root| fs::write(root.join("timerlog/00000000000000000000"), [0; 100]).unwrap(),
        |root| {
            fs::rename(root.join("timerlog/00000000000000004096"), root.join("timerlog/00000000000000008192")).unwrap()
        },
    ];
    for (n, spoil) in spoil.into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let (mut timers, _) = open(dir.path());
        add(&mut timers, &[NOW + 5; 100], 0);
        save(&mut timers);
        drop(timers);
        spoil(dir.path());
        let (mut timers, resume) = open(dir.path());
        assert_eq!((resume, timers.next(i64::MAX).unwrap()), (Resume::At(0), None), "{n}");
        add(&mut timers, &[NOW + 5], 0);
        save(&mut timers);
        drop(timers);
        let (timers, resume) = open(dir.path());
        assert_eq!((resume, in_slot(&timers, NOW + 5)), (Resume::At(1), vec![0]), "{n}");
    }
}

#[test]
fn ticks_of_another_length_are_laid_in_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mut timers, _) = open(dir.path());
    add(&mut timers, &[NOW + 5], 0);
    save(&mut timers);
    drop(timers);
    let other = TimerConfig { precision: 500, ..config(dir.path()) };
    let (timers, resume) = Timers::open(other, NOW * 1000).unwrap();
    assert_eq!((resume, timers.next(i64::MAX).unwrap()), (Resume::At(0), None));
}

/// As Apache's broker leaves it: its checkpoint, which speaks of no more than it has, and often of less.
#[test]
fn what_another_left_behind_its_checkpoint_is_done_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mut timers, _) = open(dir.path());
    add(&mut timers, &[NOW + 5; 40_000], 0);
    save(&mut timers);
    drop(timers);
    let path = dir.path().join("config/timercheck");
    let mut check = fs::read(&path).unwrap();
    assert!(is_ours(&check));
    check[48..56].copy_from_slice(&99_i64.to_be_bytes());
    assert!(!is_ours(&check));
    fs::write(&path, &check).unwrap();
    let (timers, resume) = open(dir.path());
    let Resume::Behind(at) = resume else { panic!("{resume:?}") };
    let left = in_slot(&timers, NOW + 5);
    assert_eq!(left, (0..=at.0 / 100).collect::<Vec<_>>());
    let again = 40_000 - left.len();
    assert!((19_000..20_400).contains(&again), "{again}");
}

#[test]
fn a_damaged_log_is_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let (mut timers, _) = open(dir.path());
    add(&mut timers, &[NOW + 5; 10], 0);
    save(&mut timers);
    let path = dir.path().join("timerlog/00000000000000000000");
    let mut log = fs::read(&path).unwrap();
    log[52 * 4 + 1] = 9;
    fs::write(&path, log).unwrap();
    let error = timers.slot(NOW + 5).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert_eq!(timers.restart("of a test").unwrap(), Resume::At(0));
    assert_eq!(timers.next(i64::MAX).unwrap(), None);
}
