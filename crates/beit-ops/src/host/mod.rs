//! The CPU: fast in `f32`, the oracle of the gradients in `f64`.

/// Implements families of operations for `Host<F>`, where `Tensor` is `Array<F>`, for the element types one by one: generic code
/// would be compiled again in every crate that computes something.
macro_rules! on_host {
    ($($families:item)+) => {
        const _: () = {
            type F = f32;
            type Tensor = $crate::host::array::Array<F>;
            $($families)+
        };
        const _: () = {
            type F = f64;
            type Tensor = $crate::host::array::Array<F>;
            $($families)+
        };
    };
}

mod activation;
mod array;
mod attention;
mod batch_norm;
#[cfg(feature = "std")]
mod buffers;
#[cfg(feature = "std")]
mod cached;
mod conv;
mod cross_entropy;
mod embed;
mod layer_norm;
mod linear;
mod logit_laplace;
mod maps;
mod optimiser;
mod par;
mod pool;
mod posterior;
mod product;
mod real;
mod reduce;
mod resample;
mod residual;
mod rows;
mod squared_error;

pub use array::Array;
pub(crate) use conv::packed_elements;
pub use layer_norm::RowStats;
pub use real::Real;
pub use reduce::all_finite;

use self::array::array;
use crate::Shape;
use crate::ops::{Device, DeviceError};
use alloc::vec::Vec;
use core::marker::PhantomData;

/// The CPU as a device, in the precision `F`.
///
/// Under the feature `std` it uses all cores of the current rayon pool; the number of threads never changes a bit of any
/// result.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Host<F> {
    products: product::Products,
    element: PhantomData<F>,
}

impl<F> Host<F> {
    /// The CPU.
    pub const fn new() -> Self {
        Self { products: product::Products::Exact, element: PhantomData }
    }
}

impl Host<f32> {
    /// The CPU with bf16 factors: matrix products round what they multiply to bf16 and add up in f32; all else is f32.
    ///
    /// Fast where the processor multiplies bf16 (`avx512_bf16`, and several times faster with `amx_bf16`), see
    /// [`has_bf16`](Host::has_bf16); elsewhere the same numbers to rounding, and no faster than f32.
    #[cfg(feature = "std")]
    pub const fn bf16() -> Self {
        Self { products: product::Products::Bf16, element: PhantomData }
    }

    /// Whether this processor has instructions for products of bf16.
    #[cfg(feature = "std")]
    pub fn has_bf16() -> bool {
        product::has_bf16()
    }

    /// What multiplies matrices on this machine, by the name of its instructions: `Avx512`, `Avx2`, of bf16 `Amx`, `Avx512Bf16`, …
    #[cfg(feature = "std")]
    pub fn kernel(&self) -> &'static str {
        product::kernel(self.products)
    }
}

on_host! {
    impl Device for Host<F> {
        type Tensor = Tensor;
        type Ids = Vec<u32>;

        fn upload(&self, shape: impl Into<Shape>, data: &[f32]) -> Tensor {
            array(shape, data.iter().map(|&v| F::from_f64(f64::from(v))).collect())
        }
        fn upload_ids(&self, ids: &[u32]) -> Vec<u32> {
            ids.to_vec()
        }
        fn read(&self, x: &Tensor) -> Result<Vec<f32>, DeviceError> {
            Ok(x.iter().map(|v| v.to_f64() as f32).collect())
        }
        fn read_ids(&self, ids: &Vec<u32>) -> Result<Vec<u32>, DeviceError> {
            Ok(ids.clone())
        }
        fn shape(&self, x: &Tensor) -> Shape {
            array::shape(x)
        }
        fn reshape(&self, x: Tensor, shape: impl Into<Shape>) -> Tensor {
            array::reshape(x, shape)
        }
        fn zeros(&self, shape: impl Into<Shape>) -> Tensor {
            array::zeros(shape)
        }
    }
}
