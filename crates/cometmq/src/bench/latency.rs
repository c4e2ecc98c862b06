//! How long a message is under way: from the moment when it should be sent until a consumer, whose pull waits at the
//! broker, has it.
//!
//! A message that is sent late, because the ones before it held it up, counts from when it should have been sent:
//! what a broker's pause delays is part of the pause.

use super::frame::{Answer, Frame, write_key, write_offset};
use super::report::Report;
use super::{BenchArgs, Failed, Window, by_broker, load, ready_to_send, seconds};
use client::Client;
use protocol::code::response;
use protocol::record::Record;
use remoting::{Sink, Source, Stream};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use std::cell::RefCell;
use std::collections::HashSet;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};

/// A body begins with the run's number, the message's, and when it should be sent, in ns since the run's start.
const STAMP_SIZE: usize = 24;

/// After the last message, so long may those that are under way take.
const STRAGGLERS: Duration = Duration::from_secs(3);

/// One at a time: a message that takes longer is lost.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(10);

/// A schedule is looked at no more often.
const TICK_MIN: Duration = Duration::from_micros(50);

pub async fn run(args: &BenchArgs, client: &Client, remoting: &remoting::Client) -> Result<Report, Failed> {
    if args.size < STAMP_SIZE {
        return Err(Failed::Arguments("latency needs --size 24 or more: bodies carry the time"));
    }
    let route = ready_to_send(client, &args.topic).await?;
    let brokers = by_broker(&route, &route.write_queues);
    let (address, queue_id) = (brokers[0].0, brokers[0].1[0]);
    let (_, end) = load::bounds(remoting, address, &args.topic, queue_id).await?;

    let pace = args.rate.map_or_else(|| "one at a time".to_owned(), |rate| format!("{rate} msgs/s"));
    let title = format!("latency {} at {address} queue {queue_id}, {pace}, {} B", args.topic, args.size);
    let run_number = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    let journey = Rc::new(Journey {
        run_number,
        started: Instant::now(),
        counts: RefCell::new(Counts { report: Report { title, ..Report::default() }, ..Counts::default() }),
        progress: Notify::new(),
    });

    let failed = |source| Failed::Connection { address: address.to_owned(), source };
    let (sending, pulling) =
        (connect(address, remoting).await.map_err(failed)?, connect(address, remoting).await.map_err(failed)?);
    let (answers, requests) = sending.split();
    let (broke, mut broken) = mpsc::unbounded_channel();
    let queue = (args.group.as_str(), args.topic.as_str(), queue_id);
    let pull = Frame::pull(queue, remoting.credentials(), Some(15_000), None, 0);
    let tasks = [(journey.clone(), broke.clone()), (journey.clone(), broke)];
    let [(consuming, consumer_broke), (acknowledging, producer_broke)] = tasks;
    tokio::task::spawn_local(async move {
        if let Err(source) = consuming.consume(pulling, pull, end).await {
            let _ = consumer_broke.send(source);
        }
    });
    tokio::task::spawn_local(async move {
        if let Err(source) = acknowledging.acknowledge(answers).await {
            let _ = producer_broke.send(source);
        }
    });
    // The first pull is to wait at the broker before the first message comes.
    tokio::time::sleep(Duration::from_millis(100)).await;

    let frame = Frame::send(args, remoting.credentials(), queue_id, run_number as u32, 0);
    tokio::select! {
        Some(source) = broken.recv() => Err(failed(source)),
        done = journey.produce(args, requests, frame) => done,
    }
}

async fn connect(address: &str, remoting: &remoting::Client) -> io::Result<Stream> {
    Stream::open(address, remoting.tls().as_deref()).await
}

/// What producer and consumer know of each other.
struct Journey {
    run_number: u64,
    started: Instant,
    counts: RefCell<Counts>,
    /// Something was received or refused.
    progress: Notify,
}

#[derive(Default)]
struct Counts {
    sent: u64,
    acknowledged: u64,
    received: u64,
    /// Numbers of messages that were sent and not received.
    under_way: HashSet<u64>,
    report: Report,
}

