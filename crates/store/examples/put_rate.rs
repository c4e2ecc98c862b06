//! What a put costs: nanoseconds per 1 KiB message, and per `write_out` of 64; and what a get costs.
//!
//! `cargo run --release -p cometmq-store --example put_rate [directory]`

use std::path::PathBuf;
use std::time::{Duration, Instant};

use store::{FlushDiskType, PutMessage, QueueOffset, Store, StoreConfig};

const BATCH: usize = 64;
const BATCHES: usize = 8_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from).join("cometmq-put-rate");
    for flush in [FlushDiskType::Async, FlushDiskType::Sync] {
        let _ = std::fs::remove_dir_all(&dir);
        let store = Store::open(StoreConfig { flush, ..StoreConfig::new(&dir) })?;
        let body = [b'x'; 1024];
        let put = PutMessage {
            topic: "TopicTest",
            queue_id: 0,
            flag: 0,
            sys_flag: 0,
            born_timestamp: 1_700_000_000_000,
            born_host: "127.0.0.1:50000".parse()?,
            store_host: "127.0.0.1:10911".parse()?,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: &body,
            properties: b"TAGS\x01TagA\x02WAIT\x01true\x02UNIQ_KEY\x01AC1100010001000000000000000000AB\x02\
                MSG_REGION\x01DefaultRegion\x02TRACE_ON\x01true\x02CLUSTER\x01DefaultCluster\x02",
        };
        let (mut putting, mut writing) = (Vec::with_capacity(BATCHES), Vec::with_capacity(BATCHES));
        let began = Instant::now();
        for n in 0..BATCHES {
            let before = Instant::now();
            for m in 0..BATCH {
                store.put_message(&PutMessage { queue_id: ((n + m) % 8) as u32, ..put })?;
            }
            let staged = Instant::now();
            store.write_out()?;
            let written = Instant::now();
            putting.push(staged - before);
            writing.push(written - staged);
        }
        let all = began.elapsed();
        let messages = (BATCH * BATCHES) as f64;
        println!("{flush:?}: {:.2} million messages/s", messages / all.as_secs_f64() / 1e6);
        println!("  put       {}", spread(&mut putting, BATCH as u32));
        println!("  write_out {}", spread(&mut writing, 1));
        if flush == FlushDiskType::Async {
            let (mut got, mut calls) = (0, 0u32);
            let began = Instant::now();
            for queue_id in 0..8 {
                let mut next = QueueOffset(0);
                while next < store.max_offset(put.topic, queue_id) {
                    let reply = store.get_message(put.topic, queue_id, next, 32, 256 << 10, &|_| true);
                    (got, next, calls) = (got + reply.count, reply.next, calls + 1);
                }
            }
            println!("get of 32 from interleaved queues: {} ns ({got} messages)", (began.elapsed() / calls).as_nanos());
        }
        let began = Instant::now();
        store.close()?;
        println!("close {:?}", began.elapsed());
        let began = Instant::now();
        let store = Store::open(StoreConfig::new(&dir))?;
        println!("open {:?}", began.elapsed());
        let began = Instant::now();
        drop(store);
        let store = Store::open(StoreConfig::new(&dir))?;
        println!("open after being killed {:?}", began.elapsed());
        drop(store);
    }
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

/// How long something took, `each` times over.
fn spread(times: &mut [Duration], each: u32) -> String {
    times.sort_unstable();
    let at = |share: f64| (times[((times.len() - 1) as f64 * share) as usize] / each).as_nanos();
    format!("p10 {} ns, p50 {} ns, p99 {} ns, max {} ns", at(0.1), at(0.5), at(0.99), at(1.0))
}
