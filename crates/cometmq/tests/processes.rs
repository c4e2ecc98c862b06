//! The binary as users start it: processes, ports, signals, exit codes.
//!
//! Every test waits for what it needs to see, and for no time.

use protocol::code::response;
use protocol::command::Command as Frame;
use protocol::json;
use protocol::request::Request;
use protocol::request::offset::{GetMaxOffset, UpdateConsumerOffset};
use protocol::request::pull::PullMessage;
use protocol::request::route::GetRoute;
use protocol::request::send::SendMessage;
use protocol::route::TopicRoute;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_cometmq");

/// Far longer than anything here takes; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

fn command(home: &Path, program: impl AsRef<Path>, arguments: &[&str]) -> Command {
    let mut command = Command::new(program.as_ref());
    command.args(arguments).env_clear().env("HOME", home).env("LANG", "C.UTF-8").stdin(Stdio::null());
    command
}

/// A process of ours, killed at the end whatever happens.
struct Process {
    child: Child,
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl Process {
    fn start(command: &mut Command) -> Process {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let outputs: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for output in outputs {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    let _ = sender.send(line);
                }
            });
        }
        Process { child, lines, seen: Vec::new() }
    }

    /// The first line, said before or to come, that contains `text`.
    fn line(&mut self, text: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = self.seen.iter().find(|line| line.contains(text)) {
                return line.clone();
            }
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                Err(_) => panic!("it never said `{text}`, but:\n{}", self.seen.join("\n")),
            }
        }
    }

    /// The word behind a label of the banner.
    fn banner(&mut self, label: &str) -> String {
        let label = format!("  {label} ");
        self.line(&label)[label.len()..].split_whitespace().next().unwrap().to_owned()
    }

    fn ends(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => return status,
                None if Instant::now() > until => panic!("it does not end; it said:\n{}", self.seen.join("\n")),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }

    fn stop(mut self) {
        self.signal(rustix::process::Signal::TERM);
        let status = self.ends();
        assert_eq!(status.code(), Some(0), "{}", self.seen.join("\n"));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ask(address: &str, request: &impl Request) -> Frame {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut frame = Vec::new();
    request.write().encode(&mut frame);
    stream.write_all(&frame).unwrap();
    let mut answer = bytes::BytesMut::new();
    loop {
        let mut some = [0; 4096];
        let read = stream.read(&mut some).unwrap();
        assert_ne!(read, 0, "the connection ended without an answer");
        answer.extend_from_slice(&some[..read]);
        if let Some(answer) = Frame::decode(&mut answer).unwrap() {
            return answer;
        }
    }
}

/// The master's address in the route of a topic that every broker has.
fn broker_of(namesrv: &str) -> Result<String, String> {
    let answer = ask(namesrv, &GetRoute { topic: "TBW102".into(), ..GetRoute::default() });
    match answer.code {
        response::SUCCESS => {
            Ok(json::read::<TopicRoute>(&answer.body).unwrap().broker_datas[0].broker_addrs[&0].clone())
        }
        _ => Err(answer.remark.unwrap()),
    }
}

fn port(address: &str) -> u16 {
    address.rsplit_once(':').unwrap().1.parse().unwrap()
}

#[test]
fn when_dev_says_that_it_is_ready_a_client_has_a_route_to_the_address_by_which_it_came() {
    let home = TempDir::new().unwrap();
    let arguments = ["dev", "--data", "here", "--listen", "0.0.0.0", "--namesrv-port", "0", "--broker-port", "0"];
    let mut dev = Process::start(command(home.path(), BINARY, &arguments).current_dir(home.path()));
    dev.line("is ready");
    let namesrv = dev.banner("name server");
    let broker = dev.banner("broker");
    assert_eq!(dev.banner("data"), "here");
    assert!(dev.line("  broker ").contains(&format!("VIP {}", port(&broker) - 2)));
    for host in ["127.0.0.1", "127.0.0.2"] {
        let expected = format!("{host}:{}", port(&broker));
        assert_eq!(broker_of(&format!("{host}:{}", port(&namesrv))).unwrap(), expected);
        TcpStream::connect(&expected).unwrap();
        TcpStream::connect(format!("{host}:{}", port(&broker) - 2)).unwrap();
    }
    dev.stop();
}

#[test]
fn an_advertised_host_is_told_to_everybody() {
    let home = TempDir::new().unwrap();
    let arguments = ["dev", "--namesrv-port", "0", "--broker-port", "0", "--advertise", "localhost"];
    let mut dev = Process::start(&mut command(home.path(), BINARY, &arguments));
    let namesrv = dev.banner("name server");
    assert_eq!(broker_of(&namesrv).unwrap(), dev.banner("broker"));
    assert!(dev.banner("broker").starts_with("localhost:"));
    assert!(dev.banner("data").ends_with(".cometmq"), "in the home directory unless told otherwise");
    dev.stop();
}

#[test]
fn ctrl_c_ends_it_cleanly_and_a_successor_finds_the_ports_free() {
    let home = TempDir::new().unwrap();
    let arguments = ["dev", "--namesrv-port", "0", "--broker-port", "0"];
    let mut dev = Process::start(&mut command(home.path(), BINARY, &arguments));
    let namesrv_port = port(&dev.banner("name server")).to_string();
    let broker_port = port(&dev.banner("broker")).to_string();
    // An open connection does not hold it up.
    let _open = TcpStream::connect(format!("127.0.0.1:{broker_port}")).unwrap();
    dev.signal(rustix::process::Signal::INT);
    assert_eq!(dev.ends().code(), Some(0));

    let arguments = ["dev", "--namesrv-port", &namesrv_port, "--broker-port", &broker_port];
    let mut dev = Process::start(&mut command(home.path(), BINARY, &arguments));
    dev.line("is ready");
    dev.stop();
}

#[test]
fn what_was_acknowledged_is_there_after_a_restart() {
    let home = TempDir::new().unwrap();
    let arguments = ["dev", "--namesrv-port", "0", "--broker-port", "0"];
    let send = SendMessage {
        producer_group: "p".into(),
        topic: "orders".into(),
        default_topic: "TBW102".into(),
        default_topic_queue_nums: 4,
        queue_id: 2,
        ..SendMessage::default()
    };
    let end = GetMaxOffset { topic: "orders".into(), queue_id: 2 };
    for expected in 1..=3 {
        let mut dev = Process::start(&mut command(home.path(), BINARY, &arguments));
        let broker = dev.banner("broker");
        dev.line("is ready");
        let sent = ask(&broker, &send);
        assert_eq!(sent.code, response::SUCCESS, "{:?}", sent.remark);
        assert_eq!(ask(&broker, &end).ext.get("offset"), Some(expected.to_string().as_str()));
        dev.stop();
    }
}

#[test]
fn tables_that_are_gone_are_named_and_what_the_store_shows_of_them_is_there_again() {
    let home = TempDir::new().unwrap();
    let arguments = ["dev", "--namesrv-port", "0", "--broker-port", "0", "--data", "data"];
    let send = SendMessage {
        producer_group: "p".into(),
        topic: "orders".into(),
        default_topic: "TBW102".into(),
        default_topic_queue_nums: 4,
        queue_id: 2,
        ..SendMessage::default()
    };
    let start = || Process::start(command(home.path(), BINARY, &arguments).current_dir(home.path()));
    let mut dev = start();
    let broker = dev.banner("broker");
    dev.line("is ready");
    assert_eq!(ask(&broker, &send).code, response::SUCCESS);
    let delayed = SendMessage { properties: Some("DELAY\u{1}18\u{2}".into()), ..send };
    assert_eq!(ask(&broker, &delayed).code, response::SUCCESS);
    let pull = PullMessage { consumer_group: "readers".into(), topic: "orders".into(), ..PullMessage::default() };
    assert_ne!(ask(&broker, &pull).code, response::SUBSCRIPTION_GROUP_NOT_EXIST);
    let commit = UpdateConsumerOffset {
        consumer_group: "readers".into(),
        topic: "orders".into(),
        queue_id: Some(2),
        commit_offset: 1,
    };
    assert_eq!(ask(&broker, &commit).code, response::SUCCESS);
    dev.stop();

    // Said of none that is there, and of no new store.
    let mut dev = start();
    dev.line("is ready");
    assert!(!dev.seen.iter().any(|line| line.contains("is gone")), "{:?}", dev.seen);
    dev.stop();
    let config = home.path().join("data/config");
    let remove = |table: &str| {
        for suffix in ["", ".bak"] {
            let _ = fs::remove_file(config.join(format!("{table}{suffix}")));
        }
    };
    ["topics.json", "consumerOffset.json", "delayOffset.json"].iter().for_each(|table| remove(table));
    let mut dev = start();
    let line = dev.line("topics.json is gone");
    assert!(line.contains("orders (3)"), "{line}");
    let line = dev.line("consumerOffset.json is gone");
    assert!(line.contains("readers"), "{line}");
    dev.line("delayOffset.json is gone");
    let broker = dev.banner("broker");
    dev.line("is ready");
    let end = GetMaxOffset { topic: "orders".into(), queue_id: 2 };
    assert_eq!(ask(&broker, &end).ext.get("offset"), Some("1"));
    assert_eq!(ask(&broker, &commit).code, response::SUCCESS);
    dev.stop();
    remove("subscriptionGroup.json");
    let mut dev = start();
    let line = dev.line("subscriptionGroup.json is gone");
    assert!(line.contains("readers"), "{line}");
    dev.stop();
}

#[test]
fn a_port_in_use_is_named_with_the_flag_that_changes_it() {
    let home = TempDir::new().unwrap();
    let taken = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for flags in [["--namesrv-port", "--broker-port"], ["--broker-port", "--namesrv-port"]] {
        let arguments = ["dev", flags[0], &port, flags[1], "0"];
        let mut dev = Process::start(&mut command(home.path(), BINARY, &arguments));
        let said = dev.line("in use");
        assert!(said.contains(&format!("port {port} ")) && said.contains(flags[0]), "{said}");
        assert_eq!(dev.ends().code(), Some(1));
    }
}

#[test]
fn name_server_and_broker_start_apart_in_either_order() {
    let home = TempDir::new().unwrap();
    let namesrv = ["namesrv", "--port", "0"];
    let conf = home.path().join("broker.conf");
    fs::write(&conf, "listenPort=0\nbrokerName=broker-a\nbrokerIP1=localhost\n").unwrap();

    let mut first = Process::start(&mut command(home.path(), BINARY, &namesrv));
    let address = first.banner("name server");
    assert!(broker_of(&address).unwrap_err().contains("no broker is registered here; start one"));
    let broker = ["broker", "-c", conf.to_str().unwrap(), "-n", &address];
    let mut broker = Process::start(&mut command(home.path(), BINARY, &broker));
    broker.line("registered");
    let broker_addr = broker.banner("broker");
    assert_eq!(broker_of(&address).unwrap(), broker_addr);

    // The name server goes and comes back; the broker finds it.
    first.stop();
    broker.line("not registered; trying on");
    let namesrv = ["namesrv", "--port", &port(&address).to_string()];
    let mut second = Process::start(&mut command(home.path(), BINARY, &namesrv));
    second.line("broker registered");
    assert_eq!(broker_of(&address).unwrap(), broker_addr);

    // A broker that stops says so.
    broker.stop();
    second.line("broker unregistered");
    assert!(broker_of(&address).unwrap_err().contains("it was stopped"));
    second.stop();
}

#[test]
fn a_broker_conf_that_can_not_be_stops_the_start_with_file_line_and_what_is_allowed() {
    let home = TempDir::new().unwrap();
    let conf = home.path().join("broker.conf");
    fs::write(&conf, "brokerName=a\nflushDiskType=SYNC\n").unwrap();
    for process in ["dev", "broker"] {
        let arguments = [process, "-c", conf.to_str().unwrap()];
        let mut broker = Process::start(&mut command(home.path(), BINARY, &arguments));
        broker.line("broker.conf:2: flushDiskType=SYNC can't be: SYNC_FLUSH or ASYNC_FLUSH");
        assert_eq!(broker.ends().code(), Some(1));
    }
    let mut missing = Process::start(&mut command(home.path(), BINARY, &["broker", "-c", "/no/such.conf"]));
    missing.line("can't read /no/such.conf");
    assert_eq!(missing.ends().code(), Some(1));
}

#[test]
fn what_is_unknown_or_not_honoured_in_broker_conf_is_said_at_start_in_the_readers_language() {
    let home = TempDir::new().unwrap();
    let conf = home.path().join("broker.conf");
    fs::write(&conf, "listenPort=0\nautoCreateTopicEnabel=true\nslaveReadEnable=true\n").unwrap();
    let arguments = ["dev", "--namesrv-port", "0", "-c", conf.to_str().unwrap()];
    let mut dev = Process::start(&mut command(home.path(), BINARY, &arguments));
    dev.line("broker.conf:2: nobody knows the key autoCreateTopicEnabel; did you mean autoCreateTopicEnable?");
    dev.line("not honoured yet: slaveReadEnable=true");
    dev.line("is ready");
    dev.stop();
    let mut dev = Process::start(command(home.path(), BINARY, &arguments).env("LC_ALL", "zh_CN.UTF-8"));
    dev.line("未知的配置项 autoCreateTopicEnabel");
    dev.line("已就绪");
    dev.stop();
}

#[test]
fn a_silent_connection_is_closed_after_the_time_that_its_conf_says() {
    let home = TempDir::new().unwrap();
    let conf = home.path().join("idle.conf");
    fs::write(&conf, "serverChannelMaxIdleTimeSeconds=1\nlistenPort=0\n").unwrap();
    let conf = conf.to_str().unwrap();
    for arguments in [["namesrv", "-c", conf], ["broker", "-c", conf], ["dev", "-c", conf]] {
        let ports = ["--namesrv-port", "0", "--broker-port", "0"];
        let ports = if arguments[0] == "dev" { &ports[..] } else { &[] };
        let mut process = Process::start(&mut command(home.path(), BINARY, &[&arguments[..], ports].concat()));
        let address = process.banner(if arguments[0] == "namesrv" { "name server" } else { "broker" });
        let mut silent = TcpStream::connect(&address).unwrap();
        silent.set_read_timeout(Some(PATIENCE)).unwrap();
        let began = Instant::now();
        assert_eq!(silent.read(&mut [0; 16]).unwrap(), 0, "{}: closed", arguments[0]);
        assert!(began.elapsed() > Duration::from_millis(500), "{}: not at once", arguments[0]);
        process.stop();
    }
}

#[test]
fn links_named_as_apaches_scripts_take_their_flags() {
    let home = TempDir::new().unwrap();
    let (mqbroker, mqnamesrv) = (home.path().join("mqbroker"), home.path().join("mqnamesrv"));
    symlink(BINARY, &mqbroker).unwrap();
    symlink(BINARY, &mqnamesrv).unwrap();
    let output = |program: &Path, arguments: &[&str]| {
        let output = command(home.path(), program, arguments).env("NAMESRV_ADDR", "ns:1").output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stdout).unwrap()
    };
    let all = output(&mqbroker, &["-p"]);
    assert!(
        all.contains("\nlistenPort=10911\n") && all.contains("\nnamesrvAddr=ns:1\n") && all.contains("shortPolling")
    );
    let important = output(&mqbroker, &["-m", "-n", "a:9876;b:9876"]);
    assert!(important.contains("namesrvAddr=a:9876;b:9876\n") && !important.contains("shortPolling"));
    assert!(output(&mqbroker, &["-h"]).contains("--namesrvAddr"));
    assert!(output(&mqnamesrv, &["-p"]).contains("listenPort=9876\n"));

    let mut namesrv = Process::start(&mut command(home.path(), &mqnamesrv, &["--port", "0"]));
    let address = namesrv.banner("name server");
    let conf = home.path().join("broker.conf");
    fs::write(&conf, "listenPort=0\n").unwrap();
    let arguments = ["-n", &address, "-c", conf.to_str().unwrap()];
    let mut broker = Process::start(&mut command(home.path(), &mqbroker, &arguments));
    broker.line("registered");
    assert_eq!(broker_of(&address).unwrap(), broker.banner("broker"));
    broker.stop();
    namesrv.stop();
}

