//! Users and their rights.

use super::{Brokers, Dry, Namesrv, Output, done, plan};
use crate::environment::Environment;
use crate::output::table;
use ::admin::auth::{self, NewRules};
use ::admin::{Admin, Error};
use protocol::auth::{AclConfig, AclInfo, PlainAccessConfig, UserInfo};
use protocol::code::response;
use protocol::request::auth::{ExplainAccess, UpdatePlainAccess};
use protocol::topic::DataVersion;
use serde::Serialize;
use std::collections::BTreeMap;

/// Users and their rights. `-b` may name a name server, too; `-c` also means name servers that check rights.
#[derive(Debug, clap::Subcommand)]
#[command(rename_all = "camelCase")]
pub enum AuthCommand {
    /// Make a user
    CreateUser {
        #[command(flatten)]
        on: On,
        #[command(flatten)]
        dry: Dry,
        /// Its name, which clients call access key
        #[arg(short, long)]
        username: String,
        /// Its secret, which clients call secret key
        #[arg(short, long)]
        password: String,
        /// Normal, or Super: may do everything
        #[arg(short = 't', long = "userType")]
        user_type: Option<String>,
    },
    /// Change a user
    UpdateUser {
        #[command(flatten)]
        on: On,
        #[command(flatten)]
        dry: Dry,
        /// Its name
        #[arg(short, long)]
        username: String,
        /// A new secret
        #[arg(short, long)]
        password: Option<String>,
        /// Normal, or Super: may do everything
        #[arg(short = 't', long = "userType")]
        user_type: Option<String>,
        /// enable, or disable: may not come in
        #[arg(short = 's', long = "userStatus")]
        user_status: Option<String>,
    },
    /// Delete a user and its rules
    DeleteUser {
        #[command(flatten)]
        on: On,
        #[command(flatten)]
        dry: Dry,
        /// Its name
        #[arg(short, long)]
        username: String,
    },
    /// A user
    GetUser {
        #[command(flatten)]
        on: On,
        /// Its name
        #[arg(short, long)]
        username: String,
        #[command(flatten)]
        output: Output,
    },
    /// All users
    ListUser {
        #[command(flatten)]
        on: On,
        /// Only those who have this in their name
        #[arg(short, long)]
        filter: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Take users over from another broker, Apache's too
    CopyUser {
        #[command(flatten)]
        copy: Copy,
        #[command(flatten)]
        dry: Dry,
        /// Only these, parted by commas
        #[arg(short, long)]
        usernames: Option<String>,
    },
    /// Give a user rules, or deny it something
    CreateAcl {
        #[command(flatten)]
        on: On,
        #[command(flatten)]
        dry: Dry,
        #[command(flatten)]
        rules: Rules,
    },
    /// Change rules of a user
    UpdateAcl {
        #[command(flatten)]
        on: On,
        #[command(flatten)]
        dry: Dry,
        #[command(flatten)]
        rules: Rules,
    },
    /// Delete a rule of a user, or all
    DeleteAcl {
        #[command(flatten)]
        on: On,
        #[command(flatten)]
        dry: Dry,
        /// User:name
        #[arg(short, long)]
        subject: String,
        /// The rule for this alone
        #[arg(short = 'r', long = "resources")]
        resource: Option<String>,
    },
    /// The rules of a user
    GetAcl {
        #[command(flatten)]
        on: On,
        /// User:name
        #[arg(short, long)]
        subject: String,
        #[command(flatten)]
        output: Output,
    },
    /// All rules
    ListAcl {
        #[command(flatten)]
        on: On,
        /// Only of users who have this in their name
        #[arg(short, long)]
        subject: Option<String>,
        /// Only for resources that have this in theirs
        #[arg(short, long)]
        resource: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Take rules over from another broker, Apache's too
    CopyAcl {
        #[command(flatten)]
        copy: Copy,
        #[command(flatten)]
        dry: Dry,
        /// Only of these, User:name, parted by commas
        #[arg(short, long)]
        subjects: Option<String>,
    },
    /// Make an account of plain_acl.yml, or change it
    UpdateAclConfig(UpdateAclConfig),
    /// Delete an account of plain_acl.yml
    DeleteAclConfig {
        #[command(flatten)]
        on: On,
        #[command(flatten)]
        dry: Dry,
        /// Its name
        #[arg(short, long = "accessKey")]
        account: String,
    },
    /// The addresses from which everything is allowed
    UpdateGlobalWhiteAddr {
        #[command(flatten)]
        on: On,
        #[command(flatten)]
        dry: Dry,
        /// Addresses, parted by commas: 10.10.103.*,192.168.0.*
        #[arg(short, long = "globalWhiteRemoteAddresses")]
        global: String,
        /// The file; without it plain_acl.yml
        #[arg(short = 'p', long = "aclFileFullPath")]
        file: Option<String>,
    },
    /// How often account files were changed
    ClusterAclConfigVersion {
        #[command(flatten)]
        on: On,
        #[command(flatten)]
        output: Output,
    },
    /// All accounts of plain_acl.yml; their secrets are left out of the table
    GetAclConfig {
        #[command(flatten)]
        on: On,
        #[command(flatten)]
        output: Output,
    },
    /// Which rule decides
    #[command(subcommand)]
    Acl(AclCommand),
}

/// Which rule decides.
#[derive(Debug, clap::Subcommand)]
pub enum AclCommand {
    /// May a user do this, and which rule says so?
    Explain {
        #[command(flatten)]
        on: On,
        /// The user
        #[arg(long)]
        user: String,
        /// Pub, Sub, Create, Update, Delete, Get or List
        #[arg(long)]
        action: String,
        /// Topic:name, Group:name or Cluster:name
        #[arg(long)]
        resource: String,
        /// From which address
        #[arg(long)]
        source_ip: Option<String>,
        #[command(flatten)]
        output: Output,
    },
}

/// Which servers.
#[derive(Debug, clap::Args)]
pub struct On {
    #[command(flatten)]
    brokers: Brokers,
    #[command(flatten)]
    namesrv: Namesrv,
}

/// From where to where.
#[derive(Debug, clap::Args)]
pub struct Copy {
    /// From here
    #[arg(short, long = "fromBroker", value_name = "ADDRESS")]
    from: String,
    /// To there
    #[arg(short, long = "toBroker", value_name = "ADDRESS")]
    to: String,
    #[command(flatten)]
    namesrv: Namesrv,
}

/// Rules of a user.
#[derive(Debug, clap::Args)]
pub struct Rules {
    /// User:name
    #[arg(short, long)]
    subject: String,
    /// Topic:name, Topic:begin*, Topic:*, Group:…, Cluster:… or *; several parted by commas
    #[arg(short, long, value_delimiter = ',')]
    resources: Vec<String>,
    /// Pub, Sub, Create, Update, Delete, Get, List or All; several parted by commas
    #[arg(short, long, value_delimiter = ',')]
    actions: Vec<String>,
    /// Only from these addresses, or ranges like 10.0.0.0/8; several parted by commas
    #[arg(short = 'i', long = "sourceIp", value_delimiter = ',')]
    source_ips: Vec<String>,
    /// Allow or Deny
    #[arg(short, long)]
    decision: String,
}

impl Rules {
    fn split(self) -> (String, NewRules) {
        let Rules { subject, resources, actions, source_ips, decision } = self;
        (subject, NewRules { resources, actions, source_ips, decision })
    }
}

/// Make an account of plain_acl.yml, or change it.
#[derive(Debug, clap::Args)]
pub struct UpdateAclConfig {
    #[command(flatten)]
    on: On,
    #[command(flatten)]
    dry: Dry,
    /// Its name
    #[arg(short, long = "accessKey")]
    account: String,
    /// Its secret
    #[arg(short, long = "secretKey")]
    secret: String,
    /// Addresses from which its name alone is believed
    #[arg(short, long = "whiteRemoteAddress")]
    white: Option<String>,
    /// Of topics that are not named: DENY, PUB, SUB, PUB|SUB
    #[arg(short = 'i', long = "defaultTopicPerm")]
    default_topic_perm: Option<String>,
    /// Of groups that are not named
    #[arg(short = 'u', long = "defaultGroupPerm")]
    default_group_perm: Option<String>,
    /// topicA=DENY,topicD=SUB
    #[arg(short, long = "topicPerms")]
    topic_perms: Option<String>,
    /// groupA=DENY,groupD=SUB
    #[arg(short, long = "groupPerms")]
    group_perms: Option<String>,
    /// true: may change topics, groups and settings
    #[arg(short = 'm', long = "admin", default_value_t = false, action = clap::ArgAction::Set)]
    admin: bool,
}

impl On {
    /// The servers that are meant, and how to ask them. With a cluster, its name servers are among them.
    async fn servers(&self, environment: &Environment) -> Result<(Admin, Vec<String>), Error> {
        let admin = self.namesrv.admin(environment);
        let mut servers = self.brokers.addresses(&admin).await?;
        if self.brokers.broker.is_none() {
            servers.extend(admin.name_servers().iter().cloned());
        }
        Ok((admin, servers))
    }

    /// Says what would change on each server: `now` tells what is there, `then` what would be. Of a cluster, name servers
    /// that check nobody's rights are passed over.
    async fn plan<T: Serialize>(
        &self,
        environment: &Environment,
        now: impl AsyncFn(&Admin, &str) -> Result<Option<T>, Error>,
        then: impl Fn(&Option<T>) -> Option<T>,
    ) -> Result<(), Error> {
        let (admin, servers) = self.servers(environment).await?;
        for server in servers {
            let now = match now(&admin, &server).await {
                Err(error) if self.is_open_name_server(&admin, &server, &error) => continue,
                now => now?,
            };
            plan::show(environment, &server, now.as_ref(), then(&now).as_ref());
        }
        Ok(())
    }

    /// Tells each server, and says so. Of a cluster, name servers that check nobody's rights are passed over.
    async fn tell(
        &self,
        environment: &Environment,
        said: (&str, &str),
        tell: impl AsyncFn(&Admin, &str) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (admin, servers) = self.servers(environment).await?;
        for server in servers {
            match tell(&admin, &server).await {
                Err(error) if self.is_open_name_server(&admin, &server, &error) => continue,
                told => told?,
            }
            done(environment, said.0, said.1, &server);
        }
        Ok(())
    }

    fn is_open_name_server(&self, admin: &Admin, server: &str, error: &Error) -> bool {
        let among = self.brokers.broker.is_none() && admin.name_servers().iter().any(|known| known == server);
        among && error.code() == Some(response::REQUEST_CODE_NOT_SUPPORTED)
    }

    /// The first server that is meant.
    async fn first(&self, environment: &Environment) -> Result<(Admin, String), Error> {
        let (admin, servers) = self.servers(environment).await?;
        Ok((admin, servers.into_iter().next().unwrap_or_default()))
    }
}

pub async fn run(command: AuthCommand, environment: &Environment) -> Result<(), Error> {
    use AuthCommand::*;
    let pick = |english, chinese| environment.language.pick(english, chinese);
    const CHANGED: (&str, &str) = ("created or changed on", "已创建或更新于");
    const DELETED: (&str, &str) = ("deleted on", "已删除于");
    match command {
        CreateUser { on, dry, username, password, user_type } => {
            let user = UserInfo { username: Some(username), password: Some(password), user_type, user_status: None };
            if dry.dry_run {
                return plan_user(&on, environment, &user, true).await;
            }
            on.tell(environment, CHANGED, async |admin, server| auth::create_user(admin, server, &user).await).await?;
        }
        UpdateUser { on, dry, username, password, user_type, user_status } => {
            let user = UserInfo { username: Some(username), password, user_type, user_status };
            if dry.dry_run {
                return plan_user(&on, environment, &user, false).await;
            }
            on.tell(environment, CHANGED, async |admin, server| auth::update_user(admin, server, &user).await).await?;
        }
        DeleteUser { on, dry, username } => {
            if dry.dry_run {
                let now = async |admin: &Admin, server: &str| auth::user(admin, server, &username).await.map(hidden);
                return on.plan(environment, now, |_| None).await;
            }
            on.tell(environment, DELETED, async |admin, server| auth::delete_user(admin, server, &username).await)
                .await?;
        }
        GetUser { on, username, output } => {
            let (admin, server) = on.first(environment).await?;
            let found: Vec<UserInfo> = auth::user(&admin, &server, &username).await?.into_iter().collect();
            show_users(environment, &output, &found);
        }
        ListUser { on, filter, output } => {
            let (admin, server) = on.first(environment).await?;
            show_users(environment, &output, &auth::users(&admin, &server, filter).await?);
        }
        CopyUser { copy, dry, usernames } => {
            let admin = copy.namesrv.admin(environment);
            let wanted: Option<Vec<&str>> = usernames.as_deref().map(|names| names.split(',').map(str::trim).collect());
            for user in auth::users(&admin, &copy.from, None).await? {
                let name = user.username.clone().unwrap_or_default();
                if wanted.as_ref().is_some_and(|wanted| !wanted.contains(&name.as_str())) {
                    continue;
                }
                let there = auth::user(&admin, &copy.to, &name).await?;
                if dry.dry_run {
                    let after = changed(&there, &user);
                    let on = format!("{}  {name}", copy.to);
                    plan::show(environment, &on, hidden(there).as_ref(), Some(&after));
                    continue;
                }
                match there {
                    None => auth::create_user(&admin, &copy.to, &user).await?,
                    Some(_) => auth::update_user(&admin, &copy.to, &user).await?,
                }
                done(environment, "copied", "已复制", &name);
            }
        }
        CreateAcl { on, dry, rules } => {
            let (subject, rules) = rules.split();
            if dry.dry_run {
                return plan_rules(&on, environment, &subject, |now| now.extend(by_resource(&rules.info(&subject))))
                    .await;
            }
            on.tell(environment, CHANGED, async |admin, server| {
                auth::create_acl(admin, server, &subject, &rules).await
            })
            .await?;
        }
        UpdateAcl { on, dry, rules } => {
            let (subject, rules) = rules.split();
            if dry.dry_run {
                return plan_rules(&on, environment, &subject, |now| now.extend(by_resource(&rules.info(&subject))))
                    .await;
            }
            on.tell(environment, CHANGED, async |admin, server| {
                auth::update_acl(admin, server, &subject, &rules).await
            })
            .await?;
        }
        DeleteAcl { on, dry, subject, resource } => {
            if dry.dry_run {
                return plan_rules(&on, environment, &subject, |now| match &resource {
                    Some(resource) => _ = now.remove(resource),
                    None => now.clear(),
                })
                .await;
            }
            let delete =
                async |admin: &Admin, server: &str| auth::delete_acl(admin, server, &subject, resource.clone()).await;
            on.tell(environment, DELETED, delete).await?;
        }
        GetAcl { on, subject, output } => {
            let (admin, server) = on.first(environment).await?;
            let found: Vec<AclInfo> = auth::acl(&admin, &server, &subject).await?.into_iter().collect();
            show_acls(environment, &output, &found);
        }
        ListAcl { on, subject, resource, output } => {
            let (admin, server) = on.first(environment).await?;
            show_acls(environment, &output, &auth::acls(&admin, &server, subject, resource).await?);
        }
        CopyAcl { copy, dry, subjects } => {
            let admin = copy.namesrv.admin(environment);
            let wanted: Option<Vec<&str>> = subjects.as_deref().map(|names| names.split(',').map(str::trim).collect());
            for acl in auth::acls(&admin, &copy.from, None, None).await? {
                let subject = acl.subject.clone().unwrap_or_default();
                if wanted.as_ref().is_some_and(|wanted| !wanted.contains(&subject.as_str())) {
                    continue;
                }
                if dry.dry_run {
                    let now = auth::acl(&admin, &copy.to, &subject).await?.as_ref().map(by_resource);
                    let mut after = now.clone().unwrap_or_default();
                    after.extend(by_resource(&acl));
                    let on = format!("{}  {subject}", copy.to);
                    plan::show(environment, &on, now.as_ref(), Some(&after));
                    continue;
                }
                auth::put_acl(&admin, &copy.to, &acl).await?;
                done(environment, "copied", "已复制", &subject);
            }
        }
        UpdateAclConfig(args) => {
            let account = UpdatePlainAccess {
                access_key: Some(args.account),
                secret_key: Some(args.secret),
                white_remote_address: args.white,
                admin: Some(args.admin),
                default_topic_perm: args.default_topic_perm,
                default_group_perm: args.default_group_perm,
                topic_perms: args.topic_perms,
                group_perms: args.group_perms,
            };
            if args.dry.dry_run {
                let then = |now: &Option<PlainAccessConfig>| Some(changed_account(now, &account));
                return args.on.plan(environment, account_of(account.access_key.clone()), then).await;
            }
            args.on
                .tell(environment, CHANGED, async |admin, server| auth::put_account(admin, server, &account).await)
                .await?;
        }
        DeleteAclConfig { on, dry, account } => {
            if dry.dry_run {
                return on.plan(environment, account_of(Some(account)), |_| None).await;
            }
            on.tell(environment, DELETED, async |admin, server| auth::delete_account(admin, server, &account).await)
                .await?;
        }
        UpdateGlobalWhiteAddr { on, dry, global, file } => {
            if dry.dry_run {
                let table = |addresses: String| BTreeMap::from([("globalWhiteRemoteAddresses", addresses)]);
                let now = async |admin: &Admin, server: &str| {
                    Ok(Some(table(auth::accounts(admin, server).await?.global_white_addrs.join(","))))
                };
                return on.plan(environment, now, |_| Some(table(global.clone()))).await;
            }
            let put = async |admin: &Admin, server: &str| {
                auth::put_white_addresses(admin, server, &global, file.clone()).await
            };
            on.tell(environment, CHANGED, put).await?;
        }
        ClusterAclConfigVersion { on, output } => {
            let (admin, server) = on.first(environment).await?;
            let found = auth::account_version(&admin, &server).await?;
            let versions: BTreeMap<String, DataVersion> =
                protocol::json::read(found.all_acl_file_version.as_bytes()).unwrap_or_default();
            output.show(&versions, |versions| {
                let row = |(file, version): (&String, &DataVersion)| {
                    vec![found.broker_name.clone(), file.clone(), version.counter.to_string()]
                };
                let head = [pick("broker", "Broker"), pick("file", "文件"), pick("changes", "修改次数")];
                table(&head, &versions.iter().map(row).collect::<Vec<_>>())
            });
        }
        GetAclConfig { on, output } => {
            let (admin, server) = on.first(environment).await?;
            output.show(&auth::accounts(&admin, &server).await?, |found: &AclConfig| {
                let row = |it: &PlainAccessConfig| {
                    let admin = it.admin.to_string();
                    let defaults = [&it.default_topic_perm, &it.default_group_perm].map(String::clone);
                    [
                        vec![it.access_key.clone(), admin, it.white_remote_address.clone()],
                        defaults.to_vec(),
                        vec![it.topic_perms.join(" "), it.group_perms.join(" ")],
                    ]
                    .concat()
                };
                let head = [
                    pick("account", "账号"),
                    "admin",
                    pick("trusted addresses", "信任地址"),
                    pick("other topics", "其他主题"),
                    pick("other groups", "其他消费组"),
                    pick("topics", "主题"),
                    pick("groups", "消费组"),
                ];
                let trusted = pick("everything is allowed from", "完全信任的地址");
                let all = table(&head, &found.plain_access_configs.iter().map(row).collect::<Vec<_>>());
                format!("{trusted}: {}\n{all}", found.global_white_addrs.join(" "))
            });
        }
        Acl(AclCommand::Explain { on, user, action, resource, source_ip, output }) => {
            let (admin, server) = on.first(environment).await?;
            let what = ExplainAccess { username: user, action, resource, source_ip };
            output.show(&auth::explain(&admin, &server, &what).await?, |why| {
                let allowed = if why.allowed { pick("allowed", "允许") } else { pick("refused", "拒绝") };
                let mut text = format!("{allowed}: {}\n", why.why);
                for (name, value) in [
                    (pick("user from", "用户来源"), why.origin.clone()),
                    (pick("policy", "策略"), why.policy_type.clone()),
                    (pick("rule", "规则"), why.rule.as_ref().map(rule_text)),
                ] {
                    if let Some(value) = value {
                        text.push_str(&format!("{name}: {value}\n"));
                    }
                }
                text
            });
        }
    }
    Ok(())
}

/// A user whose secret nobody is shown.
fn hidden(user: Option<UserInfo>) -> Option<UserInfo> {
    user.map(|user| UserInfo { password: None, ..user })
}

/// A user after a change. A secret is only said to be another one.
fn changed(now: &Option<UserInfo>, change: &UserInfo) -> UserInfo {
    let known = now.clone().unwrap_or_default();
    let other = change.password.as_ref().is_some_and(|it| Some(it) != known.password.as_ref());
    UserInfo {
        username: change.username.clone(),
        password: other.then(|| "***".to_owned()),
        user_type: change.user_type.clone().or(known.user_type),
        user_status: change.user_status.clone().or(known.user_status),
    }
}

async fn plan_user(on: &On, environment: &Environment, user: &UserInfo, new: bool) -> Result<(), Error> {
    let name = user.username.clone().unwrap_or_default();
    let (admin, servers) = on.servers(environment).await?;
    for server in servers {
        let now = match auth::user(&admin, &server, &name).await {
            Err(error) if on.is_open_name_server(&admin, &server, &error) => continue,
            now => now?,
        };
        match (&now, new) {
            (Some(_), true) => {
                plan::act(environment, ("the user is there and it would be refused", "用户已存在，将被拒绝"), &server);
            }
            (None, false) => {
                plan::act(
                    environment,
                    ("there is no such user and it would be refused", "没有该用户，将被拒绝"),
                    &server,
                );
            }
            _ => plan::show(environment, &server, hidden(now.clone()).as_ref(), Some(&changed(&now, user))),
        }
    }
    Ok(())
}

/// Resource → what its rule says.
fn by_resource(acl: &AclInfo) -> BTreeMap<String, String> {
    let rules = acl.policies.iter().flat_map(|policy| &policy.entries);
    rules.map(|rule| (rule.resource.clone().unwrap_or_default(), rule_text(rule))).collect()
}

async fn plan_rules(
    on: &On,
    environment: &Environment,
    subject: &str,
    change: impl Fn(&mut BTreeMap<String, String>),
) -> Result<(), Error> {
    let now =
        async |admin: &Admin, server: &str| Ok(auth::acl(admin, server, subject).await?.as_ref().map(by_resource));
    let then = |now: &Option<BTreeMap<String, String>>| {
        let mut after = now.clone().unwrap_or_default();
        change(&mut after);
        Some(after).filter(|after| !after.is_empty())
    };
    on.plan(environment, now, then).await
}

/// Asks for an account, without its secret.
fn account_of(name: Option<String>) -> impl AsyncFn(&Admin, &str) -> Result<Option<PlainAccessConfig>, Error> {
    let name = name.unwrap_or_default();
    async move |admin: &Admin, server: &str| {
        let all = auth::accounts(admin, server).await?.plain_access_configs;
        let found = all.into_iter().find(|account| account.access_key == name);
        Ok(found.map(|account| PlainAccessConfig { secret_key: String::new(), ..account }))
    }
}

/// An account after a change.
fn changed_account(now: &Option<PlainAccessConfig>, change: &UpdatePlainAccess) -> PlainAccessConfig {
    let list = |text: &str| text.split(',').map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned).collect();
    let mut after = now.clone().unwrap_or_default();
    after.access_key = change.access_key.clone().unwrap_or_default();
    after.secret_key = change.secret_key.as_ref().map_or_else(String::new, |_| "***".to_owned());
    after.admin = change.admin.unwrap_or(after.admin);
    for (field, value) in [
        (&mut after.white_remote_address, &change.white_remote_address),
        (&mut after.default_topic_perm, &change.default_topic_perm),
        (&mut after.default_group_perm, &change.default_group_perm),
    ] {
        if let Some(value) = value {
            field.clone_from(value);
        }
    }
    after.topic_perms = change.topic_perms.as_deref().map_or(after.topic_perms, list);
    after.group_perms = change.group_perms.as_deref().map_or(after.group_perms, list);
    after
}

fn rule_text(rule: &protocol::auth::PolicyEntryInfo) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let from = rule.source_ips.as_ref().map(|ips| format!(" from {}", ips.join(","))).unwrap_or_default();
    format!("{} {} {}{from}", text(&rule.decision), rule.actions.join(","), text(&rule.resource))
}

