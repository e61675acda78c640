// y [M, N] = op(A) · op(B) on Hopper's tensor cores by blocks that stay on their multiprocessor and take one tile of the result after
// another.
//
//   warpgroup 0, one thread    copies tiles of A and B by tensor maps ----+       full: the bytes of a stage have come
//                                                                         v       empty: the warps of products have left it
//   shared memory              | stage 0: A, B | stage 1 | .. | 8 strips | barriers
//                                        |                        ^
//   warpgroups 1 and 2         multiply 64 rows each -------------+       a strip: 16 rows x 32 columns of a warp's sums, by which
//                                                                         whole lines are written
//
//  - While a tile is written the stages of the next one fill: the copying thread is as far ahead as there are stages.
//  - Sums take 128 registers of a thread at 256 columns. The warpgroup that copies needs few and gives the rest up.
//  - Tiles are taken in groups of GROUP rows of tiles, column by column: blocks that run at a time then share rows of A and columns of B
//    in the second-level cache.

#define COPYING 128
#define MULTIPLYING 256
#define GROUP 8
#define STRIP_COLUMNS 32
// In f32: 32 bytes of padding against bank conflicts.
#define STRIP_STRIDE (STRIP_COLUMNS + 8)
#define STRIP_BYTES (16 * STRIP_STRIDE * 4)
#define STRIPS_AT (STAGES * STAGE_BYTES)
#define SUMS_AT (STRIPS_AT + MULTIPLYING / 32 * STRIP_BYTES)
#define BARRIERS_AT (SUMS_AT + (SUMS ? MULTIPLYING / 32 * TILE_N * 4 : 0))
static_assert(BARRIERS_AT + 16 * STAGES + 1024 <= SHARED_BYTES, "less shared memory than stages, strips, sums and barriers take");

// Shared memory from a multiple of 1024 bytes on.
struct Shared {
    unsigned base;

    __device__ __forceinline__ unsigned stage(unsigned s) const { return base + s * STAGE_BYTES; }
    __device__ __forceinline__ unsigned full(unsigned s) const { return base + BARRIERS_AT + 8 * s; }
    __device__ __forceinline__ unsigned empty(unsigned s) const { return base + BARRIERS_AT + 8 * (STAGES + s); }
};

// A tile of the result, and the part of the sum that is added up for it.
struct Work {
    unsigned row, column, split, begin, end;
};

struct Plan {
    unsigned rows, columns, count;

    __device__ __forceinline__ Plan(const Params &p) {
        rows = (p.m + TILE_M - 1) / TILE_M;
        columns = (p.n + TILE_N - 1) / TILE_N;
        count = rows * columns * ((p.k + p.k_per_block - 1) / p.k_per_block);
    }

    __device__ __forceinline__ Work work(unsigned i, const Params &p) const {
        const unsigned split = i / (rows * columns), tile = i % (rows * columns);
        const unsigned first = tile / (GROUP * columns) * GROUP, height = min(rows - first, unsigned(GROUP));
        const unsigned within = tile - first * columns, begin = split * p.k_per_block;
        return {(first + within % height) * TILE_M, within / height * TILE_N, split, begin, min(begin + p.k_per_block, p.k)};
    }
};

// Begins to copy the tile of an operand at (`outer`, `k`): OUTER lines along k, or panels of 64 columns with a line for each k. What lies
// outside of the operand becomes 0.
template <int OUTER, bool K_CONTIGUOUS>
__device__ __forceinline__ void load_operand(unsigned to, const TensorMap *map, unsigned full, unsigned outer, unsigned k) {
    if (K_CONTIGUOUS) {
        load_tile(to, map, full, k, outer);
    } else {
#pragma unroll
        for (int panel = 0; panel < OUTER / 64; panel++)
            load_tile(to + panel * (TILE_K * 128), map, full, outer + 64 * panel, k);
    }
}

// One thread's part: fills one stage after another, for all tiles of the block.
__device__ __forceinline__ void copy_operands(const Shared &shared, const TensorMap *a, const TensorMap *b, const Plan &plan,
                                              const Params &p) {
    unsigned n = 0;
    for (unsigned i = blockIdx.x; i < plan.count; i += gridDim.x) {
        const Work work = plan.work(i, p);
        for (unsigned k = work.begin; k < work.end; k += TILE_K, n++) {
            const unsigned stage = n % STAGES, to = shared.stage(stage), full = shared.full(stage);
            barrier_wait(shared.empty(stage), n / STAGES % 2 ^ 1);
            barrier_expect(full, STAGE_BYTES);
            load_operand<TILE_M, A_K_CONTIGUOUS>(to, a, full, work.row, k);
            load_operand<TILE_N, B_K_CONTIGUOUS>(to + A_BYTES, b, full, work.column, k);
        }
    }
}

// Says that this warp has left a stage.
__device__ __forceinline__ void leave(const Shared &shared, unsigned n) {
    if (threadIdx.x % 32 == 0)
        barrier_arrive(shared.empty(n % STAGES));
}

// The sums of a tile. `n` counts the steps of all tiles of the block.
__device__ __forceinline__ void multiply_tile(float (&sums)[TILE_N / 2], const Shared &shared, const Work &work, unsigned group,
                                              unsigned &n) {
    const unsigned first = n;
    for (unsigned k = work.begin; k < work.end; k += TILE_K, n++) {
        barrier_wait(shared.full(n % STAGES), n / STAGES % 2);
        multiply_stage(sums, shared.stage(n % STAGES), group);
        products_wait<1>(sums);
        // The products of the step before have ended.
        if (n != first)
            leave(shared, n - 1);
    }
    products_wait<0>(sums);
    leave(shared, n - 1);
}

