// context [B·T, C] = softmax((q + q_bias) D^-1/2 · kᵀ + R) · (v + v_bias), and the log-sum-exp [B, H, T] of its rows.
//
// A block has the keys and values of a head in shared memory, PADDED at a time in STEPS steps; a warp takes 16 queries, and has their scores
// for CHUNK of those keys in registers. The softmax is corrected from chunk to chunk.

#define WARPS 7
#define TILES (CHUNK / 16)
#define CHUNKS (PADDED / CHUNK)

extern "C" __global__ void __maxnreg__(REGISTERS)
    attention_forward(const Bf16 *qkv, const float *q_bias, const float *v_bias, const float *table, const float *shared_table, Bf16 *context,
                      float *lse, const Params p) {
    extern __shared__ __align__(1024) unsigned char dynamic_shared_mem[];
    const unsigned keys = shared_address(dynamic_shared_mem), values = keys + PADDED * LINE;
    float *bias = reinterpret_cast<float *>(dynamic_shared_mem + 2 * PADDED * LINE);
    int *places = reinterpret_cast<int *>(bias + (TABLES ? (ROWS + 3) / 4 * 4 : 0));

    const unsigned head = blockIdx.y, image = blockIdx.z, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const unsigned width = p.heads * D;
    const size_t stride = 3 * size_t(width);
    const Bf16 *x = qkv + size_t(image) * p.tokens * stride + head * D;
    const unsigned steps = (p.tokens + PADDED - 1) / PADDED;
    // All warps go the same way, since they load keys together.
    const unsigned rounds = (p.tokens + 16 * WARPS * gridDim.x - 1) / (16 * WARPS * gridDim.x);
    for (unsigned round = 0; round < rounds; round++) {
        const unsigned first = ((round * gridDim.x + blockIdx.x) * WARPS + warp) * 16;
        const unsigned above = first + lane / 4, column = lane % 4 * 2;
        // Queries (q + q_bias) D^-1/2: this thread's rows are `above` and the eighth below it.
        unsigned q[4][4];
#pragma unroll
        for (int k = 0; k < 4; k++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const unsigned token = above + i % 2 * 8, element = 16 * k + column + i / 2 * 8;
                unsigned word = 0;
                if (token < p.tokens) {
                    const unsigned two = *reinterpret_cast<const unsigned *>(x + token * stride + element);
                    const float2 shift = *reinterpret_cast<const float2 *>(q_bias + head * D + element);
                    word = pair((low(two) + shift.x) * p.scale, (high(two) + shift.y) * p.scale);
                }
                q[k][i] = word;
            }
        const Query upper(above, p.tokens), lower(above + 8, p.tokens);
        float mixed[8][4] = {};
        float most[2] = {-1e30f, -1e30f}, total[2] = {0, 0};
        for (unsigned step = 0; step < steps; step++) {
            const unsigned first_key = step * PADDED, there = min(p.tokens - first_key, unsigned(PADDED));
            if (steps > 1 || round == 0) {
                __syncthreads();
                if (round == 0 && step == 0)
                    load_bias(table, shared_table, bias, places, head, p);
                copy_rows(keys, x + first_key * stride + width, PADDED, there, stride);
                copies_end();
                copy_rows(values, x + first_key * stride + 2 * width, PADDED, there, stride);
                copies_end();
                copies_wait<0>();
                __syncthreads();
            }
            if (first >= p.tokens)
                continue;
#pragma unroll(STEPS > 1 ? 1 : CHUNKS)
            for (int chunk = 0; chunk < CHUNKS; chunk++) {
            float scores[2 * TILES][4];
#pragma unroll
            for (int j = 0; j < 2 * TILES; j++) {
#pragma unroll
                for (int i = 0; i < 4; i++)
                    scores[j][i] = 0;
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    unsigned b[4];
                    load_four(b, keys + place(chunk * CHUNK + 8 * j + lane % 8, 4 * half + lane / 8));
                    multiply(scores[j], q[2 * half], b[0], b[1]);
                    multiply(scores[j], q[2 * half + 1], b[2], b[3]);
                }
            }
            float now[2] = {most[0], most[1]};
#pragma unroll
            for (int j = 0; j < 2 * TILES; j++) {
                const unsigned local = chunk * CHUNK + 8 * j + column;
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    const unsigned key = first_key + local + i % 2;
                    float value = scores[j][i] * LOG2E;
                    if (TABLES) {
                        const Query &query = i < 2 ? upper : lower;
                        const int to_key = STEPS > 1 && key < p.tokens && key > 0 ? to(key) : places[local + i % 2];
                        value += bias[j == 0 && i % 2 == 0 ? query.row(key, to_key) : query.base - (to_key & query.mask)];
                    }
                    if ((STEPS > 1 || chunk * CHUNK + 8 * j + 8 > TOKENS) && local + i % 2 >= there)
                        value = -1e30f;
                    scores[j][i] = value;
                    now[i / 2] = fmaxf(now[i / 2], value);
                }
            }
#pragma unroll
            for (int r = 0; r < 2; r++) {
                now[r] = fmaxf(now[r], __shfl_xor_sync(FULL, now[r], 1));
                now[r] = fmaxf(now[r], __shfl_xor_sync(FULL, now[r], 2));
            }
            if (STEPS > 1 || chunk > 0) {
#pragma unroll
                for (int r = 0; r < 2; r++) {
                    const float less = power_of_two(most[r] - now[r]);
                    total[r] *= less;
#pragma unroll
                    for (int j = 0; j < 8; j++) {
                        mixed[j][2 * r] *= less;
                        mixed[j][2 * r + 1] *= less;
                    }
                }
            }
            most[0] = now[0];
            most[1] = now[1];
#pragma unroll
            for (int t = 0; t < TILES; t++) {
                unsigned probs[4];
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    // Registers of the left factor: rows above and below, then the same eight columns on.
                    float *two = &scores[2 * t + i / 2][i % 2 * 2];
                    const float a = power_of_two(two[0] - most[i % 2]), b = power_of_two(two[1] - most[i % 2]);
                    total[i % 2] += a + b;
                    probs[i] = pair(a, b);
                }
#pragma unroll
                for (int j = 0; j < 8; j += 2) {
                    unsigned b[4];
                    load_four_turned(b, values + place(chunk * CHUNK + 16 * t + lane % 16, j + lane / 16));
                    multiply(mixed[j], probs, b[0], b[1]);
                    multiply(mixed[j + 1], probs, b[2], b[3]);
                }
            }
            }
        }
        if (first >= p.tokens)
            continue;
#pragma unroll
        for (int r = 0; r < 2; r++) {
            total[r] += __shfl_xor_sync(FULL, total[r], 1);
            total[r] += __shfl_xor_sync(FULL, total[r], 2);
            const unsigned token = above + 8 * r;
            if (token >= p.tokens)
                continue;
            const float share = 1.0f / total[r];
            if (lane % 4 == 0)
                lse[(size_t(image) * p.heads + head) * p.tokens + token] = (most[r] + log2f(total[r])) / LOG2E;
            Bf16 *y = context + (size_t(image) * p.tokens + token) * width + head * D + column;
#pragma unroll
            for (int j = 0; j < 8; j++) {
                // Probabilities add up to one, so that the bias of the values is added once.
                const float2 shift = *reinterpret_cast<const float2 *>(v_bias + head * D + 8 * j + column);
                *reinterpret_cast<unsigned *>(y + 8 * j) = pair(mixed[j][2 * r] * share + shift.x, mixed[j][2 * r + 1] * share + shift.y);
            }
        }
    }
}
