// Ends a kernel's source: the function that runs its grid.
extern "C" {
alignas(1024) thread_local unsigned char dynamic_shared_mem[emulated::SHARED + emulated::GUARD];
}

namespace emulated {

template <class... A, size_t... I> void call(void (*kernel)(A...), void **arguments, std::index_sequence<I...>) {
    kernel(*(std::remove_const_t<A> *)arguments[I]...);
}
template <class... A> void call(void (*kernel)(A...), void **arguments) {
    call(kernel, arguments, std::index_sequence_for<A...>());
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
template <class Kernel>
static bool emulate_grid(Kernel kernel, void **arguments, const unsigned *cubes, const unsigned *dim, unsigned shared,
                         unsigned workers, char *message, size_t size) {
    using namespace emulated;
    static Kernel body;
    body = kernel;
    grid_dim = {cubes[0], cubes[1], cubes[2]};
    block_dim = {dim[0], dim[1], dim[2]};
    const uint64_t blocks = uint64_t(cubes[0]) * cubes[1] * cubes[2];
    std::atomic<uint64_t> next(0);
    std::atomic<bool> failed(false);
    std::mutex lock;
    auto work = [&] {
        block.threads = dim[0] * dim[1] * dim[2];
        block.body = [](void *a) { call(body, (void **)a); };
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

#define EMULATE(kernel)                                                                                                          \
    extern "C" bool emulate(void **arguments, const unsigned *cubes, const unsigned *dim, unsigned shared, unsigned workers,     \
                            char *message, size_t size) {                                                                        \
        return emulate_grid(kernel, arguments, cubes, dim, shared, workers, message, size);                                      \
    }
