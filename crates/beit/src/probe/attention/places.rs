//! What attention owes to the place of the query alone, whatever the picture shows.

use super::objects::Object;

/// The objects of every other picture, and what the model looks at there in the mean.
#[derive(Default)]
struct Half {
    objects: Vec<Object>,
    /// Sums over pictures `[blocks][N, N]`.
    maps: Vec<Vec<f64>>,
}

/// Attention from each place, as a mean over pictures. The objects of one half of the pictures are judged by the mean over the other
/// half, in which they do not lie.
#[derive(Default)]
pub(super) struct Places {
    halves: [Half; 2],
    pictures: usize,
}

impl Places {
    /// A picture with its objects, and what each patch looks at there, `[blocks][N, N]`.
    pub(super) fn add(&mut self, objects: Vec<Object>, maps: &[Vec<f32>]) {
        let half = &mut self.halves[self.pictures % 2];
        half.objects.extend(objects);
        half.maps.resize_with(maps.len(), Vec::new);
        for (sum, map) in half.maps.iter_mut().zip(maps) {
            sum.resize(map.len(), 0.0);
            sum.iter_mut().zip(map).for_each(|(sum, weight)| *sum += f64::from(*weight));
        }
        self.pictures += 1;
    }

    /// The sums over objects of what stays in them, block by block; none of fewer than two pictures.
    pub(super) fn masses(&self) -> Option<Vec<f64>> {
        let [first, second] = &self.halves;
        let [of_first, of_second] = [(first, second), (second, first)].map(|(half, other)| {
            let of_block = |map: &Vec<f64>| half.objects.iter().map(|object| mass(object, map)).sum();
            other.maps.iter().map(of_block).collect::<Vec<f64>>()
        });
        (self.pictures > 1).then(|| of_first.iter().zip(of_second).map(|(a, b)| a + b).collect())
    }
}

fn mass(object: &Object, map: &[f64]) -> f64 {
    object.mass(|query, key| map[query * object.of + key])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four patches of which two look at one another.
    fn map(pairs: [[usize; 2]; 2]) -> Vec<f32> {
        let mut map = vec![0.0; 16];
        for [a, b] in pairs {
            (map[a * 4 + b], map[b * 4 + a]) = (1.0, 1.0);
        }
        map
    }

    #[test]
    fn the_other_half_judges() {
        let object = |patches: [usize; 2]| vec![Object { patches: patches.to_vec(), of: 4 }];
        let mut places = Places::default();
        assert_eq!(places.masses(), None);
        // Attention follows the picture: it finds both objects, and its mean over the other half finds neither.
        places.add(object([0, 1]), &[map([[0, 1], [2, 3]])]);
        assert_eq!(places.masses(), None);
        places.add(object([0, 2]), &[map([[0, 2], [1, 3]])]);
        assert_eq!(places.masses(), Some(vec![0.0]));
        // In the first block attention is alike in both pictures, and finds both objects. In the second, what is looked at in the first
        // picture finds the object of the second, and the other way round nothing is found.
        let mut places = Places::default();
        places.add(object([0, 1]), &[map([[0, 1], [2, 3]]), map([[0, 1], [2, 3]])]);
        places.add(object([2, 3]), &[map([[0, 1], [2, 3]]), map([[0, 2], [1, 3]])]);
        assert_eq!(places.masses(), Some(vec![2.0, 1.0]));
    }
}
