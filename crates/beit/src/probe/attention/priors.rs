//! Attention that nothing was learnt for: it falls off from a place, as a Gaussian of some width.

use super::objects::Object;

/// Widths of the Gaussians, in patches.
const WIDTHS: [f64; 8] = [0.35, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0];

/// Sums over objects, for each width.
pub(super) struct Priors {
    /// `[rows, cols]`
    grid: [usize; 2],
    centre: [f64; WIDTHS.len()],
    near: [f64; WIDTHS.len()],
}

impl Priors {
    pub(super) fn new(grid: [usize; 2]) -> Self {
        Self { grid, centre: [0.0; WIDTHS.len()], near: [0.0; WIDTHS.len()] }
    }

    pub(super) fn add(&mut self, object: &Object) {
        let [rows, cols] = self.grid;
        let place = |patch: usize| [(patch / cols) as f64, (patch % cols) as f64];
        let middle = [rows, cols].map(|side| (side - 1) as f64 / 2.0);
        for (i, width) in WIDTHS.into_iter().enumerate() {
            let weight = |from: [f64; 2], key: usize| {
                let [dy, dx] = [0, 1].map(|side| place(key)[side] - from[side]);
                (-(dy * dy + dx * dx) / (2.0 * width * width)).exp()
            };
            self.centre[i] += object.mass(|_, key| weight(middle, key));
            self.near[i] += object.mass(|query, key| weight(place(query), key));
        }
    }

    /// Towards the middle, of the width that does best.
    pub(super) fn best_centre(&self) -> f64 {
        self.centre.into_iter().fold(0.0, f64::max)
    }

    /// Towards the query, of the width that does best.
    pub(super) fn best_near(&self) -> f64 {
        self.near.into_iter().fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_in_the_middle_and_one_at_the_border() {
        let sums = |patches: Vec<usize>| {
            let mut priors = Priors::new([5, 5]);
            priors.add(&Object { patches, of: 25 });
            [priors.best_centre(), priors.best_near()]
        };
        let [centre, near] = sums(vec![6, 7, 8, 11, 12, 13, 16, 17, 18]);
        assert!(centre > 0.95, "{centre}");
        let [centre_of_border, near_of_border] = sums(vec![0, 1, 5, 6]);
        // Towards the middle is little towards a corner; towards the query is the same wherever the object lies, or more.
        assert!(centre_of_border < 0.2 && near_of_border > 0.5 && near > 0.5, "{centre_of_border} {near}");
    }
}
