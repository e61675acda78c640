// What the products on Hopper's tensor cores have in common: their numbers, operands in shared memory, the arithmetic of epilogues. See
// product.cu and product_persistent.cu.
//
// Compiled for:
//   A_K_CONTIGUOUS, B_K_CONTIGUOUS   whether an operand is contiguous along the summed axis k, or along m or n
//   FILTER                           0: A is a matrix. Otherwise A is a feature map [B, h, w, C] under a filter of this side, seen
//                                    as a matrix of pixels by (line, column, channel)
//   EPILOGUE                         0: y = sum. 1: aux = sum, y = gelu(sum). 2: y = sum · gelu'(aux). 3: y += sum. 4: y[z] = sum.
//                                    5: y = gelu(sum). 6: y = max(sum, 0). 7: y = aux + scale · sum
//   BIAS, Y_F32                      whether a bias is added, whether y is f32
//   SUMS                             whether sums [tiles along M, N], those of y over the rows of each tile, are written
//   TILE_N, STAGES, BLOCKS           columns of the tile (64, 128 or 256), buffers, blocks that a multiprocessor runs at a time

struct Params {
    unsigned m, n, k;
    // How far a block goes along the summed axis.
    unsigned k_per_block;
    // The extents of the feature map.
    unsigned h, w, c;
    float scale;
};

#define TILE_M 128
#define TILE_K 64
#define A_BYTES (TILE_M * TILE_K * 2)
#define B_BYTES (TILE_N * TILE_K * 2)
#define STAGE_BYTES (A_BYTES + B_BYTES)

typedef __nv_bfloat16 Bf16;
#if Y_F32
typedef float Out;
#else
typedef Bf16 Out;
#endif

// How tensor cores find an operand: 8 lines of 128 bytes after one another, and, where k is not contiguous, panels of 64
// columns, each of TILE_K lines. The fields are those of the matrix descriptor in the PTX manual; 1 << 62 is the 128-byte
// swizzle.
__device__ __forceinline__ Words descriptor(unsigned address, bool k_contiguous) {
    const Words lead = k_contiguous ? 1 : TILE_K * 128 / 16;
    return Words(address / 16) | lead << 16 | Words(1024 / 16) << 32 | Words(1) << 62;
}

// Begins the products of one step: the tiles of A and B that begin at `tile`.
__device__ __forceinline__ void multiply_stage(float (&sums)[TILE_N / 2], unsigned tile, unsigned group) {
    const Words left = descriptor(tile + group * (A_K_CONTIGUOUS ? 64 * 128 : TILE_K * 128), A_K_CONTIGUOUS);
    const Words right = descriptor(tile + A_BYTES, B_K_CONTIGUOUS);
    products_begin();
#pragma unroll
    for (int k = 0; k < TILE_K / 16; k++) {
        const Words ka = k * (A_K_CONTIGUOUS ? 32 : 16 * 128) / 16, kb = k * (B_K_CONTIGUOUS ? 32 : 16 * 128) / 16;
        multiply<!A_K_CONTIGUOUS, !B_K_CONTIGUOUS>(sums, left + ka, right + kb);
    }
    products_end();
}

// Four results side by side.
struct Four {
    float v[4];

    __device__ __forceinline__ void add(const Four &other) {
#pragma unroll
        for (int i = 0; i < 4; i++)
            v[i] += other.v[i];
    }

    // Adds that of the lane whose number differs by `mask`.
    __device__ __forceinline__ void add_lane(int mask) {
#pragma unroll
        for (int i = 0; i < 4; i++)
            v[i] += __shfl_xor_sync(0xffffffff, v[i], mask);
    }
};

__device__ __forceinline__ Four load_four(const float *p) {
    const float4 v = *reinterpret_cast<const float4 *>(p);
    return {{v.x, v.y, v.z, v.w}};
}

__device__ __forceinline__ Four load_four(const Bf16 *p) {
    const uint2 v = *reinterpret_cast<const uint2 *>(p);
    return {{__uint_as_float(v.x << 16), __uint_as_float(v.x & 0xffff0000u), __uint_as_float(v.y << 16),
             __uint_as_float(v.y & 0xffff0000u)}};
}

__device__ __forceinline__ void store_four(float *p, const Four &f) {
    *reinterpret_cast<float4 *>(p) = {f.v[0], f.v[1], f.v[2], f.v[3]};
}

__device__ __forceinline__ void store_four(Bf16 *p, const Four &f) {
    uint2 v;
    Bf16 *words = reinterpret_cast<Bf16 *>(&v);
#pragma unroll
    for (int i = 0; i < 4; i++)
        words[i] = Bf16(f.v[i]);
    *reinterpret_cast<uint2 *>(p) = v;
}

// Φ(x) and exp(-x²/2). Abramowitz and Stegun 7.1.26: Φ is off by at most 1.5e-7 / 2.
__device__ __forceinline__ float normal(float x, float &density) {
    const float z = fabsf(x) * 0.70710678f, t = __fdividef(1.0f, 1.0f + 0.3275911f * z);
    density = __expf(-0.5f * x * x);
    const float tail = t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f)))) * density;
    return x < 0 ? 0.5f * tail : 1.0f - 0.5f * tail;
}

__device__ __forceinline__ float gelu(float x) {
    float density;
    return x * normal(x, density);
}

__device__ __forceinline__ float gelu_slope(float x) {
    float density;
    const float cumulated = normal(x, density);
    return cumulated + x * 0.39894228f * density;
}

// Bias and epilogue for the sums at element `at` of the result, which are returned. `given` is what y or aux had there before.
__device__ __forceinline__ Four store_result(Four sum, const Four &bias, const Four &given, float scale, Out *aux, Out *y, size_t at) {
#pragma unroll
    for (int i = 0; i < 4; i++)
        sum.v[i] += bias.v[i];
    if (EPILOGUE == 1)
        store_four(aux + at, sum);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        if (EPILOGUE == 1 || EPILOGUE == 5)
            sum.v[i] = gelu(sum.v[i]);
        if (EPILOGUE == 2)
            sum.v[i] *= gelu_slope(given.v[i]);
        if (EPILOGUE == 3)
            sum.v[i] += given.v[i];
        // NaN is not below 0.
        if (EPILOGUE == 6 && sum.v[i] < 0)
            sum.v[i] = 0;
        if (EPILOGUE == 7)
            sum.v[i] = given.v[i] + scale * sum.v[i];
    }
    store_four(y + at, sum);
    return sum;
}

// The sums of a column over the rows of the block, from those of its warps, which are `stride` apart.
__device__ __forceinline__ float sum_of_warps(const float *of_warp, unsigned stride) {
    float sum = 0;
#pragma unroll
    for (int warp = 0; warp < TILE_M / 16; warp++)
        sum += of_warp[warp * stride];
    return sum;
}
