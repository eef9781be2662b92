//! Several objectives at once: which points no other is better than. Everywhere smaller is better.

/// Whether the first point is at least as good everywhere.
pub(crate) fn covers(a: &[f64], b: &[f64]) -> bool {
    a.iter().zip(b).all(|(a, b)| a <= b)
}

/// The points that no other one is at least as good as everywhere, ascending by place; of equal ones the first.
pub fn front(points: &[Vec<f64>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..points.len()).collect();
    order.sort_by(|a, b| by_each(&points[*a], &points[*b]).then(a.cmp(b)));
    // In this order whatever covers a point stands before it.
    let mut found: Vec<usize> = Vec::new();
    for at in order {
        if !found.iter().any(|better| covers(&points[*better], &points[at])) {
            found.push(at);
        }
    }
    found.sort_unstable();
    found
}

fn by_each(a: &[f64], b: &[f64]) -> std::cmp::Ordering {
    let differing = a.iter().zip(b).map(|(a, b)| a.total_cmp(b)).find(|order| order.is_ne());
    differing.unwrap_or(std::cmp::Ordering::Equal)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(testkit::properties(256))]

        #[test]
        fn the_front_covers_all_and_none_of_it_covers_another(
            points in prop::collection::vec(prop::collection::vec(0_u8..6, 3), 0..40),
        ) {
            let points: Vec<Vec<f64>> =
                points.iter().map(|point| point.iter().map(|value| f64::from(*value)).collect()).collect();
            let found = front(&points);
            for (place, a) in found.iter().enumerate() {
                for b in found.iter().skip(place + 1) {
                    prop_assert!(!covers(&points[*a], &points[*b]) && !covers(&points[*b], &points[*a]));
                }
            }
            for at in 0..points.len() {
                // With equal points the first one stands for all.
                prop_assert!(found.iter().any(|better| covers(&points[*better], &points[at])));
                let first = points.iter().position(|point| *point == points[at]);
                prop_assert!(!found.contains(&at) || first == Some(at));
            }
        }
    }
}
