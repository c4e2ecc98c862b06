use super::*;
use protocol::properties;
use std::path::Path;

fn read(text: &str) -> Result<(Config, Notes), ConfigError> {
    Config::default().parse_over(Path::new("broker.conf"), text)
}

#[test]
fn an_empty_file_equals_the_defaults() {
    let (config, notes) = read("# nothing\n\n").unwrap();
    assert_eq!(config, Config::default());
    assert_eq!(notes, Notes::default());
}

#[test]
fn what_is_printed_is_read_back() {
    let mut config = Config { ip1: Some("mq.example.com".into()), delete_when: vec![4, 16], ..Config::default() };
    config.namesrv_addr = vec!["a:9876".into(), "[::1]:9877".into()];
    config.flush_disk_type = FlushDiskType::Sync;
    assert_eq!(read(&properties::write(config.values())).unwrap(), (config, Notes::default()));
}

/// The manual says every default; this keeps it, Apache's table and `Default` from drifting apart.
#[test]
fn defaults_are_those_of_apache_and_of_the_manual() {
    let manual = [
        include_str!("../config.rs"),
        include_str!("../../../remoting/src/entrance.rs"),
        include_str!("../../../protocol/src/logging.rs"),
    ]
    .concat();
    let entrance = EntranceSettings::default().values();
    for (key, value) in Config::default().values() {
        let mut apache = apache_keys().find(|(known, _)| *known == key).map(|(_, default)| default);
        let other_than_apaches = match key {
            "enablePropertyFilter" | "recallMessageEnable" => Some(("false", "true")),
            "timerMaxDelaySec" => Some(("259200", "34560000")),
            _ => None,
        };
        if let Some((apaches, ours)) = other_than_apaches {
            assert_eq!((apache.take(), value.as_str()), (Some(apaches), ours), "the README says why");
            continue;
        }
        let is_ours = matches!(
            key,
            "diskFreeSpaceMin"
                | "scrubBytesPerSecond"
                | "messageLifeMaxBytes"
                | "dedupIdsMax"
                | "topicsMax"
                | "groupsMax"
                | "topicsPerUserMax"
                | "groupsPerUserMax"
                | "plainAclFile"
        ) || key.starts_with("log")
            || entrance.iter().any(|(ours, _)| *ours == key);
        assert_ne!(apache.is_some(), is_ours, "{key} is no key of Apache's");
        // `access::Config` is their manual, for brokers and name servers.
        if key.starts_with("acl") || key.starts_with("auth") || key.ends_with("AuthFromV1Enabled") {
            assert_eq!(apache, Some(value.as_str()), "{key}");
            continue;
        }
        if matches!(key, "plainAclFile" | "initAuthenticationUser" | "innerClientAuthenticationCredentials") {
            assert_eq!((apache.unwrap_or_default(), value.as_str()), ("", ""), "{key}");
            continue;
        }
        let described = manual.as_str().split(&format!("Key: `{key}`. Default: ")).nth(1);
        let described = described.unwrap_or_else(|| panic!("{key} has no manual")).trim_start_matches('`');
        if !matches!(
            key,
            "diskSpaceWarningLevelRatio"
                | "brokerName"
                | "brokerIP1"
                | "namesrvAddr"
                | "storePathRootDir"
                | "storePathCommitLog"
                | "metricsPromExporterHost"
                | "metricsLabel"
                | "logLevel"
                | "logFile"
        ) {
            assert_eq!(apache.unwrap_or(&value), value, "{key}");
            assert!(described.starts_with(&value), "{key}: the manual says {}", described.lines().next().unwrap());
        }
    }
}

#[test]
fn the_configuration_from_the_tutorials_starts_and_says_what_it_does_not_do() {
    let text = include_str!("../../testdata/tutorial.conf");
    assert!(text.lines().count() >= 150);
    let (config, notes) = read(text).unwrap();

    assert_eq!((config.name.as_str(), config.ip1.as_deref()), ("broker-a", Some("192.168.0.253")));
    assert_eq!(config.namesrv_addr, ["rocketmq-nameserver1:9876", "rocketmq-nameserver2:9876"]);
    assert_eq!(config.file_reserved_time, Duration::from_secs(120 * 3600));
    assert_eq!(config.max_message_size, 65_536);

    let differs: Vec<_> = notes.not_honoured.iter().filter(|n| n.differs).map(|n| n.key.as_str()).collect();
    assert!(differs.contains(&"sendMessageThreadPoolNums"));
    assert!(!differs.contains(&"brokerRole"), "ASYNC_MASTER is what it is");
    let unknown: Vec<_> = notes.unknown.iter().map(|n| n.key.as_str()).collect();
    assert_eq!(unknown, ["storePathConsumeQueue", "storePathIndex", "storeCheckpoint", "abortFile"]);
    assert_eq!(notes.repeated, []);
}

#[test]
fn an_unknown_key_is_named_with_the_nearest_known_one() {
    let (_, notes) = read("a.b=1\nautoCreateTopicEnabel=false\nbrokerip1=10.0.0.1\n").unwrap();
    let nearest: Vec<_> = notes.unknown.iter().map(|unknown| (unknown.line, unknown.nearest)).collect();
    assert_eq!(nearest, [(1, None), (2, Some("autoCreateTopicEnable")), (3, Some("brokerIP1"))]);
}

