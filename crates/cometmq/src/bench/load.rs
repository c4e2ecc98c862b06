//! As many requests as the broker takes: each connection has a number of them under way, and asks again when one is
//! answered. Sends can also be offered at a rate.

use super::frame::{Answer, Frame, Seal, write_half, write_key, write_offset};
use super::report::Report;
use super::{BenchArgs, Failed, Window, by_broker, ready_to_send, seconds};
use client::Client;
use protocol::code::response;
use protocol::request::offset::{GetMaxOffset, GetMinOffset};
use remoting::Stream;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;

const INCOMING_MIN: usize = 16 * 1024;
const SLICES_MAX: usize = 64;

/// Sends to all queues that can be sent to.
pub async fn send(args: &BenchArgs, client: &Client, remoting: &remoting::Client) -> Result<Report, Failed> {
    let route = ready_to_send(client, &args.topic).await?;
    let brokers = by_broker(&route, &route.write_queues);
    let report = Rc::new(RefCell::new(Report { title: title("send", args), ..Report::default() }));
    let mut connections = Vec::new();
    for n in 0..args.connections as usize {
        let (address, queues) = &brokers[n % brokers.len()];
        let producer = (std::process::id() << 16) ^ n as u32;
        let frames = (0..args.outstanding).map(|slot| {
            let queue_id = queues[(n / brokers.len() + slot as usize) % queues.len()];
            Frame::send(args, remoting.credentials(), queue_id, producer, slot as i32)
        });
        let transactions = args.transaction.then_some(args.outstanding as usize);
        let commits = (0..transactions.map_or(0, |_| args.outstanding))
            .map(|n| Frame::commit(remoting.credentials(), (args.outstanding + n) as i32));
        let frames = frames.chain(commits);
        let load = Sends { next: 0, size: args.size as u64, transactions, half: (0, 0) };
        let pace = args.rate.map(|rate| Pace::of(rate, n as u32, args.connections));
        connections.push(Connection::open((address, remoting), load, frames, pace, report.clone()).await?);
    }
    run(args, connections, report).await
}

/// Pulls from all queues that hold something.
pub async fn pull(args: &BenchArgs, client: &Client, remoting: &remoting::Client) -> Result<Report, Failed> {
    let empty = || Failed::Empty(args.topic.clone());
    let route = client.routes().of(&args.topic).await?.ok_or_else(empty)?;
    let mut filled = Vec::new();
    for (address, queues) in by_broker(&route, &route.read_queues) {
        for queue_id in queues {
            let (first, end) = bounds(remoting, address, &args.topic, queue_id).await?;
            if first < end {
                filled.push((address, queue_id, first));
            }
        }
    }
    if filled.is_empty() {
        return Err(empty());
    }
    let report = Rc::new(RefCell::new(Report { title: title("pull", args), ..Report::default() }));
    let mut connections = Vec::new();
    for n in 0..args.connections as usize {
        // A connection leads to one broker; it may still read several of its queues.
        let (address, ..) = filled[n % filled.len()];
        let queues: Vec<_> = filled.iter().filter(|(other, ..)| *other == address).collect();
        let of_slot = |slot: u32| queues[(n + slot as usize) % queues.len()];
        let frames = (0..args.outstanding).map(|slot| {
            let queue = (args.group.as_str(), args.topic.as_str(), of_slot(slot).1);
            Frame::pull(queue, remoting.credentials(), None, args.sql.as_deref(), slot as i32)
        });
        let load = Pulls { next: (0..args.outstanding).map(|slot| of_slot(slot).2).collect() };
        connections.push(Connection::open((address, remoting), load, frames, None, report.clone()).await?);
    }
    run(args, connections, report).await
}

/// A queue's first offset, and the one behind its last.
pub async fn bounds(
    remoting: &remoting::Client,
    address: &str,
    topic: &str,
    queue_id: i32,
) -> Result<(u64, u64), Failed> {
    let timeout = Duration::from_secs(3);
    let min = GetMinOffset { topic: topic.into(), queue_id };
    let max = GetMaxOffset { topic: topic.into(), queue_id };
    let first = remoting.ask(address, &min, timeout).await.map_err(client::Error::from)?.offset;
    let end = remoting.ask(address, &max, timeout).await.map_err(client::Error::from)?.offset;
    Ok((first.max(0) as u64, end.max(0) as u64))
}

