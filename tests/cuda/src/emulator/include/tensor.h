// The instructions of mma.cuh on the CPU.
#pragma once
#include "async.h"
#include "cuda_bf16.h"

typedef unsigned u32;

namespace emulated {

struct Matrices {
    u32 *x;
    u32 address;
};

inline void matrices(u32 (&x)[4], u32 address, bool transposed) {
    Matrices mine{x, address};
    collective(__LINE__ + transposed, "ldmatrix", 0xffffffff, &mine, [=](Warp &warp) {
        uint16_t rows[32][8];
        for (unsigned l = 0; l < WARP; l++)
            memcpy(rows[l], shared_bytes(((Matrices *)warp.slots[l])->address, 16, 16, "ldmatrix"), 16);
        for (unsigned l = 0; l < WARP; l++)
            for (unsigned i = 0; i < 4; i++) {
                unsigned row = l / 4, column = 2 * (l % 4);
                const auto *m = &rows[8 * i];
                u32 first = transposed ? m[column][row] : m[row][column];
                u32 second = transposed ? m[column + 1][row] : m[row][column + 1];
                ((Matrices *)warp.slots[l])->x[i] = first | second << 16;
            }
    });
}

struct Product {
    float *c;
    const u32 *a;
    u32 b[2];
};

} // namespace emulated

inline void load_matrices(u32 (&x)[4], u32 address) { emulated::matrices(x, address, false); }
inline void load_matrices_transposed(u32 (&x)[4], u32 address) { emulated::matrices(x, address, true); }

inline float low(u32 pair) { return emulated::number(pair << 16); }
inline float high(u32 pair) { return emulated::number(pair & 0xffff0000); }
inline u32 pack(float low, float high) { return emulated::narrow_bfloat(low) | u32(emulated::narrow_bfloat(high)) << 16; }
inline float exp2_fast(float x) { return std::exp2(x); }

inline void multiply_add(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    using namespace emulated;
    Product mine{c, a, {b0, b1}};
    collective(__LINE__, "mma", 0xffffffff, &mine, [](Warp &warp) {
        float a[16][16], b[16][8];
        for (unsigned l = 0; l < WARP; l++) {
            const auto &lane = *(Product *)warp.slots[l];
            for (unsigned i = 0; i < 4; i++) {
                a[l / 4 + i % 2 * 8][2 * (l % 4) + i / 2 * 8] = low(lane.a[i]);
                a[l / 4 + i % 2 * 8][2 * (l % 4) + i / 2 * 8 + 1] = high(lane.a[i]);
            }
            for (unsigned i = 0; i < 2; i++) {
                b[2 * (l % 4) + i * 8][l / 4] = low(lane.b[i]);
                b[2 * (l % 4) + i * 8 + 1][l / 4] = high(lane.b[i]);
            }
        }
        for (unsigned l = 0; l < WARP; l++)
            for (unsigned i = 0; i < 4; i++) {
                float sum = ((Product *)warp.slots[l])->c[i];
                for (unsigned k = 0; k < 16; k++)
                    sum += a[l / 4 + i / 2 * 8][k] * b[k][2 * (l % 4) + i % 2];
                ((Product *)warp.slots[l])->c[i] = sum;
            }
    });
}

inline void copy_async(u32 to, const void *from, bool valid) { emulated::copy_begins(to, from, valid); }
inline void commit_copies() { emulated::copies[emulated::thread_number()].end_group(); }
template <int N> inline void wait_copies() { emulated::copies_wait_for(N); }
