//! Kernels that do several things at a time, right and with one fault each. A right one gives its numbers in all orders; of a wrong one
//! the emulator says what is wrong, or at least the numbers are others.

use beit_cubecl::testing::{Native, Source};
use cubecl::ir::{ElemType, FloatKind, StorageType};
use cubecl::prelude::*;
use cubecl::server::{Handle, KernelArguments, MetadataBindingInfo, TensorMapBinding, TensorMapMeta};
use cubecl::zspace::metadata::Metadata;
use cubecl_runtime::tma::{
    OobFill, TensorMapFormat, TensorMapInterleave, TensorMapPrefetch, TensorMapSwizzle, TiledArgs,
};
use cuda_check::{Compiled, Emulated, Sm, records, violations};
use half::bf16;

const WGMMA: &str = include_str!("../../../../crates/beit-cubecl/src/kernels/cuda/wgmma.cuh");
const TMA: &str = include_str!("../../../../crates/beit-cubecl/src/kernels/cuda/tma.cuh");
const PIPELINE: &str = include_str!("cuda/pipeline.cu");
const ROLES: &str = include_str!("cuda/roles.cu");
const TILES: &str = include_str!("cuda/tiles.cu");
const NEIGHBOURS: &str = include_str!("cuda/neighbours.cu");

/// The number of a fault in the source that has it.
fn number(source: &str, fault: &str) -> i32 {
    let definition = format!("#define {fault} ");
    let line = source.lines().find_map(|line| line.strip_prefix(&definition));
    line.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("the source has no fault {fault}"))
}

/// Launches one block on tensor maps with their buffers, other buffers, and numbers.
fn launch<R: Runtime>(
    client: &ComputeClient<R>,
    kernel: Native,
    maps: Vec<TensorMapBinding>,
    buffers: &[&Handle],
    numbers: &[i32],
) {
    let words = numbers.chunks(2).map(|two| u64::from(two[0] as u32) | u64::from(two[1] as u32) << 32);
    let words: Vec<u64> = words.collect();
    let fixed = words.len();
    let arguments = KernelArguments::new()
        .with_tensor_maps(maps)
        .with_buffers(buffers.iter().map(|&buffer| buffer.clone().binding()).collect())
        .with_info(MetadataBindingInfo::new(words, fixed));
    // SAFETY: where the kernel reads and writes elsewhere the emulator says so; the other device executes nothing.
    unsafe { client.launch_unchecked(Box::new(kernel), CubeCount::Static(1, 1, 1), arguments) }
}

type Numbers = Result<Vec<f32>, String>;

fn read<R: Runtime>(client: &ComputeClient<R>, buffer: Handle) -> Numbers {
    let bytes = client.read_one(buffer).map_err(|error| format!("{error:?}"))?;
    Ok(f32::from_bytes(&bytes).to_vec())
}

/// A tensor map of a row-major tensor.
fn map(
    buffer: &Handle,
    kind: FloatKind,
    shape: &[usize],
    tile: &[usize],
    swizzle: TensorMapSwizzle,
) -> TensorMapBinding {
    let strides: Vec<usize> = (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect();
    let meta = TensorMapMeta {
        format: TensorMapFormat::Tiled(TiledArgs::new(tile.to_vec().into())),
        metadata: Metadata::new(shape.to_vec(), strides),
        elem_stride: vec![1; shape.len()].into(),
        interleave: TensorMapInterleave::None,
        swizzle,
        prefetch: TensorMapPrefetch::None,
        oob_fill: OobFill::Zero,
        storage_ty: StorageType::Scalar(ElemType::Float(kind)),
    };
    TensorMapBinding::new(buffer.clone().binding(), meta)
}

/// Small whole numbers, whose sums are exact.
fn whole(n: usize, factor: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * factor + i / 64) % 7) as f32 - 3.0).collect()
}

fn upload<R: Runtime>(client: &ComputeClient<R>, x: &[f32]) -> Handle {
    let narrow: Vec<bf16> = x.iter().map(|&x| bf16::from_f32(x)).collect();
    client.create_from_slice(bf16::as_bytes(&narrow))
}

