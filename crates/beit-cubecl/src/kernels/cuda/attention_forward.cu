// `softmax((q + q_bias) · scale · kᵀ + R) · v + v_bias`
//
//                   keys and values of one head of one image in shared memory, STAGE tiles of 16 tokens at a time
//                 +------+------+------+------+- - -+
//   warp 0  16 q  | SOFTMAX_TILES      |      |     |    grid: [tiles / (PASSES · WARPS · ROW_TILES), heads, images]
//   warp 1  16 q  | tiles at once      | ->   | ->  |    a warp has ROW_TILES tiles of queries in registers, and for them
//    ...          |                    |      |     |      scores of SOFTMAX_TILES tiles of keys,
//   warp W  16 q  |                    |      |     |      maximum and sum of each row, and 16 x D sums of the context
//                 +------+------+------+------+- - -+
//
//   short sequences: all keys and values are in shared memory, and the warps take PASSES tiles of queries one after another
//   long sequences:  two buffers of STAGE tiles; the next stage is copied while one is multiplied
//
// Scores and probabilities are in registers only: the sums of Q Kᵀ lie in the lanes in which the left operand of P V needs
// them. Where a new maximum is met, sum and context are rescaled (online softmax).
//
// Compiled for WARPS, ROW_TILES, SOFTMAX_TILES, STAGE, PASSES (more than 1 only where a stage holds all keys) and MIN_BLOCKS.
// Their values are in attention/native.rs. For 197 tokens, 7 warps in two passes with 7 tiles of keys at once took 0.139 ms
// where 13 warps in one pass took 0.154 ms and two tiles of queries a warp 0.175 ms and more (docs/bench/gpu.md).
//
// Shared memory: `FORWARD_SHARED` bytes.

constexpr int STAGES = (TILES + STAGE - 1) / STAGE;
constexpr int LAST = TILES - (STAGES - 1) * STAGE;
constexpr int BUFFERS = STAGES > 1 ? 2 : 1;
constexpr int STAGE_BYTES = (STAGES > 1 ? STAGE : TILES) * 16 * ROW;
constexpr int STAGE_TOKENS = STAGE_BYTES / ROW;
constexpr int THREADS = 32 * WARPS;
static_assert(STAGES == 1 || PASSES == 1, "");
constexpr int OFFSETS_AT = 2 * BUFFERS * STAGE_BYTES;
constexpr int BIAS_AT = OFFSETS_AT + (TABLES ? 4 * PADDED : 0);
constexpr int FORWARD_SHARED = BIAS_AT + 4 * BIAS_LEN;
static_assert(FORWARD_SHARED <= SHARED_BYTES, "less shared memory than the kernel uses");

// What a warp has of its queries, each ROW_TILES tiles.
struct Queries {
    u32 q[ROW_TILES][STEPS][4];
    // Offsets into the bias.
    int from[ROW_TILES][2];
    float largest[ROW_TILES][2];
    float sum[ROW_TILES][2];
    float context[ROW_TILES][ROW_CHUNKS][4];
};

// The bias in shared memory, and the keys' offsets into it.
struct Bias {
    const float *bias;
    const int *offsets;
};