#[test]
fn the_last_of_repeated_keys_holds_and_is_named() {
    let (config, notes) = read("listenPort=1\nlistenPort=2\n").unwrap();
    assert_eq!(config.listen_port, 2);
    assert_eq!(notes.repeated, [Repeated { key: "listenPort".into(), line: 2, earlier: 1 }]);
}

#[test]
fn a_bad_value_stops_the_start_and_says_what_is_allowed() {
    #[track_caller]
    fn check(line: &str, allowed: &str) {
        let error = read(&format!("\n{line}")).unwrap_err().to_string();
        assert!(error.starts_with(&format!("broker.conf:2: {line} can't be: ")), "{error}");
        assert!(error.contains(allowed), "{error}");
    }
    check("listenPort=66666", "a number from 0 to 65535");
    check("autoCreateTopicEnable=yes", "true or false");
    check("flushDiskType=sync", "SYNC_FLUSH or ASYNC_FLUSH");
    check("messageDelayLevel=1s 5x", "1s 5s 2h");
    check("deleteWhen=24", "from 00 to 23");
    check("brokerPermission=1", "6 (read and write)");
    check("brokerName=", "not be empty");
    check("brokerIP1=10.0.0.1:10911", "without port");
    check("namesrvAddr=a:b", "host:port");
    check("storePathCommitLog=/a,/b", "one directory");
    check("fileReservedTime=-1", "a number from 1");
    // What would leave messages open, lost or damaged is refused instead of passed over.
    check("brokerId=1", "does not replicate");
    check("brokerRole=SLAVE", "does not replicate");
    check("enableDLegerCommitLog=true", "does not replicate");
    check("authenticationWhitelist=all", "request codes");
    check("authorizationProvider=com.example.MyProvider", "classes of one's own");
    let apaches = "org.apache.rocketmq.auth.authorization.provider.DefaultAuthorizationProvider";
    assert_eq!(read(&format!("authorizationProvider={apaches}")).unwrap().1, Notes::default());
}

#[test]
fn secrets_are_taken_and_not_shown() {
    let text = "initAuthenticationUser={\"username\":\"root\",\"password\":\"topSecret\"}\n\
        innerClientAuthenticationCredentials={\"accessKey\":\"inner\",\"secretKey\":\"topSecret\"}\n";
    let (config, notes) = read(text).unwrap();
    assert_eq!(notes, Notes::default());
    assert_eq!(config.access.init_user.as_ref().map(|user| user.secret_key()), Some("topSecret"));
    assert_eq!(config.value("initAuthenticationUser").as_deref(), Some("******"));
    assert!(!format!("{config:?} {:?}", config.values()).contains("topSecret"));
    let again = config.clone().parse_over(Path::new("broker.conf"), &properties::write(config.values())).unwrap().0;
    assert_eq!(again, config, "what is shown leaves it as it is");
    let error = read("initAuthenticationUser=root:topSecret").unwrap_err().to_string();
    assert!(error.contains("initAuthenticationUser=****** can't be") && !error.contains("topSecret"), "{error}");
}

#[test]
fn settings_out_of_apaches_bounds_are_brought_into_them_where_apache_does() {
    let (config, _) = read("registerNameServerPeriod=1\nmappedFileSizeConsumeQueue=300001").unwrap();
    assert_eq!((config.register_period, config.consume_queue_file_size), (Duration::from_secs(10), 300_020));
    let (config, _) = read("diskSpaceWarningLevelRatio=99\ndiskSpaceCleanForciblyRatio=10").unwrap();
    let (ticks, _) = read("timerPrecisionMs=999").unwrap();
    assert_eq!(ticks.timer_precision, Duration::from_millis(500));
    let ratios = (config.disk_space_warning_level_ratio, config.disk_space_clean_forcibly_ratio);
    assert_eq!(ratios, (Some(90), Some(30)));
}

#[test]
fn delay_levels_beyond_the_last_mean_the_last() {
    let levels = DelayLevels::read("1s 2m 3h 4d").unwrap();
    let delays = [-1, 0, 1, 2, 3, 4, 99].map(|level| levels.delay(level).map(|delay| delay.as_secs()));
    assert_eq!(delays, [None, None, Some(1), Some(120), Some(10_800), Some(345_600), Some(345_600)]);
    assert_eq!(DelayLevels::default().max(), 18);
    assert_eq!(["", "s", "1", "-1s", "1s5s"].map(DelayLevels::read), [const { None }; 5]);
}

#[test]
fn name_server_addresses_may_leave_out_the_port() {
    let read = |text| namesrv_addresses(text).map(|addresses| addresses.join(" "));
    assert_eq!(read(" ns1 ; ns2:1;::1;[::1]:5; ").as_deref(), Some("ns1:9876 ns2:1 [::1]:9876 [::1]:5"));
    assert_eq!(["http://a:1", ":1", "a:0", "a:x"].map(read), [const { None }; 4]);
}

#[test]
fn keys_as_4_4_spells_them_are_honoured() {
    let text = "mapedFileSizeCommitLog=65536\nmapedFileSizeConsumeQueue=2000\ntimerWheelEnable=false\n";
    let (config, notes) = Config::default().parse_over(Path::new("b.conf"), text).unwrap();
    assert_eq!((config.commit_log_file_size, config.consume_queue_file_size), (65536, 2000));
    assert!(!config.timer_wheel);
    assert_eq!(notes, Notes::default());
}
