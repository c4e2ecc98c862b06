//! What people read at start, in English and Chinese. Logs are in English.

use crate::listen::VipError;
use crate::serve::{Advertised, StartError};
use broker::OpenError;
use broker::adopt::{Finding, What};
use broker::config::Notes;
use broker::registration::Chosen;
use remoting::client::RequestError;
use remoting::tls::TlsError;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

/// The reader's language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// For everybody.
    English,
    /// For locales that begin with `zh`.
    Chinese,
}

impl Language {
    /// The language of a locale such as `zh_CN.UTF-8`.
    pub fn of_locale(locale: &str) -> Language {
        if locale.to_ascii_lowercase().starts_with("zh") { Language::Chinese } else { Language::English }
    }

    /// The text in this language.
    pub fn pick<'a>(self, english: &'a str, chinese: &'a str) -> &'a str {
        match self {
            Language::English => english,
            Language::Chinese => chinese,
        }
    }
}

use Language::{Chinese, English};

/// The banner's first line.
pub fn ready(after: Duration, language: Language) -> String {
    let (version, millis) = (env!("CARGO_PKG_VERSION"), after.as_millis());
    match language {
        English => format!("CometMQ {version} is ready, after {millis} ms"),
        Chinese => format!("CometMQ {version} 已就绪，用时 {millis} 毫秒"),
    }
}

/// The banner's last line.
pub fn stop(language: Language) -> String {
    language.pick("Stop it with Ctrl-C.", "按 Ctrl-C 停止。").to_owned()
}

/// How the advertised address was chosen.
pub fn advertised(advertised: &Advertised, language: Language) -> String {
    match (advertised, language) {
        (Advertised::Set, English) => "as set by --advertise or brokerIP1".into(),
        (Advertised::Set, Chinese) => "由 --advertise 或 brokerIP1 指定".into(),
        (Advertised::AsReached, English) => "each client is told the address by which it reached the name server \
            (to fix one: --advertise, brokerIP1)"
            .into(),
        (Advertised::AsReached, Chinese) => {
            "客户端用哪个地址连上名字服务器，就告诉它哪个地址（要固定地址：--advertise 或 brokerIP1）".into()
        }
        (Advertised::ThisMachine, English) => {
            "to clients on this machine only (to let others in: --listen 0.0.0.0)".into()
        }
        (Advertised::ThisMachine, Chinese) => "只有本机的客户端能连上（要让其他机器连接：--listen 0.0.0.0）".into(),
        (Advertised::Chosen(Chosen::ReachesNamesrv(namesrv)), English) => {
            format!("this machine reaches the name server {namesrv} by it (to fix another: brokerIP1)")
        }
        (Advertised::Chosen(Chosen::ReachesNamesrv(namesrv)), Chinese) => {
            format!("本机用它连接名字服务器 {namesrv}（要固定其他地址：brokerIP1）")
        }
        (Advertised::Chosen(Chosen::GoesOut), English) => {
            "this machine goes out into its network by it (to fix another: brokerIP1)".into()
        }
        (Advertised::Chosen(Chosen::GoesOut), Chinese) => "本机用它访问网络（要固定其他地址：brokerIP1）".into(),
        (Advertised::Chosen(Chosen::Loopback), English) => {
            "this machine has no network; only clients on it get here (to fix another: brokerIP1)".into()
        }
        (Advertised::Chosen(Chosen::Loopback), Chinese) => {
            "本机没有网络，只有本机的客户端能连上（要固定其他地址：brokerIP1）".into()
        }
    }
}

/// In place of the list of name servers.
pub fn no_namesrv(language: Language) -> String {
    let english = "none: no client finds this broker; name one with -n or namesrvAddr";
    language.pick(english, "无：客户端找不到这个 Broker，请用 -n 或 namesrvAddr 指定").to_owned()
}

/// `dev` has a name server of its own.
pub fn own_namesrv(others: &[String], language: Language) -> String {
    let others = others.join("  ");
    match language {
        English => format!("dev registers with its own name server only, and not with {others}"),
        Chinese => format!("dev 只向自己的名字服务器注册，不会向 {others} 注册"),
    }
}

