//! `cometmq pub`: sends what stands on the command line.

use crate::connect::ConnectArgs;
use crate::environment::Environment;
use crate::text;
use client::{Client, Message, SendStatus};
use std::io::Write;
use std::process::ExitCode;

/// Send messages, to CometMQ or to Apache RocketMQ.
#[derive(Debug, clap::Args)]
pub struct PublishArgs {
    /// Where they go; brokers that may do so create a topic that is not there.
    topic: String,
    /// What they say: one message for each.
    #[arg(required = true)]
    body: Vec<String>,
    /// Name servers, separated by `;`; without it NAMESRV_ADDR of the environment, else 127.0.0.1:9876.
    #[arg(short, long)]
    namesrv: Option<String>,
    /// The tag that consumers choose by.
    #[arg(short, long)]
    tag: Option<String>,
    /// A key by which the message can be found; may be given several times.
    #[arg(short, long)]
    key: Vec<String>,
    /// Any other property, `name=value`; may be given several times.
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = property)]
    property: Vec<(String, String)>,
    /// Send each message so many times.
    #[arg(short, long, default_value_t = 1, value_name = "N")]
    count: u64,
    /// The producer group to send as.
    #[arg(short, long, default_value = "DEFAULT_PRODUCER")]
    group: String,
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// A property as command lines have it, `name=value`.
pub fn property(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is not NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Prints a line for each message: its id, its queue, its offset there. Fails when one was not stored.
pub async fn run(args: PublishArgs, environment: &Environment) -> ExitCode {
    let producer = match Client::connect_by(environment.remoting(), &environment.namesrv(&args.namesrv)).await {
        Ok(client) => client.producer(&args.topic).group(args.group.as_str()),
        Err(error) => {
            eprintln!("cometmq: {}", text::client_error(&error, environment.language));
            return ExitCode::FAILURE;
        }
    };
    let mut failed = false;
    for body in &args.body {
        for _ in 0..args.count {
            let mut message = Message::from(body.as_str());
            message = args.key.iter().fold(message, |message, key| message.key(key));
            message = args.property.iter().fold(message, |message, (name, value)| message.property(name, value));
            if let Some(tag) = &args.tag {
                message = message.tag(tag);
            }
            match producer.send(message).await {
                Ok(sent) => {
                    let how = match sent.status {
                        SendStatus::Ok => String::new(),
                        weaker => format!("  {weaker:?}"),
                    };
                    let line = format!("{}  {}  {}{how}", sent.message_id, sent.queue, sent.queue_offset);
                    if writeln!(std::io::stdout(), "{line}").is_err() {
                        // Whoever read it has gone; the messages are to be sent all the same.
                        continue;
                    }
                }
                Err(error) => {
                    failed = true;
                    eprintln!("cometmq: {}", text::client_error(&error, environment.language));
                    if !error.is_retryable() {
                        return ExitCode::FAILURE;
                    }
                }
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_is_cut_at_its_first_equals_sign() {
        assert_eq!(property("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(property("a").is_err());
    }
}
