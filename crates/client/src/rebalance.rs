//! Which member of a group gets which queues of a topic. Pure: every member computes the same from the same lists.

use crate::message::MessageQueue;

/// What `me` gets of `queues`, when the group's members are `members`: consecutive queues, as many as everyone else
/// or one more. Both lists are sorted first, so that all members see them alike. Nothing for who is no member.
#[doc(alias = "AllocateMessageQueueAveragely")]
pub fn average(me: &str, members: &[String], queues: &[MessageQueue]) -> Vec<MessageQueue> {
    let (mut members, mut queues) = (members.to_vec(), queues.to_vec());
    members.sort();
    members.dedup();
    queues.sort();
    let Some(index) = members.iter().position(|member| member == me) else { return Vec::new() };
    let (share, one_more) = (queues.len() / members.len(), queues.len() % members.len());
    let start = index * share + index.min(one_more);
    let count = share + usize::from(index < one_more);
    queues[start..start + count].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queues(count: i32) -> Vec<MessageQueue> {
        (0..count).rev().map(|queue_id| MessageQueue { topic: "t".into(), broker_name: "b".into(), queue_id }).collect()
    }

    fn shares(members: &[&str], count: i32) -> Vec<Vec<i32>> {
        let ids: Vec<String> = members.iter().map(|id| id.to_string()).collect();
        let share = |me: &&str| average(me, &ids, &queues(count)).iter().map(|queue| queue.queue_id).collect();
        members.iter().map(share).collect()
    }

    #[test]
    fn members_get_what_javas_get() {
        assert_eq!(shares(&["a", "b", "c"], 8), [vec![0, 1, 2], vec![3, 4, 5], vec![6, 7]]);
        assert_eq!(shares(&["b", "a"], 4), [vec![2, 3], vec![0, 1]]);
        assert_eq!(shares(&["a", "b", "c"], 2), [vec![0], vec![1], vec![]]);
        assert_eq!(shares(&["a"], 0), [Vec::<i32>::new()]);
        assert_eq!(average("x", &["a".into()], &queues(4)), []);
        assert_eq!(average("x", &[], &queues(4)), []);
    }

    #[test]
    fn every_queue_has_exactly_one_owner() {
        let names = ["a", "b", "c", "d", "e", "f", "g"];
        for members in 1..=names.len() {
            for count in 0..40 {
                let owned: Vec<i32> = shares(&names[..members], count).concat();
                assert_eq!(owned, (0..count).collect::<Vec<_>>(), "{members} members");
            }
        }
    }

    #[test]
    fn queues_are_in_javas_order_of_topic_broker_and_number() {
        let mut queues: Vec<_> = [("b2", 0), ("b10", 10), ("b10", 9)]
            .map(|(broker, queue_id)| MessageQueue { topic: "t".into(), broker_name: broker.into(), queue_id })
            .into();
        queues.sort();
        let order: Vec<_> = queues.iter().map(|queue| (queue.broker_name.as_str(), queue.queue_id)).collect();
        assert_eq!(order, [("b10", 9), ("b10", 10), ("b2", 0)]);
    }
}
