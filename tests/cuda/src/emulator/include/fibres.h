// A block of CUDA threads on one thread of the CPU: each is a fibre that runs until it waits for others.
//
// Fibres of a warp run one after another, forwards and backwards in turn, so that a value which another thread has not yet written
// (or has already overwritten) is read as such. Warps run in an order that a seed shuffles, and some stay behind. A block that cannot
// go on is a failure that names the lines.
#pragma once
#include <cstdint>
#include <cstring>
#ifndef __x86_64__
#include <ucontext.h>
#endif

struct uint3 {
    unsigned x, y, z;
};
typedef uint3 dim3;

namespace emulated {

constexpr unsigned WARP = 32, MAX_THREADS = 1024;
// What a thread's stack may hold: fragments and local arrays. Pages that are not touched cost nothing.
constexpr size_t STACK = 256 * 1024;
// The largest shared memory of any device, and a guard zone beyond it.
constexpr size_t SHARED = 227 * 1024, GUARD = 4096;
constexpr uint64_t CANARY = 0x7a9d3c5e1b2f4860;
constexpr unsigned char NOTHING = 0xff;

// When things happen whose time CUDA leaves open: copies and products in the background at their earliest or their latest, warps in
// one order or another. Seed 0: one after another.
struct Order {
    unsigned copies_at_issue, products_at_issue, seed;
};

// `Late`: until no other thread can go on. `Apart`: for a barrier of some of the threads.
enum class State { Ready, InWarp, InBlock, Late, Apart, Done };

struct Thread {
#ifdef __x86_64__
    void *stack_pointer;
#else
    ucontext_t context;
#endif
    State state;
    // Where it waits.
    int line;
    uint3 index;
    unsigned lane;
    struct Warp *warp;
};

struct Warp {
    unsigned threads, arrived;
    int line;
    const char *what;
    void *slots[WARP];
    Thread *first;
};

struct Block {
    unsigned threads;
    uint3 index;
    void (*body)(void *);
    void *arguments;
    bool failed;
    char message[512];
    unsigned char *stacks;
    uint32_t random;
#ifdef __x86_64__
    void *scheduler;
#else
    ucontext_t scheduler;
#endif
    Thread thread[MAX_THREADS];
    Warp warp[MAX_THREADS / WARP];
};

// Each thread of the CPU that runs blocks has its own: defined in machine.cpp, which begins every block with it.
#define STATE extern thread_local __attribute__((visibility("hidden")))
STATE Block block;
STATE Thread *self;
STATE dim3 grid_dim, block_dim;
STATE Order order;

// In machine.cpp: goes back to the scheduler, which resumes the thread when it need not wait any longer.
void leave();

// In machine.cpp: threads that lie side by side have met.
void meet_all(unsigned first, unsigned count);

// In machine.cpp: reports what a thread did wrong. The block is given up: its other threads are not resumed.
__attribute__((format(printf, 1, 2))) void fail(const char *format, ...);

// Waits for others.
static void wait(State state, int line) {
    self->line = line;
    self->state = state;
    leave();
}

// Lets all others go on as far as they can.
static void give_way() { wait(State::Late, self->line); }

// Waits for all threads of the block.
static void barrier(int line) { wait(State::InBlock, line); }

// Waits for all threads of the warp. The last to arrive does `operation`, which sees the slot of each.
template <class Operation> static void collective(int line, const char *what, unsigned mask, void *slot, Operation operation) {
    Warp &warp = *self->warp;
    if (mask != 0xffffffff)
        fail("%s at line %d: a mask of some lanes is not emulated", what, line);
    if (warp.arrived == 0) {
        warp.line = line;
        warp.what = what;
    } else if (warp.line != line) {
        fail("%s at line %d, while other threads of the warp are in %s at line %d", what, line, warp.what, warp.line);
    }
    self->line = line;
    warp.slots[self->lane] = slot;
    if (++warp.arrived < warp.threads) {
        self->state = State::InWarp;
        leave();
        return;
    }
    warp.arrived = 0;
    operation(warp);
    for (unsigned i = 0; i < warp.threads; i++)
        warp.first[i].state = State::Ready;
}

} // namespace emulated
