// The machine that runs the threads of a kernel. It is compiled once, and is part of every kernel's library.
#include "cuda_runtime.h"
#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <mutex>
#include <sys/mman.h>
#include <thread>

extern "C" {
alignas(1024) thread_local unsigned char dynamic_shared_mem[emulated::SHARED + emulated::GUARD];
}

// Calls the kernel with the addresses of its arguments: launch.h defines it, in the kernel's own source.
extern "C" __attribute__((visibility("hidden"))) void emulated_kernel(void *arguments);

namespace emulated {

thread_local Block block;
thread_local Thread *self;
dim3 grid_dim, block_dim;

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

void leave() {
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

void fail(const char *format, ...) {
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

// What the compiler's checks call where the kernel does what C++ leaves undefined.
struct Place {
    const char *file;
    unsigned line, column;
};

} // namespace emulated

#define CHECK(name, what)                                                                                                        \
    extern "C" __attribute__((visibility("hidden"))) void __ubsan_handle_##name(emulated::Place *place, ...) {                   \
        emulated::fail("%s at line %u", what, place->line);                                                                      \
    }
CHECK(type_mismatch_v1, "an access that is not aligned")
CHECK(out_of_bounds, "an index beyond a local array")
CHECK(divrem_overflow, "a division by zero")
#undef CHECK

// Runs `cubes` blocks of `dim` threads on `workers` threads of the CPU. Returns whether all went well; if not, `message` says what did not.
extern "C" bool emulate(void **arguments, const unsigned *cubes, const unsigned *dim, unsigned shared, unsigned workers,
                        char *message, size_t size) {
    using namespace emulated;
    grid_dim = {cubes[0], cubes[1], cubes[2]};
    block_dim = {dim[0], dim[1], dim[2]};
    const uint64_t blocks = uint64_t(cubes[0]) * cubes[1] * cubes[2];
    std::atomic<uint64_t> next(0);
    std::atomic<bool> failed(false);
    std::mutex lock;
    auto work = [&] {
        block.threads = dim[0] * dim[1] * dim[2];
        block.body = emulated_kernel;
        block.arguments = arguments;
        block.failed = false;
        size_t stacks = block.threads * STACK;
        block.stacks = (unsigned char *)mmap(nullptr, stacks, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (block.stacks == MAP_FAILED) {
            self = nullptr;
            fail("no memory for stacks");
        }
        for (uint64_t i; !block.failed && !failed && (i = next++) < blocks;)
            run({unsigned(i % cubes[0]), unsigned(i / cubes[0] % cubes[1]), unsigned(i / cubes[0] / cubes[1])}, dynamic_shared_mem, shared);
        if (block.stacks != MAP_FAILED)
            munmap(block.stacks, stacks);
        if (block.failed) {
            std::lock_guard<std::mutex> guard(lock);
            if (!failed.exchange(true))
                snprintf(message, size, "%s", block.message);
        }
    };
    std::vector<std::thread> others;
    for (unsigned i = 1; i < workers && i < blocks; i++)
        others.emplace_back(work);
    work();
    for (auto &thread : others)
        thread.join();
    return !failed;
}