// Four columns of four rows of a strip, `row` the first of this lane, every fourth one. They are added to `total`.
__device__ __forceinline__ void write_strip(const float *strip, unsigned row, unsigned column, const Four &bias, Out *aux, Out *y,
                                            Four &total, const Params &p) {
    // All reads before all writes, so that they wait for memory together.
    Four given[4];
    if (EPILOGUE == 2 || EPILOGUE == 3 || EPILOGUE == 7) {
#pragma unroll
        for (int i = 0; i < 4; i++)
            if (row + 4 * i < p.m)
                given[i] = load_four((EPILOGUE == 3 ? y : aux) + size_t(row + 4 * i) * p.n + column);
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const unsigned r = row + 4 * i;
        if (r < p.m)
            total.add(
                store_result(load_four(strip + 4 * i * STRIP_STRIDE), bias, given[i], p.scale, aux, y, size_t(r) * p.n + column));
    }
}

// The 16 rows of a warp, 32 columns at a time. `row_sums` are those of this warp's rows.
__device__ __forceinline__ void write_tile(const float (&sums)[TILE_N / 2], float *strip, const Work &work, unsigned warp,
                                           const float *bias, Out *aux, Out *y, float *row_sums, const Params &p) {
    const unsigned lane = threadIdx.x % 32;
    float *own = strip + lane / 4 * STRIP_STRIDE + lane % 4 * 2;
    if (EPILOGUE == 4)
        y += size_t(work.split) * p.m * p.n;
#pragma unroll
    for (int part = 0; part < TILE_N / STRIP_COLUMNS; part++) {
#pragma unroll
        for (int j = 0; j < STRIP_COLUMNS / 8; j++) {
            const int at = 4 * (part * STRIP_COLUMNS / 8 + j);
            *reinterpret_cast<float2 *>(own + 8 * j) = {sums[at], sums[at + 1]};
            *reinterpret_cast<float2 *>(own + 8 * STRIP_STRIDE + 8 * j) = {sums[at + 2], sums[at + 3]};
        }
        __syncwarp();
        const unsigned inside = 4 * (lane % 8), column = work.column + part * STRIP_COLUMNS + inside;
        Four total = {};
        if (column < p.n) {
            Four shift = {{0, 0, 0, 0}};
            if (BIAS)
                shift = load_four(bias + column);
            write_strip(strip + lane / 8 * STRIP_STRIDE + inside, work.row + warp * 16 + lane / 8, column, shift, aux, y,
                        total, p);
        }
        __syncwarp();
        if (SUMS) {
            total.add_lane(8);
            total.add_lane(16);
            if (lane < 8)
                store_four(row_sums + part * STRIP_COLUMNS + inside, total);
        }
    }
}

// The sums over the rows of a tile, from those of all warps. No warp goes on to its next tile before they are read.
__device__ __forceinline__ void write_sums(const float *row_sums, const Work &work, float *sums, const Params &p) {
    meet(1, MULTIPLYING);
    for (unsigned inside = threadIdx.x - COPYING; inside < TILE_N; inside += MULTIPLYING)
        if (work.column + inside < p.n)
            sums[size_t(work.row / TILE_M) * p.n + work.column + inside] = sum_of_warps(row_sums + inside, TILE_N);
    meet(1, MULTIPLYING);
}

extern "C" __global__ void __launch_bounds__(COPYING + MULTIPLYING, 1)
    product_persistent(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, const Bf16 *, const Bf16 *,
                       const float *bias, Out *aux, Out *y, float *column_sums, const Params p) {
    extern __shared__ __align__(1024) unsigned char dynamic_shared_mem[];
    const Shared shared{(shared_address(dynamic_shared_mem) + 1023) / 1024 * 1024};
    if (threadIdx.x == 0) {
        for (int s = 0; s < STAGES; s++) {
            barrier_init(shared.full(s), 1);
            barrier_init(shared.empty(s), MULTIPLYING / 32);
        }
        show_barriers();
    }
    __syncthreads();
    const Plan plan(p);
    if (threadIdx.x < COPYING) {
        give_up_registers<40>();
        if (threadIdx.x == 0)
            copy_operands(shared, &a, &b, plan, p);
        return;
    }
    take_registers<232>();
    // The same in all lanes, and by the shuffle the compiler knows it: descriptors are then made once for a warp.
    const unsigned warp = __shfl_sync(0xffffffff, threadIdx.x / 32, 0) - COPYING / 32;
    unsigned char *stages = dynamic_shared_mem + (shared.base - shared_address(dynamic_shared_mem));
    float *strip = reinterpret_cast<float *>(stages + STRIPS_AT + warp * STRIP_BYTES);
    float *row_sums = reinterpret_cast<float *>(stages + SUMS_AT);
    unsigned n = 0;
    for (unsigned i = blockIdx.x; i < plan.count; i += gridDim.x) {
        const Work work = plan.work(i, p);
        float sums[TILE_N / 2] = {};
        multiply_tile(sums, shared, work, warp / 4, n);
        write_tile(sums, strip, work, warp, bias, aux, y, row_sums + warp * TILE_N, p);
        if (SUMS)
            write_sums(row_sums, work, column_sums, p);
    }
}
