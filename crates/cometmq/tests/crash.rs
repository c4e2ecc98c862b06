//! kill -9 under a mixed load: nothing that was acknowledged is lost or moved, nothing that was promised is forgotten.
//!
//! A name server stays; its broker is killed at random moments, also while it starts, and started again. Meanwhile
//! producers send single messages, batches, delayed and timed messages, topics are created, one group's member is pushed
//! messages and sends some back, another group pulls and commits its offsets, and retention deletes what is old. All
//! of them go on by themselves. The ledger judges.
//!
//! `CRASH_TIMES` says how often (each flush mode gets half of them), `CRASH_SEED` which moments.

mod support;

use bytes::Bytes;
use client::{Client, Message, StartFrom};
use protocol::code::response;
use protocol::message::{QueueOffset, parse_offset_message_id};
use protocol::request::Request;
use protocol::request::offset::{QueryConsumerOffset, UpdateConsumerOffset};
use protocol::request::send::SendBack;
use protocol::request::topic::CreateTopic;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use support::ledger::{Content, Faults, Ledger, Name, Promise, Queue, body, name_of};
use support::{Process, SOON, drain, free_broker_port, free_port, messages, next_begin_offset, pull_request};
use tokio::sync::RwLock;
use tokio::task::JoinHandle;

const TOPIC: &str = "Crash";
const QUEUES: i32 = 4;
const PUSHED: &str = "pushed";
const PULLING: &str = "pulling";
const JUDGE: &str = "judge";
/// Small files: the kills fall on rolls, too.
const LOG_FILE_SIZE: i64 = 1 << 18;
/// Files of the log that retention leaves alone.
const YOUNG_FILES: usize = 4;
/// Each group has a dead letter topic, and its retries stay below it.
const ATTEMPTS_MAX: i32 = 3;
/// After so long it is an answer that is missing.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Who finds no broker tries again after this.
const AGAIN: Duration = Duration::from_millis(5);

fn number_of(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|number| number.parse().ok())
}

#[tokio::test]
async fn kill_9_loses_nothing_with_async_flush() {
    kill_again_and_again("ASYNC_FLUSH", 1).await;
}

#[tokio::test]
async fn kill_9_loses_nothing_with_sync_flush() {
    kill_again_and_again("SYNC_FLUSH", 2).await;
}

async fn kill_again_and_again(flush: &str, stream: u64) {
    let kills = number_of("CRASH_TIMES").unwrap_or(24) / 2;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = number_of("CRASH_SEED").unwrap_or(now);
    println!("CRASH_SEED={seed}");
    let mut random = Random(seed ^ stream << 32);

    let mut site = Site::start(flush).await;
    let world = site.world.clone();
    let tasks = start_load(&world).await;
    let mut serving_after = Vec::new();
    for kill in 0..kills {
        // Not waits for a fact: the moment of the kill is what is to vary. Now and then consumers get time to catch up.
        let calm = kill % 6 == 5;
        let load = if calm { 2000 } else { 0 } + random.below(300);
        tokio::time::sleep(Duration::from_millis(load)).await;
        if calm {
            site.all_is_delivered().await;
            site.judge().await;
        }
        site.broker.take().unwrap().kill();
        if random.below(4) == 0 {
            let starting = site.start_broker();
            tokio::time::sleep(Duration::from_millis(random.below(60))).await;
            starting.kill();
        }
        if calm {
            site.let_old_files_go();
        }
        let began = Instant::now();
        site.start_again().await;
        serving_after.push(began.elapsed());
    }
    site.all_is_delivered().await;
    site.judge().await;
    for task in tasks {
        task.abort();
    }
    // What a clean stop leaves is the same again.
    assert!(site.broker.take().unwrap().stop().success());
    site.start_again().await;
    site.judge().await;
    site.old_files_are_gone().await;
    site.judge().await;
    let ledger = world.ledger.lock().unwrap();
    serving_after.sort();
    println!(
        "{flush}: {kills} kills, {} messages acknowledged, {} promised, {} topics created; the broker served after {:?}, \
         {:?} at most",
        ledger.acknowledged(),
        ledger.promised(),
        world.created.lock().unwrap().len(),
        serving_after[serving_after.len() / 2],
        serving_after[serving_after.len() - 1],
    );
}

