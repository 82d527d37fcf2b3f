// Runs the threads of a grid on one core, one after the other.
//
// A thread runs until it waits (for its block, its warp, the grid) or ends; then the next one that
// can run does.  Which that is, is the schedule: upwards, downwards, or a random warp as far as it
// gets.  A right kernel computes the same under each.  Blocks follow one another, unless the launch
// is cooperative: then all are under way at once.  When nobody can go on, it is said who waits
// where.
#include "runtime.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <map>
#include <random>

extern "C" {
const EmulatedPlace* emulated_place;
uint3 emulated_block_dim, emulated_grid_dim;
}
std::vector<Block> blocks;              // those under way
int threads_per_block;
unsigned phase;

namespace {

enum { UPWARDS, DOWNWARDS, RANDOM };

const EmulatedLaunch* launch;
std::vector<Thread> threads;            // of the blocks under way
std::vector<Thread*> order;             // by turn; a block's threads fill whole warps
std::vector<uint64_t> ready;            // a bit for each turn: that thread can run
size_t cursor;                          // the turn after the last
bool stopped;
size_t at_grid;                         // threads that wait there
std::vector<std::string> reports;
std::mt19937 dice;

void set(Thread& thread, State state) {
    thread.state = state;
    const uint64_t bit = uint64_t(1) << thread.turn % 64;
    if (state == READY) ready[thread.turn / 64] |= bit;
    else ready[thread.turn / 64] &= ~bit;
}

// The first ready turn at or after `from`, going round; -1 if there is none.
long after(size_t from) {
    const size_t words = ready.size(), word = from / 64 % words;
    if (uint64_t here = ready[word] >> from % 64) return from + __builtin_ctzll(here);
    for (size_t i = 1; i <= words; ++i)
        if (uint64_t there = ready[(word + i) % words])
            return (word + i) % words * 64 + __builtin_ctzll(there);
    return -1;
}

// The same, from a random lane of the warp that ran last, or of a random one if that cannot go on.
long at_random() {
    const uint32_t warp = uint32_t(ready[cursor / 64] >> cursor / 32 % 2 * 32);
    if (warp) {
        const int lane = dice() % 32;
        const uint32_t turned = warp >> lane | uint64_t(warp) << (32 - lane);
        return cursor / 32 * 32 + (__builtin_ctz(turned) + lane) % 32;
    }
    return after(dice() % (ready.size() * 2) * 32);
}

Thread* next() {
    const long turn = launch->schedule == RANDOM ? at_random() : after(cursor);
    if (turn < 0 || stopped) return nullptr;
    cursor = launch->schedule == RANDOM ? turn : (turn + 1) % (ready.size() * 64);
    return order[turn];
}

void leave() {
    Stack* stack = me().stack;
    switch_stacks(stack, main_stack());
}

void run();

void go_on(Stack* from, Thread* thread) {
    if (!thread->stack) thread->stack = take_stack(run);
    emulated_place = &thread->place;
    switch_stacks(from, thread->stack);
}

// The thread that runs cannot go on; returns when it can.
void wait(State state, int line) {
    Thread& thread = me();
    thread.line = line;
    if (state != READY) set(thread, state);
    Thread* other = next();
    if (!other) leave();
    else if (other != &thread) go_on(thread.stack, other);
}

void end(Thread& thread) {
    if (!thread.copies.empty()) {
        report("async", 0, 0, "%s ends with %zu cp.async copies that it never waited for",
               who(thread).c_str(), thread.copies.size());
        thread.copies.clear();
    }
    set(thread, DONE);
    thread.block->done++;
}

// What a stack does: one thread after the other, as long as the next has not begun elsewhere.
void run() {
    for (;;) {
        launch->entry(launch->args);
        Thread& thread = me();
        Stack* stack = thread.stack;
        end(thread);
        Thread* other = next();
        if (!other) {
            leave();
        } else if (other->stack) {
            give_stack(stack);
            go_on(stack, other);
        } else {
            other->stack = stack;
            emulated_place = &other->place;
        }
    }
}

const char* const WHERE[] = {"ready", "at a warp operation", "at __syncthreads()",
                             "at a grid barrier", "finished"};

void report_stuck(const Block& block) {
    std::map<std::pair<int, int>, std::pair<int, int>> groups;  // state, line: how many, the first
    for (int i = 0; i < threads_per_block; ++i) {
        const Thread& thread = block.threads[i];
        auto& group = groups[{thread.state, thread.state == DONE ? 0 : thread.line}];
        if (!group.first++) group.second = i;
    }
    std::string text;
    for (auto& [key, group] : groups) {
        text += (text.empty() ? "" : ", ") + std::to_string(group.first) + " threads (first: " +
                std::to_string(group.second) + ") " + WHERE[key.first];
        if (key.first != DONE) text += " on line " + std::to_string(key.second);
    }
    report("stuck", 0, 0, "block (%u,%u,%u) can never go on: %s", block.index.x, block.index.y,
           block.index.z, text.c_str());
}

void release(Block& block) {
    const int line = block.threads[0].line;
    for (int i = 0; i < threads_per_block; ++i)
        if (block.threads[i].line != line) {
            report("barrier", 0, 0, "block (%u,%u,%u): thread 0 waits at __syncthreads() on line "
                   "%d, thread %d at the one on line %d", block.index.x, block.index.y,
                   block.index.z, line, i, block.threads[i].line);
            stop_launch();
        }
    for (int i = 0; i < threads_per_block; ++i) set(block.threads[i], READY);
    block.waiting = 0;
    block.epoch++;
    block.result = block.votes;
    block.votes = 0;
}

// Threads and blocks for `live` blocks under way at once.
void prepare(size_t live) {
    const int n = threads_per_block, warps = (n + 31) / 32;
    const size_t turns = live * warps * 32;
    if (threads.size() < live * n) threads.resize(live * n);
    if (blocks.size() != live) blocks.resize(live);
    order.assign((turns + 63) / 64 * 64, nullptr);
    ready.assign(order.size() / 64, 0);
    for (size_t k = 0; k < live; ++k) {
        blocks[k].threads = &threads[k * n];
        blocks[k].arrived.assign(warps, 0);
        for (int i = 0; i < n; ++i) {
            Thread& thread = threads[k * n + i];
            const unsigned x = launch->block[0], y = launch->block[1];
            thread.place = {{i % x, i / x % y, i / x / y}, i % 32u, &blocks[k].index};
            thread.block = &blocks[k];
            thread.number = i;
            thread.warp = i / 32;
            thread.turn = k * warps * 32 + i;
            if (launch->schedule == DOWNWARDS) thread.turn = turns - 1 - thread.turn;
            order[thread.turn] = &thread;
        }
    }
}

void begin(Block& block, size_t number) {
    const uint32_t* grid = launch->grid;
    block.number = number;
    block.index = {unsigned(number % grid[0]), unsigned(number / grid[0] % grid[1]),
                   unsigned(number / grid[0] / grid[1])};
    block.epoch = block.waiting = block.done = block.votes = 0;
    for (auto& arrived : block.arrived) arrived = 0;
    for (auto& variable : block.shared) variable.fresh = false;
    block.dynamic.fresh = false;
    for (int i = 0; i < threads_per_block; ++i) {
        Thread& thread = block.threads[i];
        thread.stack = nullptr;
        thread.warp_epoch = thread.group = 0;
        thread.atomic_next = nullptr;
        thread.copies.clear();
        set(thread, READY);
    }
}

void run_blocks(size_t live, size_t count) {
    std::vector<size_t> turns(count);
    for (size_t i = 0; i < count; ++i)
        turns[i] = launch->schedule == DOWNWARDS ? count - 1 - i : i;
    if (launch->schedule == RANDOM) std::shuffle(turns.begin(), turns.end(), dice);
    for (size_t start = 0; start < count && !stopped; start += live) {
        for (size_t k = 0; k < live; ++k) begin(blocks[k], turns[start + k]);
        check_block();
        cursor = 0;
        go_on(main_stack(), next());
        emulated_place = nullptr;
        for (auto& block : blocks)
            if (!stopped && block.done < threads_per_block) {
                report_stuck(block);
                stopped = true;
            }
        give_all_stacks();
    }
}

// Whether all lanes that `thread` waits for are at the same operation; what they have brought.
bool together(const Thread* warp, const Thread& thread, void** payloads) {
    for (unsigned left = thread.mask; left; left &= left - 1) {
        const int lane = __builtin_ctz(left);
        if (warp[lane].mask != thread.mask || warp[lane].line != thread.line) return false;
        payloads[lane] = warp[lane].payload;
    }
    return true;
}

void* memory(Shared& variable, size_t bytes, int grain, const char* name) {
    if (variable.fresh) return variable.at;
    if (variable.capacity < bytes || !variable.at) {
        free(variable.at);
        void* at = nullptr;
        variable.capacity = bytes ? bytes : 1;
        if (posix_memalign(&at, 128, variable.capacity)) abort();
        variable.at = static_cast<char*>(at);
    }
    variable.bytes = bytes;
    variable.fresh = true;
    memset(variable.at, 0xff, bytes);           // every float is NaN until it is written
    check_shared(variable, grain, name);
    return variable.at;
}

}  // namespace

