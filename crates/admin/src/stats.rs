//! What goes in and out (`statsAll`).

use crate::{Admin, Error, consumer, topic};
use protocol::admin::StatsData;
use protocol::request::admin::ViewStats;
use protocol::topic::{DLQ_PREFIX, RETRY_PREFIX};
use serde::Serialize;

/// A topic, and a group that consumes it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Traffic {
    /// The topic.
    pub topic: String,
    /// The group; `None`: nobody consumes it.
    pub group: Option<String>,
    /// Messages that are not consumed.
    pub lag: i64,
    /// Messages per second that come in.
    pub in_tps: f64,
    /// Messages per second that the group takes.
    pub out_tps: f64,
    /// Messages that came in, in 24 hours.
    pub in_day: i64,
    /// Messages that the group took, in 24 hours.
    pub out_day: i64,
}

/// A count of a broker; nothing was counted when it says so.
#[doc(alias = "viewBrokerStatsData")]
pub async fn counted(admin: &Admin, broker: &str, what: &str, of: &str) -> Result<StatsData, Error> {
    let request = ViewStats { stats_name: what.to_owned(), stats_key: of.to_owned() };
    match admin.ask_for(broker, &request).await {
        Err(error) if error.code().is_some() => Ok(StatsData::default()),
        answer => answer,
    }
}

/// What goes into and out of each topic, or one.
pub async fn all(admin: &Admin, only: Option<&str>) -> Result<Vec<Traffic>, Error> {
    let topics = match only {
        Some(topic) => vec![topic.to_owned()],
        None => {
            let own = |topic: &String| topic.starts_with(RETRY_PREFIX) || topic.starts_with(DLQ_PREFIX);
            let mut topics: Vec<_> = topic::list(admin).await?.into_iter().filter(|topic| !own(topic)).collect();
            topics.sort();
            topics
        }
    };
    let mut all = Vec::new();
    for topic in topics {
        let masters = match topic::masters(admin, &topic).await {
            // Deleted since it was listed.
            Err(Error::NotThere { .. }) if only.is_none() => continue,
            masters => masters?,
        };
        let mut coming = Traffic { topic: topic.clone(), ..Traffic::default() };
        for (_, master) in &masters {
            let put = counted(admin, master, "TOPIC_PUT_NUMS", &topic).await?;
            coming.in_tps += put.stats_minute.tps;
            coming.in_day += put.stats_day.sum;
        }
        let groups = consumer::of_topic(admin, &topic).await?;
        for group in &groups {
            let mut going = Traffic { group: Some(group.clone()), ..coming.clone() };
            for (_, master) in &masters {
                let get = counted(admin, master, "GROUP_GET_NUMS", &format!("{topic}@{group}")).await?;
                going.out_tps += get.stats_minute.tps;
                going.out_day += get.stats_day.sum;
            }
            going.lag = match consumer::progress(admin, group, Some(&topic), false).await {
                Ok(progress) => progress.lag,
                Err(error) if error.code().is_some() || matches!(error, Error::NotThere { .. }) => 0,
                Err(error) => return Err(error),
            };
            all.push(going);
        }
        if groups.is_empty() {
            all.push(coming);
        }
    }
    Ok(all)
}
