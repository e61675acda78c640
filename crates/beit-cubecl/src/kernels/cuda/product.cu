// y [M, N] = op(A) · op(B) on Hopper's tensor cores: bf16 factors, sums in f32.
//
// A block has two warpgroups, each with 64 rows of the tile of M = 128 by TILE_N. Tiles along the summed axis go through STAGES buffers
// of shared memory. Where a multiprocessor has one block, the products of a step run on while the next begins, so that copies are
// STAGES - 2 steps ahead; where it has more, the other block fills the gap, and copies are STAGES - 1 steps ahead.
//
// Compiled for: A_K_FAST, B_K_FAST (whether the summed axis is the fast one of an operand), WINDOW (side of the window through which A,
// then a feature map [B, h, w, C], is seen as a matrix of pixels by line, column and channel; 0 for a matrix), EPILOGUE (0 store, 1 GELU with
// the sum in `extra`, 2 times the GELU's slope at `extra`, 3 accumulate, 4 a piece of the sum, 5 GELU), BIAS, Y_F32, TILE_N (64, 128 or 256), STAGES, BLOCKS (of a
// multiprocessor at a time).

struct Params {
    unsigned m, n, k;
    // How far a block goes along the summed axis.
    unsigned span;
    // The feature map.
    unsigned h, w, c;
    unsigned unused;
};

#define TILE_M 128
#define TILE_K 64
#define THREADS 256
// Groups of products that may run on into the next step, and steps that copies are ahead.
#define RUNNING (BLOCKS == 1 ? 1 : 0)
#define AHEAD (STAGES - 1 - RUNNING)
#define A_BYTES (TILE_M * TILE_K * 2)
#define B_BYTES (TILE_N * TILE_K * 2)
#define STAGE_BYTES (A_BYTES + B_BYTES)

typedef __nv_bfloat16 Bf16;
#if Y_F32
typedef float Out;
#else
typedef Bf16 Out;
#endif

// How tensor cores find an operand: 8 lines of 128 bytes after one another, and, where the summed axis is the slow one, panels of 64
// columns, each of TILE_K lines.
__device__ __forceinline__ Words matrix(unsigned address, bool k_fast) {
    const Words lead = k_fast ? 1 : TILE_K * 128 / 16;
    return Words(address / 16) | lead << 16 | Words(1024 / 16) << 32 | Words(1) << 62;
}

// A thread's share of the tiles of an operand of OUTER rows (or columns) of the result.
template <int OUTER, bool K_FAST, int MAP> struct Loader {
    // Pieces of 16 bytes of a line of the tile, and lines that all threads copy at a time.
    static constexpr int ACROSS = K_FAST ? TILE_K / 8 : OUTER / 8;
    static constexpr int LINES = THREADS / ACROSS;
    static constexpr int COUNT = OUTER * TILE_K / 8 / THREADS;

    const Bf16 *at;
    unsigned there;
    // Along the summed axis: of the first piece, and where the sum ends.
    unsigned k, end;
    unsigned to;
    unsigned row;
    unsigned pixel[MAP ? COUNT : 1];

    __device__ __forceinline__ Loader(const Bf16 *x, unsigned first, unsigned outer, const Params &p, unsigned begin, unsigned end) : end(end) {
        const unsigned piece = threadIdx.x % ACROSS, line = threadIdx.x / ACROSS;
        if (K_FAST) {
            row = p.k;
            k = begin + 8 * piece;
            there = 0;
#pragma unroll
            for (int i = 0; i < COUNT; i++) {
                const unsigned r = first + line + i * LINES;
                there |= unsigned(r < outer) << i;
                if (MAP) // The line and the column of the pixel.
                    pixel[i] = r / p.w % p.h << 16 | r % p.w;
            }
            at = x + size_t(first + line) * (MAP ? p.c : row) + (MAP ? 0 : k);
            to = line * 128 + (piece ^ line % 8) * 16;
        } else {
            row = outer;
            k = begin + line;
            const unsigned column = first + 8 * piece;
            there = column < outer ? ~0u : 0;
            at = x + size_t(k) * row + column;
            to = piece / 8 * (TILE_K * 128) + line * 128 + (piece % 8 ^ line % 8) * 16;
        }
    }

    // Begins to copy the next tile to `tile`.
    __device__ __forceinline__ void next(unsigned tile, const Params &p) {
        if (K_FAST && MAP) {
            constexpr unsigned SIDE = MAP ? MAP : 1;
            const unsigned tap = k / p.c, down = tap / SIDE, right = tap % SIDE;
            const int moved = (int(down) - MAP / 2) * int(p.w) + int(right) - MAP / 2;
            const Bf16 *from = at + (long long)moved * p.c + k % p.c;
#pragma unroll
            for (int i = 0; i < COUNT; i++) {
                // One margin is added on both sides, so that nothing goes below zero.
                const unsigned line = (pixel[i] >> 16) + down - MAP / 2, column = (pixel[i] & 0xffff) + right - MAP / 2;
                const bool inside = line < p.h && column < p.w && k < end && (there >> i & 1);
                copy16(tile + to + i * (LINES * 128), from + size_t(i * LINES) * p.c, inside);
            }
        } else if (K_FAST) {
#pragma unroll
            for (int i = 0; i < COUNT; i++) {
                const bool inside = k < end && (there >> i & 1);
                copy16(tile + to + i * (LINES * 128), at + size_t(i * LINES) * row, inside);
            }
            at += TILE_K;
        } else {
#pragma unroll
            for (int i = 0; i < COUNT; i++) {
                const bool inside = there && k + i * LINES < end;
                copy16(tile + to + i * (LINES * 128), at + size_t(i * LINES) * row, inside);
            }
            at += size_t(TILE_K) * row;
        }
        k += TILE_K;
    }
};