#[test]
fn without_arguments_it_explains_itself() {
    let home = TempDir::new().unwrap();
    let help = command(home.path(), BINARY, &[]).output().unwrap();
    let said = String::from_utf8([help.stdout, help.stderr].concat()).unwrap();
    assert!(said.contains("dev") && said.contains("namesrv") && said.contains("broker"), "{said}");
    let version = command(home.path(), BINARY, &["--version"]).output().unwrap();
    assert_eq!(String::from_utf8(version.stdout).unwrap(), concat!("cometmq ", env!("CARGO_PKG_VERSION"), "\n"));
}

/// A broker in `data` whose commit log is in `commit_log`.
fn broker_on(home: &Path, data: &Path, commit_log: &Path) -> Process {
    let conf = home.join(format!("{}.conf", data.file_name().unwrap().display()));
    let keys = format!("storePathRootDir={}\nstorePathCommitLog={}\n", data.display(), commit_log.display());
    fs::write(&conf, keys + "listenPort=0\nbrokerIP1=localhost\n").unwrap();
    let arguments = ["broker", "-c", conf.to_str().unwrap(), "-n", "127.0.0.1:1"];
    Process::start(&mut command(home, BINARY, &arguments))
}

#[test]
fn a_directory_in_use_is_refused_by_whatever_path_and_its_holder_is_named() {
    let home = TempDir::new().unwrap();
    let [data, other, link] = ["data", "other", "link"].map(|name| home.path().join(name));
    symlink(&data, &link).unwrap();
    let mut first = broker_on(home.path(), &data, &data.join("commitlog"));
    first.banner("broker");
    let holder = format!("is open in process {};", first.child.id());
    for (root, commit_log, key) in [
        (&data, data.join("commitlog"), "storePathRootDir"),
        (&link, link.join("commitlog"), "storePathRootDir"),
        (&other, link.join("commitlog"), "storePathCommitLog"),
    ] {
        let mut second = broker_on(home.path(), root, &commit_log);
        let said = second.line("can't open the broker's data");
        assert!(said.contains(&holder) && said.contains(key), "{said}");
        assert_eq!(second.ends().code(), Some(1));
    }
    // A killed process holds nothing.
    drop(first);
    let mut next = broker_on(home.path(), &other, &link.join("commitlog"));
    next.banner("broker");
    next.stop();
}

