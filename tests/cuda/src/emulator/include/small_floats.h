// 16-bit floats: stored as such, computed in f32 and rounded to nearest even after every operation, as on the device.
#pragma once
#include "cuda_runtime.h"

#define SMALL_FLOAT(name, widen, narrow)                                                                                         \
    struct name {                                                                                                                \
        uint16_t bits;                                                                                                           \
        name() = default;                                                                                                        \
        template <class T, class = std::enable_if_t<std::is_arithmetic_v<T>>> name(T x) : bits(narrow(float(x))) {}              \
        operator float() const { return widen(bits); }                                                                           \
    };                                                                                                                           \
    struct __align__(4) name##2 { name x, y; };                                                                                  \
    inline name operator-(name a) { return name(-float(a)); }                                                                    \
    inline name##2 operator-(name##2 a) { return {-a.x, -a.y}; }                                                                 \
    SMALL_OPERATOR(name, +) SMALL_OPERATOR(name, -) SMALL_OPERATOR(name, *) SMALL_OPERATOR(name, /)                              \
    SMALL_COMPARISON(name, ==) SMALL_COMPARISON(name, !=) SMALL_COMPARISON(name, <)                                              \
    SMALL_COMPARISON(name, <=) SMALL_COMPARISON(name, >) SMALL_COMPARISON(name, >=)                                              \
    SMALL_FUNCTION(name, exp, std::exp(x)) SMALL_FUNCTION(name, log, std::log(x)) SMALL_FUNCTION(name, sqrt, std::sqrt(x))       \
    SMALL_FUNCTION(name, rsqrt, 1 / std::sqrt(x)) SMALL_FUNCTION(name, sin, std::sin(x)) SMALL_FUNCTION(name, cos, std::cos(x))  \
    SMALL_FUNCTION(name, ceil, std::ceil(x)) SMALL_FUNCTION(name, floor, std::floor(x))                                          \
    SMALL_FUNCTION(name, trunc, std::trunc(x)) SMALL_FUNCTION(name, rint, std::rint(x))                                          \
    inline name __habs(name x) { return name(std::fabs(float(x))); }                                                             \
    inline name##2 __habs2(name##2 x) { return {__habs(x.x), __habs(x.y)}; }                                                     \
    inline bool __hisnan(name x) { return std::isnan(float(x)); }                                                                \
    inline bool __hisinf(name x) { return std::isinf(float(x)); }                                                                \
    inline name __hmax(name a, name b) { return name(std::fmax(float(a), float(b))); }                                           \
    inline name __hmin(name a, name b) { return name(std::fmin(float(a), float(b))); }                                           \
    inline name##2 __hmax2(name##2 a, name##2 b) { return {__hmax(a.x, b.x), __hmax(a.y, b.y)}; }                                \
    inline name##2 __hmin2(name##2 a, name##2 b) { return {__hmin(a.x, b.x), __hmin(a.y, b.y)}; }                                \
    inline name fma(name a, name b, name c) { return name(std::fma(float(a), float(b), float(c))); }                             \
    inline name __hfma(name a, name b, name c) { return fma(a, b, c); }                                                          \
    inline name##2 __hfma2(name##2 a, name##2 b, name##2 c) { return {fma(a.x, b.x, c.x), fma(a.y, b.y, c.y)}; }

#define SMALL_OPERATOR(name, op)                                                                                                 \
    inline name operator op(name a, name b) { return name(float(a) op float(b)); }                                               \
    inline name##2 operator op(name##2 a, name##2 b) { return {a.x op b.x, a.y op b.y}; }                                        \
    inline name &operator op##=(name &a, name b) { return a = a op b; }                                                          \
    inline name##2 &operator op##=(name##2 &a, name##2 b) { return a = a op b; }
#define SMALL_COMPARISON(name, op)                                                                                               \
    inline bool operator op(name a, name b) { return float(a) op float(b); }
#define SMALL_FUNCTION(name, f, value)                                                                                           \
    inline name h##f(name y) { float x = y; return name(value); }                                                                \
    inline name##2 h2##f(name##2 x) { return {h##f(x.x), h##f(x.y)}; }

namespace emulated {

inline uint32_t bits(float x) {
    uint32_t y;
    memcpy(&y, &x, 4);
    return y;
}
inline float number(uint32_t x) {
    float y;
    memcpy(&y, &x, 4);
    return y;
}

inline float widen_bfloat(uint16_t x) { return number(uint32_t(x) << 16); }
inline uint16_t narrow_bfloat(float x) {
    uint32_t y = bits(x);
    if (x != x)
        return 0x7fff;
    return uint16_t((y + 0x7fff + (y >> 16 & 1)) >> 16);
}

inline float widen_half(uint16_t x) {
    uint32_t sign = uint32_t(x & 0x8000) << 16, exponent = x >> 10 & 31, fraction = x & 0x3ff;
    if (exponent == 31)
        return number(sign | 0x7f800000 | fraction << 13);
    if (exponent == 0)
        return number(sign) + (sign ? -1.f : 1.f) * float(fraction) * 0x1p-24f;
    return number(sign | (exponent + 112) << 23 | fraction << 13);
}
inline uint16_t narrow_half(float x) {
    uint16_t sign = uint16_t(bits(x) >> 16 & 0x8000);
    float size = std::fabs(x);
    if (x != x)
        return 0x7fff;
    if (size >= 65520.f)
        return sign | 0x7c00;
    if (size < 0x1p-14f)
        return sign | uint16_t(std::nearbyint(size * 0x1p24f));
    uint32_t y = bits(size) - (112u << 23);
    return sign | uint16_t((y + 0xfff + (y >> 13 & 1)) >> 13);
}

} // namespace emulated
