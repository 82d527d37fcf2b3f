// Looks at every memory access of a kernel.
//
// The kernel is compiled with -fsanitize=thread, so the compiler puts a call before each access;
// this file answers those calls in the place of the usual library.  Each access is looked up among
// the arrays of the launch and the block's shared memory, where a shadow knows for every number
// whether it was ever written, and by whom it was last written and read.  Reported are
//
//     bounds      outside of every array that the launch was given
//     readonly    a write to an array that no parameter lets the kernel write
//     align       an access of 2, 4, 8 or 16 bytes at an address that is no multiple of that
//     uninit      a read of what nothing has written, by this launch or an earlier one
//     race        two accesses, one of them a write, that no barrier puts in an order
//
// Two accesses are in order if they are the same thread's; if a barrier of the block or, between
// threads of a warp, __syncwarp lies between; or if a barrier of the grid or a launch does.
#include "runtime.h"

#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <map>
#include <set>

namespace {

struct Access {                         // who, and when: enough to tell what is in order
    uint32_t phase, block, epoch, warp_epoch, pc;
    uint16_t thread;                    // 1 + its number; 0: nobody
    uint16_t atomic;
};
struct Cell { Access write, read, other_read; };
struct Shadow {                         // of one allocation, a cell for each `grain` bytes
    uintptr_t low;
    size_t bytes;
    int grain;
    std::vector<uint8_t> written;
    Cell* cells;
    Shadow(uintptr_t low, size_t bytes, int grain, bool written)
        : low(low), bytes(bytes), grain(grain), written((bytes + grain - 1) / grain, written),
          cells(nullptr) {}
    ~Shadow() { free(cells); }
    Shadow(const Shadow&) = delete;
    Cell* cell() {
        if (!cells) cells = static_cast<Cell*>(calloc(written.size() + 1, sizeof(Cell)));
        return cells;
    }
};
struct Segment {                        // what a launch may touch
    uintptr_t low, high;
    std::string name;
    bool writable, shared;
    Shadow* shadow;
};

std::map<uintptr_t, Shadow*> heap;      // arrays of the device, by their address
std::vector<Shadow*> borrowed;          // shadows of other memory, for this launch
std::map<char*, Shadow*> of_shared;     // shadows of shared memory, by its address
std::vector<Segment> segments;          // by address
Segment* recent[64];                    // the last one found for a page of memory
std::set<std::pair<uintptr_t, uintptr_t>> seen;
uintptr_t code_low, code_high, parameters_low, parameters_high;

void add_segment(const Segment& segment) {
    auto after = std::upper_bound(segments.begin(), segments.end(), segment.low,
                                  [](uintptr_t low, const Segment& s) { return low < s.low; });
    segments.insert(after, segment);
    memset(recent, 0, sizeof recent);
}

Segment* find(uintptr_t a, size_t n) {
    Segment*& guess = recent[a >> 12 & 63];
    if (guess && a >= guess->low && a + n <= guess->high) return guess;
    auto after = std::upper_bound(segments.begin(), segments.end(), a,
                                  [](uintptr_t low, const Segment& s) { return low < s.low; });
    if (after == segments.begin() || a + n > (after - 1)->high) return nullptr;
    return guess = &*(after - 1);
}

Shadow* in_heap(uintptr_t a, size_t n) {
    auto after = heap.upper_bound(a);
    if (after == heap.begin()) return nullptr;
    Shadow* shadow = std::prev(after)->second;
    return a + n <= shadow->low + shadow->bytes ? shadow : nullptr;
}

const char* verb(bool write) { return write ? "write" : "read"; }

std::string place(const Segment& s, uintptr_t a) {
    const long offset = long(a - s.low), grain = s.shadow->grain;
    char text[64];
    if (s.shared) snprintf(text, sizeof text, "%s%+ld", s.name.c_str(), offset);
    else snprintf(text, sizeof text, "%s[%ld]", s.name.c_str(), offset / grain);
    return s.shared || offset % grain == 0 ? text : s.name + "+" + std::to_string(offset);
}

void out_of_bounds(uintptr_t a, size_t n, bool write, uintptr_t pc) {
    const Segment* near = nullptr;
    uintptr_t best = ~uintptr_t(0);
    for (auto& s : segments) {
        const uintptr_t far = a < s.low ? s.low - a : a - s.high;
        if (far < best) best = far, near = &s;
    }
    if (!near || best > 1 << 24)
        report("bounds", pc, 0, "%s of %zu bytes at a wild address by %s", verb(write), n,
               who(me()).c_str());
    else
        report("bounds", pc, 0, "%s of %zu bytes at %s%+ld (it has %zu bytes) by %s", verb(write),
               n, near->name.c_str(), long(a - near->low), size_t(near->high - near->low),
               who(me()).c_str());
    stop_launch();
}

bool in_order(const Access& before, const Thread& now) {
    if (!before.thread || before.phase < phase) return true;
    if (before.block != now.block->number) return false;
    if (before.thread - 1 == now.number || before.epoch < now.block->epoch) return true;
    return (before.thread - 1) / 32 == now.warp && before.warp_epoch < now.warp_epoch;
}

void race(const Segment& s, uintptr_t a, const Access& before, bool wrote, bool write,
          const Thread& now, uintptr_t pc) {
    const uintptr_t other = code_low + before.pc;
    if (!seen.insert({other, pc}).second) return;
    report("race", pc, other, "%s of %s by %s, and %s by thread %d of block %u, with no barrier "
           "between", verb(write), place(s, a).c_str(), who(now).c_str(), verb(wrote),
           before.thread - 1, before.block);
}

void look(const Segment& s, size_t i, uintptr_t a, bool write, const Access& now,
          const Thread& thread, uintptr_t pc) {
    Cell& cell = s.shadow->cell()[i];
    auto apart = [&](const Access& before) {
        return !in_order(before, thread) && !(now.atomic && before.atomic);
    };
    if (!write && !s.shadow->written[i] && seen.insert({pc, 1}).second)
        report("uninit", pc, 0, "read of %s, which nothing has written, by %s",
               place(s, a).c_str(), who(thread).c_str());
    if (apart(cell.write)) race(s, a, cell.write, true, write, thread, pc);
    if (write) {
        if (apart(cell.read)) race(s, a, cell.read, false, true, thread, pc);
        if (apart(cell.other_read)) race(s, a, cell.other_read, false, true, thread, pc);
        cell = {now, {}, {}};
        s.shadow->written[i] = true;
    } else if (!cell.read.thread || in_order(cell.read, thread)) {
        cell.read = now;
    } else {
        cell.other_read = now;          // two readers are enough to convict any later writer
    }
}

int code_range(dl_phdr_info* info, size_t, void* inside) {
    uintptr_t low = ~uintptr_t(0), high = 0;
    for (int i = 0; i < info->dlpi_phnum; ++i)
        if (info->dlpi_phdr[i].p_type == PT_LOAD) {
            const uintptr_t at = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
            low = std::min(low, at);
            high = std::max(high, at + uintptr_t(info->dlpi_phdr[i].p_memsz));
        }
    if (uintptr_t(inside) < low || uintptr_t(inside) >= high) return 0;
    code_low = low;
    code_high = high;
    return 1;
}

// Calls `each` with the shadow's cell of every number of an array, which may be a view.
template <class F>
void walk(char* at, int dims, const int64_t* shape, const int64_t* strides, F each) {
    if (!dims) return each(at);
    for (int64_t i = 0; i < shape[0]; ++i) walk(at + i * strides[0], dims - 1, shape + 1,
                                                strides + 1, each);
}

}  // namespace

