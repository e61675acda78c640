//! Copies of parameters in the order in which kernels read them.
//!
//! Packing a weight costs as much as reading it does, which is little beside a product of many rows and much beside one of few.
//! A weight that is used a second time without having changed in between therefore keeps its copy: in inference, and in
//! training where several batches make a step. In all else a copy lives as long as one product.

use core::any::Any;
use core::ops::Deref;
use core::sync::atomic::{AtomicBool, Ordering};
use std::boxed::Box;
use std::sync::OnceLock;

/// The copy that a tensor keeps.
#[derive(Default)]
pub(super) struct Kept {
    /// Whether the tensor was used since it last changed.
    used: AtomicBool,
    copy: OnceLock<Box<dyn Any + Send + Sync>>,
}

/// What can be kept.
pub trait Keep {
    /// In memory of its own size: what lasts as long as a product may be in a larger buffer that happened to be idle.
    fn tight(self) -> Self;
}

impl<T: Keep> Keep for alloc::vec::Vec<T> {
    fn tight(self) -> Self {
        self.into_iter().map(Keep::tight).collect()
    }
}

/// A copy, the tensor's or the caller's own.
pub(crate) enum Copy<'a, T> {
    Kept(&'a T),
    Own(T),
}

impl<T> Deref for Copy<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        match self {
            Copy::Kept(copy) => copy,
            Copy::Own(copy) => copy,
        }
    }
}

impl Kept {
    /// The copy that `make` makes, kept from the second call on. One tensor has one kind of copy; another kind is not kept.
    pub(super) fn get<T: Keep + Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Copy<'_, T> {
        if let Some(copy) = self.copy.get() {
            return match copy.downcast_ref::<Option<T>>() {
                Some(Some(copy)) => Copy::Kept(copy),
                _ => Copy::Own(make()),
            };
        }
        if !self.used.swap(true, Ordering::Relaxed) {
            return Copy::Own(make());
        }
        let mut make = Some(make);
        let copy = self.copy.get_or_init(|| Box::new(make.take().map(|make| make().tight())));
        match (copy.downcast_ref::<Option<T>>(), make) {
            (Some(Some(copy)), _) => Copy::Kept(copy),
            (_, Some(make)) => Copy::Own(make()),
            (_, None) => unreachable!("what this call made is of its kind"),
        }
    }

    /// The tensor changes: forgets the copy.
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

    impl Keep for usize {
        fn tight(self) -> Self {
            self
        }
    }
    impl Keep for &str {
        fn tight(self) -> Self {
            self
        }
    }

    #[test]
    fn the_second_use_keeps_a_copy_until_the_tensor_changes() {
        let mut kept = Kept::default();
        let made = Cell::new(0usize);
        let make = || {
            made.set(made.get() + 1);
            made.get()
        };
        assert_eq!([*kept.get(make), *kept.get(make), *kept.get(make)], [1, 2, 2]);
        assert_eq!(*kept.get(|| "another kind"), "another kind");
        assert_eq!(*kept.get(make), 2);
        kept.clear();
        assert_eq!([*kept.get(make), *kept.get(make), *kept.get(make)], [3, 4, 4]);
    }
}
