// Leaves rows of the context's gradient as they are, and adds up `delta` of the two rows of a lane.
struct Delta {
    const __nv_bfloat16 *context;
    const float *v_bias;
    size_t stride;
    float (&sums)[2];
    __device__ __forceinline__ void operator()(u32 (&pairs)[4], int half, int token, int column) const {
        const uint4 o = *(const uint4 *)(context + token * stride + column);
        const u32 o_pairs[4] = {o.x, o.y, o.z, o.w};
        sums[half] += row_product(pairs, o_pairs, v_bias + column);
    }
};

// A warp's 16 queries in registers: their sums of dQ, and what the scores of a tile of keys need.
struct OwnQueries {
    u32 q[STEPS][4], d_context[STEPS][4];
    Term terms[2];
    // Offsets into the bias.
    int from[2];
    float d_q[1][ROW_CHUNKS][4];
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
    for (int step = 0; step < STEPS; step++) {
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
