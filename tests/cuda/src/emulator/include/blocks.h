// The beginning and the end of a block and of its threads, for everything that they can have begun.
#pragma once
#include "barriers.h"
#include "products.h"
#include "tensor_map.h"

namespace emulated {

static void begin_block(size_t shared) {
    begin_watching(shared);
    for (unsigned i = 0; i < block.threads; i++) {
        copies[i].clear();
        unshown[i].clear();
        products[i].groups.clear();
        products[i].sums.clear();
        products[i].fenced = false;
        stores[i].clear();
    }
    memset(chunks, 0, sizeof chunks);
    std::fill(named_barriers, named_barriers + NAMED, NamedBarrier());
    phase_barriers.clear();
    background.clear();
}

// A thread may not end before what it has begun: nobody would wait for it.
static void end_thread() {
    const unsigned i = thread_number();
    if (!copies[i].begun.empty())
        fail("the thread ends before %zu copies that it has begun", copies[i].begun.size());
    if (!products[i].groups.begun.empty())
        fail("the thread ends before %zu products that it has begun", products[i].groups.begun.size());
    if (!stores[i].begun.empty())
        fail("the thread ends before %zu tiles are stored that it has begun to store", stores[i].begun.size());
}

} // namespace emulated
