//! The table of what a server answers: request code → handler.

use crate::entrance::Entrance;
use crate::limits::Who;
use crate::peer::Peer;
use crate::reply::{Answer, Reject, Response};
use bytes::Bytes;
use protocol::code::request;
use protocol::command::{Command, Language};
use protocol::request::Request;
use std::collections::HashSet;
use std::fs::File;
use std::future::ready;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

/// One request, as its handler gets it.
#[derive(Debug)]
pub struct Call<R> {
    /// The header's fields.
    pub request: R,
    /// What followed the header.
    pub body: Bytes,
    /// Who asks.
    pub peer: Peer,
    /// The code it came under, one of `R::CODES`.
    pub code: i32,
    /// The asking client's version, an ordinal of Java's `MQVersion`.
    pub version: i32,
    /// The asking client's language.
    pub language: Language,
}

pub(crate) type Handling = Pin<Box<dyn Future<Output = Response>>>;
type Handler = Box<dyn Fn(Peer, Command) -> Handling + Send + Sync>;
type Gate = Box<dyn Fn(&Peer, &Command) -> Result<(), Reject> + Send + Sync>;
type BeforeReplies = Box<dyn Fn() -> Result<(), Reject> + Send + Sync>;
type OnUnreadable = Box<dyn Fn(&Arc<File>, u64, &io::Error) + Send + Sync>;
/// What is told how a request ended: code and text; `None` when nobody waits for that any more. The answer leaves when what it answers
/// with is done.
pub type Audit = Box<dyn FnOnce(Option<(i32, Option<&str>)>) -> Pin<Box<dyn Future<Output = ()>>>>;
type LookAt = Box<dyn Fn(&Peer, &Command) -> Option<Audit> + Send + Sync>;
type OnClose = Box<dyn Fn(&Peer) + Send + Sync>;
type KnownAs = Box<dyn Fn(&Peer) -> Option<Arc<str>> + Send + Sync>;

/// What a server answers. A code that is not in the table is answered with "not supported" (3).
///
/// ```ignore
/// Router::new(broker).on(send_message).on(pull_message)
/// ```
pub struct Router<S> {
    state: Arc<S>,
    table: Table,
}

#[derive(Default)]
pub(crate) struct Table {
    handlers: foldhash::HashMap<i32, Handler>,
    gate: Option<Gate>,
    pub(crate) before_replies: Option<BeforeReplies>,
    pub(crate) on_unreadable: Option<OnUnreadable>,
    pub(crate) on_close: Option<OnClose>,
    audit: Option<LookAt>,
    pub(crate) entrance: Arc<Entrance>,
    /// Codes that no rate holds up.
    pub(crate) vital: HashSet<i32>,
    known_as: Option<KnownAs>,
    elsewhere: Option<Elsewhere>,
}

/// Codes that are answered on another port only.
struct Elsewhere {
    here: HashSet<i32>,
    refusal: Reject,
}

impl<S: Send + Sync + 'static> Router<S> {
    /// An empty table over `state`, which every handler gets.
    pub fn new(state: Arc<S>) -> Router<S> {
        Router { state, table: Table::default() }
    }

    /// Answers the codes of `R` with `handler`. It is polled at once on the connection's own thread, in the order in
    /// which requests arrive, and parked there if it waits; it must not block.
    pub fn on<R, F, A>(mut self, handler: F) -> Router<S>
    where
        R: Request + 'static,
        F: Fn(Arc<S>, Call<R>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Result<Answer<R::Reply>, Reject>> + 'static,
    {
        for code in R::CODES {
            let (state, handler) = (self.state.clone(), handler.clone());
            self.table.handlers.insert(
                *code,
                Box::new(move |peer, command| {
                    let request = match R::read(&command) {
                        Ok(request) => request,
                        Err(malformed) => return Box::pin(ready(Reject::from(malformed).into())),
                    };
                    let Command { code, version, language, body, .. } = command;
                    let answer = handler(state.clone(), Call { request, body, peer, code, version, language });
                    Box::pin(async move { answer.await.map_or_else(Response::from, Response::from) })
                }),
            );
        }
        self
    }

    /// Asks `gate` about each request before it is handled: one that it refuses is answered with the refusal.
    pub fn guarded(
        mut self,
        gate: impl Fn(&S, &Peer, &Command) -> Result<(), Reject> + Send + Sync + 'static,
    ) -> Router<S> {
        let state = self.state.clone();
        self.table.gate = Some(Box::new(move |peer, command| gate(&state, peer, command)));
        self
    }

    /// Leaves these codes unanswered for (3).
    pub fn without(mut self, codes: &[i32]) -> Router<S> {
        for code in codes {
            self.table.handlers.remove(code);
        }
        self
    }

    /// Runs `action` once in each turn of a thread, before its replies leave. What answers with `Answer::behind_write`
    /// acknowledges must hold when it has succeeded; when it fails, such an answer is replaced by the refusal.
    pub fn before_replies(mut self, action: impl Fn(&S) -> Result<(), Reject> + Send + Sync + 'static) -> Router<S> {
        let state = self.state.clone();
        self.table.before_replies = Some(Box::new(move || action(&state)));
        self
    }

    /// Runs `action` when a file that a reply is made of could not be read at a byte. A part of the reply has left by then,
    /// so the connection is closed behind it.
    pub fn on_unreadable(
        mut self,
        action: impl Fn(&S, &Arc<File>, u64, &io::Error) + Send + Sync + 'static,
    ) -> Router<S> {
        let state = self.state.clone();
        self.table.on_unreadable = Some(Box::new(move |file, at, error| action(&state, file, at, error)));
        self
    }

    /// Has `audit` look at each request before its handler does. It answers with what is to be told how that ended, also when
    /// the connection is gone by then; or with nothing, and the request is none of its business.
    pub fn audited(
        mut self,
        audit: impl Fn(&Arc<S>, &Peer, &Command) -> Option<Audit> + Send + Sync + 'static,
    ) -> Router<S> {
        let state = self.state.clone();
        self.table.audit = Some(Box::new(move |peer, command| audit(&state, peer, command)));
        self
    }

    /// The codes that it answers, in order.
    pub fn codes(&self) -> Vec<i32> {
        let mut codes: Vec<i32> = self.table.handlers.keys().copied().collect();
        codes.sort_unstable();
        codes
    }

    /// Runs `action` when a connection is gone.
    pub fn on_close(mut self, action: impl Fn(&S, &Peer) + Send + Sync + 'static) -> Router<S> {
        let state = self.state.clone();
        self.table.on_close = Some(Box::new(move |peer| action(&state, peer)));
        self
    }

    /// Has connections and requests pass `entrance` first.
    pub fn behind(mut self, entrance: Arc<Entrance>) -> Router<S> {
        self.table.entrance = entrance;
        self
    }

    /// These codes are answered however much else their sender asks for: without them, who is over a limit would be taken for
    /// dead.
    pub fn vital(mut self, codes: &[i32]) -> Router<S> {
        self.table.vital = codes.iter().copied().collect();
        self
    }

    /// Says which user a peer has shown to be, whose limits hold besides those of its address.
    pub fn known_as(mut self, user: impl Fn(&Peer) -> Option<Arc<str>> + Send + Sync + 'static) -> Router<S> {
        self.table.known_as = Some(Box::new(user));
        self
    }

    /// Answers these codes only, and all others with `refusal`.
    pub fn only(mut self, codes: &[i32], refusal: Reject) -> Router<S> {
        self.table.elsewhere = Some(Elsewhere { here: codes.iter().copied().collect(), refusal });
        self
    }

    pub(crate) fn into_table(self) -> Table {
        self.table
    }
}