// `s = q · kᵀ + R` for `N` tiles of keys, from token `first` on.
template <int N>
__device__ __forceinline__ void add_scores(float (&s)[ROW_TILES][2 * N][4], const Queries &queries, u32 keys, int first,
                                           const Bias &bias) {
    const int lane = threadIdx.x % 32;
    const ColumnFragments columns;
#pragma unroll
    for (int n = 0; n < 2 * N; n++) {
        int to[2];
        if (TABLES) {
            const int2 pair = *(const int2 *)(bias.offsets + first + 8 * n + lane % 4 * 2);
            to[0] = pair.x;
            to[1] = pair.y;
        }
#pragma unroll
        for (int m = 0; m < ROW_TILES; m++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                s[m][n][i] = TABLES ? bias_at(bias.bias, queries.from[m][i / 2] + to[i % 2]) : 0.f;
    }
#pragma unroll
    for (int n = 0; n < N; n++)
#pragma unroll
        for (int step = 0; step < STEPS; step++) {
            u32 k[4];
            load_matrices(k, keys + n * 16 * ROW + columns.at(step));
#pragma unroll
            for (int m = 0; m < ROW_TILES; m++) {
                multiply_add(s[m][2 * n], queries.q[m][step], k[0], k[1]);
                multiply_add(s[m][2 * n + 1], queries.q[m][step], k[2], k[3]);
            }
        }
}

// `s = exp(s - largest)`: takes the scores into the maximum and the sum of each row, and rescales what was added before.
template <int N> __device__ __forceinline__ void exponentiate(float (&s)[ROW_TILES][2 * N][4], Queries &queries) {
#pragma unroll
    for (int m = 0; m < ROW_TILES; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const float before = queries.largest[m][half];
            float largest = before;
#pragma unroll
            for (int n = 0; n < 2 * N; n++)
                largest = fmaxf(largest, fmaxf(s[m][n][2 * half], s[m][n][2 * half + 1]));
            largest = fmaxf(largest, __shfl_xor_sync(0xffffffff, largest, 1));
            largest = fmaxf(largest, __shfl_xor_sync(0xffffffff, largest, 2));
            queries.largest[m][half] = largest;
            const float shrink = exp2_fast((before - largest) * LOG2_E);
            float sum = queries.sum[m][half] * shrink;
#pragma unroll
            for (int t = 0; t < ROW_CHUNKS; t++) {
                queries.context[m][t][2 * half] *= shrink;
                queries.context[m][t][2 * half + 1] *= shrink;
            }
            const float shift = largest * LOG2_E;
#pragma unroll
            for (int n = 0; n < 2 * N; n++)
#pragma unroll
                for (int i = 2 * half; i < 2 * half + 2; i++) {
                    s[m][n][i] = exp2_fast(s[m][n][i] * LOG2_E - shift);
                    sum += s[m][n][i];
                }
            queries.sum[m][half] = sum;
        }
}

// `context += p · v` for `N` tiles of keys.
template <int N> __device__ __forceinline__ void add_values(Queries &queries, const float (&p)[ROW_TILES][2 * N][4], u32 values) {
    const RowFragments rows;
#pragma unroll
    for (int n = 0; n < N; n++) {
        u32 left[ROW_TILES][4];
#pragma unroll
        for (int m = 0; m < ROW_TILES; m++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                left[m][i] = pack(p[m][2 * n + i / 2][i % 2 * 2], p[m][2 * n + i / 2][i % 2 * 2 + 1]);
#pragma unroll
        for (int step = 0; step < STEPS; step++) {
            u32 v[4];
            load_matrices_transposed(v, values + n * 16 * ROW + rows.at(step));
#pragma unroll
            for (int m = 0; m < ROW_TILES; m++) {
                multiply_add(queries.context[m][2 * step], left[m], v[0], v[1]);
                multiply_add(queries.context[m][2 * step + 1], left[m], v[2], v[3]);
            }
        }
    }
}

// `N` tiles of keys and their values, from token `first` on. MASKED: the last tile goes beyond the last token.
template <int N, bool MASKED>
__device__ __forceinline__ void attend(Queries &queries, u32 keys, u32 values, int first, const Bias &bias) {
    float s[ROW_TILES][2 * N][4];
    add_scores<N>(s, queries, keys, first, bias);
    if (MASKED) {
#pragma unroll
        for (int n = 2 * N - 2; n < 2 * N; n++)
#pragma unroll
            for (int m = 0; m < ROW_TILES; m++)
#pragma unroll
                for (int i = 0; i < 4; i++)
                    if (first + 8 * n + int(threadIdx.x % 4) * 2 + i % 2 >= TOKENS)
                        s[m][n][i] = -LARGE;
    }
    exponentiate<N>(s, queries);
    add_values<N>(queries, s, values);
}

// The `N` tiles of keys of a stage. MASKED: the last goes beyond the last token.
template <int N, bool MASKED>
__device__ __forceinline__ void attend_stage(Queries &queries, u32 keys, u32 values, int first, const Bias &bias) {
    constexpr int REST = N % SOFTMAX_TILES ? N % SOFTMAX_TILES : SOFTMAX_TILES;
    constexpr int WHOLE = (N - REST) / SOFTMAX_TILES;
    constexpr int TOKENS_AT_ONCE = SOFTMAX_TILES * 16;
#pragma unroll 1
    for (int c = 0; c < WHOLE; c++)
        attend<SOFTMAX_TILES, false>(queries, keys + c * TOKENS_AT_ONCE * ROW, values + c * TOKENS_AT_ONCE * ROW,
                                     first + c * TOKENS_AT_ONCE, bias);
    constexpr int DONE = WHOLE * TOKENS_AT_ONCE;
    attend<REST, MASKED>(queries, keys + DONE * ROW, values + DONE * ROW, first + DONE, bias);
}

// One head of one image as all threads see it.
struct Head {
    // Its queries; keys and values are `width` and `2 width` elements behind them.
    const __nv_bfloat16 *x;
    u32 width;
    // Shared memory.
    u32 base;

    __device__ __forceinline__ size_t stride() const { return 3 * width; }

    // Begins to copy keys and values of stage `stage`.
    __device__ __forceinline__ void copy_stage(int stage) const {
        const u32 to = base + stage % 2 * STAGE_BYTES;
        copy_rows<STAGE_TOKENS, THREADS>(to, x + width, stride(), stage * STAGE_TOKENS);
        copy_rows<STAGE_TOKENS, THREADS>(to + BUFFERS * STAGE_BYTES, x + 2 * width, stride(), stage * STAGE_TOKENS);
        commit_copies();
    }
};

// All keys and values for the queries of a warp, a stage at a time.
__device__ __forceinline__ void attend_stages(Queries &queries, const Head &head, const Bias &bias) {
#pragma unroll 1
    for (int stage = 0; stage < STAGES; stage++) {
        const u32 keys = head.base + stage % 2 * STAGE_BYTES, values = keys + BUFFERS * STAGE_BYTES;
        if (stage + 1 < STAGES) {
            head.copy_stage(stage + 1);
            wait_copies<1>();
        } else {
            wait_copies<0>();
        }
        __syncthreads();
        if (stage + 1 < STAGES)
            attend_stage<STAGE, false>(queries, keys, values, stage * STAGE_TOKENS, bias);
        else
            attend_stage<LAST, TOKENS % 16 != 0>(queries, keys, values, stage * STAGE_TOKENS, bias);
        __syncthreads();
    }
}

// The queries of a warp from token `first` on, and no key met.
__device__ __forceinline__ void load_queries(Queries &queries, const Head &head, int first, const AddAndScale &change) {
#pragma unroll
    for (int m = 0; m < ROW_TILES; m++) {
        load_rows(queries.q[m], head.x, head.stride(), first + 16 * m, change);
#pragma unroll
        for (int half = 0; half < 2; half++) {
            queries.from[m][half] = TABLES ? query_offset(first + 16 * m + threadIdx.x % 32 / 4 + 8 * half) : 0;
            queries.largest[m][half] = -LARGE;
            queries.sum[m][half] = 0;
        }
#pragma unroll
        for (int t = 0; t < ROW_CHUNKS; t++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                queries.context[m][t][i] = 0;
    }
}

// The context `[T, width]` of an image from `context` on, and its log-sum-exp `[T]` from element `first_lse` on.
__device__ __forceinline__ void store_context(const Queries &queries, __nv_bfloat16 *context, float *lse, u32 first_lse, u32 width,
                                              int first, const float *v_bias) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int m = 0; m < ROW_TILES; m++) {
        float factors[2];
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float sum = queries.sum[m][half];
            sum += __shfl_xor_sync(0xffffffff, sum, 1);
            sum += __shfl_xor_sync(0xffffffff, sum, 2);
            factors[half] = 1 / sum;
            const int token = first + 16 * m + lane / 4 + 8 * half;
            if (lane % 4 == 0 && token < TOKENS)
                lse[first_lse + token] = queries.largest[m][half] + __logf(sum);
        }
        store_rows<true>(context, width, first + 16 * m, queries.context[m], factors, v_bias);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, MIN_BLOCKS)
    attention_forward(const __nv_bfloat16 *__restrict__ qkv, const float *__restrict__ q_bias, const float *__restrict__ v_bias,
                      const float *__restrict__ table, const float *__restrict__ shared_table, __nv_bfloat16 *__restrict__ context,
                      float *__restrict__ lse, const Params params) {
    extern __shared__ __align__(1024) unsigned char dynamic_shared_mem[];
    const u32 h = blockIdx.y, image = blockIdx.z, width = params.heads * HEAD_DIM;
    const Head head{qkv + image * (TOKENS * size_t(3 * width)) + h * HEAD_DIM, width, shared_address(dynamic_shared_mem)};
    float *bias = (float *)(dynamic_shared_mem + BIAS_AT);
    int *offsets = (int *)(dynamic_shared_mem + OFFSETS_AT);
    head.copy_stage(0);
    if (TABLES) {
        load_bias(bias, table, shared_table, h, params.heads);
        for (int token = threadIdx.x; token < PADDED; token += THREADS)
            offsets[token] = key_offset(token);
    }
#pragma unroll 1
    for (int pass = 0; pass < PASSES; pass++) {
        const int first = ((blockIdx.x * PASSES + pass) * WARPS + threadIdx.x / 32) * (16 * ROW_TILES);
        if (PASSES > 1 && pass > 0 && first >= TOKENS)
            break;
        Queries queries;
        load_queries(queries, head, first, AddAndScale{q_bias + h * HEAD_DIM, params.scale});
        if (STAGES > 1) {
            attend_stages(queries, head, {bias, offsets});
        } else {
            if (pass == 0) {
                wait_copies<0>();
                __syncthreads();
            }
            if (first < TOKENS)
                attend_stage<TILES, TOKENS % 16 != 0>(queries, head.base, head.base + STAGE_BYTES, 0, {bias, offsets});
        }
        store_context(queries, context + image * (TOKENS * size_t(width)) + h * HEAD_DIM,
                      lse, (image * params.heads + h) * TOKENS, width, first, v_bias + h * HEAD_DIM);
    }
}
