//! Filter programs: WebAssembly that says which messages of a topic a group gets. Apache's brokers have no such requests;
//! RocketMQ 3 had a process of its own for Java classes.

use super::{Empty, headers, requests};
use serde::{Deserialize, Serialize};

headers! {
    /// PUT_FILTER_PROGRAM (90020). Its body is the module; the body of its answer is a [`FilterProgram`].
    pub struct PutFilterProgram {
        /// The group that gets what the program keeps.
        consumer_group: String = "consumerGroup",
        /// The topic whose messages it judges.
        topic: String = "topic",
    }

    /// REMOVE_FILTER_PROGRAM (90021).
    pub struct RemoveFilterProgram {
        /// The group.
        consumer_group: String = "consumerGroup",
        /// The topic.
        topic: String = "topic",
    }

    /// LIST_FILTER_PROGRAMS (90022). The body of its answer is a [`FilterProgramList`].
    pub struct ListFilterPrograms {
        /// Only those of this group; absent: all.
        consumer_group: Option<String> = "consumerGroup",
        /// Only those for this topic; absent: all.
        topic: Option<String> = "topic",
    }

    /// REGISTER_FILTER_SERVER (301), of RocketMQ 3's and 4's filtersrv.
    #[doc(alias = "RegisterFilterServerRequestHeader")]
    pub struct RegisterFilterServer {}

    /// REGISTER_MESSAGE_FILTER_CLASS (302), of clients up to 4.4 that have a filtersrv.
    #[doc(alias = "RegisterMessageFilterClassRequestHeader")]
    pub struct RegisterFilterClass {
        /// The group.
        consumer_group: Option<String> = "consumerGroup",
        /// The topic.
        topic: Option<String> = "topic",
        /// The class.
        class_name: Option<String> = "className",
    }
}

requests! {
    PutFilterProgram: PUT_FILTER_PROGRAM => Empty;
    RemoveFilterProgram: REMOVE_FILTER_PROGRAM => Empty;
    ListFilterPrograms: LIST_FILTER_PROGRAMS => Empty;
    RegisterFilterServer: REGISTER_FILTER_SERVER => Empty;
    RegisterFilterClass: REGISTER_MESSAGE_FILTER_CLASS => Empty;
}

/// A filter program, and what it has done since it was put or the broker started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FilterProgram {
    /// The group that gets what it keeps.
    pub group: String,
    /// The topic whose messages it judges.
    pub topic: String,
    /// Size of the module.
    pub bytes: i64,
    /// CRC-32 (IEEE) of the module, hexadecimal.
    pub crc32: String,
    /// When it was put, milliseconds since 1970.
    pub put_at: i64,
    /// Why it can't be used, if so; all messages are kept then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unusable: Option<String>,
    /// Messages that it kept.
    pub kept: i64,
    /// Messages that it dropped.
    pub dropped: i64,
    /// Messages that it failed to judge; they were kept.
    pub failed: i64,
    /// The last one of these, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<String>,
    /// When that was, milliseconds since 1970; 0: never.
    pub last_failure_at: i64,
}

/// Filter programs by group and topic.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FilterProgramList {
    /// The programs.
    pub programs: Vec<FilterProgram>,
}