#[test]
fn java_and_we_keep_each_other_out_of_a_directory() {
    use rustix::fs::{FlockOperation, fcntl_lock};
    let home = TempDir::new().unwrap();
    let data = home.path().join("data");
    fs::create_dir(&data).unwrap();
    // What Java's `FileChannel.tryLock` asks the system for.
    let open = || fs::OpenOptions::new().write(true).create(true).truncate(false).open(data.join("lock")).unwrap();
    let file = open();
    fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
    let mut refused = broker_on(home.path(), &data, &data.join("commitlog"));
    refused.line(&format!("is open in process {};", std::process::id()));
    assert_eq!(refused.ends().code(), Some(1));
    assert!(!data.join("commitlog").exists(), "it touched nothing");
    drop(file);
    let mut ours = broker_on(home.path(), &data, &data.join("commitlog"));
    ours.banner("broker");
    assert!(fcntl_lock(open(), FlockOperation::NonBlockingLockExclusive).is_err());
    ours.stop();
    fcntl_lock(open(), FlockOperation::NonBlockingLockExclusive).unwrap();
}

#[test]
fn a_directory_that_can_not_be_written_to_is_named_with_what_helps() {
    let home = TempDir::new().unwrap();
    let data = Path::new("/proc/cometmq");
    let mut broker = broker_on(home.path(), data, &data.join("commitlog"));
    assert!(broker.line("can't open the broker's data").contains("/proc/cometmq"));
    assert_eq!(broker.ends().code(), Some(1));
}

