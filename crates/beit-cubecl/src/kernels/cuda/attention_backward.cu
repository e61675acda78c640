// With `P` the softmax and `delta = rowsum(dO · (O - v_bias))`: `dV = Pᵀ dO`, `dS = P · (dO Vᵀ - delta)` where V has no bias,
// `dQ = scale · dS K`, `dK = dSᵀ (Q + q_bias) · scale`, and the table's rows are sums of `dS`. Every result has one writer and a
// fixed order of additions.
//
// RESIDENT 1: a block keeps all that one head of one image needs in shared memory, and takes the images of its group one after another.
// RESIDENT 0: two kernels, one over the queries of a tile of keys and one over the keys of a tile of queries; the table has a third.
//
// WARPS, MIN_BLOCKS.

constexpr int THREADS = 32 * WARPS;
constexpr int TILE_BYTES = 16 * ROW;

// What the scores of a query need: its log-sum-exp times log2 e, and `-delta`.
typedef float2 Term;

__device__ __forceinline__ Term term(float lse, float delta, int token) {
    const Term known = {lse * LOG2_E, -delta}, none = {LARGE, 0};
    return token < TOKENS ? known : none;
}

// Sum of the products of 8 elements of the context's gradient and of the context without bias.
__device__ __forceinline__ float row_product(const u32 (&d_context)[4], const u32 (&context)[4], const float *v_bias) {
    const float4 first = *(const float4 *)v_bias, second = *(const float4 *)(v_bias + 4);
    const float b[8] = {first.x, first.y, first.z, first.w, second.x, second.y, second.z, second.w};
    float sum = 0;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        sum += low(d_context[i]) * (low(context[i]) - b[2 * i]);
        sum += high(d_context[i]) * (high(context[i]) - b[2 * i + 1]);
    }
    return sum;
}

// A tile of 16 queries in shared memory, as all threads see it.
struct QueryTile {
    u32 q, d_context;
    const Term *terms;
    const int *places;
};

// `Sᵀ`, then `P`: `M` tiles of 16 keys by 16 queries. `keys(fragment, m, step)` gives the keys.
template <int M, class Keys>
__device__ __forceinline__ void probabilities(float (&p)[M][2][4], Keys keys, const QueryTile &tile, const AsColumns &columns,
                                              const float *bias, const int (&to)[M][2], const bool (&valid)[M][2], bool whole) {
    const int lane = threadIdx.x % 32;
    float lse[2][2];
#pragma unroll
    for (int n = 0; n < 2; n++) {
        const int column = 8 * n + lane % 4 * 2;
        lse[n][0] = tile.terms[column].x;
        lse[n][1] = tile.terms[column + 1].x;
        int2 from = {0, 0};
        if (TABLES)
            from = *(const int2 *)(tile.places + column);
#pragma unroll
        for (int m = 0; m < M; m++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                p[m][n][i] = TABLES ? bias_at(bias, (i % 2 ? from.y : from.x) + to[m][i / 2]) : 0.f;
    }
#pragma unroll
    for (int step = 0; step < 4; step++) {
        u32 q[4];
        load_matrices(q, tile.q + columns.at(step));
#pragma unroll
        for (int m = 0; m < M; m++) {
            u32 k[4];
            keys(k, m, step);
            multiply_add(p[m][0], k, q[0], q[1]);
            multiply_add(p[m][1], k, q[2], q[3]);
        }
    }
#pragma unroll
    for (int i = 0; i < 8 * M; i++)
        p[i / 8][i / 4 % 2][i % 4] = exp2_fast(p[i / 8][i / 4 % 2][i % 4] * LOG2_E - lse[i / 4 % 2][i % 2]);
    if (!whole) {
#pragma unroll
        for (int i = 0; i < 8 * M; i++)
            p[i / 8][i / 4 % 2][i % 4] = valid[i / 8][i / 2 % 2] ? p[i / 8][i / 4 % 2][i % 4] : 0.f;
    }
}

// `dSᵀ = P · (V dOᵀ - delta)`
template <int M>
__device__ __forceinline__ void score_gradients(float (&d)[M][2][4], const float (&p)[M][2][4], const u32 (&v)[M][4][4],
                                                const QueryTile &tile, const AsColumns &columns) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int n = 0; n < 2; n++) {
        const int column = 8 * n + lane % 4 * 2;
        const float first = tile.terms[column].y, second = tile.terms[column + 1].y;
#pragma unroll
        for (int m = 0; m < M; m++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                d[m][n][i] = i % 2 ? second : first;
    }
#pragma unroll
    for (int step = 0; step < 4; step++) {
        u32 x[4];
        load_matrices(x, tile.d_context + columns.at(step));
#pragma unroll
        for (int m = 0; m < M; m++) {
            multiply_add(d[m][0], v[m][step], x[0], x[1]);
            multiply_add(d[m][1], v[m][step], x[2], x[3]);
        }
    }
#pragma unroll
    for (int i = 0; i < 8 * M; i++)
        d[i / 8][i / 4 % 2][i % 4] *= p[i / 8][i / 4 % 2][i % 4];
}

