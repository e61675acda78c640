// The gradient of the bias table of a head, added up in registers over the images of a block, from `dSᵀ` in shared memory.
//
//                    queries
//               line 0  line 1  line 2 ...        warp w, slot s: the pairs of lines at distance d = w + s · WARPS (before = 0) and
//     keys  l0 | d = 0 | d = 1 | d = 2 |                         at distance d - WINDOW_H (before = 1)
//           l1 | d=-1  | d = 0 | d = 1 |           lane l:        the pairs of columns at distance l - (WINDOW_W - 1)
//           l2 | d=-2  | d=-1  | d = 0 |           lanes behind:  [CLS] as key, [CLS] as query, [CLS] with itself
//
// A lane walks along one diagonal of each block of columns, so each row of the table has one lane of one warp, and no atomics
// are needed. A warp has one line of queries for every line of keys: the two distances of a slot have WINDOW_H pairs of lines
// together.

// Bytes of a row of `dSᵀ`: an odd number of chunks of 16 bytes, so that equal chunks of eight rows lie in different banks.
constexpr int SCORES_ROW = 2 * PADDED + 16;
// Pairs of distances between lines that a warp has.
constexpr int SLOTS = (WINDOW_H + WARPS - 1) / WARPS;
static_assert(!TABLES || ACROSS + 3 <= 32, "a window too wide");
static_assert(!TABLES || WINDOW_H * WINDOW_W + 1 == TOKENS, "tokens of another window");

// The element of `dSᵀ` at an offset in bytes.
__device__ __forceinline__ float score_at(const unsigned char *scores, int offset) {
    return low(*(const unsigned short *)(scores + offset));
}

// Adds the `dSᵀ` of one image to the sums.
__device__ __forceinline__ void fold_scores(float (&fold)[SLOTS][2], const unsigned char *scores) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
    for (int slot = 0; slot < SLOTS; slot++) {
        const int d = warp + slot * WARPS;
        if (d >= WINDOW_H)
            break;
        if (lane < ACROSS) {
            const int right = lane - (WINDOW_W - 1);
#pragma unroll
            for (int before = 0; before < 2; before++) {
                const int from = before ? WINDOW_H - d : 0, to = before ? WINDOW_H : WINDOW_H - d;
                float sum = fold[slot][before];
#pragma unroll 1
                for (int line = from; line < to; line++) {
                    const int q_line = before ? line + d - WINDOW_H : line + d;
                    const int at = (line * WINDOW_W + 1) * SCORES_ROW + 2 * (q_line * WINDOW_W + right + 1);
#pragma unroll
                    for (int column = 0; column < WINDOW_W; column++)
                        if (unsigned(column + right) < unsigned(WINDOW_W))
                            sum += score_at(scores, at + column * (SCORES_ROW + 2));
                }
                fold[slot][before] = sum;
            }
        } else if (lane < ACROSS + 2) {
            const bool keys = lane == ACROSS + 1;
            const int step = keys ? SCORES_ROW : 2;
            float sum = fold[slot][0];
#pragma unroll 2
            for (int column = 0; column < WINDOW_W; column++)
                sum += score_at(scores, (d * WINDOW_W + 1 + column) * step);
            fold[slot][0] = sum;
        } else if (lane == ACROSS + 2 && d == 0) {
            fold[slot][0] += score_at(scores, 0);
        }
    }
}

// Writes the sums to `out [R]`. `cls` is shared memory of 2 WINDOW_H numbers: warps have parts of the rows of [CLS].
__device__ __forceinline__ void store_fold(float *out, float *cls, const float (&fold)[SLOTS][2]) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    __syncthreads();
#pragma unroll
    for (int slot = 0; slot < SLOTS; slot++) {
        const int d = warp + slot * WARPS;
        if (d < WINDOW_H) {
            if (lane < ACROSS) {
                out[(d + WINDOW_H - 1) * ACROSS + lane] = fold[slot][0];
                if (d > 0)
                    out[(d - 1) * ACROSS + lane] = fold[slot][1];
            } else if (lane < ACROSS + 2) {
                cls[(lane - ACROSS) * WINDOW_H + d] = fold[slot][0];
            } else if (lane == ACROSS + 2 && d == 0) {
                out[BIAS_ROWS - 1] = fold[slot][0];
            }
        }
    }
    __syncthreads();
    if (threadIdx.x < 2) {
        float sum = 0;
        for (int d = 0; d < WINDOW_H; d++)
            sum += cls[threadIdx.x * WINDOW_H + d];
        out[BIAS_ROWS - 2 - int(threadIdx.x)] = sum;
    }
}