struct Four {
    float v[4];
};

__device__ __forceinline__ Four four(const float *p) {
    const float4 v = *reinterpret_cast<const float4 *>(p);
    return {{v.x, v.y, v.z, v.w}};
}

__device__ __forceinline__ Four four(const Bf16 *p) {
    const uint2 v = *reinterpret_cast<const uint2 *>(p);
    return {{__uint_as_float(v.x << 16), __uint_as_float(v.x & 0xffff0000u), __uint_as_float(v.y << 16), __uint_as_float(v.y & 0xffff0000u)}};
}

__device__ __forceinline__ void put(float *p, const Four &f) {
    *reinterpret_cast<float4 *>(p) = {f.v[0], f.v[1], f.v[2], f.v[3]};
}

__device__ __forceinline__ void put(Bf16 *p, const Four &f) {
    uint2 v;
    Bf16 *words = reinterpret_cast<Bf16 *>(&v);
#pragma unroll
    for (int i = 0; i < 4; i++)
        words[i] = Bf16(f.v[i]);
    *reinterpret_cast<uint2 *>(p) = v;
}

// Φ(x) and exp(-x²/2). Abramowitz and Stegun 7.1.26: Φ is off by at most 1.5e-7 / 2.
__device__ __forceinline__ float normal(float x, float &density) {
    const float z = fabsf(x) * 0.70710678f, t = __fdividef(1.0f, 1.0f + 0.3275911f * z);
    density = __expf(-0.5f * x * x);
    const float tail = t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f)))) * density;
    return x < 0 ? 0.5f * tail : 1.0f - 0.5f * tail;
}

__device__ __forceinline__ float gelu(float x) {
    float density;
    return x * normal(x, density);
}

__device__ __forceinline__ float gelu_slope(float x) {
    float density;
    const float cumulated = normal(x, density);
    return cumulated + x * 0.39894228f * density;
}

