// Attention backward with a few tiles of tokens in shared memory at a time: sequences of any length. See
// attention_backward.cuh for one tile of queries and keys.
//
//   kernel                       a block has                        and loops over             result
//   attention_backward_queries   WARPS tiles of queries             all keys                   dQ, delta
//   attention_backward_keys      WARPS tiles of keys                all queries                dK, dV
//   attention_backward_scores    WARPS tiles of keys                all images                 dS summed over images
//                                by STAGE tiles of queries
//   attention_fold_scores        a warp for a row of the table      the pairs that read it     the tables' gradients
//
//   shared memory     | operand 1 [64, 64] | operand 2 [64, 64] | terms [64] | offsets [64] | bias [R] |
//                       k, or q              v, or dO
//
// A stage is 4 tiles, 64 tokens: 16 KB for both operands, so that with the bias three blocks fit a multiprocessor. Each
// gradient has a kernel of its own, since a warp accumulates along one axis only. Scores are computed again in each of the
// first three.

// Tiles that shared memory holds of each operand.
constexpr int STAGE = 4;
constexpr int STAGES = (TILES + STAGE - 1) / STAGE;
constexpr int STAGE_BYTES = STAGE * TILE_BYTES;
constexpr int TERMS_AT = 2 * STAGE_BYTES;
constexpr int OFFSETS_AT = TERMS_AT + 8 * 16 * STAGE;
constexpr int BIAS_AT = OFFSETS_AT + 4 * 16 * STAGE;
constexpr int BACKWARD_SHARED = BIAS_AT + 4 * BIAS_LEN;

// Leaves rows of the context's gradient as they are, and adds up `delta` of the two rows of a lane.
struct Delta {
    const __nv_bfloat16 *context;
    const float *v_bias;
    size_t stride;
    float (&sums)[2];
    __device__ __forceinline__ void operator()(u32 (&pairs)[4], int half, int token, int column) const {
        if (token < TOKENS) {
            const uint4 o = *(const uint4 *)(context + token * stride + column);
            const u32 o_pairs[4] = {o.x, o.y, o.z, o.w};
            sums[half] += row_product(pairs, o_pairs, v_bias + column);
        }
    }
};

// A warp's 16 queries in registers: their sums of dQ, and what the scores of a tile of keys need.
struct OwnQueries {
    u32 q[4][4], d_context[4][4];
    Term terms[2];
    // Offsets into the bias.
    int from[2];
    float d_q[1][8][4];
};

// Adds to `dQ` the 16 keys from token `first_key` on. `keys` and `values` are tiles in shared memory, `offsets` those of the
// keys.
__device__ __forceinline__ void add_keys(OwnQueries &own, u32 keys, u32 values, int first_key, const float *bias,
                                         const int *offsets) {
    const int lane = threadIdx.x % 32;
    const ColumnFragments columns;
    const RowFragments rows;
    float s[2][4], d[2][4];
#pragma unroll
    for (int n = 0; n < 2; n++) {
        int2 to = {0, 0};
        if (TABLES)
            to = *(const int2 *)(offsets + 8 * n + lane % 4 * 2);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            s[n][i] = TABLES ? bias_at(bias, own.from[i / 2] + (i % 2 ? to.y : to.x)) : 0.f;
            d[n][i] = own.terms[i / 2].y;
        }
    }
#pragma unroll
    for (int step = 0; step < 4; step++) {
        u32 k[4], v[4];
        load_matrices(k, keys + columns.at(step));
        load_matrices(v, values + columns.at(step));
        multiply_add(s[0], own.q[step], k[0], k[1]);
        multiply_add(s[1], own.q[step], k[2], k[3]);
        multiply_add(d[0], own.d_context[step], v[0], v[1]);
        multiply_add(d[1], own.d_context[step], v[2], v[3]);
    }
#pragma unroll
    for (int n = 0; n < 2; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const bool valid = first_key + 8 * n + lane % 4 * 2 + i % 2 < TOKENS;
            d[n][i] = valid ? d[n][i] * exp2_fast(s[n][i] * LOG2_E - own.terms[i / 2].x) : 0.f;
        }
    u32 a[1][4];
    to_left_operand(a[0], d);
    add_product<1>(own.d_q, a, keys, rows);
}