impl Table {
    pub(crate) fn handle(&self, peer: &Peer, command: Command) -> Handling {
        if let Some(elsewhere) = self.elsewhere.as_ref().filter(|elsewhere| !elsewhere.here.contains(&command.code)) {
            return Box::pin(ready(elsewhere.refusal.clone().into()));
        }
        match self.handlers.get(&command.code) {
            // The gate says who asks.
            Some(handler) => {
                let passed = self.pass(peer, &command);
                // Who has not shown who he is writes nothing.
                let nobody = passed.is_err() && peer.user().is_none();
                let audited = self.audit.as_ref().filter(|_| !nobody).and_then(|audit| audit(peer, &command));
                let handling = match passed {
                    Ok(()) => handler(peer.clone(), command),
                    Err(refused) => Box::pin(ready(refused.into())),
                };
                let Some(audited) = audited else { return handling };
                let mut ending = Ending(Some(audited));
                Box::pin(async move {
                    let response = handling.await;
                    if let Some(told) = ending.tell(Some((response.head.code, response.head.remark.as_deref()))) {
                        told.await;
                    }
                    response
                })
            }
            None => {
                let name = request::name(command.code).map(|name| format!(" ({name})")).unwrap_or_default();
                let remark = format!(
                    " request type {}{name} not supported: CometMQ does not do this yet, see \"Not yet\" in its README",
                    command.code
                );
                Box::pin(ready(Reject::not_supported(remark).into()))
            }
        }
    }

    /// Which user the peer has shown to be, where users have limits.
    fn limited_user(&self, peer: &Peer) -> Option<Who> {
        if !self.entrance.limiter.has_user_rates() {
            return None;
        }
        let user = self.known_as.as_ref().and_then(|known_as| known_as(peer))?;
        Some(user).filter(|user| !user.is_empty()).map(Who::User)
    }

    fn pass(&self, peer: &Peer, command: &Command) -> Result<(), Reject> {
        self.gate.as_ref().map_or(Ok(()), |gate| gate(peer, command))?;
        self.admit_user(peer, command)
    }

    fn admit_user(&self, peer: &Peer, command: &Command) -> Result<(), Reject> {
        let user = self.limited_user(peer).filter(|_| !self.vital.contains(&command.code));
        user.map_or(Ok(()), |user| {
            self.entrance.limiter.admit(&self.entrance.limiter.account(&user), command.body.len())
        })
    }

    /// A reply of `bytes` leaves, and is paid for by who asked.
    pub(crate) fn charge_user(&self, peer: &Peer, bytes: usize) {
        if let Some(user) = self.limited_user(peer) {
            self.entrance.limiter.charge(&self.entrance.limiter.account(&user), bytes);
        }
    }
}

/// A request that is audited, until it has ended: one that is dropped has ended, too.
struct Ending(Option<Audit>);

impl Ending {
    fn tell(&mut self, answer: Option<(i32, Option<&str>)>) -> Option<Pin<Box<dyn Future<Output = ()>>>> {
        self.0.take().map(|audited| audited(answer))
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        // Nobody waits for it.
        drop(self.tell(None));
    }
}
