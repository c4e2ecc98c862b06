//! Frames as old clients that are not Java wrote them, recorded by `interop/{python,node}/run --record`: all are read.

use bytes::{BufMut, BytesMut};
use protocol::command::{Command, Language};
use protocol::heartbeat::{ConsumeType, HeartbeatData, LockBatchBody, MessageModel};
use protocol::json;
use protocol::request::client::{GetConsumerList, Heartbeat, LockBatch, UnlockBatch, UnregisterClient};
use protocol::request::offset::{GetMaxOffset, QueryConsumerOffset, UpdateConsumerOffset};
use protocol::request::pull::PullMessage;
use protocol::request::route::GetRoute;
use protocol::request::send::{SendBack, SendMessage};
use protocol::request::topic::CreateTopic;
use protocol::request::{Malformed, Request};
use serde::Deserialize;
use std::path::Path;

#[derive(Deserialize)]
struct Recorded {
    code: i32,
    encoding: u8,
    header: String,
    body: String,
}

impl Recorded {
    fn frame(&self) -> BytesMut {
        let digit = |c: u8| char::from(c).to_digit(16).expect("hex") as u8;
        let body: Vec<u8> = self.body.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect();
        let mut frame = BytesMut::new();
        frame.put_u32((4 + self.header.len() + body.len()) as u32);
        frame.put_u32(u32::from(self.encoding) << 24 | self.header.len() as u32);
        frame.put_slice(self.header.as_bytes());
        frame.put_slice(&body);
        frame
    }
}

fn recorded(client: &str) -> Vec<(Recorded, Command)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../interop").join(client).join("frames.jsonl");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let frames = text.lines().map(|line| {
        let recorded: Recorded = serde_json::from_str(line).unwrap();
        let mut frame = recorded.frame();
        let command = Command::decode(&mut frame).unwrap_or_else(|bad| panic!("{bad}: {}", recorded.header)).unwrap();
        assert!(frame.is_empty());
        (recorded, command)
    });
    frames.collect()
}

fn read<T: Request>(command: &Command) -> Result<(), Malformed> {
    assert!(T::CODES.contains(&command.code));
    T::read(command).map(drop)
}

fn header_is_read(command: &Command) -> Result<(), Malformed> {
    match command.code {
        10 | 310 => read::<SendMessage>(command),
        11 => read::<PullMessage>(command),
        14 => read::<QueryConsumerOffset>(command),
        15 => read::<UpdateConsumerOffset>(command),
        17 => read::<CreateTopic>(command),
        30 => read::<GetMaxOffset>(command),
        34 => read::<Heartbeat>(command),
        35 => read::<UnregisterClient>(command),
        36 => read::<SendBack>(command),
        38 => read::<GetConsumerList>(command),
        41 => read::<LockBatch>(command),
        42 => read::<UnlockBatch>(command),
        105 => read::<GetRoute>(command),
        other => panic!("no header is known for code {other}"),
    }
}

fn heartbeats(client: &str) -> Vec<HeartbeatData> {
    let commands = recorded(client).into_iter().map(|(_, command)| command).filter(|command| command.code == 34);
    commands.map(|command| json::read(&command.body).unwrap()).collect()
}

fn sends(client: &str) -> Vec<SendMessage> {
    let commands = recorded(client).into_iter().map(|(_, command)| command);
    commands
        .filter(|command| [10, 310].contains(&command.code))
        .map(|command| SendMessage::read(&command).unwrap())
        .collect()
}

#[test]
fn every_frame_and_header_is_read() {
    for client in ["python", "node"] {
        let frames = recorded(client);
        assert!(frames.len() > 10, "{client}: only {} frames", frames.len());
        for (recorded, command) in frames {
            assert_eq!(command.code, recorded.code);
            header_is_read(&command).unwrap_or_else(|malformed| panic!("{client}: {malformed}: {}", recorded.header));
            for (key, value) in
                serde_json::from_str::<serde_json::Value>(&recorded.header).unwrap()["extFields"].as_object().unwrap()
            {
                let expected = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                assert_eq!(command.ext.get(key), Some(expected.as_str()), "{client}: {key} of {}", recorded.header);
            }
        }
    }
}

#[test]
fn the_cpp_core_ends_its_headers_with_a_newline_and_names_no_encoding() {
    for (recorded, command) in recorded("python") {
        assert!(recorded.header.ends_with('\n') && !recorded.header.contains("serializeTypeCurrentRPC"));
        assert_eq!(command.language, Language::CPP);
    }
}

#[test]
fn the_cpp_core_sends_a_batch_as_a_single_message_with_batch_1() {
    let sends = sends("python");
    let batch = sends.iter().find(|send| send.topic.ends_with("-batch")).unwrap();
    assert!(batch.batch);
    assert!(sends.iter().filter(|send| !send.topic.ends_with("-batch")).all(|send| !send.batch));
}

#[test]
fn the_cpp_core_writes_enums_of_its_heartbeat_as_numbers_and_leaves_fields_out() {
    let heartbeats = heartbeats("python");
    let consumer = heartbeats.iter().flat_map(|data| &data.consumer_data_set).next().unwrap();
    assert_eq!((consumer.consume_type, consumer.message_model), (ConsumeType::Passively, MessageModel::Clustering));
    let topics: Vec<_> =
        consumer.subscription_data_set.iter().map(|subscription| subscription.topic.as_str()).collect();
    assert_eq!(topics.len(), 2, "{topics:?}");
    assert!(consumer.subscription_data_set.iter().all(|subscription| subscription.sub_version > 1_500_000_000_000));
}

#[test]
fn the_cpp_core_locks_its_queues() {
    let locks = recorded("python").into_iter().filter(|(recorded, _)| [41, 42].contains(&recorded.code));
    let queues: Vec<usize> =
        locks.map(|(_, command)| json::read::<LockBatchBody>(&command.body).unwrap().mq_set.len()).collect();
    assert_eq!(queues.len(), 2);
    assert!(queues.iter().all(|&queues| queues > 0), "{queues:?}");
}

#[test]
fn node_writes_numbers_and_booleans_and_leaves_out_two_fields_of_a_send() {
    let sends = sends("node");
    assert!(!sends.is_empty());
    for send in sends {
        assert!(send.born_timestamp > 1_500_000_000_000 && send.max_reconsume_times.is_none() && !send.batch);
        assert_eq!(send.unit_mode, Some(false));
    }
    let heartbeats = heartbeats("node");
    let consumers: Vec<_> = heartbeats.iter().flat_map(|data| &data.consumer_data_set).collect();
    assert!(consumers.iter().all(|consumer| consumer.consume_type == ConsumeType::Passively));
    assert!(!consumers.is_empty());
}

#[test]
fn node_commits_minus_one_for_a_queue_that_it_got_nothing_from() {
    let commands = recorded("node").into_iter().map(|(_, command)| command).filter(|command| command.code == 15);
    let commits: Vec<i64> =
        commands.map(|command| UpdateConsumerOffset::read(&command).unwrap().commit_offset).collect();
    assert!(commits.contains(&-1), "{commits:?}");
}
