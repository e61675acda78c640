// y [M, 64] = a [M, K] · b [64, K]ᵀ with warps of two roles, for one tile of 64 rows after another.
//
//   warp 4, one thread     copies tiles of a and b by tensor maps ----+       full: the bytes of a stage have come
//                                                                     v       empty: the warps of products have left it
//   shared memory          | stage 0: a, b | stage 1: a, b | result | barriers
//                                                              ^      |
//   warps 0 to 3           multiply, write the result there, store it by a tensor map while the next tile is multiplied
//
// What is wrong:
#define NONE 0
// Products wait for the phase that ended before; copies do not wait until a stage is empty.
#define WRONG_PHASE 1
#define STAGE_NOT_EMPTY 2
// Fewer bytes, or more, are announced than come.
#define TOO_FEW_BYTES 3
#define TOO_MANY_BYTES 4
// Copies do not see that the barriers are there; threads do not.
#define BARRIERS_NOT_SHOWN 5
#define NO_BARRIER_AFTER_INIT 6
// A stage is said to be empty while products still read it.
#define EMPTIED_TOO_EARLY 7
// One arrival too few at the barriers of empty stages.
#define ARRIVAL_MISSING 8
// The result is written over while it is stored; it is stored before all have written it; it is not waited for.
#define RESULT_NOT_STORED 9
#define RESULT_NOT_WRITTEN 10
#define STORE_NOT_WAITED_FOR 11
// Writes of the result are not shown to the store.
#define RESULT_NOT_SHOWN 12
// The warps of products expect the warp of copies at their barrier.
#define WRONG_THREADS 13

struct Params {
    unsigned fault, unused;
};

// NVIDIA's compiler gets the right kernel. The emulator's gets all of them at once: which fault it is comes with the launch.
#ifdef BEIT_EMULATED
static unsigned fault;
#define TAKE_FAULT(p) fault = p.fault
#else
constexpr unsigned fault = NONE;
#define TAKE_FAULT(p)
#endif

typedef __nv_bfloat16 Bf16;

#define THREADS 160
#define TILES 3
#define STEPS 3
#define STAGES 2
#define OPERAND_BYTES (64 * 128)
#define STAGE_BYTES (2 * OPERAND_BYTES)
#define RESULT_AT (STAGES * STAGE_BYTES)
#define RESULT_BYTES (64 * 64 * 4)
#define BARRIERS_AT (RESULT_AT + RESULT_BYTES)

struct Shared {
    unsigned base;

    __device__ __forceinline__ unsigned stage(int s) const { return base + s * STAGE_BYTES; }
    __device__ __forceinline__ unsigned result() const { return base + RESULT_AT; }
    __device__ __forceinline__ unsigned full(int s) const { return base + BARRIERS_AT + 8 * s; }
    __device__ __forceinline__ unsigned empty(int s) const { return base + BARRIERS_AT + 8 * (STAGES + s); }
};

// One thread's part: fills one stage after another.
__device__ __forceinline__ void copy(const Shared &shared, const TensorMap *a, const TensorMap *b) {
    for (int n = 0; n < TILES * STEPS; n++) {
        const int stage = n % STAGES, step = n % STEPS;
        if (fault != STAGE_NOT_EMPTY)
            barrier_wait(shared.empty(stage), n / STAGES % 2 ^ 1);
        const int off = fault == TOO_FEW_BYTES ? -128 : fault == TOO_MANY_BYTES ? 128 : 0;
        barrier_expect(shared.full(stage), STAGE_BYTES + off);
        load_tile(shared.stage(stage), a, shared.full(stage), step * 64, n / STEPS * 64);
        load_tile(shared.stage(stage) + OPERAND_BYTES, b, shared.full(stage), step * 64, 0);
    }
}

__device__ __forceinline__ Words descriptor(unsigned address) {
    return Words(address / 16) | Words(1) << 16 | Words(1024 / 16) << 32 | Words(1) << 62;
}

// The sums of one tile; `n` counts the steps of all.
__device__ __forceinline__ void multiply_tile(float (&sums)[32], const Shared &shared, int &n) {
    for (int step = 0; step < STEPS; step++, n++) {
        const int stage = n % STAGES;
        barrier_wait(shared.full(stage), n / STAGES % 2 ^ (fault == WRONG_PHASE));
        products_begin();
#pragma unroll
        for (int k = 0; k < 4; k++)
            multiply<0, 0>(sums, descriptor(shared.stage(stage)) + 2 * k, descriptor(shared.stage(stage) + OPERAND_BYTES) + 2 * k);
        products_end();
        const bool arrives = threadIdx.x % 32 == 0 && !(fault == ARRIVAL_MISSING && threadIdx.x == 0);
        if (fault == EMPTIED_TOO_EARLY && arrives)
            barrier_arrive(shared.empty(stage));
        products_wait<0>(sums);
        if (fault != EMPTIED_TOO_EARLY && arrives)
            barrier_arrive(shared.empty(stage));
    }
}

// Writes the sums to shared memory, in two panels of 32 columns, and begins to store them.
__device__ __forceinline__ void store(const float (&sums)[32], const Shared &shared, float *result, const TensorMap *y, int tile) {
    // The one thread that stores has waited until the tile before was read.
    if (threadIdx.x == 0 && fault != RESULT_NOT_STORED)
        stores_wait<0>();
    meet(1, fault == WRONG_THREADS ? THREADS : 128);
    const unsigned row = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4, column = threadIdx.x % 4 * 2;
#pragma unroll
    for (int i = 0; i < 32; i++) {
        const unsigned c = column + i / 4 * 8 + i % 2;
        result[c / 32 * (64 * 32) + (row + i / 2 % 2 * 8) * 32 + c % 32] = sums[i];
    }
    if (fault != RESULT_NOT_SHOWN)
        show_to_tensor_cores();
    if (fault != RESULT_NOT_WRITTEN)
        meet(2, 128);
    if (threadIdx.x == 0) {
        store_tile(y, shared.result(), 0, tile * 64);
        store_tile(y, shared.result() + RESULT_BYTES / 2, 32, tile * 64);
        stores_end();
    }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    roles(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, const __grid_constant__ TensorMap y, const Bf16 *,
          const Bf16 *, float *, const Params p) {
    TAKE_FAULT(p);
    extern __shared__ __align__(1024) unsigned char dynamic_shared_mem[];
    const Shared shared{(shared_address(dynamic_shared_mem) + 1023) / 1024 * 1024};
    float *result = reinterpret_cast<float *>(dynamic_shared_mem + (shared.result() - shared_address(dynamic_shared_mem)));
    if (threadIdx.x == 128) {
        for (int s = 0; s < STAGES; s++) {
            barrier_init(shared.full(s), 1);
            barrier_init(shared.empty(s), 4);
        }
        if (fault != BARRIERS_NOT_SHOWN)
            show_barriers();
    }
    if (fault != NO_BARRIER_AFTER_INIT)
        __syncthreads();
    if (threadIdx.x >= 128) {
        if (threadIdx.x == 128)
            copy(shared, &a, &b);
        return;
    }
    int n = 0;
    for (int tile = 0; tile < TILES; tile++) {
        float sums[32] = {};
        multiply_tile(sums, shared, n);
        store(sums, shared, result, &y, tile);
    }
    if (threadIdx.x == 0 && fault != STORE_NOT_WAITED_FOR)
        stores_wait<0>();
}
