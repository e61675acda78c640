// Shuffles and votes of a warp, and atomics.
#pragma once
#include "fibres.h"

namespace emulated {

template <class T> struct Shuffle {
    T value, result;
    int from;
};

// `from` is the lane that this thread reads, -1 for its own value.
template <class T> T shuffle(int line, unsigned mask, T value, int from) {
    Shuffle<T> mine{value, value, from};
    collective(line, "a shuffle", mask, &mine, [](Warp &warp) {
        for (unsigned i = 0; i < warp.threads; i++) {
            auto &to = *(Shuffle<T> *)warp.slots[i];
            if (to.from >= 0 && unsigned(to.from) < warp.threads)
                to.result = ((Shuffle<T> *)warp.slots[to.from])->value;
            else if (to.from >= 0) // A lane that is not there.
                memset((void *)&to.result, NOTHING, sizeof(T));
        }
    });
    return mine.result;
}

template <class T> T shfl(int line, unsigned mask, T value, int lane) {
    return shuffle(line, mask, value, lane & 31);
}

template <class T> T shfl_xor(int line, unsigned mask, T value, int lanes) {
    return shuffle(line, mask, value, (self->lane ^ lanes) & 31);
}

template <class T> T shfl_up(int line, unsigned mask, T value, unsigned delta) {
    return shuffle(line, mask, value, self->lane < delta ? -1 : int(self->lane - delta));
}

template <class T> T shfl_down(int line, unsigned mask, T value, unsigned delta) {
    return shuffle(line, mask, value, self->lane + delta > 31 ? -1 : int(self->lane + delta));
}

static unsigned ballot(int line, unsigned mask, bool vote) {
    unsigned votes = vote;
    collective(line, "a vote", mask, &votes, [](Warp &warp) {
        unsigned all = 0;
        for (unsigned i = 0; i < warp.threads; i++)
            all |= *(unsigned *)warp.slots[i] << i;
        for (unsigned i = 0; i < warp.threads; i++)
            *(unsigned *)warp.slots[i] = all;
    });
    return votes;
}

static bool all(int line, unsigned mask, bool vote) {
    return ballot(line, mask, !vote) == 0;
}

static bool any(int line, unsigned mask, bool vote) {
    return ballot(line, mask, vote) != 0;
}

static void sync_warp(int line, unsigned mask = 0xffffffff) {
    // Shuffles and votes order no accesses to memory.
    collective(line, "__syncwarp", mask, nullptr, [](Warp &warp) { meet_all(warp.first - block.thread, warp.threads); });
}

// `f(old, value)` in memory that other blocks reach too. Returns the old value.
template <class T, class F> T atomic(T *address, T value, F f) {
    T old, next;
    __atomic_load(address, &old, __ATOMIC_RELAXED);
    do
        next = f(old, value);
    while (!__atomic_compare_exchange(address, &old, &next, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return old;
}

} // namespace emulated

#define __syncthreads() emulated::barrier(__LINE__)
#define __syncwarp(...) emulated::sync_warp(__LINE__ __VA_OPT__(, ) __VA_ARGS__)
#define __shfl_sync(...) emulated::shfl(__LINE__, __VA_ARGS__)
#define __shfl_xor_sync(...) emulated::shfl_xor(__LINE__, __VA_ARGS__)
#define __shfl_up_sync(...) emulated::shfl_up(__LINE__, __VA_ARGS__)
#define __shfl_down_sync(...) emulated::shfl_down(__LINE__, __VA_ARGS__)
#define __ballot_sync(...) emulated::ballot(__LINE__, __VA_ARGS__)
#define __all_sync(...) emulated::all(__LINE__, __VA_ARGS__)
#define __any_sync(...) emulated::any(__LINE__, __VA_ARGS__)
#define __threadfence() __atomic_thread_fence(__ATOMIC_SEQ_CST)

template <class T> T atomicAdd(T *p, T v) { return emulated::atomic(p, v, [](T a, T b) { return T(a + b); }); }
template <class T> T atomicSub(T *p, T v) { return emulated::atomic(p, v, [](T a, T b) { return T(a - b); }); }
template <class T> T atomicMax(T *p, T v) { return emulated::atomic(p, v, [](T a, T b) { return a < b ? b : a; }); }
template <class T> T atomicMin(T *p, T v) { return emulated::atomic(p, v, [](T a, T b) { return b < a ? b : a; }); }
template <class T> T atomicAnd(T *p, T v) { return emulated::atomic(p, v, [](T a, T b) { return T(a & b); }); }
template <class T> T atomicOr(T *p, T v) { return emulated::atomic(p, v, [](T a, T b) { return T(a | b); }); }
template <class T> T atomicXor(T *p, T v) { return emulated::atomic(p, v, [](T a, T b) { return T(a ^ b); }); }
template <class T> T atomicExch(T *p, T v) { return emulated::atomic(p, v, [](T, T b) { return b; }); }
template <class T> T atomicCAS(T *p, T expected, T v) {
    return emulated::atomic(p, v, [expected](T a, T b) { return a == expected ? b : a; });
}