// `sums [16, 64] += a [16, 16] · x [16, 64]`, for `M` tiles.
template <int M>
__device__ __forceinline__ void add_product(float (&sums)[M][8][4], const u32 (&a)[M][4], u32 x, const AsRows &rows) {
#pragma unroll
    for (int step = 0; step < 4; step++) {
        u32 b[4];
        load_matrices_transposed(b, x + rows.at(step));
#pragma unroll
        for (int m = 0; m < M; m++) {
            multiply_add(sums[m][2 * step], a[m], b[0], b[1]);
            multiply_add(sums[m][2 * step + 1], a[m], b[2], b[3]);
        }
    }
}

template <int M> __device__ __forceinline__ void clear(float (&sums)[M][8][4]) {
#pragma unroll
    for (int i = 0; i < 32 * M; i++)
        sums[i / 32][i / 4 % 8][i % 4] = 0;
}

// Keys in shared memory, loaded whenever they are multiplied.
template <int M> struct SharedKeys {
    u32 tiles[M];
    AsRows rows;
    __device__ __forceinline__ void operator()(u32 (&k)[4], int m, int step) const { load_matrices(k, tiles[m] + rows.at(step)); }
};

template <int M> struct KeptKeys {
    const u32 (&kept)[M][4][4];
    __device__ __forceinline__ void operator()(u32 (&k)[4], int m, int step) const {
#pragma unroll
        for (int i = 0; i < 4; i++)
            k[i] = kept[m][step][i];
    }
};

#if RESIDENT

// Whether a warp keeps its keys in registers.
#ifndef KEEP_KEYS
#define KEEP_KEYS 0
#endif
// Tiles of keys, then of queries, that a warp has at once.
#ifndef ROW_TILES
#define ROW_TILES 1
#endif

constexpr int HEAD_BYTES = PADDED * ROW;
// A row of `dSᵀ`: an odd number of parts of 16 bytes, so that eight rows' equal parts lie in different banks.
constexpr int SCORES_ROW = 2 * PADDED + 16;
constexpr int Q_AT = 0;
constexpr int D_CONTEXT_AT = HEAD_BYTES;
constexpr int KEYS_AT = 2 * HEAD_BYTES;
constexpr int SCORES_AT = 4 * HEAD_BYTES;
constexpr int TERMS_AT = SCORES_AT + PADDED * SCORES_ROW;
constexpr int PLACES_AT = TERMS_AT + 8 * PADDED;
constexpr int BIAS_AT = PLACES_AT + (TABLES ? 4 * PADDED : 0);
constexpr int BACKWARD_SHARED = BIAS_AT + 4 * BIAS_KEPT;
static_assert(BACKWARD_SHARED <= 227 * 1024, "too many tokens");

constexpr int ROUNDS = (TILES + WARPS * ROW_TILES - 1) / (WARPS * ROW_TILES);
constexpr int PARTS = (PADDED * 8 + THREADS - 1) / THREADS;

// The gradient of the table in registers. A warp has the lines of patches that are `d` lines after their key's line, and those that are
// `WINDOW_H - d` before: one query's line for every key's line. A lane has one distance of columns; the three lanes behind have [CLS].
constexpr int SLOTS = (WINDOW_H + WARPS - 1) / WARPS;
static_assert(!TABLES || ACROSS + 3 <= 32, "a window too wide");
static_assert(!TABLES || WINDOW_H * WINDOW_W + 1 == TOKENS, "tokens of another window");

