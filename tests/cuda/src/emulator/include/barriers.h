// Barriers of some of a block's threads: named ones, and those in shared memory that count phases and bytes (`mbarrier`).
#pragma once
#include "async.h"

namespace emulated {

// A barrier in shared memory. It is there in the bytes that a device has for it too, so that what writes over it is seen.
struct PhaseBarrier {
    unsigned address;
    // Arrivals of a phase, those that are missing in this one, and the bytes: expected less arrived.
    unsigned count, missing;
    long long bytes;
    // Phases that have ended.
    unsigned phase;
    // Whether it was shown to the asynchronous proxy, by which copies arrive.
    bool shown;
    unsigned initialiser;
    // What those who have arrived in this phase have done, and those of the phase before.
    Steps came, ended;
};
STATE std::vector<PhaseBarrier> phase_barriers;

// A barrier of a number: `bar.sync` and `bar.arrive`.
struct NamedBarrier {
    unsigned threads, arrived;
    // As above.
    Steps came, ended;
};
constexpr unsigned NAMED = 16;
STATE NamedBarrier named_barriers[NAMED];

// What a thread apart from others waits for: the phase of a barrier in shared memory, or a named barrier.
struct Wait {
    bool named;
    unsigned which, phase;
};
STATE Wait waits[MAX_THREADS];

constexpr uint64_t BARRIER = 0xb177b177b177b177;

// The barrier at an address, which an instruction at `line` names.
UNSEEN inline PhaseBarrier &phase_barrier(int line, unsigned address) {
    unsigned char *place = shared_bytes(address, 8, 8, "a barrier");
    for (auto &barrier : phase_barriers) {
        if (barrier.address != address)
            continue;
        uint64_t found;
        memcpy(&found, place, 8);
        if (found != BARRIER)
            fail("line %d: the barrier at %u was written over", line, address);
        return barrier;
    }
    fail("line %d: no barrier was initialised at %u", line, address);
    static thread_local PhaseBarrier none;
    return none;
}

UNSEEN inline void initialise_barrier(int line, unsigned address, unsigned count) {
    unsigned char *place = shared_bytes(address, 8, 8, "a barrier");
    for (auto &barrier : phase_barriers)
        if (barrier.address == address)
            fail("line %d: the barrier at %u is initialised twice", line, address);
    if (count == 0 || count >= 1 << 20)
        fail("line %d: a barrier of %u arrivals", line, count);
    memcpy(place, &BARRIER, 8);
    phase_barriers.push_back({address, count, count, 0, 0, false, thread_number(), {}, {}});
}

// `fence.mbarrier_init`, or `fence.proxy.async`: barriers that this thread has initialised may be used by copies.
inline void show_barriers() {
    for (auto &barrier : phase_barriers)
        if (barrier.initialiser == thread_number())
            barrier.shown = true;
}

inline void wake(bool named, unsigned which, unsigned phase) {
    for (unsigned i = 0; i < block.threads; i++) {
        const Wait &wait = waits[i];
        if (block.thread[i].state == State::Apart && wait.named == named && wait.which == which && wait.phase == phase)
            block.thread[i].state = State::Ready;
    }
}

// Ends the phase if nothing is missing.
inline void end_phase(PhaseBarrier &barrier) {
    if (barrier.missing || barrier.bytes)
        return;
    barrier.missing = barrier.count;
    barrier.ended.swap(barrier.came);
    barrier.came.clear();
    wake(false, barrier.address, barrier.phase++);
}

inline void expect_bytes(int line, PhaseBarrier &barrier, unsigned bytes) {
    if (bytes >= 1 << 20)
        fail("line %d: a barrier that expects %u bytes, 1048575 are allowed", line, bytes);
    barrier.bytes += bytes;
}

inline void arrive(int line, PhaseBarrier &barrier) {
    if (barrier.missing == 0)
        fail("line %d: more arrivals than the %u of the barrier at %u", line, barrier.count, barrier.address);
    give(thread_number(), barrier.came);
    barrier.missing--;
    end_phase(barrier);
}

// Bytes of a copy in the background have arrived.
inline void arrive_bytes(int line, unsigned address, unsigned bytes) {
    PhaseBarrier &barrier = phase_barrier(line, address);
    if (!barrier.shown)
        fail("line %d: a copy arrives at the barrier at %u, which was not shown to it (fence.mbarrier_init)", line, address);
    give(block.threads, barrier.came);
    barrier.bytes -= bytes;
    end_phase(barrier);
}

// Waits until the phase of this parity has ended: not at all if the phase that runs has the other parity.
inline void wait_for_phase(int line, unsigned address, unsigned parity) {
    const unsigned phase = phase_barrier(line, address).phase;
    if (parity > 1)
        fail("line %d: the parity %u of a phase", line, parity);
    if ((phase & 1) == parity) {
        waits[thread_number()] = {false, address, phase};
        wait(State::Apart, line);
    }
    take(thread_number(), phase_barrier(line, address).ended);
}

// `threads` threads meet at barrier `which`. Who only arrives does not wait.
inline void meet(int line, unsigned which, unsigned threads, bool waits_too) {
    // Whole warps take part.
    collective(line, "a named barrier", 0xffffffff, nullptr, [](Warp &) {});
    // __syncthreads is barrier 0.
    if (which == 0 || which >= NAMED)
        fail("line %d: the named barrier %u, 1 to %u are there", line, which, NAMED - 1);
    if (threads == 0 || threads % WARP || threads > block.threads)
        fail("line %d: a named barrier of %u threads of %u", line, threads, block.threads);
    NamedBarrier &barrier = named_barriers[which];
    if (barrier.arrived && barrier.threads != threads)
        fail("line %d: barrier %u of %u threads, of which others say that it has %u", line, which, threads, barrier.threads);
    barrier.threads = threads;
    give(thread_number(), barrier.came);
    if (++barrier.arrived == threads) {
        barrier.arrived = 0;
        barrier.ended.swap(barrier.came);
        barrier.came.clear();
        wake(true, which, 0);
    } else if (waits_too) {
        waits[thread_number()] = {true, which, 0};
        wait(State::Apart, line);
    }
    if (waits_too)
        take(thread_number(), barrier.ended);
}

// Fails with what the first thread waits for that waits apart.
static void explain_waiting() {
    for (unsigned i = 0; i < block.threads; i++) {
        const Thread &thread = block.thread[i];
        if (thread.state != State::Apart)
            continue;
        const Wait &wait = waits[i];
        if (wait.named) {
            const NamedBarrier &barrier = named_barriers[wait.which];
            return fail("thread %u waits for ever at line %d: %u of the %u threads of barrier %u have come", i, thread.line, barrier.arrived,
                        barrier.threads, wait.which);
        }
        for (const auto &barrier : phase_barriers)
            if (barrier.address == wait.which)
                return fail("thread %u waits for ever at line %d: phase %u of the barrier at %u lacks %u arrivals and %lld bytes", i,
                            thread.line, wait.phase, wait.which, barrier.missing, barrier.bytes);
    }
}

} // namespace emulated