// Called by the runtime ---------------------------------------------------------------------------

void check_launch(const EmulatedLaunch& launch) {
    segments.clear();
    seen.clear();
    memset(recent, 0, sizeof recent);
    dl_iterate_phdr(code_range, reinterpret_cast<void*>(launch.entry));
    parameters_low = launch.parameters;
    parameters_high = launch.parameters + launch.parameter_bytes;
    std::vector<EmulatedArgument> given(launch.arguments, launch.arguments + launch.count);
    std::stable_sort(given.begin(), given.end(), [](auto& a, auto& b) { return a.low < b.low; });
    for (auto& argument : given) {
        const uintptr_t low = argument.low, high = low + argument.bytes;
        if (!argument.bytes) continue;
        if (!segments.empty() && low < segments.back().high) {  // the same array, or a part of it
            segments.back().high = std::max(segments.back().high, high);
            segments.back().writable |= argument.writable;
            continue;
        }
        Shadow* shadow = in_heap(low, argument.bytes);
        if (!shadow) {
            shadow = new Shadow(low, argument.bytes, argument.grain, true);
            borrowed.push_back(shadow);
        }
        segments.push_back({low, high, argument.name, bool(argument.writable), false, shadow});
    }
    count_launch(launch.counted);
}

void check_block() {
    segments.erase(std::remove_if(segments.begin(), segments.end(),
                                  [](const Segment& s) { return s.shared; }), segments.end());
    memset(recent, 0, sizeof recent);
}

void check_shared(const Shared& variable, int grain, const char* name) {
    Shadow*& shadow = of_shared[variable.at];
    if (!shadow || shadow->bytes != variable.bytes || shadow->grain != grain) {
        delete shadow;
        shadow = new Shadow(uintptr_t(variable.at), variable.bytes, grain, false);
    } else {
        std::fill(shadow->written.begin(), shadow->written.end(), 0);
        if (shadow->cells) memset(shadow->cells, 0, shadow->written.size() * sizeof(Cell));
    }
    if (variable.bytes)
        add_segment({shadow->low, shadow->low + variable.bytes, name, true, true, shadow});
}

