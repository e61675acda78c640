// What kernels do to shared memory by themselves: the compiler calls these functions at each of their accesses (`-fsanitize=thread`).
//
// Kernels that work in the background are compiled so. A copy that is under way may be met by no access; what a thread writes is
// not shown to the asynchronous proxy; races are looked for.
#pragma once
#include "async.h"

namespace emulated {

UNSEEN inline void meet_copy(unsigned i, const char *what) {
    fail("%s at %u of shared memory, to which a copy of thread %u is under way", what, i * CHUNK, writers[i]);
}

// Where a thread's access is in shared memory; false if elsewhere.
UNSEEN inline bool is_shared(const void *at, size_t &begin) {
    begin = (const unsigned char *)at - dynamic_shared_mem;
    return self && begin < SHARED;
}

// Acts on the pieces of shared memory that an access meets.
template <class Act> UNSEEN inline void on_chunks(size_t begin, size_t bytes, Act act) {
    for (size_t i = begin / CHUNK; i * CHUNK < begin + bytes && i < SHARED / CHUNK; i++)
        act(unsigned(i));
}

UNSEEN inline void reads(const void *at, size_t bytes) {
    size_t begin;
    if (!is_shared(at, begin))
        return;
    on_chunks(begin, bytes, [](unsigned i) UNSEEN {
        if (chunks[i] == Chunk::UnderWay)
            meet_copy(i, "the thread reads");
    });
    watch_read(thread_number(), begin, bytes);
}

UNSEEN inline void writes(const void *at, size_t bytes) {
    size_t begin;
    if (!is_shared(at, begin))
        return;
    on_chunks(begin, bytes, [](unsigned i) UNSEEN {
        if (chunks[i] == Chunk::UnderWay)
            meet_copy(i, "the thread writes");
        leave_unshown(i);
    });
    watch_write(thread_number(), begin, bytes);
}

} // namespace emulated

#define SEEN(name, arguments, does)                                                                                              \
    extern "C" UNSEEN void __tsan_##name arguments { does; }
#define SEEN_BYTES(n)                                                                                                            \
    SEEN(read##n, (void *at), emulated::reads(at, n))                                                                            \
    SEEN(write##n, (void *at), emulated::writes(at, n))                                                                          \
    SEEN(unaligned_read##n, (void *at), emulated::reads(at, n))                                                                  \
    SEEN(unaligned_write##n, (void *at), emulated::writes(at, n))
SEEN_BYTES(1)
SEEN_BYTES(2)
SEEN_BYTES(4)
SEEN_BYTES(8)
SEEN_BYTES(16)
SEEN(read_range, (void *at, unsigned long bytes), emulated::reads(at, bytes))
SEEN(write_range, (void *at, unsigned long bytes), emulated::writes(at, bytes))
SEEN(init, (), )
SEEN(vptr_update, (void **, void *), )
#undef SEEN_BYTES
#undef SEEN

// Those of launch.h.
extern "C" UNSEEN uint8_t __tsan_atomic8_load(const volatile uint8_t *p, int) {
    return __atomic_load_n(p, __ATOMIC_SEQ_CST);
}
extern "C" UNSEEN uint8_t __tsan_atomic8_exchange(volatile uint8_t *p, uint8_t x, int) {
    return __atomic_exchange_n(p, x, __ATOMIC_SEQ_CST);
}
extern "C" UNSEEN uint64_t __tsan_atomic64_fetch_add(volatile uint64_t *p, uint64_t x, int) {
    return __atomic_fetch_add(p, x, __ATOMIC_SEQ_CST);
}