// What the sums at element `at` of the result become. `given` is what was there before, or the argument of the GELU.
__device__ __forceinline__ void emit(Four sum, const Four &bias, const Four &given, Out *extra, Out *y, size_t at) {
#pragma unroll
    for (int i = 0; i < 4; i++)
        sum.v[i] += bias.v[i];
    if (EPILOGUE == 1)
        put(extra + at, sum);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        if (EPILOGUE == 1 || EPILOGUE == 5)
            sum.v[i] = gelu(sum.v[i]);
        if (EPILOGUE == 2)
            sum.v[i] *= gelu_slope(given.v[i]);
        if (EPILOGUE == 3)
            sum.v[i] += given.v[i];
    }
    put(y + at, sum);
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    product(const Bf16 *a, const Bf16 *b, const float *bias, Out *extra, Out *y, const Params p) {
    extern __shared__ __align__(1024) unsigned char dynamic_shared_mem[];
    const unsigned shared = (shared_address(dynamic_shared_mem) + 1023) / 1024 * 1024;
    const unsigned first_m = blockIdx.y * TILE_M, first_n = blockIdx.x * TILE_N;
    const unsigned begin = blockIdx.z * p.span, end = min(begin + p.span, p.k);
    const int steps = (end - begin + TILE_K - 1) / TILE_K;
    Loader<TILE_M, A_K_FAST, WINDOW> load_a(a, first_m, p.m, p, begin, end);
    Loader<TILE_N, B_K_FAST, 0> load_b(b, first_n, p.n, p, begin, end);
    int filled = 0;
#pragma unroll
    for (int s = 0; s < AHEAD; s++) {
        if (s < steps) {
            load_a.next(shared + s * STAGE_BYTES, p);
            load_b.next(shared + s * STAGE_BYTES + A_BYTES, p);
        }
        copies_end();
    }
    filled = AHEAD;

    const unsigned group = threadIdx.x / 128;
    float sums[TILE_N / 2] = {};
    int stage = 0;
    for (int step = 0; step < steps; step++) {
        copies_wait<AHEAD - 1>();
        show_to_tensor_cores();
        products_wait<RUNNING>();
        __syncthreads();
        const unsigned tile = shared + stage * STAGE_BYTES;
        const Words left = matrix(tile + group * (A_K_FAST ? 64 * 128 : TILE_K * 128), A_K_FAST);
        const Words right = matrix(tile + A_BYTES, B_K_FAST);
        products_begin();
#pragma unroll
        for (int k = 0; k < TILE_K / 16; k++) {
            const Words ka = k * (A_K_FAST ? 32 : 16 * 128) / 16, kb = k * (B_K_FAST ? 32 : 16 * 128) / 16;
            multiply<!A_K_FAST, !B_K_FAST>(sums, left + ka, right + kb);
        }
        products_end();
        // Its buffer was read by products that have ended for all threads: those of the step before, or of the one before that.
        if (step + AHEAD < steps) {
            load_a.next(shared + filled * STAGE_BYTES, p);
            load_b.next(shared + filled * STAGE_BYTES + A_BYTES, p);
        }
        copies_end();
        filled = filled + 1 == STAGES ? 0 : filled + 1;
        stage = stage + 1 == STAGES ? 0 : stage + 1;
    }
    products_wait<0>();
    __syncthreads();

    // Through shared memory, so that whole lines are written. A warp has 16 rows for itself.
    constexpr int DISTANCE = TILE_N + 8;
    const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    float *rows = reinterpret_cast<float *>(dynamic_shared_mem) + warp * (16 * DISTANCE);
    float *mine = rows + lane / 4 * DISTANCE + lane % 4 * 2;
#pragma unroll
    for (int j = 0; j < TILE_N / 8; j++) {
        *reinterpret_cast<float2 *>(mine + 8 * j) = {sums[4 * j], sums[4 * j + 1]};
        *reinterpret_cast<float2 *>(mine + 8 * DISTANCE + 8 * j) = {sums[4 * j + 2], sums[4 * j + 3]};
    }
    __syncwarp();
    if (EPILOGUE == 4)
        y += size_t(blockIdx.z) * p.m * p.n;
    // Lanes share a row, or with narrow tiles two. Rows are taken a few at a time, so that what is read for them comes together.
    constexpr int LANES = TILE_N < 128 ? TILE_N / 4 : 32, ROWS = 32 / LANES, TOGETHER = 8 / ROWS;
#pragma unroll
    for (int part = 0; part < (TILE_N + 127) / 128; part++) {
        const unsigned inside = part * 128 + 4 * (lane % LANES), column = first_n + inside;
        if (column >= p.n)
            continue;
        Four shift = {{0, 0, 0, 0}};
        if (BIAS)
            shift = four(bias + column);
#pragma unroll
        for (int r = 0; r < 16; r += 8) {
            Four given[TOGETHER];
            const unsigned above = warp * 16 + r + lane / LANES;
            if (EPILOGUE == 2 || EPILOGUE == 3) {
#pragma unroll
                for (int i = 0; i < TOGETHER; i++)
                    if (first_m + above + i * ROWS < p.m)
                        given[i] = four((EPILOGUE == 2 ? extra : y) + size_t(first_m + above + i * ROWS) * p.n + column);
            }
#pragma unroll
            for (int i = 0; i < TOGETHER; i++) {
                const unsigned row = first_m + above + i * ROWS;
                if (row < p.m)
                    emit(four(rows + (above - warp * 16 + i * ROWS) * DISTANCE + inside), shift, given[i], extra, y, size_t(row) * p.n + column);
            }
        }
    }
}