__device__ __forceinline__ float score_at(const unsigned char *scores, int offset) {
    return low(*(const unsigned short *)(scores + offset));
}

__device__ __forceinline__ void fold_scores(float (&fold)[SLOTS][2], const unsigned char *scores) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
    for (int slot = 0; slot < SLOTS; slot++) {
        const int d = warp + slot * WARPS;
        if (d >= WINDOW_H)
            break;
        if (lane < ACROSS) {
            const int right = lane - (WINDOW_W - 1);
#pragma unroll
            for (int before = 0; before < 2; before++) {
                const int from = before ? WINDOW_H - d : 0, to = before ? WINDOW_H : WINDOW_H - d;
                float sum = fold[slot][before];
#pragma unroll 1
                for (int line = from; line < to; line++) {
                    const int q_line = before ? line + d - WINDOW_H : line + d;
                    const int at = (line * WINDOW_W + 1) * SCORES_ROW + 2 * (q_line * WINDOW_W + right + 1);
#pragma unroll
                    for (int column = 0; column < WINDOW_W; column++)
                        if (unsigned(column + right) < unsigned(WINDOW_W))
                            sum += score_at(scores, at + column * (SCORES_ROW + 2));
                }
                fold[slot][before] = sum;
            }
        } else if (lane < ACROSS + 2) {
            const bool keys = lane == ACROSS + 1;
            const int step = keys ? SCORES_ROW : 2;
            float sum = fold[slot][0];
#pragma unroll 2
            for (int column = 0; column < WINDOW_W; column++)
                sum += score_at(scores, (d * WINDOW_W + 1 + column) * step);
            fold[slot][0] = sum;
        } else if (lane == ACROSS + 2 && d == 0) {
            fold[slot][0] += score_at(scores, 0);
        }
    }
}