// `dQ` of WARPS tiles of queries of one head of one image, and `delta [B, H, T]`. Grid: [tiles / WARPS, heads, images].
extern "C" __global__ void __launch_bounds__(THREADS, MIN_BLOCKS)
    attention_backward_queries(const __nv_bfloat16 *__restrict__ qkv, const __nv_bfloat16 *__restrict__ d_context,
                               const __nv_bfloat16 *__restrict__ context, const float *__restrict__ lse,
                               const float *__restrict__ q_bias, const float *__restrict__ v_bias, const float *__restrict__ table,
                               const float *__restrict__ shared_table, __nv_bfloat16 *__restrict__ d_qkv, float *__restrict__ delta,
                               const Params params) {
    extern __shared__ __align__(1024) unsigned char dynamic_shared_mem[];
    const u32 base = shared_address(dynamic_shared_mem);
    float *bias = (float *)(dynamic_shared_mem + BIAS_AT);
    int *offsets = (int *)(dynamic_shared_mem + OFFSETS_AT);
    const int lane = threadIdx.x % 32, first = (blockIdx.x * WARPS + threadIdx.x / 32) * 16;
    const u32 head = blockIdx.y, image = blockIdx.z, width = params.heads * HEAD_DIM;
    const size_t stride = 3 * width, first_row = size_t(image) * TOKENS, in_context = first_row * width + head * HEAD_DIM;
    const __nv_bfloat16 *x = qkv + first_row * stride + head * HEAD_DIM;
    load_bias(bias, table, shared_table, head, params.heads);

    OwnQueries own;
    float sums[2] = {0, 0};
    load_rows(own.q, x, stride, first, AddAndScale{q_bias + head * HEAD_DIM, params.scale});
    load_rows(own.d_context, d_context + in_context, width, first,
              Delta{context + in_context, v_bias + head * HEAD_DIM, width, sums});
#pragma unroll
    for (int half = 0; half < 2; half++) {
        sums[half] += __shfl_xor_sync(0xffffffff, sums[half], 1);
        sums[half] += __shfl_xor_sync(0xffffffff, sums[half], 2);
        const int token = first + lane / 4 + 8 * half;
        const u32 at = (image * params.heads + head) * TOKENS + token;
        own.terms[half] = term(token < TOKENS ? lse[at] : 0.f, sums[half], token);
        own.from[half] = TABLES ? query_offset(token) : 0;
        if (lane % 4 == 0 && token < TOKENS)
            delta[at] = sums[half];
    }
    set_zero(own.d_q);
#pragma unroll 1
    for (int stage = 0; stage < STAGES; stage++) {
        __syncthreads();
        copy_rows<16 * STAGE, THREADS>(base, x + width, stride, stage * STAGE * 16);
        copy_rows<16 * STAGE, THREADS>(base + STAGE_BYTES, x + 2 * width, stride, stage * STAGE * 16);
        commit_copies();
        if (TABLES)
            for (int i = threadIdx.x; i < 16 * STAGE; i += THREADS)
                offsets[i] = key_offset(stage * STAGE * 16 + i);
        wait_copies<0>();
        __syncthreads();
#pragma unroll 1
        for (int t = 0; t < STAGE && (stage * STAGE + t) * 16 < TOKENS; t++)
            add_keys(own, base + t * TILE_BYTES, base + STAGE_BYTES + t * TILE_BYTES, (stage * STAGE + t) * 16, bias,
                     offsets + 16 * t);
    }
    const float factors[2] = {params.scale, params.scale};
    store_rows<false>(d_qkv + first_row * stride + head * HEAD_DIM, stride, first, own.d_q[0], factors, nullptr);
}

// The stages of the two kernels over tiles of keys: queries, the gradient of their context, and their terms.
struct Stage {
    const __nv_bfloat16 *qkv, *d_context;
    const float *lse, *delta, *q_bias;
    unsigned char *memory;
    u32 base, heads, head;
    float scale;

    // Copies the stage that begins at token `first`.
    __device__ __forceinline__ void load(u32 image, int first) const {
        const u32 width = heads * HEAD_DIM;
        const size_t row = size_t(image) * TOKENS;
        __syncthreads();
        copy_rows<16 * STAGE, THREADS>(base, qkv + row * 3 * width + head * HEAD_DIM, 3 * size_t(width), first);
        copy_rows<16 * STAGE, THREADS>(base + STAGE_BYTES, d_context + row * width + head * HEAD_DIM, width, first);
        commit_copies();
        for (int i = threadIdx.x; i < 16 * STAGE; i += THREADS) {
            const int token = first + i;
            const u32 at = (image * heads + head) * TOKENS + token;
            const bool valid = token < TOKENS;
            ((Term *)(memory + TERMS_AT))[i] = term(valid ? lse[at] : 0.f, valid ? delta[at] : 0.f, token);
            if (TABLES)
                ((int *)(memory + OFFSETS_AT))[i] = query_offset(token);
        }
        wait_copies<0>();
        for (int e = threadIdx.x; e < 16 * STAGE * 8; e += THREADS) {
            uint4 *query = (uint4 *)(memory + chunk_offset(e / 8, e % 8));
            u32 pairs[4] = {query->x, query->y, query->z, query->w};
            if (first + e / 8 < TOKENS)
                add_and_scale(pairs, q_bias + head * HEAD_DIM + e % 8 * 8, scale);
            *query = {pairs[0], pairs[1], pairs[2], pairs[3]};
        }
        __syncthreads();
    }