/// `dev` tells clients of other machines an address where it does not listen.
pub fn advertised_but_local(advertised: &str, listens: IpAddr, language: Language) -> String {
    match language {
        English => format!(
            "warning: clients are told {advertised}, and dev listens on {listens} only, which other machines don't reach: add \
             --listen 0.0.0.0"
        ),
        Chinese => {
            format!(
                "警告：客户端会得到地址 {advertised}，但 dev 只监听 {listens}，其他机器连不上：请加上 --listen 0.0.0.0"
            )
        }
    }
}

/// Anybody who reaches the port may do anything.
pub fn open_to_all(address: IpAddr, language: Language) -> String {
    match language {
        English => format!(
            "warning: whoever reaches this port ({address}) may read, send and delete everything: access control is off. Keep \
             strangers off with a firewall, listen on a private address (bindAddress), or read docs/security.md"
        ),
        Chinese => format!(
            "警告：任何能连上本端口（{address}）的人都可以读取、发送和删除所有内容：访问控制未开启。请用防火墙隔离、\
             只监听内网地址（bindAddress），或参阅 docs/security.md"
        ),
    }
}

/// The VIP port is taken.
pub fn no_vip_port(error: &VipError, language: Language) -> String {
    let VipError { port, source } = error;
    match language {
        English => format!(
            "warning: no VIP port {port}: {source}. Clients that use it (Java before 4.5, vipChannelEnabled=true) can't \
             send; free the port, or choose another broker port"
        ),
        Chinese => format!(
            "警告：VIP 端口 {port} 不可用：{source}。使用它的客户端（4.5 之前的 Java 客户端，或 vipChannelEnabled=true）\
             将无法发送消息；请释放该端口，或换一个 Broker 端口"
        ),
    }
}

/// The broker does not reach itself.
pub fn unreachable(address: &str, error: &io::Error, language: Language) -> String {
    match language {
        English => format!(
            "warning: clients are told to reach this broker at {address}, and this machine itself can't: {error}. \
             Set brokerIP1 (or --advertise) to an address that clients reach, and open the port in the firewall. If \
             clients reach it from outside, all is well"
        ),
        Chinese => format!(
            "警告：客户端会得到地址 {address}，但本机自己连不上它：{error}。请把 brokerIP1（或 --advertise）设为客户端\
             能连上的地址，并在防火墙中放行该端口。如果客户端能从外部连上，可以忽略"
        ),
    }
}

/// What is to be said about a `broker.conf` that was read, a line each.
pub fn notes(path: &Path, notes: &Notes, language: Language) -> Vec<String> {
    let path = path.display();
    let mut lines = Vec::new();
    for unknown in &notes.unknown {
        let meant = match (unknown.nearest, language) {
            (Some(nearest), English) => format!("; did you mean {nearest}?"),
            (Some(nearest), Chinese) => format!("，是否想写 {nearest}？"),
            (None, _) => String::new(),
        };
        let (line, key) = (unknown.line, &unknown.key);
        lines.push(match language {
            English => format!("warning: {path}:{line}: nobody knows the key {key}{meant}"),
            Chinese => format!("警告：{path}:{line}：未知的配置项 {key}{meant}"),
        });
    }
    for repeated in &notes.repeated {
        let (line, earlier, key) = (repeated.line, repeated.earlier, &repeated.key);
        lines.push(match language {
            English => format!("warning: {path}:{line}: {key} stands in line {earlier} already; this line holds"),
            Chinese => format!("警告：{path}:{line}：{key} 在第 {earlier} 行已经出现过，以本行为准"),
        });
    }
    let list = |differs: bool| {
        let these = notes.not_honoured.iter().filter(|key| key.differs == differs);
        these.map(|key| format!("{}={}", key.key, key.value)).collect::<Vec<_>>().join(", ")
    };
    let (changed, at_default) = (list(true), list(false));
    if !changed.is_empty() {
        lines.push(match language {
            English => format!("warning: {path}: not honoured yet: {changed}"),
            Chinese => format!("警告：{path}：以下配置项暂不支持：{changed}"),
        });
    }
    if !at_default.is_empty() {
        lines.push(match language {
            English => format!("{path}: not honoured yet, and at Apache's default anyway: {at_default}"),
            Chinese => format!("{path}：以下配置项暂不支持，且与 Apache 的默认值相同：{at_default}"),
        });
    }
    lines
}

