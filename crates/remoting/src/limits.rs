//! What one client may ask for: connections, requests and bytes per second. All without end unless an operator says otherwise.
//!
//! Rates are token buckets that hold one second's worth. A request is let in while its bucket is not empty, and then pays for
//! itself and, when it leaves, for its reply; so a bucket can be in debt, and what is long comes seldom.

use crate::reply::Reject;
use parking_lot::{Mutex, RwLock};
use protocol::code::response;
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// So often a client's refusals are worth a line in the log.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// So often clients are forgotten that are gone and owe nothing.
const FORGET_EVERY: Duration = Duration::from_secs(1);

/// What each client may have. 0: without end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClientLimits {
    /// Connections from one address at a time. Key: `connectionsPerAddress`.
    pub connections: usize,
    /// What one address may ask for. Keys: `requestsPerSecondPerAddress`, `bytesPerSecondPerAddress`.
    pub address: Rates,
    /// What one user may ask for, from all addresses together. Keys: `requestsPerSecondPerUser`, `bytesPerSecondPerUser`.
    pub user: Rates,
}

/// So much in a second. 0: without end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rates {
    /// Requests.
    pub requests: usize,
    /// Bytes of the bodies of requests and replies.
    pub bytes: usize,
}

impl Rates {
    fn is_on(&self) -> bool {
        self.requests > 0 || self.bytes > 0
    }
}

/// Who is limited.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Who {
    /// Everybody at this address.
    Address(IpAddr),
    /// Whoever shows that it is this user.
    User(Arc<str>),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Address(ip) => write!(f, "address {ip}"),
            Who::User(name) => write!(f, "user {name}"),
        }
    }
}

/// Holds clients to their limits, on all threads of a process.
#[derive(Debug, Default)]
pub struct Limiter {
    /// One of the rates of addresses is limited. While none is, requests pass by with this look.
    rates_on: AtomicBool,
    /// The same of users' rates.
    user_rates_on: AtomicBool,
    limits: RwLock<ClientLimits>,
    accounts: Mutex<Accounts>,
}

#[derive(Debug, Default)]
struct Accounts {
    of: HashMap<Who, Arc<Account>>,
    forgot: Option<Instant>,
}

/// What one client has taken.
#[derive(Debug)]
pub struct Account {
    who: Who,
    connections: AtomicUsize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    requests: Bucket,
    bytes: Bucket,
    told: Option<Instant>,
}

/// How far a second's worth is used up. Below zero, it owes.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    /// What was left when, and at which rate; `None`: full.
    left: Option<(f64, Instant)>,
}

impl Bucket {
    fn left(&self, rate: usize, now: Instant) -> f64 {
        let full = rate as f64;
        self.left.map_or(full, |(left, at)| (left + now.saturating_duration_since(at).as_secs_f64() * full).min(full))
    }

    fn take(&mut self, amount: usize, rate: usize, now: Instant) {
        self.left = Some((self.left(rate, now) - amount as f64, now));
    }
}

impl Limiter {
    /// Puts other limits in force.
    pub fn set(&self, limits: ClientLimits) {
        *self.limits.write() = limits;
        self.rates_on.store(limits.address.is_on(), Ordering::Relaxed);
        self.user_rates_on.store(limits.user.is_on(), Ordering::Relaxed);
    }

    /// True when users' rates are limited.
    #[inline]
    pub(crate) fn has_user_rates(&self) -> bool {
        self.user_rates_on.load(Ordering::Relaxed)
    }

    /// True when addresses' rates are limited.
    #[inline]
    pub fn has_rates(&self) -> bool {
        self.rates_on.load(Ordering::Relaxed)
    }

    /// A connection from `address`; `None` when it is one too many. It counts until the visit is dropped.
    pub(crate) fn visit(&self, address: IpAddr) -> Option<Visit> {
        let account = self.account(&Who::Address(address.to_canonical()));
        let max = self.limits.read().connections;
        let before = account.connections.fetch_add(1, Ordering::Relaxed);
        let visit = Visit(account);
        if max == 0 || before < max {
            return Some(visit);
        }
        if visit.0.taken.lock().is_news(Instant::now()) {
            tracing::warn!(
                %address, max,
                "connection closed: there are as many from its address as may be (connectionsPerAddress); more of that from \
                 this address is not logged for a minute"
            );
        }
        None
    }

    /// Whoever this is, under the name by which its requests are counted.
    pub fn account(&self, who: &Who) -> Arc<Account> {
        let now = Instant::now();
        let mut accounts = self.accounts.lock();
        if accounts.forgot.is_none_or(|last| now.duration_since(last) > FORGET_EVERY) {
            let limits = *self.limits.read();
            accounts.of.retain(|_, account| Arc::strong_count(account) > 1 || !account.is_settled(&limits, now));
            accounts.forgot = Some(now);
        }
        if let Some(account) = accounts.of.get(who) {
            return account.clone();
        }
        let account = Account { who: who.clone(), connections: AtomicUsize::new(0), taken: Mutex::default() };
        let account = Arc::new(account);
        accounts.of.insert(who.clone(), account.clone());
        account
    }

    /// Lets a request of `bytes` in, and has it pay; or says which limit it is over.
    pub fn admit(&self, account: &Account, bytes: usize) -> Result<(), Reject> {
        self.admit_at(account, bytes, Instant::now())
    }

