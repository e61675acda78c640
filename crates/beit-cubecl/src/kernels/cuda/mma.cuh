// Tensor cores of a warp, their loads from shared memory, asynchronous copies: instructions that CUDA C++ has no functions for.
//
// Addresses of shared memory are 32 bits, as the instructions take them. A pair of bfloat16 is 32 bits, the first element the
// lower half.
//
//   c [16, 8] += a [16, 16] · b [16, 8]      lane l holds
//     a   rows l / 4 and l / 4 + 8, columns 2 (l % 4) and the next, and 8 further      four registers
//     b   rows 2 (l % 4) and the next, and 8 further, column l / 4                     two registers
//     c   rows l / 4 and l / 4 + 8, columns 2 (l % 4) and the next                     four floats
#include <cuda_bf16.h>

typedef unsigned int u32;

#ifdef BEIT_EMULATED
#include "tensor.h"
#else

__device__ __forceinline__ u32 shared_address(const void *pointer) {
    return u32(__cvta_generic_to_shared(pointer));
}

// Loads four matrices of 8 x 8. Lane `8 i + r` gives the address of row `r` of matrix `i`. Lane `l` gets elements `2 (l % 4)`
// and the next of row `l / 4` of each.
__device__ __forceinline__ void load_matrices(u32 (&x)[4], u32 address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "r"(address));
}

// The same, each matrix transposed.
__device__ __forceinline__ void load_matrices_transposed(u32 (&x)[4], u32 address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "r"(address));
}

// `c [16, 8] += a [16, 16] · b [16, 8]`
__device__ __forceinline__ void multiply_add(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Begins to copy 16 bytes to shared memory; zeros if not `valid`.
__device__ __forceinline__ void copy_async(u32 to, const void *from, bool valid) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(valid ? 16 : 0) : "memory");
}

// Ends a group of copies.
__device__ __forceinline__ void commit_copies() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits until at most `N` groups of this thread's copies are incomplete.
template <int N> __device__ __forceinline__ void wait_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

// `2^x`, approximated.
__device__ __forceinline__ float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// Rounds two numbers to a pair of bfloat16.
__device__ __forceinline__ u32 pack(float low, float high) {
    u32 x;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(x) : "f"(high), "f"(low));
    return x;
}

// The halves of a pair.
__device__ __forceinline__ float low(u32 pair) {
    return __uint_as_float(pair << 16);
}

__device__ __forceinline__ float high(u32 pair) {
    return __uint_as_float(pair & 0xffff0000);
}

#endif
