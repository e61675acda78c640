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
    u32 k[1][STEPS][4], v[1][STEPS][4];
    load_rows(k[0], x + width, stride, first, Unchanged());
    load_rows(v[0], x + 2 * width, stride, first, Unchanged());
    const KeyPositions at(first);
    float d_k[1][ROW_CHUNKS][4], d_v[1][ROW_CHUNKS][4];
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
