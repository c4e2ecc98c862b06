//! Topics and groups go, with all that is kept of them.
//!
//! The table that names a topic or a group is saved last. A broker that is killed on the way therefore still has it, in
//! whole or with a part gone already, and whoever deletes it again deletes the rest: it was told of no success.

use crate::Broker;
use crate::table::Table;
use protocol::topic::retry_topic;
use std::io;

impl Broker {
    /// Deletes a topic: its queues, groups' offsets in it, messages that would be delivered to it later. All is on disk
    /// when this returns; answers with the version of the table of topics. Blocks.
    ///
    /// A topic that nobody knows may be deleted, too.
    #[doc(alias = "deleteTopicInBroker")]
    pub(crate) fn delete_topic(&self, name: &str) -> io::Result<i64> {
        let counter = self.topics.delete(name, crate::now_millis(), |known| {
            if known || self.store.topics().iter().any(|topic| topic == name) {
                // Delayed messages for it, and its records in the log, count no more from here on.
                self.store.delete_topic(name)?;
            }
            self.fences.forget(name);
            self.fences.save()?;
            self.parking.forget_topic(name)?;
            self.shares.forget_topic(name);
            self.shares.save()?;
            self.programs.forget_topic(name).map_err(io::Error::other)?;
            self.offsets.forget_topic(name);
            self.dedup.forget(name);
            self.life.forget_topic(name);
            self.offsets.save()
        });
        if let Some(topic) = self.topics.get(name) {
            // It could not be deleted, or is there anew.
            self.apply(&topic);
        }
        let counter = counter?;
        self.topics.save()?;
        Ok(counter)
    }

    /// Deletes a group's settings. With `clean_offset` the group begins anew if it comes back: its offsets go as well, and
    /// the messages that it would have been given again. Its dead letters stay; they are a topic like others. Blocks.
    #[doc(alias = "deleteSubscriptionGroup")]
    pub(crate) fn delete_group(&self, name: &str, clean_offset: bool) -> io::Result<()> {
        self.programs.forget_group(name).map_err(io::Error::other)?;
        if clean_offset {
            self.delete_topic(&retry_topic(name))?;
            self.parking.forget_group(name)?;
            self.shares.forget_group(name);
            self.shares.save()?;
            self.offsets.forget_group(name);
            self.life.forget_group(name);
            self.offsets.save()?;
        }
        self.groups.delete(name, crate::now_millis());
        self.groups.save()
    }
}
