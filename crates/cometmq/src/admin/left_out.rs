//! Commands of mqadmin that are not here, and why: whoever types one gets a reason, and not only "unknown".

use crate::environment::Environment;
use crate::text::Language;
use std::ffi::OsString;
use std::process::ExitCode;

/// Names, and why they are left out in English and Chinese.
type LeftOut = (&'static [&'static str], &'static str, &'static str);

const LEFT_OUT: &[LeftOut] = &[
    (
        &["rocksDBConfigToJson", "exportMetadataInRocksDB", "checkRocksdbCqWriteProgress", "switchTimerEngine"],
        "it is about RocksDB, in which Apache's broker can keep queues, settings and timers; CometMQ keeps them in files \
         (cometmq store info, verify, dump)",
        "它针对 Apache Broker 的 RocksDB 存储；CometMQ 把队列、配置和定时消息存放在文件中（见 cometmq store info、verify、dump）",
    ),
    (
        &["dumpCompactionLog"],
        "it reads files of compacted topics, which only Apache's broker writes; for all other files: cometmq store dump",
        "它读取压缩主题的文件，只有 Apache Broker 会写；其他文件请用 cometmq store dump",
    ),
    (
        &[
            "getColdDataFlowCtrInfo",
            "updateColdDataFlowCtrGroupConfig",
            "removeColdDataFlowCtrGroupConfig",
            "setCommitLogReadAheadMode",
        ],
        "it steers how Apache's broker reads old data through the page cache; CometMQ has no such control",
        "它控制 Apache Broker 如何经页缓存读取冷数据；CometMQ 没有这种控制",
    ),
    (
        &["exportPopRecord"],
        "it is about messages that consumers popped, and CometMQ has no POP yet",
        "它针对 POP 消费的消息，CometMQ 尚无 POP 模式",
    ),
    (
        &["addBroker", "removeBroker"],
        "it is about brokers in one container process of Apache's; here each broker is a process: cometmq broker -c FILE",
        "它针对 Apache 容器进程中的多个 Broker；这里每个 Broker 是一个进程：cometmq broker -c 文件",
    ),
    (
        &[
            "resetMasterFlushOffset",
            "getSyncStateSet",
            "getBrokerEpoch",
            "getControllerMetaData",
            "getControllerConfig",
            "updateControllerConfig",
            "electMaster",
            "cleanBrokerMetadata",
        ],
        "it is about replication and controllers, which CometMQ does not have yet: all brokers are masters",
        "它针对主从复制和控制器，CometMQ 尚不具备：所有 Broker 都是主节点",
    ),
    (
        &["updateStaticTopic", "remappingStaticTopic"],
        "it is about static topics, which CometMQ does not have yet; more queues for an ordered topic: updateTopic -o true",
        "它针对静态主题，CometMQ 尚不具备；为顺序主题增加队列请用 updateTopic -o true",
    ),
    (
        &[
            "getBrokerLiteInfo",
            "getParentTopicInfo",
            "getLiteTopicInfo",
            "getLiteClientInfo",
            "getLiteGroupInfo",
            "triggerLiteDispatch",
        ],
        "it is about lite topics, which CometMQ does not have yet",
        "它针对轻量主题，CometMQ 尚不具备",
    ),
];

/// Says why there is no such command. 1: mqadmin has it; 2: nobody has.
pub fn run(words: &[OsString], environment: &Environment) -> ExitCode {
    let name = words.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let (said, code) = say(&name, environment.language);
    eprintln!("cometmq: {said}");
    ExitCode::from(code)
}

fn say(name: &str, language: Language) -> (String, u8) {
    if let Some((_, english, chinese)) = LEFT_OUT.iter().find(|(names, ..)| names.contains(&name)) {
        let said = match language {
            Language::English => format!("there is no {name} here: {english}. For Apache's brokers: mqadmin {name}"),
            Language::Chinese => format!("这里没有 {name}：{chinese}。对 Apache Broker 请用 mqadmin {name}"),
        };
        return (said, 1);
    }
    let command = <super::Standalone as clap::CommandFactory>::command();
    let here = command.get_subcommands().map(clap::Command::get_name);
    let nearest = protocol::nearest::nearest(name, here);
    let said = match (language, nearest) {
        (Language::English, Some(nearest)) => format!("nobody knows the command {name}; did you mean {nearest}?"),
        (Language::Chinese, Some(nearest)) => format!("未知的命令 {name}，是否想写 {nearest}？"),
        (Language::English, None) => format!("nobody knows the command {name}; cometmq admin --help lists all"),
        (Language::Chinese, None) => format!("未知的命令 {name}；cometmq admin --help 列出全部命令"),
    };
    (said, 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The names of all commands of mqadmin that interop/mqadmin runs.
    fn of_mqadmin() -> BTreeSet<&'static str> {
        let lines = include_str!("../../../../interop/mqadmin/commands.txt").lines();
        let commands = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let commands =
            commands.map(|line| line.split_once(": ").filter(|(it, _)| it.len() == 5).map_or(line, |it| it.1));
        commands.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "nosuchcommand").collect()
    }

    #[test]
    fn each_command_of_mqadmin_is_here_or_left_out_with_a_reason() {
        let command = <super::super::Standalone as clap::CommandFactory>::command();
        for name in of_mqadmin() {
            let here = command.find_subcommand(name).is_some();
            let left_out = LEFT_OUT.iter().any(|(names, ..)| names.contains(&name));
            assert!(here != left_out, "{name}: here {here}, left out {left_out}");
        }
    }

    #[test]
    fn what_nobody_knows_comes_with_the_nearest_name() {
        assert_eq!(say("electMaster", Language::English).1, 1);
        let (said, code) = say("topicLst", Language::English);
        assert!(code == 2 && said.ends_with("did you mean topicList?"), "{said}");
        assert_eq!(say("主题", Language::Chinese).1, 2);
    }
}
