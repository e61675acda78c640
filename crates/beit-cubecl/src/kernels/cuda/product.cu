// y [M, N] = op(A) · op(B) on Hopper's tensor cores (wgmma): bf16 factors, sums in f32.
//
//                     B [N, K]                      grid: x and y count tiles (`Tile::grid`), z splits of the sum
//              +------------------+                 block: 256 threads, two warpgroups of 128
//              |   64 along k     |
//              +------------------+                 shared memory: STAGES buffers, each A [128, 64] and B [TILE_N, 64] in bf16
//                    TILE_N
//       A      +------------------+                   +-------+-------+-------+-------+
//    +----+    |   warpgroup 0    | 64 rows           | step  | step  | step  | step  |   copies (cp.async) fill the buffers
//    | 64 |    |------------------|                   |   s   | s + 1 | s + 2 | s + 3 |   AHEAD steps before they are multiplied
//    +----+    |   warpgroup 1    | 64 rows           +-------+-------+-------+-------+
//              +------------------+                       ^ multiplied
//
//    A warp has 16 rows of the 64. Of each 8 columns lane l holds columns 2 (l % 4) and the next, in rows l / 4 and l / 4 + 8:
//    TILE_N / 2 sums in registers.
//
// Why these numbers (docs/bench/gpu.md has the measurements):
//  - 64 elements of bf16 along k are a line of 128 bytes, the unit of the swizzle.
//  - With one block on a multiprocessor the products of a step run on while the next begins, so a buffer is free one step
//    later and copies are STAGES - 2 steps ahead. With more blocks another block fills the gap, and copies are STAGES - 1
//    steps ahead.
//  - Results go through shared memory, so that whole lines are written. The argument of the GELU's slope is read eight rows at
//    a time: one latency instead of eight.

// Where the tile of a block begins.
struct Place {
    unsigned row, column;
};

__device__ __forceinline__ Place place_of_block(const Params &p) {
    const unsigned columns = (p.n + TILE_N - 1) / TILE_N, block = blockIdx.y * gridDim.x + blockIdx.x;
    return {block / columns * TILE_M, block % columns * TILE_N};
}

// The sums of a block over its part of k. `shared` begins at a multiple of 1024 bytes.
__device__ __forceinline__ void add_products(float (&sums)[TILE_N / 2], unsigned shared, const Bf16 *a, const Bf16 *b,
                                             const Place &place, const Params &p) {
    const unsigned begin = blockIdx.z * p.k_per_block, end = min(begin + p.k_per_block, p.k);
    const int steps = (end - begin + TILE_K - 1) / TILE_K;
    Loader<TILE_M, A_K_CONTIGUOUS, FILTER> load_a(a, place.row, p.m, p, begin, end);
    Loader<TILE_N, B_K_CONTIGUOUS, 0> load_b(b, place.column, p.n, p, begin, end);
#pragma unroll
    for (int s = 0; s < AHEAD; s++) {
        if (s < steps) {
            load_a.next(shared + s * STAGE_BYTES, p);
            load_b.next(shared + s * STAGE_BYTES + A_BYTES, p);
        }
        copies_end();
    }
    // The same in all lanes, and by the shuffle the compiler knows it: descriptors are then made once for a warp.
    const unsigned group = __shfl_sync(0xffffffff, threadIdx.x / 128, 0);
    int filled = AHEAD, stage = 0;
    for (int step = 0; step < steps; step++) {
        copies_wait<AHEAD - 1>();
        show_to_tensor_cores();
        products_wait<RUNNING>(sums);
        __syncthreads();
        multiply_stage(sums, shared + stage * STAGE_BYTES, group);
        // The products that read this buffer have ended in all threads: those of the step before, or of the one before that.
        if (step + AHEAD < steps) {
            load_a.next(shared + filled * STAGE_BYTES, p);
            load_b.next(shared + filled * STAGE_BYTES + A_BYTES, p);
        }
        copies_end();
        filled = filled + 1 == STAGES ? 0 : filled + 1;
        stage = stage + 1 == STAGES ? 0 : stage + 1;
    }
    products_wait<0>(sums);
    __syncthreads();
}

// Stride of the rows of the result in shared memory, in f32: 32 bytes of padding against bank conflicts.
#define RESULT_STRIDE (TILE_N + 8)
static_assert(STAGES * STAGE_BYTES + 1024 <= SHARED_BYTES, "less shared memory than the stages take");
static_assert(TILE_M * RESULT_STRIDE * 4 <= SHARED_BYTES, "less shared memory than the result takes");