void report(const char* kind, uintptr_t pc, uintptr_t other, const char* format, ...) {
    char text[512], head[128];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    uintptr_t base = 0;
    Dl_info info;
    if (pc && dladdr(reinterpret_cast<void*>(pc), &info)) base = uintptr_t(info.dli_fbase);
    snprintf(head, sizeof head, "%s|%lx|%lx|", kind, (unsigned long)(pc ? pc - base : 0),
             (unsigned long)(other ? other - base : 0));
    if (reports.size() < 50) reports.push_back(std::string(head) + text);
}

std::string who(const Thread& thread) {
    const uint3 b = thread.block->index, t = thread.place.thread;
    char text[96];
    snprintf(text, sizeof text, "block (%u,%u,%u) thread (%u,%u,%u)", b.x, b.y, b.z, t.x, t.y, t.z);
    return text;
}

void stop_launch() {
    stopped = true;
    leave();
    __builtin_unreachable();
}

// Called by kernels -------------------------------------------------------------------------------

extern "C" {

uint3 emulated_thread_idx() { return emulated_place->thread; }
uint3 emulated_block_idx() { return *emulated_place->block; }
uint3 emulated_get_block_dim() { return emulated_block_dim; }
uint3 emulated_get_grid_dim() { return emulated_grid_dim; }
unsigned emulated_lane() { return emulated_place->lane; }

void emulated_fail(const char* what, int line) {
    report("fail", 0, 0, "line %d: %s", line, what);
    stop_launch();
}

void* emulated_shared(int slot, size_t bytes, int grain, const char* name) {
    auto& variables = me().block->shared;
    if (int(variables.size()) <= slot) variables.resize(slot + 1);
    if (variables[slot].fresh && variables[slot].bytes != bytes)
        emulated_fail("a __shared__ variable of a template has two sizes in one launch", 0);
    return memory(variables[slot], bytes, grain, name);
}
void* emulated_dynamic_shared() {
    return memory(me().block->dynamic, launch->shared, 4, "dynamic shared memory");
}

void emulated_block_barrier(int line) {
    Thread& thread = me();
    thread.line = line;
    set(thread, AT_BLOCK);
    if (++thread.block->waiting == threads_per_block) release(*thread.block);
    wait(thread.state, line);
}
int emulated_block_vote(int predicate, int line) {
    Block& block = *me().block;
    block.votes += predicate;
    emulated_block_barrier(line);
    return block.result;
}

void emulated_grid_barrier(int line) {
    if (!launch->cooperative) {
        report("grid", 0, 0, "grid barrier on line %d in a launch that is not cooperative", line);
        stop_launch();
    }
    Thread& thread = me();
    thread.line = line;
    set(thread, AT_GRID);
    if (++at_grid == blocks.size() * threads_per_block) {
        for (auto& block : blocks) {
            for (int i = 0; i < threads_per_block; ++i) set(block.threads[i], READY);
            block.epoch++;
        }
        at_grid = 0;
        phase++;
    }
    wait(thread.state, line);
}

void emulated_warp(unsigned mask, int line, int orders_memory, void* payload,
                   void (*complete)(void**, unsigned)) {
    Thread& thread = me();
    Thread* warp = thread.block->threads + thread.warp * 32;
    const int lanes = std::min(32, threads_per_block - thread.warp * 32);
    if (lanes < 32) mask &= (1u << lanes) - 1;
    if (!(mask >> thread.place.lane & 1)) {
        report("warp", 0, 0, "line %d: %s takes part in a warp operation whose mask %08x leaves it "
               "out", line, who(thread).c_str(), mask);
        stop_launch();
    }
    thread.mask = mask;
    thread.line = line;
    thread.payload = payload;
    set(thread, AT_WARP);
    unsigned& arrived = thread.block->arrived[thread.warp];
    arrived |= 1u << thread.place.lane;
    void* payloads[32] = {};
    const bool all = (arrived & mask) == mask && together(warp, thread, payloads);
    if (!all) return wait(AT_WARP, line);
    complete(payloads, mask);
    arrived &= ~mask;
    unsigned epoch = 0;
    for (unsigned left = mask; left; left &= left - 1)
        epoch = std::max(epoch, warp[__builtin_ctz(left)].warp_epoch);
    for (unsigned left = mask; left; left &= left - 1) {
        set(warp[__builtin_ctz(left)], READY);
        if (orders_memory) warp[__builtin_ctz(left)].warp_epoch = epoch + 1;
    }
}

void emulated_atomic(const void* at) { me().atomic_next = at; }

// From its issue on a copy may write at any time, so its target is poison at once; the bytes are
// there when the thread has waited for them.  Both moments count as writes.
void emulated_copy(void* dst, const void* src, int bytes, int src_bytes) {
    const uintptr_t pc = uintptr_t(__builtin_return_address(0)) - 1;
    if (uintptr_t(dst) % bytes || (src_bytes && uintptr_t(src) % bytes)) {
        report("align", pc, 0, "cp.async of %d bytes at an address that is no multiple of it, by "
               "%s", bytes, who(me()).c_str());
        stop_launch();
    }
    if (src_bytes) check_access(src, src_bytes, false, false, pc);
    check_access(dst, bytes, true, true, pc);
    check_unwritten(dst, bytes);
    memset(dst, 0xff, bytes);
    me().copies.push_back({static_cast<char*>(dst), static_cast<const char*>(src), bytes,
                           src_bytes, me().group});
}
void emulated_copy_commit() { me().group++; }
void emulated_copy_wait(int keep) {
    const uintptr_t pc = uintptr_t(__builtin_return_address(0)) - 1;
    Thread& thread = me();
    size_t kept = 0;
    for (auto& copy : thread.copies)
        if (copy.group + keep < thread.group) {
            check_access(copy.dst, copy.bytes, true, true, pc, false);
            memcpy(copy.dst, copy.src, copy.src_bytes);
            memset(copy.dst + copy.src_bytes, 0, copy.bytes - copy.src_bytes);
        } else {
            thread.copies[kept++] = copy;
        }
    thread.copies.resize(kept);
}

// Called by launch.py -----------------------------------------------------------------------------

int emulated_launch(const EmulatedLaunch* wanted) {
    launch = wanted;
    reports.clear();
    const uint32_t *grid = launch->grid, *block = launch->block;
    const uint64_t n = uint64_t(block[0]) * block[1] * block[2];
    const uint64_t count = uint64_t(grid[0]) * grid[1] * grid[2];
    if (n < 1 || n > 1024 || block[2] > 64 || count < 1 || grid[0] > 0x7fffffff ||
        grid[1] > 65535 || grid[2] > 65535) {
        report("launch", 0, 0, "no device can launch a grid of (%u,%u,%u) blocks of (%u,%u,%u) "
               "threads", grid[0], grid[1], grid[2], block[0], block[1], block[2]);
        return 1;
    }
    emulated_grid_dim = {grid[0], grid[1], grid[2]};
    emulated_block_dim = {block[0], block[1], block[2]};
    threads_per_block = n;
    stopped = false;
    at_grid = 0;
    phase++;
    dice.seed(launch->seed);
    const size_t live = launch->cooperative ? count : 1;
    prepare(live);
    check_launch(*launch);
    run_blocks(live, count);
    check_done();
    return !reports.empty();
}

// One line a report: kind|address|other address|text.  Addresses are those of the kernel's library.
size_t emulated_reports(char* out, size_t capacity) {
    std::string all;
    for (auto& line : reports) all += line + "\n";
    if (capacity) snprintf(out, capacity, "%s", all.c_str());
    return all.size();
}

}
