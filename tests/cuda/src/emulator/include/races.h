// Races in shared memory: two accesses, one of them a write, by threads between which nothing orders them, whatever they find there.
//
// Each thread counts its steps from one barrier to the next, and knows how far all others had come when they last met, directly or
// through others (a vector clock). A word of memory knows who wrote it last, and who has read it since, each with the step. What
// happened at a step is over for whoever knows of that step.
//
// It is looked for where warps are shuffled, in kernels that accesses.h sees.
#pragma once
#include "fibres.h"
#include <vector>

// A function of the emulator that touches shared memory for a device: its accesses are not those of a kernel (accesses.h).
#define UNSEEN __attribute__((no_sanitize("thread")))

namespace emulated {

typedef std::vector<uint32_t> Steps;

constexpr unsigned WORD = 4, READERS = 4;
constexpr uint16_t NOBODY = 0xffff;

struct Access {
    uint16_t thread;
    uint32_t step;
};

struct Word {
    Access write;
    // The last few that read it: a race with another is missed.
    Access reads[READERS];
    unsigned next;
};
constexpr Word UNTOUCHED{{NOBODY, 0}, {{NOBODY, 0}, {NOBODY, 0}, {NOBODY, 0}, {NOBODY, 0}}, 0};
STATE std::vector<Word> words;
// Row `t` is what thread `t` knows of each. The last is no thread: it is the copies of tensor maps.
STATE Steps known;
// The same without the functions of vectors, which are seen.
STATE Word *all_words;
STATE size_t word_count;
STATE uint32_t *all_known;

UNSEEN inline bool watching() { return order.seed != 0; }
UNSEEN inline unsigned watched() { return block.threads + 1; }
UNSEEN inline uint32_t *known_by(unsigned thread) { return all_known + thread * watched(); }

inline void begin_watching(size_t shared) {
    if (!watching())
        return;
    words.assign(shared / WORD, UNTOUCHED);
    known.assign(watched() * watched(), 0);
    all_words = words.data();
    word_count = words.size();
    all_known = known.data();
    for (unsigned t = 0; t < watched(); t++)
        known_by(t)[t] = 1;
}

// Of each the larger.
UNSEEN inline void add_steps(uint32_t *to, const uint32_t *from, unsigned count) {
    for (unsigned t = 0; t < count; t++)
        to[t] = to[t] < from[t] ? from[t] : to[t];
}

// `thread` lets others know of all that it knows; `to` is what waits for them.
inline void give(unsigned thread, Steps &to) {
    if (!watching())
        return;
    to.resize(watched());
    add_steps(to.data(), known_by(thread), watched());
    known_by(thread)[thread]++;
}

inline void take(unsigned thread, const Steps &from) {
    if (watching())
        add_steps(known_by(thread), from.data(), from.size());
}

UNSEEN inline bool is_over(const Access &access, unsigned thread) {
    return access.thread == NOBODY || known_by(thread)[access.thread] >= access.step;
}

inline void race(unsigned thread, const char *does, unsigned word, const Access &other, const char *did) {
    fail("a race: thread %u %s shared memory at %u, which thread %u %s, and nothing is between them", thread, does, word * WORD,
         other.thread, did);
}

// `act(word, its number)` for the words of shared memory from byte `begin` on.
template <class Act> UNSEEN inline void on_words(size_t begin, size_t bytes, Act act) {
    for (size_t i = begin / WORD; i * WORD < begin + bytes && i < word_count && !block.failed; i++)
        act(all_words[i], unsigned(i));
}

UNSEEN inline void watch_read(unsigned thread, size_t begin, size_t bytes) {
    if (!watching())
        return;
    on_words(begin, bytes, [=](Word &word, unsigned i) UNSEEN {
        if (!is_over(word.write, thread))
            race(thread, "reads", i, word.write, "has written");
        const Access now{uint16_t(thread), known_by(thread)[thread]};
        for (Access &read : word.reads)
            if (read.thread == thread || is_over(read, thread)) {
                read = now;
                return;
            }
        word.reads[word.next++ % READERS] = now;
    });
}

// That `thread` may write: nobody still reads or writes.
UNSEEN inline void watch_before_write(unsigned thread, size_t begin, size_t bytes) {
    if (!watching())
        return;
    on_words(begin, bytes, [=](Word &word, unsigned i) UNSEEN {
        if (!is_over(word.write, thread))
            race(thread, "writes", i, word.write, "has written");
        for (const Access &read : word.reads)
            if (!is_over(read, thread))
                race(thread, "writes", i, read, "has read");
    });
}

// That it has written.
UNSEEN inline void watch_after_write(unsigned thread, size_t begin, size_t bytes) {
    if (!watching())
        return;
    on_words(begin, bytes, [=](Word &word, unsigned) UNSEEN {
        word = UNTOUCHED;
        word.write = {uint16_t(thread), known_by(thread)[thread]};
    });
}

UNSEEN inline void watch_write(unsigned thread, size_t begin, size_t bytes) {
    watch_before_write(thread, begin, bytes);
    watch_after_write(thread, begin, bytes);
}

} // namespace emulated
