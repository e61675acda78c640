use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use super::{Groups, Source, Unread};
use crate::error::Result;
use crate::image::Image;
use crate::mask::Mask;

/// Keeps decoded pictures of another source in memory, the first ones met until the budget is spent.
pub struct Cached {
    source: Arc<dyn Source>,
    /// Boxed, so that one that is not kept takes little.
    pictures: Vec<OnceLock<Box<Image>>>,
    /// Bytes that may still be used.
    budget: AtomicUsize,
}

impl Cached {
    /// Caches at most `budget` bytes of pixels.
    #[must_use]
    pub fn new(source: Arc<dyn Source>, budget: usize) -> Self {
        let pictures = (0..source.len()).map(|_| OnceLock::new()).collect();
        Self { source, pictures, budget: AtomicUsize::new(budget) }
    }

    /// Takes `bytes` from the budget, if they are there.
    fn reserve(&self, bytes: usize) -> bool {
        self.budget.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }
}

impl Source for Cached {
    fn len(&self) -> usize {
        self.source.len()
    }

    fn image(&self, index: usize) -> Result<Image> {
        if let Some(image) = self.pictures[index].get() {
            return Ok(Image::clone(image));
        }
        let image = self.source.image(index)?;
        let bytes = image.samples().bytes();
        if self.reserve(bytes) && self.pictures[index].set(Box::new(image.clone())).is_err() {
            // Another thread was first.
            self.budget.fetch_add(bytes, Ordering::Relaxed);
        }
        Ok(image)
    }

    fn encoded(&self, index: usize) -> Result<Option<Vec<u8>>> {
        self.source.encoded(index)
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.source.label(index)
    }

    fn class_names(&self) -> &[String] {
        self.source.class_names()
    }

    fn size(&self, index: usize) -> Result<[usize; 2]> {
        self.source.size(index)
    }

    fn mask(&self, index: usize) -> Result<Option<Mask>> {
        self.source.mask(index)
    }

    fn mask_name(&self, index: usize) -> String {
        self.source.mask_name(index)
    }

    fn mask_classes(&self) -> &[String] {
        self.source.mask_classes()
    }

    fn mask_palette(&self) -> Option<&[[u8; 3]]> {
        self.source.mask_palette()
    }

    fn groups(&self) -> Option<Groups> {
        self.source.groups()
    }

    fn scatter(&self) {
        self.source.scatter();
    }

    fn name(&self, index: usize) -> String {
        self.source.name(index)
    }

    fn version(&self, index: usize) -> Option<(u64, SystemTime)> {
        self.source.version(index)
    }

    fn unread(&self, class: u32) -> Option<&Unread> {
        self.source.unread(class)
    }

    fn notes(&self) -> &[String] {
        self.source.notes()
    }
}
