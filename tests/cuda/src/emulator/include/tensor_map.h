// Tensor maps: matrices, and tensors of up to five axes, of which whole tiles are copied in the background.
#pragma once
#include "barriers.h"

namespace emulated {

constexpr unsigned MAX_RANK = 5;
constexpr uint64_t MAP = 0x70616d726f736e74;

// What tensor_map.rs writes into the 128 bytes. Axes begin with the contiguous one.
struct TensorMap {
    uint64_t mark;
    unsigned char *memory;
    // Of all axes but the first, in bytes.
    uint64_t strides[MAX_RANK - 1];
    uint32_t extents[MAX_RANK];
    // Of a tile.
    uint16_t box[MAX_RANK];
    uint8_t rank, element;
    // Bytes within which chunks of 16 are permuted: 0, 32, 64 or 128.
    uint8_t swizzle;
    // Whether what lies outside is NaN, and not 0.
    uint8_t fill_nan;
};
static_assert(sizeof(TensorMap) <= 128, "a tensor map has 128 bytes");

// A tile of a map: where it begins along each axis, and its place in shared memory.
struct Tile {
    TensorMap map;
    int origin[MAX_RANK];
    unsigned shared;

    unsigned bytes() const {
        unsigned n = map.element;
        for (unsigned axis = 0; axis < map.rank; axis++)
            n *= map.box[axis];
        return n;
    }

    // Where byte `i` of the tile is in shared memory: the permutation goes by bits of the address.
    unsigned place(unsigned i) const {
        const unsigned at = shared + i;
        switch (map.swizzle) {
        case 32: return at ^ (at >> 7 & 1) << 4;
        case 64: return at ^ (at >> 7 & 3) << 4;
        case 128: return at ^ (at >> 7 & 7) << 4;
        default: return at;
        }
    }

    // Where element `i` of the tile is in device memory; null outside of the tensor.
    unsigned char *source(unsigned i) const {
        unsigned char *at = map.memory;
        for (unsigned axis = 0; axis < map.rank; i /= map.box[axis++]) {
            const long long x = origin[axis] + (long long)(i % map.box[axis]);
            if (x < 0 || x >= map.extents[axis])
                return nullptr;
            at += x * (axis ? map.strides[axis - 1] : map.element);
        }
        return at;
    }

    // `act(place in shared memory, place in device memory)` for every element.
    template <class Act> UNSEEN void each(Act act) const {
        const unsigned elements = bytes() / map.element;
        for (unsigned i = 0; i < elements; i++)
            act(dynamic_shared_mem + place(i * map.element), source(i));
    }

    void load() const {
        each([&](unsigned char *to, const unsigned char *from) UNSEEN {
            if (from)
                memcpy(to, from, map.element);
            else
                memset(to, map.fill_nan ? NOTHING : 0, map.element);
        });
    }

    void store() const {
        for (unsigned i = 0; i < bytes(); i += CHUNK) {
            look(place(i), "a tile is stored from");
            watch_read(thread_number(), place(i), CHUNK);
        }
        each([&](const unsigned char *from, unsigned char *to) UNSEEN {
            if (to)
                memcpy(to, from, map.element);
        });
    }
};

// The tile that an instruction at `line` names.
template <class... X> Tile tile_at(int line, const void *map, unsigned shared, X... x) {
    Tile tile{{}, {int(x)...}, shared};
    memcpy(&tile.map, map, sizeof tile.map);
    if (tile.map.mark != MAP)
        fail("line %d: no tensor map is at the address", line);
    if (tile.map.rank != sizeof...(x))
        fail("line %d: %zu coordinates for a tensor map of %u axes", line, sizeof...(x), tile.map.rank);
    // The permutation repeats every 8 lines of its width, and a tile begins with the first.
    const unsigned alignment = tile.map.swizzle ? 8 * tile.map.swizzle : 128;
    shared_bytes(shared, tile.bytes(), alignment, "a tile");
    return tile;
}

// Begins to copy a tile to shared memory; its bytes arrive at a barrier.
template <class... X> void load_tile(int line, unsigned shared, const void *map, unsigned barrier, X... x) {
    const Tile tile = tile_at(line, map, shared, x...);
    phase_barrier(line, barrier);
    for (unsigned i = 0; i < tile.bytes(); i += CHUNK)
        begin_chunk(tile.place(i));
    const auto arrives = [=] {
        tile.load();
        for (unsigned i = 0; i < tile.bytes(); i += CHUNK) {
            chunks[tile.place(i) / CHUNK] = Chunk::Settled;
            // Who waits for the barrier knows of it.
            watch_after_write(block.threads, tile.place(i), CHUNK);
        }
        arrive_bytes(line, barrier, tile.bytes());
    };
    if (order.copies_at_issue)
        arrives();
    else
        background.push_back(arrives);
}

// The tiles that each thread has begun to store.
STATE Groups<Tile> stores[MAX_THREADS];

template <class... X> void store_tile(int line, const void *map, unsigned shared, X... x) {
    const Tile tile = tile_at(line, map, shared, x...);
    if (order.copies_at_issue)
        tile.store();
    stores[thread_number()].begun.push_back(tile);
}

inline void stores_wait_for(size_t most) {
    stores[thread_number()].wait(most, !order.copies_at_issue, [](const Tile &tile) {
        if (!order.copies_at_issue)
            tile.store();
    });
}

} // namespace emulated
