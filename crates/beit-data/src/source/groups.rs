//! Pictures that lie together.

/// How the pictures of a source lie together, where reading one of them means to read its neighbours too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Groups {
    /// The number after the last picture of each group.
    ends: Vec<usize>,
    window: usize,
}

impl Groups {
    /// Groups of these sizes, one after the other. `window`, at least 1, is how many of them a source keeps in memory at once while
    /// others are on their way.
    ///
    /// ```
    /// let groups = beit_data::Groups::new([3, 2], 1);
    /// assert_eq!((groups.count(), groups.of(2), groups.of(3)), (2, 0, 1));
    /// ```
    #[must_use]
    pub fn new(sizes: impl IntoIterator<Item = usize>, window: usize) -> Self {
        let mut end = 0;
        let ends = sizes.into_iter().map(|size| {
            end += size;
            end
        });
        Self { ends: ends.collect(), window: window.max(1) }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// How many of them are kept in memory at once.
    #[must_use]
    pub fn window(&self) -> usize {
        self.window
    }

    /// The group of picture `index`.
    #[must_use]
    pub fn of(&self, index: usize) -> usize {
        self.ends.partition_point(|&end| end <= index)
    }

    /// The groups of some of the pictures under numbers of their own: neighbours that lie in one group are one.
    pub(crate) fn of_part(&self, indices: &[usize]) -> Self {
        let runs = indices.chunk_by(|&a, &b| self.of(a) == self.of(b));
        Self::new(runs.map(<[usize]>::len), self.window)
    }
}