void check_access(const void* at, size_t n, bool write, bool aligned, uintptr_t pc, bool counts) {
    const uintptr_t a = uintptr_t(at);
    if (!emulated_place) return;
    Thread& thread = me();
    const bool atomic = thread.atomic_next == at;
    thread.atomic_next = nullptr;
    Segment* s = find(a, n);
    if (!s) {
        if (on_a_stack(a) || (a >= parameters_low && a < parameters_high) ||
            (a >= code_low && a < code_high))
            return;
        out_of_bounds(a, n, write, pc);
    }
    if (aligned && n <= 16 && a % n) {
        report("align", pc, 0, "%zu-byte %s of %s is not aligned, by %s", n, verb(write),
               place(*s, a).c_str(), who(thread).c_str());
        stop_launch();
    }
    if (write && !s->writable) {
        report("readonly", pc, 0, "write to the const argument %s by %s", place(*s, a).c_str(),
               who(thread).c_str());
        stop_launch();
    }
    if (counts) count_access(pc, s->shared, write, n, s->shared ? a : a - s->low % 256);
    const Access now{phase, thread.block->number, thread.block->epoch, thread.warp_epoch,
                     uint32_t(pc - code_low), uint16_t(thread.number + 1), atomic};
    const int grain = s->shadow->grain;
    const uintptr_t low = s->shadow->low;
    for (size_t i = (a - low) / grain; i <= (a + n - 1 - low) / grain; ++i)
        look(*s, i, a, write, now, thread, pc);
}

void check_unwritten(const void* at, size_t bytes) {
    const uintptr_t a = uintptr_t(at);
    Segment* s = find(a, bytes);
    if (!s) return;
    for (size_t i = 0; i < bytes; i += s->shadow->grain)
        s->shadow->written[(a + i - s->shadow->low) / s->shadow->grain] = false;
}

void check_done() {
    for (auto* shadow : borrowed) delete shadow;
    borrowed.clear();
    segments.clear();
    memset(recent, 0, sizeof recent);
}

extern "C" {

// Called by memory.py -----------------------------------------------------------------------------

void* emulated_allocate(size_t bytes, int grain, int written) {
    const size_t margin = 4096;         // what a kernel that goes astray hits first
    char* at = nullptr;
    if (posix_memalign(reinterpret_cast<void**>(&at), 256, bytes + 2 * margin)) return nullptr;
    memset(at, 0xff, bytes + 2 * margin);
    heap[uintptr_t(at + margin)] = new Shadow(uintptr_t(at + margin), bytes, grain, written);
    return at + margin;
}
void emulated_free(void* at) {
    auto found = heap.find(uintptr_t(at));
    if (found == heap.end()) return;
    delete found->second;
    heap.erase(found);
    free(static_cast<char*>(at) - 4096);
}
// How many numbers of an array nothing has written.
int64_t emulated_unwritten(char* at, int dims, const int64_t* shape, const int64_t* strides) {
    int64_t count = 0;
    walk(at, dims, shape, strides, [&](char* number) {
        Shadow* shadow = in_heap(uintptr_t(number), 1);
        count += shadow && !shadow->written[(uintptr_t(number) - shadow->low) / shadow->grain];
    });
    return count;
}
void emulated_mark(char* at, int dims, const int64_t* shape, const int64_t* strides, int written) {
    walk(at, dims, shape, strides, [&](char* number) {
        Shadow* shadow = in_heap(uintptr_t(number), 1);
        if (shadow) shadow->written[(uintptr_t(number) - shadow->low) / shadow->grain] = written;
    });
}

// What the compiler puts before each access -------------------------------------------------------

#define PC (uintptr_t(__builtin_return_address(0)) - 1)
#define BEFORE(N)                                                              \
    void __tsan_read##N(void* p) { check_access(p, N, false, true, PC); }               \
    void __tsan_write##N(void* p) { check_access(p, N, true, true, PC); }               \
    void __tsan_volatile_read##N(void* p) { check_access(p, N, false, true, PC); }      \
    void __tsan_volatile_write##N(void* p) { check_access(p, N, true, true, PC); }      \
    void __tsan_unaligned_read##N(void* p) { check_access(p, N, false, false, PC); }    \
    void __tsan_unaligned_write##N(void* p) { check_access(p, N, true, false, PC); }
BEFORE(1) BEFORE(2) BEFORE(4) BEFORE(8) BEFORE(16)
void __tsan_read_range(void* p, size_t n) { check_access(p, n, false, false, PC); }
void __tsan_write_range(void* p, size_t n) { check_access(p, n, true, false, PC); }
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_init() {}

}
