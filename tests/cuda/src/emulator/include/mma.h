// Tensor cores. The elements of a fragment are spread over the lanes of a warp row by row, and the last lane to arrive multiplies for all.
// Products of 16-bit numbers are exact in f32 and are added in f32. The order of a device's sums is not known, so rounding may differ.
#pragma once
#include "cuda_fp16.h"
#include "cuda_bf16.h"

namespace nvcuda::wmma {

struct matrix_a;
struct matrix_b;
struct accumulator;
struct row_major;
struct col_major;
enum layout_t { mem_row_major, mem_col_major };
namespace precision {
struct tf32;
}

template <class T> struct stored { typedef T type; };
template <> struct stored<precision::tf32> { typedef float type; };

inline float __float_to_tf32(float x) {
    // To nearest, ties away from zero.
    return emulated::number((emulated::bits(x) + 0x1000) & 0xffffe000);
}

template <class Use, int M, int N, int K, class T, class Layout = void> struct fragment {
    static constexpr int ROWS = std::is_same_v<Use, matrix_b> ? K : M;
    static constexpr int COLUMNS = std::is_same_v<Use, matrix_a> ? K : N;
    static constexpr int num_elements = ROWS * COLUMNS / 32;
    typedef typename stored<T>::type Element;
    Element x[num_elements];

    // The elements as the multiplication takes them: f32, tf32 without the bits that it ignores, or integers.
    typedef std::conditional_t<std::is_integral_v<Element>, int, float> Wide;
    static Wide wide(Element x) {
        if constexpr (std::is_same_v<T, precision::tf32>)
            return emulated::number(emulated::bits(x) & 0xffffe000);
        else
            return Wide(x);
    }
};

template <class F> void whole_warp(int line, const char *what, const emulated::Warp &warp) {
    if (warp.threads < emulated::WARP)
        emulated::fail("%s at line %d in a warp of %u threads", what, line, warp.threads);
}

// An access to a matrix in memory, the same in all lanes.
template <class F, class T> struct Access {
    F *fragment;
    T *memory;
    unsigned stride;
    bool columns;
};

// `move(element of a fragment, element in memory)` for every element.
template <class F, class T, class Move> void access(int line, const char *what, Access<F, T> mine, Move move) {
    typedef std::remove_const_t<F> Plain;
    emulated::collective(line, what, 0xffffffff, &mine, [&](emulated::Warp &warp) {
        whole_warp<F>(line, what, warp);
        if (uintptr_t(mine.memory) % 32 || mine.stride * sizeof(T) % 16)
            emulated::fail("%s at line %d: the address %p is not a multiple of 32 bytes, or the stride %u not one of 16 bytes", what, line,
                           (void *)mine.memory, mine.stride);
        for (unsigned lane = 0; lane < emulated::WARP; lane++) {
            auto &to = *(Access<F, T> *)warp.slots[lane];
            if (to.memory != mine.memory || to.stride != mine.stride)
                emulated::fail("%s at line %d: the lanes of a warp name different matrices", what, line);
            for (int i = 0; i < Plain::num_elements; i++) {
                unsigned element = lane * Plain::num_elements + i;
                unsigned row = element / Plain::COLUMNS, column = element % Plain::COLUMNS;
                move(to.fragment->x[i], to.memory[to.columns ? column * to.stride + row : row * to.stride + column]);
            }
        }
    });
}

template <class F, class T> void load(int line, F &fragment, const T *memory, unsigned stride, bool columns) {
    access<F, const T>(line, "load_matrix_sync", {&fragment, memory, stride, columns},
                       [](auto &element, const T &value) { element = value; });
}
template <class U, int M, int N, int K, class T, class L, class P>
void load_matrix(int line, fragment<U, M, N, K, T, L> &f, const P *memory, unsigned stride) {
    load(line, f, memory, stride, std::is_same_v<L, col_major>);
}
template <class F, class P> void load_matrix(int line, F &f, const P *memory, unsigned stride, layout_t layout) {
    load(line, f, memory, stride, layout == mem_col_major);
}

template <class P, class F> void store_matrix(int line, P *memory, const F &f, unsigned stride, layout_t layout) {
    access<const F, P>(line, "store_matrix_sync", {&f, memory, stride, layout == mem_col_major},
                       [](const auto &element, P &value) { value = element; });
}

template <class F, class V> void fill_fragment(F &f, V value) {
    for (auto &x : f.x)
        x = value;
}

// The fragments of all lanes as one matrix.
template <class F> void gather(const emulated::Warp &warp, int which, typename F::Wide *out) {
    for (unsigned lane = 0; lane < emulated::WARP; lane++) {
        const F &f = *((const F **)warp.slots[lane])[which];
        for (int i = 0; i < F::num_elements; i++)
            out[lane * F::num_elements + i] = F::wide(f.x[i]);
    }
}

template <class D, class A, class B, class C> void multiply(int line, D &d, const A &a, const B &b, const C &c) {
    const void *mine[] = {&a, &b, &c, &d};
    emulated::collective(line, "mma_sync", 0xffffffff, mine, [&](emulated::Warp &warp) {
        whole_warp<D>(line, "mma_sync", warp);
        constexpr int M = D::ROWS, N = D::COLUMNS, K = A::COLUMNS;
        typename A::Wide left[M * K];
        typename B::Wide right[K * N];
        typename C::Wide sum[M * N];
        gather<A>(warp, 0, left);
        gather<B>(warp, 1, right);
        gather<C>(warp, 2, sum);
        for (int i = 0; i < M; i++)
            for (int k = 0; k < K; k++)
                for (int j = 0; j < N; j++)
                    sum[i * N + j] += left[i * K + k] * right[k * N + j];
        for (unsigned lane = 0; lane < emulated::WARP; lane++) {
            D &to = *(D *)((const void **)warp.slots[lane])[3];
            for (int i = 0; i < D::num_elements; i++)
                to.x[i] = sum[lane * D::num_elements + i];
        }
    });
}

} // namespace nvcuda::wmma

#define load_matrix_sync(...) load_matrix(__LINE__, __VA_ARGS__)
#define store_matrix_sync(...) store_matrix(__LINE__, __VA_ARGS__)
#define mma_sync(...) multiply(__LINE__, __VA_ARGS__)
