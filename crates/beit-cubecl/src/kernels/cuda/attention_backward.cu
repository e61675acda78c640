// With P the softmax and delta = rowsum(dO ⊙ O): dV = Pᵀ dO, dS = P ⊙ (dO Vᵀ - delta), dQ = D^-1/2 dS K, dK = D^-1/2 dSᵀ (Q + q_bias),
// and dS added up over the pairs of tokens that read a row of the bias table.
//
// A block has a head of an image with all its queries, keys, values and gradients of the context in shared memory, PADDED rows each. Its
// warps take 16 queries each for dQ and the table, then 16 keys each for dK and dV: each result has one writer. The table's sums are
// integers in units that no sum can overflow, so that they do not depend on the order.

#define WARPS 7
#define TILES (PADDED / 16)

// A warp's 16 lines from `first` on as left factors, for each 16 of the 64 elements.
__device__ __forceinline__ void load_left(unsigned (&r)[4][4], unsigned tile, unsigned first, unsigned lane) {
#pragma unroll
    for (int k = 0; k < 4; k++)
        load_four(r[k], tile + place(first + lane % 16, 2 * k + lane / 16));
}

// d [16, 16] = left · (16 lines from `first` on)ᵀ
__device__ __forceinline__ void by_lines(float (&d)[2][4], const unsigned (&left)[4][4], unsigned tile, unsigned first, unsigned lane) {
#pragma unroll
    for (int j = 0; j < 2; j++) {
#pragma unroll
        for (int i = 0; i < 4; i++)
            d[j][i] = 0;
#pragma unroll
        for (int half = 0; half < 2; half++) {
            unsigned b[4];
            load_four(b, tile + place(first + 8 * j + lane % 8, 4 * half + lane / 8));
            multiply(d[j], left[2 * half], b[0], b[1]);
            multiply(d[j], left[2 * half + 1], b[2], b[3]);
        }
    }
}

// sums [16, 64] += numbers [16, 16] · (16 lines from `first` on)
__device__ __forceinline__ void mix(float (&sums)[8][4], const float (&numbers)[2][4], unsigned tile, unsigned first, unsigned lane) {
    unsigned left[4];
#pragma unroll
    for (int i = 0; i < 4; i++)
        left[i] = pair(numbers[i / 2][i % 2 * 2], numbers[i / 2][i % 2 * 2 + 1]);
#pragma unroll
    for (int j = 0; j < 8; j += 2) {
        unsigned b[4];
        load_four_turned(b, tile + place(first + lane % 16, j + lane / 16));
        multiply(sums[j], left, b[0], b[1]);
        multiply(sums[j + 1], left, b[2], b[3]);
    }
}

// `sums` of 16 tokens from `first` on, times `scale`, to rows `stride` apart.
__device__ __forceinline__ void write(const float (&sums)[8][4], Bf16 *y, unsigned first, size_t stride, float scale, unsigned lane, const Params &p) {
#pragma unroll
    for (int r = 0; r < 2; r++) {
        const unsigned token = first + lane / 4 + 8 * r;
        if (token < p.tokens)
#pragma unroll
            for (int j = 0; j < 8; j++)
                *reinterpret_cast<unsigned *>(y + token * stride + 8 * j + lane % 4 * 2) = pair(sums[j][2 * r] * scale, sums[j][2 * r + 1] * scale);
    }
}

// The sum of the squares of the two numbers of each word, or of their products with others.
__device__ __forceinline__ float products(uint4 a, uint4 b) {
    return low(a.x) * low(b.x) + high(a.x) * high(b.x) + low(a.y) * low(b.y) + high(a.y) * high(b.y) + low(a.z) * low(b.z) + high(a.z) * high(b.z) +
           low(a.w) * low(b.w) + high(a.w) * high(b.w);
}

__device__ __forceinline__ float over_eight(float x) {
    x += __shfl_xor_sync(FULL, x, 1);
    x += __shfl_xor_sync(FULL, x, 2);
    return x + __shfl_xor_sync(FULL, x, 4);
}