/// Keys of a `namesrv.conf` that change nothing.
pub fn ignored_in_namesrv_conf(path: &Path, ignored: &[String], language: Language) -> String {
    let (path, ignored) = (path.display(), ignored.join(", "));
    match language {
        English => format!("{path}: these change nothing here: {ignored}"),
        Chinese => format!("{path}：以下配置项在这里不起作用：{ignored}"),
    }
}

/// Why a process does not start.
pub fn start_error(error: &StartError, language: Language) -> String {
    match (error, language) {
        (StartError::Listen { address, port, flag, source }, English) if source.kind() == io::ErrorKind::AddrInUse => {
            format!(
                "port {port} on {address} is in use by another process; stop that one, or choose another port with {flag}"
            )
        }
        (StartError::Listen { address, port, flag, source }, Chinese) if source.kind() == io::ErrorKind::AddrInUse => {
            format!("{address} 的端口 {port} 已被其他进程占用；请停止该进程，或用 {flag} 换一个端口")
        }
        (StartError::Listen { address, port, flag, source }, English) => {
            format!("can't listen on port {port} of {address}: {source}; choose another port with {flag}")
        }
        (StartError::Listen { address, port, flag, source }, Chinese) => {
            format!("无法监听 {address} 的端口 {port}：{source}；请用 {flag} 换一个端口")
        }
        (StartError::BrokerConfig(error), English) => error.to_string(),
        (StartError::BrokerConfig(error), Chinese) => format!("配置文件有误：{error}"),
        (StartError::NamesrvConfig(error), English) => error.to_string(),
        (StartError::NamesrvConfig(error), Chinese) => format!("配置文件有误：{error}"),
        (StartError::Namesrv(namesrv::OpenError::Access(error)), English) => format!("access control: {error}"),
        (StartError::Namesrv(namesrv::OpenError::Access(error)), Chinese) => format!("访问控制：{error}"),
        (StartError::Namesrv(namesrv::OpenError::Kv(error)), English) => {
            format!("the name server's settings (kvConfigPath): {error}")
        }
        (StartError::Namesrv(namesrv::OpenError::Kv(error)), Chinese) => {
            format!("无法读取 NameServer 的 KV 配置（kvConfigPath）：{error}")
        }
        (
            StartError::Namesrv(namesrv::OpenError::Tls(error))
            | StartError::Open(OpenError::Tls(error))
            | StartError::Tls(error),
            _,
        ) => tls_error(error, language),
        (StartError::AdminPortOfDev, English) => {
            "adminListenPort is for `cometmq broker` and `cometmq namesrv`: dev is both \
            in one, and listens on this machine only unless told otherwise"
                .into()
        }
        (StartError::AdminPortOfDev, Chinese) => {
            "adminListenPort 用于 `cometmq broker` 和 `cometmq namesrv`：dev 把两者\
            合在一个进程里，默认只监听本机"
                .into()
        }
        (StartError::NamesrvAddr { given, value }, English) => {
            format!("{given} is {value}, which are no addresses: host:port is, several parted by `;`")
        }
        (StartError::NamesrvAddr { given, value }, Chinese) => {
            format!("{given} 的值 {value} 不是地址：应为 host:port，多个之间用 `;` 分隔")
        }
        (StartError::Advertise(value), English) => {
            format!("--advertise is {value}; an address or a name is wanted, without port")
        }
        (StartError::Advertise(value), Chinese) => format!("--advertise 的值 {value} 有误：应为地址或域名，不带端口"),
        (StartError::MetricsHost(value), English) => {
            format!("metricsPromExporterHost is {value}, which is no IP address of this machine to listen on")
        }
        (StartError::MetricsHost(value), Chinese) => {
            format!("metricsPromExporterHost 的值 {value} 不是可监听的 IP 地址")
        }
        (StartError::LogFile(path, error), English) => {
            format!("the log can't be written to {} (logFile): {error}; choose another file, or none", path.display())
        }
        (StartError::LogFile(path, error), Chinese) => {
            format!("无法写日志文件 {}（logFile）：{error}；请换一个文件，或不设该项", path.display())
        }
        (StartError::BindAddress(value), English) => format!("bindAddress is {value}, which is no IP address"),
        (StartError::BindAddress(value), Chinese) => format!("bindAddress 的值 {value} 不是 IP 地址"),
        (StartError::Open(OpenError::Store(store::OpenError::Locked { directory, key, pid })), Chinese) => {
            let pid = pid.map_or("未知".to_owned(), |pid| pid.to_string());
            format!("{} 正被进程 {pid} 使用；请先停止该进程，或换一个 {key}", directory.display())
        }
        (StartError::Open(OpenError::Refused(findings)), _) => {
            let sentences: Vec<_> = findings.iter().map(|it| format!("\n  {}", finding(it, language))).collect();
            let sentences = sentences.concat();
            match language {
                English => format!("the broker does not start on this directory:{sentences}"),
                Chinese => format!("Broker 无法在该目录上启动：{sentences}"),
            }
        }
        (StartError::Open(error), English) => format!("can't open the broker's data: {error}"),
        (StartError::Open(error), Chinese) => format!("无法打开 Broker 的数据：{error}"),
        (StartError::Close(error), English) => format!("could not bring the broker's data to disk: {error}"),
        (StartError::Close(error), Chinese) => format!("无法把 Broker 的数据写入磁盘：{error}"),
        (StartError::Threads(error) | StartError::Namesrv(namesrv::OpenError::Audit(error)), English) => {
            format!("the system gives no threads, sockets or signals: {error}")
        }
        (StartError::Threads(error) | StartError::Namesrv(namesrv::OpenError::Audit(error)), Chinese) => {
            format!("系统无法提供线程、套接字或信号：{error}")
        }
    }
}

