// Products of a warpgroup's tensor cores (`wgmma`) that run in the background: each thread has its own share of them.
#pragma once
#include "async.h"

namespace emulated {

typedef unsigned long long Words;

// The registers that products add to. While products run they are NaN, and nothing else may change them.
struct Sums {
    float *registers;
    int count;
    unsigned running;
    std::vector<float> values;
};

struct Running {
    // Index of its sums.
    size_t sums;
    Words a, b;
    void (*multiply)(float *, Words, Words);
};

struct Products {
    Groups<Running> groups;
    std::vector<Sums> sums;
    // Whether a `wgmma.fence` came after the last time that registers were free to be changed.
    bool fenced;

    size_t find(float *registers, int count) {
        for (size_t i = 0; i < sums.size(); i++)
            if (sums[i].registers == registers)
                return i;
        sums.push_back({registers, count, 0, {}});
        return sums.size() - 1;
    }
};
STATE Products products[MAX_THREADS];

UNSEEN inline void set_nothing(Sums &sums) {
    memset(sums.registers, NOTHING, sums.count * sizeof(float));
}

UNSEEN inline bool is_nothing(const Sums &sums) {
    const auto *bytes = (const unsigned char *)sums.registers;
    for (size_t i = 0; i < sums.count * sizeof(float); i++)
        if (bytes[i] != NOTHING)
            return false;
    return true;
}

inline void product_begins(float *registers, int count, Words a, Words b, void (*multiply)(float *, Words, Words)) {
    Products &mine = products[thread_number()];
    const size_t i = mine.find(registers, count);
    Sums &sums = mine.sums[i];
    if (sums.running == 0) {
        if (!mine.fenced)
            fail("a product without wgmma.fence between it and what its registers were before");
        sums.values.assign(registers, registers + count);
        set_nothing(sums);
    }
    sums.running++;
    Running product{i, a, b, multiply};
    if (order.products_at_issue) {
        multiply(sums.values.data(), a, b);
        product.multiply = nullptr;
    }
    mine.groups.begun.push_back(product);
}

inline void products_wait_for(size_t most) {
    Products &mine = products[thread_number()];
    mine.groups.wait(most, !order.products_at_issue, [&](const Running &product) {
        Sums &sums = mine.sums[product.sums];
        if (product.multiply)
            product.multiply(sums.values.data(), product.a, product.b);
        if (--sums.running)
            return;
        if (!is_nothing(sums))
            fail("the sums of products were changed before they were waited for");
        std::copy(sums.values.begin(), sums.values.end(), sums.registers);
        mine.fenced = false;
    });
}

} // namespace emulated
