//! What is made of many short rounds: medians, ratios of pairs, and how sure one can be of them.

/// A median and the interval that holds the true one with at least 95 % confidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// The median of the paired ratios.
    pub median: f64,
    /// Lower end of its interval.
    pub lo: f64,
    /// Upper end of its interval.
    pub hi: f64,
}

impl Ratio {
    /// The yardstick against itself.
    pub(crate) const ONE: Self = Self { median: 1.0, lo: 1.0, hi: 1.0 };

    /// From the ratio of each pair; `None` without pairs.
    pub(crate) fn of(mut ratios: Vec<f64>) -> Option<Self> {
        ratios.sort_unstable_by(f64::total_cmp);
        let (first, last) = (*ratios.first()?, *ratios.last()?);
        let (lo, hi) = match rank(ratios.len()) {
            Some(rank) => (ratios[rank - 1], ratios[ratios.len() - rank]),
            None => (first, last), // too few pairs for 95 %: all that was seen
        };
        Some(Self { median: middle(&ratios), lo, hi })
    }
}

/// The middle of sorted values.
fn middle(sorted: &[f64]) -> f64 {
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[half] } else { f64::midpoint(sorted[half - 1], sorted[half]) }
}

/// The median of `values`, which may be in any order; `None` of nothing.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    if values.is_empty() { None } else { Some(middle(&values)) }
}

/// The largest rank `k` from 1 such that the `k`-th smallest and the `k`-th largest of `n` values have
/// the true median between them with at least 95 % confidence. Each value is below it with chance one
/// half whatever the distribution, so a binomial count decides. `None` below 6 values.
fn rank(n: usize) -> Option<usize> {
    if n > 500 {
        return Some((n as f64 / 2.0 - 0.98 * (n as f64).sqrt()) as usize); // as good as exact, and no underflow
    }
    let mut chance = 0.5f64.powi(i32::try_from(n).ok()?); // of exactly k values below the median
    let (mut tail, mut k) = (0.0, 0);
    while k < n {
        tail += chance;
        if tail > 0.025 {
            break;
        }
        k += 1;
        chance *= (n - k + 1) as f64 / k as f64;
    }
    (k > 0).then_some(k)
}

/// The median of a round's samples, which are put into another order; 0 of nothing.
pub(crate) fn p50(samples: &mut [u32]) -> f64 {
    match samples.len() {
        0 => 0.0,
        n => f64::from(*samples.select_nth_unstable(n / 2).1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0]), Some(3.0));
        assert_eq!(median(vec![9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(vec![4.0, 1.0, 9.0, 2.0]), Some(3.0));
        assert_eq!(p50(&mut [7, 1, 3]), 3.0);
        assert_eq!(p50(&mut []), 0.0);
    }

    #[test]
    fn ranks_are_those_of_the_sign_test() {
        // The published table for a two-sided 95 % interval of the median.
        let table = [(5, None), (6, Some(1)), (9, Some(2)), (10, Some(2)), (20, Some(6)), (25, Some(8))];
        for (n, k) in table {
            assert_eq!(rank(n), k, "{n} values");
        }
        assert_eq!(rank(100), Some(40));
        assert_eq!((rank(500), rank(501)), (Some(228), Some(228)));
    }

    #[test]
    fn the_interval_leaves_out_the_wild_ones() {
        let mut ratios = vec![1.0; 20];
        ratios[3] = 50.0;
        ratios[7] = 0.01;
        assert_eq!(Ratio::of(ratios), Some(Ratio::ONE));
        assert_eq!(Ratio::of(vec![2.0, 1.0]), Some(Ratio { median: 1.5, lo: 1.0, hi: 2.0 }));
        assert_eq!(Ratio::of(vec![]), None);
    }
}