/// Numbers that look random, the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// What everyone knows.
struct World {
    namesrv: String,
    broker: String,
    ledger: Mutex<Ledger>,
    created: Mutex<Vec<String>>,
    /// The furthest offset by queue that the pulling group has told the broker, answered or not.
    told: Mutex<HashMap<i32, i64>>,
    /// Who works holds it; who judges holds it alone.
    at_work: RwLock<()>,
}

/// A directory, a name server and a broker.
struct Site {
    directory: tempfile::TempDir,
    conf: PathBuf,
    _namesrv: Process,
    broker: Option<Process>,
    world: Arc<World>,
}

impl Site {
    async fn start(flush: &str) -> Site {
        let directory = tempfile::tempdir().unwrap();
        let (namesrv_port, broker_port) = (free_port(), free_broker_port());
        let conf = directory.path().join("broker.conf");
        let hours: Vec<String> = (0..24).map(|hour| hour.to_string()).collect();
        let store = directory.path().join("store").display().to_string();
        let (log_size, hours) = (LOG_FILE_SIZE, hours.join(";"));
        let lines = format!(
            "brokerName=b\nbrokerIP1=127.0.0.1\nlistenPort={broker_port}\nstorePathRootDir={store}\nflushDiskType={flush}\n\
             mappedFileSizeCommitLog={log_size}\nmappedFileSizeConsumeQueue=20000\nmaxHashSlotNum=1000\nmaxIndexNum=4000\n\
             messageDelayLevel=1s 2s 3s\ntimerPrecisionMs=100\ntimerRollWindowSlot=8\nmappedFileSizeTimerLog=4096\ntimerFlushIntervalMs=50\nflushConsumerOffsetInterval=500\nflushDelayOffsetInterval=1000\ncleanResourceInterval=500\ndeleteWhen={hours}\ndefaultTopicQueueNums={QUEUES}\n"
        );
        std::fs::write(&conf, lines).unwrap();
        let mut namesrv = Process::start(&["namesrv", "--port", &namesrv_port.to_string()]);
        let world = World {
            namesrv: format!("127.0.0.1:{namesrv_port}"),
            broker: format!("127.0.0.1:{broker_port}"),
            ledger: Mutex::new(Ledger::new(LOG_FILE_SIZE)),
            created: Mutex::default(),
            told: Mutex::default(),
            at_work: RwLock::default(),
        };
        namesrv.serves(&world.namesrv).await;
        let mut site = Site { directory, conf, _namesrv: namesrv, broker: None, world: Arc::new(world) };
        site.start_again().await;
        site
    }

    fn start_broker(&self) -> Process {
        Process::start(&["broker", "-c", self.conf.to_str().unwrap(), "-n", &self.world.namesrv])
    }

    async fn start_again(&mut self) {
        let mut broker = self.start_broker();
        broker.serves(&self.world.broker).await;
        self.broker = Some(broker);
    }

    fn log_files(&self) -> Vec<PathBuf> {
        let files = std::fs::read_dir(self.directory.path().join("store/commitlog")).unwrap();
        let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
        files.sort();
        files
    }