// The sums of a warp into its 16 rows of shared memory.
__device__ __forceinline__ void store_shared(float *rows, const float (&sums)[TILE_N / 2]) {
    const unsigned lane = threadIdx.x % 32;
    float *own = rows + lane / 4 * RESULT_STRIDE + lane % 4 * 2;
#pragma unroll
    for (int j = 0; j < TILE_N / 8; j++) {
        *reinterpret_cast<float2 *>(own + 8 * j) = {sums[4 * j], sums[4 * j + 1]};
        *reinterpret_cast<float2 *>(own + 8 * RESULT_STRIDE + 8 * j) = {sums[4 * j + 2], sums[4 * j + 3]};
    }
    __syncwarp();
}

// Lanes that share a row, rows that a warp takes at once, and how often it does so for 8 rows.
#define LANES (TILE_N < 128 ? TILE_N / 4 : 32)
#define ROWS_AT_ONCE (32 / LANES)
#define TIMES (8 / ROWS_AT_ONCE)

// Four columns of eight rows of the result, added to `total`. `row` is the first row of this lane, `staged` its sums.
__device__ __forceinline__ void write_rows(const float *staged, unsigned row, unsigned column, const Four &bias, Out *aux, Out *y,
                                           Four &total, const Params &p) {
    // All reads before all writes, so that they wait for memory together.
    Four given[TIMES];
    if (EPILOGUE == 2 || EPILOGUE == 3 || EPILOGUE == 7) {
#pragma unroll
        for (int i = 0; i < TIMES; i++)
            if (row + i * ROWS_AT_ONCE < p.m)
                given[i] = load_four((EPILOGUE == 3 ? y : aux) + size_t(row + i * ROWS_AT_ONCE) * p.n + column);
    }
#pragma unroll
    for (int i = 0; i < TIMES; i++) {
        const unsigned r = row + i * ROWS_AT_ONCE;
        if (r < p.m)
            total.add(store_result(load_four(staged + i * ROWS_AT_ONCE * RESULT_STRIDE), bias, given[i], p.scale, aux, y,
                                   size_t(r) * p.n + column));
    }
}

#define PARTS ((TILE_N + 127) / 128)

// The sums over the rows of this block's tile. Each warp puts those of its rows where they were staged.
__device__ __forceinline__ void write_sums(Four (&totals)[PARTS], float *staged, unsigned warp, unsigned lane, const Place &place,
                                           float *sums, const Params &p) {
    __syncwarp();
#pragma unroll
    for (int part = 0; part < PARTS; part++) {
        if (LANES < 32)
            totals[part].add_lane(LANES);
        if (lane < LANES)
            store_four(staged + warp * (16 * RESULT_STRIDE) + part * 128 + 4 * lane, totals[part]);
    }
    __syncthreads();
    const unsigned inside = threadIdx.x, column = place.column + inside;
    // A grid may have more blocks than there are tiles.
    if (inside < TILE_N && column < p.n && place.row < p.m)
        sums[size_t(place.row / TILE_M) * p.n + column] = sum_of_warps(staged + inside, 16 * RESULT_STRIDE);
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    product(const Bf16 *a, const Bf16 *b, const float *bias, Out *aux, Out *y, float *column_sums, const Params p) {
    extern __shared__ __align__(1024) unsigned char dynamic_shared_mem[];
    const Place place = place_of_block(p);
    float sums[TILE_N / 2] = {};
    add_products(sums, (shared_address(dynamic_shared_mem) + 1023) / 1024 * 1024, a, b, place, p);

    const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    float *staged = reinterpret_cast<float *>(dynamic_shared_mem), *rows = staged + warp * (16 * RESULT_STRIDE);
    store_shared(rows, sums);
    if (EPILOGUE == 4)
        y += size_t(blockIdx.z) * p.m * p.n;
    Four totals[PARTS] = {};
#pragma unroll
    for (int part = 0; part < PARTS; part++) {
        const unsigned inside = part * 128 + 4 * (lane % LANES), column = place.column + inside;
        if (column >= p.n)
            continue;
        Four shift = {{0, 0, 0, 0}};
        if (BIAS)
            shift = load_four(bias + column);
#pragma unroll
        for (int r = 0; r < 16; r += 8) {
            const unsigned row = r + lane / LANES;
            write_rows(rows + row * RESULT_STRIDE + inside, place.row + warp * 16 + row, column, shift, aux, y,
                       totals[part], p);
        }
    }
    if (SUMS)
        write_sums(totals, staged, warp, lane, place, column_sums, p);
}
