//! The same for the timer wheel: what it says after a power failure is what one of its checkpoints said, and not an older
//! one than the last that was brought to disk.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use store::CommitLogOffset;
use store::disk::{Disk, Watch};
use store::timer::{Resume, TimerConfig, Timers, Unit};

use super::drive::{Drive, Moment, Random, Recorder};
use super::{number_from, scratch};

const BEGIN: i64 = 1_700_000_000;
/// Ticks that messages are laid in ahead: few, so that slots have several.
const AHEAD: usize = 300;

fn open(root: &Path, disk: Disk) -> (Timers, Resume) {
    let config = TimerConfig { root: root.to_owned(), precision: 1000, file_size: 4096, disk };
    Timers::open(config, BEGIN * 1000).unwrap()
}

/// What waits, by tick: places of messages, oldest first.
type Waiting = BTreeMap<i64, Vec<i64>>;

/// What a checkpoint spoke of: by the offset of the queue, which no other has.
#[derive(Clone, Debug, Default)]
struct State {
    tick: i64,
    waiting: Waiting,
    /// From when on the checkpoint may be on disk, and from when on it is.
    saved: Option<(Moment, Moment)>,
}

fn waiting(timers: &Timers) -> Waiting {
    let mut found = Waiting::new();
    let mut from = timers.tick();
    while let Some(tick) = timers.next_from(from, from + 2 * AHEAD as i64).unwrap() {
        let units = timers.units(tick, &timers.slot(tick).unwrap()).unwrap();
        found.insert(tick, units.iter().map(|unit| unit.at.0).collect());
        from = tick + 1;
    }
    found
}

fn run(seed: u64, images: usize) {
    let mut random = Random::new(seed);
    let dir = scratch();
    let root = dir.path().join("store");
    std::fs::create_dir_all(root.join("config")).unwrap();
    let mut drive = Drive::of(&root);
    let recorder = Recorder::new(&root);
    let disk = || Disk::watched(recorder.clone() as Arc<dyn Watch>);
    let (mut timers, _) = open(&root, disk());
    let mut states: BTreeMap<i64, State> =
        BTreeMap::from([(0, State { tick: BEGIN, saved: Some((0, 0)), ..State::default() })]);
    let mut now = State { tick: BEGIN, ..State::default() };
    // What was never saved is at 0.
    let mut offset = 1;
    timers.set_queue_offset(offset);
    let mut laid_in = 0;
    for _ in 0..150 {
        match random.below(10) {
            0..6 => {
                let units: Vec<Unit> = (0..random.below(40))
                    .map(|_| {
                        let tick = now.tick + random.below(AHEAD) as i64;
                        laid_in += 100;
                        now.waiting.entry(tick).or_default().push(laid_in);
                        Unit {
                            at: CommitLogOffset(laid_in),
                            size: 100,
                            enqueued: now.tick * 1000,
                            slot_time: tick * 1000,
                            rolls: false,
                            recalls: false,
                            topic_hash: 7,
                        }
                    })
                    .collect();
                timers.add(&units).unwrap();
                offset += units.len() as i64;
                timers.set_queue_offset(offset);
            }
            6 => {
                for _ in 0..random.below(20) {
                    now.tick += 1;
                    match timers.next(now.tick).unwrap() {
                        Some(tick) => {
                            assert_eq!(Some(tick), now.waiting.pop_first().map(|(tick, _)| tick));
                            timers.delivered(tick);
                        }
                        None => timers.pass(now.tick),
                    }
                }
                // What is noted must tell of it.
                offset += 1;
                timers.set_queue_offset(offset);
            }
            8 if random.below(3) == 0 => {
                // Killed: what is not in a checkpoint is done again.
                let (opened, resume) = open(&root, disk());
                timers = opened;
                let Resume::At(at) = resume else { panic!("{resume:?}") };
                now = State { saved: None, ..states[&at].clone() };
                offset += 1000;
                timers.set_queue_offset(offset);
                assert_eq!(waiting(&timers), now.waiting);
            }
            _ => {
                timers.note();
                states.insert(offset, now.clone());
                // Others go on while it is brought to disk.
                let began = recorder.moment();
                let mut saving = timers.save(0).unwrap();
                let outcome = saving.run();
                timers.saved(saving, outcome);
                states.get_mut(&offset).unwrap().saved = Some((began, recorder.moment()));
                if random.below(3) == 0 {
                    // The clock is set back, and slots begin anew.
                    assert!(timers.can_turn_back());
                    now.tick -= random.below(30) as i64;
                    timers.turn_back(now.tick).unwrap();
                }
                offset += 1;
                timers.set_queue_offset(offset);
            }
        }
    }
    let events = recorder.events();
    let mut moments: Vec<Moment> = (0..images).map(|_| random.below(events.len()) + 1).collect();
    moments.sort_unstable();
    for moment in moments {
        drive.play(&events, moment);
        let image = dir.path().join("image");
        drive.fail(&image, &mut random);
        let at = |n: usize| move |state: &State| state.saved.is_some_and(|(began, ended)| [began, ended][n] <= moment);
        let last = states.iter().rfind(|(_, state)| at(1)(state)).unwrap().0;
        for times in 0..2 {
            let (timers, resume) = open(&image, Disk::default());
            let Resume::At(offset) = resume else { panic!("seed {seed}, moment {moment}: {resume:?}") };
            let state = states.get(&offset).filter(|state| at(0)(state));
            let state = state.unwrap_or_else(|| panic!("seed {seed}, moment {moment}: nothing was saved at {offset}"));
            assert!(offset >= *last, "seed {seed}, moment {moment}: {offset} is older than {last}");
            assert_eq!(waiting(&timers), state.waiting, "seed {seed}, moment {moment}, opened {times} times before");
        }
        std::fs::remove_dir_all(&image).unwrap();
    }
}

#[test]
fn the_timer_wheel_says_what_a_checkpoint_said_when_the_power_fails() {
    if let Some(seed) = number_from("POWER_LOSS_SEED") {
        return run(seed, 50);
    }
    let images = number_from("POWER_LOSS_IMAGES").unwrap_or(100) as usize;
    (0..images.div_ceil(50) as u64).for_each(|seed| run(seed, 50));
}
