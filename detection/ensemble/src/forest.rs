// SPDX-License-Identifier: Apache-2.0
//! Boosted oblivious trees over bytes: each level of a tree asks one question of all, so a leaf's number is its
//! answers in a row (Kohavi and Li 1995; as in CatBoost, Prokhorenkova et al. 2018).

/// Bytes that a forest looks at.
pub const COLUMNS: usize = 32;

/// Questions of a tree.
pub const DEPTH: usize = 4;

/// Leaves of a tree.
const LEAVES: usize = 1 << DEPTH;

/// One question: is the column above the border.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// Below [`COLUMNS`].
    pub column: u8,
    /// Answered by `>`.
    pub border: u8,
}

/// `TREES` trees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forest<const TREES: usize> {
    /// Where the sum begins, in 1/256 of a logit.
    pub base: i32,
    /// Of each tree, the question of the lowest bit first.
    pub levels: [[Level; DEPTH]; TREES],
    /// In 1/256 of a logit.
    pub leaves: [[i16; LEAVES]; TREES],
}

impl<const TREES: usize> Forest<TREES> {
    /// One that says nothing.
    pub const NONE: Self = Self {
        base: 0,
        levels: [[Level { column: 0, border: u8::MAX }; DEPTH]; TREES],
        leaves: [[0; LEAVES]; TREES],
    };

    /// The logit, in 1/256. A sum of `TREES` leaves of 16 bits: it cannot overflow; the base of a file is bounded.
    pub fn logit(&self, columns: &[u8; COLUMNS]) -> i32 {
        let trees = self.levels.iter().zip(&self.leaves);
        let sum = trees.map(|(levels, leaves)| i32::from(leaf(leaves, index(levels, columns)))).sum::<i32>();
        self.base.saturating_add(sum)
    }

    /// What each column adds to the logit of these: of a tree's leaf, the change by each of its questions, asked one
    /// after another, from the mean of the leaves that are still possible (Saabas 2014). In 1/256.
    pub fn shares(&self, columns: &[u8; COLUMNS]) -> [i32; COLUMNS] {
        let mut shares = [0; COLUMNS];
        for (levels, leaves) in self.levels.iter().zip(&self.leaves) {
            let index = index(levels, columns);
            let mut before = mean(leaves, 0, 0);
            for (bit, level) in levels.iter().enumerate() {
                let known = (1 << (bit + 1)) - 1;
                let after = mean(leaves, known, index & known);
                if let Some(share) = shares.get_mut(usize::from(level.column)) {
                    *share += after - before;
                }
                before = after;
            }
        }
        shares
    }
}

fn leaf(leaves: &[i16; LEAVES], index: usize) -> i16 {
    // The mask says to the compiler what is so: no index is beyond the end.
    leaves.get(index & (LEAVES - 1)).copied().unwrap_or(0)
}

fn index(levels: &[Level; DEPTH], columns: &[u8; COLUMNS]) -> usize {
    let value = |level: &Level| columns.get(usize::from(level.column) & (COLUMNS - 1)).copied().unwrap_or(0);
    let answer = |level: &Level| value(level) > level.border;
    levels.iter().enumerate().map(|(bit, level)| usize::from(answer(level)) << bit).sum()
}

/// Of the leaves whose number agrees with `index` where `known` has ones.
fn mean(leaves: &[i16; LEAVES], known: usize, index: usize) -> i32 {
    let possible =
        || leaves.iter().enumerate().filter(|(at, _)| at & known == index).map(|(_, leaf)| i32::from(*leaf));
    let count = i32::try_from(possible().count()).unwrap_or(1).max(1);
    possible().sum::<i32>() / count
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn forests() -> impl Strategy<Value = Forest<3>> {
        let tree = (
            proptest::array::uniform4((0..32_u8, any::<u8>())),
            proptest::collection::vec(-1000..1000_i16, LEAVES),
        );
        (proptest::array::uniform3(tree), -1000..1000_i32).prop_map(|(trees, base)| {
            let mut forest =
                Forest { base, levels: [[Level::default(); DEPTH]; 3], leaves: [[0; LEAVES]; 3] };
            for (at, (levels, leaves)) in trees.into_iter().enumerate() {
                forest.levels[at] = levels.map(|(column, border)| Level { column, border });
                forest.leaves[at] = leaves.try_into().unwrap();
            }
            forest
        })
    }

    proptest! {
        #[test]
        fn the_logit_is_the_sum_of_the_leaves_and_shares_explain_it(
            forest in forests(), columns in proptest::array::uniform32(any::<u8>()),
        ) {
            let mut want = forest.base;
            for (levels, leaves) in forest.levels.iter().zip(&forest.leaves) {
                let mut place = 0;
                for (bit, level) in levels.iter().enumerate() {
                    if columns[usize::from(level.column)] > level.border {
                        place += 1 << bit;
                    }
                }
                want += i32::from(leaves[place]);
            }
            prop_assert_eq!(forest.logit(&columns), want);
            let means: i32 = forest.leaves.iter().map(|leaves| mean(leaves, 0, 0)).sum();
            prop_assert_eq!(forest.shares(&columns).iter().sum::<i32>(), want - forest.base - means);
        }
    }
}