/// Why TLS can't be as it is set.
pub fn tls_error(error: &TlsError, language: Language) -> String {
    match language {
        English => format!("TLS can't be as it is set: {error}"),
        Chinese => format!("TLS 配置有误：{error}"),
    }
}

/// What another broker keeps in the directory, and what becomes of it.
pub fn finding(finding: &Finding, language: Language) -> String {
    let path = finding.path.display();
    let list = |topics: &[String]| topics.join("、");
    let sentence = match &finding.what {
        _ if language == English => return finding.to_string(),
        What::Known => return path.to_string(),
        What::Spare => "这里不需要，为 Apache Broker 原样保留".into(),
        What::Unclean => "上一个 Broker 未正常停止；请确认它已经退出，启动时会整理日志末尾".into(),
        What::Unknown => "没有已知的 Broker 会写它；原样保留".into(),
        What::RocksDbQueues => "消费队列存放在 RocksDB 中（storeType=defaultRocksDB），这里不读取。\
            请把它连同 consumequeue 一起移走，消费队列会由提交日志重建"
            .into(),
        What::RocksDbTables => "主题、消费组或位点存放在 RocksDB 中，这里不读取。在 Apache Broker 运行时用 \
            `mqadmin rocksDBConfigToJson -b 地址` 写出 config/topics.json、config/subscriptionGroup.json、\
            config/consumerOffset.json，停止它，再移走该目录"
            .into(),
        What::RocksDbState => "RocksDB 中存有索引、定时消息、事务或 POP 消息的状态，这里不读取。请在 Apache Broker 上把 indexRocksDBEnable、\
            timerRocksDBEnable、transRocksDBEnable、popConsumerKVServiceEnable 设为 false，待处理完后停止它，再移走该目录"
            .into(),
        What::BatchTopics(topics) => format!(
            "主题 {} 的 queue.type 为 BatchCQ，这里不读取。请待其消费完后用 `mqadmin deleteTopic` 删除，或为它们保留 Apache Broker",
            list(topics)
        ),
        What::CompactionTopics(topics) => format!(
            "主题 {} 的 cleanup.policy 为 COMPACTION：早于提交日志的消息只在 compaction 目录中，这里不读取。\
             请复制到普通主题后用 `mqadmin deleteTopic` 删除，或为它们保留 Apache Broker",
            list(topics)
        ),
        What::StaticTopics(topics) => format!(
            "主题 {} 是静态主题，其队列由该表分布在多个 Broker 上，这里不读取。请复制到普通主题后删除，或为它们保留 Apache Broker",
            list(topics)
        ),
        What::ExtendedQueues => "存有消费队列的标签（enableConsumeQueueExt=true），这里不读取。\
            请把它连同 consumequeue 一起移走，消费队列会由提交日志重建"
            .into(),
        What::LmqOffsets => "比 consumerOffset.json 新：enableLmq=true 时 Apache Broker 把全部位点写在这里。\
            请用它覆盖 consumerOffset.json；轻量队列（%LMQ%…）本身不在这里提供服务"
            .into(),
        What::DLedger => "提交日志是 DLedger 格式，这里不读取。请用消费者和生产者搬移其中的消息，或为它保留 Apache Broker".into(),
        What::Timers { waiting, of_pop: 0, left: false } => format!("有 {waiting} 条定时消息尚未到期，到期时投递"),
        What::Timers { waiting, of_pop, left: false } => format!(
            "{waiting} 条定时消息中有 {of_pop} 条代表 POP 消费者手中的消息，而本版本没有 POP：未确认的消息将不会再次投递。\
             请由 Apache Broker 处理完：停止 POP 消费者，待弹出的消息过了不可见时间后停止 Broker"
        ),
        What::Timers { waiting, of_pop, left: true } => format!(
            "按 timerWheelEnable=false，{waiting} 条定时消息（其中 POP 消费者的 {of_pop} 条）不投递，保留期（fileReservedTime）过后随日志删除"
        ),
        What::OpenTransactions(count) => {
            format!("{count} 条半消息既未提交也未回滚；Broker 会向其生产者回查")
        }
        What::PopGroups(groups) => format!("消费组 {} 设为 POP 模式，本版本没有该模式；其消费者将改为拉取", list(groups)),
        What::Replica => "该 Broker 曾是带控制器的副本组的成员，在这里是独立的。请使用主节点的目录，并让其余节点保持停止".into(),
        What::Rights => "这里的 RocksDB 中存有用户和权限，本版本不读取它。请用 `mqadmin createUser` 和 `createAcl` 重新创建，\
            或在 Apache Broker 使用该目录运行时用 `mqadmin copyUser` 和 `copyAcl` 复制过来；plain_acl.yml 中的账号可由 \
            migrateAuthFromV1Enabled=true 导入"
            .into(),
        What::Tiered => "只存在于分级存储中的消息不提供服务；队列从提交日志中现有的消息开始".into(),
    };
    format!("{path}：{sentence}")
}

