//! The patches of objects.

use beit_data::Mask;
use std::collections::BTreeSet;

/// An object: the patches that mostly are of it, of all N.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Object {
    pub(super) patches: Vec<usize>,
    /// N
    pub(super) of: usize,
}

/// The objects of a picture: for each class that is wanted the patches of which more than half the pixels have it, where these are at
/// least two and not all. Rows and columns of patches are `[rows, cols]`.
pub(super) fn objects(mask: &Mask, [rows, cols]: [usize; 2], wanted: impl Fn(u8) -> bool) -> Vec<Object> {
    let (height, width, of) = (mask.height(), mask.width(), rows * cols);
    let mut pixels = vec![0_usize; of];
    let patch = |i: usize| i / width * rows / height * cols + i % width * cols / width;
    (0..mask.ids().len()).for_each(|i| pixels[patch(i)] += 1);
    let classes: BTreeSet<u8> = mask.ids().iter().copied().filter(|&class| wanted(class)).collect();
    let object = |class: u8| {
        let mut own = vec![0_usize; of];
        let ids = mask.ids().iter().enumerate();
        ids.filter(|(_, id)| **id == class).for_each(|(i, _)| own[patch(i)] += 1);
        let patches: Vec<usize> = (0..of).filter(|&n| 2 * own[n] > pixels[n]).collect();
        Object { patches, of }
    };
    classes.into_iter().map(object).filter(|found| (2..of).contains(&found.patches.len())).collect()
}

impl Object {
    /// The share of `weight(query, key)` between different patches that falls on patches of the object, the mean over its patches as
    /// queries. What a patch gives itself does not count: it is in the object whatever was learnt.
    pub(super) fn mass(&self, weight: impl Fn(usize, usize) -> f64) -> f64 {
        let share = |&query: &usize| {
            let all: f64 = (0..self.of).filter(|&key| key != query).map(|key| weight(query, key)).sum();
            let own = self.patches.iter().filter(|&&key| key != query);
            let own: f64 = own.map(|&key| weight(query, key)).sum();
            if all > 0.0 { own / all } else { 0.0 }
        };
        self.patches.iter().map(share).sum::<f64>() / self.patches.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_of_which_most_is_an_object() {
        // Four patches of 2x2 pixels in a row: three, two and four of their pixels are of class 1, one of the last is of class 2.
        let mask = Mask::new(2, 8, vec![1, 1, 1, 0, 1, 1, 0, 0, 1, 0, 1, 0, 1, 1, 0, 2]);
        let found = objects(&mask, [1, 4], |class| class != 0);
        assert_eq!(found, [Object { patches: vec![0, 2], of: 4 }]);
        // All patches are no object, nor is one.
        assert!(objects(&Mask::new(1, 4, vec![1; 4]), [1, 4], |_| true).is_empty());
        assert!(objects(&Mask::new(1, 4, vec![1, 0, 0, 0]), [1, 4], |class| class == 1).is_empty());
    }

    #[test]
    fn shares_of_attention() {
        let object = Object { patches: vec![0, 2], of: 4 };
        // Everywhere alike: one of three others is of the object.
        assert!((object.mass(|_, _| 0.25) - 1.0 / 3.0).abs() < 1e-12);
        // All that does not stay at the query goes to the rest of the object.
        assert!((object.mass(|query, key| if query % 2 == key % 2 { 0.5 } else { 0.0 }) - 1.0).abs() < 1e-12);
        // What a patch gives itself does not count.
        assert_eq!(object.mass(|query, key| f64::from(u8::from(query == key))), 0.0);
    }
}