// All gradients of the images `blockIdx.x`, `blockIdx.x + groups`, ... of head `blockIdx.y`; of the table `partials [groups, H, R]`.
//
// Grid: [groups, heads]. Shared memory: `BACKWARD_SHARED` bytes.
extern "C" __global__ void __launch_bounds__(THREADS, MIN_BLOCKS)
    attention_backward(const __nv_bfloat16 *__restrict__ qkv, const __nv_bfloat16 *__restrict__ d_context,
                       const __nv_bfloat16 *__restrict__ context, const float *__restrict__ lse, const float *__restrict__ q_bias,
                       const float *__restrict__ v_bias, const float *__restrict__ table, const float *__restrict__ shared_table,
                       __nv_bfloat16 *__restrict__ d_qkv, float *__restrict__ partials, const Params params) {
    extern __shared__ __align__(1024) unsigned char dynamic_shared_mem[];
    const u32 base = shared_address(dynamic_shared_mem);
    float *bias = (float *)(dynamic_shared_mem + BIAS_AT);
    int *places = (int *)(dynamic_shared_mem + PLACES_AT);
    Term *terms = (Term *)(dynamic_shared_mem + TERMS_AT);
    unsigned char *scores = dynamic_shared_mem + SCORES_AT;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const u32 head = blockIdx.y;
    const u32 width = params.heads * HEAD_DIM;
    const size_t stride = 3 * width;
    // The column of a thread's parts.
    const int column = head * HEAD_DIM + threadIdx.x % 8 * 8;
    const AsColumns columns;
    const AsRows rows;

    float fold[SLOTS][2];
#pragma unroll
    for (int slot = 0; slot < SLOTS; slot++)
        fold[slot][0] = fold[slot][1] = 0;

    // The context and, of a warp's first tile, the values: on their way while the image before is finished.
    uint4 o[PARTS], raw[ROW_TILES][4];
    auto begin = [&](u32 image, int buffer) {
        const __nv_bfloat16 *x = qkv + image * (TOKENS * stride) + head * HEAD_DIM;
        const size_t row = size_t(image) * TOKENS;
        copy_rows<PADDED, THREADS>(base + Q_AT, x, stride, 0);
        copy_rows<PADDED, THREADS>(base + D_CONTEXT_AT, d_context + row * width + head * HEAD_DIM, width, 0);
        copy_rows<PADDED, THREADS>(base + KEYS_AT + buffer * HEAD_BYTES, x + width, stride, 0);
        commit_copies();
#pragma unroll
        for (int i = 0; i < PARTS; i++) {
            const int token = (threadIdx.x + i * THREADS) / 8;
            if (token < TOKENS)
                o[i] = *(const uint4 *)(context + (row + token) * width + column);
            else
                o[i] = {0, 0, 0, 0};
        }
#pragma unroll
        for (int i = 0; i < 4 * ROW_TILES; i++) {
            const int token = warp * (16 * ROW_TILES) + i / 4 * 16 + lane / 4 + i / 2 % 2 * 8;
            if (token < TOKENS)
                raw[i / 4][i % 4] = *(const uint4 *)(x + 2 * width + token * stride + i % 2 * 32 + lane % 4 * 8);
            else
                raw[i / 4][i % 4] = {0, 0, 0, 0};
        }
    };
    if (blockIdx.x < params.batch)
        begin(blockIdx.x, 0);
    load_bias(bias, table, shared_table, head, params.heads);
    if (TABLES)
        for (int token = threadIdx.x; token < PADDED; token += THREADS)
            places[token] = query_place(token);

    int buffer = 0;
#pragma unroll 1
    for (u32 image = blockIdx.x; image < params.batch; image += params.groups, buffer ^= 1) {
        const size_t first_row = size_t(image) * TOKENS;
        const u32 keys = base + KEYS_AT + buffer * HEAD_BYTES;
        __nv_bfloat16 *d_x = d_qkv + first_row * stride + head * HEAD_DIM;

        // Each thread finishes what it copied itself.
        wait_copies<0>();
#pragma unroll
        for (int i = 0; i < PARTS; i++) {
            const int e = threadIdx.x + i * THREADS;
            if (e < PADDED * 8) {
                const int token = e / 8;
                const u32 at = part_offset(token, e % 8);
                uint4 *place = (uint4 *)(dynamic_shared_mem + Q_AT + at);
                u32 pairs[4] = {place->x, place->y, place->z, place->w};
                if (token < TOKENS)
                    add_and_scale(pairs, q_bias + column, params.scale);
                *place = {pairs[0], pairs[1], pairs[2], pairs[3]};
                const uint4 d = *(const uint4 *)(dynamic_shared_mem + D_CONTEXT_AT + at);
                const u32 d_pairs[4] = {d.x, d.y, d.z, d.w}, o_pairs[4] = {o[i].x, o[i].y, o[i].z, o[i].w};
                float delta = row_product(d_pairs, o_pairs, v_bias + column);
                delta += __shfl_xor_sync(0xffffffff, delta, 1);
                delta += __shfl_xor_sync(0xffffffff, delta, 2);
                delta += __shfl_xor_sync(0xffffffff, delta, 4);
                if (e % 8 == 0)
                    terms[token] = term(token < TOKENS ? lse[(image * params.heads + head) * TOKENS + token] : 0.f, delta, token);
            }
        }
        __syncthreads();

#pragma unroll 1
        for (int round = 0; round < ROUNDS; round++) {
            const int first = (round * WARPS + warp) * (16 * ROW_TILES);
            if (first >= TOKENS)
                break;
            u32 v[ROW_TILES][4][4];
            SharedKeys<ROW_TILES> shared_keys;
            int to[ROW_TILES][2];
            bool valid[ROW_TILES][2], whole = true;
#pragma unroll
            for (int m = 0; m < ROW_TILES; m++) {
                const int first_key = first + 16 * m;
                if (round == 0) {
#pragma unroll
                    for (int i = 0; i < 4; i++) {
                        u32 pairs[4] = {raw[m][i].x, raw[m][i].y, raw[m][i].z, raw[m][i].w};
                        exchange(pairs);
#pragma unroll
                        for (int j = 0; j < 4; j++)
                            v[m][i % 2 * 2 + j / 2][j % 2 * 2 + i / 2] = pairs[j];
                    }
                } else {
                    load_rows(v[m], qkv + first_row * stride + 2 * width + head * HEAD_DIM, stride, first_key, Same());
                }
                // The last warp may have a tile beyond the last: it is multiplied and not kept.
                shared_keys.tiles[m] = keys + (first_key < PADDED ? first_key : 0) * ROW;
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    const int token = first_key + lane / 4 + 8 * half;
                    to[m][half] = TABLES ? key_place(token) : 0;
                    valid[m][half] = token < TOKENS;
                }
                whole = whole && first_key + 16 <= TOKENS;
            }
#if KEEP_KEYS
            u32 k[ROW_TILES][4][4];
#pragma unroll
            for (int i = 0; i < 4 * ROW_TILES; i++)
                shared_keys(k[i / 4][i % 4], i / 4, i % 4);
            const KeptKeys<ROW_TILES> tile_keys{k};
#else
            const SharedKeys<ROW_TILES> &tile_keys = shared_keys;
#endif
            float d_k[ROW_TILES][8][4], d_v[ROW_TILES][8][4];
            clear(d_k);
            clear(d_v);
            unsigned char *row = scores + (first + lane / 4) * SCORES_ROW + lane % 4 * 4;
#pragma unroll 1
            for (int t = 0; t < TILES; t++) {
                const QueryTile tile{base + Q_AT + t * TILE_BYTES, base + D_CONTEXT_AT + t * TILE_BYTES, terms + 16 * t, places + 16 * t};
                float p[ROW_TILES][2][4], d[ROW_TILES][2][4];
                u32 a[ROW_TILES][4];
                probabilities<ROW_TILES>(p, tile_keys, tile, columns, bias, to, valid, whole);
                score_gradients<ROW_TILES>(d, p, v, tile, columns);
#pragma unroll
                for (int m = 0; m < ROW_TILES; m++)
                    as_left(a[m], p[m]);
                add_product<ROW_TILES>(d_v, a, tile.d_context, rows);
#pragma unroll
                for (int m = 0; m < ROW_TILES; m++) {
                    as_left(a[m], d[m]);
                    if (m == 0 || first + 16 * m < PADDED) {
#pragma unroll
                        for (int i = 0; i < 4; i++)
                            *(u32 *)(row + (16 * m + i % 2 * 8) * SCORES_ROW + 32 * t + i / 2 * 16) = a[m][i];
                    }
                }
                add_product<ROW_TILES>(d_k, a, tile.q, rows);
            }
            const float ones[2] = {1, 1};
#pragma unroll
            for (int m = 0; m < ROW_TILES; m++) {
                store_rows<false>(d_x + width, stride, first + 16 * m, d_k[m], ones, nullptr);
                store_rows<false>(d_x + 2 * width, stride, first + 16 * m, d_v[m], ones, nullptr);
            }
        }
        __syncthreads();

        if (image + params.groups < params.batch)
            begin(image + params.groups, buffer ^ 1);
#pragma unroll 1
        for (int round = 0; round < ROUNDS; round++) {
            const int first = (round * WARPS + warp) * (16 * ROW_TILES);
            if (first >= TOKENS)
                break;
            float d_q[ROW_TILES][8][4];
            clear(d_q);
            u32 at[ROW_TILES];
#pragma unroll
            for (int m = 0; m < ROW_TILES; m++) {
                const int first_query = first + 16 * m < PADDED ? first + 16 * m : 0;
                at[m] = base + SCORES_AT + (lane % 8 + lane / 16 * 8) * SCORES_ROW + 2 * first_query + lane / 8 % 2 * 16;
            }
#pragma unroll 2
            for (int t = 0; t < TILES; t++) {
                u32 a[ROW_TILES][4];
#pragma unroll
                for (int m = 0; m < ROW_TILES; m++)
                    load_matrices_transposed(a[m], at[m] + t * 16 * SCORES_ROW);
                add_product<ROW_TILES>(d_q, a, keys + t * TILE_BYTES, rows);
            }
            const float factors[2] = {params.scale, params.scale};
#pragma unroll
            for (int m = 0; m < ROW_TILES; m++)
                store_rows<false>(d_x, stride, first + 16 * m, d_q[m], factors, nullptr);
        }
        if (TABLES && params.gradients)
            fold_scores(fold, scores);
    }

    if (TABLES && params.gradients) {
        __syncthreads();
        float *cls = (float *)(dynamic_shared_mem + SCORES_AT);
        float *out = partials + (blockIdx.x * params.heads + head) * BIAS_ROWS;
#pragma unroll
        for (int slot = 0; slot < SLOTS; slot++) {
            const int d = warp + slot * WARPS;
            if (d < WINDOW_H) {
                if (lane < ACROSS) {
                    out[(d + WINDOW_H - 1) * ACROSS + lane] = fold[slot][0];
                    if (d > 0)
                        out[(d - 1) * ACROSS + lane] = fold[slot][1];
                } else if (lane < ACROSS + 2) {
                    cls[(lane - ACROSS) * WINDOW_H + d] = fold[slot][0];
                } else if (lane == ACROSS + 2 && d == 0) {
                    out[BIAS_ROWS - 1] = fold[slot][0];
                }
            }
        }
        __syncthreads();
        if (threadIdx.x < 2) {
            float sum = 0;
            for (int d = 0; d < WINDOW_H; d++)
                sum += cls[threadIdx.x * WINDOW_H + d];
            out[BIAS_ROWS - 2 - int(threadIdx.x)] = sum;
        }
    }
}