#[test]
fn dev_listens_on_this_machine_only_unless_told_otherwise() {
    let home = TempDir::new().unwrap();
    let arguments = ["dev", "--namesrv-port", "0", "--broker-port", "0", "--advertise", "mq.example.com"];
    let mut dev = Process::start(&mut command(home.path(), BINARY, &arguments[..5]));
    dev.line("to clients on this machine only (to let others in: --listen 0.0.0.0)");
    dev.line("is ready");
    let (namesrv, broker) = (dev.banner("name server"), dev.banner("broker"));
    assert_eq!(broker_of(&namesrv).unwrap(), broker);
    assert!(broker.starts_with("127.0.0.1:"));
    // Another address of this machine, as those of its network are.
    for port in [port(&namesrv), port(&broker), port(&broker) - 2] {
        TcpStream::connect(("127.0.0.1", port)).unwrap();
        TcpStream::connect(("127.0.0.2", port)).unwrap_err();
    }
    dev.stop();
    let mut dev = Process::start(&mut command(home.path(), BINARY, &arguments));
    let warned = dev.line("warning: clients are told mq.example.com");
    assert!(warned.contains("127.0.0.1") && warned.contains("--listen 0.0.0.0"), "{warned}");
    dev.stop();
}

#[test]
fn a_server_that_anybody_may_reach_says_once_that_nobody_s_rights_are_checked() {
    let home = TempDir::new().unwrap();
    let conf = home.path().join("broker.conf");
    let start = |bind: &str| {
        fs::write(&conf, format!("listenPort=0\nbrokerIP1=127.0.0.1\nnamesrvAddr=127.0.0.1:1\nbindAddress={bind}\n"))
            .unwrap();
        let arguments = ["broker", "-c", conf.to_str().unwrap()];
        let mut broker = Process::start(&mut command(home.path(), BINARY, &arguments));
        broker.line("is ready");
        broker.line("not registered; trying on");
        let said = broker.seen.iter().filter(|line| line.contains("access control is off")).count();
        broker.stop();
        said
    };
    assert_eq!(start("127.0.0.1"), 0);
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let has_network = socket.connect("203.0.113.1:9").is_ok() && !socket.local_addr().unwrap().ip().is_loopback();
    assert_eq!(start("0.0.0.0"), usize::from(has_network));
}

