// Attention backward with all of a head in shared memory: short sequences. See attention_backward.cuh for one tile of queries
// and keys.
//
//   grid: [groups, heads]; a block takes the images `blockIdx.x`, `blockIdx.x + groups`, ... of head `blockIdx.y`, so that the
//   gradient of the table can stay in registers from image to image
//
//   shared memory    | q      | dO     | k of this image | k of the next | dSᵀ      | terms | offsets | bias |
//                      [T, 64]  [T, 64]  [T, 64]           [T, 64]         [T, T]     [T]     [T]       [R]      T padded to tiles
//
//   for each image:
//     1  copies of q, dO and k have arrived: add bias and scale to q, compute the terms    a thread: chunks of 16 bytes
//        (log-sum-exp and delta of each row)
//     2  for each tile of keys of a warp: loop over all tiles of queries;                  a warp: 16 keys
//        dK and dV in registers, dSᵀ into shared memory
//     3  begin to copy the next image
//     4  for each tile of queries of a warp: dQ = dS K                                     a warp: 16 queries
//     5  add dSᵀ to the gradient of the table (attention_table.cuh)                        a lane: a row of the table
//
// One pass over the scores, with `dSᵀ` in shared memory (206 KB, one block on a multiprocessor), took 0.37 to 0.40 ms where
// two passes in 112 KB took 0.50 ms (docs/bench/gpu.md, 197 tokens). Keys have two buffers, since step 4 reads them while the
// next image's arrive.
//
// Compiled for ROW_TILES (tiles of keys, then of queries, that a warp has at once) and KEYS_IN_REGISTERS (whether a warp loads
// its keys once instead of for each product).

static_assert(HEAD_DIM == 64, "a thread moves chunks of rows of eight, and loads four of them ahead");

// Where things are in shared memory.
constexpr int HEAD_BYTES = PADDED * ROW;
constexpr int Q_AT = 0;
constexpr int D_CONTEXT_AT = HEAD_BYTES;
constexpr int KEYS_AT = 2 * HEAD_BYTES;
constexpr int SCORES_AT = 4 * HEAD_BYTES;
constexpr int TERMS_AT = SCORES_AT + PADDED * SCORES_ROW;
constexpr int OFFSETS_AT = TERMS_AT + 8 * PADDED;
constexpr int BIAS_AT = OFFSETS_AT + (TABLES ? 4 * PADDED : 0);
constexpr int BACKWARD_SHARED = BIAS_AT + 4 * BIAS_LEN;
static_assert(BACKWARD_SHARED <= 227 * 1024, "too many tokens");

// Chunks that a thread moves of each operand.
constexpr int CHUNKS = (PADDED * 8 + THREADS - 1) / THREADS;
// Tiles that a warp has, ROW_TILES at once.
constexpr int ROUNDS = (TILES + WARPS * ROW_TILES - 1) / (WARPS * ROW_TILES);

// What a thread loads of the next image while the one before is finished.
struct Ahead {
    // Of the context, the chunks that it copies of the queries too.
    uint4 context[CHUNKS];
    // Of the values, the first tiles of its warp.
    uint4 values[ROW_TILES][4];
};

// One image of a block.
struct Image {
    const __nv_bfloat16 *qkv, *d_context, *context;
    const float *lse, *q_bias, *v_bias;
    __nv_bfloat16 *d_qkv;
    unsigned char *memory;
    u32 base, heads, head;
    float scale;
    u32 image;
    // Which of the two buffers of keys.
    int buffer;

