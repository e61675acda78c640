//! The device by itself: transfers and shapes. Each family of operations is implemented where its kernels are.

use crate::gpu::Gpu;
use crate::kernels::elementwise;
use crate::tensor::{Dtype, Ids, Tensor};
use beit_ops::{Device, DeviceError, Shape};
use cubecl::prelude::Runtime;

impl<R: Runtime> Device for Gpu<R> {
    type Tensor = Tensor;
    type Ids = Ids;

    fn upload(&self, shape: impl Into<Shape>, data: &[f32]) -> Tensor {
        self.upload_f32(shape, data)
    }
    fn upload_ids(&self, ids: &[u32]) -> Ids {
        self.upload_u32(ids)
    }
    fn read(&self, x: &Tensor) -> Result<Vec<f32>, DeviceError> {
        self.download(x)
    }
    fn read_ids(&self, ids: &Ids) -> Result<Vec<u32>, DeviceError> {
        self.download_ids(ids)
    }
    fn overwrite(&self, x: &mut Tensor, data: &[f32]) {
        elementwise::overwrite(self, x, &self.upload_f32(x.shape, data));
    }
    fn shape(&self, x: &Tensor) -> Shape {
        x.shape
    }
    fn reshape(&self, x: Tensor, shape: impl Into<Shape>) -> Tensor {
        x.reshaped(shape)
    }
    fn zeros(&self, shape: impl Into<Shape>) -> Tensor {
        let x = self.empty(shape, Dtype::F32);
        elementwise::set(self, &x, 0.0);
        x
    }
}
