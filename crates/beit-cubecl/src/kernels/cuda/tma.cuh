// Tensor maps, and barriers of some of a block's threads: instructions of Hopper that CUDA C++ has no functions for.
//
// A barrier in shared memory has 8 bytes. Its phases end one after another, each when the arrivals that it was initialised with have
// come, and the bytes that they announced. Waiting names the parity of a phase: it returns once the phase of that parity has ended,
// which is at once for parity 1 before the first.
#ifdef BEIT_EMULATED
#include "tma.h"
#else

// What the driver encodes; a kernel's parameter.
struct alignas(64) TensorMap {
    unsigned long long opaque[16];
};

// A barrier of so many arrivals a phase.
__device__ __forceinline__ void barrier_init(unsigned barrier, unsigned arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;\n" ::"r"(barrier), "r"(arrivals) : "memory");
}

// Makes barriers that this thread has initialised visible to copies.
__device__ __forceinline__ void show_barriers() { asm volatile("fence.mbarrier_init.release.cluster;\n" ::: "memory"); }

__device__ __forceinline__ void barrier_arrive(unsigned barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];\n" ::"r"(barrier) : "memory");
}

// Arrives, and announces bytes that copies bring.
__device__ __forceinline__ void barrier_expect(unsigned barrier, unsigned bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;\n" ::"r"(barrier), "r"(bytes) : "memory");
}

__device__ __forceinline__ void barrier_wait(unsigned barrier, unsigned parity) {
    unsigned ended;
    do
        asm volatile("{\n"
                     ".reg .pred p;\n"
                     "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
                     "selp.u32 %0, 1, 0, p;\n"
                     "}\n"
                     : "=r"(ended)
                     : "r"(barrier), "r"(parity)
                     : "memory");
    while (!ended);
}

// `threads` threads, whole warps, meet at barrier 1 to 15.
__device__ __forceinline__ void meet(unsigned barrier, unsigned threads) {
    asm volatile("bar.sync %0, %1;\n" ::"r"(barrier), "r"(threads) : "memory");
}

// The same for warps that do not wait.
__device__ __forceinline__ void meet_without_waiting(unsigned barrier, unsigned threads) {
    asm volatile("bar.arrive %0, %1;\n" ::"r"(barrier), "r"(threads) : "memory");
}

// Begins to copy the tile at element (x, y) of a matrix to shared memory. x counts along the contiguous axis. Its bytes arrive at
// `barrier`.
__device__ __forceinline__ void load_tile(unsigned to, const TensorMap *map, unsigned barrier, int x, int y) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];\n" ::"r"(to),
                 "l"(map), "r"(x), "r"(y), "r"(barrier)
                 : "memory");
}

// The same of three axes.
__device__ __forceinline__ void load_box(unsigned to, const TensorMap *map, unsigned barrier, int x, int y, int z) {
    asm volatile(
        "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4}], [%5];\n" ::"r"(to),
        "l"(map), "r"(x), "r"(y), "r"(z), "r"(barrier)
        : "memory");
}

// Begins to copy a tile from shared memory; what lies outside of the tensor is left out.
__device__ __forceinline__ void store_tile(const TensorMap *map, unsigned from, int x, int y) {
    asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%1, %2}], [%3];\n" ::"l"(map), "r"(x), "r"(y), "r"(from)
                 : "memory");
}

__device__ __forceinline__ void store_box(const TensorMap *map, unsigned from, int x, int y, int z) {
    asm volatile("cp.async.bulk.tensor.3d.global.shared::cta.tile.bulk_group [%0, {%1, %2, %3}], [%4];\n" ::"l"(map), "r"(x), "r"(y),
                 "r"(z), "r"(from)
                 : "memory");
}

// Registers of each thread of a warpgroup from here on, all of whose threads call it: fewer than it has, or more, up to what others of the
// block have given up.
template <int N> __device__ __forceinline__ void give_up_registers() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;\n" ::"n"(N));
}
template <int N> __device__ __forceinline__ void take_registers() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;\n" ::"n"(N));
}

// Ends a group of stores.
__device__ __forceinline__ void stores_end() { asm volatile("cp.async.bulk.commit_group;\n" ::: "memory"); }

// Waits until at most N groups of this thread's stores still read shared memory.
template <int N> __device__ __forceinline__ void stores_wait() {
    asm volatile("cp.async.bulk.wait_group.read %0;\n" ::"n"(N) : "memory");
}
#endif
