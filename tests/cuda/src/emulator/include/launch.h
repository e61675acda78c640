// Ends a kernel's source: how the machine calls it.
namespace emulated {

template <class... A, size_t... I> void call(void (*kernel)(A...), void **arguments, std::index_sequence<I...>) {
    kernel(*(std::remove_const_t<A> *)arguments[I]...);
}
template <class... A> void call(void (*kernel)(A...), void **arguments) {
    call(kernel, arguments, std::index_sequence_for<A...>());
}

} // namespace emulated

#define EMULATE(kernel)                                                                                                          \
    extern "C" void emulated_kernel(void *arguments) {                                     \
        emulated::call(kernel, (void **)arguments);                                                                              \
    }
