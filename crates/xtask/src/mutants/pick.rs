//! A sample that a seed decides: the same on every machine.

use super::find::{Kind, Mutation};

/// `n` mutations, one of each kind first, in the order in which they stand in the source.
pub(super) fn pick<'m>(all: &[&'m Mutation], n: usize, seed: &str) -> Vec<&'m Mutation> {
    let mut order: Vec<(u64, &Mutation)> =
        all.iter().map(|m| (sum(format!("{seed} {}", m.key).as_bytes()), *m)).collect();
    order.sort_by_key(|(key, m)| (*key, m.id));
    let mut picked: Vec<&Mutation> = [Kind::Ordering, Kind::Fence, Kind::Check, Kind::Swap]
        .iter()
        .filter_map(|kind| order.iter().map(|(_, m)| *m).find(|m| m.kind == *kind))
        .collect();
    for (_, mutation) in order {
        if picked.len() < n && picked.iter().all(|m| m.id != mutation.id) {
            picked.push(mutation);
        }
    }
    picked.truncate(n);
    picked.sort_by_key(|m| m.id);
    picked
}

/// FNV-1a, and a last stir since its high bits move little.
pub(super) fn sum(bytes: &[u8]) -> u64 {
    let sum = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    (sum ^ sum >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_and_every_kind_is_there() {
        let mutations: Vec<Mutation> = (1..200)
            .map(|id| {
                let kind = match id {
                    7 => Kind::Ordering,
                    8 => Kind::Fence,
                    9 => Kind::Swap,
                    _ => Kind::Check,
                };
                Mutation { id, kind, file: String::new(), line: 1, key: format!("k{id}") }
            })
            .collect();
        let all: Vec<&Mutation> = mutations.iter().collect();
        let ids = |n, seed| pick(&all, n, seed).iter().map(|m| m.id).collect::<Vec<_>>();
        assert_eq!(ids(24, "a"), ids(24, "a"));
        assert_ne!(ids(24, "a"), ids(24, "b"));
        assert_eq!(ids(24, "a").len(), 24);
        assert!([7, 8, 9].iter().all(|id| ids(4, "c").contains(id)));
        assert_eq!(ids(1000, "a").len(), 199);
    }
}
