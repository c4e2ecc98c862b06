//! Settings of brokers, compared.

use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A setting that is not alike everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// Its key.
    pub key: String,
    /// Its value at each, in the order in which they were given; `None`: it is not known there.
    pub values: Vec<Option<String>>,
}

/// Settings that are a broker's own: they differ between any two.
const OWN: [&str; 12] = [
    "brokerName",
    "brokerId",
    "brokerIP1",
    "brokerIP2",
    "listenPort",
    "haListenPort",
    "storePathRootDir",
    "storePathCommitLog",
    "storePathConsumeQueue",
    "storePathIndex",
    "storeCheckpoint",
    "abortFile",
];

/// In what settings differ. Keys that only one has are left out with `common`, and those that differ between any two
/// brokers without `own`.
pub fn diff(all: &[BTreeMap<String, String>], common: bool, own: bool) -> Vec<Difference> {
    let keys: BTreeSet<&String> = all.iter().flat_map(BTreeMap::keys).collect();
    let mut differences = Vec::new();
    for key in keys {
        let values: Vec<_> = all.iter().map(|settings| settings.get(key)).collect();
        let alike = values.windows(2).all(|two| two[0] == two[1]);
        let missing = values.iter().any(Option::is_none);
        if alike || missing && common || !own && OWN.contains(&key.as_str()) {
            continue;
        }
        let values = values.into_iter().map(Option::<&String>::cloned).collect();
        differences.push(Difference { key: key.clone(), values });
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> BTreeMap<String, String> {
        text.split(' ').filter_map(|it| it.split_once('=')).map(|(key, value)| (key.into(), value.into())).collect()
    }

    #[test]
    fn what_differs_is_found_and_what_is_a_brokers_own_is_left_out() {
        let all = [settings("a=1 b=2 brokerName=x"), settings("a=1 b=3 c=4 brokerName=y")];
        let found = |common, own| diff(&all, common, own).into_iter().map(|it| it.key).collect::<Vec<_>>();
        assert_eq!(found(true, false), ["b"]);
        assert_eq!(found(false, false), ["b", "c"]);
        assert_eq!(found(true, true), ["b", "brokerName"]);
        assert_eq!(diff(&all, false, false)[1].values, [None, Some("4".into())]);
    }
}