    __device__ __forceinline__ u32 width() const { return heads * HEAD_DIM; }
    __device__ __forceinline__ size_t stride() const { return 3 * width(); }
    __device__ __forceinline__ size_t first_row() const { return size_t(image) * TOKENS; }
    // The column of the row of a head that a thread's chunks have.
    __device__ __forceinline__ int column() const { return head * HEAD_DIM + threadIdx.x % 8 * 8; }
    __device__ __forceinline__ const __nv_bfloat16 *x() const { return qkv + image * (TOKENS * stride()) + head * HEAD_DIM; }
    __device__ __forceinline__ __nv_bfloat16 *d_x() const { return d_qkv + first_row() * stride() + head * HEAD_DIM; }
    __device__ __forceinline__ u32 keys() const { return base + KEYS_AT + buffer * HEAD_BYTES; }
    __device__ __forceinline__ Term *terms() const { return (Term *)(memory + TERMS_AT); }
    __device__ __forceinline__ const int *offsets() const { return (const int *)(memory + OFFSETS_AT); }
    __device__ __forceinline__ const float *bias() const { return (const float *)(memory + BIAS_AT); }

    __device__ __forceinline__ QueryTile tile(int t) const {
        return {base + Q_AT + t * TILE_BYTES, base + D_CONTEXT_AT + t * TILE_BYTES, terms() + 16 * t, offsets() + 16 * t};
    }
};

// Begins to copy queries, keys and the gradient of the context, and loads what goes through registers.
__device__ __forceinline__ void begin(const Image &in, Ahead &ahead) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const __nv_bfloat16 *x = in.x();
    const u32 width = in.width();
    copy_rows<PADDED, THREADS>(in.base + Q_AT, x, in.stride(), 0);
    copy_rows<PADDED, THREADS>(in.base + D_CONTEXT_AT, in.d_context + in.first_row() * width + in.head * HEAD_DIM, width, 0);
    copy_rows<PADDED, THREADS>(in.keys(), x + width, in.stride(), 0);
    commit_copies();
#pragma unroll
    for (int i = 0; i < CHUNKS; i++) {
        const int token = (threadIdx.x + i * THREADS) / 8;
        if (token < TOKENS)
            ahead.context[i] = *(const uint4 *)(in.context + (in.first_row() + token) * width + in.column());
        else
            ahead.context[i] = {0, 0, 0, 0};
    }
#pragma unroll
    for (int i = 0; i < 4 * ROW_TILES; i++) {
        const int token = warp * (16 * ROW_TILES) + i / 4 * 16 + lane / 4 + i / 2 % 2 * 8;
        if (token < TOKENS)
            ahead.values[i / 4][i % 4] = *(const uint4 *)(x + 2 * width + token * in.stride() + i % 2 * 32 + lane % 4 * 8);
        else
            ahead.values[i / 4][i % 4] = {0, 0, 0, 0};
    }
}

// Bias and scale of the queries, and the terms of all rows. Each thread finishes what it copied itself, so it waits for its
// copies only.
__device__ __forceinline__ void finish_queries(const Image &in, const Ahead &ahead) {
    wait_copies<0>();
#pragma unroll
    for (int i = 0; i < CHUNKS; i++) {
        const int e = threadIdx.x + i * THREADS;
        if (e < PADDED * 8) {
            const int token = e / 8;
            const u32 at = chunk_offset(token, e % 8);
            uint4 *query = (uint4 *)(in.memory + Q_AT + at);
            u32 pairs[4] = {query->x, query->y, query->z, query->w};
            if (token < TOKENS)
                add_and_scale(pairs, in.q_bias + in.column(), in.scale);
            *query = {pairs[0], pairs[1], pairs[2], pairs[3]};
            const uint4 d = *(const uint4 *)(in.memory + D_CONTEXT_AT + at), o = ahead.context[i];
            const u32 d_pairs[4] = {d.x, d.y, d.z, d.w}, o_pairs[4] = {o.x, o.y, o.z, o.w};
            float delta = row_product(d_pairs, o_pairs, in.v_bias + in.column());
            delta += __shfl_xor_sync(0xffffffff, delta, 1);
            delta += __shfl_xor_sync(0xffffffff, delta, 2);
            delta += __shfl_xor_sync(0xffffffff, delta, 4);
            if (e % 8 == 0)
                in.terms()[token] =
                    term(token < TOKENS ? in.lse[(in.image * in.heads + in.head) * TOKENS + token] : 0.f, delta, token);
        }
    }
}

