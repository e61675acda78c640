// What the kernels of the attention share: loading rows of a head, the relative position bias, fragments.
//
// Compiled for:
//   HEAD_DIM             elements of a head: a multiple of 8, at most 128
//   TOKENS               tokens of an image, [CLS] first
//   WINDOW_H, WINDOW_W   lines and columns of the patch grid
//   TABLES               bit 0: there is a relative position table of the layer; bit 1: there is one of all layers
//
// A tile is 16 tokens of a head, the rows of a fragment. The 16 x 16 sums of a product of two tiles are spread over a warp so:
//
//              columns 0 1   2 3   4 5   6 7     8 9  ...
//   row 0            l0      l1    l2    l3      l0            lane l holds columns 2 (l % 4) and the next of each group of 8,
//   row 1            l4      l5    l6    l7      l4            in rows l / 4 and l / 4 + 8
//    ...
//   row 8            l0      l1    l2    l3      l0
static_assert(HEAD_DIM % 8 == 0 && HEAD_DIM <= 128, "rows of a head are whole chunks of 16 bytes, and few enough for registers");

// Elements of a head in registers and in shared memory. Behind its own are zeros, which add nothing to a product.
constexpr int HEAD_PADDED = (HEAD_DIM + 31) / 32 * 32;
// Products of 16 elements that make one over a head.
constexpr int STEPS = HEAD_PADDED / 16;
// Chunks of 16 bytes of a row of a head, and tiles of 8 columns of the sums of a product that has such rows.
constexpr int ROW_CHUNKS = HEAD_PADDED / 8;

struct Params {
    u32 batch;
    u32 heads;
    // Blocks that share the images of a head: `attention_backward` and `attention_fold_partials`.
    u32 groups;
    // Bit 0: the table has a gradient; bit 1: the shared table has one.
    u32 gradients;
    // D^-1/2
    float scale;
};

constexpr float LOG2_E = 1.4426950408889634f;
// Stands for infinity: differences and products of it are not NaN.
constexpr float LARGE = 1e30f;

// Tiles of 16 tokens.
constexpr int TILES = (TOKENS + 15) / 16;
constexpr int PADDED = 16 * TILES;
// Equal chunks of eight rows lie in different banks of shared memory. Where a row is a multiple of all banks, its chunks are
// permuted by the number of the row (chunk c is at c ^ row % 8). Other rows are an odd number of chunks long.
constexpr bool PERMUTED = HEAD_PADDED % 64 == 0;
// Bytes of a row of a head in shared memory.
constexpr int ROW = 2 * HEAD_PADDED + (PERMUTED ? 0 : 16);

// The bias of a head in shared memory. The score of `q` and `k` has its bias at `query_offset(q) + key_offset(k)`, for pairs
// with [CLS] too:
//
//   | pairs of patches, as in the table | [CLS] as query, repeated | [CLS] as key, repeated | [CLS] with itself |
//     2 SPAN - 1                          SPAN                       SPAN                     SPAN
//
// The repetition is what makes one sum of two offsets serve all pairs.
constexpr int ACROSS = 2 * WINDOW_W - 1;
constexpr int SPAN = (WINDOW_H - 1) * ACROSS + WINDOW_W;
constexpr int BIAS_ROWS = 2 * SPAN - 1 + 3;
constexpr int BIAS_LEN = TABLES ? 5 * SPAN - 1 : 0;

__device__ __forceinline__ int patch_offset(int token) {
    int patch = token - 1;
    return patch / WINDOW_W * ACROSS + patch % WINDOW_W;
}

// Both offsets are in bytes.
__device__ __forceinline__ int query_offset(int token) {
    token = token < TOKENS ? token : 0;
    return 4 * (token == 0 ? 3 * SPAN - 2 : patch_offset(token) + SPAN - 1);
}

__device__ __forceinline__ int key_offset(int token) {
    token = token < TOKENS ? token : 0;
    return 4 * (token == 0 ? 2 * SPAN : -patch_offset(token));
}

