// `d_table [R, H] +=` the sum of `partials [groups, H, R]`. Grid: one thread for each element.
extern "C" __global__ void __launch_bounds__(256)
    attention_fold_partials(const float *__restrict__ partials, float *__restrict__ d_table, float *__restrict__ d_shared_table,
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
