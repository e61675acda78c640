//! The extents of a tensor.

use core::fmt;
use core::ops::Deref;

/// The extents of a tensor of rank 0 to 4, slowest dimension first.
///
/// ```
/// let shape = beit_ops::Shape::from([2, 3, 28, 28]);
/// assert_eq!(shape.len(), 4);
/// assert_eq!(shape.elements(), 4704);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Shape {
    dims: [usize; 4],
    rank: usize,
}

impl Shape {
    /// A shape from a slice of at most four extents, or `None` when there are more.
    pub fn from_slice(dims: &[usize]) -> Option<Self> {
        let mut all = [1; 4];
        all.get_mut(..dims.len())?.copy_from_slice(dims);
        Some(Self { dims: all, rank: dims.len() })
    }

    /// Number of elements: the product of the extents.
    pub fn elements(&self) -> usize {
        self.iter().product()
    }

    /// The shape seen as a matrix: first extent by the product of the others.
    pub fn matrix(&self) -> [usize; 2] {
        match self.first() {
            None => [1, 1],
            Some(&rows) => [rows, self[1..].iter().product()],
        }
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(dims: [usize; N]) -> Self {
        const { assert!(N <= 4, "a shape has at most four extents") };
        let mut all = [1; 4];
        all[..N].copy_from_slice(&dims);
        Self { dims: all, rank: N }
    }
}

impl Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        &self.dims[..self.rank]
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