#[test]
fn tools_sign_what_they_ask_and_do_nothing_without_a_key() {
    let home = TempDir::new().unwrap();
    let conf = home.path().join("broker.conf");
    let root = r#"{"username":"root","password":"secretOfRoot"}"#;
    let text = format!("authenticationEnabled=true\nauthorizationEnabled=true\ninitAuthenticationUser={root}\n");
    fs::write(&conf, text).unwrap();
    let arguments = ["dev", "--namesrv-port", "0", "--broker-port", "0", "-c", conf.to_str().unwrap()];
    let mut dev = Process::start(&mut command(home.path(), BINARY, &arguments));
    dev.line("is ready");
    let (namesrv, broker) = (dev.banner("name server"), dev.banner("broker"));
    let run = |arguments: &[&str], key: Option<(&str, &str)>| {
        let signing = key.map_or(vec![], |(name, secret)| vec!["--access-key", name, "--secret-key", secret]);
        let arguments = [arguments, &["-n", &namesrv], &signing].concat();
        let output = command(home.path(), BINARY, &arguments).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    let bench = |workload, more: &'static [&str]| {
        let few = ["bench", workload, "-t", "orders", "--seconds", "0.2", "--warm-up", "0", "-c", "2", "-o", "4"];
        [&few[..], more].concat()
    };
    // The first one fills the topic from which the others read.
    let asked = [
        vec!["pub", "orders", "hello"],
        vec!["sub", "orders", "-f", "first", "-c", "1"],
        bench("send", &[]),
        bench("send", &["--transaction"]),
        bench("pull", &[]),
        bench("latency", &["--rate", "200"]),
        vec!["admin", "brokerStatus", "-b", &broker],
    ];
    for arguments in &asked {
        let (code, said) = run(arguments, Some(("root", "secretOfRoot")));
        assert_eq!(code, Some(0), "{arguments:?}: {said}");
    }
    for (key, words) in [
        (None, "username cannot be null."),
        (Some(("root", "another")), "check signature failed."),
        (Some(("eve", "another")), "User:eve is not found."),
    ] {
        // `sub` goes on trying.
        for arguments in asked.iter().filter(|arguments| arguments[0] != "sub") {
            let (code, said) = run(arguments, key);
            assert!(code == Some(1) && said.contains(words), "{arguments:?} as {key:?}: {said}");
        }
    }
    dev.stop();
}

