//! The gate: who asks, and may they? Every request passes here before it is handled, on every port.
//!
//! 1. from an address that is trusted, everything is allowed
//! 2. who signed it?                         (`remoting::signature`)
//! 3. what does such a request need?         (`codes`)
//! 4. does the user have all of that?        (`rule`)

use crate::Access;
use crate::codes::{self, Needs};
use crate::rule::{Actions, Asked, Decision, Kind, PUB, SUB};
use crate::users::{Origin, User, Users};
use protocol::code::{request, response};
use protocol::command::Command;
use protocol::topic::{
    DLQ_PREFIX, RETRY_PREFIX, SCHEDULE_TOPIC, SYSTEM_PREFIX, TRANSACTION_GIVEN_UP_TOPIC, TRANSACTION_HALF_TOPIC,
    TRANSACTION_OP_TOPIC,
};
use remoting::signature::{ACCESS_KEY, SIGNATURE};
use remoting::{Peer, Reject};
use std::net::IpAddr;
use std::sync::Arc;

/// What the gate must know of a server, because requests name it by a number or an id only.
pub trait World {
    /// The topic for which the message at this place of the log is meant. `None`: there is no message.
    fn topic_at(&self, offset: i64) -> Option<String>;

    /// The users whose connections this client has, as a member of this consumer group and as a producer. `None`: nobody.
    fn users_of_client(&self, group: &str, client: &str) -> [Option<Arc<str>>; 2];

    /// The clusters that this server knows, if it is of none itself.
    fn clusters(&self) -> Vec<String>;

    /// Is this where replies to requests are kept?
    fn is_reply_topic(&self, topic: &str) -> bool;
}

/// A request in front of the gate.
pub(crate) struct Asking<'a> {
    pub(crate) command: &'a Command,
    pub(crate) world: &'a dyn World,
    user: &'a User,
    address: IpAddr,
    /// The cluster to which the server belongs.
    cluster: Option<&'a str>,
}

impl Access {
    /// Refuses a request that its sender may not make.
    pub fn check(&self, peer: &Peer, command: &Command, world: &dyn World) -> Result<(), Reject> {
        let users = self.users();
        let address = peer.address().ip().to_canonical();
        if users.trusts(address) {
            peer.set_user(Some(&self.nobody));
            return Ok(());
        }
        let user = self.authenticate(&users, address, command).inspect_err(|_| peer.set_user(None))?;
        let Some(user) = user else {
            peer.set_user(None);
            return match self.config.authorization && !self.config.authorization_whitelist.contains(&command.code) {
                true => Err(unauthenticated(&users, "username cannot be null.", "No accessKey is configured")),
                false => Ok(()),
            };
        };
        peer.set_user(Some(&user.name));
        let checked = match user.origin {
            Origin::Table => self.config.authorization,
            Origin::File(_) => true,
        };
        if user.everything || !checked || self.config.authorization_whitelist.contains(&command.code) {
            return Ok(());
        }
        if user.white.contains(address) {
            return Ok(());
        }
        let mut asking = Asking { command, world, user: &user, address, cluster: self.cluster.as_deref() };
        match codes::needs(command.code) {
            Some(Needs::All(needs)) => needs.iter().try_for_each(|need| need.ask(&mut asking)),
            Some(Needs::Looks(look, _)) => look(&mut asking),
            Some(Needs::Super) => Err(asking.only_super()),
            None => Err(Reject::new(
                response::NO_PERMISSION,
                format!(
                    "request {} has no rule that says who may make it, so that only users who may do everything make it; \
                     User:{} is not one of them",
                    name_of(command.code),
                    user.name
                ),
            )),
        }
    }

    /// Who signed this request; `None`: nobody has to.
    fn authenticate(&self, users: &Users, address: IpAddr, command: &Command) -> Result<Option<Arc<User>>, Reject> {
        if self.config.authentication && self.config.authentication_whitelist.contains(&command.code) {
            return Ok(None);
        }
        // Clients in C++ and Python send an empty one.
        let name = command.ext.get(ACCESS_KEY).filter(|name| !name.is_empty());
        let Some(name) = name else {
            return Err(unauthenticated(users, "username cannot be null.", "No accessKey is configured"));
        };
        let shown: String = name.chars().take(128).collect();
        let Some(user) = users.get(name) else {
            let (second, first) = (format!("User:{shown} is not found."), format!("No acl config for {shown}"));
            return Err(unauthenticated(users, &second, &first));
        };
        if !user.enabled {
            return Err(unauthenticated(users, &format!("User:{shown} is disabled."), ""));
        }
        let ambiguous = |ambiguous: remoting::signature::Ambiguous| {
            Reject::new(response::NO_PERMISSION, format!("{ambiguous}; send it once"))
        };
        if user.white.contains(address) {
            remoting::signature::unambiguous(command).map_err(ambiguous)?;
            return Ok(Some(user.clone()));
        }
        let signature = command.ext.get(SIGNATURE).unwrap_or("");
        match user.key.signed(command, signature).map_err(ambiguous)? {
            true => Ok(Some(user.clone())),
            false => {
                let first = format!("Check signature failed for accessKey={shown}");
                Err(match user.origin {
                    Origin::Table => refused("check signature failed.", HELP_SIGNATURE),
                    Origin::File(_) => refused(&first, HELP_SIGNATURE),
                })
            }
        }
    }

