use core::fmt;

use crate::config::Grid;

/// Why no mask can be made from a [`Config`](crate::Config).
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// A side of the grid is zero, or the number of cells does not fit a `usize`.
    Grid(Grid),
    /// The target is zero: nothing to predict, and a loss over nothing is not a number.
    NothingMasked,
    /// The target leaves no cell to see.
    EverythingMasked {
        /// Cells asked for.
        target: usize,
        /// The most that the strategy can be asked for on this grid.
        most: usize,
    },
    /// The least block area is zero.
    EmptyBlock,
    /// The least block area is above the target.
    MinAboveTarget {
        /// Least cells of a block.
        min_cells: usize,
        /// Cells asked for.
        target: usize,
    },
    /// The greatest block area is below the least.
    MaxBelowMin {
        /// Least cells of a block.
        min_cells: usize,
        /// Most cells of a block.
        max_cells: usize,
    },
    /// The aspect range is not finite, not positive or reversed.
    Aspect([f64; 2]),
    /// No block that the limits allow is shorter and narrower than the grid.
    NoBlockFits {
        /// The grid.
        grid: Grid,
        /// Least cells of a block.
        min_cells: usize,
        /// The aspect range.
        aspect: [f64; 2],
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Grid(Grid { rows, cols }) => {
                write!(f, "expected a grid of at least 1 x 1 cells that fits memory, found {rows} x {cols}")
            }
            Self::NothingMasked => write!(f, "expected at least 1 masked cell, found a target of 0"),
            Self::EverythingMasked { target, most } => {
                write!(
                    f,
                    "expected a target of at most {most} cells so that some stay visible, found {target}"
                )
            }
            Self::EmptyBlock => write!(f, "expected blocks of at least 1 cell, found a minimum of 0"),
            Self::MinAboveTarget { min_cells, target } => {
                write!(
                    f,
                    "expected a smallest block of at most the {target} cells to mask, found {min_cells}"
                )
            }
            Self::MaxBelowMin { min_cells, max_cells } => {
                write!(
                    f,
                    "expected a largest block of at least {min_cells} cells (the smallest), found {max_cells}"
                )
            }
            Self::Aspect([low, high]) => {
                write!(f, "expected an aspect range with 0 < low <= high < infinity, found {low} to {high}")
            }
            Self::NoBlockFits { grid: Grid { rows, cols }, min_cells, aspect: [low, high] } => write!(
                f,
                "expected some block smaller than the {rows} x {cols} grid in both sides, found that none fits with at \
                 least {min_cells} cells and a height / width of {low} to {high}"
            ),
        }
    }
}

impl core::error::Error for Error {}
