//! What the compiler reports: errors with their lines, and the resources of a kernel.

use cubecl::prelude::*;
use cuda_check::{Compiled, Sm, compile_source, records, violations};

const BROKEN: &str =
    "extern \"C\" __global__ void broken(float *x) {\n    x[0] = 1;\n    x[1] = nothing;\n}\n";

#[test]
fn a_source_that_does_not_compile_is_named_with_its_line() {
    for sm in [80, 90] {
        let error = compile_source(BROKEN, "broken", Sm(sm)).unwrap_err();
        assert!(error.contains("broken(3): error") && error.contains("3 |     x[1] = nothing;"), "{error}");
    }
}

/// A kernel with more shared memory than any device has is found, whether the memory is declared with its size or not.
#[test]
fn too_much_shared_memory_is_reported() {
    let source = "extern \"C\" __global__ void big(float *x) {\n    __shared__ float y[60000];\n    y[threadIdx.x] = x[0];\n    \
                  __syncthreads();\n    x[1] = y[threadIdx.y];\n}\n";
    let error = compile_source(source, "big", Sm(80)).unwrap_err();
    assert!(error.contains("big") && error.contains("0x3a980 bytes"), "{error}");
}

/// The sums of two products, which are read between them or not.
const BETWEEN: &str = r#"
extern "C" __global__ void between(float *y) {
    extern __shared__ __align__(1024) unsigned char dynamic_shared_mem[];
    const unsigned address = shared_address(dynamic_shared_mem);
    const Words operand = Words(address / 16) | Words(1) << 16 | Words(64) << 32 | Words(1) << 62;
    float sums[32] = {};
    products_begin();
    multiply<0, 0>(sums, operand, operand);
    if (READ)
        y[threadIdx.x] = sums[0];
    multiply<0, 0>(sums, operand, operand);
    products_end();
    products_wait<0>(sums);
    y[threadIdx.x + 128] = sums[1];
}
"#;

/// Products of `wgmma` that the assembler makes wait for one another: slow, and only a warning of the compiler.
#[test]
fn serialized_products_are_reported() {
    let compile = |read| {
        let wgmma = include_str!("../../../../crates/beit-cubecl/src/kernels/cuda/wgmma.cuh");
        compile_source(
            &format!("#include <cuda_bf16.h>\n#define READ {read}\n{wgmma}{BETWEEN}"),
            "between",
            Sm(90),
        )
    };
    compile(0).expect("nothing is between the products");
    let error = compile(1).unwrap_err();
    assert!(error.contains("wgmma.mma_async instructions are serialized"), "{error}");
}

/// Shared memory that is smaller than what a product keeps in it.
#[test]
fn too_little_shared_memory_for_a_product_does_not_compile() {
    let defines = "A_K_CONTIGUOUS 1, B_K_CONTIGUOUS 1, FILTER 0, EPILOGUE 0, BIAS 0, Y_F32 0, SUMS 0, TILE_N 128, STAGES 3, BLOCKS 2";
    let compile = |bytes: usize| {
        let mut source = String::from("#include <cuda_bf16.h>\n");
        defines.split(", ").for_each(|define| source += &format!("#define {define}\n"));
        source += &format!("#define SHARED_BYTES {bytes}\n");
        source += include_str!("../../../../crates/beit-cubecl/src/kernels/cuda/wgmma.cuh");
        source += include_str!("../../../../crates/beit-cubecl/src/kernels/cuda/product.cuh");
        source += include_str!("../../../../crates/beit-cubecl/src/kernels/cuda/product_loader.cuh");
        source += include_str!("../../../../crates/beit-cubecl/src/kernels/cuda/product.cu");
        compile_source(&source, "product", Sm(90))
    };
    let stages = 3 * (128 + 128) * 64 * 2 + 1024;
    compile(stages).expect("as much as the stages take");
    let error = compile(stages - 1).unwrap_err();
    assert!(error.contains("less shared memory than the stages take"), "{error}");
    let error = compile(128 * (128 + 8) * 4 - 1).unwrap_err();
    assert!(error.contains("less shared memory than the result takes"), "{error}");
}

#[cube(launch_unchecked)]
fn hungry(y: &mut Array<f32>, #[comptime] floats: usize) {
    let mut shared = SharedMemory::<f32>::new(floats);
    shared[UNIT_POS as usize] = 1.0;
    sync_cube();
    y[UNIT_POS as usize] = shared[floats - 1 - UNIT_POS as usize];
}

#[test]
fn kernels_are_compiled_and_measured() {
    let floats = 45_000;
    for sm in [80, 90] {
        let client = Compiled::client(&Sm(sm));
        let y = client.empty(256);
        for _ in 0..2 {
            unsafe {
                hungry::launch_unchecked::<Compiled>(
                    &client,
                    CubeCount::Static(1, 1, 1),
                    CubeDim::new_1d(64),
                    ArrayArg::from_raw_parts(y.clone(), 64),
                    floats,
                );
            }
        }
        cubecl_common::future::block_on(client.sync()).unwrap();
    }
    let records: Vec<_> = records().into_iter().filter(|r| r.name.starts_with("Hungry")).collect();
    assert_eq!(records.len(), 2, "one for each architecture, though each was launched twice");
    for record in &records {
        let (resources, cubin) = record.result.clone().unwrap();
        assert!(resources.registers > 4 && resources.spill_stores == 0 && cubin > 1000, "{record:?}");
        assert_eq!((record.threads, record.dynamic_shared), (64, 4 * floats));
    }
    // 180000 bytes: too much for 163 KB, not for 227 KB.
    assert_eq!(violations(&records[0], &[]), ["180000 bytes of shared memory, 166912 are there"]);
    assert_eq!(violations(&records[1], &[]), [""; 0]);
}