fn title(what: &str, args: &BenchArgs) -> String {
    let size = if what == "send" { format!(", {} B", args.size) } else { String::new() };
    let rate = args.rate.map_or_else(String::new, |rate| format!(", {rate} msgs/s offered"));
    format!("{what} {}, {} connections × {} outstanding{size}{rate}", args.topic, args.connections, args.outstanding)
}

/// Lets all connections run, first unmeasured, then measured.
async fn run<L: Load>(
    args: &BenchArgs,
    connections: Vec<Connection<L>>,
    report: Rc<RefCell<Report>>,
) -> Result<Report, Failed> {
    let (broke, mut broken) = mpsc::unbounded_channel();
    for mut connection in connections {
        let broke = broke.clone();
        tokio::task::spawn_local(async move {
            let source = poll_fn(|cx| connection.poll(cx)).await;
            // The receiver lives as long as the run.
            let _ = broke.send(Failed::Connection { address: connection.address.clone(), source });
        });
    }
    let mut run_for = async |time| {
        tokio::select! {
            Some(failed) = broken.recv() => Err(failed),
            () = tokio::time::sleep(seconds(time)) => Ok(()),
        }
    };
    run_for(args.warm_up).await?;
    report.borrow_mut().start();
    let window = Window::open(args.pid)?;
    run_for(args.seconds).await?;
    let mut report = std::mem::take(&mut *report.borrow_mut());
    window.close(&mut report)?;
    Ok(report)
}

/// What requests ask for, and what their answers mean.
trait Load: 'static {
    /// Fills the gap of a slot's next request, which is signed then.
    fn prepare(&mut self, slot: usize, gap: &mut [u8]);

    /// Messages and bytes that an answer stands for; `None` when it is a refusal.
    fn answered(&mut self, slot: usize, answer: &Answer<'_>, report: &mut Report) -> Option<(u64, u64)>;

    /// The slot to ask next, when the one of `slot` was answered.
    fn next(&self, slot: usize, _accepted: bool) -> usize {
        slot
    }

    /// Does `slot` ask first, or does it follow from another?
    fn is_first(&self, _slot: usize) -> bool {
        true
    }
}

struct Sends {
    next: u64,
    size: u64,
    /// Half messages are sent by so many slots, and behind each of these stands one that commits.
    transactions: Option<usize>,
    /// Queue offset of the half message that was answered last, and its place in the commit log.
    half: (u64, u64),
}

impl Load for Sends {
    fn prepare(&mut self, slot: usize, gap: &mut [u8]) {
        if !self.is_first(slot) {
            return write_half(gap, self.half.0, self.half.1);
        }
        write_key(gap, self.next);
        self.next += 1;
    }

    fn next(&self, slot: usize, accepted: bool) -> usize {
        match self.transactions {
            Some(halves) if slot >= halves => slot - halves,
            Some(halves) if accepted => slot + halves,
            _ => slot,
        }
    }

    fn is_first(&self, slot: usize) -> bool {
        self.transactions.is_none_or(|halves| slot < halves)
    }

    fn answered(&mut self, slot: usize, answer: &Answer<'_>, report: &mut Report) -> Option<(u64, u64)> {
        match answer.code {
            response::SUCCESS => {}
            response::FLUSH_DISK_TIMEOUT | response::SLAVE_NOT_AVAILABLE | response::FLUSH_SLAVE_TIMEOUT => {
                report.unsafe_stored += 1;
            }
            _ => return None,
        }
        if self.transactions.is_some() && self.is_first(slot) {
            self.half = (answer.field("queueOffset")?, answer.place()?);
            return Some((0, 0));
        }
        Some((1, self.size))
    }
}

struct Pulls {
    /// The next offset of each slot.
    next: Vec<u64>,
}

impl Load for Pulls {
    fn prepare(&mut self, slot: usize, gap: &mut [u8]) {
        write_offset(gap, self.next[slot]);
    }

