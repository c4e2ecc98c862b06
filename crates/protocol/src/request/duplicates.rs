//! Duplicates.

use super::{Empty, headers, requests};

headers! {
    /// GET_DUPLICATES (90050): how often messages came or went more than once. The body of the answer is
    /// [`Duplicates`](crate::duplicates::Duplicates) as JSON.
    pub struct GetDuplicates {
        /// Only this topic; without, all.
        topic: Option<String> = "topic",
        /// Only this group; without, all.
        group: Option<String> = "group",
    }
}

requests! {
    GetDuplicates: GET_DUPLICATES => Empty;
}