extern "C" __global__ void __maxnreg__(REGISTERS)
    attention_backward(const Bf16 *qkv, const Bf16 *context, const Bf16 *d_context, const float *q_bias, const float *v_bias, const float *table,
                       const float *shared_table, const float *lse, Bf16 *d_qkv, float *d_rows, const Params p) {
    extern __shared__ __align__(1024) unsigned char dynamic_shared_mem[];
    const unsigned queries = shared_address(dynamic_shared_mem), keys = queries + PADDED * LINE, values = keys + PADDED * LINE,
                   d_out = values + PADDED * LINE;
    float *log_sum = reinterpret_cast<float *>(dynamic_shared_mem + 4 * PADDED * LINE);
    float *delta = log_sum + PADDED;
    unsigned *largest = reinterpret_cast<unsigned *>(delta + PADDED);
    int *sums = reinterpret_cast<int *>(largest + 4);
    float *bias = reinterpret_cast<float *>(sums + (TABLES ? (ROWS + 3) / 4 * 4 : 0));
    int *places = reinterpret_cast<int *>(bias + (TABLES ? (ROWS + 3) / 4 * 4 : 0));
    int *origins = places + PADDED;

    const unsigned head = blockIdx.x, image = blockIdx.y, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const unsigned width = p.heads * D;
    const size_t stride = 3 * size_t(width), begin = size_t(image) * p.tokens;
    const Bf16 *x = qkv + begin * stride + head * D;
    const Bf16 *out = context + begin * width + head * D, *d = d_context + begin * width + head * D;
    copy_rows(keys, x + width, PADDED, p.tokens, stride);
    copy_rows(values, x + 2 * width, PADDED, p.tokens, stride);
    copy_rows(d_out, d, PADDED, p.tokens, width);
    copies_end();
    load_bias(table, shared_table, bias, places, head, p);
    if (TABLES) {
        for (unsigned row = threadIdx.x; row < ROWS; row += blockDim.x)
            sums[row] = 0;
        for (unsigned token = threadIdx.x; token < PADDED; token += blockDim.x)
            origins[token] = Query(token, p.tokens).base;
    }
    if (threadIdx.x < 4)
        largest[threadIdx.x] = 0;
    for (unsigned e = threadIdx.x; e < PADDED * 8; e += blockDim.x) {
        const unsigned token = e / 8, piece = e % 8;
        uint4 words = {0, 0, 0, 0};
        if (token < p.tokens) {
            words = *reinterpret_cast<const uint4 *>(x + token * stride + piece * 8);
            const float *shift = q_bias + head * D + piece * 8;
            unsigned *word = reinterpret_cast<unsigned *>(&words);
#pragma unroll
            for (int i = 0; i < 4; i++)
                word[i] = pair((low(word[i]) + shift[2 * i]) * p.scale, (high(word[i]) + shift[2 * i + 1]) * p.scale);
        }
        *reinterpret_cast<uint4 *>(dynamic_shared_mem + place(token, piece)) = words;
    }
    copies_wait<0>();
    __syncthreads();
    // Eight threads a token: what is known of its row, and how large its gradient and its value are at most.
    float most_d = 0, most_v = 0;
    for (unsigned e = threadIdx.x; e < PADDED * 8; e += blockDim.x) {
        const unsigned token = e / 8, piece = e % 8;
        const uint4 given = *reinterpret_cast<const uint4 *>(dynamic_shared_mem + (d_out - queries) + place(token, piece));
        const uint4 value = *reinterpret_cast<const uint4 *>(dynamic_shared_mem + (values - queries) + place(token, piece));
        uint4 mixed = {0, 0, 0, 0};
        if (token < p.tokens)
            mixed = *reinterpret_cast<const uint4 *>(out + size_t(token) * width + piece * 8);
        // The context without the bias of the values, which the values here are without too.
        float row = products(given, mixed);
        const float *shift = v_bias + head * D + piece * 8;
        const unsigned words[4] = {given.x, given.y, given.z, given.w};
#pragma unroll
        for (int i = 0; i < 4; i++)
            row -= low(words[i]) * shift[2 * i] + high(words[i]) * shift[2 * i + 1];
        row = over_eight(row);
        most_d = fmaxf(most_d, over_eight(products(given, given)));
        most_v = fmaxf(most_v, over_eight(products(value, value)));
        if (piece == 0) {
            delta[token] = row;
            const bool there = token < p.tokens;
            log_sum[token] = there ? lse[(size_t(image) * p.heads + head) * p.tokens + token] * LOG2E : 1e30f;
        }
    }
    if (TABLES) {
        atomicMax(&largest[0], __float_as_uint(most_d));
        atomicMax(&largest[1], __float_as_uint(most_v));
    }
    __syncthreads();
    // No |dS| is above 2 |dO| |V| P, and the rows of P add up to one.
    float unit = 0;
    if (TABLES) {
        const float bound = 2.0f * p.tokens * sqrtf(__uint_as_float(largest[0])) * sqrtf(__uint_as_float(largest[1]));
        unit = bound > 0 ? 1073741824.0f / bound : 0;
    }

    for (unsigned first = warp * 16; first < p.tokens; first += WARPS * 16) {
        unsigned q[4][4], given[4][4];
        load_left(q, queries, first, lane);
        load_left(given, d_out, first, lane);
        const unsigned above = first + lane / 4;
        const Query upper(above, p.tokens), lower(above + 8, p.tokens);
        const float logs[2] = {log_sum[above], log_sum[above + 8]}, deltas[2] = {delta[above], delta[above + 8]};
        float d_q[8][4] = {};
#pragma unroll 1
        for (unsigned tile = 0; tile < p.tokens; tile += 16) {
            float scores[2][4], d_scores[2][4];
            by_lines(scores, q, keys, tile, lane);
            by_lines(d_scores, given, values, tile, lane);
#pragma unroll
            for (int j = 0; j < 2; j++)
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    const unsigned key = tile + 8 * j + lane % 4 * 2 + i % 2;
                    float value = scores[j][i] * LOG2E;
                    int row = 0;
                    if (TABLES) {
                        row = (i < 2 ? upper : lower).row(key, places[key]);
                        value += bias[row];
                    }
                    float one = power_of_two(value - logs[i / 2]) * (d_scores[j][i] - deltas[i / 2]);
                    if (key >= p.tokens)
                        one = 0;
                    d_scores[j][i] = one;
                    if (TABLES && key < p.tokens && above + i / 2 * 8 < p.tokens)
                        atomicAdd(&sums[row], __float2int_rn(one * unit));
                }
            mix(d_q, d_scores, keys, tile, lane);
        }
        write(d_q, d_qkv + begin * stride + head * D, first, stride, p.scale, lane, p);
    }

    for (unsigned first = warp * 16; first < p.tokens; first += WARPS * 16) {
        unsigned k[4][4], v[4][4];
        load_left(k, keys, first, lane);
        load_left(v, values, first, lane);
        const unsigned above = first + lane / 4;
        int to_keys[2] = {0, 0};
        if (TABLES) {
            to_keys[0] = places[above];
            to_keys[1] = places[above + 8];
        }
        float d_k[8][4] = {}, d_v[8][4] = {};
#pragma unroll 1
        for (unsigned tile = 0; tile < p.tokens; tile += 16) {
            float scores[2][4], d_scores[2][4];
            by_lines(scores, k, queries, tile, lane);
            by_lines(d_scores, v, d_out, tile, lane);
#pragma unroll
            for (int j = 0; j < 2; j++)
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    const unsigned token = tile + 8 * j + lane % 4 * 2 + i % 2;
                    float value = scores[j][i] * LOG2E;
                    if (TABLES) {
                        int row = origins[token] - (token == 0 ? 0 : to_keys[i / 2]);
                        if (above + i / 2 * 8 == 0)
                            row = token == 0 ? ROWS - 1 : ROWS - 2;
                        value += bias[row];
                    }
                    scores[j][i] = power_of_two(value - log_sum[token]);
                    d_scores[j][i] = scores[j][i] * (d_scores[j][i] - delta[token]);
                }
            mix(d_v, scores, d_out, tile, lane);
            mix(d_k, d_scores, queries, tile, lane);
        }
        // The queries carry the scale already.
        write(d_k, d_qkv + begin * stride + width + head * D, first, stride, 1.0f, lane, p);
        write(d_v, d_qkv + begin * stride + 2 * width + head * D, first, stride, 1.0f, lane, p);
    }
    if (TABLES) {
        __syncthreads();
        for (unsigned row = threadIdx.x; row < ROWS; row += blockDim.x)
            d_rows[(size_t(image) * p.heads + head) * ROWS + row] = unit > 0 ? sums[row] / unit : 0.0f;
    }
}
