// Hopper's tensor cores and asynchronous copies. A copy happens when its thread waits for it, so that a read before that is wrong. Each
// thread computes its own share of a product from shared memory at once.
#pragma once
#include <vector>

#include "cuda_bf16.h"

typedef unsigned long long Words;

inline unsigned shared_address(const void *p) { return unsigned((const unsigned char *)p - dynamic_shared_mem); }

namespace emulated {

struct Copy {
    unsigned to;
    const void *from;
    bool valid;
};

// The incomplete groups of copies of each thread of the block. The last group is still open.
inline std::vector<std::vector<Copy>> &copies() {
    static thread_local std::vector<std::vector<Copy>> all[1024];
    auto &mine = all[threadIdx.x];
    if (mine.empty())
        mine.emplace_back();
    return mine;
}

// The number at a byte of shared memory, in the 128-byte swizzle.
inline float swizzled(unsigned at) {
    at ^= (at >> 7 & 7) << 4;
    if (at + 2 > SHARED)
        fail("a product reads beyond %zu bytes of shared memory", SHARED);
    __nv_bfloat16 value;
    memcpy(&value, dynamic_shared_mem + at, 2);
    return value;
}

// Element (`outer`, `k`) of the operand that `matrix` describes.
inline float operand(Words matrix, bool transposed, unsigned outer, unsigned k) {
    const unsigned begin = (matrix & 0x3fff) * 16, lead = (matrix >> 16 & 0x3fff) * 16, stride = (matrix >> 32 & 0x3fff) * 16;
    if (matrix >> 62 != 1)
        fail("an operand of layout %u, not in the 128-byte swizzle", unsigned(matrix >> 62));
    if (transposed)
        return swizzled(begin + outer / 64 * lead + k / 8 * stride + k % 8 * 128 + outer % 64 * 2);
    return swizzled(begin + outer / 8 * stride + outer % 8 * 128 + k * 2);
}

} // namespace emulated

inline void copy16(unsigned to, const void *from, bool valid) { emulated::copies().back().push_back({to, from, valid}); }
inline void copies_end() { emulated::copies().emplace_back(); }
template <int N> void copies_wait() {
    auto &groups = emulated::copies();
    while (groups.size() > N + 1) {
        for (auto &copy : groups.front()) {
            if (copy.valid)
                memcpy(dynamic_shared_mem + copy.to, copy.from, 16);
            else
                memset(dynamic_shared_mem + copy.to, 0, 16);
        }
        groups.erase(groups.begin());
    }
}

inline void show_to_tensor_cores() {}
inline void products_begin() {}
inline void products_end() {}
template <int N> void products_wait() {}

template <int TA, int TB, int COUNT> void multiply(float (&d)[COUNT], Words a, Words b) {
    const unsigned lane = threadIdx.x % 32, first = threadIdx.x / 32 % 4 * 16 + lane / 4;
    float left[2][16];
    for (int k = 0; k < 16; k++)
        for (int half = 0; half < 2; half++)
            left[half][k] = emulated::operand(a, TA, first + 8 * half, k);
    for (int i = 0; i < COUNT; i++) {
        const unsigned column = i / 4 * 8 + lane % 4 * 2 + i % 2;
        for (int k = 0; k < 16; k++)
            d[i] += left[i / 2 % 2][k] * emulated::operand(b, TB, column, k);
    }
}
