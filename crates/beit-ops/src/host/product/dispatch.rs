//! Which code multiplies: by element type, by precision of the factors, and by what the machine has.

#[cfg(feature = "std")]
use super::blocked;
use super::destination::{Destination, Epilogue};
use super::engine::WithEngine;
use super::library::{Library, multiply_parallel};
#[cfg(feature = "std")]
use super::micro;
#[cfg(feature = "std")]
use super::pack::Right;
use crate::host::array::{Array, matrix};
use crate::host::real::Real;
use ndarray::ArrayView2;

/// The precision of the factors of a product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Products {
    /// That of the element type.
    #[default]
    Exact,
    /// Factors are rounded to bf16; sums stay f32.
    #[cfg(feature = "std")]
    Bf16,
}

/// An element type with products. The default is the library's.
pub(crate) trait Multiply: Real {
    /// Whether a convolution of 3 x 3 may use Winograd's algorithm, which multiplies less and rounds a little more.
    const WINOGRAD: bool;
    /// `c = left [M, K] · right [K, N]` over all threads.
    fn product(
        _: Products,
        left: ArrayView2<'_, Self>,
        right: ArrayView2<'_, Self>,
        into: Destination<'_, Self>,
        epilogue: &Epilogue<'_, Self>,
    ) {
        multiply_parallel(left, right, into, epilogue);
    }
    /// `c = left [M, K] · weight [N, K]ᵀ` over all threads, with a packed copy of the weight that may be cached.
    fn product_by_weight(
        products: Products,
        left: ArrayView2<'_, Self>,
        weight: &Array<Self>,
        into: Destination<'_, Self>,
        epilogue: &Epilogue<'_, Self>,
    ) {
        Self::product(products, left, matrix(weight).reversed_axes(), into, epilogue);
    }
    /// Runs an operation with the best engine of this machine.
    fn with_engine<W: WithEngine<Self>>(_: Products, operation: W) -> W::Output {
        operation.run(Library)
    }
}

impl Multiply for f64 {
    // The oracle that others are compared with computes the definition.
    const WINOGRAD: bool = false;
}

impl Multiply for f32 {
    const WINOGRAD: bool = true;
    #[cfg(feature = "std")]
    fn product(
        products: Products,
        left: ArrayView2<'_, f32>,
        right: ArrayView2<'_, f32>,
        into: Destination<'_, f32>,
        epilogue: &Epilogue<'_, f32>,
    ) {
        with_kernel!(
            products,
            kernel => blocked::multiply(kernel, left, &Right::pack(kernel, right.t()), into, epilogue),
            else multiply_parallel(left, right, into, epilogue)
        );
    }
    #[cfg(feature = "std")]
    fn product_by_weight(
        products: Products,
        left: ArrayView2<'_, f32>,
        weight: &Array<f32>,
        into: Destination<'_, f32>,
        epilogue: &Epilogue<'_, f32>,
    ) {
        let transposed = matrix(weight);
        with_kernel!(
            products,
            kernel => {
                let right = weight.cached_copy(|| Right::pack(kernel, transposed));
                blocked::multiply(kernel, left, &right, into, epilogue);
            },
            else multiply_parallel(left, transposed.reversed_axes(), into, epilogue)
        );
    }
    #[cfg(feature = "std")]
    fn with_engine<W: WithEngine<f32>>(products: Products, operation: W) -> W::Output {
        with_kernel!(products, kernel => operation.run(kernel), else operation.run(Library))
    }
}

/// Whether this machine has instructions for products of bf16.
#[cfg(feature = "std")]
pub(crate) fn has_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return micro::Avx512Bf16::new().is_some();
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Evaluates an expression with the fastest kernel of this machine. Where it has none for products of f32, evaluates the
/// expression after `else`.
#[cfg(feature = "std")]
macro_rules! with_kernel {
    ($products:expr, $kernel:ident => $body:expr, else $otherwise:expr) => {{
        #[cfg(target_arch = "x86_64")]
        {
            use micro::{Amx, Avx2, Avx512, Avx512Bf16, Rounded};
            match $products {
                Products::Bf16 => {
                    if let Some($kernel) = Amx::new() {
                        $body
                    } else if let Some($kernel) = Avx512Bf16::new() {
                        $body
                    } else if let Some($kernel) = Avx512::<Rounded>::new() {
                        $body
                    } else if let Some($kernel) = Avx2::<Rounded>::new() {
                        $body
                    } else {
                        let $kernel = micro::Portable;
                        $body
                    }
                }
                Products::Exact => {
                    if let Some($kernel) = Avx512::<f32>::new() {
                        $body
                    } else if let Some($kernel) = Avx2::<f32>::new() {
                        $body
                    } else {
                        $otherwise
                    }
                }
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        match $products {
            Products::Bf16 => {
                let $kernel = micro::Portable;
                $body
            }
            Products::Exact => $otherwise,
        }
    }};
}
#[cfg(feature = "std")]
use with_kernel;

/// The name of the kernel that multiplies on this machine, for a person.
#[cfg(feature = "std")]
pub(crate) fn kernel(products: Products) -> &'static str {
    fn named<K>(_: K) -> &'static str {
        let name = core::any::type_name::<K>();
        let name = name.split('<').next().unwrap_or(name);
        name.rsplit("::").next().unwrap_or(name)
    }
    with_kernel!(products, kernel => named(kernel), else "that of matrixmultiply")
}