// `d_table [R, H] +=` the sum of `partials [groups, H, R]`. Grid: one thread for each element.
extern "C" __global__ void __launch_bounds__(256)
    attention_fold(const float *__restrict__ partials, float *__restrict__ d_table, float *__restrict__ d_shared_table,
                   const Params params) {
    const u32 e = blockIdx.x * 256 + threadIdx.x;
    if (e >= BIAS_ROWS * params.heads)
        return;
    const u32 head = e / BIAS_ROWS, row = e % BIAS_ROWS;
    float sum = 0;
    for (u32 group = 0; group < params.groups; group++)
        sum += partials[(group * params.heads + head) * BIAS_ROWS + row];
    if (params.gradients & 1)
        d_table[row * params.heads + head] += sum;
    if (params.gradients & 2)
        d_shared_table[row * params.heads + head] += sum;
}

#else

// Tiles that shared memory holds at once.
constexpr int STAGE = 4;
constexpr int STAGES = (TILES + STAGE - 1) / STAGE;
constexpr int STAGE_BYTES = STAGE * TILE_BYTES;
constexpr int TERMS_AT = 2 * STAGE_BYTES;
constexpr int PLACES_AT = TERMS_AT + 8 * 16 * STAGE;
constexpr int BIAS_AT = PLACES_AT + 4 * 16 * STAGE;
constexpr int BACKWARD_SHARED = BIAS_AT + 4 * BIAS_KEPT;

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

