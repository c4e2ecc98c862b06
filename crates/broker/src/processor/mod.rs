//! Everything that this broker answers: one file per family of requests, one function per request.

mod admin;
mod ask_consumer;
mod client;
mod deletion;
mod duplicate;
mod end_transaction;
mod filter_program;
mod group;
mod group_config;
mod life;
mod lock;
mod offset;
mod order;
mod park;
mod pull_message;
mod query;
mod reply;
mod reset;
mod send_back;
pub(crate) mod send_message;
mod share;
mod stats;
mod timer;
mod topic;

use crate::Broker;
use protocol::code::{request, response};
use remoting::{Reject, Router};
use std::fmt::Display;
use std::sync::Arc;
use store::PutError;

/// The table.
pub(crate) fn router(broker: Arc<Broker>) -> Router<Broker> {
    access::audit::audited(access::answers::answers(Router::new(broker)))
        .on(send_message::send_message)
        .on(reply::send_reply)
        .on(send_back::send_back)
        .on(end_transaction::end_transaction)
        .on(end_transaction::resume_check)
        .on(end_transaction::list)
        .on(end_transaction::resolve)
        .on(timer::recall)
        .on(timer::list)
        .on(timer::cancel)
        .on(timer::fire)
        .on(pull_message::pull_message)
        .on(offset::query_consumer_offset)
        .on(offset::update_consumer_offset)
        .on(offset::search_offset)
        .on(offset::max_offset)
        .on(offset::min_offset)
        .on(offset::earliest_store_time)
        .on(query::query_message)
        .on(query::view_message)
        .on(life::message_life)
        .on(life::duplicates)
        .on(client::heartbeat)
        .on(client::unregister)
        .on(client::consumer_list)
        .on(client::check_config)
        .on(group::consumers)
        .on(group::producers)
        .on(group::progress)
        .on(group::who_consumes)
        .on(group::time_spans)
        .on(group::correction_offsets)
        .on(group::topics_of_group)
        .on(group::subscription)
        .on(group::conflicts)
        .on(group::topic_config)
        .on(group::group_config)
        .on(reset::reset)
        .on(reset::clone_offsets)
        .on(ask_consumer::status)
        .on(ask_consumer::running_info)
        .on(ask_consumer::consume_directly)
        .on(lock::lock)
        .on(lock::unlock)
        .on(topic::create)
        .on(topic::create_list)
        .on(topic::all)
        .on(topic::get)
        .on(topic::system_topics)
        .on(group_config::update)
        .on(group_config::update_list)
        .on(group_config::all)
        .on(group_config::get)
        .on(group_config::forbid)
        .on(group_config::set_request_mode)
        .on(group_config::request_modes)
        .on(stats::topic_stats)
        .on(stats::view)
        .on(stats::consume_stats)
        .on(stats::consume_queue)
        .on(admin::runtime_info)
        .on(admin::get_config)
        .on(admin::update_config)
        .on(admin::delete_expired_log)
        .on(admin::clean_expired_queues)
        .on(admin::clean_unused_topics)
        .on(admin::all_producers)
        .on(admin::ha_status)
        .on(admin::all_consumer_offsets)
        .on(admin::all_delay_offsets)
        .on(deletion::delete_topic)
        .on(deletion::delete_group)
        .on(order::list)
        .on(order::remove)
        .on(park::park)
        .on(park::list)
        .on(park::release)
        .on(filter_program::put)
        .on(filter_program::remove)
        .on(filter_program::list)
        .on(filter_program::filter_server)
        .on(filter_program::filter_class)
        .before_replies(Broker::write_out)
        .on_unreadable(|broker, file, at, error| broker.store.could_not_send(file, at, error))
        .on_close(client::disconnected)
}

/// What the VIP port leaves to the main port.
pub(crate) const NOT_ON_VIP: [i32; 2] = [request::PULL_MESSAGE, request::LITE_PULL_MESSAGE];

