// Adds `d_rows [B, H, R]` over the images, in their order, to the gradients of the tables [R, H].
extern "C" __global__ void attention_tables(const float *d_rows, float *d_table, float *d_shared, const Params p) {
    const unsigned row = blockIdx.x * blockDim.x + threadIdx.x, head = blockIdx.y;
    if (row >= ROWS)
        return;
    float sum = 0;
    for (unsigned image = 0; image < p.batch; image++)
        sum += d_rows[(size_t(image) * p.heads + head) * ROWS + row];
    if (TABLES & 1)
        d_table[row * p.heads + head] += sum;
    if (TABLES & 2)
        d_shared[row * p.heads + head] += sum;
}
