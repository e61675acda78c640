//! Whether any block that the limits allow is smaller than the grid.
//!
//! A block of h x w cells comes from real sides x in [h - 1/2, h + 1/2] and y in [w - 1/2, w + 1/2] with area xy and
//! aspect x/y inside their ranges. In u = ln x and v = ln y these are bounds on u, v, u + v and u - v, so whether h x w can
//! be drawn is the question whether one interval of u is empty.

use crate::config::{BlockShape, Grid};

/// Bounds of an interval, low first.
type Interval = [f64; 2];

/// Sides of the smallest-height block that can be drawn first, is strictly smaller than the grid in both sides and has at most
/// `limit` cells. The search is over heights only, at most sqrt(limit · greatest aspect) of them.
pub(crate) fn fitting_block(grid: Grid, block: BlockShape, limit: usize) -> Option<(usize, usize)> {
    let area = [block.min_cells as f64, limit as f64];
    let tallest = libm::sqrt(area[1] * block.aspect[1]) as usize + 1;
    let log_area = area.map(libm::log);
    let log_aspect = block.aspect.map(libm::log);
    (1..=tallest.min(grid.rows.saturating_sub(1)).min(limit)).find_map(|height| {
        let narrowest = narrowest(height, log_area, log_aspect)?;
        let widest = (limit / height).min(grid.cols.saturating_sub(1));
        let width = (narrowest..=narrowest + 2).find(|&w| drawable(height, w, log_area, log_aspect))?;
        (width <= widest).then_some((height, width))
    })
}

/// A lower bound, off by one or two at most, on the width of blocks of this height.
fn narrowest(height: usize, log_area: Interval, log_aspect: Interval) -> Option<usize> {
    let [low, high] = log_sides(height);
    let u = ((log_area[0] + log_aspect[1]) / 2.0).clamp(low, high);
    let v = (log_area[0] - u).max(u - log_aspect[1]);
    let width = libm::floor(libm::exp(v) - 0.5).max(1.0);
    (width < usize::MAX as f64 / 2.0).then_some(width as usize)
}

/// Whether some area and aspect in range round to `height` x `width`.
fn drawable(height: usize, width: usize, log_area: Interval, log_aspect: Interval) -> bool {
    let u = log_sides(height);
    let v = log_sides(width);
    let half_sum = |i: usize| (log_area[i] + log_aspect[i]) / 2.0;
    let low = [u[0], v[0] + log_aspect[0], log_area[0] - v[1], half_sum(0)].into_iter().fold(u[0], f64::max);
    let high = [u[1], v[1] + log_aspect[1], log_area[1] - v[0], half_sum(1)].into_iter().fold(u[1], f64::min);
    low <= high
}

/// Logarithms of the real sides that round to `side`.
fn log_sides(side: usize) -> Interval {
    [side as f64 - 0.5, side as f64 + 0.5].map(libm::log)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(min_cells: usize, low: f64, high: f64) -> BlockShape {
        BlockShape { min_cells, max_cells: None, aspect: [low, high] }
    }

    #[test]
    fn finds_a_block_exactly_where_one_exists() {
        let grid = |rows, cols| Grid { rows, cols };
        let rows = [
            (grid(14, 14), shape(16, 0.3, 1.0 / 0.3), 75, true),
            (grid(1, 100), shape(1, 0.3, 3.0), 50, false), // no height is below 1
            (grid(2, 100), shape(40, 1.0, 1.0), 60, false), // squares of side 6 or more
            (grid(8, 8), shape(49, 1.0, 1.0), 60, true),   // 7 x 7
            (grid(7, 7), shape(43, 1.0, 1.0), 48, false),  // rounds to 7 x 7
            (grid(10, 10), shape(5, 1.0, 1.0), 5, true),   // 2 x 2
            (grid(10, 10), shape(7, 1.0, 1.0), 8, false),  // 3 x 3 has 9
            (grid(100, 3), shape(30, 15.0, 30.0), 40, true),
        ];
        for (grid, block, limit, expected) in rows {
            let found = fitting_block(grid, block, limit);
            assert_eq!(found.is_some(), expected, "{grid:?} {block:?} {limit}: {found:?}");
        }
    }
}