/// What clients ask for to send and to consume; all else is for operators. Where operators have a port of their own, the others
/// answer these only: a code that is new is an operator's until it stands here.
pub(crate) const FOR_CLIENTS: [i32; 30] = [
    request::SEND_MESSAGE,
    request::SEND_MESSAGE_V2,
    request::SEND_BATCH_MESSAGE,
    request::SEND_REPLY_MESSAGE,
    request::SEND_REPLY_MESSAGE_V2,
    request::CONSUMER_SEND_MSG_BACK,
    request::END_TRANSACTION,
    request::RECALL_MESSAGE,
    request::PULL_MESSAGE,
    request::LITE_PULL_MESSAGE,
    request::POP_MESSAGE,
    request::ACK_MESSAGE,
    request::BATCH_ACK_MESSAGE,
    request::CHANGE_MESSAGE_INVISIBLETIME,
    request::NOTIFICATION,
    request::POLLING_INFO,
    request::PEEK_MESSAGE,
    request::QUERY_ASSIGNMENT,
    request::QUERY_CONSUMER_OFFSET,
    request::UPDATE_CONSUMER_OFFSET,
    request::SEARCH_OFFSET_BY_TIMESTAMP,
    request::GET_MAX_OFFSET,
    request::GET_MIN_OFFSET,
    request::HEART_BEAT,
    request::UNREGISTER_CLIENT,
    request::CHECK_CLIENT_CONFIG,
    request::GET_CONSUMER_LIST_BY_GROUP,
    request::LOCK_BATCH_MQ,
    request::UNLOCK_BATCH_MQ,
    request::GET_EARLIEST_MSG_STORETIME,
];

/// What no rate holds up: a client over its limit stays a member of its groups, keeps its queues, and notes how far it has come;
/// and an operator can raise the limit.
pub(crate) const VITAL: [i32; 8] = [
    request::UPDATE_BROKER_CONFIG,
    request::HEART_BEAT,
    request::UNREGISTER_CLIENT,
    request::CHECK_CLIENT_CONFIG,
    request::GET_CONSUMER_LIST_BY_GROUP,
    request::LOCK_BATCH_MQ,
    request::UNLOCK_BATCH_MQ,
    request::UPDATE_CONSUMER_OFFSET,
];

/// A message that the store did not take.
fn not_stored(error: PutError) -> Reject {
    let code = match error {
        PutError::NotWriteable { .. } | PutError::Closed => response::SERVICE_NOT_AVAILABLE,
        PutError::TopicDeleted { .. } => response::TOPIC_NOT_EXIST,
        PutError::Busy { .. } => response::SYSTEM_BUSY,
        _ => response::MESSAGE_ILLEGAL,
    };
    Reject::new(code, error.to_string())
}

fn no_such_topic(topic: &str) -> Reject {
    let remark = format!(
        "topic[{}] not exist, apply first please! This broker does not have it: create it, or send a message to it \
         where autoCreateTopicEnable=true",
        short(topic)
    );
    Reject::new(response::TOPIC_NOT_EXIST, remark)
}

fn no_such_group(group: &str, why: impl Display) -> Reject {
    let remark = format!("subscription group [{}] does not exist, and {why}", short(group));
    Reject::new(response::SUBSCRIPTION_GROUP_NOT_EXIST, remark)
}

/// How many entries of a table to pass over, and how many to answer with: those who know of no pages get all.
fn page(known: Option<i32>, max: Option<i32>) -> (usize, usize) {
    let number = |wanted: Option<i32>| wanted.and_then(|wanted| usize::try_from(wanted).ok());
    match number(known) {
        Some(known) => (known, number(max).filter(|max| *max > 0).unwrap_or(usize::MAX)),
        None => (0, usize::MAX),
    }
}

/// A name that someone sent, for a sentence: not longer than a legal one.
pub(crate) fn short(name: &str) -> &str {
    match name.char_indices().nth(256) {
        Some((end, _)) => &name[..end],
        None => name,
    }
}
