// A block of CUDA threads on one thread of the CPU: each is a fibre that runs until it waits for others.
//
// Fibres of a warp run one after another, forwards and backwards in turn, so that a value which another thread has not yet written
// (or has already overwritten) is read as such. Warps run in an order that a seed shuffles, and some stay behind. A block that cannot
// go on is a failure that names the lines.
#pragma once
#include <atomic>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <mutex>
#include <sys/mman.h>
#include <thread>
#include <utility>
#include <vector>
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

static thread_local Block block;
static thread_local Thread *self;
static thread_local dim3 grid_dim, block_dim;
static thread_local Order order;
// What happens in the background without any thread that must wait for it. Each is done at the latest when no thread can go on.
static thread_local std::vector<std::function<void()>> background;
// Defined in async.h, which has what threads begin and barriers of some threads.
static void begin_block(size_t shared);
static void end_thread();
static void explain_waiting();
// Defined in races.h: threads have met.
static void meet_all(unsigned first, unsigned count);

#ifdef __x86_64__
extern "C" void emulated_switch(void **from, void *to);
asm(R"(
    .text
    .p2align 4
    .local emulated_switch
    .type emulated_switch, @function
emulated_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size emulated_switch, . - emulated_switch
)");
#endif

static void leave() {
#ifdef __x86_64__
    emulated_switch(&self->stack_pointer, block.scheduler);
#else
    swapcontext(&self->context, &block.scheduler);
#endif
}

static void enter(Thread &thread) {
    self = &thread;
#ifdef __x86_64__
    emulated_switch(&block.scheduler, thread.stack_pointer);
#else
    swapcontext(&block.scheduler, &thread.context);
#endif
}

// Reports what a thread did wrong. The block is given up: its other threads are not resumed.
__attribute__((format(printf, 1, 2))) static void fail(const char *format, ...) {
    if (!block.failed) {
        block.failed = true;
        int n = snprintf(block.message, sizeof block.message, "block (%u, %u, %u)", block.index.x, block.index.y, block.index.z);
        if (self)
            n += snprintf(block.message + n, sizeof block.message - n, ", thread (%u, %u, %u)", self->index.x, self->index.y, self->index.z);
        n += snprintf(block.message + n, sizeof block.message - n, ": ");
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(block.message + n, sizeof block.message - n, format, arguments);
        va_end(arguments);
    }
    if (self) {
        self->state = State::Done;
        leave();
    }
}

static void fibre() {
    block.body(block.arguments);
    end_thread();
    self->state = State::Done;
    leave();
}

static void prepare(unsigned i) {
    Thread &thread = block.thread[i];
    unsigned char *stack = block.stacks + i * STACK;
    memcpy(stack, &CANARY, sizeof CANARY);
    thread.state = State::Ready;
    thread.line = 0;
    thread.index = {i % block_dim.x, i / block_dim.x % block_dim.y, i / block_dim.x / block_dim.y};
    thread.lane = i % WARP;
    thread.warp = &block.warp[i / WARP];
#ifdef __x86_64__
    // What `emulated_switch` pops: six registers, then where it returns to. A function begins 8 bytes off a multiple of 16.
    void **top = (void **)(stack + STACK);
    *--top = nullptr;
    *--top = (void *)fibre;
    for (int r = 0; r < 6; r++)
        *--top = nullptr;
    thread.stack_pointer = top;
#else
    getcontext(&thread.context);
    thread.context.uc_stack.ss_sp = stack;
    thread.context.uc_stack.ss_size = STACK;
    makecontext(&thread.context, fibre, 0);
#endif
}

static unsigned random(unsigned below) {
    block.random = block.random * 1664525 + 1013904223;
    return uint64_t(block.random) * below >> 32;
}

// Runs the threads of a warp until all of them wait for others or are done. False if nothing could run.
static bool advance(Warp &warp) {
    bool any = false;
    for (bool more = true; more && !block.failed;) {
        more = false;
        bool backwards = random(2);
        for (unsigned i = 0; i < warp.threads && !block.failed; i++) {
            Thread &thread = warp.first[backwards ? warp.threads - 1 - i : i];
            if (thread.state != State::Ready)
                continue;
            enter(thread);
            more = any = true;
            uint64_t canary;
            memcpy(&canary, block.stacks + (&thread - block.thread) * STACK, sizeof canary);
            if (canary != CANARY)
                fail("more than %zu bytes of local memory", STACK);
        }
    }
    self = nullptr;
    return any;
}

