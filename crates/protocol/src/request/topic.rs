//! Topics of a broker, and what administrators delete.

use super::{Empty, headers, requests};

headers! {
    /// UPDATE_AND_CREATE_TOPIC (17).
    #[doc(alias = "CreateTopicRequestHeader")]
    pub struct CreateTopic {
        /// Its name.
        topic: String = "topic",
        /// The topic it takes after; for people only.
        default_topic: Option<String> = "defaultTopic",
        /// Queues to read from.
        read_queue_nums: i32 = "readQueueNums",
        /// Queues to write to.
        write_queue_nums: i32 = "writeQueueNums",
        /// Bits: 4 read, 2 write, 1 inherit.
        perm: i32 = "perm",
        /// `SINGLE_TAG` or `MULTI_TAG`.
        topic_filter_type: Option<String> = "topicFilterType",
        /// Bits of unit mode.
        topic_sys_flag: Option<i32> = "topicSysFlag",
        /// Ordered topic.
        order: Option<bool> = "order",
        /// `+name=value,-name`.
        attributes: Option<String> = "attributes",
    }

    /// GET_TOPIC_CONFIG (351); the answer's body is a `topic::TopicConfig`.
    #[doc(alias = "GetTopicConfigRequestHeader")]
    pub struct GetTopicConfig {
        /// Its name.
        topic: String = "topic",
    }

    /// GET_SUBSCRIPTIONGROUP_CONFIG (352); the answer's body is a `subscription::SubscriptionGroupConfig`.
    #[doc(alias = "GetSubscriptionGroupConfigRequestHeader")]
    pub struct GetGroupConfig {
        /// Its name.
        group: String = "group",
    }

    /// DELETE_TOPIC_IN_BROKER (215).
    #[doc(alias = "DeleteTopicRequestHeader")]
    pub struct DeleteTopic {
        /// Its name.
        topic: String = "topic",
    }

    /// DELETE_TOPIC_IN_NAMESRV (216).
    #[doc(alias = "DeleteTopicFromNamesrvRequestHeader")]
    pub struct ForgetTopic {
        /// Its name.
        topic: String = "topic",
        /// Only its queues on brokers of this cluster; empty or absent: all.
        cluster_name: Option<String> = "clusterName",
    }

    /// DELETE_SUBSCRIPTIONGROUP (207).
    #[doc(alias = "DeleteSubscriptionGroupRequestHeader")]
    pub struct DeleteGroup {
        /// Its name.
        group_name: String = "groupName",
        /// Its offsets go, too.
        clean_offset: Option<bool> = "cleanOffset",
    }
}

requests! {
    CreateTopic: UPDATE_AND_CREATE_TOPIC => Empty;
    GetTopicConfig: GET_TOPIC_CONFIG => Empty;
    GetGroupConfig: GET_SUBSCRIPTIONGROUP_CONFIG => Empty;
    DeleteTopic: DELETE_TOPIC_IN_BROKER => Empty;
    ForgetTopic: DELETE_TOPIC_IN_NAMESRV => Empty;
    DeleteGroup: DELETE_SUBSCRIPTIONGROUP => Empty;
}