fn show_users(environment: &Environment, output: &Output, users: &[UserInfo]) {
    let pick = |english, chinese| environment.language.pick(english, chinese);
    output.show(users, |users| {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let row = |it: &UserInfo| vec![text(&it.username), text(&it.user_type), text(&it.user_status)];
        let head = [pick("user", "用户"), pick("type", "类型"), pick("status", "状态")];
        table(&head, &users.iter().map(row).collect::<Vec<_>>())
    });
}

fn show_acls(environment: &Environment, output: &Output, acls: &[AclInfo]) {
    let pick = |english, chinese| environment.language.pick(english, chinese);
    output.show(acls, |acls| {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let mut rows = Vec::new();
        for acl in acls {
            for policy in &acl.policies {
                for rule in &policy.entries {
                    rows.push(vec![
                        text(&acl.subject),
                        text(&policy.policy_type),
                        text(&rule.resource),
                        rule.actions.join(","),
                        rule.source_ips.clone().unwrap_or_default().join(","),
                        text(&rule.decision),
                    ]);
                }
            }
        }
        let head = [
            pick("subject", "主体"),
            pick("policy", "策略"),
            pick("resource", "资源"),
            pick("actions", "操作"),
            pick("from", "来源地址"),
            pick("decision", "决定"),
        ];
        table(&head, &rows)
    });
}