/// Why a client of a cluster did not do what it was asked for.
pub fn client_error(error: &client::Error, language: Language) -> String {
    use client::Error;
    match (error, language) {
        (_, English) => error.to_string(),
        (Error::NoRoute { topic, namesrv }, Chinese) => format!(
            "找不到主题 {topic} 的路由：名字服务器 {namesrv} 不知道它；请先创建主题，或在 Broker 上设置 \
             autoCreateTopicEnable=true"
        ),
        (Error::NotWritable { topic }, Chinese) => format!("主题 {topic} 无法写入：没有可写的主 Broker"),
        (Error::NoNameServer { namesrv, source }, Chinese) => {
            format!("名字服务器 {namesrv} 没有应答：{}", request_error(source))
        }
        (Error::Request(error), Chinese) => request_error(error),
        (Error::Message(reason), Chinese) => format!("消息无法发送：{reason}"),
        (other, Chinese) => other.to_string(),
    }
}

/// Why a server did not do what it was asked for, in Chinese. What a server says itself stays as it says it.
fn request_error(error: &RequestError) -> String {
    match error {
        RequestError::Connect { address, source } => {
            format!("无法连接 {address}：{source}；那里有服务器在监听吗？本机能连上它吗？")
        }
        RequestError::Broken { address } => format!("与 {address} 的连接在应答到达之前断开"),
        RequestError::Timeout { address, request, timeout } => {
            format!("{address} 在 {timeout:?} 内没有应答 {request}")
        }
        RequestError::Refused { address, request, code, remark } => {
            let name = protocol::code::response::name(*code).unwrap_or("");
            format!("{address} 拒绝了 {request}：{remark}（错误码 {code} {name}）")
        }
        RequestError::Malformed { address, request, source } => {
            format!("{address} 对 {request} 的应答无法识别：{source}")
        }
        other => other.to_string(),
    }
}

