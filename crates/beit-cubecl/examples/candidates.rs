//! Times every candidate tile at the matrix products of base and large: what `MEASURED` in `kernels/tile.rs` is filled from.
//!
//! ```text
//! cargo run --release --package beit-cubecl --features cuda --example candidates
//! ```

#![allow(clippy::print_stdout)]

#[cfg(feature = "cuda")]
mod cuda {
    use beit_cubecl::{CANDIDATES, Gpu, HOPPER, Precision, Runtime};
    use beit_ops::prelude::*;
    use beit_ops::{Linear, Shape};
    use std::error::Error;
    use std::time::Instant;

    /// `[M, C, N]` of the linear maps of a step of base at 128 images and large at 64.
    const MAPS: [(&str, [usize; 3]); 10] = [
        ("base qkv", [25_216, 768, 2304]),
        ("base proj", [25_216, 768, 768]),
        ("base fc1", [25_216, 768, 3072]),
        ("base fc2", [25_216, 3072, 768]),
        ("base head", [9_600, 768, 8192]),
        ("large qkv", [12_608, 1024, 3072]),
        ("large proj", [12_608, 1024, 1024]),
        ("large fc1", [12_608, 1024, 4096]),
        ("large fc2", [12_608, 4096, 1024]),
        ("large head", [4_800, 1024, 8192]),
    ];

    /// Length of a measurement.
    const SECONDS: f64 = 0.03;

    fn filled<R: Runtime>(gpu: &Gpu<R>, shape: impl Into<Shape>) -> beit_cubecl::Tensor {
        let shape = shape.into();
        let number = |i: usize| ((i as u32).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 24) as f32 - 0.5;
        gpu.upload(shape, &(0..shape.elements()).map(number).collect::<Vec<_>>())
    }

    /// Seconds of a call, the best of three.
    fn time<R: Runtime>(gpu: &Gpu<R>, mut run: impl FnMut()) -> Result<f64, Box<dyn Error>> {
        let mut seconds = |calls: usize| -> Result<f64, Box<dyn Error>> {
            let start = Instant::now();
            (0..calls).for_each(|_| run());
            gpu.sync()?;
            Ok(start.elapsed().as_secs_f64() / calls as f64)
        };
        seconds(2)?;
        let calls = (SECONDS / seconds(4)?).ceil().clamp(1.0, 1000.0) as usize;
        Ok(seconds(calls)?.min(seconds(calls)?).min(seconds(calls)?))
    }

    pub(super) fn run() -> Result<(), Box<dyn Error>> {
        let tiles = CANDIDATES.iter().chain(&HOPPER);
        println!("TFLOP/s of {} tiles of all devices and {} of Hopper", CANDIDATES.len(), HOPPER.len());
        let open = || beit_cubecl::cuda(0, Precision::Bf16);
        let table = open()?;
        let candidates = tiles.map(|&tile| Ok(open()?.with_tile(tile)));
        let candidates = candidates.collect::<Result<Vec<_>, Box<dyn Error>>>()?;
        for (name, [m, c, n]) in MAPS {
            let linear = || Linear { weight: filled(&table, [n, c]), bias: Some(filled(&table, [n])) };
            let (p, mut dp) = (linear(), linear());
            // Activations are what products leave: in bf16.
            let narrow = |width: usize| {
                let one = Linear { weight: filled(&table, [width, 64]), bias: None };
                table.linear(&filled(&table, [m, 64]), &one)
            };
            let (x, dy) = (narrow(c), narrow(n));
            let tflop = 2e-12 * (m * c * n) as f64;
            let mut lines = [const { String::new() }; 4];
            for gpu in &candidates {
                let forward = time(gpu, || drop(gpu.linear(&x, &p)))?;
                let gelu = time(gpu, || drop(gpu.linear_gelu(&x, &p)))?;
                let dw = time(gpu, || gpu.linear_backward_params(&dy, &x, &mut dp))?;
                let both = time(gpu, || drop(gpu.linear_backward(&dy, &x, &p, &mut dp)))?;
                for (line, seconds) in lines.iter_mut().zip([forward, gelu, both - dw, dw]) {
                    *line += &format!(" {:6.0}", tflop / seconds);
                }
            }
            for (part, line) in ["forward", "gelu", "dx", "dw"].iter().zip(lines) {
                println!("{name:10} {part:7} {m}x{c}x{n}:{line}");
            }
        }
        Ok(())
    }
}

#[cfg(feature = "cuda")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    cuda::run()
}

#[cfg(not(feature = "cuda"))]
fn main() {
    println!("this build has no CUDA; run with --features cuda");
}