impl Counts {
    fn is_complete(&self) -> bool {
        self.acknowledged + self.report.refused >= self.sent && self.received >= self.acknowledged
    }
}

impl Journey {
    async fn produce(&self, args: &BenchArgs, mut requests: Sink, frame: Frame) -> Result<Report, Failed> {
        let measured_from = Instant::now() + seconds(args.warm_up);
        let end = measured_from + seconds(args.seconds);
        let mut schedule = args.rate.map(Schedule::new).transpose()?;
        let mut window = None;
        let mut batch = Vec::new();
        while Instant::now() < end {
            if window.is_none() && Instant::now() >= measured_from {
                self.counts.borrow_mut().report.start();
                window = Some(Window::open(args.pid)?);
            }
            match &mut schedule {
                Some(schedule) => {
                    for due in schedule.next().await? {
                        self.push(&frame, args.size, due, &mut batch);
                    }
                }
                None => self.push(&frame, args.size, Instant::now(), &mut batch),
            }
            requests.write_all(&batch).await?;
            batch.clear();
            if schedule.is_none() && !self.all_arrive_within(ARRIVAL_TIMEOUT).await {
                break;
            }
        }
        self.all_arrive_within(STRAGGLERS).await;
        let counts = std::mem::take(&mut *self.counts.borrow_mut());
        let mut report = counts.report;
        report.lost = counts.acknowledged.saturating_sub(counts.received);
        if let Some(window) = window {
            window.close(&mut report)?;
        }
        Ok(report)
    }

    fn push(&self, frame: &Frame, size: usize, due: Instant, batch: &mut Vec<u8>) {
        let mut counts = self.counts.borrow_mut();
        let at = batch.len();
        batch.extend_from_slice(&frame.bytes);
        write_key(&mut batch[at + frame.gap.start..at + frame.gap.end], counts.sent);
        let body = batch.len() - size;
        let nanos = due.saturating_duration_since(self.started).as_nanos() as u64;
        for (n, stamp) in [self.run_number, counts.sent, nanos].into_iter().enumerate() {
            batch[body + 8 * n..body + 8 * (n + 1)].copy_from_slice(&stamp.to_be_bytes());
        }
        if let Some(seal) = &frame.seal {
            seal.sign(&mut batch[at..]);
        }
        let number = counts.sent;
        counts.under_way.insert(number);
        counts.sent += 1;
    }

    async fn all_arrive_within(&self, timeout: Duration) -> bool {
        let complete = async {
            while !self.counts.borrow().is_complete() {
                self.progress.notified().await;
            }
        };
        tokio::time::timeout(timeout, complete).await.is_ok()
    }

    /// Counts the answers to what is sent.
    async fn acknowledge(&self, mut answers: Source) -> io::Result<()> {
        let mut incoming = Incoming::default();
        loop {
            incoming.more(&mut answers).await?;
            let mut counts = self.counts.borrow_mut();
            while let Some(answer) = incoming.next()? {
                match answer.code {
                    response::SUCCESS
                    | response::FLUSH_DISK_TIMEOUT
                    | response::SLAVE_NOT_AVAILABLE
                    | response::FLUSH_SLAVE_TIMEOUT => {
                        counts.acknowledged += 1;
                        counts.report.unsafe_stored += u64::from(answer.code != response::SUCCESS);
                    }
                    code => counts.report.refused(code, || answer.remark()),
                }
            }
            drop(counts);
            self.progress.notify_one();
        }
    }

