//! A device by itself: tensors, and how they get there and back.

use crate::Shape;
use crate::plan::{Plan, Planned, PlannedIds};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

/// A device: what its tensors are, and how they get there and back. Every family of operations extends it.
///
/// Launches return nothing; what went wrong on a device surfaces at [`read`](Device::read). Wrong shapes are bugs of the
/// caller: [`Plan`](crate::Plan) finds them without data, and the other devices may panic.
pub trait Device {
    /// A tensor on the device. Shape and element type travel inside.
    type Tensor: Clone;
    /// Unsigned integers on the device: row numbers, classes, visual tokens.
    type Ids: Clone;

    /// Copies `data` (row-major) to the device.
    fn upload(&self, shape: impl Into<Shape>, data: &[f32]) -> Self::Tensor;
    /// Copies integers to the device.
    fn upload_ids(&self, ids: &[u32]) -> Self::Ids;
    /// Copies a tensor from the device, row-major.
    fn read(&self, x: &Self::Tensor) -> Result<Vec<f32>, DeviceError>;
    /// Copies integers from the device.
    fn read_ids(&self, ids: &Self::Ids) -> Result<Vec<u32>, DeviceError>;
    /// Writes `data` (row-major) to the elements of `x`. Where a device [gathers tensors](crate::OptimiserOps::gather_in_memory), one that
    /// no clone shares stays where it is.
    fn overwrite(&self, x: &mut Self::Tensor, data: &[f32]) {
        *x = self.upload(self.shape(x), data);
    }
    /// The shape of a tensor.
    fn shape(&self, x: &Self::Tensor) -> Shape;
    /// The same elements under another shape.
    fn reshape(&self, x: Self::Tensor, shape: impl Into<Shape>) -> Self::Tensor;

    /// A tensor of zeros.
    fn zeros(&self, shape: impl Into<Shape>) -> Self::Tensor {
        let shape = shape.into();
        self.upload(shape, &vec![0.0; shape.elements()])
    }
}

/// What a device reported: lost, out of memory, or a kernel that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceError(pub String);

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "device error: {}", self.0)
    }
}

impl core::error::Error for DeviceError {}

impl Device for Plan {
    type Tensor = Planned;
    type Ids = PlannedIds;

    fn upload(&self, shape: impl Into<Shape>, data: &[f32]) -> Planned {
        let shape = shape.into();
        assert_eq!(shape.elements(), data.len());
        self.tensor(shape)
    }
    fn upload_ids(&self, ids: &[u32]) -> PlannedIds {
        self.ids(ids.len())
    }
    fn read(&self, x: &Planned) -> Result<Vec<f32>, DeviceError> {
        Ok(vec![0.0; x.shape.elements()])
    }
    fn read_ids(&self, ids: &PlannedIds) -> Result<Vec<u32>, DeviceError> {
        Ok(vec![0; ids.len()])
    }
    fn shape(&self, x: &Planned) -> Shape {
        x.shape
    }
    fn reshape(&self, mut x: Planned, shape: impl Into<Shape>) -> Planned {
        let shape = shape.into();
        assert_eq!(x.shape.elements(), shape.elements(), "{} reshaped to {shape}", x.shape);
        x.shape = shape;
        x
    }
    fn zeros(&self, shape: impl Into<Shape>) -> Planned {
        self.tensor(shape)
    }
}
