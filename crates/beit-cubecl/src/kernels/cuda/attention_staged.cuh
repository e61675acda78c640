// Attention backward with a few tiles of tokens in shared memory at a time: sequences of any length. See
// attention_backward.cuh for one tile of queries and keys.
//
//   kernel                       a block has                        and loops over             result
//   attention_backward_queries   WARPS tiles of queries             all keys                   dQ, delta
//   attention_backward_keys      WARPS tiles of keys                all queries                dK, dV
//   attention_backward_scores    WARPS tiles of keys                all images                 dS summed over images
//                                by STAGE tiles of queries
//   attention_fold_scores        a warp for a row of the table      the pairs that read it     the tables' gradients
//
//   shared memory     | operand 1 [64, D]  | operand 2 [64, D]  | terms [64] | offsets [64] | bias [R] |
//                       k, or q              v, or dO
//
// A stage is 4 tiles, 64 tokens: 16 KB for both operands of heads of 64. Each gradient has a kernel of its own, since a warp accumulates
// along one axis only. Scores are computed again in each of the first three. A kernel is a file, so that none is compiled with the others.

// Tiles that shared memory holds of each operand.
constexpr int STAGE = 4;
constexpr int STAGES = (TILES + STAGE - 1) / STAGE;
constexpr int STAGE_BYTES = STAGE * TILE_BYTES;
constexpr int TERMS_AT = 2 * STAGE_BYTES;
constexpr int OFFSETS_AT = TERMS_AT + 8 * 16 * STAGE;
constexpr int BIAS_AT = OFFSETS_AT + 4 * 16 * STAGE;
constexpr int BACKWARD_SHARED = BIAS_AT + 4 * BIAS_LEN;

// The stages of the two kernels over tiles of keys: queries, the gradient of their context, and their terms.
struct Stage {
    const __nv_bfloat16 *qkv, *d_context;
    const float *lse, *delta, *q_bias;
    unsigned char *memory;
    u32 base, heads, head;
    float scale;

    // Copies the stage that begins at token `first`.
    __device__ __forceinline__ void load(u32 image, int first) const {
        const u32 width = heads * HEAD_DIM;
        const size_t row = size_t(image) * TOKENS;
        __syncthreads();
        copy_rows<16 * STAGE, THREADS>(base, qkv + row * 3 * width + head * HEAD_DIM, 3 * size_t(width), first);
        copy_rows<16 * STAGE, THREADS>(base + STAGE_BYTES, d_context + row * width + head * HEAD_DIM, width, first);
        commit_copies();
        for (int i = threadIdx.x; i < 16 * STAGE; i += THREADS) {
            const int token = first + i;
            const u32 at = (image * heads + head) * TOKENS + token;
            const bool valid = token < TOKENS;
            ((Term *)(memory + TERMS_AT))[i] = term(valid ? lse[at] : 0.f, valid ? delta[at] : 0.f, token);
            if (TABLES)
                ((int *)(memory + OFFSETS_AT))[i] = query_offset(token);
        }
        wait_copies<0>();
        for (int e = threadIdx.x; e < 16 * STAGE * ROW_CHUNKS; e += THREADS) {
            const int row = e / ROW_CHUNKS, chunk = e % ROW_CHUNKS;
            uint4 *query = (uint4 *)(memory + chunk_offset(row, chunk));
            u32 pairs[4] = {query->x, query->y, query->z, query->w};
            if (first + row < TOKENS && chunk * 8 < HEAD_DIM)
                add_and_scale(pairs, q_bias + head * HEAD_DIM + chunk * 8, scale);
            *query = {pairs[0], pairs[1], pairs[2], pairs[3]};
        }
        __syncthreads();
    }

    __device__ __forceinline__ QueryTile tile(int t) const {
        return {base + t * TILE_BYTES, base + STAGE_BYTES + t * TILE_BYTES, (const Term *)(memory + TERMS_AT) + 16 * t,
                (const int *)(memory + OFFSETS_AT) + 16 * t};
    }
};

// The positions of a warp's 16 keys: offsets into the bias, and which are tokens.
struct KeyPositions {
    int to[1][2];
    bool valid[1][2];

    __device__ __forceinline__ KeyPositions(int first) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int token = first + threadIdx.x % 32 / 4 + 8 * half;
            to[0][half] = TABLES ? key_offset(token) : 0;
            valid[0][half] = token < TOKENS;
        }
    }
};