__device__ __forceinline__ float bias_at(const float *bias, int offset) {
    return *(const float *)((const char *)bias + offset);
}

__device__ __forceinline__ void load_bias(float *bias, const float *table, const float *shared_table, u32 head, u32 heads) {
    for (int e = threadIdx.x; e < BIAS_LEN; e += blockDim.x) {
        int row = e;
        if (e >= 2 * SPAN - 1)
            row = e < 3 * SPAN - 1 ? BIAS_ROWS - 3 : e < 4 * SPAN - 1 ? BIAS_ROWS - 2 : BIAS_ROWS - 1;
        float value = 0;
        if (TABLES & 1)
            value += table[row * heads + head];
        if (TABLES & 2)
            value += shared_table[row * heads + head];
        bias[e] = value;
    }
}

// Transposes four registers over four neighbouring lanes: register `i` of lane `j` goes to register `j` of lane `i`. It turns
// 16 bytes that a lane loads at once into fragments.
__device__ __forceinline__ void exchange(u32 (&x)[4]) {
    const bool second = threadIdx.x & 2, first = threadIdx.x & 1;
#pragma unroll
    for (int i = 0; i < 2; i++) {
        u32 got = __shfl_xor_sync(0xffffffff, second ? x[i] : x[i + 2], 2);
        x[i] = second ? got : x[i];
        x[i + 2] = second ? x[i + 2] : got;
    }
#pragma unroll
    for (int i = 0; i < 4; i += 2) {
        u32 got = __shfl_xor_sync(0xffffffff, first ? x[i] : x[i + 1], 1);
        x[i] = first ? got : x[i];
        x[i + 1] = first ? x[i + 1] : got;
    }
}

// 16 rows of a head from device memory, as the left operands of its products. `change(pairs, half, token, column)` gets 8 elements
// of a token at a time and may change them.
template <class Change>
__device__ __forceinline__ void load_rows(u32 (&rows)[STEPS][4], const __nv_bfloat16 *x, size_t stride, int first, Change change) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int token = first + lane / 4 + 8 * half;
#pragma unroll
        for (int part = 0; part < HEAD_PADDED / 32; part++) {
            const int column = 32 * part + lane % 4 * 8;
            const bool inside = token < TOKENS && column < HEAD_DIM;
            uint4 loaded = {0, 0, 0, 0};
            if (inside)
                loaded = *(const uint4 *)(x + token * stride + column);
            u32 pairs[4] = {loaded.x, loaded.y, loaded.z, loaded.w};
            if (inside)
                change(pairs, half, token, column);
            exchange(pairs);
#pragma unroll
            for (int i = 0; i < 4; i++)
                rows[2 * part + i / 2][i % 2 * 2 + half] = pairs[i];
        }
    }
}

struct Unchanged {
    __device__ __forceinline__ void operator()(u32 (&)[4], int, int, int) const {}
};

// `(x + bias) · scale`: queries before they are multiplied.
__device__ __forceinline__ void add_and_scale(u32 (&pairs)[4], const float *bias, float scale) {
    const float4 first = *(const float4 *)bias, second = *(const float4 *)(bias + 4);
    const float b[8] = {first.x, first.y, first.z, first.w, second.x, second.y, second.z, second.w};
#pragma unroll
    for (int i = 0; i < 4; i++)
        pairs[i] = pack((low(pairs[i]) + b[2 * i]) * scale, (high(pairs[i]) + b[2 * i + 1]) * scale);
}

struct AddAndScale {
    const float *bias;
    float scale;
    __device__ __forceinline__ void operator()(u32 (&pairs)[4], int, int, int column) const {
        add_and_scale(pairs, bias + column, scale);
    }
};

