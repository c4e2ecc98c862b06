//! A name server over real connections, asked in frames.

use super::*;
use protocol::code::response;
use protocol::command::Command;
use protocol::json;
use protocol::request::Request;
use protocol::request::route::{
    DeleteKvConfig, GetClusterInfo, GetKvConfig, GetRoute, GetSystemTopics, GetTopicsOfCluster, GetUnitSubTopics,
    GetUnitSubUnUnitTopics, GetUnitTopics, ListKvConfigs, PutKvConfig, QueryDataVersion, RegisterBroker,
    UnregisterBroker,
};
use protocol::request::topic::ForgetTopic;
use protocol::route::{ClusterInfo, KvTable, RegisterBrokerBody, RegisteredTopics, TopicList, TopicRoute};
use protocol::topic::{DataVersion, TopicConfig};
use remoting::{Client, Server};
use std::net::TcpListener;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(10);

struct Running {
    namesrv: Arc<Namesrv>,
    _server: Server,
    port: u16,
    client: Client,
}

fn start() -> Running {
    start_with(NamesrvConfig::default())
}

fn start_with(config: NamesrvConfig) -> Running {
    let namesrv = Namesrv::open(config).unwrap();
    let server = Server::start(1).unwrap();
    let address = server.listen(TcpListener::bind("0.0.0.0:0").unwrap(), namesrv.router()).unwrap();
    Running { namesrv, _server: server, port: address.port(), client: Client::default() }
}

impl Running {
    async fn ask(&self, host: &str, version: i32, request: &impl Request, body: Vec<u8>) -> Command {
        let mut command = request.write();
        (command.version, command.body) = (version, body.into());
        self.client.invoke(&format!("{host}:{}", self.port), command, TIMEOUT).await.unwrap()
    }

    async fn register(&self, client: &Client, header: &RegisterBroker, body: &[u8]) -> Command {
        let mut command = header.write();
        command.body = body.to_vec().into();
        client.invoke(&format!("127.0.0.1:{}", self.port), command, TIMEOUT).await.unwrap()
    }
}

fn header() -> RegisterBroker {
    RegisterBroker {
        broker_name: "broker-a".into(),
        broker_addr: "10.1.2.3:10911".into(),
        cluster_name: "DefaultCluster".into(),
        ha_server_addr: Some("10.1.2.3:10912".into()),
        ..RegisterBroker::default()
    }
}

fn topics() -> Vec<u8> {
    let topics = ["TBW102", "orders"].map(|topic| (topic.to_owned(), TopicConfig::new(topic, 4, 6)));
    let topics = RegisteredTopics {
        data_version: DataVersion { counter: 3, ..DataVersion::default() },
        topic_config_table: topics.into(),
        ..RegisteredTopics::default()
    };
    json::write(&RegisterBrokerBody { topic_config_serialize_wrapper: topics, ..RegisterBrokerBody::default() })
}

fn route(topic: &str) -> GetRoute {
    GetRoute { topic: topic.into(), ..GetRoute::default() }
}

