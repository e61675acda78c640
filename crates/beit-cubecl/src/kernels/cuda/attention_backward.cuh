// What the kernels of the backward pass share: one tile of queries against the keys of a warp.
//
// With `P` the softmax and `delta = rowsum(dO · (O - v_bias))`: `dV = Pᵀ dO`, `dS = P · (dO Vᵀ - delta)` where V has no bias,
// `dQ = scale · dS K`, `dK = dSᵀ (Q + q_bias) · scale`, and the table's rows are sums of `dS`.
//
//                     16 queries                       a warp has M tiles of 16 keys and their values in registers, and
//                 +---------------+                    multiplies them with one tile of queries after another:
//     16 keys of  |  Sᵀ, Pᵀ, dSᵀ  |                      probabilities    Sᵀ = K Qᵀ + R, Pᵀ = exp(Sᵀ - lse)
//     this warp   |  in registers |                      score_gradients  dSᵀ = Pᵀ · (V dOᵀ - delta)
//                 +---------------+                      add_product      dV += Pᵀ dO, dK += dSᵀ Q
//
// Every result has one writer and a fixed order of additions. Compiled for WARPS and MIN_BLOCKS (blocks of a multiprocessor).

constexpr int THREADS = 32 * WARPS;
constexpr int TILE_BYTES = 16 * ROW;

// What is added to the scores of a query and to their gradients: its log-sum-exp times log2 e, and `-delta`.
typedef float2 Term;

__device__ __forceinline__ Term term(float lse, float delta, int token) {
    const Term inside = {lse * LOG2_E, -delta}, beyond = {LARGE, 0};
    return token < TOKENS ? inside : beyond;
}

// The sum of the products of 8 elements of the context's gradient and of the context without bias.
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

// A tile of 16 queries in shared memory. `offsets` lead into the bias.
struct QueryTile {
    u32 q, d_context;
    const Term *terms;
    const int *offsets;
};

// `Sᵀ`, then `P`: `M` tiles of 16 keys by 16 queries. `keys(fragment, m, step)` gives the keys.
template <int M, class Keys>
__device__ __forceinline__ void probabilities(float (&p)[M][2][4], Keys keys, const QueryTile &tile, const ColumnFragments &columns,
                                              const float *bias, const int (&to)[M][2], const bool (&valid)[M][2], bool all_valid) {
    const int lane = threadIdx.x % 32;
    float lse[2][2];
#pragma unroll
    for (int n = 0; n < 2; n++) {
        const int column = 8 * n + lane % 4 * 2;
        lse[n][0] = tile.terms[column].x;
        lse[n][1] = tile.terms[column + 1].x;
        int2 from = {0, 0};
        if (TABLES)
            from = *(const int2 *)(tile.offsets + column);
#pragma unroll
        for (int m = 0; m < M; m++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                p[m][n][i] = TABLES ? bias_at(bias, (i % 2 ? from.y : from.x) + to[m][i / 2]) : 0.f;
    }
#pragma unroll
    for (int step = 0; step < STEPS; step++) {
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
    if (!all_valid) {
#pragma unroll
        for (int i = 0; i < 8 * M; i++)
            p[i / 8][i / 4 % 2][i % 4] = valid[i / 8][i / 2 % 2] ? p[i / 8][i / 4 % 2][i % 4] : 0.f;
    }
}

// `dSᵀ = P · (V dOᵀ - delta)`
template <int M>
__device__ __forceinline__ void score_gradients(float (&d)[M][2][4], const float (&p)[M][2][4], const u32 (&v)[M][STEPS][4],
                                                const QueryTile &tile, const ColumnFragments &columns) {
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
    for (int step = 0; step < STEPS; step++) {
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

// `sums [16, D] += a [16, 16] · x [16, D]`, for `M` tiles.
template <int M>
__device__ __forceinline__ void add_product(float (&sums)[M][ROW_CHUNKS][4], const u32 (&a)[M][4], u32 x, const RowFragments &rows) {
#pragma unroll
    for (int step = 0; step < STEPS; step++) {
        u32 b[4];
        load_matrices_transposed(b, x + rows.at(step));
#pragma unroll
        for (int m = 0; m < M; m++) {
            multiply_add(sums[m][2 * step], a[m], b[0], b[1]);
            multiply_add(sums[m][2 * step + 1], a[m], b[2], b[3]);
        }
    }
}

template <int M> __device__ __forceinline__ void set_zero(float (&sums)[M][ROW_CHUNKS][4]) {
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int i = 0; i < 4 * ROW_CHUNKS; i++)
            sums[m][i / 4][i % 4] = 0;
}

// Keys in shared memory, loaded each time they are multiplied.
template <int M> struct SharedKeys {
    u32 tiles[M];
    RowFragments rows;
    __device__ __forceinline__ void operator()(u32 (&k)[4], int m, int step) const { load_matrices(k, tiles[m] + rows.at(step)); }
};

// Keys in registers.
template <int M> struct RegisterKeys {
    const u32 (&fragments)[M][STEPS][4];
    __device__ __forceinline__ void operator()(u32 (&k)[4], int m, int step) const {
#pragma unroll
        for (int i = 0; i < 4; i++)
            k[i] = fragments[m][step][i];
    }
};
