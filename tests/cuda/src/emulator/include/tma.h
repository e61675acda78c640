// The instructions of tma.cuh on the CPU. Each names the line of its call.
#pragma once
#include "tensor_map.h"

struct alignas(64) TensorMap {
    unsigned long long opaque[16];
};

#define HERE int line = __builtin_LINE()

inline void barrier_init(unsigned barrier, unsigned arrivals, HERE) { emulated::initialise_barrier(line, barrier, arrivals); }
inline void show_barriers() { emulated::show_barriers(); }
inline void barrier_arrive(unsigned barrier, HERE) { emulated::arrive(line, emulated::phase_barrier(line, barrier)); }
inline void barrier_expect(unsigned barrier, unsigned bytes, HERE) {
    emulated::PhaseBarrier &found = emulated::phase_barrier(line, barrier);
    emulated::expect_bytes(line, found, bytes);
    emulated::arrive(line, found);
}
inline void barrier_wait(unsigned barrier, unsigned parity, HERE) { emulated::wait_for_phase(line, barrier, parity); }
inline void meet(unsigned barrier, unsigned threads, HERE) { emulated::meet(line, barrier, threads, true); }
inline void meet_without_waiting(unsigned barrier, unsigned threads, HERE) { emulated::meet(line, barrier, threads, false); }

inline void load_tile(unsigned to, const TensorMap *map, unsigned barrier, int x, int y, HERE) {
    emulated::load_tile(line, to, map, barrier, x, y);
}
inline void store_tile(const TensorMap *map, unsigned from, int x, int y, HERE) { emulated::store_tile(line, map, from, x, y); }
inline void load_box(unsigned to, const TensorMap *map, unsigned barrier, int x, int y, int z, HERE) {
    emulated::load_tile(line, to, map, barrier, x, y, z);
}
inline void store_box(const TensorMap *map, unsigned from, int x, int y, int z, HERE) {
    emulated::store_tile(line, map, from, x, y, z);
}
template <int N> void give_up_registers() {}
template <int N> void take_registers() {}
inline void stores_end() { emulated::stores[emulated::thread_number()].end_group(); }
template <int N> void stores_wait() { emulated::stores_wait_for(N); }
#undef HERE