/// The factors of `y [m, 64] = a [m, k] · b [64, k]ᵀ`, and `y`.
fn product([m, k]: [usize; 2]) -> [Vec<f32>; 3] {
    let (a, b) = (whole(m * k, 5), whole(64 * k, 3));
    let dot = |i: usize| a[i / 64 * k..][..k].iter().zip(&b[i % 64 * k..][..k]).map(|(a, b)| a * b).sum();
    let y = (0..m * 64).map(dot).collect();
    [a, b, y]
}

const PIPELINE_EXTENTS: [usize; 2] = [64, 320];

fn pipeline<R: Runtime>(client: &ComputeClient<R>, fault: &str) -> Numbers {
    let [a, b, y] = product(PIPELINE_EXTENTS);
    let (a, b, y) = (upload(client, &a), upload(client, &b), client.empty(4 * y.len()));
    let source = Source::new(&[WGMMA, PIPELINE]);
    let kernel = Native { name: "pipeline", source, defines: vec![], threads: 128, shared: 3 * 16384 + 1024 };
    launch(client, kernel, Vec::new(), &[&a, &b, &y], &[number(PIPELINE, fault), 0]);
    read(client, y)
}

const ROLES_EXTENTS: [usize; 2] = [192, 192];

fn roles<R: Runtime>(client: &ComputeClient<R>, fault: &str) -> Numbers {
    let [m, k] = ROLES_EXTENTS;
    let [a, b, y] = product(ROLES_EXTENTS);
    let (a, b, y) = (upload(client, &a), upload(client, &b), client.empty(4 * y.len()));
    let maps = vec![
        map(&a, FloatKind::BF16, &[m, k], &[64, 64], TensorMapSwizzle::B128),
        map(&b, FloatKind::BF16, &[64, k], &[64, 64], TensorMapSwizzle::B128),
        map(&y, FloatKind::F32, &[m, 64], &[64, 32], TensorMapSwizzle::None),
    ];
    let source = Source::new(&[WGMMA, TMA, ROLES]);
    let shared = 1024 + 2 * 16384 + 16384 + 32;
    let kernel = Native { name: "roles", source, defines: vec![], threads: 160, shared };
    launch(client, kernel, maps, &[], &[number(ROLES, fault), 0]);
    read(client, y)
}

fn neighbours<R: Runtime>(client: &ComputeClient<R>, fault: &str) -> Numbers {
    let y = client.empty(4 * 256);
    let source = Source::new(&[WGMMA, NEIGHBOURS]);
    let defines = vec![("FAULT", number(NEIGHBOURS, fault) as usize)];
    let kernel = Native { name: "neighbours", source, defines, threads: 256, shared: 1024 };
    launch(client, kernel, Vec::new(), &[&y], &[]);
    read(client, y)
}

/// What is said of a race.
const NOTHING_BETWEEN: &str = ", and nothing is between them";

/// That the right kernel gives `want`, and that each fault is found. A fault without a message changes the numbers in every order.
fn find(want: &[f32], run: impl Fn(&str) -> Numbers, faults: &[(&str, &str)]) {
    assert_eq!(run("NONE").as_deref(), Ok(want));
    for (fault, message) in faults {
        match run(fault) {
            Ok(y) => assert!(message.is_empty() && y != want, "{fault}: the numbers of the right kernel"),
            Err(error) => {
                assert!(!message.is_empty() && error.contains(message), "{fault}: {error}");
            }
        }
    }
}

#[test]
fn copies_and_products_of_a_warpgroup() {
    let client = Emulated::client(&Sm(90));
    let [_, _, want] = product(PIPELINE_EXTENTS);
    let under_way = "of shared memory, to which a copy of thread";
    let faults = [
        ("COPIES_NOT_WAITED_FOR", under_way),
        ("TOO_FEW_BUFFERS", NOTHING_BETWEEN),
        ("COPIES_NOT_SHOWN", "has written and not shown to the asynchronous proxy"),
        ("REGISTERS_NOT_FENCED", "a product without wgmma.fence"),
        ("PRODUCTS_NOT_ENDED", "the thread ends before"),
        ("COPIES_NOT_ENDED", under_way),
        ("NO_BARRIER", under_way),
        ("SUMS_READ", ""),
        ("SUMS_CHANGED", "the sums of products were changed before they were waited for"),
    ];
    find(&want, |fault| pipeline(&client, fault), &faults);
}

