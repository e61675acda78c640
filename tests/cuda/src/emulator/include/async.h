// What a thread has begun and may not have waited for, and what that leaves of shared memory.
#pragma once
#include "races.h"
#include <functional>

// All shared memory is one array: CubeCL declares it inside the kernel and cuts it itself.
extern "C" {
extern thread_local unsigned char dynamic_shared_mem[];
}

namespace emulated {

// What happens in the background without any thread that must wait for it. Each is done at the latest when no thread can go on.
STATE std::vector<std::function<void()>> background;

// Things that are begun one by one, ended in groups, and waited for by groups, the oldest first.
template <class T> struct Groups {
    std::vector<T> begun;
    // How many there were at the end of each group.
    std::vector<size_t> ends;

    void end_group() { ends.push_back(begun.size()); }

    // Completes all but the last `most` groups. What is in no group stays. `late`: not before others have gone on as far as they can.
    template <class Complete> void wait(size_t most, bool late, Complete complete) {
        if (ends.size() <= most || ends[ends.size() - 1 - most] == 0)
            return;
        if (late)
            give_way();
        const size_t end = ends[ends.size() - 1 - most];
        for (size_t i = 0; i < end; i++)
            complete(begun[i]);
        begun.erase(begun.begin(), begun.begin() + end);
        ends.erase(ends.begin(), ends.end() - most);
        for (auto &e : ends)
            e -= end;
    }
    void clear() {
        begun.clear();
        ends.clear();
    }
};

// Of 16 bytes of shared memory: whether a copy to them is under way, or a thread has written them, by a copy or by itself, and not yet
// shown to the asynchronous proxy (`fence.proxy.async`), through which tensor cores and tensor maps look at memory.
enum class Chunk : unsigned char { Settled, UnderWay, Unshown };
constexpr unsigned CHUNK = 16;
STATE Chunk chunks[SHARED / CHUNK];
STATE uint16_t writers[SHARED / CHUNK];
STATE std::vector<unsigned> unshown[MAX_THREADS];

UNSEEN inline unsigned thread_number() { return self - block.thread; }

// What a 32-bit address of shared memory stands for.
inline unsigned char *shared_bytes(unsigned address, size_t bytes, unsigned alignment, const char *what) {
    if (address % alignment)
        fail("%s of shared memory at %u, which is not a multiple of %u", what, address, alignment);
    if (address + bytes > SHARED)
        fail("%s of %zu bytes of shared memory at %u", what, bytes, address);
    return dynamic_shared_mem + address;
}

// The calling thread has written a chunk.
UNSEEN inline void leave_unshown(unsigned i) {
    const unsigned mine = thread_number();
    if (chunks[i] == Chunk::Unshown && writers[i] == mine)
        return;
    chunks[i] = Chunk::Unshown;
    writers[i] = mine;
    unshown[mine].push_back(i);
}

// A copy of 16 bytes begins. Until it arrives, NaN is there: whoever still reads what was there before, or already what comes, reads that.
UNSEEN inline void begin_chunk(unsigned address) {
    Chunk &chunk = chunks[address / CHUNK];
    if (chunk == Chunk::UnderWay)
        fail("a copy to shared memory at %u, to which one is under way already", address);
    watch_before_write(thread_number(), address, CHUNK);
    chunk = Chunk::UnderWay;
    writers[address / CHUNK] = thread_number();
    memset(dynamic_shared_mem + address, NOTHING, CHUNK);
}

// The asynchronous proxy reads at `address`.
inline void look(unsigned address, const char *what) {
    const unsigned i = address / CHUNK;
    if (chunks[i] == Chunk::UnderWay)
        fail("%s at %u of shared memory, to which a copy of thread %u is under way", what, address, writers[i]);
    else if (chunks[i] == Chunk::Unshown)
        fail("%s at %u of shared memory, which thread %u has written and not shown to the asynchronous proxy", what, address, writers[i]);
}

// `fence.proxy.async`: what this thread has waited for may be read through the asynchronous proxy.
inline void show() {
    const unsigned mine = thread_number();
    for (unsigned i : unshown[mine])
        if (chunks[i] == Chunk::Unshown && writers[i] == mine)
            chunks[i] = Chunk::Settled;
    unshown[mine].clear();
}

// A copy of 16 bytes (`cp.async`); zeros without `from`.
struct Copy {
    unsigned to;
    const void *from;

    UNSEEN void move() const {
        if (from)
            memcpy(dynamic_shared_mem + to, from, CHUNK);
        else
            memset(dynamic_shared_mem + to, 0, CHUNK);
    }
};
STATE Groups<Copy> copies[MAX_THREADS];

inline void copy_begins(unsigned to, const void *from, bool valid) {
    shared_bytes(to, CHUNK, CHUNK, "cp.async");
    if (uintptr_t(from) % CHUNK)
        fail("cp.async from an address that is not aligned");
    begin_chunk(to);
    const Copy copy{to, valid ? from : nullptr};
    if (order.copies_at_issue)
        copy.move();
    copies[thread_number()].begun.push_back(copy);
}

inline void copies_wait_for(size_t most) {
    copies[thread_number()].wait(most, !order.copies_at_issue, [](const Copy &copy) {
        if (!order.copies_at_issue)
            copy.move();
        watch_write(thread_number(), copy.to, CHUNK);
        leave_unshown(copy.to / CHUNK);
    });
}

} // namespace emulated

inline unsigned shared_address(const void *pointer) { return unsigned((const unsigned char *)pointer - dynamic_shared_mem); }