#[tokio::test]
async fn a_registered_topic_has_a_route_in_the_flavour_that_the_client_reads() {
    let running = start();
    let registered = running.register(&running.client, &header(), &topics()).await;
    assert_eq!(registered.code, response::SUCCESS, "{registered:?}");

    let old = running.ask("127.0.0.1", 317, &route("orders"), vec![]).await;
    let text = String::from_utf8(old.body.to_vec()).unwrap();
    assert!(text.contains(r#""brokerAddrs":{0:"10.1.2.3:10911"}"#) && text.contains(r#""filterServerTable":{}"#));
    let new = running.ask("127.0.0.1", 401, &route("orders"), vec![]).await;
    assert!(String::from_utf8(new.body.to_vec()).unwrap().contains(r#"{"0":"10.1.2.3:10911"}"#));
    let standard = GetRoute { accept_standard_json_only: Some(true), ..route("orders") };
    let asked = running.ask("127.0.0.1", 317, &standard, vec![]).await;
    assert!(String::from_utf8(asked.body.to_vec()).unwrap().contains(r#"{"0":"10.1.2.3:10911"}"#));
}

#[tokio::test]
async fn the_queues_of_ordered_topics_are_kept_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let config = NamesrvConfig {
        kv_config_path: Some(dir.path().join("kvConfig.json")),
        order_messages: true,
        ..NamesrvConfig::default()
    };
    let running = start_with(config.clone());
    let (namespace, key) = (kv::ORDER_NAMESPACE.to_owned(), "orders".to_owned());
    let get = GetKvConfig { namespace: namespace.clone(), key: key.clone() };
    assert_eq!(running.ask("127.0.0.1", 479, &get, vec![]).await.code, response::QUERY_NOT_FOUND);
    let list = ListKvConfigs { namespace: namespace.clone() };
    assert_eq!(running.ask("127.0.0.1", 479, &list, vec![]).await.code, response::QUERY_NOT_FOUND);
    let put = PutKvConfig { namespace: namespace.clone(), key: key.clone(), value: "broker-a:4".into() };
    assert_eq!(running.ask("127.0.0.1", 479, &put, vec![]).await.code, response::SUCCESS);

    drop(running);
    let running = start_with(config);
    let kept = running.ask("127.0.0.1", 479, &get, vec![]).await;
    assert_eq!(kept.ext.get("value"), Some("broker-a:4"), "over a restart");
    let registered = running.register(&running.client, &header(), &topics()).await;
    let told: KvTable = json::read(&registered.body).unwrap();
    assert_eq!(told.table, [(key.clone(), "broker-a:4".to_owned())].into(), "a broker hears which topics are ordered");
    let of = |answer: Command| json::read::<TopicRoute>(&answer.body).unwrap().order_topic_conf;
    let orders = of(running.ask("127.0.0.1", 479, &route("orders"), vec![]).await);
    assert_eq!(orders.as_deref(), Some("broker-a:4"));
    assert_eq!(of(running.ask("127.0.0.1", 479, &route("TBW102"), vec![]).await), None);

    running.ask("127.0.0.1", 479, &DeleteKvConfig { namespace, key }, vec![]).await;
    assert_eq!(of(running.ask("127.0.0.1", 479, &route("orders"), vec![]).await), None);
    let plain = start();
    plain.register(&plain.client, &header(), &topics()).await;
    plain.ask("127.0.0.1", 479, &put, vec![]).await;
    assert_eq!(of(plain.ask("127.0.0.1", 479, &route("orders"), vec![]).await), None, "orderMessageEnable=false");
}

#[tokio::test]
async fn topics_are_listed_by_cluster_by_system_and_by_unit() {
    let running = start();
    let topics = [("plain", 0), ("unit", 1), ("sub", 2), ("both", 3)].map(|(name, flag)| {
        let config = TopicConfig { topic_sys_flag: flag, ..TopicConfig::new(name, 4, 6) };
        (name.to_owned(), config)
    });
    let registered = RegisteredTopics { topic_config_table: topics.into(), ..RegisteredTopics::default() };
    let body = RegisterBrokerBody { topic_config_serialize_wrapper: registered, ..RegisterBrokerBody::default() };
    running.register(&running.client, &header(), &json::write(&body)).await;
    let list = |answer: Command| json::read::<TopicList>(&answer.body).unwrap().topic_list;
    let of = |cluster: &str| GetTopicsOfCluster { cluster: cluster.into() };
    let here = list(running.ask("127.0.0.1", 479, &of("DefaultCluster"), vec![]).await);
    assert_eq!(here, ["both", "plain", "sub", "unit"]);
    assert!(list(running.ask("127.0.0.1", 479, &of("Other"), vec![]).await).is_empty());
    let system = running.ask("127.0.0.1", 479, &GetSystemTopics {}, vec![]).await;
    assert_eq!(json::read::<TopicList>(&system.body).unwrap().broker_addr.as_deref(), Some("10.1.2.3:10911"));
    assert_eq!(list(system), ["DefaultCluster", "broker-a"]);
    assert_eq!(list(running.ask("127.0.0.1", 479, &GetUnitTopics {}, vec![]).await), ["both", "unit"]);
    assert_eq!(list(running.ask("127.0.0.1", 479, &GetUnitSubTopics {}, vec![]).await), ["both", "sub"]);
    assert_eq!(list(running.ask("127.0.0.1", 479, &GetUnitSubUnUnitTopics {}, vec![]).await), ["sub"]);
}

#[tokio::test]
async fn a_missing_route_keeps_apaches_first_sentence_and_adds_the_cause() {
    let running = start();
    running.register(&running.client, &header(), &topics()).await;
    let answer = running.ask("127.0.0.1", 479, &route("order"), vec![]).await;
    assert_eq!(answer.code, response::TOPIC_NOT_EXIST);
    assert_eq!(
        answer.remark.as_deref(),
        Some(
            "No topic route info in name server for the topic: order. no broker here (broker-a) has it; the first message \
             sent to it creates it; did you mean orders?"
        )
    );
}

#[tokio::test]
async fn a_deleted_topic_is_forgotten_as_tools_ask_for_it() {
    let running = start();
    running.register(&running.client, &header(), &topics()).await;
    let forget = |cluster: &str| ForgetTopic { topic: "orders".into(), cluster_name: Some(cluster.into()) };
    let answer = running.ask("127.0.0.1", 479, &forget("AnotherCluster"), vec![]).await;
    assert_eq!((answer.code, answer.remark), (response::SUCCESS, None));
    assert_eq!(running.ask("127.0.0.1", 479, &route("orders"), vec![]).await.code, response::SUCCESS);
    let answer = running.ask("127.0.0.1", 479, &forget("DefaultCluster"), vec![]).await;
    assert_eq!((answer.code, answer.remark), (response::SUCCESS, None));
    assert_eq!(running.ask("127.0.0.1", 479, &route("orders"), vec![]).await.code, response::TOPIC_NOT_EXIST);
    let setting = DeleteKvConfig { namespace: "ORDER_TOPIC_CONFIG".into(), key: "orders".into() };
    assert_eq!(running.ask("127.0.0.1", 479, &setting, vec![]).await.code, response::SUCCESS);
    running.register(&running.client, &header(), &topics()).await;
    assert_eq!(
        running.ask("127.0.0.1", 479, &route("orders"), vec![]).await.code,
        response::SUCCESS,
        "it is there anew"
    );
}

#[tokio::test]
async fn damaged_and_partial_registrations_are_refused_with_a_sentence() {
    let running = start();
    let right = RegisterBroker { body_crc32: Some(RegisterBrokerBody::checksum(&topics())), ..header() };
    let wrong = RegisterBroker { body_crc32: Some(1), ..header() };
    let answer = running.register(&running.client, &wrong, &topics()).await;
    assert_eq!((answer.code, &answer.remark.unwrap()[..15]), (response::SYSTEM_ERROR, "crc32 not match"));
    let answer = running.register(&running.client, &header(), br#"{"topicConfigSerializeWrapper":{"topicConf"#).await;
    assert!(answer.remark.unwrap().contains("can't be read"));
    let one = br#"{"topicConfigSerializeWrapper":{"topicConfigTable":{"t":{"topicName":"t"}}}}"#;
    assert!(running.register(&running.client, &header(), one).await.remark.unwrap().contains("register all topics"));
    assert_eq!(running.register(&running.client, &right, &topics()).await.code, response::SUCCESS);
}

#[tokio::test]
async fn a_broker_asks_whether_it_must_register_again() {
    let running = start();
    let ask = async |counter| {
        let request = QueryDataVersion {
            broker_name: "broker-a".into(),
            broker_addr: "10.1.2.3:10911".into(),
            cluster_name: "DefaultCluster".into(),
            broker_id: 0,
        };
        let version = json::write(&DataVersion { counter, ..DataVersion::default() });
        let answer = running.ask("127.0.0.1", 479, &request, version).await;
        (answer.ext.get("changed").unwrap().to_owned(), json::read::<DataVersion>(&answer.body).ok().map(|v| v.counter))
    };
    assert_eq!(ask(3).await, ("true".into(), None));
    running.register(&running.client, &header(), &topics()).await;
    assert_eq!(ask(3).await, ("false".into(), Some(3)));
    assert_eq!(ask(4).await, ("true".into(), Some(3)));
}

#[tokio::test]
async fn a_broker_of_this_process_is_where_the_client_came() {
    let running = start();
    running.register(&running.client, &header(), &topics()).await;
    running.namesrv.advertise_as_reached("10.1.2.3:10911".into());
    for host in ["127.0.0.1", "127.0.0.2"] {
        let expected = format!("{host}:10911");
        let answer = running.ask(host, 479, &route("orders"), vec![]).await;
        let route: TopicRoute = json::read(&answer.body).unwrap();
        assert_eq!(route.broker_datas[0].broker_addrs[&0], expected);
        let answer = running.ask(host, 479, &GetClusterInfo {}, vec![]).await;
        let info: ClusterInfo = json::read(&answer.body).unwrap();
        assert_eq!(info.broker_addr_table["broker-a"].broker_addrs[&0], expected);
    }
}

#[tokio::test]
async fn a_broker_is_forgotten_when_it_says_so_and_when_its_connection_closes() {
    let running = start();
    let broker = Client::default();
    running.register(&broker, &header(), &topics()).await;
    let request = UnregisterBroker {
        broker_name: "broker-a".into(),
        broker_addr: "10.1.2.3:10911".into(),
        cluster_name: "DefaultCluster".into(),
        broker_id: 0,
    };
    assert_eq!(running.ask("127.0.0.1", 479, &request, vec![]).await.code, response::SUCCESS);
    let answer = running.ask("127.0.0.1", 479, &route("orders"), vec![]).await;
    assert!(answer.remark.unwrap().contains("it was stopped"));

    running.register(&broker, &header(), &topics()).await;
    assert_eq!(running.ask("127.0.0.1", 479, &route("orders"), vec![]).await.code, response::SUCCESS);
    broker.disconnect(&format!("127.0.0.1:{}", running.port));
    drop(broker);
    tokio::time::timeout(TIMEOUT, async {
        loop {
            let answer = running.ask("127.0.0.1", 479, &route("orders"), vec![]).await;
            if answer.remark.is_some_and(|remark| remark.contains("its connection broke")) {
                break;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn where_operators_have_a_port_of_their_own_the_other_answers_brokers_and_clients_only() {
    let mut config = NamesrvConfig::default();
    config.entrance.admin_port = 9877;
    let running = start_with(config);
    let admin_server = Server::start(1).unwrap();
    let admin = admin_server.listen(TcpListener::bind("127.0.0.1:0").unwrap(), running.namesrv.admin_router()).unwrap();
    let setting = PutKvConfig { namespace: "N".into(), key: "k".into(), value: "v".into() };
    let refused = running.ask("127.0.0.1", 401, &setting, Vec::new()).await;
    assert_eq!(refused.code, response::NO_PERMISSION);
    assert!(refused.remark.unwrap().contains("port 9877 (adminListenPort"));
    let taken = running.client.invoke(&admin.to_string(), setting.write(), TIMEOUT).await.unwrap();
    assert_eq!(taken.code, response::SUCCESS);
    let read = GetKvConfig { namespace: "N".into(), key: "k".into() };
    assert_eq!(running.ask("127.0.0.1", 401, &read, Vec::new()).await.code, response::SUCCESS);
    let registered = running.register(&running.client, &header(), &[]).await;
    assert_eq!(registered.code, response::SUCCESS, "{:?}", registered.remark);
}

#[tokio::test]
async fn a_broker_is_registered_however_often_its_address_asks() {
    let mut config = NamesrvConfig::default();
    config.entrance.limits.address.requests = 2;
    let running = start_with(config);
    let route = route("T");
    let mut refused = None;
    for _ in 0..1000 {
        let answer = running.ask("127.0.0.1", 401, &route, Vec::new()).await;
        if answer.code == response::SYSTEM_BUSY {
            refused = answer.remark;
            break;
        }
    }
    assert!(refused.unwrap().contains("requestsPerSecondPerAddress"));
    for _ in 0..5 {
        assert_eq!(running.register(&running.client, &header(), &[]).await.code, response::SUCCESS);
    }
}

#[tokio::test]
async fn with_access_control_brokers_register_as_inner_and_clients_see_what_is_theirs() {
    let credentials = |name: &str| remoting::Credentials::new(name, "a secret");
    let access = access::Config {
        authentication: true,
        authorization: true,
        inner_credentials: Some(credentials("inner")),
        ..access::Config::default()
    };
    let running = start_with(NamesrvConfig { access, ..NamesrvConfig::default() });
    let refused = |answer: Command, words: &str| {
        let remark = answer.remark.unwrap_or_default();
        assert!(answer.code == response::NO_PERMISSION && remark.contains(words), "{remark}");
    };
    refused(running.register(&Client::default(), &header(), &topics()).await, "username cannot be null.");
    refused(running.ask("127.0.0.1", 479, &route("orders"), vec![]).await, "username cannot be null.");
    let inner = Client::default().signing(Some(credentials("inner")));
    assert_eq!(running.register(&inner, &header(), &topics()).await.code, response::SUCCESS);

    let create = protocol::request::auth::CreateUser { username: Some("alice".into()) };
    let allow = protocol::request::auth::CreateAcl { subject: Some("User:alice".into()) };
    let rule = br#"{"policies":[{"entries":[{"resource":"Topic:orders","actions":["Pub"],"decision":"Allow"}]}]}"#;
    let address = format!("127.0.0.1:{}", running.port);
    inner.ask_with_body(&address, &create, br#"{"password":"a secret"}"#.to_vec().into(), TIMEOUT).await.unwrap();
    inner.ask_with_body(&address, &allow, rule.to_vec().into(), TIMEOUT).await.unwrap();

    let alice = Client::default().signing(Some(credentials("alice")));
    let ask = async |request: Command| alice.invoke(&address, request, TIMEOUT).await.unwrap();
    assert_eq!(ask(route("orders").write()).await.code, response::SUCCESS);
    // The template after which topics are made, and where replies go, are everybody's.
    assert_eq!(ask(route("TBW102").write()).await.code, response::SUCCESS);
    assert_eq!(ask(route("DefaultCluster_REPLY_TOPIC").write()).await.code, response::TOPIC_NOT_EXIST);
    refused(ask(route("others").write()).await, "User:alice has no permission to access Topic:others");
    refused(ask(route("%RETRY%others").write()).await, "Group:others");
    refused(ask(route("other_REPLY_TOPIC").write()).await, "Topic:other_REPLY_TOPIC");
    refused(ask(GetClusterInfo {}.write()).await, "Cluster:");
    refused(ask(header().write()).await, "Cluster:DefaultCluster");
    let codes: Vec<i32> = running.namesrv.router().codes();
    for code in codes.into_iter().filter(|code| *code != 105) {
        let words = if (50..60).contains(&code) && code != 52 { "Need admin permission" } else { "has no permission" };
        refused(ask(Command::request(code)).await, words);
    }
    drop(alice);
}

#[tokio::test]
async fn who_may_change_one_cluster_changes_no_other_whatever_he_calls_it() {
    use protocol::request::admin::WipeWritePerm;
    use protocol::request::route::{GetTopicsOfCluster, UnregisterBroker};
    use protocol::request::topic::ForgetTopic;
    let credentials = |name: &str| remoting::Credentials::new(name, "a secret");
    let access = access::Config {
        authentication: true,
        authorization: true,
        inner_credentials: Some(credentials("inner")),
        ..access::Config::default()
    };
    let running = start_with(NamesrvConfig { access, ..NamesrvConfig::default() });
    let address = format!("127.0.0.1:{}", running.port);
    let inner = Client::default().signing(Some(credentials("inner")));
    let make = async |user: &str, cluster: &str| {
        let create = protocol::request::auth::CreateUser { username: Some(user.into()) };
        inner.ask_with_body(&address, &create, br#"{"password":"a secret"}"#.to_vec().into(), TIMEOUT).await.unwrap();
        let allow = protocol::request::auth::CreateAcl { subject: Some(format!("User:{user}")) };
        let rule = format!(
            r#"{{"policies":[{{"entries":[{{"resource":"{cluster}","actions":["Get","List","Update"],"decision":"Allow"}}]}}]}}"#
        );
        inner.ask_with_body(&address, &allow, rule.into(), TIMEOUT).await.unwrap();
        Client::default().signing(Some(credentials(user)))
    };
    let (of_a, of_all) = (make("ann", "Cluster:a").await, make("all", "Cluster:*").await);
    let ask = async |client: &Client, command: Command| client.invoke(&address, command, TIMEOUT).await.unwrap();
    let refused = |answer: Command| {
        let remark = answer.remark.unwrap_or_default();
        assert!(answer.code == response::NO_PERMISSION && remark.contains("Cluster:"), "{remark}");
    };
    let topics_of = |cluster: &str| GetTopicsOfCluster { cluster: cluster.into() }.write();
    let forget = |cluster: Option<&str>| ForgetTopic { topic: "T".into(), cluster_name: cluster.map(str::to_owned) };
    // As long as no broker is there, there is no cluster whose business it could be.
    refused(ask(&of_a, GetClusterInfo {}.write()).await);
    assert_eq!(ask(&of_all, GetClusterInfo {}.write()).await.code, response::SUCCESS);
    // Each broker has a connection of its own: with it, it would go.
    let at = |name: &str| RegisterBroker { cluster_name: name.into(), broker_name: name.into(), ..header() };
    let (one, other) = (running.client.clone().signing(Some(credentials("inner"))), inner.clone());
    assert_eq!(running.register(&one, &at("a"), &topics()).await.code, response::SUCCESS);
    // The only one there is.
    assert_eq!(ask(&of_a, GetClusterInfo {}.write()).await.code, response::SUCCESS);
    let at_b = RegisterBroker { broker_addr: "10.1.2.4:10911".into(), ..at("b") };
    assert_eq!(running.register(&other, &at_b, &topics()).await.code, response::SUCCESS);

    for command in [topics_of("a"), forget(Some("a")).write()] {
        assert_eq!(ask(&of_a, command).await.code, response::SUCCESS);
    }
    for command in [
        topics_of("b"),
        topics_of(""),
        forget(Some("b")).write(),
        forget(None).write(),
        forget(Some("")).write(),
        at("b").write(),
        UnregisterBroker { cluster_name: "b".into(), broker_name: "b".into(), ..UnregisterBroker::default() }.write(),
        WipeWritePerm { broker_name: "b".into() }.write(),
        PutKvConfig { namespace: "n".into(), key: "k".into(), value: "v".into() }.write(),
        GetClusterInfo {}.write(),
    ] {
        refused(ask(&of_a, command.clone()).await);
        // The field by which another request says it changes nothing.
        for field in ["clusterName", "cluster"] {
            let mut bent = command.clone();
            let is_its_own = bent.code == protocol::code::request::DELETE_TOPIC_IN_NAMESRV && field == "clusterName";
            if bent.ext.get(field).is_none() && !is_its_own {
                bent.ext.push(field, "a");
                refused(ask(&of_a, bent).await);
            }
        }
    }
    assert_eq!(ask(&of_all, WipeWritePerm { broker_name: "b".into() }.write()).await.code, response::SUCCESS);
}

#[tokio::test]
async fn a_client_of_a_zone_gets_the_brokers_of_its_zone() {
    let running = start();
    // Each with a connection of its own: with it, its broker would go.
    let (one, other, third) = (Client::default(), Client::default(), Client::default());
    let at = |name: &str, id: i64, zone: Option<&str>| RegisterBroker {
        broker_name: name.into(),
        broker_addr: format!("10.0.0.{id}:{}", name.len()),
        broker_id: id,
        zone_name: zone.map(str::to_owned),
        ..header()
    };
    running.register(&one, &at("broker-a", 0, Some("East")), &topics()).await;
    running.register(&other, &at("broker-bb", 0, Some("west")), &topics()).await;
    running.register(&third, &at("broker-ccc", 0, None), &topics()).await;
    let brokers = async |mode: Option<&str>, zone: Option<&str>| {
        let request = GetRoute {
            zone_mode: mode.map(str::to_owned),
            zone_name: zone.map(str::to_owned),
            accept_standard_json_only: Some(true),
            ..route("orders")
        };
        let answer = running.ask("127.0.0.1", 400, &request, vec![]).await;
        let route: TopicRoute = json::read(&answer.body).unwrap();
        let queues: Vec<String> = route.queue_datas.into_iter().map(|queues| queues.broker_name).collect();
        assert_eq!(route.broker_datas.into_iter().map(|it| it.broker_name).collect::<Vec<_>>(), queues);
        queues
    };
    let all = ["broker-a", "broker-bb", "broker-ccc"];
    assert_eq!(brokers(None, Some("east")).await, all);
    assert_eq!(brokers(Some("true"), None).await, all);
    assert_eq!(brokers(Some("false"), Some("east")).await, all);
    assert_eq!(brokers(Some("true"), Some("east")).await, ["broker-a"]);
    assert_eq!(brokers(Some("TRUE"), Some("WEST")).await, ["broker-bb"]);
    assert!(brokers(Some("true"), Some("north")).await.is_empty());
}

#[tokio::test]
async fn each_change_leaves_a_line_and_what_asks_does_not() {
    use protocol::audit::{AuditEntry, AuditFilter};
    use protocol::code::request;
    let dir = tempfile::tempdir().unwrap();
    let kv_config_path = Some(dir.path().join("kvConfig.json"));
    let running = start_with(NamesrvConfig { kv_config_path, ..NamesrvConfig::default() });
    let entries = || running.namesrv.audit.read(&AuditFilter::default(), usize::MAX).unwrap();
    running.register(&running.client, &header(), &topics()).await;
    let mut changing = 0;
    for code in running.namesrv.router().codes() {
        let before = entries().len();
        let command = Command::request(code);
        running.client.invoke(&format!("127.0.0.1:{}", running.port), command, TIMEOUT).await.unwrap();
        let is_change = !audit::NOT_AUDITED.contains(&code);
        let name = request::name(code).unwrap();
        assert_eq!(entries().len() - before, usize::from(is_change), "{name}");
        changing += usize::from(is_change);
        let asks = ["GET_", "QUERY_", "AUTH_GET_", "AUTH_LIST_", "EXPLAIN_"].iter().any(|asks| name.starts_with(asks));
        assert!(is_change || asks || name.ends_with("REGISTER_BROKER"), "{name} is to be audited");
    }
    assert!(changing >= 6, "{changing}");
    let put = |value: &str| PutKvConfig { namespace: "n".into(), key: "k".into(), value: value.into() };
    running.ask("127.0.0.1", 400, &put("1"), vec![]).await;
    running.ask("127.0.0.1", 400, &put("2"), vec![]).await;
    let AuditEntry { before, after, asked, address, outcome, .. } = entries().pop().unwrap();
    assert_eq!((&before, &after, &asked["value"]), (&"1".into(), &"2".into(), &"2".into()));
    assert!(address.starts_with("127.0.0.1:") && outcome == "done", "{address} {outcome}");
    let wipe = protocol::request::admin::WipeWritePerm { broker_name: "broker-a".into() };
    running.ask("127.0.0.1", 400, &wipe, vec![]).await;
    let entry = entries().pop().unwrap();
    assert_eq!((&entry.before["writable"], &entry.after["writable"]), (&true.into(), &false.into()));
}