    fn answered(&mut self, slot: usize, answer: &Answer<'_>, _: &mut Report) -> Option<(u64, u64)> {
        // At the end of the queue, and where it begins no more, it goes on at the beginning.
        let next = match answer.code {
            response::SUCCESS | response::PULL_RETRY_IMMEDIATELY => answer.field("nextBeginOffset"),
            response::PULL_NOT_FOUND | response::PULL_OFFSET_MOVED => answer.field("minOffset"),
            _ => return None,
        };
        self.next[slot] = next?;
        if answer.code != response::SUCCESS {
            return Some((0, 0));
        }
        Some((count_records(answer.body)?, answer.body.len() as u64))
    }
}

/// How many records fill `bytes` exactly.
fn count_records(mut bytes: &[u8]) -> Option<u64> {
    let mut count = 0;
    while !bytes.is_empty() {
        let size = u32::from_be_bytes(*bytes.first_chunk()?) as usize;
        bytes = bytes.get(size.max(1)..)?;
        count += 1;
    }
    Some(count)
}

struct Connection<L> {
    address: String,
    stream: Stream,
    load: L,
    /// The frames of all slots, one behind the other.
    frames: Vec<u8>,
    slots: Vec<Slot>,
    /// Parts of `frames` that are to be written, in this order.
    unsent: VecDeque<Range<usize>>,
    incoming: Vec<u8>,
    /// Bytes of `incoming` that have arrived.
    filled: usize,
    /// When to ask; without it, as soon as a slot is free.
    pace: Option<Pace>,
    report: Rc<RefCell<Report>>,
}

/// One connection's share of a rate.
struct Pace {
    between: Duration,
    /// When the next request is due.
    next: Instant,
    /// Rings then, to the millisecond.
    timer: Pin<Box<tokio::time::Sleep>>,
    /// Slots with nothing under way.
    free: Vec<usize>,
}

impl Pace {
    /// The share of connection `n` of `connections`: none asks when another does.
    fn of(rate: f64, n: u32, connections: u32) -> Pace {
        let between = Duration::from_secs_f64(f64::from(connections) / rate);
        let next = Instant::now() + between.mul_f64(f64::from(n) / f64::from(connections));
        Pace { between, next, timer: Box::pin(tokio::time::sleep_until(next.into())), free: Vec::new() }
    }
}

/// A request that is under way at any time; its number is the `opaque` of its frame.
struct Slot {
    frame: Range<usize>,
    gap: Range<usize>,
    seal: Option<Seal>,
    sent: Instant,
}

impl<L: Load> Connection<L> {
    async fn open(
        (address, remoting): (&str, &remoting::Client),
        load: L,
        prepared: impl Iterator<Item = Frame>,
        pace: Option<Pace>,
        report: Rc<RefCell<Report>>,
    ) -> Result<Connection<L>, Failed> {
        let failed = |source| Failed::Connection { address: address.to_owned(), source };
        let stream = Stream::open(address, remoting.tls().as_deref()).await.map_err(failed)?;
        let mut connection = Connection {
            address: address.to_owned(),
            stream,
            load,
            frames: Vec::new(),
            slots: Vec::new(),
            unsent: VecDeque::new(),
            incoming: vec![0; INCOMING_MIN],
            filled: 0,
            pace,
            report,
        };
        for (number, frame) in prepared.enumerate() {
            let at = connection.frames.len();
            let gap = at + frame.gap.start..at + frame.gap.end;
            connection.frames.extend_from_slice(&frame.bytes);
            let whole = at..connection.frames.len();
            connection.slots.push(Slot { frame: whole, gap, seal: frame.seal, sent: Instant::now() });
            if connection.load.is_first(number) {
                connection.free(number, Instant::now());
            }
        }
        Ok(connection)
    }

    /// Lets the slot ask again, now or when it is due.
    fn free(&mut self, slot: usize, now: Instant) {
        match &mut self.pace {
            None => self.ask(slot, now),
            // It was due while every slot had something under way: the time that it waited is part of its latency.
            Some(pace) if pace.free.is_empty() && pace.next <= now => {
                let due = pace.next;
                pace.next += pace.between;
                self.ask(slot, due);
            }
            Some(pace) => pace.free.push(slot),
        }
    }