    /// May this user send to this topic? Asked for those whom the broker tells something of its own accord. An empty name is
    /// an address that is trusted.
    pub fn may_publish(&self, user: Option<&str>, address: IpAddr, topic: &str) -> bool {
        let users = self.users();
        let Some(name) = user else { return false };
        if name.is_empty() {
            return users.trusts(address);
        }
        let Some(user) = users.get(name).filter(|user| user.enabled) else { return false };
        let checked = self.config.authorization || matches!(user.origin, Origin::File(_));
        !checked || user.everything || decide(user, address, &topic_asked(topic, PUB)).allows()
    }
}

const HELP_SIGNATURE: &str = "The secret key is not the one that the server knows for this access key, or the request was \
    changed on its way";

fn refused(sentence: &str, help: &str) -> Reject {
    Reject::new(response::NO_PERMISSION, format!("{sentence} {help}").trim().to_owned())
}

/// Apache's sentence of 5.x where users are kept in the table, else that of 4.x.
fn unauthenticated(users: &Users, second: &str, first: &str) -> Reject {
    let sentence = if users.has_table || first.is_empty() { second } else { first };
    refused(
        sentence,
        "This server lets in only requests that a user signs who may do this: give the client an access key and a \
        secret key",
    )
}

/// What a topic's name asks for: a retry topic is its group's.
enum TopicAsked<'a> {
    Topic { name: &'a str, actions: Actions, by_name: bool },
    Group { name: &'a str, actions: Actions },
}

fn topic_asked(topic: &str, actions: Actions) -> TopicAsked<'_> {
    if let Some(group) = topic.strip_prefix(RETRY_PREFIX) {
        // Who sends there sends a message of the group's back.
        let actions = match actions.common(PUB).is_none() {
            true => actions,
            false => actions.without(PUB).and(SUB),
        };
        return TopicAsked::Group { name: group, actions };
    }
    let moves_messages = !actions.common(PUB.and(SUB)).is_none();
    TopicAsked::Topic { name: topic, actions, by_name: moves_messages && holds_messages_of_others(topic) }
}

/// Topics in which messages lie that were sent to other topics: a rule for all topics does not mean them.
fn holds_messages_of_others(topic: &str) -> bool {
    topic.starts_with(DLQ_PREFIX)
        || topic.starts_with('%')
        || topic.starts_with(SYSTEM_PREFIX)
        || [SCHEDULE_TOPIC, TRANSACTION_HALF_TOPIC, TRANSACTION_OP_TOPIC, TRANSACTION_GIVEN_UP_TOPIC].contains(&topic)
}

fn decide<'a>(user: &'a User, address: IpAddr, asked: &TopicAsked<'_>) -> Decision<'a> {
    let asked = match *asked {
        TopicAsked::Topic { name, actions, by_name } => Asked { kind: Kind::Topic, name, actions, by_name, address },
        TopicAsked::Group { name, actions } => Asked { kind: Kind::Group, name, actions, by_name: false, address },
    };
    user.rights.decide(&asked)
}

/// What decides about an action on a resource that an operator names.
pub(crate) fn decide_about<'a>(
    user: &'a User,
    address: IpAddr,
    kind: Kind,
    name: &str,
    actions: Actions,
) -> Decision<'a> {
    match kind {
        Kind::Topic => decide(user, address, &topic_asked(name, actions)),
        _ => user.rights.decide(&Asked { kind, name, actions, by_name: false, address }),
    }
}

