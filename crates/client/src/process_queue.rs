//! What became of the messages of one queue that we were given. Pure.

use parking_lot::Mutex;
use protocol::message::QueueOffset;
use std::collections::BTreeSet;

/// The messages of one queue that are not done with, and how far the group's offset may go.
#[derive(Debug)]
pub(crate) struct ProcessQueue {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Handed out, not acknowledged.
    open: BTreeSet<QueueOffset>,
    /// Everything before it was pulled.
    pulled: QueueOffset,
    /// Another member has the queue now: what we still hold of it is void.
    revoked: bool,
}

impl ProcessQueue {
    /// A queue that is pulled from `start` on.
    pub(crate) fn new(start: QueueOffset) -> ProcessQueue {
        ProcessQueue { state: Mutex::new(State { open: BTreeSet::new(), pulled: start, revoked: false }) }
    }

    /// These were pulled, and the next pull is at `next`.
    pub(crate) fn pulled(&self, open: impl IntoIterator<Item = QueueOffset>, next: QueueOffset) {
        let mut state = self.state.lock();
        state.open.extend(open);
        state.pulled = next;
    }

    /// This one is done with.
    pub(crate) fn done(&self, offset: QueueOffset) {
        self.state.lock().open.remove(&offset);
    }

    /// Everything before it is done with.
    pub(crate) fn committable(&self) -> QueueOffset {
        let state = self.state.lock();
        state.open.first().copied().unwrap_or(state.pulled)
    }

    /// The queue goes on at `next`, wherever that is; what is open does not count any more.
    pub(crate) fn moved(&self, next: QueueOffset) {
        let mut state = self.state.lock();
        state.open.clear();
        state.pulled = next;
    }

    pub(crate) fn revoke(&self) {
        self.state.lock().revoked = true;
    }

    pub(crate) fn is_revoked(&self) -> bool {
        self.state.lock().revoked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_never_passes_a_message_that_is_not_done() {
        let queue = ProcessQueue::new(QueueOffset(5));
        assert_eq!(queue.committable(), QueueOffset(5));
        queue.pulled([5, 6, 9].map(QueueOffset), QueueOffset(10));
        assert_eq!(queue.committable(), QueueOffset(5));
        queue.done(QueueOffset(9));
        queue.done(QueueOffset(5));
        assert_eq!(queue.committable(), QueueOffset(6));
        queue.done(QueueOffset(6));
        assert_eq!(queue.committable(), QueueOffset(10));
        // Nothing of interest in between: the offset moves on all the same.
        queue.pulled([], QueueOffset(32));
        assert_eq!(queue.committable(), QueueOffset(32));
    }
}
