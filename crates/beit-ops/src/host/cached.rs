//! Copies of parameters in the order in which the kernels of a product read them, cached beside the parameter.
//!
//! Packing a weight costs as much as reading it. That is little beside a product of many rows and much beside one of few. A
//! weight that is used a second time without a change in between therefore keeps its packed copy. This happens in inference,
//! and in training where several batches make a step. Otherwise a copy lives as long as one product.

use core::any::Any;
use core::ops::Deref;
use core::sync::atomic::{AtomicBool, Ordering};
use std::boxed::Box;
use std::sync::OnceLock;

/// The cached copy of one tensor.
#[derive(Default)]
pub(super) struct CopyCache {
    /// Whether the tensor was used since it last changed.
    used: AtomicBool,
    copy: OnceLock<Box<dyn Any + Send + Sync>>,
}

/// A value that may be cached.
pub(crate) trait Cacheable {
    /// The same value in memory of exactly its size. A value that lives as long as one product may lie in a larger buffer that
    /// happened to be idle; a cached one would hold that buffer for good.
    fn shrink(self) -> Self;
}

impl<T: Cacheable> Cacheable for alloc::vec::Vec<T> {
    fn shrink(self) -> Self {
        self.into_iter().map(Cacheable::shrink).collect()
    }
}

/// A copy in the cache, or one that the caller owns.
pub(crate) enum MaybeCached<'a, T> {
    Cached(&'a T),
    Owned(T),
}

impl<T> Deref for MaybeCached<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        match self {
            Self::Cached(copy) => copy,
            Self::Owned(copy) => copy,
        }
    }
}

impl CopyCache {
    /// The copy that `make` makes, cached from the second call on. The cache has room for one type of copy: a copy of another
    /// type is made anew each time.
    pub(super) fn get<T: Cacheable + Any + Send + Sync>(
        &self,
        make: impl FnOnce() -> T,
    ) -> MaybeCached<'_, T> {
        if let Some(copy) = self.copy.get() {
            return match copy.downcast_ref::<Option<T>>() {
                Some(Some(copy)) => MaybeCached::Cached(copy),
                _ => MaybeCached::Owned(make()),
            };
        }
        if !self.used.swap(true, Ordering::Relaxed) {
            return MaybeCached::Owned(make());
        }
        let mut make = Some(make);
        let copy = self.copy.get_or_init(|| Box::new(make.take().map(|make| make().shrink())));
        match (copy.downcast_ref::<Option<T>>(), make) {
            (Some(Some(copy)), _) => MaybeCached::Cached(copy),
            // Another thread was first, with a copy of another type.
            (_, Some(make)) => MaybeCached::Owned(make()),
            (_, None) => unreachable!("a copy made by this call has the type it asked for"),
        }
    }

    /// Forgets the copy, because the tensor is about to change.
    #[inline]
    pub(super) fn clear(&mut self) {
        if *self.used.get_mut() {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;

    impl Cacheable for usize {
        fn shrink(self) -> Self {
            self
        }
    }
    impl Cacheable for &str {
        fn shrink(self) -> Self {
            self
        }
    }

    #[test]
    fn the_second_use_caches_a_copy_until_the_tensor_changes() {
        let mut cache = CopyCache::default();
        let made = Cell::new(0usize);
        let make = || {
            made.set(made.get() + 1);
            made.get()
        };
        assert_eq!([*cache.get(make), *cache.get(make), *cache.get(make)], [1, 2, 2]);
        assert_eq!(*cache.get(|| "another type"), "another type");
        assert_eq!(*cache.get(make), 2);
        cache.clear();
        assert_eq!([*cache.get(make), *cache.get(make), *cache.get(make)], [3, 4, 4]);
    }
}
