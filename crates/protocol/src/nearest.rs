//! What was most likely meant by a name that nobody knows.

/// The candidate that needs the fewest changes to become `name`, if it is near enough to be meant.
pub fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wanted: Vec<char> = name.to_lowercase().chars().collect();
    let allowed = (wanted.len() / 3).max(1);
    candidates
        .filter(|candidate| candidate.len().abs_diff(name.len()) <= 4 * allowed)
        .filter_map(|candidate| Some((distance(&wanted, &candidate.to_lowercase(), allowed)?, candidate)))
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many characters must be put in, taken out or replaced to get from `a` to `b` (Levenshtein), if at most `max`.
fn distance(a: &[char], b: &str, max: usize) -> Option<usize> {
    let b: Vec<char> = b.chars().collect();
    if a.len().abs_diff(b.len()) > max {
        return None;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        let mut least = row[0];
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
            least = least.min(row[j + 1]);
        }
        if least > max {
            return None;
        }
    }
    row.last().copied().filter(|changes| *changes <= max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_a_far_one_is_not() {
        let topics = ["OrderTopic", "order-paid", "日志", "x"];
        let found = ["ordertopics", "OrderTopik", "order_piad", "日誌", "y", "Payment"];
        let found = found.map(|name| nearest(name, topics.into_iter()));
        let order = Some("OrderTopic");
        assert_eq!(found, [order, order, Some("order-paid"), Some("日志"), Some("x"), None]);
    }
}
