// What forward and backward of the attention share. Heads have 64 elements.
//
// Compiled for: TOKENS, WINDOW_H, WINDOW_W (the patch grid, where there is a bias), TABLES (1: a table of the layer, 2: one of all layers,
// 3: both, 0: none), PADDED (keys in shared memory, a multiple of 16), REGISTERS (of a thread, at most), for the forward CHUNK and STEPS.

typedef __nv_bfloat16 Bf16;

#define D 64
#define LINE 128
#define ROWS ((2 * WINDOW_H - 1) * (2 * WINDOW_W - 1) + 3)
#define LOG2E 1.4426950408889634f
#define FULL 0xffffffffu

// Extents; `scale` is D^-1/2.
struct Params {
    unsigned tokens, heads, batch;
    float scale;
};

// The byte of piece `piece` of line `line`.
__device__ __forceinline__ unsigned place(unsigned line, unsigned piece) { return line * LINE + ((piece ^ line % 8) * 16); }

__device__ __forceinline__ float low(unsigned word) { return __uint_as_float(word << 16); }
__device__ __forceinline__ float high(unsigned word) { return __uint_as_float(word & 0xffff0000u); }

// The row of the bias table for a query and a key that are patches is `from(query) - to(key)`.
__device__ __forceinline__ int from(int token) {
    const int patch = token - 1;
    return (patch / WINDOW_W + WINDOW_H - 1) * (2 * WINDOW_W - 1) + patch % WINDOW_W + WINDOW_W - 1;
}
__device__ __forceinline__ int to(int token) {
    const int patch = token - 1;
    return patch / WINDOW_W * (2 * WINDOW_W - 1) + patch % WINDOW_W;
}

// How a query finds its bias: the row is `base - (to(key) & mask)`, but `cls` for the first key.
struct Query {
    int base, mask, cls;
    __device__ __forceinline__ Query(int token, int tokens) {
        const int last = token < tokens ? token : tokens - 1;
        base = last == 0 ? ROWS - 3 : from(last);
        mask = last == 0 ? 0 : ~0;
        cls = last == 0 ? ROWS - 1 : ROWS - 2;
    }
    __device__ __forceinline__ int row(int key, int to) const { return key == 0 ? cls : base - (to & mask); }
};

// The bias of head `head`, times log2(e), and where each of `keys` keys is.
__device__ __forceinline__ void load_bias(const float *table, const float *shared_table, float *bias, int *places, unsigned head, const Params &p) {
    if (TABLES) {
        for (unsigned row = threadIdx.x; row < ROWS; row += blockDim.x) {
            float value = 0;
            if (TABLES & 1)
                value += table[row * p.heads + head];
            if (TABLES & 2)
                value += shared_table[row * p.heads + head];
            bias[row] = value * LOG2E;
        }
        for (unsigned key = threadIdx.x; key < PADDED; key += blockDim.x)
            places[key] = key > 0 && key < p.tokens ? to(key) : 0;
    }
}

// Begins to copy `count` rows of 64 elements, `stride` elements apart, zeros beyond `there` of them.
__device__ __forceinline__ void copy_rows(unsigned tile, const Bf16 *x, unsigned count, unsigned there, size_t stride) {
    for (unsigned e = threadIdx.x; e < count * 8; e += blockDim.x) {
        const unsigned line = e / 8, piece = e % 8;
        copy16(tile + place(line, piece), x + line * stride + piece * 8, line < there);
    }
}