// Runs the warps in the order of the seed. False if nothing could run.
static bool advance_all(unsigned warps) {
    unsigned turns[MAX_THREADS / WARP];
    for (unsigned w = 0; w < warps; w++) {
        turns[w] = w;
        if (order.seed)
            std::swap(turns[w], turns[random(w + 1)]);
    }
    bool any = false;
    for (unsigned w = 0; w < warps && !block.failed; w++) {
        const bool stays_behind = order.seed && any && random(2);
        if (!stays_behind)
            any |= advance(block.warp[turns[w]]);
    }
    return any;
}

// Lets threads go on that gave way to all others; where warps are shuffled, those of one warp. False if there are none.
static bool resume_late(unsigned warps) {
    const unsigned first = order.seed ? random(warps) : 0;
    bool any = false;
    for (unsigned i = 0; i < warps && !(any && order.seed); i++) {
        Warp &warp = block.warp[(first + i) % warps];
        for (unsigned t = 0; t < warp.threads; t++)
            if (warp.first[t].state == State::Late) {
                warp.first[t].state = State::Ready;
                any = true;
            }
    }
    return any;
}

// Lets one thing happen in the background: any, since they do not wait for one another. False if there is none.
static bool advance_background() {
    if (background.empty())
        return false;
    std::swap(background[order.seed ? random(background.size()) : 0], background.back());
    const auto happens = std::move(background.back());
    background.pop_back();
    happens();
    return true;
}

// All threads of the block wait. Either all are at one barrier, or they would wait for ever.
static void release() {
    explain_waiting();
    if (block.failed)
        return;
    const Thread &first = block.thread[0];
    for (unsigned i = 0; i < block.threads; i++) {
        const Thread &thread = block.thread[i];
        if (thread.state == State::InWarp) {
            fail("threads of a warp wait in %s at line %d for threads that do not come", thread.warp->what, thread.line);
            return;
        }
        if (thread.state != first.state || thread.line != first.line) {
            fail("a barrier that not all threads meet: thread %u %s line %d, thread 0 %s line %d", i,
                 thread.state == State::Done ? "returned after" : "waits at", thread.line,
                 first.state == State::Done ? "returned after" : "waits at", first.line);
            return;
        }
    }
    meet_all(0, block.threads);
    for (unsigned i = 0; i < block.threads; i++)
        block.thread[i].state = State::Ready;
}

// Runs one block to its end. `shared` is its shared memory, with a guard zone after it.
static void run(uint3 index, unsigned char *shared, size_t shared_size) {
    block.index = index;
    block.random = index.x + 40503 * index.y + 12289 * index.z + 2654435761u * order.seed;
    memset(shared, NOTHING, shared_size + GUARD);
    unsigned warps = (block.threads + WARP - 1) / WARP;
    for (unsigned w = 0; w < warps; w++) {
        unsigned left = block.threads - w * WARP;
        block.warp[w] = {left < WARP ? left : WARP, 0, 0, "", {}, &block.thread[w * WARP]};
    }
    for (unsigned i = 0; i < block.threads; i++)
        prepare(i);
    begin_block(shared_size);
    while (!block.failed) {
        if (advance_all(warps))
            continue;
        bool done = true;
        for (unsigned i = 0; i < block.threads; i++)
            done &= block.thread[i].state == State::Done;
        if (done && !background.empty())
            fail("the block ends before copies that it has begun");
        if (done)
            break;
        const bool background_first = order.seed && random(2);
        if (background_first && advance_background())
            continue;
        if (!resume_late(warps) && !advance_background())
            release();
    }
    for (size_t i = 0; i < GUARD; i++)
        if (shared[shared_size + i] != NOTHING) {
            fail("writes %zu bytes beyond its %zu bytes of shared memory", i, shared_size);
            break;
        }
}

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