/// Why an operator's command failed.
pub fn admin_error(error: &admin::Error, language: Language) -> String {
    match (error, language) {
        (admin::Error::Client(error), _) => client_error(error, language),
        (admin::Error::NoCluster { name, known }, Chinese) => format!("没有集群 {name}；现有集群：{known}"),
        (admin::Error::File { path, error }, Chinese) => format!("无法读取 {}：{error}", path.display()),
        (admin::Error::Write { path, error }, Chinese) => format!("无法写入 {}：{error}", path.display()),
        (admin::Error::NotThere { kind, name, nearest }, Chinese) => {
            let kind = match *kind {
                "broker" => " Broker",
                "broker with the topic" => "有该主题的 Broker",
                "cluster with the topic" => "有该主题的集群",
                "timer" => "定时消息",
                "transaction" => "事务",
                "transaction that was given up" => "被放弃的事务",
                "order configuration of topic" => "主题的顺序配置",
                "topic" => "主题",
                "group" => "消费者组",
                "message" => "消息",
                "queue" | "queue to write to" => "队列",
                "member of the group" | "member of group" => "组成员",
                "setting" => "配置项",
                other => other,
            };
            let meant = nearest.as_ref().map(|it| format!("，是否想写 {it}？")).unwrap_or_default();
            format!("找不到{kind} {name}{meant}")
        }
        (admin::Error::Partly { done, failed, first }, Chinese) => {
            format!("{done} 个已完成，{failed} 个未完成：{}", admin_error(first, language))
        }
        (other, _) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use broker::config::Config;

    #[test]
    fn the_locale_chooses_the_language() {
        let of = ["zh_CN.UTF-8", "zh", "ZH_TW", "en_US", "C", ""].map(Language::of_locale);
        assert_eq!(of, [Chinese, Chinese, Chinese, English, English, English]);
    }

    #[test]
    fn notes_about_a_file_name_it_and_list_what_is_not_honoured() {
        let text = "brokerip1=a\nlistenPort=1\nlistenPort=2\nslaveReadEnable=true\nbrokerRole=ASYNC_MASTER\n";
        let (_, found) = Config::default().parse_over(Path::new("b.conf"), text).unwrap();
        assert_eq!(
            notes(Path::new("b.conf"), &found, English),
            [
                "warning: b.conf:1: nobody knows the key brokerip1; did you mean brokerIP1?",
                "warning: b.conf:3: listenPort stands in line 2 already; this line holds",
                "warning: b.conf: not honoured yet: slaveReadEnable=true",
                "b.conf: not honoured yet, and at Apache's default anyway: brokerRole=ASYNC_MASTER",
            ]
        );
        assert_eq!(
            notes(Path::new("b.conf"), &found, Chinese)[0],
            "警告：b.conf:1：未知的配置项 brokerip1，是否想写 brokerIP1？"
        );
    }
}
