// `softmax((q + q_bias) · scale · kᵀ + R) · v + v_bias`: one block for a head of an image and `PASSES · WARPS` tiles of queries.
//
// WARPS, ROW_TILES (tiles of 16 queries that a warp has at once), CHUNK (16 keys each: what the softmax sees at once), STAGE (16 keys
// each: what shared memory holds at once), PASSES (more than 1 only where a stage holds all keys), MIN_BLOCKS.
//
// Grid: [tiles / (PASSES · WARPS · ROW_TILES), heads, batch]. Shared memory: `FORWARD_SHARED` bytes.

constexpr int STAGES = (TILES + STAGE - 1) / STAGE;
constexpr int LAST = TILES - (STAGES - 1) * STAGE;
constexpr int BUFFERS = STAGES > 1 ? 2 : 1;
constexpr int STAGE_BYTES = (STAGES > 1 ? STAGE : TILES) * 16 * ROW;
constexpr int THREADS = 32 * WARPS;
static_assert(STAGES == 1 || PASSES == 1, "");
constexpr int PLACES_AT = 2 * BUFFERS * STAGE_BYTES;
constexpr int BIAS_AT = PLACES_AT + (TABLES ? 4 * PADDED : 0);
constexpr int FORWARD_SHARED = BIAS_AT + 4 * BIAS_KEPT;

struct Softmax {
    float most[ROW_TILES][2];
    float sum[ROW_TILES][2];
    float mixed[ROW_TILES][8][4];
};

