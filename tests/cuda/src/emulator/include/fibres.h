// A block of CUDA threads on one thread of the CPU: each is a fibre that runs until it waits for others.
//
// Fibres of a warp run one after another, forwards and backwards in turn, so that a value which another thread has not yet written
// (or has already overwritten) is read as such. A block that cannot go on is a failure that names the lines.
#pragma once
#include <atomic>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <sys/mman.h>
#include <thread>
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

enum class State { Ready, InWarp, InBlock, Done };

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
static dim3 grid_dim, block_dim;

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

// Runs the threads of a warp until all of them wait for the block or are done. False if nothing could run.
static bool advance(Warp &warp) {
    bool any = false;
    for (bool more = true; more && !block.failed;) {
        more = false;
        block.random = block.random * 1664525 + 1013904223;
        bool backwards = block.random >> 31;
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

// All threads of the block wait. Either all are at one barrier, or they would wait for ever.
static void release() {
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
    for (unsigned i = 0; i < block.threads; i++)
        block.thread[i].state = State::Ready;
}

// Runs one block to its end. `shared` is its shared memory, with a guard zone after it.
static void run(uint3 index, unsigned char *shared, size_t shared_size) {
    block.index = index;
    block.random = index.x + 40503 * index.y + 12289 * index.z;
    memset(shared, NOTHING, shared_size + GUARD);
    unsigned warps = (block.threads + WARP - 1) / WARP;
    for (unsigned w = 0; w < warps; w++) {
        unsigned left = block.threads - w * WARP;
        block.warp[w] = {left < WARP ? left : WARP, 0, 0, "", {}, &block.thread[w * WARP]};
    }
    for (unsigned i = 0; i < block.threads; i++)
        prepare(i);
    while (!block.failed) {
        bool any = false, done = true;
        for (unsigned w = 0; w < warps; w++)
            any |= advance(block.warp[w]);
        for (unsigned i = 0; i < block.threads; i++)
            done &= block.thread[i].state == State::Done;
        if (done)
            break;
        if (!any)
            release();
    }
    for (size_t i = 0; i < GUARD; i++)
        if (shared[shared_size + i] != NOTHING) {
            fail("writes %zu bytes beyond its %zu bytes of shared memory", i, shared_size);
            break;
        }
}

// Waits for all threads of the block.
static void barrier(int line) {
    self->line = line;
    self->state = State::InBlock;
    leave();
}

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
