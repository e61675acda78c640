// The parts of the product on Hopper's tensor cores: its numbers, the copies of operands, the arithmetic of epilogues. See
// product.cu.
//
// Compiled for:
//   A_K_CONTIGUOUS, B_K_CONTIGUOUS   whether an operand is contiguous along the summed axis k, or along m or n
//   FILTER                           0: A is a matrix. Otherwise A is a feature map [B, h, w, C] under a filter of this side, seen
//                                    as a matrix of pixels by (line, column, channel)
//   EPILOGUE                         0: y = sum. 1: aux = sum, y = gelu(sum). 2: y = sum · gelu'(aux). 3: y += sum. 4: y[z] = sum.
//                                    5: y = gelu(sum). 6: y = max(sum, 0). 7: y = aux + scale · sum
//   BIAS, Y_F32                      whether a bias is added, whether y is f32
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
#define THREADS 256
// Groups of products that may run on into the next step.
#define RUNNING (BLOCKS == 1 ? 1 : 0)
// Steps that copies are ahead of products.
#define AHEAD (STAGES - 1 - RUNNING)
#define A_BYTES (TILE_M * TILE_K * 2)
#define B_BYTES (TILE_N * TILE_K * 2)
#define STAGE_BYTES (A_BYTES + B_BYTES)

typedef __nv_bfloat16 Bf16;
#if Y_F32
typedef float Out;
#else
typedef Bf16 Out;
#endif

// A thread's share of the copies of an operand. OUTER: rows (or columns) of the tile. SIDE: of the filter, 0 for a matrix.
//
// A tile in shared memory, in lines of 128 bytes; a thread copies one chunk of 16 bytes of every LINES-th line:
//
//   contiguous along k     OUTER lines, one for each row of the result: 64 elements along k, 8 chunks
//   across k               panels of 64 rows of the result; a panel has 64 lines, one for each k
template <int OUTER, bool K_CONTIGUOUS, int SIDE> struct Loader {
    // Chunks of a line of device memory that belongs to the tile, and lines that all threads copy at a time.
    static constexpr int ACROSS = K_CONTIGUOUS ? TILE_K / 8 : OUTER / 8;
    static constexpr int LINES = THREADS / ACROSS;
    static constexpr int COUNT = OUTER * TILE_K / 8 / THREADS;

    const Bf16 *from;
    // Bit i: line i of this thread is inside the operand.
    unsigned inside;
    // Along the summed axis: of the first chunk, and where the sum ends.
    unsigned k, end;
    // Offset of the first chunk in a tile.
    unsigned to;
    // Elements of a row in device memory.
    unsigned row;
    // The line and the column of each pixel, 16 bits each.
    unsigned pixel[SIDE ? COUNT : 1];

    __device__ __forceinline__ Loader(const Bf16 *x, unsigned first, unsigned outer, const Params &p, unsigned begin, unsigned end)
        : end(end) {
        const unsigned chunk = threadIdx.x % ACROSS, line = threadIdx.x / ACROSS;
        if (K_CONTIGUOUS) {
            row = p.k;
            k = begin + 8 * chunk;
            inside = 0;
#pragma unroll
            for (int i = 0; i < COUNT; i++) {
                const unsigned r = first + line + i * LINES;
                inside |= unsigned(r < outer) << i;
                if (SIDE)
                    pixel[i] = r / p.w % p.h << 16 | r % p.w;
            }
            from = x + size_t(first + line) * (SIDE ? p.c : row) + (SIDE ? 0 : k);
            to = line * 128 + (chunk ^ line % 8) * 16;
        } else {
            row = outer;
            k = begin + line;
            const unsigned column = first + 8 * chunk;
            inside = column < outer ? ~0u : 0;
            from = x + size_t(k) * row + column;
            to = chunk / 8 * (TILE_K * 128) + line * 128 + (chunk % 8 ^ line % 8) * 16;
        }
    }

    // Begins to copy the next tile to `tile`.
    __device__ __forceinline__ void next(unsigned tile, const Params &p) {
        if (K_CONTIGUOUS && SIDE) {
            next_patches(tile, p);
        } else if (K_CONTIGUOUS) {
#pragma unroll
            for (int i = 0; i < COUNT; i++) {
                const bool valid = k < end && (inside >> i & 1);
                copy16(tile + to + i * (LINES * 128), from + size_t(i * LINES) * row, valid);
            }
            from += TILE_K;
        } else {
#pragma unroll
            for (int i = 0; i < COUNT; i++) {
                const bool valid = inside && k + i * LINES < end;
                copy16(tile + to + i * (LINES * 128), from + size_t(i * LINES) * row, valid);
            }
            from += size_t(TILE_K) * row;
        }
        k += TILE_K;
    }

    // The same of a feature map: one tap of the filter for each chunk, zeros in the padding.
    __device__ __forceinline__ void next_patches(unsigned tile, const Params &p) {
        constexpr unsigned ACROSS_TAPS = SIDE ? SIDE : 1;
        const unsigned tap = k / p.c, down = tap / ACROSS_TAPS, right = tap % ACROSS_TAPS;
        const int shift = (int(down) - SIDE / 2) * int(p.w) + int(right) - SIDE / 2;
        const Bf16 *shifted = from + (long long)shift * p.c + k % p.c;
#pragma unroll
        for (int i = 0; i < COUNT; i++) {
            // Unsigned: what lies before the first line or column wraps round and is beyond the last.
            const unsigned line = (pixel[i] >> 16) + down - SIDE / 2, column = (pixel[i] & 0xffff) + right - SIDE / 2;
            const bool valid = line < p.h && column < p.w && k < end && (inside >> i & 1);
            copy16(tile + to + i * (LINES * 128), shifted + size_t(i * LINES) * p.c, valid);
        }
    }
};

// Four results side by side.
struct Four {
    float v[4];
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

// Bias and epilogue for the sums at element `at` of the result. `given` is what y or aux had there before.
__device__ __forceinline__ void store_result(Four sum, const Four &bias, const Four &given, float scale, Out *aux, Out *y, size_t at) {
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
}
