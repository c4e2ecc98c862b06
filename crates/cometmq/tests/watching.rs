//! A process as it is watched: metrics, health, logs, and who changed what.

use protocol::json;
use protocol::message::SysFlag;
use protocol::request::Request;
use protocol::request::pull::PullMessage;
use protocol::request::send::{SendBack, SendMessage};
use protocol::request::transaction::EndTransaction;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A process of ours, and what its banner says.
struct Process {
    child: Child,
    banner: Vec<String>,
}

impl Process {
    fn start(home: &Path, arguments: &[&str]) -> Process {
        let mut child = command(home, arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut banner = Vec::new();
        // The last line says how it is stopped.
        while let Some(line) = lines.next()
            && !line.contains("Ctrl-C")
        {
            banner.push(line);
        }
        Process { child, banner }
    }

    /// What stands behind a label of the banner.
    fn says(&self, label: &str) -> String {
        let label = format!("  {label} ");
        let line = self.banner.iter().find(|line| line.starts_with(&label));
        let line = line.unwrap_or_else(|| panic!("no{label}in {:?}", self.banner));
        line[label.len()..].split_whitespace().next().unwrap().to_owned()
    }

    /// Where it answers HTTP.
    fn http(&self) -> String {
        self.says("metrics").strip_prefix("http://").unwrap().strip_suffix("/metrics").unwrap().to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cometmq"));
    command.args(arguments).env_clear().env("HOME", home).env("LANG", "C.UTF-8").stdin(Stdio::null());
    command
}

/// Status and body.
fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[track_caller]
fn eventually<T>(what: &str, mut holds: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = holds() {
            return found;
        }
        assert!(Instant::now() < until, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn ask(address: &str, request: &impl Request, body: &'static [u8]) -> protocol::command::Command {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut command = request.write();
    command.body = body.into();
    runtime.block_on(remoting::Client::default().invoke(address, command, PATIENCE)).unwrap()
}

fn conf(home: &TempDir, name: &str, text: &str) -> String {
    let path = home.path().join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn send(properties: &str) -> SendMessage {
    SendMessage {
        producer_group: "p".into(),
        topic: "T".into(),
        default_topic: "TBW102".into(),
        default_topic_queue_nums: 1,
        properties: Some(properties.replace('=', "\u{1}").replace(';', "\u{2}")),
        ..SendMessage::default()
    }
}

/// The value of the first series of a metric.
fn value(page: &str, name: &str) -> Option<f64> {
    let line = page.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])))?;
    line.rsplit_once(' ').unwrap().1.parse().ok()
}

#[test]
fn a_broker_is_ready_when_clients_find_it_and_says_why_it_is_not() {
    let home = TempDir::new().unwrap();
    let settings = "metricsExporterType=PROM\nmetricsPromExporterPort=0\n";
    let namesrv_conf =
        conf(&home, "namesrv.conf", &format!("{settings}kvConfigPath={}/kv.json\n", home.path().display()));
    let namesrv = Process::start(home.path(), &["namesrv", "--port", "0", "-c", &namesrv_conf]);
    assert_eq!(get(&namesrv.http(), "/readyz"), (200, "[+] name server: it answers\nready\n".into()));
    let namesrv_addr = namesrv.says("name server");
    let port = namesrv_addr.rsplit_once(':').unwrap().1.to_owned();
    drop(namesrv);

    let broker_conf = conf(&home, "broker.conf", &format!("{settings}listenPort=0\nbindAddress=127.0.0.1\n"));
    let broker = Process::start(home.path(), &["broker", "-c", &broker_conf, "-n", &namesrv_addr]);
    let http = broker.http();
    assert_eq!(get(&http, "/livez"), (200, "alive\n".into()));
    let (status, told) = get(&http, "/readyz");
    assert!(status == 503 && told.contains("[-] registration: not registered with any of 1 yet"), "{told}");
    assert!(told.contains("[+] store: it takes messages"), "{told}");

    let namesrv = Process::start(home.path(), &["namesrv", "--port", &port, "-c", &namesrv_conf]);
    eventually("it registers", || (get(&http, "/readyz").0 == 200).then_some(()));
    let page = get(&namesrv.http(), "/metrics").1;
    assert_eq!(value(&page, "cometmq_namesrv_brokers"), Some(1.0), "{page}");
    assert!(page.contains("request_code=\"register_broker\""), "{page}");
    drop(namesrv);
    let told = eventually("it notices", || {
        let (status, told) = get(&http, "/readyz");
        assert_eq!(status, 200, "clients go by the routes that they have: {told}");
        told.contains("none of 1 is reached now").then_some(told)
    });
    assert!(told.ends_with("ready\n"), "{told}");
}

/// The board and the rules ask for nothing that is not there.
#[test]
fn each_metric_that_the_board_and_the_rules_name_is_on_the_page() {
    let home = TempDir::new().unwrap();
    let conf = conf(
        &home,
        "broker.conf",
        "metricsExporterType=PROM\nmetricsPromExporterPort=0\nmessageDelayLevel=1h\n\
        brokerIP1=127.0.0.1\nbindAddress=127.0.0.1\n",
    );
    let arguments = ["dev", "--namesrv-port", "0", "--broker-port", "0", "-c", &conf];
    let dev = Process::start(home.path(), &arguments);
    let broker = dev.says("broker");
    let of = |answer: &protocol::command::Command, field: &str| answer.ext.get(field).unwrap().to_owned();
    assert_eq!(ask(&broker, &send("DELAY=1;"), b"later").code, 0);
    assert_eq!(ask(&broker, &send("TIMER_DELAY_MS=1;"), b"timed").code, 0);
    for end in [SysFlag::TRANSACTION_COMMIT, SysFlag::TRANSACTION_ROLLBACK, 0] {
        let half = SendMessage { sys_flag: SysFlag::TRANSACTION_PREPARED, ..send("TRAN_MSG=true;PGROUP=p;") };
        let half = ask(&broker, &half, b"half");
        assert_eq!(half.code, 0, "{:?}", half.remark);
        let id = of(&half, "msgId");
        let ending = EndTransaction {
            producer_group: "p".into(),
            commit_log_offset: i64::from_str_radix(&id[16..], 16).unwrap(),
            offset: of(&half, "queueOffset").parse().unwrap(),
            commit_or_rollback: end,
            ..EndTransaction::default()
        };
        let ended = ask(&broker, &ending, b"");
        assert_eq!(ended.code, 0, "{:?}", ended.remark);
    }
    let sent = ask(&broker, &send(""), b"now");
    let pull = PullMessage {
        consumer_group: "g".into(),
        topic: "T".into(),
        max_msg_nums: 32,
        sys_flag: PullMessage::SUBSCRIPTION | PullMessage::COMMIT_OFFSET,
        subscription: Some("*".into()),
        ..PullMessage::default()
    };
    eventually("a message can be pulled", || (ask(&broker, &pull, b"").code == 0).then_some(()));
    let dead = SendBack {
        group: "g".into(),
        offset: i64::from_str_radix(&of(&sent, "msgId")[16..], 16).unwrap(),
        delay_level: -1,
        ..SendBack::default()
    };
    assert_eq!(ask(&broker, &dead, b"").code, 0);
    let beat = serde_json::json!({ "clientID": "c", "producerDataSet": [{ "groupName": "p" }], "consumerDataSet": [{
        "groupName": "g", "subscriptionDataSet": [{ "topic": "T", "subString": "*", "subVersion": 1 }] }] });
    let mut stream = TcpStream::connect(&broker).unwrap();
    let mut frame = Vec::new();
    let mut request = protocol::command::Command::request(protocol::code::request::HEART_BEAT);
    request.body = beat.to_string().into();
    request.encode(&mut frame);
    stream.write_all(&frame).unwrap();
    let page = eventually("all of it is on the page", || {
        let page = get(&dev.http(), "/metrics").1;
        let there = ["rocketmq_timer_dequeue_total", "rocketmq_consumer_connections", "rocketmq_consumer_lag_messages"];
        there.iter().all(|name| value(&page, name).is_some()).then_some(page)
    });
    let heads: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let families: BTreeSet<&str> = heads.iter().copied().collect();
    assert_eq!(heads.len(), families.len(), "Prometheus takes no page with a metric in two places: {heads:?}");

    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
    let board: Value = json::read(&fs::read(deploy.join("grafana/cometmq.json")).unwrap()).unwrap();
    let targets = board["panels"].as_array().unwrap().iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let mut queries: Vec<String> = targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect();
    assert!(queries.len() > 40);
    queries.push(fs::read_to_string(deploy.join("prometheus/alerts.yml")).unwrap());
    // Seen from outside, or there only when something is left out, or where there are certificates.
    let not_here = ["cometmq_metrics_left_out", "cometmq_tls_certificate_expires_timestamp_seconds"];
    for query in &queries {
        let words = query.split(|char: char| !(char.is_ascii_alphanumeric() || char == '_'));
        for name in words.filter(|word| ["rocketmq_", "cometmq_", "process_"].iter().any(|it| word.starts_with(it))) {
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
            let there = families.contains(name) || family.is_some_and(|family| families.contains(family));
            assert!(there || not_here.contains(&name), "{name}, asked for by\n{query}\nis not on the page:\n{page}");
        }
    }
}

#[test]
fn logs_go_to_a_file_in_json_from_a_level_that_can_be_changed_and_who_changed_it_is_known() {
    let home = TempDir::new().unwrap();
    let log = home.path().join("logs/broker.log");
    let settings = format!(
        "listenPort=0\nbrokerIP1=127.0.0.1\nbindAddress=127.0.0.1\nlogFile={}\nlogFormat=json\n# ours\nlogLevel=warn\n",
        log.display()
    );
    let conf = conf(&home, "broker.conf", &settings);
    let started = |level: &str| {
        let dev = Process::start(home.path(), &["dev", "--namesrv-port", "0", "--broker-port", "0", "-c", &conf]);
        let (namesrv, broker) = (dev.says("name server"), dev.says("broker"));
        let shown = command(home.path(), &["admin", "logLevel", "-b", &broker, "-n", &namesrv]).output().unwrap();
        assert_eq!(String::from_utf8(shown.stdout).unwrap(), format!("{broker}  {level}\n"));
        (dev, namesrv, broker)
    };
    let (dev, namesrv, broker) = started("warn");
    let lines = || -> Vec<Value> {
        let text = fs::read_to_string(&log).unwrap();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    // A disk that others fill is an error.
    assert!(lines().iter().all(|line| line["level"] != "INFO"), "{:?}", lines());
    let admin = |arguments: &[&str]| {
        let output = command(home.path(), &[&["admin"], arguments, &["-b", &broker, "-n", &namesrv]].concat()).output();
        let output = output.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    let (code, _, told) = admin(&["logLevel", "loud"]);
    assert!(code == 1 && told.contains("logLevel=loud can't be: off, error, warn"), "{told}");
    assert_eq!(admin(&["logLevel", "warn,broker=info"]).0, 0);
    ask(&broker, &send(""), b"a topic is created");
    let line = eventually("the broker's lines are there", || {
        lines().into_iter().find(|line| line["message"].as_str().is_some_and(|it| it.starts_with("created by")))
    });
    assert_eq!((line["topic"].as_str(), line["level"].as_str()), (Some("T"), Some("INFO")), "{line}");
    assert!(
        line["target"].as_str().is_some_and(|target| target.starts_with("broker")) && line["timestamp"].is_string()
    );
    let kept = settings.replace("logLevel=warn", "logLevel=warn,broker=info");
    assert_eq!(fs::read_to_string(home.path().join("broker.conf")).unwrap(), kept);

    let (code, out, told) = admin(&["audit", "--since", "1h", "--what", "config", "-o", "json"]);
    assert_eq!(code, 0, "{told}");
    let entries: Value = serde_json::from_str(&out).unwrap();
    let outcomes: Vec<_> = entries.as_array().unwrap().iter().map(|entry| entry["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["refused", "done"], "{out}");
    assert_eq!(
        (&entries[1]["before"]["logLevel"], &entries[1]["after"]["logLevel"]),
        (&"warn".into(), &"warn,broker=info".into())
    );
    assert!(admin(&["audit"]).1.contains("UPDATE_BROKER_CONFIG"));
    drop(dev);
    started("warn,broker=info");
}

#[test]
fn a_taken_port_is_named_with_the_key_that_changes_it() {
    let home = TempDir::new().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let settings = format!(
        "listenPort=0\nmetricsExporterType=PROM\nmetricsPromExporterHost=127.0.0.1\nmetricsPromExporterPort={port}\n"
    );
    let output = command(home.path(), &["broker", "-c", &conf(&home, "broker.conf", &settings)]).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && told.contains("metricsPromExporterPort"), "{told}");
}
