//! What `/metrics` tells, and what it costs.

use crate::Running;
use crate::client::{Pull, config, properties};
use broker::Config;
use broker::config::MetricsConfig;
use protocol::metrics::Page;
use protocol::topic::TopicConfig;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn measured(config: Config) -> Config {
    Config { metrics: MetricsConfig { on: true, ..MetricsConfig::default() }, ..config }
}

fn page(running: &Running) -> String {
    let (apaches, ours) = running.broker.metric_labels();
    let mut page = Page::new(running.broker.config.metrics.series_max);
    running.broker.write_metrics(&mut page, &apaches, &ours);
    page.finish(&ours)
}

/// The value of the only series of a metric that has these labels.
#[track_caller]
fn value(page: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
    let has = |line: &&str| labels.iter().all(|(label, value)| line.contains(&format!("{label}=\"{value}\"")));
    let found: Vec<&str> = page.lines().filter(of_name).filter(has).collect();
    assert_eq!(found.len(), 1, "{name} {labels:?}: {found:?}\n{page}");
    found[0].rsplit_once(' ').unwrap().1.parse().unwrap()
}

#[test]
fn messages_groups_and_transactions_are_counted_under_apaches_names() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(measured(config(dir.path())));
    let mut client = running.client();
    for _ in 0..3 {
        assert_eq!(client.send_message("T", 0, "", b"normal").code, 0);
    }
    assert_eq!(client.send_message("T", 0, &properties("__SHARDINGKEY=k;"), b"fifo").code, 0);
    assert_eq!(client.send_message("T", 0, &properties("DELAY=18;"), b"delay").code, 0);
    client.subscribe("CG", ("T", "TAG", "*", 0));
    // Two of four are consumed.
    assert_eq!(client.pull(Pull::of("T")).code, 0);
    assert_eq!(client.pull(Pull { offset: 4, commit: Some(2), ..Pull::of("T") }).code, 19);

    let page = page(&running);
    let of = |kind| [("topic", "T"), ("message_type", kind)];
    assert_eq!(value(&page, "rocketmq_messages_in_total", &of("normal")), 3.0);
    assert_eq!(value(&page, "rocketmq_messages_in_total", &of("fifo")), 1.0);
    assert_eq!(value(&page, "rocketmq_messages_in_total", &of("delay")), 1.0);
    assert!(value(&page, "rocketmq_throughput_in_total", &of("normal")) > 300.0);
    let size = |le| value(&page, "rocketmq_message_size_bucket", &[("message_type", "normal"), ("le", le)]);
    assert_eq!((size("1024.0"), size("+Inf")), (3.0, 3.0));
    let group = [("topic", "T"), ("consumer_group", "CG")];
    assert_eq!(value(&page, "rocketmq_messages_out_total", &group), 4.0);
    assert_eq!(value(&page, "rocketmq_consumer_lag_messages", &group), 2.0);
    assert_eq!(value(&page, "rocketmq_consumer_inflight_messages", &group), 2.0);
    assert_eq!(value(&page, "rocketmq_consumer_ready_messages", &group), 0.0);
    assert!(value(&page, "rocketmq_consumer_lag_latency_milliseconds", &group) < 60_000.0);
    let queue = [("consumer_group", "CG"), ("topic", "T"), ("queue_id", "0")];
    assert_eq!(value(&page, "cometmq_consumer_queue_lag_messages", &queue), 2.0);
    assert_eq!(value(&page, "rocketmq_consumer_connections", &[("consume_mode", "push")]), 1.0);
    assert_eq!(value(&page, "cometmq_delayed_messages", &[("level", "18")]), 1.0);
    assert_eq!(value(&page, "cometmq_put_latency_seconds_count", &[]), 5.0);
    assert_eq!(value(&page, "cometmq_store_refuses_messages", &[]), 0.0);
    assert!(
        page.contains(
            "otel_scope_name=\"broker-meter\",cluster=\"DefaultCluster\",node_id=\"b1\",node_type=\"broker\""
        )
    );
}

#[test]
fn a_group_without_members_still_shows_how_far_it_is_behind() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(measured(config(dir.path())));
    let mut client = running.client();
    client.send_message("T", 0, "", b"one");
    let fields = [("consumerGroup", "Gone"), ("topic", "T"), ("queueId", "0"), ("commitOffset", "0")];
    assert_eq!(client.ask(15, &fields, b"").code, 0);
    let page = page(&running);
    let labels = [("consumer_group", "Gone"), ("queue_id", "0")];
    assert_eq!(value(&page, "cometmq_consumer_queue_lag_messages", &labels), 1.0);
    assert!(!page.contains("rocketmq_consumer_lag_messages{"), "as with Apache, those are of groups with members");
}

#[test]
fn what_is_too_much_is_left_out_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let metrics = MetricsConfig { on: true, series_max: 20, label: "zone:a".into(), ..MetricsConfig::default() };
    let running = Running::start(Config { metrics, ..config(dir.path()) });
    let mut client = running.client();
    for n in 0..25 {
        client.send_message(&format!("T{n}"), 0, "", b"x");
    }
    let page = page(&running);
    assert_eq!(page.matches("\nrocketmq_messages_in_total{").count(), 20);
    assert_eq!(
        value(&page, "cometmq_metrics_left_out", &[("metric", "rocketmq_messages_in_total"), ("zone", "a")]),
        5.0
    );
}

#[test]
fn families_can_be_switched_off() {
    let dir = tempfile::tempdir().unwrap();
    let metrics = MetricsConfig { on: true, stats: false, store: false, ..MetricsConfig::default() };
    let running = Running::start(Config { metrics, ..config(dir.path()) });
    let page = page(&running);
    assert!(!page.contains("rocketmq_topic_number") && !page.contains("rocketmq_storage_size"), "{page}");
    assert!(page.contains("cometmq_held_pulls"), "{page}");
}

/// Five thousand topics with eight queues, each with a group that is behind, while messages go on. The bound is generous for
/// a busy machine and a build that is not optimised; what it prints in a release build is what counts.
#[test]
fn thousands_of_topics_are_told_quickly_and_hold_no_message_up() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::without_clock(measured(config(dir.path())));
    for n in 0..5000 {
        let topic = TopicConfig::new(format!("T{n}"), 8, 6);
        running.broker.topics.put(topic, None, 0).unwrap();
        (0..8).for_each(|queue| _ = running.broker.offsets.commit("G", &format!("T{n}"), queue, 0));
    }
    let (stop, sends) = (AtomicBool::new(false), std::sync::Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = running.client();
            let mut n = 0;
            while !stop.load(Ordering::Relaxed) {
                let began = Instant::now();
                assert_eq!(client.send_message(&format!("T{}", n % 5000), 0, "", b"x").code, 0);
                sends.lock().unwrap().push(began.elapsed());
                n += 1;
            }
        });
        let mut took = Vec::new();
        for _ in 0..5 {
            let began = Instant::now();
            let page = page(&running);
            took.push(began.elapsed());
            assert!(page.matches("\ncometmq_consumer_queue_lag_messages{").count() == 40_000);
        }
        stop.store(true, Ordering::Relaxed);
        took.sort();
        println!("a page took {took:?}");
        assert!(took[0] < Duration::from_secs(3), "{took:?}");
    });
    let mut sends = sends.into_inner().unwrap();
    sends.sort();
    let (median, longest) = (sends[sends.len() / 2], sends[sends.len() - 1]);
    println!("{} sends beside: median {median:?}, longest {longest:?}", sends.len());
    assert!(median < Duration::from_millis(50), "{median:?}");
}
