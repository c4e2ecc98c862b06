//! `cometmq sub`: shows messages as they come.

use crate::connect::ConnectArgs;
use crate::environment::Environment;
use crate::text;
use client::{Client, ConsumerBuilder, MessageModel, ReceivedMessage, StartFrom};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::fmt::Write as _;
use std::io::Write;
use std::process::ExitCode;

/// Tools on Apache's brokers receive in the name of this group, which is there from the start.
const WATCHERS: &str = "TOOLS_CONSUMER";

/// Show messages, from CometMQ or from Apache RocketMQ, until Ctrl-C.
///
/// Without --group it watches: it shows every message, whoever else watches or consumes, and leaves no trace at the
/// broker. With --group it is a member of that consumer group: members share the messages, and the broker remembers
/// how far the group has come.
#[derive(Debug, clap::Args)]
pub struct SubscribeArgs {
    /// Where they come from; a topic that is not there yet is waited for.
    topic: String,
    /// Name servers, separated by `;`; without it NAMESRV_ADDR of the environment, else 127.0.0.1:9876.
    #[arg(short, long)]
    namesrv: Option<String>,
    /// Receive as a member of this consumer group.
    #[arg(short, long)]
    group: Option<String>,
    /// Only messages with one of these tags: `paid || refunded`.
    #[arg(short, long, default_value = "*")]
    tag: String,
    /// Begin with the first message that is stored, or with what is sent from now on. A group that was here before
    /// goes on where it stands.
    #[arg(short, long, value_enum, default_value_t = From::Last)]
    from: From,
    /// End after so many messages.
    #[arg(short, long, value_name = "N")]
    count: Option<u64>,
    #[command(flatten)]
    pub connect: ConnectArgs,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum From {
    First,
    Last,
}

/// Prints a line for each message: when it was stored, its tag, its keys, its body.
pub async fn run(args: SubscribeArgs, environment: &Environment) -> ExitCode {
    let client = match Client::connect_by(environment.remoting(), &environment.namesrv(&args.namesrv)).await {
        Ok(client) => client,
        Err(error) => return failed(&error, environment),
    };
    let mut consumer = match subscription(&client, &args).start().await {
        Ok(consumer) => consumer,
        Err(error) => return failed(&error, environment),
    };
    let mut left = args.count.unwrap_or(u64::MAX);
    let time_zone = TimeZone::system();
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    while left > 0 {
        let delivery = tokio::select! {
            biased;
            _ = &mut interrupted => break,
            delivery = consumer.next() => delivery,
        };
        let Some(delivery) = delivery else { break };
        if writeln!(std::io::stdout(), "{}", line(&delivery, &time_zone)).is_err() {
            // Whoever read it has gone, and did not see this one.
            break;
        }
        delivery.ack();
        left -= 1;
    }
    consumer.shutdown().await;
    ExitCode::SUCCESS
}

fn subscription(client: &Client, args: &SubscribeArgs) -> ConsumerBuilder {
    let from = match args.from {
        From::First => StartFrom::First,
        From::Last => StartFrom::Last,
    };
    let (group, model) = match &args.group {
        Some(group) => (group.as_str(), MessageModel::Clustering),
        None => (WATCHERS, MessageModel::Broadcasting),
    };
    client.consumer(group).subscribe(&args.topic, &args.tag).start_from(from).message_model(model)
}

fn failed(error: &client::Error, environment: &Environment) -> ExitCode {
    eprintln!("cometmq: {}", text::client_error(error, environment.language));
    ExitCode::FAILURE
}

fn line(message: &ReceivedMessage, time_zone: &TimeZone) -> String {
    let stored = Timestamp::from_millisecond(message.store_timestamp).unwrap_or_default();
    let stored = stored.to_zoned(time_zone.clone()).strftime("%Y-%m-%d %H:%M:%S%.3f");
    let keys = message.keys().collect::<Vec<_>>().join(" ");
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { printable(text.as_bytes()) };
    let (tag, keys) = (or_dash(message.tag().unwrap_or_default()), or_dash(&keys));
    format!("{stored}  {tag}  {keys}  {}", printable(&message.body))
}

/// Text as it is, but with its control characters escaped: what arrives shall not steer the terminal. What is no
/// UTF-8, in hexadecimal digits.
pub fn printable(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            for c in text.chars() {
                if c.is_control() && c != '\t' { out.extend(c.escape_default()) } else { out.push(c) }
            }
        }
        Err(_) => {
            out.push_str("0x");
            for byte in bytes {
                // Writing to a String can't fail.
                let _ = write!(out, "{byte:02x}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_cannot_steer_the_terminal() {
        assert_eq!(printable("订单\t1".as_bytes()), "订单\t1");
        assert_eq!(printable(b"a\x1b[2J\nb"), "a\\u{1b}[2J\\nb");
        assert_eq!(printable(&[0xff, 0x00]), "0xff00");
    }
}