// `dQ` of `WARPS` tiles of queries of one head of one image, and `delta [B, H, T]`.
//
// Grid: [tiles / WARPS, heads, batch]. Shared memory of this kernel and of the next two: `BACKWARD_SHARED` bytes.
extern "C" __global__ void __launch_bounds__(THREADS, MIN_BLOCKS)
    attention_backward_queries(const __nv_bfloat16 *__restrict__ qkv, const __nv_bfloat16 *__restrict__ d_context,
                               const __nv_bfloat16 *__restrict__ context, const float *__restrict__ lse,
                               const float *__restrict__ q_bias, const float *__restrict__ v_bias, const float *__restrict__ table,
                               const float *__restrict__ shared_table, __nv_bfloat16 *__restrict__ d_qkv, float *__restrict__ delta,
                               const Params params) {
    extern __shared__ __align__(1024) unsigned char dynamic_shared_mem[];
    const u32 base = shared_address(dynamic_shared_mem);
    float *bias = (float *)(dynamic_shared_mem + BIAS_AT);
    int *places = (int *)(dynamic_shared_mem + PLACES_AT);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const u32 head = blockIdx.y, image = blockIdx.z;
    const u32 width = params.heads * HEAD_DIM;
    const size_t stride = 3 * width;
    const size_t first_row = size_t(image) * TOKENS;
    const __nv_bfloat16 *x = qkv + first_row * stride + head * HEAD_DIM;
    const AsColumns columns;
    const AsRows rows;
    load_bias(bias, table, shared_table, head, params.heads);

    const int first = (blockIdx.x * WARPS + warp) * 16;
    u32 q[4][4], d_o[4][4];
    float sums[2] = {0, 0};
    load_rows(q, x, stride, first, Queries{q_bias + head * HEAD_DIM, params.scale});
    load_rows(d_o, d_context + first_row * width + head * HEAD_DIM, width, first,
              Delta{context + first_row * width + head * HEAD_DIM, v_bias + head * HEAD_DIM, width, sums});
    Term terms[2];
    int from[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        sums[half] += __shfl_xor_sync(0xffffffff, sums[half], 1);
        sums[half] += __shfl_xor_sync(0xffffffff, sums[half], 2);
        const int token = first + lane / 4 + 8 * half;
        const u32 at = (image * params.heads + head) * TOKENS + token;
        terms[half] = term(token < TOKENS ? lse[at] : 0.f, sums[half], token);
        from[half] = TABLES ? query_place(token) : 0;
        if (lane % 4 == 0 && token < TOKENS)
            delta[at] = sums[half];
    }
    float d_q[1][8][4];
    clear(d_q);
#pragma unroll 1
    for (int stage = 0; stage < STAGES; stage++) {
        __syncthreads();
        copy_rows<16 * STAGE, THREADS>(base, x + width, stride, stage * STAGE * 16);
        copy_rows<16 * STAGE, THREADS>(base + STAGE_BYTES, x + 2 * width, stride, stage * STAGE * 16);
        commit_copies();
        if (TABLES)
            for (int i = threadIdx.x; i < 16 * STAGE; i += THREADS)
                places[i] = key_place(stage * STAGE * 16 + i);
        wait_copies<0>();
        __syncthreads();
#pragma unroll 1
        for (int t = 0; t < STAGE; t++) {
            const int first_key = (stage * STAGE + t) * 16;
            if (first_key >= TOKENS)
                break;
            float s[2][4], d[2][4];
#pragma unroll
            for (int n = 0; n < 2; n++) {
                int2 to = {0, 0};
                if (TABLES)
                    to = *(const int2 *)(places + 16 * t + 8 * n + lane % 4 * 2);
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    s[n][i] = TABLES ? bias_at(bias, from[i / 2] + (i % 2 ? to.y : to.x)) : 0.f;
                    d[n][i] = terms[i / 2].y;
                }
            }
#pragma unroll
            for (int step = 0; step < 4; step++) {
                u32 k[4], v[4];
                load_matrices(k, base + t * TILE_BYTES + columns.at(step));
                load_matrices(v, base + STAGE_BYTES + t * TILE_BYTES + columns.at(step));
                multiply_add(s[0], q[step], k[0], k[1]);
                multiply_add(s[1], q[step], k[2], k[3]);
                multiply_add(d[0], d_o[step], v[0], v[1]);
                multiply_add(d[1], d_o[step], v[2], v[3]);
            }
#pragma unroll
            for (int n = 0; n < 2; n++)
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    const bool valid = first_key + 8 * n + lane % 4 * 2 + i % 2 < TOKENS;
                    d[n][i] = valid ? d[n][i] * exp2_fast(s[n][i] * LOG2_E - terms[i / 2].x) : 0.f;
                }
            u32 a[1][4];
            as_left(a[0], d);
            add_product<1>(d_q, a, base + t * TILE_BYTES, rows);
        }
    }
    const float factors[2] = {params.scale, params.scale};
    store_rows<false>(d_qkv + first_row * stride + head * HEAD_DIM, stride, first, d_q[0], factors, nullptr);
}

