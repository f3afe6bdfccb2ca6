//! How often clusters are referred to: runs with a weight, so that memory follows how fragmented a file is, not how large.

use std::ops::Range;

/// Clusters that are referred to, so many times each.
pub(super) struct Run {
    pub(super) clusters: Range<u64>,
    pub(super) weight: u64,
}

/// Runs as they come, which may overlap.
#[derive(Default)]
pub(super) struct Runs {
    runs: Vec<Run>,
    /// How many there were when they were added up last.
    apart: usize,
}

impl Runs {
    /// So many runs are never too many.
    const FEW: usize = 1 << 16;

    pub(super) fn add(&mut self, clusters: Range<u64>, weight: u64) {
        match self.runs.last_mut() {
            Some(last) if last.weight == weight && last.clusters.end == clusters.start => last.clusters.end = clusters.end,
            _ => self.runs.push(Run { clusters, weight }),
        }
        if self.runs.len() > Self::FEW + 2 * self.apart {
            self.runs = counted(&self.runs);
            self.apart = self.runs.len();
        }
    }

    /// What was added: runs that do not overlap, in order, each with the sum of the weights.
    pub(super) fn counted(self) -> Vec<Run> {
        counted(&self.runs)
    }
}

/// The weight of a cluster in runs that were counted.
pub(super) fn weight(counted: &[Run], cluster: u64) -> u64 {
    let at = counted.partition_point(|run| run.clusters.end <= cluster);
    counted.get(at).filter(|run| run.clusters.contains(&cluster)).map_or(0, |run| run.weight)
}

/// Runs that do not overlap, in order, each with the sum of the weights.
fn counted(runs: &[Run]) -> Vec<Run> {
    let mut edges: Vec<(u64, bool, u64)> =
        runs.iter().flat_map(|run| [(run.clusters.start, true, run.weight), (run.clusters.end, false, run.weight)]).collect();
    edges.sort_unstable();
    let (mut weight, mut since) = (0_u64, 0);
    let mut counted: Vec<Run> = Vec::new();
    for (at, begins, by) in edges {
        if weight > 0 && at > since {
            match counted.last_mut() {
                Some(last) if last.clusters.end == since && last.weight == weight => last.clusters.end = at,
                _ => counted.push(Run { clusters: since..at, weight }),
            }
        }
        since = at;
        weight = if begins { weight.saturating_add(by) } else { weight.saturating_sub(by) };
    }
    counted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_added_up() {
        let run = |clusters, weight| Run { clusters, weight };
        let sum = counted(&[run(5..9, 2), run(0..2, 1), run(2..6, 1), run(20..21, 1)]);
        assert_eq!([0, 5, 6, 9, 20, 21].map(|cluster| weight(&sum, cluster)), [1, 3, 2, 0, 1, 0]);
        let sum: Vec<_> = sum.into_iter().map(|run| (run.clusters, run.weight)).collect();
        assert_eq!(sum, [(0..5, 1), (5..6, 3), (6..9, 2), (20..21, 1)]);
    }

    /// As many references as a hostile file likes, to a few clusters, in an order that joins nothing.
    #[test]
    fn many_references_to_few_clusters_take_little_memory() {
        let mut runs = Runs::default();
        for _ in 0..1_000 {
            (0..1_000).for_each(|n| runs.add(2 * n..2 * n + 1, 1));
        }
        assert!(runs.runs.capacity() <= 4 * Runs::FEW, "{}", runs.runs.capacity());
        let sum = counted(&runs.runs);
        assert_eq!(sum.len(), 1_000);
        assert!(sum.iter().all(|run| run.weight == 1_000));
    }
}