// The keys and values of a warp from token `first` on.
struct OwnKeys {
    u32 v[ROW_TILES][4][4];
    SharedKeys<ROW_TILES> keys;
    // Offsets into the bias, and which rows are tokens.
    int to[ROW_TILES][2];
    bool valid[ROW_TILES][2], all_valid;

    __device__ __forceinline__ void load(const Image &in, const Ahead &ahead, int first, int round) {
        all_valid = true;
#pragma unroll
        for (int m = 0; m < ROW_TILES; m++) {
            const int first_key = first + 16 * m;
            if (round == 0)
                take(v[m], ahead.values[m]);
            else
                load_rows(v[m], in.qkv + in.first_row() * in.stride() + 2 * in.width() + in.head * HEAD_DIM, in.stride(), first_key,
                          Unchanged());
            // The last warp may have a tile beyond the last: it is multiplied and not stored.
            keys.tiles[m] = in.keys() + (first_key < PADDED ? first_key : 0) * ROW;
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const int token = first_key + threadIdx.x % 32 / 4 + 8 * half;
                to[m][half] = TABLES ? key_offset(token) : 0;
                valid[m][half] = token < TOKENS;
            }
            all_valid = all_valid && first_key + 16 <= TOKENS;
        }
    }

    // A tile of values that was loaded ahead, as fragments.
    static __device__ __forceinline__ void take(u32 (&v)[4][4], const uint4 (&loaded)[4]) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            u32 pairs[4] = {loaded[i].x, loaded[i].y, loaded[i].z, loaded[i].w};
            exchange(pairs);
#pragma unroll
            for (int j = 0; j < 4; j++)
                v[i % 2 * 2 + j / 2][j % 2 * 2 + i / 2] = pairs[j];
        }
    }
};

