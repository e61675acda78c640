// CUDA C++ on the CPU, as far as the kernels use it. Results are those of IEEE arithmetic: the approximations of the fast intrinsics are not
// imitated.
#pragma once
#include <algorithm>
#include <cmath>
#include <type_traits>

#include "fibres.h"
#include "warp.h"
#ifdef __SANITIZE_THREAD__
#include "accesses.h"
#endif

// Kernels with inline PTX include headers of the emulator instead.
#define BEIT_EMULATED

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __grid_constant__
#define __launch_bounds__(...)
#define __maxnreg__(...)
#define __align__(n) __attribute__((aligned(n)))

#define __shared__ thread_local

#define threadIdx (emulated::self->index)
#define blockIdx (emulated::block.index)
#define blockDim emulated::block_dim
#define gridDim emulated::grid_dim
constexpr int warpSize = 32;
inline uint3 make_uint3(unsigned x, unsigned y, unsigned z) { return {x, y, z}; }

#define VECTORS(name, type)                                                                                                      \
    struct __align__(2 * sizeof(type)) name##2 { type x, y; };                                                                   \
    struct __align__(4 * sizeof(type)) name##4 { type x, y, z, w; };
VECTORS(float, float)
VECTORS(int, int)
VECTORS(uint, unsigned)
#undef VECTORS

using std::acos, std::asin, std::atan, std::acosh, std::asinh, std::atanh, std::atan2, std::abs, std::ceil, std::cos, std::cosh,
    std::erf, std::exp, std::exp2, std::floor, std::fma, std::hypot, std::isinf, std::isnan, std::log, std::log1p, std::log2,
    std::pow, std::rint, std::round, std::sin, std::sinh, std::sqrt, std::tan, std::tanh, std::trunc;

inline float rsqrt(float x) { return 1 / std::sqrt(x); }
inline double rsqrt(double x) { return 1 / std::sqrt(x); }
inline float rsqrtf(float x) { return rsqrt(x); }
inline float rhypotf(float x, float y) { return 1 / std::hypot(x, y); }

// Of a number and NaN, the number.
template <class A, class B> auto max(A a, B b) {
    using T = std::common_type_t<A, B>;
    if constexpr (std::is_floating_point_v<T>)
        return std::fmax(T(a), T(b));
    else
        return T(a) < T(b) ? T(b) : T(a);
}
template <class A, class B> auto min(A a, B b) {
    using T = std::common_type_t<A, B>;
    if constexpr (std::is_floating_point_v<T>)
        return std::fmin(T(a), T(b));
    else
        return T(b) < T(a) ? T(b) : T(a);
}

#define FAST(name, f) inline float name(float x) { return f; }
FAST(__expf, std::exp(x))
FAST(__logf, std::log(x))
FAST(__sinf, std::sin(x))
FAST(__cosf, std::cos(x))
FAST(__tanhf, std::tanh(x))
FAST(__fsqrt_rn, std::sqrt(x))
FAST(__frsqrt_rn, 1 / std::sqrt(x))
FAST(__frcp_rn, 1 / x)
#undef FAST
inline float __powf(float x, float y) { return std::pow(x, y); }
inline float __fdividef(float x, float y) { return x / y; }

inline float __uint_as_float(unsigned x) {
    float y;
    memcpy(&y, &x, 4);
    return y;
}
inline unsigned __float_as_uint(float x) {
    unsigned y;
    memcpy(&y, &x, 4);
    return y;
}
inline int __float2int_rn(float x) { return int(std::nearbyint(x)); }
inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll(x) : 64; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __mulhi(int a, int b) { return int((long long)a * b >> 32); }
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned((unsigned long long)a * b >> 32); }
inline long long __mul64hi(long long a, long long b) { return (long long)((__int128)a * b >> 64); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}
inline unsigned __brev(unsigned x) {
    unsigned y = 0;
    for (int i = 0; i < 32; i++)
        y |= (x >> i & 1) << (31 - i);
    return y;
}