impl Asking<'_> {
    /// One of the actions on a topic. A retry topic is its group's.
    pub(crate) fn topic(&mut self, topic: &str, actions: Actions) -> Result<(), Reject> {
        match topic_asked(topic, actions) {
            TopicAsked::Topic { name, actions, by_name } => self.ask(Kind::Topic, name, actions, by_name),
            TopicAsked::Group { name, actions } => self.group(name, actions),
        }
    }

    /// One of the actions on the topic for which the message at this place is meant. Where there is none, the handler says so.
    pub(crate) fn topic_at(&mut self, offset: Option<i64>, actions: Actions) -> Result<(), Reject> {
        let topic = offset.and_then(|offset| self.world.topic_at(offset));
        topic.map_or(Ok(()), |topic| self.topic(&topic, actions))
    }

    /// One of the actions on a group.
    pub(crate) fn group(&mut self, group: &str, actions: Actions) -> Result<(), Reject> {
        self.ask(Kind::Group, group, actions, false)
    }

    /// One of the actions on the cluster: the server's own. A name server serves any: there, it is the one that the request means, else
    /// each that there is.
    pub(crate) fn cluster(&mut self, actions: Actions) -> Result<(), Reject> {
        if let Some(own) = self.cluster {
            return self.ask(Kind::Cluster, own, actions, false);
        }
        if let Some(meant) = codes::cluster_of(self.command) {
            return self.ask(Kind::Cluster, &meant, actions, false);
        }
        match self.world.clusters() {
            // No cluster has this name: it takes a rule for all of them.
            none if none.is_empty() => self.ask(Kind::Cluster, "*", actions, false),
            all => all.iter().try_for_each(|cluster| self.ask(Kind::Cluster, cluster, actions, false)),
        }
    }

    /// No other user has this client.
    pub(crate) fn own_client(&mut self, group: &str, client: &str) -> Result<(), Reject> {
        match self.world.users_of_client(group, client).into_iter().flatten().find(|owner| **owner != *self.user.name) {
            Some(_) => Err(Reject::new(
                response::NO_PERMISSION,
                format!(
                    "User:{} has no permission to speak for client {}: it is connected as another user; give each \
                     application an instance name of its own",
                    self.user.name,
                    short(client)
                ),
            )),
            None => Ok(()),
        }
    }

    fn ask(&self, kind: Kind, name: &str, actions: Actions, by_name: bool) -> Result<(), Reject> {
        let asked = Asked { kind, name, actions, by_name, address: self.address };
        let decision = self.user.rights.decide(&asked);
        if decision.allows() { Ok(()) } else { Err(self.refusal(&asked, decision)) }
    }

    /// Apache's sentences: of 5.x for users in the table, of 4.x for accounts in files; and what helps.
    fn refusal(&self, asked: &Asked<'_>, decision: Decision<'_>) -> Reject {
        let (user, resource) = (&self.user.name, short(&asked.resource()));
        let (what, request) = (asked.actions, name_of(self.command.code));
        let remark = match (&self.user.origin, decision) {
            (Origin::Table, Decision::Denied(of, rule)) => format!(
                "User:{user} has no permission to access {resource} from {}, the decision is deny. {request} needs {what}; the \
                 {} rule for {} denies it",
                self.address,
                of.name(),
                rule.resource
            ),
            (Origin::Table, _) => format!(
                "User:{user} has no permission to access {resource} from {}, no matched policies. {request} needs {what}; give \
                 it with createAcl -s User:{user} -r {resource} -a {} -d Allow",
                self.address,
                what.names().first().unwrap_or(&"All")
            ),
            (Origin::File(_), _) if asked.kind == Kind::Cluster || actions_of_admin(what) => format!(
                "Need admin permission for request code={}, but accessKey={user} is not. {request} needs {what} on {resource}; \
                 set admin: true for this account, or use one that has it",
                self.command.code
            ),
            (Origin::File(path), _) => format!(
                "No default permission for {}:{}. {request} needs {what}, and accessKey={user} does not have it in {}",
                if asked.kind == Kind::Group { "group" } else { "topic" },
                short(asked.name),
                path.display()
            ),
        };
        let help = match asked.by_name {
            true => ". In this topic lie messages of other topics: it takes a rule that names it",
            false => "",
        };
        Reject::new(response::NO_PERMISSION, remark + help)
    }

    fn only_super(&self) -> Reject {
        let (user, code) = (&self.user.name, self.command.code);
        Reject::new(
            response::NO_PERMISSION,
            format!(
                "Need admin permission for request code={code}, but accessKey={user} is not. {} is for users who may do \
                 everything: those of type Super, accounts with admin: true",
                name_of(code)
            ),
        )
    }
}

fn actions_of_admin(actions: Actions) -> bool {
    actions.common(PUB.and(SUB)).is_none()
}

fn name_of(code: i32) -> String {
    request::name(code).map_or_else(|| format!("request {code}"), str::to_owned)
}

fn short(text: &str) -> String {
    text.chars().take(256).collect()
}
