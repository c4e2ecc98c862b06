//! kill -9 under load: nothing that was acknowledged is lost or moved.
//!
//! `CRASH_TIMES` says how often (each flush mode gets half of them); without it, 24 times.

mod support;

use remoting::Client;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::ledger::Ledger;
use support::{Dev, drain, free_broker_port, free_port, send, send_request};

const SENDERS: u32 = 8;
const QUEUES: i32 = 4;

fn times() -> u32 {
    std::env::var("CRASH_TIMES").ok().and_then(|times| times.parse().ok()).unwrap_or(24) / 2
}

#[tokio::test]
async fn kill_9_loses_nothing_acknowledged_with_async_flush() {
    kill_again_and_again("flushDiskType=ASYNC_FLUSH").await;
}

#[tokio::test]
async fn kill_9_loses_nothing_acknowledged_with_sync_flush() {
    kill_again_and_again("flushDiskType=SYNC_FLUSH").await;
}

async fn kill_again_and_again(flush: &str) {
    let directory = tempfile::tempdir().unwrap();
    let (namesrv_port, broker_port) = (free_port(), free_broker_port());
    // Small files: the kills fall on rolls, too.
    let conf = [flush, "mappedFileSizeCommitLog=1048576", "mappedFileSizeConsumeQueue=20000"];
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let mut numbers = vec![0u64; SENDERS as usize];
    for round in 0..times() {
        let dev = Dev::start_on(directory.path(), namesrv_port, broker_port, &conf).await;
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| tokio::spawn(load(dev.broker.clone(), ledger.clone(), sender, numbers[sender as usize])))
            .collect();
        // Not a wait for a fact: the moment of the kill is what is to vary.
        tokio::time::sleep(Duration::from_millis(20 + u64::from(round) * 37 % 300)).await;
        dev.kill();
        for (sender, task) in senders.into_iter().enumerate() {
            numbers[sender] = task.await.unwrap();
        }
        if round % 4 == 3 || round + 1 == times() {
            judge(&Dev::start_on(directory.path(), namesrv_port, broker_port, &conf).await, &ledger).await;
        }
    }
    // What a clean stop leaves is the same again.
    let dev = Dev::start_on(directory.path(), namesrv_port, broker_port, &conf).await;
    assert!(dev.stop().success());
    judge(&Dev::start_on(directory.path(), namesrv_port, broker_port, &conf).await, &ledger).await;
    println!("{} messages acknowledged over {} kills", ledger.lock().unwrap().acknowledged(), times());
}

/// Sends one message after the other until the broker is gone. Returns the number of the next.
async fn load(broker: String, ledger: Arc<Mutex<Ledger>>, sender: u32, mut number: u64) -> u64 {
    let client = Client::default();
    loop {
        let body = Ledger::body(sender, number, 40 + (number as usize * 131) % 3000);
        number += 1;
        ledger.lock().unwrap().send(&body);
        let request = send_request("Crash", (number % QUEUES as u64) as i32, "TAGS\u{1}t\u{2}");
        match send(&client, &broker, &request, body.clone()).await {
            Ok(reply) => ledger.lock().unwrap().acknowledge(reply.queue_id, reply.queue_offset, body),
            Err(refused) if refused.code().is_some() => panic!("{refused}"),
            Err(_) => return number,
        }
    }
}

async fn judge(dev: &Dev, ledger: &Mutex<Ledger>) {
    let client = Client::default();
    let mut queues = BTreeMap::new();
    for queue in 0..QUEUES {
        queues.insert(queue, drain(&client, &dev.broker, "judge", "Crash", queue).await);
    }
    let verdict = ledger.lock().unwrap().judge(&queues);
    if let Err(violation) = verdict {
        panic!("{violation}\n{}", dev.output.lock().unwrap());
    }
}
