//! A world of one GPU: what it adds up by NCCL stays what it is, to the bit.

use beit_cubecl::nccl::{Nccl, NcclLibrary, Seat};
use beit_cubecl::testing::not_run;
use beit_cubecl::{Gpu, OpenError, Precision, Tensor};
use beit_ops::prelude::*;
use cubecl::cuda::CudaRuntime;
use std::time::Duration;

#[test]
fn nccl() {
    let device = std::env::var("BEIT_DEVICE").unwrap_or_else(|_| "wgpu".to_owned());
    let opened = match device.split_once(':').unwrap_or((&device, "0")) {
        ("cuda", index) => {
            let index = index.parse().expect("BEIT_DEVICE=cuda:N with a number N");
            beit_cubecl::cuda(index, Precision::F32).map(|gpu| sums(&gpu))
        }
        _ => Err(OpenError::Missing {
            device: "cuda".to_owned(),
            reason: format!("BEIT_DEVICE is {device}, and NCCL is for NVIDIA GPUs"),
        }),
    };
    if let Err(error) = opened {
        not_run("a world of one by NCCL", &error);
    }
}

/// Lengths of one number, of no multiple of anything, and of many blocks.
const LENS: [usize; 4] = [1, 2050, 7, 3_000_000];

fn sums(gpu: &Gpu<CudaRuntime>) {
    let library = NcclLibrary::load().unwrap_or_else(|error| panic!("{error}"));
    println!("NCCL {} on {}", library.version().expect("NCCL tells"), gpu.name());
    let seat = Seat { id: library.id().expect("an id"), rank: 0, of: 1 };
    let patience = Duration::from_secs(30);
    let mut nccl = Nccl::join(gpu, library, &seat, patience).unwrap_or_else(|error| panic!("{error}"));
    let numbers: Vec<Vec<f32>> = LENS.iter().map(|&len| (0..len).map(number).collect()).collect();
    let mut tensors: Vec<Tensor> = numbers.iter().map(|data| gpu.upload([data.len()], data)).collect();
    let mut add_up = |tensors: &mut [Tensor], how: &str| {
        let took =
            nccl.sum(gpu, tensors.iter_mut().collect()).unwrap_or_else(|error| panic!("{how}: {error}"));
        println!("{how}: {took:?}");
        for (tensor, numbers) in tensors.iter().zip(&numbers) {
            let found = gpu.read(tensor).expect("the device works");
            assert!(found.iter().map(|v| v.to_bits()).eq(numbers.iter().map(|v| v.to_bits())), "{how}");
        }
    };
    add_up(&mut tensors, "one by one");
    gpu.gather_in_memory(tensors.iter_mut().collect());
    add_up(&mut tensors, "in one piece");
    // What was launched before is part of the sum, and what is launched after sees it.
    let twice: Vec<Tensor> = tensors.clone();
    for (tensor, twice) in tensors.iter_mut().zip(&twice) {
        gpu.clear(tensor);
        gpu.add_assign(tensor, twice);
    }
    add_up(&mut tensors, "after other work");
}

/// Of either sign and of all sizes.
fn number(i: usize) -> f32 {
    let sign = if i.is_multiple_of(3) { -1.0 } else { 1.0 };
    sign * (i as f32 + 0.3) * 2f32.powi((i % 60) as i32 - 30)
}
