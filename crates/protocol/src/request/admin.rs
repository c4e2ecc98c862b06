//! What operators ask of a broker and a name server.

use super::{Empty, headers, requests};

headers! {
    /// GET_BROKER_RUNTIME_INFO (28); the answer's body is [`route::KvTable`](crate::route::KvTable).
    pub struct GetRuntimeInfo {}

    /// GET_BROKER_CONFIG (26); the answer's body is `.properties` text.
    pub struct GetBrokerConfig {}

    /// Goes in front of the settings.
    #[doc(alias = "GetBrokerConfigResponseHeader")]
    pub struct GetBrokerConfigReply {
        /// How often they were changed: a `DataVersion` as JSON.
        version: String = "version",
    }

    /// UPDATE_BROKER_CONFIG (25); the body is `.properties` text.
    pub struct UpdateBrokerConfig {}

    /// UPDATE_AND_CREATE_TOPIC_LIST (18); the body is [`admin::TopicConfigs`](crate::admin::TopicConfigs).
    pub struct CreateTopicList {}

    /// GET_ALL_TOPIC_CONFIG (21); the answer's body is [`admin::AllTopics`](crate::admin::AllTopics).
    #[doc(alias = "GetAllTopicConfigRequestHeader")]
    pub struct GetAllTopicConfig {
        /// So many are known already, in order of their names. Absent: all are wanted.
        topic_seq: Option<i32> = "topicSeq",
        /// At most so many.
        max_topic_num: Option<i32> = "maxTopicNum",
    }

    /// Goes in front of the topics.
    #[doc(alias = "GetAllTopicConfigResponseHeader")]
    pub struct GetAllTopicConfigReply {
        /// How many there are; brokers of 4.x do not say.
        total_topic_num: Option<i32> = "totalTopicNum",
    }

    /// GET_TOPIC_CONFIG (351); the answer's body is a `TopicConfig`.
    #[doc(alias = "GetTopicConfigRequestHeader")]
    pub struct GetTopicConfig {
        /// Its name.
        topic: String = "topic",
    }

    /// UPDATE_AND_CREATE_SUBSCRIPTIONGROUP (200); the body is a `SubscriptionGroupConfig`.
    pub struct UpdateGroup {}

    /// UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST (225); the body is [`admin::GroupConfigs`](crate::admin::GroupConfigs).
    pub struct UpdateGroupList {}

    /// GET_ALL_SUBSCRIPTIONGROUP_CONFIG (201); the answer's body is [`admin::AllGroups`](crate::admin::AllGroups).
    #[doc(alias = "GetAllSubscriptionGroupRequestHeader")]
    pub struct GetAllGroups {
        /// So many are known already, in order of their names. Absent: all are wanted.
        group_seq: Option<i32> = "groupSeq",
        /// At most so many.
        max_group_num: Option<i32> = "maxGroupNum",
    }

    /// Goes in front of the groups.
    #[doc(alias = "GetAllSubscriptionGroupResponseHeader")]
    pub struct GetAllGroupsReply {
        /// How many there are; brokers of 4.x do not say.
        total_group_num: Option<i32> = "totalGroupNum",
    }

    /// GET_SUBSCRIPTIONGROUP_CONFIG (352); the answer's body is a `SubscriptionGroupConfig`.
    #[doc(alias = "GetSubscriptionGroupConfigRequestHeader")]
    pub struct GetGroup {
        /// Its name.
        group: String = "group",
    }

    /// UPDATE_AND_GET_GROUP_FORBIDDEN (353); the answer's body is [`admin::GroupForbidden`](crate::admin::GroupForbidden).
    #[doc(alias = "UpdateGroupForbiddenRequestHeader")]
    pub struct ForbidGroup {
        /// The group.
        group: String = "group",
        /// What it reads.
        topic: String = "topic",
        /// May it read it? Absent: it is only asked.
        readable: Option<bool> = "readable",
    }

    /// GET_TOPIC_STATS_INFO (202); the answer's body is [`admin::TopicStats`](crate::admin::TopicStats).
    #[doc(alias = "GetTopicStatsInfoRequestHeader")]
    pub struct GetTopicStats {
        /// The topic.
        topic: String = "topic",
    }

    /// GET_SYSTEM_TOPIC_LIST_FROM_BROKER (305); the answer's body is a `TopicList`.
    pub struct GetSystemTopics {}

    /// VIEW_BROKER_STATS_DATA (315); the answer's body is [`admin::StatsData`](crate::admin::StatsData).
    #[doc(alias = "ViewBrokerStatsDataRequestHeader")]
    pub struct ViewStats {
        /// What is counted, `TOPIC_PUT_NUMS` for one.
        stats_name: String = "statsName",
        /// Of what: a topic, `topic@group`, the cluster.
        stats_key: String = "statsKey",
    }

    /// GET_BROKER_CONSUME_STATS (317); the answer's body is [`admin::ConsumeStatsList`](crate::admin::ConsumeStatsList).
    #[doc(alias = "GetConsumeStatsInBrokerHeader")]
    pub struct GetConsumeStatsInBroker {
        /// Of ordered topics only.
        is_order: Option<bool> = "isOrder",
    }

    /// QUERY_CONSUME_QUEUE (321); the answer's body is [`admin::ConsumeQueueEntries`](crate::admin::ConsumeQueueEntries).
    #[doc(alias = "QueryConsumeQueueRequestHeader")]
    pub struct QueryConsumeQueue {
        /// The topic.
        topic: String = "topic",
        /// The queue.
        queue_id: i32 = "queueId",
        /// From this queue offset on.
        index: i64 = "index",
        /// At most so many entries.
        count: i32 = "count",
        /// Whose subscription is of interest, too.
        consumer_group: Option<String> = "consumerGroup",
    }

    /// CLEAN_EXPIRED_CONSUMEQUEUE (306).
    pub struct CleanExpiredQueues {}

    /// DELETE_EXPIRED_COMMITLOG (329).
    pub struct DeleteExpiredLog {}

    /// CLEAN_UNUSED_TOPIC (316).
    pub struct CleanUnusedTopics {}

    /// GET_ALL_PRODUCER_INFO (328); the answer's body is [`admin::ProducerTable`](crate::admin::ProducerTable).
    pub struct GetAllProducers {}

    /// GET_ALL_CONSUMER_OFFSET (43); the answer's body is what `consumerOffset.json` has.
    pub struct GetAllConsumerOffsets {}

    /// GET_ALL_DELAY_OFFSET (45); the answer's body is what `delayOffset.json` has.
    pub struct GetAllDelayOffsets {}

    /// GET_BROKER_HA_STATUS (907); the answer's body is [`admin::HaStatus`](crate::admin::HaStatus).
    pub struct GetHaStatus {}

    /// SET_MESSAGE_REQUEST_MODE (401); the body is [`admin::RequestMode`](crate::admin::RequestMode).
    pub struct SetRequestMode {}

    /// GET_ALL_MESSAGE_REQUEST_MODE (402).
    pub struct GetRequestModes {}

    /// WIPE_WRITE_PERM_OF_BROKER (205), to a name server.
    #[doc(alias = "WipeWritePermOfBrokerRequestHeader")]
    pub struct WipeWritePerm {
        /// The broker's name.
        broker_name: String = "brokerName",
    }

    /// Answers it.
    #[doc(alias = "WipeWritePermOfBrokerResponseHeader")]
    pub struct WipeWritePermReply {
        /// How many topics the broker has.
        wipe_topic_count: i32 = "wipeTopicCount",
    }

    /// ADD_WRITE_PERM_OF_BROKER (327), to a name server.
    #[doc(alias = "AddWritePermOfBrokerRequestHeader")]
    pub struct AddWritePerm {
        /// The broker's name.
        broker_name: String = "brokerName",
    }

    /// Answers it.
    #[doc(alias = "AddWritePermOfBrokerResponseHeader")]
    pub struct AddWritePermReply {
        /// How many topics the broker has.
        add_topic_count: i32 = "addTopicCount",
    }

    /// GET_NAMESRV_CONFIG (319); the answer's body is `.properties` text.
    pub struct GetNamesrvConfig {}

    /// UPDATE_NAMESRV_CONFIG (318); the body is `.properties` text.
    pub struct UpdateNamesrvConfig {}
}