#[test]
fn certificates_of_tls_init_encrypt_a_cluster_and_its_clients_and_can_be_renewed() {
    let home = TempDir::new().unwrap();
    let run = |arguments: &[&str]| {
        let output = command(home.path(), BINARY, arguments).current_dir(home.path()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    let (code, said) = run(&["tls", "init", "tls", "--host", "127.0.0.1"]);
    assert!(code == Some(0) && said.contains("for 127.0.0.1, good for 730 days"), "{said}");
    let (ca, file) = (home.path().join("tls/ca.pem"), home.path().join("tls/tls.properties"));
    let (ca, file) = (ca.to_str().unwrap(), file.to_str().unwrap());
    let conf = |name: &str, more: &str| {
        let path = home.path().join(name);
        let text = format!("listenPort=0\ntls.config.file={file}\ntls.server.mode=enforcing\n{more}");
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let namesrv_conf = conf("namesrv.conf", "");
    let mut namesrv = Process::start(&mut command(home.path(), BINARY, &["namesrv", "-c", &namesrv_conf]));
    let address = namesrv.banner("name server");
    let broker_conf = conf(
        "broker.conf",
        &format!("brokerIP1=127.0.0.1\ntls.enable=true\nnamesrvAddr={address}\nstorePathRootDir=b\n"),
    );
    let broker = || {
        let mut broker = command(home.path(), BINARY, &["broker", "-c", &broker_conf]);
        let mut broker = Process::start(broker.current_dir(home.path()));
        broker.line("registered");
        broker
    };
    let mut first = broker();
    let publish = |more: &[&str]| run(&[&["pub", "orders", "hello", "-n", &address], more].concat());
    let (code, said) = publish(&["--tls-ca", ca]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(publish(&["--tls-config", file]).0, Some(0));
    assert_eq!(publish(&["--tls-insecure"]).0, Some(0));
    let (code, said) = publish(&["--tls"]);
    assert!(code == Some(1) && said.contains("--tls-ca"), "{said}");
    assert_eq!(publish(&[]).0, Some(1), "plain connections are closed");
    let (code, said) = run(&["sub", "orders", "-f", "first", "-c", "3", "-n", &address, "--tls-ca", ca]);
    assert!(code == Some(0) && said.matches("hello").count() == 3, "{said}");
    let (code, said) = run(&["admin", "clusterList", "-n", &address, "--tls-ca", ca]);
    assert!(code == Some(0) && said.contains("DefaultCluster"), "{said}");
    for workload in ["send", "latency"] {
        let (code, said) = run(&[
            "bench",
            workload,
            "-n",
            &address,
            "--tls-ca",
            ca,
            "--seconds",
            "0.2",
            "--warm-up",
            "0",
            "-c",
            "2",
            "--rate",
            "200",
        ]);
        assert_eq!(code, Some(0), "{said}");
    }

    let (code, said) = run(&["tls", "init", "tls", "--host", "127.0.0.1", "--renew"]);
    assert!(code == Some(0) && said.contains("take them over"), "{said}");
    first.line("new files are in force");
    assert_eq!(publish(&["--tls-ca", ca]).0, Some(0));
    first.stop();
    namesrv.stop();
    fs::write(home.path().join("tls/server.pem"), "nothing").unwrap();
    let mut broken =
        Process::start(command(home.path(), BINARY, &["broker", "-c", &broker_conf]).current_dir(home.path()));
    let said = broken.line("TLS can't be as it is set");
    assert!(said.contains("server.pem: no certificate in it"), "{said}");
    assert_eq!(broken.ends().code(), Some(1));
}

#[test]
fn dev_reaches_itself_where_it_takes_tls_only() {
    let home = TempDir::new().unwrap();
    let conf = home.path().join("broker.conf");
    fs::write(&conf, "tls.server.mode=enforcing\n").unwrap();
    let arguments = ["dev", "--namesrv-port", "0", "--broker-port", "0", "-c", conf.to_str().unwrap()];
    let mut dev = Process::start(&mut command(home.path(), BINARY, &arguments));
    dev.line("is ready");
    dev.stop();
    fs::write(&conf, "adminListenPort=10915\n").unwrap();
    let mut dev = Process::start(&mut command(home.path(), BINARY, &arguments));
    dev.line("adminListenPort is for `cometmq broker` and `cometmq namesrv`");
    assert_eq!(dev.ends().code(), Some(1));
}