    /// Asks for all that is due by now, and sets the timer for what comes next.
    fn ask_what_is_due(&mut self, cx: &mut Context<'_>) {
        let now = Instant::now();
        while let Some(pace) = &mut self.pace {
            if pace.next > now {
                pace.timer.as_mut().reset(pace.next.into());
                if pace.timer.as_mut().poll(cx).is_pending() {
                    return;
                }
            }
            let Some(slot) = pace.free.pop() else { return };
            pace.next += pace.between;
            self.ask(slot, now);
        }
    }

    /// Puts the slot's next request behind those that are to be written.
    fn ask(&mut self, slot: usize, now: Instant) {
        let Slot { frame, gap, seal, sent } = &mut self.slots[slot];
        self.load.prepare(slot, &mut self.frames[gap.clone()]);
        if let Some(seal) = seal {
            seal.sign(&mut self.frames[frame.clone()]);
        }
        *sent = now;
        match self.unsent.back_mut() {
            Some(last) if last.end == frame.start => last.end = frame.end,
            _ => self.unsent.push_back(frame.clone()),
        }
    }

    /// Reads all that has arrived, then writes all that it allows. Ready when the connection is broken.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            let mut room = ReadBuf::new(&mut self.incoming[self.filled..]);
            match Pin::new(&mut self.stream).poll_read(cx, &mut room) {
                Poll::Pending => break,
                Poll::Ready(Err(error)) => return Poll::Ready(error),
                Poll::Ready(Ok(())) if room.filled().is_empty() => {
                    return Poll::Ready(io::ErrorKind::UnexpectedEof.into());
                }
                Poll::Ready(Ok(())) => self.filled += room.filled().len(),
            }
            if let Err(error) = self.take_answers() {
                return Poll::Ready(error);
            }
        }
        self.ask_what_is_due(cx);
        while !self.unsent.is_empty() {
            let slices: Vec<IoSlice<'_>> =
                self.unsent.iter().take(SLICES_MAX).map(|part| IoSlice::new(&self.frames[part.clone()])).collect();
            match Pin::new(&mut self.stream).poll_write_vectored(cx, &slices) {
                Poll::Pending => break,
                Poll::Ready(Err(error)) => return Poll::Ready(error),
                Poll::Ready(Ok(written)) => self.written(written),
            }
        }
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(error),
            _ => Poll::Pending,
        }
    }

    fn written(&mut self, mut bytes: usize) {
        while let Some(first) = self.unsent.front_mut() {
            let part = bytes.min(first.len());
            first.start += part;
            bytes -= part;
            if first.start < first.end {
                break;
            }
            self.unsent.pop_front();
        }
    }

    fn take_answers(&mut self) -> io::Result<()> {
        let now = Instant::now();
        let mut taken = 0;
        let report = self.report.clone();
        let mut report = report.borrow_mut();
        while let Some(answer) = Answer::first(&self.incoming[taken..self.filled])? {
            let slot = usize::try_from(answer.opaque).unwrap_or(usize::MAX);
            let Some(sent) = self.slots.get(slot).map(|slot| slot.sent) else {
                return Err(io::Error::other("the broker answers what was not asked"));
            };
            let accepted = self.load.answered(slot, &answer, &mut report);
            match accepted {
                Some((messages, bytes)) => {
                    report.messages += messages;
                    report.bytes += bytes;
                    report.latencies.record(now - sent);
                }
                None => report.refused(answer.code, || answer.remark()),
            }
            taken += answer.whole.len();
            match self.load.next(slot, accepted.is_some()) {
                next if self.load.is_first(next) => self.free(next, now),
                next => self.ask(next, now),
            }
        }
        self.incoming.copy_within(taken..self.filled, 0);
        self.filled -= taken;
        if self.filled == self.incoming.len() {
            self.incoming.resize(self.filled * 2, 0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_counted_by_their_sizes() {
        let record = |size: u32| [&size.to_be_bytes()[..], &vec![0; size as usize - 4]].concat();
        assert_eq!(count_records(&[record(100), record(7)].concat()), Some(2));
        assert_eq!(count_records(&[]), Some(0));
        assert_eq!(count_records(&record(100)[..99]), None);
        assert_eq!(count_records(&[0; 8]), None);
    }
}