    /// Pulls and takes the time of what arrives.
    async fn consume(&self, stream: Stream, mut pull: Frame, mut offset: u64) -> io::Result<()> {
        let (mut answers, mut requests) = stream.split();
        let mut incoming = Incoming::default();
        loop {
            write_offset(&mut pull.bytes[pull.gap.clone()], offset);
            pull.sign();
            requests.write_all(&pull.bytes).await?;
            let answer = loop {
                // Borrowed anew below: it can't be held while more is read.
                if incoming.is_whole()? {
                    break incoming.next()?;
                }
                incoming.more(&mut answers).await?;
            };
            let now = Instant::now();
            let Some(answer) = answer else { continue };
            match answer.code {
                response::SUCCESS => self.arrived(answer.body, now)?,
                response::PULL_NOT_FOUND | response::PULL_RETRY_IMMEDIATELY | response::PULL_OFFSET_MOVED => {}
                code => return Err(io::Error::other(format!("a pull was refused: code {code}: {}", answer.remark()))),
            }
            let next = answer.field("nextBeginOffset");
            offset = next.ok_or_else(|| io::Error::other("an answer to a pull says not where to go on"))?;
            self.progress.notify_one();
        }
    }

    fn arrived(&self, body: &[u8], now: Instant) -> io::Result<()> {
        let mut counts = self.counts.borrow_mut();
        for record in Record::all(body) {
            let record = record.map_err(io::Error::other)?;
            let stamp = |n: usize| Some(u64::from_be_bytes(record.body.get(8 * n..8 * (n + 1))?.try_into().ok()?));
            // Others may send to the queue too.
            if let (Some(run), Some(number), Some(nanos)) = (stamp(0), stamp(1), stamp(2))
                && run == self.run_number
            {
                // Order is not asked for: a broker may handle a connection's requests on several threads.
                if !counts.under_way.remove(&number) {
                    return Err(io::Error::other(format!("message {number} arrived twice, or was never sent")));
                }
                counts.received += 1;
                counts.report.messages += 1;
                counts.report.bytes += record.body.len() as u64;
                let due = self.started + Duration::from_nanos(nanos);
                counts.report.latencies.record(now.saturating_duration_since(due));
            }
        }
        Ok(())
    }
}

/// Bytes of answers as they come.
#[derive(Default)]
struct Incoming {
    bytes: Vec<u8>,
    taken: usize,
}

impl Incoming {
    async fn more(&mut self, source: &mut Source) -> io::Result<()> {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        self.bytes.reserve(64 * 1024);
        if source.read_buf(&mut self.bytes).await? == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    fn is_whole(&self) -> io::Result<bool> {
        Ok(Answer::first(&self.bytes[self.taken..])?.is_some())
    }

    fn next(&mut self) -> io::Result<Option<Answer<'_>>> {
        let answer = Answer::first(&self.bytes[self.taken..])?;
        self.taken += answer.map_or(0, |answer| answer.whole.len());
        Ok(answer)
    }
}

/// When messages are due: at a fixed rate, on a timer that is finer than the runtime's milliseconds.
struct Schedule {
    timer: AsyncFd<OwnedFd>,
    started: Instant,
    between: Duration,
    /// How many were due so far.
    past: u32,
}

impl Schedule {
    fn new(rate: f64) -> io::Result<Schedule> {
        let between = Duration::from_secs_f64(1.0 / rate);
        let tick = between.max(TICK_MIN);
        let tick = Timespec { tv_sec: tick.as_secs() as i64, tv_nsec: tick.subsec_nanos().into() };
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let times = Itimerspec { it_interval: tick, it_value: tick };
        rustix::time::timerfd_settime(&timer, TimerfdTimerFlags::empty(), &times)?;
        #[expect(deprecated, reason = "sound with an OwnedFd; its replacement asks callers to promise just that")]
        let timer = AsyncFd::try_new(timer)?;
        Ok(Schedule { timer, started: Instant::now(), between, past: 0 })
    }

    /// Waits for the next tick; all messages that are due by then.
    async fn next(&mut self) -> io::Result<Vec<Instant>> {
        let mut ready = self.timer.readable().await?;
        let _ = ready.try_io(|timer| Ok(rustix::io::read(timer, &mut [0; 8])?));
        let now = Instant::now();
        let mut due = Vec::new();
        loop {
            let at = self.started + self.between * (self.past + 1);
            if at > now {
                return Ok(due);
            }
            due.push(at);
            self.past += 1;
        }
    }
}