// Stores 16 rows of results, each element `values · factors[half] + bias`.
template <bool BIASED>
__device__ __forceinline__ void store_rows(__nv_bfloat16 *x, size_t stride, int first, const float (&values)[ROW_CHUNKS][4],
                                           const float (&factors)[2], const float *bias) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int part = 0; part < HEAD_PADDED / 32; part++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int token = first + lane / 4 + 8 * half, column = 32 * part + lane % 4 * 8;
            u32 pairs[4];
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const int tile = 4 * part + i;
                float2 b = {0, 0};
                if (BIASED && 8 * tile < HEAD_DIM)
                    b = *(const float2 *)(bias + 8 * tile + lane % 4 * 2);
                pairs[i] = pack(values[tile][2 * half] * factors[half] + b.x, values[tile][2 * half + 1] * factors[half] + b.y);
            }
            exchange(pairs);
            if (token < TOKENS && column < HEAD_DIM) {
                const uint4 stored = {pairs[0], pairs[1], pairs[2], pairs[3]};
                *(uint4 *)(x + token * stride + column) = stored;
            }
        }
    }
}

// The offset of chunk `chunk` in row `row` of a head in shared memory.
__device__ __forceinline__ u32 chunk_in_row(int row, int chunk) {
    return (PERMUTED ? chunk ^ (row & 7) : chunk) << 4;
}

// The offset of chunk `chunk` of row `row` in shared memory.
__device__ __forceinline__ u32 chunk_offset(int row, int chunk) {
    return row * ROW + chunk_in_row(row, chunk);
}

// Begins to copy `ROWS` rows of a head from token `first` on; zeros beyond the last token, and behind the elements of a head.
template <int ROWS, int THREADS>
__device__ __forceinline__ void copy_rows(u32 to, const __nv_bfloat16 *x, size_t stride, int first) {
#pragma unroll
    for (int i = 0; i < (ROWS * ROW_CHUNKS + THREADS - 1) / THREADS; i++) {
        const int e = threadIdx.x + i * THREADS;
        if (ROWS * ROW_CHUNKS % THREADS == 0 || e < ROWS * ROW_CHUNKS) {
            const int row = e / ROW_CHUNKS, chunk = e % ROW_CHUNKS, token = first + row;
            const bool valid = token < TOKENS && chunk * 8 < HEAD_DIM;
            copy_async(to + chunk_offset(row, chunk), x + (valid ? token * stride + chunk * 8 : 0), valid);
        }
    }
}

// The offset in a row of the chunk that comes `2 step` chunks after the first or second, whose offset is `chunk`.
__device__ __forceinline__ u32 chunk_after(u32 chunk, int step) {
    return PERMUTED ? chunk ^ step << 5 : chunk + (step << 5);
}

// Where a lane reads a tile whose 16 rows are the columns of the right operand: products over the elements of a head, such as
// Q Kᵀ. `load_matrices` gives `b0, b1` of the first eight rows, then of the others.
struct ColumnFragments {
    u32 row, chunk;
    __device__ __forceinline__ ColumnFragments() {
        const int lane = threadIdx.x % 32;
        row = (lane % 8 + lane / 16 * 8) * ROW;
        chunk = chunk_in_row(lane % 8, lane / 8 % 2);
    }
    // For the elements from `16 step` on.
    __device__ __forceinline__ u32 at(int step) const {
        return row + chunk_after(chunk, step);
    }
};

// Where a lane reads a tile whose 16 rows are the rows of the right operand: products over tokens, such as P V.
// `load_matrices_transposed` gives `b0, b1` of 8 columns, then of the next 8.
struct RowFragments {
    u32 row, chunk;
    __device__ __forceinline__ RowFragments() {
        const int lane = threadIdx.x % 32;
        row = (lane % 8 + lane / 8 % 2 * 8) * ROW;
        chunk = chunk_in_row(lane % 8, lane / 16);
    }
    // For the columns from `16 step` on.
    __device__ __forceinline__ u32 at(int step) const {
        return row + chunk_after(chunk, step);
    }
};

// The 16 x 16 sums of a product as the left operand of the next: both have their elements in the same lanes.
__device__ __forceinline__ void to_left_operand(u32 (&a)[4], const float (&sums)[2][4]) {
#pragma unroll
    for (int i = 0; i < 4; i++)
        a[i] = pack(sums[i / 2][i % 2 * 2], sums[i / 2][i % 2 * 2 + 1]);
}
