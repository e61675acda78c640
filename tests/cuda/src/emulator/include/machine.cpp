// The machine that runs the threads of a kernel. It is compiled once, and is part of every kernel's library.
#include "cuda_runtime.h"

#include "blocks.h"
#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <mutex>
#include <sys/mman.h>
#include <thread>
#include <utility>

extern "C" {
alignas(1024) thread_local unsigned char dynamic_shared_mem[emulated::SHARED + emulated::GUARD];
}

// Calls the kernel with the addresses of its arguments: launch.h defines it, in the kernel's own source.
#pragma GCC visibility push(hidden)
extern "C" void emulated_kernel(void *arguments);
#pragma GCC visibility pop

namespace emulated {

thread_local Block block;
thread_local Thread *self;
thread_local dim3 grid_dim, block_dim;
thread_local Order order;
thread_local std::vector<std::function<void()>> background;
thread_local std::vector<Word> words;
thread_local Steps known;
thread_local Word *all_words;
thread_local size_t word_count;
thread_local uint32_t *all_known;
thread_local Chunk chunks[SHARED / CHUNK];
thread_local uint16_t writers[SHARED / CHUNK];
thread_local std::vector<unsigned> unshown[MAX_THREADS];
thread_local Groups<Copy> copies[MAX_THREADS];
thread_local std::vector<PhaseBarrier> phase_barriers;
thread_local NamedBarrier named_barriers[NAMED];
thread_local Wait waits[MAX_THREADS];
thread_local Products products[MAX_THREADS];
thread_local Groups<Tile> stores[MAX_THREADS];

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

void meet_all(unsigned first, unsigned count) {
    if (!watching())
        return;
    Steps all;
    for (unsigned t = first; t < first + count; t++)
        give(t, all);
    for (unsigned t = first; t < first + count; t++)
        take(t, all);
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

// What the compiler's checks call where the kernel does what C++ leaves undefined.
struct Place {
    const char *file;
    unsigned line, column;
};

// A grid of `cubes` blocks of `dim` threads.
struct Grid {
    unsigned cubes[3], dim[3];
    // Bytes of shared memory.
    unsigned shared;
    // How many threads of the CPU run it.
    unsigned workers;
    Order order;
    // The blocks that are run, by number; all of them without `blocks`.
    const uint64_t *blocks;
    uint64_t count;
};

} // namespace emulated

#define CHECK(name, what)                                                                                                        \
    extern "C" void __ubsan_handle_##name(emulated::Place *place, ...) {                   \
        emulated::fail("%s at line %u", what, place->line);                                                                      \
    }
CHECK(type_mismatch_v1, "an access that is not aligned")
CHECK(out_of_bounds, "an index beyond a local array")
CHECK(divrem_overflow, "a division by zero")
#undef CHECK

// Runs a grid. Returns whether all went well; if not, `message` says what did not.
extern "C" __attribute__((visibility("default"))) bool emulate(void **arguments, const emulated::Grid *grid, char *message, size_t size) {
    using namespace emulated;
    const auto &cubes = grid->cubes, &dim = grid->dim;
    const uint64_t blocks = grid->blocks ? grid->count : uint64_t(cubes[0]) * cubes[1] * cubes[2];
    std::atomic<uint64_t> next(0);
    std::atomic<bool> failed(false);
    std::mutex lock;
    auto work = [&] {
        grid_dim = {cubes[0], cubes[1], cubes[2]};
        block_dim = {dim[0], dim[1], dim[2]};
        order = grid->order;
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
        for (uint64_t i; !block.failed && !failed && (i = next++) < blocks;) {
            const uint64_t b = grid->blocks ? grid->blocks[i] : i;
            const uint3 index{unsigned(b % cubes[0]), unsigned(b / cubes[0] % cubes[1]), unsigned(b / cubes[0] / cubes[1])};
            run(index, dynamic_shared_mem, grid->shared);
        }
        if (block.stacks != MAP_FAILED)
            munmap(block.stacks, stacks);
        if (block.failed) {
            std::lock_guard<std::mutex> guard(lock);
            if (!failed.exchange(true))
                snprintf(message, size, "%s", block.message);
        }
    };
    std::vector<std::thread> others;
    for (unsigned i = 1; i < grid->workers && i < blocks; i++)
        others.emplace_back(work);
    work();
    for (auto &thread : others)
        thread.join();
    return !failed;
}
