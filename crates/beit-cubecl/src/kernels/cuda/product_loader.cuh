// Copies of operands by the threads that multiply, 16 bytes at a time: matrices, and the patches of a feature map. See product.cu.

#define THREADS 256
// Groups of products that may run on into the next step.
#define RUNNING (BLOCKS == 1 ? 1 : 0)
// Steps that copies are ahead of products.
#define AHEAD (STAGES - 1 - RUNNING)

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