// `dK` and `dV` of the keys of a warp from token `first` on, over all queries. Writes their `dSᵀ` to shared memory.
__device__ __forceinline__ void key_gradients(const Image &in, const Ahead &ahead, int first, int round) {
    const int lane = threadIdx.x % 32;
    const ColumnFragments columns;
    const RowFragments rows;
    OwnKeys own;
    own.load(in, ahead, first, round);
#if KEYS_IN_REGISTERS
    u32 k[ROW_TILES][4][4];
#pragma unroll
    for (int i = 0; i < 4 * ROW_TILES; i++)
        own.keys(k[i / 4][i % 4], i / 4, i % 4);
    const RegisterKeys<ROW_TILES> tile_keys{k};
#else
    const SharedKeys<ROW_TILES> &tile_keys = own.keys;
#endif
    float d_k[ROW_TILES][8][4], d_v[ROW_TILES][8][4];
    set_zero(d_k);
    set_zero(d_v);
    unsigned char *row = in.memory + SCORES_AT + (first + lane / 4) * SCORES_ROW + lane % 4 * 4;
#pragma unroll 1
    for (int t = 0; t < TILES; t++) {
        const QueryTile tile = in.tile(t);
        float p[ROW_TILES][2][4], d[ROW_TILES][2][4];
        u32 a[ROW_TILES][4];
        probabilities<ROW_TILES>(p, tile_keys, tile, columns, in.bias(), own.to, own.valid, own.all_valid);
        score_gradients<ROW_TILES>(d, p, own.v, tile, columns);
#pragma unroll
        for (int m = 0; m < ROW_TILES; m++)
            to_left_operand(a[m], p[m]);
        add_product<ROW_TILES>(d_v, a, tile.d_context, rows);
#pragma unroll
        for (int m = 0; m < ROW_TILES; m++) {
            to_left_operand(a[m], d[m]);
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
        store_rows<false>(in.d_x() + in.width(), in.stride(), first + 16 * m, d_k[m], ones, nullptr);
        store_rows<false>(in.d_x() + 2 * in.width(), in.stride(), first + 16 * m, d_v[m], ones, nullptr);
    }
}

// `dQ = scale · dS K` of the queries of a warp from token `first` on.
__device__ __forceinline__ void query_gradients(const Image &in, int first) {
    const int lane = threadIdx.x % 32;
    const RowFragments rows;
    float d_q[ROW_TILES][8][4];
    set_zero(d_q);
    u32 at[ROW_TILES];
#pragma unroll
    for (int m = 0; m < ROW_TILES; m++) {
        const int first_query = first + 16 * m < PADDED ? first + 16 * m : 0;
        at[m] = in.base + SCORES_AT + (lane % 8 + lane / 16 * 8) * SCORES_ROW + 2 * first_query + lane / 8 % 2 * 16;
    }
#pragma unroll 2
    for (int t = 0; t < TILES; t++) {
        u32 a[ROW_TILES][4];
#pragma unroll
        for (int m = 0; m < ROW_TILES; m++)
            load_matrices_transposed(a[m], at[m] + t * 16 * SCORES_ROW);
        add_product<ROW_TILES>(d_q, a, in.keys() + t * TILE_BYTES, rows);
    }
    const float factors[2] = {in.scale, in.scale};
#pragma unroll
    for (int m = 0; m < ROW_TILES; m++)
        store_rows<false>(in.d_x(), in.stride(), first + 16 * m, d_q[m], factors, nullptr);
}

// All gradients of the images of a block; of the table `partials [groups, H, R]`. Shared memory: `BACKWARD_SHARED` bytes.
extern "C" __global__ void __launch_bounds__(THREADS, MIN_BLOCKS)
    attention_backward(const __nv_bfloat16 *__restrict__ qkv, const __nv_bfloat16 *__restrict__ d_context,
                       const __nv_bfloat16 *__restrict__ context, const float *__restrict__ lse, const float *__restrict__ q_bias,
                       const float *__restrict__ v_bias, const float *__restrict__ table, const float *__restrict__ shared_table,
                       __nv_bfloat16 *__restrict__ d_qkv, float *__restrict__ partials, const Params params) {
    extern __shared__ __align__(1024) unsigned char dynamic_shared_mem[];
    Image in{qkv, d_context, context, lse, q_bias, v_bias, d_qkv, dynamic_shared_mem, shared_address(dynamic_shared_mem),
             params.heads, blockIdx.y, params.scale, blockIdx.x, 0};
    const int warp = threadIdx.x / 32;
    float fold[SLOTS][2];
#pragma unroll
    for (int slot = 0; slot < SLOTS; slot++)
        fold[slot][0] = fold[slot][1] = 0;
    Ahead ahead;
    if (in.image < params.batch)
        begin(in, ahead);
    load_bias((float *)(dynamic_shared_mem + BIAS_AT), table, shared_table, in.head, params.heads);
    if (TABLES)
        for (int token = threadIdx.x; token < PADDED; token += THREADS)
            ((int *)(dynamic_shared_mem + OFFSETS_AT))[token] = query_offset(token);
#pragma unroll 1
    for (; in.image < params.batch; in.image += params.groups, in.buffer ^= 1) {
        finish_queries(in, ahead);
        __syncthreads();
#pragma unroll 1
        for (int round = 0; round < ROUNDS; round++) {
            const int first = (round * WARPS + warp) * (16 * ROW_TILES);
            if (first >= TOKENS)
                break;
            key_gradients(in, ahead, first, round);
        }
        __syncthreads();
        if (in.image + params.groups < params.batch) {
            Image next = in;
            next.image += params.groups;
            next.buffer ^= 1;
            begin(next, ahead);
        }
#pragma unroll 1
        for (int round = 0; round < ROUNDS; round++) {
            const int first = (round * WARPS + warp) * (16 * ROW_TILES);
            if (first >= TOKENS)
                break;
            query_gradients(in, first);
        }
        if (TABLES && params.gradients)
            fold_scores(fold, dynamic_shared_mem + SCORES_AT);
    }
    if (TABLES && params.gradients)
        store_fold(partials + (blockIdx.x * params.heads + in.head) * BIAS_ROWS, (float *)(dynamic_shared_mem + SCORES_AT), fold);
}
