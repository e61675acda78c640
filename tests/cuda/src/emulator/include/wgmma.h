// The instructions of wgmma.cuh on the CPU: Hopper's tensor cores and asynchronous copies. Each thread computes its own share of a
// product from shared memory.
#pragma once
#include "cuda_bf16.h"
#include "products.h"

using emulated::Words;

namespace emulated {

// Where element (`outer`, `k`) of the operand that `matrix` describes is in shared memory, in the 128-byte swizzle. The 8 elements along
// its contiguous axis of which it is one lie side by side.
UNSEEN inline unsigned place(Words matrix, bool transposed, unsigned outer, unsigned k) {
    const unsigned begin = (matrix & 0x3fff) * 16, lead = (matrix >> 16 & 0x3fff) * 16, stride = (matrix >> 32 & 0x3fff) * 16;
    if (matrix >> 62 != 1)
        fail("an operand of layout %u, not in the 128-byte swizzle", unsigned(matrix >> 62));
    const unsigned at = begin + (transposed ? outer / 64 * lead + k / 8 * stride + k % 8 * 128 + outer % 64 * 2
                                            : outer / 8 * stride + outer % 8 * 128 + k * 2);
    if (at + 2 > SHARED)
        fail("a product reads beyond %zu bytes of shared memory", SHARED);
    return at ^ (at >> 7 & 7) << 4;
}

UNSEEN inline float operand(Words matrix, bool transposed, unsigned outer, unsigned k) {
    const unsigned at = place(matrix, transposed, outer, k);
    if (chunks[at / CHUNK] != Chunk::Settled)
        look(at, "a product reads");
    // A bfloat16 is the upper half of an f32; its own functions are seen.
    uint16_t half;
    memcpy(&half, dynamic_shared_mem + at, 2);
    const uint32_t bits = uint32_t(half) << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

// A warp reads `count` rows of an operand, from row `first` on.
UNSEEN inline void watch_operand(Words matrix, bool transposed, unsigned first, unsigned count) {
    for (unsigned outer = first; outer < first + count; outer += transposed ? 8 : 1)
        for (unsigned k = 0; k < 16; k += transposed ? 1 : 8)
            watch_read(thread_number(), place(matrix, transposed, outer, k), CHUNK);
}

// Adds a thread's share of a product: of each 8 columns two, in two rows.
template <int TA, int TB, int COUNT> UNSEEN void add_product(float *sums, Words a, Words b) {
    constexpr int K = 16;
    const unsigned lane = threadIdx.x % 32, row = threadIdx.x / 32 % 4 * 16 + lane / 4;
    // One lane stands for the warp.
    if (lane == 0 && watching()) {
        watch_operand(a, TA, row, 16);
        watch_operand(b, TB, 0, COUNT * 2);
    }
    float left[2][K], right[K];
    for (int half = 0; half < 2; half++)
        for (int k = 0; k < K; k++)
            left[half][k] = operand(a, TA, row + 8 * half, k);
    for (int column = 0; column < COUNT / 2; column++) {
        for (int k = 0; k < K; k++)
            right[k] = operand(b, TB, column / 2 * 8 + lane % 4 * 2 + column % 2, k);
        for (int half = 0; half < 2; half++) {
            float &sum = sums[column / 2 * 4 + half * 2 + column % 2];
            for (int k = 0; k < K; k++)
                sum += left[half][k] * right[k];
        }
    }
}

} // namespace emulated

inline void copy16(unsigned to, const void *from, bool valid) { emulated::copy_begins(to, from, valid); }
inline void copies_end() { emulated::copies[emulated::thread_number()].end_group(); }
template <int N> void copies_wait() { emulated::copies_wait_for(N); }

inline void show_to_tensor_cores() { emulated::show(); }
inline void products_begin() { emulated::products[emulated::thread_number()].fenced = true; }
inline void products_end() { emulated::products[emulated::thread_number()].groups.end_group(); }
template <int N, int COUNT> void products_wait(float (&)[COUNT]) { emulated::products_wait_for(N); }

template <int TA, int TB, int COUNT> void multiply(float (&d)[COUNT], Words a, Words b) {
    emulated::product_begins(d, COUNT, a, b, emulated::add_product<TA, TB, COUNT>);
}