    __device__ __forceinline__ QueryTile tile(int t) const {
        return {base + t * TILE_BYTES, base + STAGE_BYTES + t * TILE_BYTES, (const Term *)(memory + TERMS_AT) + 16 * t,
                (const int *)(memory + OFFSETS_AT) + 16 * t};
    }
};

// The positions of a warp's 16 keys: offsets into the bias, and which are tokens.
struct KeyPositions {
    int to[1][2];
    bool valid[1][2];

    __device__ __forceinline__ KeyPositions(int first) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int token = first + threadIdx.x % 32 / 4 + 8 * half;
            to[0][half] = TABLES ? key_offset(token) : 0;
            valid[0][half] = token < TOKENS;
        }
    }
};

// `dK` and `dV` of WARPS tiles of keys of one head of one image. Grid: [tiles / WARPS, heads, images].
extern "C" __global__ void __launch_bounds__(THREADS, MIN_BLOCKS)
    attention_backward_keys(const __nv_bfloat16 *__restrict__ qkv, const __nv_bfloat16 *__restrict__ d_context,
                            const float *__restrict__ lse, const float *__restrict__ delta, const float *__restrict__ q_bias,
                            const float *__restrict__ table, const float *__restrict__ shared_table,
                            __nv_bfloat16 *__restrict__ d_qkv, const Params params) {
    extern __shared__ __align__(1024) unsigned char dynamic_shared_mem[];
    float *bias = (float *)(dynamic_shared_mem + BIAS_AT);
    const int warp = threadIdx.x / 32;
    const u32 head = blockIdx.y, image = blockIdx.z;
    const u32 width = params.heads * HEAD_DIM;
    const size_t stride = 3 * width;
    const size_t first_row = size_t(image) * TOKENS;
    const __nv_bfloat16 *x = qkv + first_row * stride + head * HEAD_DIM;
    const ColumnFragments columns;
    const RowFragments rows;
    load_bias(bias, table, shared_table, head, params.heads);
    const Stage stage{qkv,    d_context, lse,          delta, q_bias, dynamic_shared_mem, shared_address(dynamic_shared_mem),
                      params.heads, head,   params.scale};

    const int first = (blockIdx.x * WARPS + warp) * 16;
    u32 k[1][4][4], v[1][4][4];
    load_rows(k[0], x + width, stride, first, Unchanged());
    load_rows(v[0], x + 2 * width, stride, first, Unchanged());
    const KeyPositions at(first);
    float d_k[1][8][4], d_v[1][8][4];
    set_zero(d_k);
    set_zero(d_v);
#pragma unroll 1
    for (int s = 0; s < STAGES; s++) {
        stage.load(image, s * STAGE * 16);
#pragma unroll 1
        for (int t = 0; t < STAGE; t++) {
            if ((s * STAGE + t) * 16 >= TOKENS)
                break;
            const QueryTile tile = stage.tile(t);
            float p[1][2][4], d[1][2][4];
            u32 a[1][4];
            probabilities<1>(p, RegisterKeys<1>{k}, tile, columns, bias, at.to, at.valid, first + 16 <= TOKENS);
            score_gradients<1>(d, p, v, tile, columns);
            to_left_operand(a[0], p[0]);
            add_product<1>(d_v, a, tile.d_context, rows);
            to_left_operand(a[0], d[0]);
            add_product<1>(d_k, a, tile.q, rows);
        }
    }
    const float ones[2] = {1, 1};
    __nv_bfloat16 *d_x = d_qkv + first_row * stride + head * HEAD_DIM;
    store_rows<false>(d_x + width, stride, first, d_k[0], ones, nullptr);
    store_rows<false>(d_x + 2 * width, stride, first, d_v[0], ones, nullptr);
}

