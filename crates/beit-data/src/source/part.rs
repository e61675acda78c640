use std::sync::Arc;
use std::time::SystemTime;

use super::{Groups, Source, Unread};
use crate::error::Result;
use crate::image::Image;
use crate::mask::Mask;

/// Some pictures of another source, under numbers of their own: what was held out, or drawn.
pub struct Part {
    source: Arc<dyn Source>,
    indices: Vec<usize>,
}

impl Part {
    /// The pictures `indices` of a source, in that order.
    ///
    /// # Panics
    ///
    /// If an index is not one of the source's.
    #[must_use]
    pub fn new(source: Arc<dyn Source>, indices: Vec<usize>) -> Self {
        assert!(indices.iter().all(|&index| index < source.len()), "an index is outside the source");
        Self { source, indices }
    }
}

impl Source for Part {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn image(&self, index: usize) -> Result<Image> {
        self.source.image(self.indices[index])
    }

    fn encoded(&self, index: usize) -> Result<Option<Vec<u8>>> {
        self.source.encoded(self.indices[index])
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.source.label(self.indices[index])
    }

    fn class_names(&self) -> &[String] {
        self.source.class_names()
    }

    fn size(&self, index: usize) -> Result<[usize; 2]> {
        self.source.size(self.indices[index])
    }

    fn mask(&self, index: usize) -> Result<Option<Mask>> {
        self.source.mask(self.indices[index])
    }

    fn mask_name(&self, index: usize) -> String {
        self.source.mask_name(self.indices[index])
    }

    fn mask_classes(&self) -> &[String] {
        self.source.mask_classes()
    }

    fn mask_palette(&self) -> Option<&[[u8; 3]]> {
        self.source.mask_palette()
    }

    fn groups(&self) -> Option<Groups> {
        self.source.groups().map(|groups| groups.of_part(&self.indices))
    }

    fn scatter(&self) {
        self.source.scatter();
    }

    fn name(&self, index: usize) -> String {
        self.source.name(self.indices[index])
    }

    fn version(&self, index: usize) -> Option<(u64, SystemTime)> {
        self.source.version(self.indices[index])
    }

    fn unread(&self, class: u32) -> Option<&Unread> {
        self.source.unread(class)
    }

    fn notes(&self) -> &[String] {
        self.source.notes()
    }
}
