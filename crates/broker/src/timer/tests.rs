use super::*;
use store::StoreConfig;

fn timer(config: Config) -> Timer {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { store_root: dir.path().into(), ..config };
    let store = Store::open(StoreConfig::new(dir.path())).unwrap();
    Timer::open(&config, &store).unwrap()
}

#[test]
fn a_time_is_in_the_tick_that_ends_at_it_or_behind_it() {
    let timer = timer(Config::default());
    let ticks = [1, 999, 1000, 1001, 1999, 2000, 2001].map(|time| timer.tick_before(1_000_000 + time) - 1_000_000);
    assert_eq!(ticks, [0, 0, 0, 1000, 1000, 1000, 2000]);
}

#[test]
fn what_is_asked_for_is_admitted_as_by_apaches_broker() {
    const NOW: i64 = 1_700_000_000_123;
    let timer = timer(Config { timer_max_delay: Duration::from_secs(10), ..Config::default() });
    let admit = |text: &str| {
        let properties = text.replace('=', "\u{1}").replace(';', "\u{2}");
        let mut asked = Asked::default();
        Properties(properties.as_bytes()).raw().for_each(|(name, value)| asked.see(name, value));
        timer.admit(&asked, NOW).map_err(|reject| reject.code)
    };
    let tick = |time: i64| Ok(Wait::Tick(time));
    assert_eq!(admit("TIMER_DELAY_SEC=10;"), tick(1_700_000_010_000));
    assert_eq!(admit("TIMER_DELAY_SEC=+2;TIMER_DELAY_MS=9;TIMER_DELIVER_MS=x;"), tick(1_700_000_002_000));
    assert_eq!(admit("TIMER_DELAY_MS=877;TIMER_DELIVER_MS=1;"), tick(1_700_000_000_000));
    assert_eq!(admit("TIMER_DELIVER_MS=1700000000124;"), tick(1_700_000_000_000));
    for at_once in ["TIMER_DELIVER_MS=1700000000123;", "TIMER_DELAY_MS=-9223372036854775808;", "TIMER_DELAY_SEC=0;"] {
        assert_eq!(admit(at_once), Ok(Wait::No), "{at_once}");
    }
    for illegal in [
        "TIMER_DELAY_SEC=11;",
        "TIMER_DELAY_MS=10001;",
        "TIMER_DELAY_SEC=9223372036854775807;",
        "TIMER_DELAY_SEC= 1;",
        "TIMER_DELIVER_MS=1;TIMER_DEL_UNIQKEY=k;",
    ] {
        assert_eq!(admit(illegal), Err(response::MESSAGE_ILLEGAL), "{illegal}");
    }
}

#[test]
fn what_is_far_off_rolls_in_steps_that_leave_room_for_the_last() {
    const NOW: i64 = 1_700_000_000_000;
    const DAY: i64 = 24 * 3_600_000;
    let rolled = |config: Config, left: i64| {
        let timer = timer(config);
        let mut bytes = Vec::new();
        let host = "127.0.0.1:1".parse().unwrap();
        protocol::record::RecordFields {
            topic: TIMER_TOPIC,
            queue_id: 0,
            flag: 0,
            queue_offset: QueueOffset(0),
            commit_log_offset: CommitLogOffset(0),
            body_crc: 0,
            sys_flag: 0,
            born_timestamp: 0,
            born_host: host,
            store_timestamp: 0,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: b"",
            properties: format!("TIMER_OUT_MS\x01{}\x02REAL_TOPIC\x01T\x02REAL_QID\x010\x02", NOW + left).as_bytes(),
        }
        .encode(&mut bytes);
        let timed = Timed::read(Record::parse(&bytes).unwrap()).unwrap();
        let unit = timer.unit(&timed, NOW);
        (unit.rolls, unit.slot_time - NOW)
    };
    let by_default = |left| rolled(Config::default(), left);
    // Messages are kept for three days: half of that counts.
    assert_eq!(by_default(DAY), (false, DAY));
    assert_eq!(by_default(DAY * 3 / 2 - 1000), (false, DAY * 3 / 2 - 1000));
    assert_eq!(by_default(DAY * 3 / 2), (true, DAY * 3 / 4));
    assert_eq!(by_default(400 * DAY), (true, DAY * 3 / 2));
    let kept_long = Config { file_reserved_time: Duration::from_secs(30 * 24 * 3600), ..Config::default() };
    assert_eq!(rolled(kept_long, 400 * DAY), (true, 2 * DAY));
    let kept_short = Config { file_reserved_time: Duration::from_secs(3600), ..Config::default() };
    assert_eq!(rolled(kept_short, DAY), (true, DAY / 48));
    assert_eq!(by_default(-DAY), (false, -DAY), "one that comes late");
}
