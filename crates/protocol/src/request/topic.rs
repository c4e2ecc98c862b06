//! Topics of a broker.

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
}

requests! {
    CreateTopic: UPDATE_AND_CREATE_TOPIC => Empty;
}