    /// Waits until retention has taken some of what it was let.
    async fn old_files_are_gone(&self) {
        let until = Instant::now() + SOON;
        self.let_old_files_go();
        while base_of(&self.log_files()[0]) == 0 {
            assert!(Instant::now() < until, "no file was deleted: {}", self.said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Makes files of the log old enough for retention. What was in them has been delivered: the last calm saw to it.
    fn let_old_files_go(&self) {
        let old = SystemTime::now() - Duration::from_secs(100 * 3600);
        let files = self.log_files();
        for file in &files[..files.len().saturating_sub(YOUNG_FILES)] {
            match std::fs::File::options().write(true).open(file) {
                // Retention was let have it before, and has it now.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                opened => opened.unwrap().set_modified(old).unwrap(),
            }
            self.world.ledger.lock().unwrap().forgive(base_of(file) + LOG_FILE_SIZE);
        }
    }

    /// Waits until consumers have all that was promised to them.
    async fn all_is_delivered(&self) {
        let _nobody_works = self.world.at_work.write().await;
        let until = Instant::now() + SOON;
        loop {
            let missing = self.world.ledger.lock().unwrap().still_to_come(PUSHED, TOPIC);
            let Some(missing) = missing else { return };
            if Instant::now() > until {
                // Is it there at all?
                self.hold_against_ledger().await;
                panic!("never delivered: {missing}\n{}", self.said());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn said(&self) -> String {
        self.broker.as_ref().map(Process::output).unwrap_or_default()
    }

    async fn judge(&self) {
        let _nobody_works = self.world.at_work.write().await;
        self.hold_against_ledger().await;
    }

    async fn hold_against_ledger(&self) {
        let (world, asking) = (&self.world, remoting::Client::default());
        let mut queues: BTreeMap<Queue, Content> = BTreeMap::new();
        for queue_id in 0..QUEUES {
            let content = drain(&asking, &world.broker, JUDGE, TOPIC, queue_id).await;
            queues.insert((TOPIC.into(), queue_id), content);
        }
        let created = world.created.lock().unwrap().clone();
        for topic in &created {
            // A topic that is not there is refused.
            drain(&asking, &world.broker, JUDGE, topic, 0).await;
        }
        let mut offsets = Vec::new();
        for queue in queues.keys() {
            for group in [PUSHED, PULLING] {
                offsets.push((group, queue, offset_of(&asking, &world.broker, group, queue.1).await));
            }
        }
        let ledger = world.ledger.lock().unwrap();
        let judged = ledger.judge(&queues, Faults::Some).and_then(|()| {
            offsets.iter().try_for_each(|(group, queue, offset)| ledger.judge_offset(group, queue, *offset))
        });
        if let Err(violation) = judged {
            panic!("{violation}\n{}", self.said());
        }
        for (group, (_, queue_id), offset) in offsets {
            let told = world.told.lock().unwrap().get(queue_id).copied().unwrap_or(0);
            assert!(group != PULLING || offset <= told, "queue {queue_id}: told {told}, and it stands at {offset}");
        }
    }
}

fn base_of(file: &Path) -> i64 {
    file.file_name().unwrap().to_str().unwrap().parse().unwrap()
}

async fn offset_of(asking: &remoting::Client, broker: &str, group: &str, queue_id: i32) -> i64 {
    let query = QueryConsumerOffset {
        consumer_group: group.into(),
        topic: TOPIC.into(),
        queue_id,
        set_zero_if_not_found: Some(false),
    };
    match asking.ask(broker, &query, SOON).await {
        Ok(reply) => reply.offset,
        Err(error) if error.code() == Some(response::QUERY_NOT_FOUND) => 0,
        Err(error) => panic!("{error}"),
    }
}

/// Messages of one sender, named in their order.
struct Sender {
    world: Arc<World>,
    id: u32,
    next: u64,
}

impl Sender {
    fn new(world: &Arc<World>, id: u32) -> Sender {
        Sender { world: world.clone(), id, next: 0 }
    }

    fn message(&mut self) -> (Name, Message) {
        let name = (self.id, self.next);
        self.next += 1;
        self.world.ledger.lock().unwrap().send(name);
        (name, Message::new(body(name, 40 + (self.next as usize * 131) % 3000)))
    }
}

async fn start_load(world: &Arc<World>) -> Vec<JoinHandle<()>> {
    let client = loop {
        // On a slow day it takes the name server a while to answer.
        match Client::connect(&world.namesrv).await {
            Ok(client) => break client,
            Err(_) => tokio::time::sleep(AGAIN).await,
        }
    };
    // The broker may not have registered yet.
    let producer = client.producer(TOPIC).timeout(TIMEOUT);
    let mut first = Sender::new(world, 0);
    while producer.send(first.message().1).await.is_err() {
        tokio::time::sleep(AGAIN).await;
    }
    let mut consumer =
        client.consumer(PUSHED).subscribe(TOPIC, "*").start_from(StartFrom::First).start().await.unwrap();
    let mut tasks: Vec<JoinHandle<()>> = Vec::new();
    for id in 1..=4 {
        tasks.push(tokio::spawn(send_singles(client.clone(), Sender::new(world, id))));
    }
    tasks.push(tokio::spawn(send_batches(client.clone(), Sender::new(world, 5))));
    tasks.push(tokio::spawn(send_delayed(client.clone(), Sender::new(world, 6))));
    tasks.push(tokio::spawn(send_timed(client.clone(), Sender::new(world, 7))));
    tasks.push(tokio::spawn(create_topics(world.clone())));
    tasks.push(tokio::spawn(pull_and_commit(world.clone())));
    let world = world.clone();
    tasks.push(tokio::spawn(async move {
        let asking = remoting::Client::default();
        while let Some(delivery) = consumer.next().await {
            receive(&world, &asking, &delivery).await;
            delivery.ack();
        }
    }));
    tasks
}

fn log_offset(offset_message_id: &str) -> i64 {
    parse_offset_message_id(offset_message_id).unwrap().1.0
}

async fn send_singles(client: Client, mut sender: Sender) {
    let producer = client.producer(TOPIC).timeout(TIMEOUT);
    loop {
        let world = sender.world.clone();
        let _work = world.at_work.read().await;
        let (name, message) = sender.message();
        match producer.send(message).await {
            Ok(sent) => {
                let at = log_offset(&sent.offset_message_id);
                let mut ledger = world.ledger.lock().unwrap();
                ledger.acknowledge(TOPIC, sent.queue.queue_id, sent.queue_offset.0, at, name);
            }
            Err(_) => tokio::time::sleep(AGAIN).await,
        }
    }
}

async fn send_batches(client: Client, mut sender: Sender) {
    let producer = client.producer(TOPIC).timeout(TIMEOUT);
    loop {
        let world = sender.world.clone();
        let _work = world.at_work.read().await;
        let (names, batch): (Vec<Name>, Vec<Message>) = (0..2 + sender.next % 17).map(|_| sender.message()).unzip();
        match producer.send_batch(batch).await {
            Ok(sent) => {
                let places: Vec<i64> = sent.offset_message_id.split(',').map(log_offset).collect();
                assert_eq!(places.len(), names.len());
                let mut ledger = world.ledger.lock().unwrap();
                for ((name, at), offset) in names.into_iter().zip(places).zip(sent.queue_offset.0..) {
                    ledger.acknowledge(TOPIC, sent.queue.queue_id, offset, at, name);
                }
            }
            Err(_) => tokio::time::sleep(AGAIN).await,
        }
    }
}

async fn send_delayed(client: Client, mut sender: Sender) {
    let producer = client.producer(TOPIC).timeout(TIMEOUT);
    loop {
        let world = sender.world.clone();
        let _work = world.at_work.read().await;
        let (name, message) = sender.message();
        let level = 1 + name.1 % 3;
        let not_before = Instant::now() + Duration::from_secs(level);
        if producer.send(message.property("DELAY", level.to_string())).await.is_ok() {
            let promise = Promise { group: PUSHED, name, attempt: 0, not_before };
            world.ledger.lock().unwrap().promise(promise);
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// The longest are put again three times on their way.
async fn send_timed(client: Client, mut sender: Sender) {
    let producer = client.producer(TOPIC).timeout(TIMEOUT);
    loop {
        let world = sender.world.clone();
        let _work = world.at_work.read().await;
        let (name, message) = sender.message();
        let delay = 50 + name.1 * 337 % 2500;
        let not_before = Instant::now() + Duration::from_millis(delay);
        if producer.send(message.property("TIMER_DELAY_MS", delay.to_string())).await.is_ok() {
            let promise = Promise { group: PUSHED, name, attempt: 0, not_before };
            world.ledger.lock().unwrap().promise(promise);
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn create_topics(world: Arc<World>) {
    let asking = remoting::Client::default();
    for number in 0.. {
        {
            let _work = world.at_work.read().await;
            let topic = format!("Made-{number}");
            let create = CreateTopic {
                topic: topic.clone(),
                read_queue_nums: 1,
                write_queue_nums: 1,
                perm: 6,
                ..CreateTopic::default()
            };
            if asking.ask(&world.broker, &create, TIMEOUT).await.is_ok() {
                world.created.lock().unwrap().push(topic);
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Takes a message of the pushed group, and sends some back.
async fn receive(world: &World, asking: &remoting::Client, delivery: &client::Delivery) {
    let message = support::Message {
        topic: delivery.queue.topic.clone(),
        queue_id: delivery.queue.queue_id,
        queue_offset: delivery.queue_offset.0,
        commit_log_offset: delivery.commit_log_offset,
        body: delivery.body.to_vec(),
        properties: String::new(),
    };
    let attempt = delivery.reconsume_times;
    world.ledger.lock().unwrap().receive(PUSHED, &message, attempt, Instant::now());
    let Some(name) = name_of(&message.body).filter(|name| name.1 % 50 == 0 && attempt < 2) else { return };
    let back = SendBack {
        offset: message.commit_log_offset,
        group: PUSHED.into(),
        delay_level: 1,
        max_reconsume_times: Some(ATTEMPTS_MAX),
        ..SendBack::default()
    };
    let not_before = Instant::now() + Duration::from_secs(1);
    if asking.ask(&world.broker, &back, TIMEOUT).await.is_ok() {
        let promise = Promise { group: PUSHED, name, attempt: attempt + 1, not_before };
        world.ledger.lock().unwrap().promise(promise);
    }
}

/// Pulls from all queues in turn, and says after each pull how far it is.
async fn pull_and_commit(world: Arc<World>) {
    let asking = remoting::Client::default();
    let mut next = [0i64; QUEUES as usize];
    loop {
        let before = next;
        for queue_id in 0..QUEUES {
            let offset = &mut next[queue_id as usize];
            let pull = pull_request(PULLING, TOPIC, queue_id, QueueOffset(*offset));
            let Ok(answer) = asking.invoke(&world.broker, pull.write(), TIMEOUT).await else { continue };
            match answer.code {
                response::SUCCESS => {
                    let mut ledger = world.ledger.lock().unwrap();
                    for message in messages(&answer.body) {
                        ledger.receive(PULLING, &message, 0, Instant::now());
                    }
                }
                response::PULL_OFFSET_MOVED => {}
                _ => continue,
            }
            *offset = next_begin_offset(&answer).0;
            world.told.lock().unwrap().insert(queue_id, *offset);
            let commit = UpdateConsumerOffset {
                consumer_group: PULLING.into(),
                topic: TOPIC.into(),
                queue_id: Some(queue_id),
                commit_offset: *offset,
            };
            // An answer that does not come changes nothing: it may be there, or not.
            let _ = asking.ask_with_body(&world.broker, &commit, Bytes::new(), TIMEOUT).await;
        }
        if next == before {
            tokio::time::sleep(AGAIN).await;
        }
    }
}