#[test]
fn warps_of_two_roles() {
    let client = Emulated::client(&Sm(90));
    let [_, _, want] = product(ROLES_EXTENTS);
    let faults = [
        ("WRONG_PHASE", "of shared memory, to which a copy of thread"),
        ("STAGE_NOT_EMPTY", "more arrivals than the 1 of the barrier"),
        ("TOO_FEW_BYTES", "lacks 0 arrivals and -128 bytes"),
        ("TOO_MANY_BYTES", "lacks 0 arrivals and 128 bytes"),
        ("BARRIERS_NOT_SHOWN", "which was not shown to it"),
        ("NO_BARRIER_AFTER_INIT", "no barrier was initialised at"),
        ("EMPTIED_TOO_EARLY", "of shared memory, to which a copy of thread"),
        ("ARRIVAL_MISSING", "lacks 1 arrivals and 0 bytes"),
        ("RESULT_NOT_STORED", "differs from run to run"),
        ("RESULT_NOT_WRITTEN", NOTHING_BETWEEN),
        ("STORE_NOT_WAITED_FOR", "tiles are stored"),
        ("RESULT_NOT_SHOWN", "has written and not shown to the asynchronous proxy"),
        ("WRONG_THREADS", "of the 160 threads of barrier 1 have come"),
    ];
    find(&want, |fault| roles(&client, fault), &faults);
}

#[test]
fn barriers_that_few_orders_of_warps_need_or_none() {
    let client = Emulated::client(&Sm(90));
    let want: Vec<f32> = (0..256).map(|i| if i < 32 { i as f32 } else { i as f32 - 32.0 }).collect();
    let faults = [("NO_BARRIER", NOTHING_BETWEEN), ("WRITTEN_AGAIN", NOTHING_BETWEEN)];
    find(&want, |fault| neighbours(&client, fault), &faults);
}

/// NVIDIA's compiler takes the right kernels, for Hopper.
#[test]
fn kernels_in_the_background_compile() {
    let client = Compiled::client(&Sm(90));
    for run in [pipeline, roles, neighbours] {
        run(&client, "NONE").expect("nothing is executed");
    }
    let [seen, _] = tiles(&client, [0; 3], TensorMapSwizzle::B32);
    seen.expect("nothing is executed");
    for name in ["pipeline", "roles", "neighbours", "tiles"] {
        let records = records();
        let record = records.iter().find(|r| r.name == name).expect("it was launched");
        assert_eq!(violations(record, &[]), [""; 0], "{name}");
    }
}

/// The extents of the tensor of [`tiles`] and of its tile.
const TENSOR: [usize; 3] = [3, 10, 24];
const TILE: [usize; 3] = [2, 8, 8];
/// Where the tile goes.
const TO: [i32; 3] = [1, 5, 20];

/// What a tile at `at` looks like in shared memory, and a tensor of -1 to which it was copied at [`TO`].
fn tiles<R: Runtime>(client: &ComputeClient<R>, at: [i32; 3], swizzle: TensorMapSwizzle) -> [Numbers; 2] {
    let n = TENSOR.iter().product();
    let numbers: Vec<f32> = (0..n).map(|i| i as f32).collect();
    let from = client.create_from_slice(f32::as_bytes(&numbers));
    let to = client.create_from_slice(f32::as_bytes(&vec![-1.0; n]));
    let bytes = 4 * TILE.iter().product::<usize>();
    let seen = client.empty(bytes);
    let maps = [&from, &to].map(|buffer| map(buffer, FloatKind::F32, &TENSOR, &TILE, swizzle)).into();
    let source = Source::new(&[WGMMA, TMA, TILES]);
    let defines = vec![("BOX", bytes)];
    let kernel = Native { name: "tiles", source, defines, threads: 64, shared: 1024 + bytes + 16 };
    let numbers = [at, TO].map(|[z, y, x]| [x, y, z]).concat();
    launch(client, kernel, maps, &[&seen], &numbers);
    [read(client, seen), read(client, to)]
}