// `d_scores [H, keys, queries]`: the sum over images of `dSᵀ`, for WARPS tiles of keys and STAGE tiles of queries of one head.
//
// Grid: [tiles / WARPS, tiles / STAGE, heads].
extern "C" __global__ void __launch_bounds__(THREADS, MIN_BLOCKS)
    attention_backward_scores(const __nv_bfloat16 *__restrict__ qkv, const __nv_bfloat16 *__restrict__ d_context,
                              const float *__restrict__ lse, const float *__restrict__ delta, const float *__restrict__ q_bias,
                              const float *__restrict__ table, const float *__restrict__ shared_table, float *__restrict__ d_scores,
                              const Params params) {
    extern __shared__ __align__(1024) unsigned char dynamic_shared_mem[];
    float *bias = (float *)(dynamic_shared_mem + BIAS_AT);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const u32 head = blockIdx.z;
    const u32 width = params.heads * HEAD_DIM;
    const size_t stride = 3 * width;
    const ColumnFragments columns;
    load_bias(bias, table, shared_table, head, params.heads);
    const Stage stage{qkv,    d_context, lse,          delta, q_bias, dynamic_shared_mem, shared_address(dynamic_shared_mem),
                      params.heads, head,   params.scale};
    const int first = (blockIdx.x * WARPS + warp) * 16, first_query = blockIdx.y * STAGE * 16;
    const KeyPositions at(first);
    float sums[STAGE][2][4];
#pragma unroll
    for (int i = 0; i < 8 * STAGE; i++)
        sums[i / 8][i / 4 % 2][i % 4] = 0;
#pragma unroll 1
    for (u32 image = 0; image < params.batch; image++) {
        const __nv_bfloat16 *x = qkv + image * (TOKENS * stride) + head * HEAD_DIM;
        u32 k[1][4][4], v[1][4][4];
        load_rows(k[0], x + width, stride, first, Unchanged());
        load_rows(v[0], x + 2 * width, stride, first, Unchanged());
        stage.load(image, first_query);
#pragma unroll
        for (int t = 0; t < STAGE; t++) {
            const QueryTile tile = stage.tile(t);
            float p[1][2][4], d[1][2][4];
            probabilities<1>(p, RegisterKeys<1>{k}, tile, columns, bias, at.to, at.valid, first + 16 <= TOKENS);
            score_gradients<1>(d, p, v, tile, columns);
#pragma unroll
            for (int i = 0; i < 8; i++)
                sums[t][i / 4][i % 4] += d[0][i / 4][i % 4];
        }
    }
#pragma unroll
    for (int i = 0; i < 8 * STAGE; i++) {
        const int query = first_query + i / 8 * 16 + i / 4 % 2 * 8 + lane % 4 * 2 + i % 2;
        const int key = first + lane / 4 + i / 2 % 2 * 8;
        if (query < TOKENS && key < TOKENS)
            d_scores[(size_t(head) * TOKENS + key) * TOKENS + query] = sums[i / 8][i / 4 % 2][i % 4];
    }
}

// `d_table [R, H] +=` the sums of `d_scores [H, keys, queries]` over the pairs that read a row. A warp for each element.
//
// Grid: [R · H / 8].
extern "C" __global__ void __launch_bounds__(256)
    attention_fold_scores(const float *__restrict__ d_scores, float *__restrict__ d_table, float *__restrict__ d_shared_table,
                   const Params params) {
    const u32 e = blockIdx.x * 8 + threadIdx.x / 32;
    if (e >= BIAS_ROWS * params.heads)
        return;
    const int lane = threadIdx.x % 32, head = e / BIAS_ROWS, row = e % BIAS_ROWS;
    const float *scores = d_scores + size_t(head) * TOKENS * TOKENS;
    float sum = 0;
    if (row == BIAS_ROWS - 1) {
        sum = lane ? 0.f : scores[0];
    } else if (row >= BIAS_ROWS - 3) {
        const int step = row == BIAS_ROWS - 2 ? 1 : TOKENS;
        for (int i = 1 + lane; i < TOKENS; i += 32)
            sum += scores[i * step];
    } else {
        const int down = row / ACROSS - (WINDOW_H - 1), right = row % ACROSS - (WINDOW_W - 1);
        const int lines = WINDOW_H - (down < 0 ? -down : down), columns = WINDOW_W - (right < 0 ? -right : right);
        const int line = down < 0 ? -down : 0, column = right < 0 ? -right : 0;
        for (int i = lane; i < lines * columns; i += 32) {
            const int key = (line + i / columns) * WINDOW_W + column + i % columns + 1;
            sum += scores[key * TOKENS + key + down * WINDOW_W + right];
        }
    }
#pragma unroll
    for (int distance = 16; distance; distance /= 2)
        sum += __shfl_xor_sync(0xffffffff, sum, distance);
    if (lane == 0) {
        if (params.gradients & 1)
            d_table[row * params.heads + head] += sum;
        if (params.gradients & 2)
            d_shared_table[row * params.heads + head] += sum;
    }
}