// What the two kernels over tiles of keys share: queries, the context's gradient and their terms of a stage.
struct Stage {
    const __nv_bfloat16 *qkv, *d_context;
    const float *lse, *delta, *q_bias;
    unsigned char *memory;
    u32 base, heads, head;
    float scale;

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
                ((int *)(memory + PLACES_AT))[i] = query_place(token);
        }
        wait_copies<0>();
        for (int e = threadIdx.x; e < 16 * STAGE * 8; e += THREADS) {
            uint4 *place = (uint4 *)(memory + part_offset(e / 8, e % 8));
            u32 pairs[4] = {place->x, place->y, place->z, place->w};
            if (first + e / 8 < TOKENS)
                add_and_scale(pairs, q_bias + head * HEAD_DIM + e % 8 * 8, scale);
            *place = {pairs[0], pairs[1], pairs[2], pairs[3]};
        }
        __syncthreads();
    }

    __device__ __forceinline__ QueryTile tile(int t) const {
        return {base + t * TILE_BYTES, base + STAGE_BYTES + t * TILE_BYTES, (const Term *)(memory + TERMS_AT) + 16 * t,
                (const int *)(memory + PLACES_AT) + 16 * t};
    }
};

// `dK` and `dV` of `WARPS` tiles of keys of one head of one image. Grid: [tiles / WARPS, heads, batch].
extern "C" __global__ void __launch_bounds__(THREADS, MIN_BLOCKS)
    attention_backward_keys(const __nv_bfloat16 *__restrict__ qkv, const __nv_bfloat16 *__restrict__ d_context,
                            const float *__restrict__ lse, const float *__restrict__ delta, const float *__restrict__ q_bias,
                            const float *__restrict__ table, const float *__restrict__ shared_table,
                            __nv_bfloat16 *__restrict__ d_qkv, const Params params) {
    extern __shared__ __align__(1024) unsigned char dynamic_shared_mem[];
    float *bias = (float *)(dynamic_shared_mem + BIAS_AT);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const u32 head = blockIdx.y, image = blockIdx.z;
    const u32 width = params.heads * HEAD_DIM;
    const size_t stride = 3 * width;
    const size_t first_row = size_t(image) * TOKENS;
    const __nv_bfloat16 *x = qkv + first_row * stride + head * HEAD_DIM;
    const AsColumns columns;
    const AsRows rows;
    load_bias(bias, table, shared_table, head, params.heads);
    const Stage stage{qkv,    d_context, lse,          delta, q_bias, dynamic_shared_mem, shared_address(dynamic_shared_mem),
                      params.heads, head,   params.scale};

    const int first = (blockIdx.x * WARPS + warp) * 16;
    u32 k[1][4][4], v[1][4][4];
    load_rows(k[0], x + width, stride, first, Same());
    load_rows(v[0], x + 2 * width, stride, first, Same());
    int to[1][2];
    bool valid[1][2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int token = first + lane / 4 + 8 * half;
        to[0][half] = TABLES ? key_place(token) : 0;
        valid[0][half] = token < TOKENS;
    }
    float d_k[1][8][4], d_v[1][8][4];
    clear(d_k);
    clear(d_v);
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
            probabilities<1>(p, KeptKeys<1>{k}, tile, columns, bias, to, valid, first + 16 <= TOKENS);
            score_gradients<1>(d, p, v, tile, columns);
            as_left(a[0], p[0]);
            add_product<1>(d_v, a, tile.d_context, rows);
            as_left(a[0], d[0]);
            add_product<1>(d_k, a, tile.q, rows);
        }
    }
    const float ones[2] = {1, 1};
    __nv_bfloat16 *d_x = d_qkv + first_row * stride + head * HEAD_DIM;
    store_rows<false>(d_x + width, stride, first, d_k[0], ones, nullptr);
    store_rows<false>(d_x + 2 * width, stride, first, d_v[0], ones, nullptr);
}

