// SPDX-License-Identifier: Apache-2.0
//! Tree and perceptron of one detector, from rows of inputs.

use sunbeam_ensemble::{Cascade, GROUPS, HIDDEN, INPUT_MAX, INPUTS, LANES, Mlp, TREE_DEPTH, Tree};

use crate::arithmetic::{fixed, logit_of};
use crate::boosting::{Growing, Level, Question, Samples, questions};
use crate::perceptron::{Perceptron, PerceptronTraining};

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Of 7 bits each.
    pub inputs: [u8; INPUTS],
    /// What it is.
    pub is_attack: bool,
    /// How much it counts.
    pub weight: f32,
}

/// How both are trained.
#[derive(Clone, Copy, Debug)]
pub struct CascadeTraining {
    /// Columns that a client chooses freely: the tree's first question is about none of them.
    pub free: u32,
    /// Shares of attacks: a leaf at or below the first lets go, at or above the second stops.
    pub tree_allow: f32,
    /// See `tree_allow`.
    pub tree_block: f32,
    /// Of the perceptron.
    pub perceptron: PerceptronTraining,
}

/// A row, and the same as a client makes it that writes what he likes into the columns `free`: attackers as it suits
/// them, so all of that is an attack too; visitors may send nothing there. So neither tells much by itself.
pub fn whatever_is_sent(row: &Row, free: [usize; 2]) -> Vec<Row> {
    let values: &[[u8; 2]] = if row.is_attack {
        &[[INPUT_MAX, INPUT_MAX], [INPUT_MAX, 0], [0, INPUT_MAX], [0, 0]]
    } else {
        &[[0, 0], [INPUT_MAX, INPUT_MAX]]
    };
    #[expect(clippy::cast_precision_loss, reason = "a few")]
    let weight = row.weight / (values.len() + 1) as f32;
    let mut rows = vec![Row { weight, ..*row }];
    for values in values {
        let mut inputs = row.inputs;
        for (column, value) in free.into_iter().zip(values) {
            if let Some(input) = inputs.get_mut(column) {
                *input = *value;
            }
        }
        rows.push(Row { inputs, weight, ..*row });
    }
    rows
}

/// Why nothing was trained.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CascadeError {
    /// Nothing can be told apart.
    #[error("all {rows} rows are of one class: nothing can be told apart")]
    OneClass {
        /// How many there are.
        rows: usize,
    },
    /// What a client may write as he likes would decide alone.
    #[error(
        "the tree asks for nothing but `{column}`, which a client chooses: it would be deceived by the first that does"
    )]
    FreeAlone {
        /// The column.
        column: u8,
    },
}

/// Trains both. `certain` is left at the greatest number: validation sets it.
///
/// # Errors
/// See [`CascadeError`].
pub fn train(rows: &[Row], training: &CascadeTraining) -> Result<Cascade, CascadeError> {
    let attacks = rows.iter().filter(|row| row.is_attack).count();
    if attacks == 0 || attacks == rows.len() {
        return Err(CascadeError::OneClass { rows: rows.len() });
    }
    let tree = tree(rows, training)?;
    let mlp = Perceptron::train(rows, &training.perceptron).quantised(rows);
    Ok(Cascade { tree, mlp, certain: i32::MAX })
}

fn tree(rows: &[Row], training: &CascadeTraining) -> Result<Tree, CascadeError> {
    let mut samples = Samples::new();
    for row in rows {
        let mut columns = [0; sunbeam_ensemble::COLUMNS];
        for (column, input) in columns.iter_mut().zip(row.inputs) {
            *column = input;
        }
        samples.add(&columns, row.is_attack, row.weight);
    }
    let growing = Growing { rate: 1.0, ridge: 1.0, ignored: u32::MAX << INPUTS };
    let Question { levels, places } = questions::<TREE_DEPTH>(&samples, &growing, training.free);
    let asked: Vec<&Level> = levels.iter().filter(|level| level.border < u8::MAX).collect();
    let is_free = |level: &&Level| training.free >> level.column & 1 == 1;
    if let Some(first) = asked.first()
        && asked.iter().all(is_free)
    {
        return Err(CascadeError::FreeAlone { column: first.column });
    }
    Ok(Tree {
        levels,
        leaves: leaves(rows, &places),
        allow: narrow(logit_of(training.tree_allow)),
        block: narrow(logit_of(training.tree_block)),
    })
}

/// The logit of each leaf's share of attacks; a leaf that few rows reach is near what is usual.
fn leaves(rows: &[Row], places: &[u8]) -> [i16; 1 << TREE_DEPTH] {
    const PRIOR: f32 = 2.0;
    let mut sums = [[0.0_f32; 2]; 1 << TREE_DEPTH];
    for (row, place) in rows.iter().zip(places) {
        if let Some(sum) =
            sums.get_mut(usize::from(*place)).and_then(|sums| sums.get_mut(usize::from(row.is_attack)))
        {
            *sum += row.weight;
        }
    }
    sums.map(|[benign, attacks]| narrow(logit_of((attacks + PRIOR / 2.0) / (benign + attacks + PRIOR))))
}

fn narrow(logit: f32) -> i16 {
    i16::try_from(fixed(logit)).unwrap_or(i16::MAX)
}

/// One that lets everything go, for where one will be.
pub const fn none() -> Cascade {
    let level = Level { column: 0, border: u8::MAX };
    let tree = Tree { levels: [level; TREE_DEPTH], leaves: [-1; 1 << TREE_DEPTH], allow: 0, block: i16::MAX };
    let mlp = Mlp {
        hidden: [[[0; LANES]; HIDDEN]; GROUPS],
        biases: [0; HIDDEN],
        output: [0; HIDDEN],
        output_bias: 0,
        shift: 0,
        scale: 0,
    };
    Cascade { tree, mlp, certain: i32::MAX }
}
