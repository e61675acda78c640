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
        u32 k[1][STEPS][4], v[1][STEPS][4];
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
