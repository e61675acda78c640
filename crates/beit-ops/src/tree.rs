//! Parameter trees: weights, gradients, moments, shapes and names are one structure with another leaf.

use crate::leaf::{At, Leaf};
use alloc::string::String;
use alloc::vec::Vec;

/// A structure of parameters with leaves of type `T`. [`tree!`](crate::tree!) writes the implementation.
///
/// Every walk visits the leaves in the same order: the order in which the fields are declared.
pub trait Tree<T>: Sized {
    /// The same structure with other leaves.
    type Of<U>: Tree<U>;

    /// The same structure with every leaf replaced by `f(what it is, leaf)`; `at` is where in a larger tree this one stands.
    fn map_at<U>(&self, at: &At, f: &mut dyn FnMut(&Leaf, &T) -> U) -> Self::Of<U>;

    /// Calls `f(what it is, leaf)` for every leaf.
    fn walk_at<'a>(&'a self, at: &At, f: &mut dyn FnMut(Leaf, &'a T));

    /// Calls `f(leaf)` for every leaf.
    fn walk_mut<'a>(&'a mut self, f: &mut dyn FnMut(&'a mut T));

    /// The same structure with every leaf replaced by `f(leaf)`.
    fn map<U>(&self, f: &mut dyn FnMut(&T) -> U) -> Self::Of<U> {
        self.map_at(&At::root(), &mut |_, leaf| f(leaf))
    }

    /// The same structure with every leaf replaced by `f(what it is, leaf)`.
    fn map_described<U>(&self, f: &mut dyn FnMut(&Leaf, &T) -> U) -> Self::Of<U> {
        self.map_at(&At::root(), f)
    }

    /// The leaves, each with what it is.
    fn described(&self) -> Vec<(Leaf, &T)> {
        let mut all = Vec::new();
        self.walk_at(&At::root(), &mut |leaf, value| all.push((leaf, value)));
        all
    }

    /// The leaves with their names.
    fn named(&self) -> Vec<(String, &T)> {
        self.described().into_iter().map(|(leaf, value)| (leaf.name, value)).collect()
    }

    /// The leaves.
    fn leaves(&self) -> Vec<&T> {
        self.described().into_iter().map(|(_, value)| value).collect()
    }

    /// The leaves, to be changed in place.
    fn leaves_mut(&mut self) -> Vec<&mut T> {
        let mut all = Vec::new();
        self.walk_mut(&mut |leaf| all.push(leaf));
        all
    }
}

/// No parameters.
impl<T> Tree<T> for () {
    type Of<U> = ();

    fn map_at<U>(&self, _: &At, _: &mut dyn FnMut(&Leaf, &T) -> U) {}
    fn walk_at<'a>(&'a self, _: &At, _: &mut dyn FnMut(Leaf, &'a T)) {}
    fn walk_mut<'a>(&'a mut self, _: &mut dyn FnMut(&'a mut T)) {}
}

/// Declares a parameter tree and implements [`Tree`] for it.
///
/// A field is declared as `pub NAME: TYPE = KIND "PART OF THE NAME"`. The parts of a name are joined as they stand, so those of
/// trees and lists end in a dot. The kinds:
///
/// - `leaf` and `maybe_leaf` (an `Option`): a parameter, followed by `as` and its [`Role`](crate::Role).
/// - `tree` and `maybe_tree`: a tree of its own. `in Stem` puts all of it into that [`Layer`](crate::Layer).
/// - `list`: a `Vec` of trees, the blocks of a model: each is a [`Layer::Block`](crate::Layer::Block) with its number.
/// - `items`: a `Vec` of trees that are numbered and stand where this one does.
/// - `plain`: no parameter and no name, but part of the structure, as a configuration is: every tree that is made of this one has
///   a copy.
///
/// ```
/// use beit_ops::{Role, Tree, params::Linear, tree};
/// tree! {
///     /// Two linear maps.
///     pub struct Mlp {
///         /// First.
///         pub fc1: Linear<T> = tree "fc1.",
///         /// Second.
///         pub fc2: Linear<T> = tree "fc2.",
///     }
/// }
/// let layer = || Linear { weight: 1, bias: None };
/// let mlp = Mlp { fc1: layer(), fc2: layer() };
/// let (leaf, value) = &mlp.described()[1];
/// assert_eq!((leaf.name.as_str(), leaf.role, **value), ("fc2.weight", Role::Weight, 1));
/// assert_eq!(mlp.map(&mut |n| n + 1).fc2.weight, 2);
/// ```
#[macro_export]
macro_rules! tree {
    ($(#[$meta:meta])* $vis:vis struct $name:ident {
        $($(#[$field_meta:meta])* $field_vis:vis $field:ident : $ty:ty
            = $kind:ident $($key:literal $(as $role:ident)? $(in $layer:ident)?)?),* $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        $vis struct $name<T> {
            $($(#[$field_meta])* $field_vis $field: $ty,)*
        }

        impl<T> $crate::Tree<T> for $name<T> {
            type Of<U> = $name<U>;

            fn map_at<U>(&self, at: &$crate::At, f: &mut dyn FnMut(&$crate::Leaf, &T) -> U) -> $name<U> {
                $name { $($field: $crate::tree!(
                    @map $kind &self.$field, at, f $(, $key $(as $role)? $(in $layer)?)?
                ),)* }
            }

            fn walk_at<'a>(&'a self, at: &$crate::At, f: &mut dyn FnMut($crate::Leaf, &'a T)) {
                $($crate::tree!(@walk $kind &self.$field, at, f $(, $key $(as $role)? $(in $layer)?)?);)*
            }

            fn walk_mut<'a>(&'a mut self, f: &mut dyn FnMut(&'a mut T)) {
                $($crate::tree!(@walk_mut $kind &mut self.$field, f);)*
            }
        }
    };

    (@map plain $x:expr, $at:ident, $f:ident) => { ::core::clone::Clone::clone($x) };
    (@map leaf $x:expr, $at:ident, $f:ident, $key:literal as $role:ident) => {
        $f(&$at.leaf($key, $crate::Role::$role), $x)
    };
    (@map maybe_leaf $x:expr, $at:ident, $f:ident, $key:literal as $role:ident) => {
        $x.as_ref().map(|x| $f(&$at.leaf($key, $crate::Role::$role), x))
    };
    (@map tree $x:expr, $at:ident, $f:ident, $key:literal $(in $layer:ident)?) => {
        $crate::Tree::map_at($x, &$at.join($key)$(.within($crate::Layer::$layer))?, $f)
    };
    (@map maybe_tree $x:expr, $at:ident, $f:ident, $key:literal) => {
        $x.as_ref().map(|x| $crate::Tree::map_at(x, &$at.join($key), $f))
    };
    (@map list $x:expr, $at:ident, $f:ident, $key:literal) => {
        $x.iter().enumerate().map(|(i, x)| $crate::Tree::map_at(x, &$at.block($key, i), $f)).collect()
    };
    (@map items $x:expr, $at:ident, $f:ident, $key:literal) => {
        $x.iter().enumerate().map(|(i, x)| $crate::Tree::map_at(x, &$at.item($key, i), $f)).collect()
    };

    (@walk plain $x:expr, $at:ident, $f:ident) => {};
    (@walk leaf $x:expr, $at:ident, $f:ident, $key:literal as $role:ident) => {
        $f($at.leaf($key, $crate::Role::$role), $x)
    };
    (@walk maybe_leaf $x:expr, $at:ident, $f:ident, $key:literal as $role:ident) => {
        if let Some(x) = $x { $f($at.leaf($key, $crate::Role::$role), x) }
    };
    (@walk tree $x:expr, $at:ident, $f:ident, $key:literal $(in $layer:ident)?) => {
        $crate::Tree::walk_at($x, &$at.join($key)$(.within($crate::Layer::$layer))?, $f)
    };
    (@walk maybe_tree $x:expr, $at:ident, $f:ident, $key:literal) => {
        if let Some(x) = $x { $crate::Tree::walk_at(x, &$at.join($key), $f) }
    };
    (@walk list $x:expr, $at:ident, $f:ident, $key:literal) => {
        for (i, x) in $x.iter().enumerate() { $crate::Tree::walk_at(x, &$at.block($key, i), $f) }
    };
    (@walk items $x:expr, $at:ident, $f:ident, $key:literal) => {
        for (i, x) in $x.iter().enumerate() { $crate::Tree::walk_at(x, &$at.item($key, i), $f) }
    };

    (@walk_mut plain $x:expr, $f:ident) => {};
    (@walk_mut leaf $x:expr, $f:ident) => { $f($x) };
    (@walk_mut maybe_leaf $x:expr, $f:ident) => { if let Some(x) = $x { $f(x) } };
    (@walk_mut tree $x:expr, $f:ident) => { $crate::Tree::walk_mut($x, $f) };
    (@walk_mut maybe_tree $x:expr, $f:ident) => { if let Some(x) = $x { $crate::Tree::walk_mut(x, $f) } };
    (@walk_mut items $x:expr, $f:ident) => { $crate::tree!(@walk_mut list $x, $f) };
    (@walk_mut list $x:expr, $f:ident) => { for x in $x.iter_mut() { $crate::Tree::walk_mut(x, $f) } };
}