// `N` tiles of keys and their values, from token `first` on.
template <int N, bool MASKED>
__device__ __forceinline__ void attend(Softmax &softmax, const u32 (&q)[ROW_TILES][4][4], u32 keys, u32 values, int first,
                                       const float *bias, const int *places, const int (&from)[ROW_TILES][2]) {
    const int lane = threadIdx.x % 32;
    const AsColumns columns;
    const AsRows rows;
    float s[ROW_TILES][2 * N][4];
#pragma unroll
    for (int n = 0; n < 2 * N; n++) {
        int to[2];
        if (TABLES) {
            const int2 pair = *(const int2 *)(places + first + 8 * n + lane % 4 * 2);
            to[0] = pair.x;
            to[1] = pair.y;
        }
#pragma unroll
        for (int m = 0; m < ROW_TILES; m++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                s[m][n][i] = TABLES ? bias_at(bias, from[m][i / 2] + to[i % 2]) : 0.f;
    }
#pragma unroll
    for (int n = 0; n < N; n++)
#pragma unroll
        for (int step = 0; step < 4; step++) {
            u32 k[4];
            load_matrices(k, keys + n * 16 * ROW + columns.at(step));
#pragma unroll
            for (int m = 0; m < ROW_TILES; m++) {
                multiply_add(s[m][2 * n], q[m][step], k[0], k[1]);
                multiply_add(s[m][2 * n + 1], q[m][step], k[2], k[3]);
            }
        }
    if (MASKED) {
#pragma unroll
        for (int n = 2 * N - 2; n < 2 * N; n++)
#pragma unroll
            for (int m = 0; m < ROW_TILES; m++)
#pragma unroll
                for (int i = 0; i < 4; i++)
                    if (first + 8 * n + lane % 4 * 2 + i % 2 >= TOKENS)
                        s[m][n][i] = -LARGE;
    }
#pragma unroll
    for (int m = 0; m < ROW_TILES; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const float before = softmax.most[m][half];
            float most = before;
#pragma unroll
            for (int n = 0; n < 2 * N; n++)
                most = fmaxf(most, fmaxf(s[m][n][2 * half], s[m][n][2 * half + 1]));
            most = fmaxf(most, __shfl_xor_sync(0xffffffff, most, 1));
            most = fmaxf(most, __shfl_xor_sync(0xffffffff, most, 2));
            softmax.most[m][half] = most;
            const float shrink = exp2_fast((before - most) * LOG2_E);
            float sum = softmax.sum[m][half] * shrink;
#pragma unroll
            for (int t = 0; t < 8; t++) {
                softmax.mixed[m][t][2 * half] *= shrink;
                softmax.mixed[m][t][2 * half + 1] *= shrink;
            }
            const float shift = most * LOG2_E;
#pragma unroll
            for (int n = 0; n < 2 * N; n++)
#pragma unroll
                for (int i = 2 * half; i < 2 * half + 2; i++) {
                    s[m][n][i] = exp2_fast(s[m][n][i] * LOG2_E - shift);
                    sum += s[m][n][i];
                }
            softmax.sum[m][half] = sum;
        }
#pragma unroll
    for (int n = 0; n < N; n++) {
        u32 p[ROW_TILES][4];
#pragma unroll
        for (int m = 0; m < ROW_TILES; m++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                p[m][i] = pack(s[m][2 * n + i / 2][i % 2 * 2], s[m][2 * n + i / 2][i % 2 * 2 + 1]);
#pragma unroll
        for (int step = 0; step < 4; step++) {
            u32 v[4];
            load_matrices_transposed(v, values + n * 16 * ROW + rows.at(step));
#pragma unroll
            for (int m = 0; m < ROW_TILES; m++) {
                multiply_add(softmax.mixed[m][2 * step], p[m], v[0], v[1]);
                multiply_add(softmax.mixed[m][2 * step + 1], p[m], v[2], v[3]);
            }
        }
    }
}

// `N` tiles of keys of a stage; the last holds keys beyond the last token if `MASKED`.
template <int N, bool MASKED>
__device__ __forceinline__ void attend_stage(Softmax &softmax, const u32 (&q)[ROW_TILES][4][4], u32 keys, u32 values, int first,
                                             const float *bias, const int *places, const int (&from)[ROW_TILES][2]) {
    constexpr int REST = N % CHUNK ? N % CHUNK : CHUNK;
    constexpr int WHOLE = (N - REST) / CHUNK;
#pragma unroll 1
    for (int c = 0; c < WHOLE; c++)
        attend<CHUNK, false>(softmax, q, keys + c * CHUNK * 16 * ROW, values + c * CHUNK * 16 * ROW, first + c * CHUNK * 16, bias,
                             places, from);
    constexpr int DONE = WHOLE * CHUNK * 16;
    attend<REST, MASKED>(softmax, q, keys + DONE * ROW, values + DONE * ROW, first + DONE, bias, places, from);
}

extern "C" __global__ void __launch_bounds__(THREADS, MIN_BLOCKS)
    attention_forward(const __nv_bfloat16 *__restrict__ qkv, const float *__restrict__ q_bias, const float *__restrict__ v_bias,
                      const float *__restrict__ table, const float *__restrict__ shared_table, __nv_bfloat16 *__restrict__ context,
                      float *__restrict__ lse, const Params params) {
    extern __shared__ __align__(1024) unsigned char dynamic_shared_mem[];
    const u32 base = shared_address(dynamic_shared_mem);
    float *bias = (float *)(dynamic_shared_mem + BIAS_AT);
    int *places = (int *)(dynamic_shared_mem + PLACES_AT);
    const u32 head = blockIdx.y, image = blockIdx.z;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const u32 width = params.heads * HEAD_DIM;
    const size_t stride = 3 * width;
    const __nv_bfloat16 *x = qkv + image * (TOKENS * stride) + head * HEAD_DIM;

    constexpr int KEYS = STAGE_BYTES / ROW;
    copy_rows<KEYS, THREADS>(base, x + width, stride, 0);
    copy_rows<KEYS, THREADS>(base + BUFFERS * STAGE_BYTES, x + 2 * width, stride, 0);
    commit_copies();
    if (TABLES) {
        load_bias(bias, table, shared_table, head, params.heads);
        for (int token = threadIdx.x; token < PADDED; token += THREADS)
            places[token] = key_place(token);
    }

#pragma unroll 1
    for (int pass = 0; pass < PASSES; pass++) {
        const int first = ((blockIdx.x * PASSES + pass) * WARPS + warp) * (16 * ROW_TILES);
        if (PASSES > 1 && pass > 0 && first >= TOKENS)
            break;
        u32 q[ROW_TILES][4][4];
        int from[ROW_TILES][2];
        Softmax softmax;
#pragma unroll
        for (int m = 0; m < ROW_TILES; m++) {
            load_rows(q[m], x, stride, first + 16 * m, Queries{q_bias + head * HEAD_DIM, params.scale});
#pragma unroll
            for (int half = 0; half < 2; half++) {
                from[m][half] = TABLES ? query_place(first + 16 * m + lane / 4 + 8 * half) : 0;
                softmax.most[m][half] = -LARGE;
                softmax.sum[m][half] = 0;
            }
#pragma unroll
            for (int t = 0; t < 8; t++)
#pragma unroll
                for (int i = 0; i < 4; i++)
                    softmax.mixed[m][t][i] = 0;
        }
        if (STAGES == 1) {
            if (pass == 0) {
                wait_copies<0>();
                __syncthreads();
            }
            if (first < TOKENS)
                attend_stage<TILES, TOKENS % 16 != 0>(softmax, q, base, base + STAGE_BYTES, 0, bias, places, from);
        } else {
#pragma unroll 1
            for (int stage = 0; stage < STAGES; stage++) {
                const u32 keys = base + stage % 2 * STAGE_BYTES, values = keys + BUFFERS * STAGE_BYTES;
                if (stage + 1 < STAGES) {
                    const u32 next = base + (stage + 1) % 2 * STAGE_BYTES;
                    copy_rows<KEYS, THREADS>(next, x + width, stride, (stage + 1) * KEYS);
                    copy_rows<KEYS, THREADS>(next + BUFFERS * STAGE_BYTES, x + 2 * width, stride, (stage + 1) * KEYS);
                    commit_copies();
                    wait_copies<1>();
                } else {
                    wait_copies<0>();
                }
                __syncthreads();
                if (stage + 1 < STAGES)
                    attend_stage<STAGE, false>(softmax, q, keys, values, stage * KEYS, bias, places, from);
                else
                    attend_stage<LAST, TOKENS % 16 != 0>(softmax, q, keys, values, stage * KEYS, bias, places, from);
                __syncthreads();
            }
        }
#pragma unroll
        for (int m = 0; m < ROW_TILES; m++) {
            float factors[2];
#pragma unroll
            for (int half = 0; half < 2; half++) {
                float sum = softmax.sum[m][half];
                sum += __shfl_xor_sync(0xffffffff, sum, 1);
                sum += __shfl_xor_sync(0xffffffff, sum, 2);
                factors[half] = 1 / sum;
                const int token = first + 16 * m + lane / 4 + 8 * half;
                if (lane % 4 == 0 && token < TOKENS)
                    lse[(image * params.heads + head) * TOKENS + token] = softmax.most[m][half] + __logf(sum);
            }
            store_rows<true>(context + image * (TOKENS * size_t(width)) + head * HEAD_DIM, width, first + 16 * m, softmax.mixed[m],
                             factors, v_bias + head * HEAD_DIM);
        }
    }
}
