//! Parameter trees: weights, gradients, moments, shapes and names are one structure with another leaf.

use alloc::string::String;
use alloc::vec::Vec;

/// A structure of parameters with leaves of type `T`. [`tree!`](crate::tree!) writes the implementation.
///
/// Every walk visits the leaves in the same order: the order in which the fields are declared.
pub trait Tree<T>: Sized {
    /// The same structure with other leaves.
    type Of<U>: Tree<U>;

    /// The same structure with every leaf replaced by `f(name, leaf)`; names are prefixed with `prefix`.
    fn map_named<U>(&self, prefix: &str, f: &mut dyn FnMut(&str, &T) -> U) -> Self::Of<U>;

    /// Calls `f(name, leaf)` for every leaf.
    fn for_each<'a>(&'a self, prefix: &str, f: &mut dyn FnMut(String, &'a T));

    /// Calls `f(leaf)` for every leaf.
    fn for_each_mut<'a>(&'a mut self, f: &mut dyn FnMut(&'a mut T));

    /// The same structure with every leaf replaced by `f(leaf)`.
    fn map<U>(&self, f: &mut dyn FnMut(&T) -> U) -> Self::Of<U> {
        self.map_named("", &mut |_, leaf| f(leaf))
    }

    /// The leaves with their names.
    fn named(&self) -> Vec<(String, &T)> {
        let mut all = Vec::new();
        self.for_each("", &mut |name, leaf| all.push((name, leaf)));
        all
    }

    /// The leaves.
    fn leaves(&self) -> Vec<&T> {
        let mut all = Vec::new();
        self.for_each("", &mut |_, leaf| all.push(leaf));
        all
    }

    /// The leaves, to be changed in place.
    fn leaves_mut(&mut self) -> Vec<&mut T> {
        let mut all = Vec::new();
        self.for_each_mut(&mut |leaf| all.push(leaf));
        all
    }
}

/// Declares a parameter tree and implements [`Tree`] for it.
///
/// After its type, a field says what it is (`leaf`, `maybe_leaf` for an `Option`, `tree`, `maybe_tree`, or `list` for a `Vec` of
/// trees) and its part of the name. The parts are joined as they stand, so those of trees and lists end in a dot.
///
/// ```
/// use beit_ops::{Tree, params::Linear, tree};
/// tree! {
///     /// Two linear maps.
///     pub struct Mlp {
///         /// First.
///         fc1: Linear<T> = tree "fc1.",
///         /// Second.
///         fc2: Linear<T> = tree "fc2.",
///     }
/// }
/// let layer = || Linear { weight: 1, bias: None };
/// let mlp = Mlp { fc1: layer(), fc2: layer() };
/// assert_eq!(mlp.named()[1].0, "fc2.weight");
/// assert_eq!(mlp.map(&mut |n| n + 1).fc2.weight, 2);
/// ```
#[macro_export]
macro_rules! tree {
    ($(#[$meta:meta])* $vis:vis struct $name:ident {
        $($(#[$field_meta:meta])* $field:ident : $ty:ty = $kind:ident $key:literal),* $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        $vis struct $name<T> {
            $($(#[$field_meta])* pub $field: $ty,)*
        }

        impl<T> $crate::Tree<T> for $name<T> {
            type Of<U> = $name<U>;

            fn map_named<U>(&self, prefix: &str, f: &mut dyn FnMut(&str, &T) -> U) -> $name<U> {
                $name { $($field: $crate::tree!(@map $kind &self.$field, &$crate::__join(prefix, $key), f),)* }
            }

            fn for_each<'a>(
                &'a self,
                prefix: &str,
                f: &mut dyn FnMut($crate::__String, &'a T),
            ) {
                $($crate::tree!(@each $kind &self.$field, $crate::__join(prefix, $key), f);)*
            }

            fn for_each_mut<'a>(&'a mut self, f: &mut dyn FnMut(&'a mut T)) {
                $($crate::tree!(@each_mut $kind &mut self.$field, f);)*
            }
        }
    };

    (@map leaf $x:expr, $key:expr, $f:ident) => { $f($key, $x) };
    (@map maybe_leaf $x:expr, $key:expr, $f:ident) => { $x.as_ref().map(|x| $f($key, x)) };
    (@map tree $x:expr, $key:expr, $f:ident) => { $crate::Tree::map_named($x, $key, $f) };
    (@map maybe_tree $x:expr, $key:expr, $f:ident) => { $x.as_ref().map(|x| $crate::Tree::map_named(x, $key, $f)) };
    (@map list $x:expr, $key:expr, $f:ident) => {
        $x.iter().enumerate().map(|(i, x)| $crate::Tree::map_named(x, &$crate::__item($key, i), $f)).collect()
    };

    (@each leaf $x:expr, $key:expr, $f:ident) => { $f($key, $x) };
    (@each maybe_leaf $x:expr, $key:expr, $f:ident) => { if let Some(x) = $x { $f($key, x) } };
    (@each tree $x:expr, $key:expr, $f:ident) => { $crate::Tree::for_each($x, &$key, $f) };
    (@each maybe_tree $x:expr, $key:expr, $f:ident) => { if let Some(x) = $x { $crate::Tree::for_each(x, &$key, $f) } };
    (@each list $x:expr, $key:expr, $f:ident) => {
        for (i, x) in $x.iter().enumerate() { $crate::Tree::for_each(x, &$crate::__item(&$key, i), $f) }
    };

    (@each_mut leaf $x:expr, $f:ident) => { $f($x) };
    (@each_mut maybe_leaf $x:expr, $f:ident) => { if let Some(x) = $x { $f(x) } };
    (@each_mut tree $x:expr, $f:ident) => { $crate::Tree::for_each_mut($x, $f) };
    (@each_mut maybe_tree $x:expr, $f:ident) => { if let Some(x) = $x { $crate::Tree::for_each_mut(x, $f) } };
    (@each_mut list $x:expr, $f:ident) => { for x in $x.iter_mut() { $crate::Tree::for_each_mut(x, $f) } };
}

#[doc(hidden)]
pub fn join(prefix: &str, key: &str) -> String {
    alloc::format!("{prefix}{key}")
}

#[doc(hidden)]
pub fn item(prefix: &str, index: usize) -> String {
    alloc::format!("{prefix}{index}.")
}
