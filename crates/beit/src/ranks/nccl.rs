//! The GPUs of several processes add up by NCCL.

use super::Team;
use super::sums::{DeviceSums, Means};
use crate::error::{Error, Result};
use beit_cubecl::Gpu;
use beit_cubecl::cubecl::cuda::CudaRuntime;
use beit_cubecl::nccl::{Nccl, NcclError, NcclLibrary, Seat, uuid};
use beit_ops::DeviceError;
use beit_train::TensorSums;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

type Cuda = Gpu<CudaRuntime>;

/// A GPU among those of the others.
struct Member(Nccl);

impl TensorSums<Cuda> for Member {
    fn sum(&mut self, gpu: &Cuda, tensors: Vec<&mut beit_cubecl::Tensor>) -> beit_train::Result<Duration> {
        Ok(self.0.sum(gpu, tensors).map_err(device_error)?)
    }
}

fn device_error(error: NcclError) -> DeviceError {
    DeviceError(format!("{error}; --gpu-sums host adds up without NCCL"))
}

/// What a GPU can add up by.
pub(crate) fn means(gpu: &Cuda) -> Means {
    let found = NcclLibrary::load()
        .and_then(|library| Ok(Means::Nccl { version: library.version()?, gpu: uuid(gpu)? }));
    found.unwrap_or_else(|error| Means::Nothing(error.to_string()))
}

/// Meets the GPUs of the others, by an id that rank 0 makes.
pub(crate) fn join(gpu: &Cuda, team: &Team) -> Result<DeviceSums<Cuda>> {
    let library = NcclLibrary::load().map_err(device_error)?;
    let own = if team.leads() { hex(&library.id().map_err(device_error)?) } else { String::new() };
    let id = from_hex(&team.told(&own)?)
        .ok_or_else(|| Error::Unfit("rank 0 of this run told no id for NCCL".to_owned()))?;
    let shard = team.shard();
    let seat = Seat { id, rank: shard.rank, of: shard.of };
    let joined = Nccl::join(gpu, library, &seat, team.patience()).map_err(device_error)?;
    Ok(Rc::new(RefCell::new(Member(joined))))
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<[u8; 128]> {
    let digits = text.as_bytes().as_chunks::<2>().0.iter();
    let byte = |digits: &[u8; 2]| u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok();
    digits.map(byte).collect::<Option<Vec<u8>>>()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_travel_as_text() {
        let id: [u8; 128] = std::array::from_fn(|i| (255 - i) as u8);
        assert_eq!(from_hex(&hex(&id)), Some(id));
        assert_eq!([from_hex(""), from_hex("ff"), from_hex(&"g0".repeat(128))], [None; 3]);
    }
}