// `d_scores [H, keys, queries]`: the sum over images of `dSᵀ`, for `WARPS` tiles of keys and `STAGE` tiles of queries of one head.
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
    const AsColumns columns;
    load_bias(bias, table, shared_table, head, params.heads);
    const Stage stage{qkv,    d_context, lse,          delta, q_bias, dynamic_shared_mem, shared_address(dynamic_shared_mem),
                      params.heads, head,   params.scale};
    const int first = (blockIdx.x * WARPS + warp) * 16, first_query = blockIdx.y * STAGE * 16;
    int to[1][2];
    bool valid[1][2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int token = first + lane / 4 + 8 * half;
        to[0][half] = TABLES ? key_place(token) : 0;
        valid[0][half] = token < TOKENS;
    }
    float sums[STAGE][2][4];
#pragma unroll
    for (int i = 0; i < 8 * STAGE; i++)
        sums[i / 8][i / 4 % 2][i % 4] = 0;
#pragma unroll 1
    for (u32 image = 0; image < params.batch; image++) {
        const __nv_bfloat16 *x = qkv + image * (TOKENS * stride) + head * HEAD_DIM;
        u32 k[1][4][4], v[1][4][4];
        load_rows(k[0], x + width, stride, first, Same());
        load_rows(v[0], x + 2 * width, stride, first, Same());
        stage.load(image, first_query);
#pragma unroll
        for (int t = 0; t < STAGE; t++) {
            const QueryTile tile = stage.tile(t);
            float p[1][2][4], d[1][2][4];
            probabilities<1>(p, KeptKeys<1>{k}, tile, columns, bias, to, valid, first + 16 <= TOKENS);
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
    attention_fold(const float *__restrict__ d_scores, float *__restrict__ d_table, float *__restrict__ d_shared_table,
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

#endif
