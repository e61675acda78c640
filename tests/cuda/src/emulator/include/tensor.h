// The instructions of mma.cuh. Copies happen when their thread waits for them.
#pragma once
#include "wgmma.h"

namespace emulated {

struct Lines {
    unsigned line;
    unsigned *result;
};

// Matrix i is named by the lanes from 8 i on; lane l gets elements 2 (l % 4) and the next of line l / 4 of each.
inline void load(int line, unsigned (&r)[4], unsigned address, bool turned) {
    Lines mine{address, r};
    collective(line, "ldmatrix", 0xffffffff, &mine, [turned](Warp &warp) {
        for (unsigned lane = 0; lane < warp.threads; lane++)
            for (unsigned i = 0; i < 4; i++)
                for (unsigned half = 0; half < 2; half++) {
                    const unsigned row = turned ? lane % 4 * 2 + half : lane / 4, column = turned ? lane / 4 : lane % 4 * 2 + half;
                    const unsigned at = ((Lines *)warp.slots[8 * i + row])->line;
                    if (at % 16 != 0 || at + 16 > SHARED)
                        fail("a line of a matrix at byte %u of shared memory", at);
                    uint16_t value;
                    memcpy(&value, dynamic_shared_mem + at + 2 * column, 2);
                    memcpy((unsigned char *)&((Lines *)warp.slots[lane])->result[i] + 2 * half, &value, 2);
                }
    });
}

struct Factors {
    float *d;
    const unsigned *a;
    unsigned b[2];
};

inline float half_of(unsigned word, unsigned half) { return number(half ? word & 0xffff0000u : word << 16); }

inline void multiply(int line, float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    Factors mine{d, a, {b0, b1}};
    collective(line, "mma", 0xffffffff, &mine, [](Warp &warp) {
        auto of = [&](unsigned lane) -> Factors & { return *(Factors *)warp.slots[lane]; };
        for (unsigned lane = 0; lane < warp.threads; lane++)
            for (unsigned i = 0; i < 4; i++) {
                const unsigned row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
                float sum = of(lane).d[i];
                for (unsigned k = 0; k < 16; k++) {
                    const float left = half_of(of(row % 8 * 4 + k % 8 / 2).a[row / 8 + k / 8 * 2], k % 2);
                    sum += left * half_of(of(column * 4 + k % 8 / 2).b[k / 8], k % 2);
                }
                of(lane).d[i] = sum;
            }
    });
}

} // namespace emulated

#define load_four(r, line) emulated::load(__LINE__, r, line, false)
#define load_four_turned(r, line) emulated::load(__LINE__, r, line, true)
#define multiply(...) emulated::multiply(__LINE__, __VA_ARGS__)

inline unsigned pair(float low, float high) {
    return emulated::narrow_bfloat(low) | unsigned(emulated::narrow_bfloat(high)) << 16;
}
inline float power_of_two(float x) { return std::exp2(x); }