/// The element of the tensor at a place, 0 outside.
fn element([z, y, x]: [i32; 3]) -> f32 {
    let inside = [z, y, x].iter().zip(TENSOR).all(|(&i, extent)| (0..extent as i32).contains(&i));
    if inside { (z * 240 + y * 24 + x) as f32 } else { 0.0 }
}

/// Tiles within a tensor, and such that reach out of it on each side: zeros come, and what lies outside is not written.
#[test]
fn tiles_of_tensor_maps() {
    let client = Emulated::client(&Sm(90));
    for (swizzle, width) in [(TensorMapSwizzle::None, 0), (TensorMapSwizzle::B32, 32)] {
        for at in [[0, 0, 0], [1, 2, 16], [-1, -3, 4], [2, 7, 20], [5, 0, 0]] {
            let [seen, to] = tiles(&client, at, swizzle).map(|numbers| numbers.expect("the kernel is right"));
            let place = |i: usize| [i / 64, i / 8 % 8, i % 8];
            let value = |i: usize| {
                let [z, y, x] = place(i).map(|side| side as i32);
                element([at[0] + z, at[1] + y, at[2] + x])
            };
            for i in 0..128 {
                // Chunk 0 or 1 of a line of 32 bytes goes to the other place where bit 7 of the address is 1.
                let byte = 4 * i;
                let lies = if width == 32 { byte ^ (byte >> 7 & 1) << 4 } else { byte } / 4;
                assert_eq!(seen[lies], value(i), "{swizzle:?} at {at:?}: element {:?}", place(i));
            }
            let mut want = vec![-1.0; 720];
            for i in 0..128 {
                let [z, y, x] = place(i);
                let [z, y, x] = [z + TO[0] as usize, y + TO[1] as usize, x + TO[2] as usize];
                if z < 3 && y < 10 && x < 24 {
                    want[z * 240 + y * 24 + x] = value(i);
                }
            }
            assert_eq!(to, want, "{swizzle:?} at {at:?}");
        }
    }
}

/// What CUDA's driver would refuse is refused with the numbers.
#[test]
fn wrong_tensor_maps_are_refused() {
    let client = Emulated::client(&Sm(90));
    let refused = |shape: &[usize], tile: &[usize], swizzle| {
        let (from, seen) = (client.empty(4 * 1024), client.empty(1024));
        let maps = vec![
            map(&from, FloatKind::F32, shape, tile, swizzle),
            map(&from, FloatKind::F32, shape, tile, swizzle),
        ];
        let (source, defines) = (Source::new(&[WGMMA, TMA, TILES]), vec![("BOX", 1024)]);
        let kernel = Native { name: "tiles", source, defines, threads: 64, shared: 4096 };
        launch(&client, kernel, maps, &[&seen], &[0; 6]);
        read(&client, seen).expect_err("the map is wrong")
    };
    let none = TensorMapSwizzle::None;
    for (error, message) in [
        (refused(&[2, 4, 10], &[1, 4, 4], none), "a stride of Some(40) bytes"),
        (refused(&[2, 4, 32], &[1, 4, 300], none), "of tiles [300, 4, 1]"),
        (refused(&[2, 4, 32], &[1, 4, 6], none), "lines of 24 bytes, which are no multiple of 16"),
        (refused(&[2, 4, 32], &[1, 4, 16], TensorMapSwizzle::B32), "lines of 64 bytes, permuted within 32"),
        (refused(&[40, 4, 32], &[1, 4, 16], none), "of 20480 bytes in a buffer of 4096"),
        (refused(&[2, 4, 32], &[4, 16], none), "of 3 axes with tiles of 2"),
    ] {
        assert!(error.contains(message), "{error}");
    }
}
