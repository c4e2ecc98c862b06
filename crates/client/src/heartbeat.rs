//! What a member of a group tells every broker of its topics, every 30 s.

use protocol::message::java_hash;
use serde::Serialize;

/// The body of HEART_BEAT.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HeartbeatBody<'a> {
    #[serde(rename = "clientID")]
    pub(crate) client_id: &'a str,
    pub(crate) producer_data_set: [(); 0],
    pub(crate) consumer_data_set: [ConsumerData<'a>; 1],
    pub(crate) heartbeat_fingerprint: i32,
    pub(crate) without_sub: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ConsumerData<'a> {
    pub(crate) group_name: &'a str,
    pub(crate) consume_type: &'static str,
    pub(crate) message_model: &'static str,
    pub(crate) consume_from_where: &'static str,
    pub(crate) unit_mode: bool,
    pub(crate) subscription_data_set: &'a [Subscription],
}

/// Which messages of a topic someone wants.
#[doc(alias = "SubscriptionData")]
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Subscription {
    pub(crate) topic: String,
    pub(crate) sub_string: String,
    /// Empty: all.
    pub(crate) tags_set: Vec<String>,
    code_set: Vec<i32>,
    pub(crate) sub_version: i64,
    pub(crate) expression_type: &'static str,
    class_filter_mode: bool,
}

impl Subscription {
    /// `expression` is `*`, or tags with `||` between them.
    pub(crate) fn tags(topic: &str, expression: &str, version: i64) -> Subscription {
        let tags: Vec<&str> = expression.split("||").map(str::trim).filter(|tag| !tag.is_empty()).collect();
        let all = tags.is_empty() || tags == ["*"];
        let tags = if all { Vec::new() } else { tags };
        Subscription {
            topic: topic.to_owned(),
            sub_string: if all { "*".to_owned() } else { tags.join("||") },
            code_set: tags.iter().map(|tag| java_hash(tag)).collect(),
            tags_set: tags.into_iter().map(str::to_owned).collect(),
            sub_version: version,
            expression_type: "TAG",
            class_filter_mode: false,
        }
    }

    /// Brokers choose by the hash of the tag; two tags may have the same.
    pub(crate) fn wants(&self, tag: Option<&str>) -> bool {
        self.tags_set.is_empty() || tag.is_some_and(|tag| self.tags_set.iter().any(|wanted| wanted == tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_is_written_as_brokers_read_it() {
        let subscriptions = [Subscription::tags("T", " A || B", 7)];
        let body = HeartbeatBody {
            client_id: "10.0.0.1@1#2",
            producer_data_set: [],
            consumer_data_set: [ConsumerData {
                group_name: "G",
                consume_type: "CONSUME_PASSIVELY",
                message_model: "CLUSTERING",
                consume_from_where: "CONSUME_FROM_LAST_OFFSET",
                unit_mode: false,
                subscription_data_set: &subscriptions,
            }],
            heartbeat_fingerprint: 0,
            without_sub: false,
        };
        let expected = concat!(
            r#"{"clientID":"10.0.0.1@1#2","producerDataSet":[],"consumerDataSet":[{"groupName":"G","#,
            r#""consumeType":"CONSUME_PASSIVELY","messageModel":"CLUSTERING","#,
            r#""consumeFromWhere":"CONSUME_FROM_LAST_OFFSET","unitMode":false,"subscriptionDataSet":[{"topic":"T","#,
            r#""subString":"A||B","tagsSet":["A","B"],"codeSet":[65,66],"subVersion":7,"expressionType":"TAG","#,
            r#""classFilterMode":false}]}],"heartbeatFingerprint":0,"withoutSub":false}"#
        );
        assert_eq!(String::from_utf8(protocol::json::write(&body)).unwrap(), expected);
    }

    #[test]
    fn tags_are_compared_as_text() {
        let all = Subscription::tags("T", "*", 0);
        assert!(all.wants(None) && all.wants(Some("x")) && all.sub_string == "*");
        let some = Subscription::tags("T", "Aa || x", 0);
        // "BB" has the hash of "Aa".
        assert!(some.wants(Some("Aa")) && !some.wants(Some("BB")) && !some.wants(None));
    }
}
