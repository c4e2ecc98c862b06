//! What the connections of one thread hold in memory at a time, in bytes, and who waits until it is less.
//!
//! Three things count: a large frame that is arriving (all of it, from its first bytes on), the bodies of requests that
//! wait, and replies that a socket does not take. Small frames that are handled as they arrive don't: so whatever others
//! do, they are never held up.

use crate::connection::Shared;
use crate::measure::Measures;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// One thread's share of a server's memory for work in progress.
pub(crate) struct Budget {
    max: usize,
    /// Has how much is held; this thread alone changes it.
    measures: Arc<Measures>,
    /// Who waits for how much, in order of arrival.
    waiting: RefCell<VecDeque<(Weak<Shared>, usize)>>,
}

impl Budget {
    pub(crate) fn new(max: usize, measures: Arc<Measures>) -> Budget {
        Budget { max, measures, waiting: RefCell::default() }
    }

    fn held(&self) -> usize {
        self.measures.held.load(Ordering::Relaxed)
    }

    fn set_held(&self, bytes: usize) {
        self.measures.held.store(bytes, Ordering::Relaxed);
    }

    /// True while connections hold more than they should.
    pub(crate) fn is_short(&self) -> bool {
        self.held() > self.max
    }

    /// True while someone waits in line.
    pub(crate) fn has_line(&self) -> bool {
        !self.waiting.borrow().is_empty()
    }

    /// Counts `bytes` that are there already.
    pub(crate) fn add(&self, bytes: usize) {
        self.set_held(self.held() + bytes);
    }

    /// Counts `bytes` that are still to come (true), or has `connection` wait in line: when they are counted for it,
    /// it is woken and finds them in [`Shared::granted`].
    pub(crate) fn take(&self, bytes: usize, connection: &Rc<Shared>) -> bool {
        let at_once = !self.has_line() && self.fits(bytes);
        if at_once {
            self.add(bytes);
        } else {
            self.waiting.borrow_mut().push_back((Rc::downgrade(connection), bytes));
        }
        at_once
    }

    /// Counts `bytes` no longer, and lets in who waits for them.
    pub(crate) fn give_back(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        self.set_held(self.held() - bytes);
        let mut waiting = self.waiting.borrow_mut();
        while let Some((connection, bytes)) = waiting.front() {
            if let Some(connection) = connection.upgrade().filter(|connection| !connection.is_over()) {
                if !self.fits(*bytes) {
                    return;
                }
                self.add(*bytes);
                connection.grant(*bytes);
            }
            waiting.pop_front();
        }
    }

    /// One frame always does, however small the share.
    fn fits(&self, bytes: usize) -> bool {
        self.held() == 0 || self.held() + bytes <= self.max
    }
}
