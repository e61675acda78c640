// y [64, 64] = a [64, K] · b [64, K]ᵀ by one warpgroup, as product.cu does it: copies ahead of products, products in the background.
//
//   shared memory    | a, b | a, b | a, b |    STAGES buffers, each 64 elements along k in lines of 128 bytes
//                        ^ multiplied  ^ copied, while the products of the step before may still run
//
// What is wrong:
#define NONE 0
// The products of a step begin before its copies have come.
#define COPIES_NOT_WAITED_FOR 1
// With two buffers, copies go where products may still read.
#define TOO_FEW_BUFFERS 2
// No fence.proxy.async, no wgmma.fence, no wgmma.commit_group, no cp.async.commit_group.
#define COPIES_NOT_SHOWN 3
#define REGISTERS_NOT_FENCED 4
#define PRODUCTS_NOT_ENDED 5
#define COPIES_NOT_ENDED 6
// No barrier between the copies of other threads and the products that read them.
#define NO_BARRIER 7
// Sums are read, or changed, before the last products have ended.
#define SUMS_READ 8
#define SUMS_CHANGED 9

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

#define THREADS 128
#define STEPS 5
#define K (64 * STEPS)
#define STAGES (fault == TOO_FEW_BUFFERS ? 2 : 3)
#define OPERAND_BYTES (64 * 128)
#define STAGE_BYTES (2 * OPERAND_BYTES)

// 64 lines of a matrix from column `first` on.
__device__ __forceinline__ void copy_operand(unsigned to, const Bf16 *x, int first) {
    for (int i = threadIdx.x; i < 64 * 8; i += THREADS) {
        const int line = i / 8, chunk = i % 8;
        copy16(to + line * 128 + (chunk ^ line % 8) * 16, x + line * K + first + chunk * 8, true);
    }
}

__device__ __forceinline__ void copy_stage(unsigned shared, const Bf16 *a, const Bf16 *b, int step) {
    if (step < STEPS) {
        const unsigned to = shared + step % STAGES * STAGE_BYTES;
        copy_operand(to, a, step * 64);
        copy_operand(to + OPERAND_BYTES, b, step * 64);
    }
    if (fault != COPIES_NOT_ENDED)
        copies_end();
}

__device__ __forceinline__ Words descriptor(unsigned address) {
    return Words(address / 16) | Words(1) << 16 | Words(1024 / 16) << 32 | Words(1) << 62;
}

__device__ __forceinline__ void multiply_stage(float (&sums)[32], unsigned tile) {
    if (fault != REGISTERS_NOT_FENCED)
        products_begin();
#pragma unroll
    for (int k = 0; k < 4; k++)
        multiply<0, 0>(sums, descriptor(tile) + 2 * k, descriptor(tile + OPERAND_BYTES) + 2 * k);
    if (fault != PRODUCTS_NOT_ENDED)
        products_end();
}

extern "C" __global__ void __launch_bounds__(THREADS) pipeline(const Bf16 *a, const Bf16 *b, float *y, const Params p) {
    TAKE_FAULT(p);
    extern __shared__ __align__(1024) unsigned char dynamic_shared_mem[];
    const unsigned shared = (shared_address(dynamic_shared_mem) + 1023) / 1024 * 1024;
    float sums[32] = {};
    copy_stage(shared, a, b, 0);
    for (int step = 0; step < STEPS; step++) {
        if (fault == COPIES_NOT_WAITED_FOR)
            copies_wait<1>();
        else
            copies_wait<0>();
        if (fault != COPIES_NOT_SHOWN)
            show_to_tensor_cores();
        products_wait<1>(sums);
        if (fault != NO_BARRIER)
            __syncthreads();
        multiply_stage(sums, shared + step % STAGES * STAGE_BYTES);
        copy_stage(shared, a, b, step + 1);
    }
    if (fault == SUMS_CHANGED)
        sums[0] = 0;
    if (fault != SUMS_READ)
        products_wait<0>(sums);
    const unsigned row = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4, column = threadIdx.x % 4 * 2;
#pragma unroll
    for (int i = 0; i < 32; i++)
        y[(row + i / 2 % 2 * 8) * 64 + column + i / 4 * 8 + i % 2] = sums[i];
    products_wait<0>(sums);
    copies_wait<0>();
}
