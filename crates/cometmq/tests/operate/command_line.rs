//! What is typed wrong, what is not there and who does not answer: the text, its language, the exit code, the time.

use super::*;

/// Runs a command in a language of the reader: its exit code, and what it said was wrong.
fn said(cluster: &Cluster, locale: &str, words: &str) -> (i32, String) {
    let began = Instant::now();
    let words: Vec<&str> = words.split(' ').collect();
    let ended = cluster.command(&words).env("LC_ALL", locale).output().unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{words:?} took {:?}", began.elapsed());
    (ended.status.code().unwrap(), String::from_utf8(ended.stderr).unwrap())
}

#[tokio::test]
async fn what_is_wrong_is_said_in_the_readers_language() {
    let cluster = Cluster::start().await;
    cluster.done(&["updateTopic", "-t", "orders", "-b", "broker-a"]);
    cluster.done(&["updateSubGroup", "-g", "billing", "-b", "broker-a"]);
    for (words, code, english, chinese) in [
        (
            "topcList",
            2,
            "nobody knows the command topcList; did you mean topicList?",
            "未知的命令 topcList，是否想写 topicList？",
        ),
        ("topicRoute -t orders --topc x", 2, "unexpected argument '--topc'", "未知的参数 --topc，是否想写 --topic？"),
        ("topicRoute", 2, "required arguments were not provided", "缺少参数：--topic"),
        ("updateTopic -t a -b broker-a -r many", 2, "invalid digit", "的值 many 有误：应为整数"),
        ("resetOffsetByTime -g g -t t -s someday", 2, "is no time", "应为 1970 年以来的毫秒数"),
        (
            "topicRoute -t ordres",
            4,
            "no topic `ordres`; did you mean `orders`?",
            "找不到主题 ordres，是否想写 orders？",
        ),
        ("consumerProgress -g bilings", 4, "did you mean `billing`?", "找不到消费者组 bilings，是否想写 billing？"),
        (
            "brokerStatus -b broker-b",
            4,
            "no broker `broker-b`; did you mean `broker-a`?",
            "找不到 Broker broker-b，是否想写 broker-a？",
        ),
        (
            "brokerStatus -c NoSuch",
            4,
            "no cluster `NoSuch`; there is DefaultCluster",
            "没有集群 NoSuch；现有集群：DefaultCluster",
        ),
        ("brokerStatus -b 127.0.0.1:1", 3, "can't connect to 127.0.0.1:1", "无法连接 127.0.0.1:1"),
        ("getSyncStateSet -a 127.0.0.1:1 -b broker-a", 1, "replication and controllers", "主从复制和控制器"),
        ("rocksDBConfigToJson", 1, "RocksDB", "RocksDB"),
        ("updateBrokerConfig -b broker-a -k fileReservedTim -v 1", 1, "did you mean fileReservedTime?", "拒绝了"),
    ] {
        for (locale, wanted) in [("C", english), ("zh_CN.UTF-8", chinese)] {
            let (ended, err) = said(&cluster, locale, words);
            assert!(ended == code && err.contains(wanted), "{locale} {words}: {ended} {err}");
        }
    }
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let deaf = deaf.local_addr().unwrap().to_string();
    for (namesrv, english, chinese) in
        [("127.0.0.1:1", "no name server of", "没有应答：无法连接"), (deaf.as_str(), "did not answer", "内没有应答")]
    {
        for (locale, wanted) in [("C", english), ("zh_CN.UTF-8", chinese)] {
            let began = Instant::now();
            let mut command = Command::new(env!("CARGO_BIN_EXE_cometmq"));
            let ended = command.args(["admin", "topicList", "-n", namesrv]).env("LC_ALL", locale).output().unwrap();
            let err = String::from_utf8(ended.stderr).unwrap();
            assert!(ended.status.code() == Some(3) && err.contains(wanted), "{err}");
            assert!(began.elapsed() < Duration::from_secs(5), "{namesrv} took {:?}", began.elapsed());
        }
    }
}

#[test]
fn help_is_chinese_where_the_reader_is() {
    let help = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cometmq"));
        let out = command.args(words).arg("--help").env("LC_ALL", "zh_CN.UTF-8").output().unwrap().stdout;
        String::from_utf8(out).unwrap()
    };
    let topic = help(&["admin", "updateTopic"]);
    assert!(topic.contains("用法：cometmq admin updateTopic") && topic.contains("显示帮助"), "{topic}");
    assert!(help(&["admin", "topicRoute"]).contains("- json: "));
    for words in [&["admin", "updateTopic"][..], &["admin", "dlq", "requeue"], &["admin", "createUser"]] {
        let help = help(words);
        for english in ["Usage:", "Options:", "Print help", "For people", "The user to ask as"] {
            assert!(!help.contains(english), "{words:?} says {english}: {help}");
        }
    }
}
