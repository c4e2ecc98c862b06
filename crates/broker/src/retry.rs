//! Where a message goes whose consumption failed: again later, or to its group's dead letters.

use protocol::message::{edit_properties, property};
use protocol::subscription::SubscriptionGroupConfig;

/// Clients of this version (`V3_4_9` in Java's `MQVersion`) and later say how many attempts they want.
const KNOWS_MAX_RECONSUME_TIMES: i32 = 121;

/// The first failure waits for this delay level, each further one for the next.
const FIRST_LEVEL: i32 = 3;

/// Queues of a dead letter topic.
pub const DEAD_LETTER_QUEUES: i32 = 1;

/// Where a message goes that was sent back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// Nowhere: the group has no retry topic.
    Nowhere,
    /// To the group's dead letters.
    DeadLetters,
    /// To the group's retry topic.
    Again {
        /// After this delay level.
        delay_level: i32,
    },
}

/// After how many failures a message is dead: what the client says, if it knows to; else what the group is set to.
pub fn attempts_max(group: &SubscriptionGroupConfig, version: i32, said: Option<i32>) -> i32 {
    said.filter(|_| version >= KNOWS_MAX_RECONSUME_TIMES).unwrap_or(group.retry_max_times)
}

/// Where a message goes that a consumer sends back after `failures` earlier ones. `asked` is the delay level that it
/// would like: 0 leaves it to us, less is "no more".
#[doc(alias = "consumerSendMsgBack")]
pub fn destination(group: &SubscriptionGroupConfig, failures: i32, attempts_max: i32, asked: i32) -> Destination {
    if group.retry_queue_nums <= 0 {
        Destination::Nowhere
    } else if failures >= attempts_max || asked < 0 {
        Destination::DeadLetters
    } else {
        let delay_level = if asked == 0 { FIRST_LEVEL.saturating_add(failures) } else { asked };
        Destination::Again { delay_level }
    }
}

/// The properties of a message that was sent back: it remembers its first topic and its first id.
pub fn properties(before: &[u8], topic: &str, message_id: &str, delay_level: i32) -> Vec<u8> {
    let known = protocol::message::Properties(before);
    let delay_level = delay_level.to_string();
    edit_properties(
        before,
        &[
            (property::RETRY_TOPIC, Some(known.get(property::RETRY_TOPIC).unwrap_or(topic))),
            (property::ORIGIN_MESSAGE_ID, Some(known.get(property::ORIGIN_MESSAGE_ID).unwrap_or(message_id))),
            (property::WAIT, Some("false")),
            (property::DELAY, Some(&delay_level)),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_waits_longer_until_the_message_is_dead() {
        let group = SubscriptionGroupConfig::new("g");
        assert_eq!(destination(&group, 0, 16, 0), Destination::Again { delay_level: 3 });
        assert_eq!(destination(&group, 5, 16, 0), Destination::Again { delay_level: 8 });
        assert_eq!(destination(&group, 5, 16, 2), Destination::Again { delay_level: 2 });
        assert_eq!(destination(&group, 15, 16, 0), Destination::Again { delay_level: 18 });
        assert_eq!(destination(&group, 16, 16, 0), Destination::DeadLetters);
        assert_eq!(destination(&group, 0, 16, -1), Destination::DeadLetters);
        assert_eq!(destination(&group, 0, 0, 0), Destination::DeadLetters);
        let no_retry = SubscriptionGroupConfig { retry_queue_nums: 0, ..group };
        assert_eq!(destination(&no_retry, 0, 16, -1), Destination::Nowhere);
    }

    #[test]
    fn the_client_says_how_often_if_it_knows_to() {
        let group = SubscriptionGroupConfig::new("g");
        assert_eq!(attempts_max(&group, 400, Some(2)), 2);
        assert_eq!(attempts_max(&group, 120, Some(2)), 16);
        assert_eq!(attempts_max(&group, 400, None), 16);
    }

    #[test]
    fn a_message_remembers_where_it_came_from() {
        let first = properties(b"TAGS\x01A\x02DELAY\x011\x02", "T", "ID1", 3);
        let text = String::from_utf8(first.clone()).unwrap();
        assert_eq!(
            text.replace('\u{1}', "=").replace('\u{2}', ";"),
            "TAGS=A;DELAY=3;RETRY_TOPIC=T;ORIGIN_MESSAGE_ID=ID1;WAIT=false;"
        );
        let second = properties(&first, "%RETRY%g", "ID2", 4);
        let text = String::from_utf8(second).unwrap().replace('\u{1}', "=").replace('\u{2}', ";");
        assert_eq!(text, "TAGS=A;DELAY=4;RETRY_TOPIC=T;ORIGIN_MESSAGE_ID=ID1;WAIT=false;");
    }
}
