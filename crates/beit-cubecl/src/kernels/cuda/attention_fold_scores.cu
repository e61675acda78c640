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