    fn admit_at(&self, account: &Account, bytes: usize, now: Instant) -> Result<(), Reject> {
        let (rates, whose) = account.rates(&self.limits.read());
        let mut taken = account.taken.lock();
        let over = if rates.requests > 0 && taken.requests.left(rates.requests, now) < 1.0 {
            Some(("requests", rates.requests))
        } else if rates.bytes > 0 && taken.bytes.left(rates.bytes, now) <= 0.0 {
            Some(("bytes", rates.bytes))
        } else {
            None
        };
        let Some((what, rate)) = over else {
            if rates.requests > 0 {
                taken.requests.take(1, rates.requests, now);
            }
            if rates.bytes > 0 {
                taken.bytes.take(bytes, rates.bytes, now);
            }
            return Ok(());
        };
        let remark = format!(
            "too many {what}: {who} has had its {rate} {what} of this second, as {what}PerSecondPer{whose} in this server's \
             settings says; ask again later, or have it raised",
            who = account.who
        );
        if taken.is_news(now) {
            tracing::warn!(who = %account.who, "requests are refused for a while: {remark}");
        }
        Err(Reject::new(response::SYSTEM_BUSY, remark))
    }

    /// A reply of `bytes` leaves.
    pub fn charge(&self, account: &Account, bytes: usize) {
        let (rates, _) = account.rates(&self.limits.read());
        if rates.bytes > 0 {
            account.taken.lock().bytes.take(bytes, rates.bytes, Instant::now());
        }
    }
}

impl Account {
    fn rates(&self, limits: &ClientLimits) -> (Rates, &'static str) {
        match self.who {
            Who::Address(_) => (limits.address, "Address"),
            Who::User(_) => (limits.user, "User"),
        }
    }

    /// True when forgetting it changes nothing.
    fn is_settled(&self, limits: &ClientLimits, now: Instant) -> bool {
        let (rates, _) = self.rates(limits);
        let taken = self.taken.lock();
        let full = |bucket: &Bucket, rate: usize| bucket.left(rate, now) >= rate as f64;
        full(&taken.requests, rates.requests)
            && full(&taken.bytes, rates.bytes)
            && taken.told.is_none_or(|told| now.duration_since(told) > TELL_EVERY)
    }
}

impl Taken {
    /// True once in a while.
    fn is_news(&mut self, now: Instant) -> bool {
        let news = self.told.is_none_or(|told| now.duration_since(told) > TELL_EVERY);
        if news {
            self.told = Some(now);
        }
        news
    }
}

/// A connection that counts for its address.
#[derive(Debug)]
pub(crate) struct Visit(Arc<Account>);

impl Visit {
    pub(crate) fn account(&self) -> &Account {
        &self.0
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn limiter(connections: usize, requests: usize, bytes: usize) -> Limiter {
        let limiter = Limiter::default();
        limiter.set(ClientLimits { connections, address: Rates { requests, bytes }, user: Rates::default() });
        limiter
    }

    #[test]
    fn a_second_has_so_many_requests_and_the_next_one_as_many() {
        let (limiter, start) = (limiter(0, 10, 0), Instant::now());
        let account = limiter.account(&Who::Address(HERE));
        let mut refused = None;
        let mut let_in = |millis: u64| {
            let now = start + Duration::from_millis(millis);
            (0..100).filter(|_| limiter.admit_at(&account, 1, now).map_err(|it| refused = Some(it)).is_ok()).count()
        };
        assert_eq!([let_in(0), let_in(0), let_in(500), let_in(10_000)], [10, 0, 5, 10]);
        let refused = refused.unwrap();
        assert_eq!(refused.code, response::SYSTEM_BUSY);
        assert!(refused.remark.contains("requestsPerSecondPerAddress") && refused.remark.contains("address 127.0.0.1"));
    }

    #[test]
    fn long_replies_are_paid_for_before_more_is_asked() {
        let (limiter, start) = (limiter(0, 0, 1000), Instant::now());
        let account = limiter.account(&Who::Address(HERE));
        assert!(limiter.admit_at(&account, 100, start).is_ok());
        limiter.charge(&account, 2900);
        let refused = limiter.admit_at(&account, 1, start + Duration::from_millis(1500)).unwrap_err();
        assert!(refused.remark.contains("bytesPerSecondPerAddress"), "{refused}");
        assert!(limiter.admit_at(&account, 1, start + Duration::from_secs(3)).is_ok());
    }

    #[test]
    fn who_connects_anew_has_no_more_than_before() {
        let limiter = limiter(2, 1, 0);
        let first = limiter.visit(HERE).unwrap();
        assert!(limiter.admit(first.account(), 1).is_ok());
        drop(first);
        let (again, _second) = (limiter.visit(HERE).unwrap(), limiter.visit(HERE).unwrap());
        assert!(limiter.admit(again.account(), 1).is_err(), "a new connection is no new second");
        assert!(limiter.visit(HERE).is_none(), "a third connection");
        assert!(limiter.visit("127.0.0.2".parse().unwrap()).is_some(), "another address");
        drop(again);
        assert!(limiter.visit(HERE).is_some());
    }

    #[test]
    fn clients_that_are_gone_are_forgotten() {
        let limiter = limiter(0, 5, 0);
        for n in 0..1000u32 {
            drop(limiter.visit(std::net::Ipv4Addr::from(n).into()));
        }
        limiter.accounts.lock().forgot = None;
        let _here = limiter.visit(HERE);
        assert_eq!(limiter.accounts.lock().of.len(), 1);
    }

    #[test]
    fn without_limits_nothing_is_counted_but_connections() {
        let limiter = Limiter::default();
        assert!(!limiter.has_rates());
        let visits: Vec<_> = (0..100).map(|_| limiter.visit(HERE).unwrap()).collect();
        limiter.set(ClientLimits { connections: 100, ..ClientLimits::default() });
        assert!(limiter.visit(HERE).is_none(), "those that came before the limit count");
        drop(visits);
        assert!(limiter.visit(HERE).is_some());
    }
}