requests! {
    GetRuntimeInfo: GET_BROKER_RUNTIME_INFO => Empty;
    GetBrokerConfig: GET_BROKER_CONFIG => GetBrokerConfigReply;
    UpdateBrokerConfig: UPDATE_BROKER_CONFIG => Empty;
    CreateTopicList: UPDATE_AND_CREATE_TOPIC_LIST => Empty;
    GetAllTopicConfig: GET_ALL_TOPIC_CONFIG => GetAllTopicConfigReply;
    GetTopicConfig: GET_TOPIC_CONFIG => Empty;
    UpdateGroup: UPDATE_AND_CREATE_SUBSCRIPTIONGROUP => Empty;
    UpdateGroupList: UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST => Empty;
    GetAllGroups: GET_ALL_SUBSCRIPTIONGROUP_CONFIG => GetAllGroupsReply;
    GetGroup: GET_SUBSCRIPTIONGROUP_CONFIG => Empty;
    ForbidGroup: UPDATE_AND_GET_GROUP_FORBIDDEN => Empty;
    GetTopicStats: GET_TOPIC_STATS_INFO => Empty;
    GetSystemTopics: GET_SYSTEM_TOPIC_LIST_FROM_BROKER => Empty;
    ViewStats: VIEW_BROKER_STATS_DATA => Empty;
    GetConsumeStatsInBroker: GET_BROKER_CONSUME_STATS => Empty;
    QueryConsumeQueue: QUERY_CONSUME_QUEUE => Empty;
    CleanExpiredQueues: CLEAN_EXPIRED_CONSUMEQUEUE => Empty;
    DeleteExpiredLog: DELETE_EXPIRED_COMMITLOG => Empty;
    CleanUnusedTopics: CLEAN_UNUSED_TOPIC => Empty;
    GetAllProducers: GET_ALL_PRODUCER_INFO => Empty;
    GetAllConsumerOffsets: GET_ALL_CONSUMER_OFFSET => Empty;
    GetAllDelayOffsets: GET_ALL_DELAY_OFFSET => Empty;
    GetHaStatus: GET_BROKER_HA_STATUS => Empty;
    SetRequestMode: SET_MESSAGE_REQUEST_MODE => Empty;
    GetRequestModes: GET_ALL_MESSAGE_REQUEST_MODE => Empty;
    WipeWritePerm: WIPE_WRITE_PERM_OF_BROKER => WipeWritePermReply;
    AddWritePerm: ADD_WRITE_PERM_OF_BROKER => AddWritePermReply;
    GetNamesrvConfig: GET_NAMESRV_CONFIG => Empty;
    UpdateNamesrvConfig: UPDATE_NAMESRV_CONFIG => Empty;
}
