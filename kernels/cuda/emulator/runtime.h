// What the parts of the runtime share: threads, blocks, the launch, and the checks' hooks.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include <string>
#include <vector>

struct uint3 { unsigned x, y, z; };

extern "C" {
struct EmulatedPlace {                  // as in cuda_on_cpu.h
    uint3 thread;
    unsigned lane;
    const uint3* block;
};
extern const EmulatedPlace* emulated_place;
extern uint3 emulated_block_dim, emulated_grid_dim;
}

enum State { READY, AT_WARP, AT_BLOCK, AT_GRID, DONE };

struct Stack;
struct Block;
struct Copy {                           // a cp.async on its way
    char* dst;
    const char* src;
    int bytes, src_bytes;
    unsigned group;
};
struct Thread {
    EmulatedPlace place;                // first, so that emulated_place points to a Thread
    State state;
    Stack* stack;                       // none before it has begun
    Block* block;
    int number, warp, line;             // in its block; where it waits
    size_t turn;                        // its place in the order of all threads
    unsigned mask;                      // of the warp operation it waits at
    void* payload;
    unsigned warp_epoch, group;         // how often its warp has met; groups of copies so far
    const void* atomic_next;
    std::vector<Copy> copies;
};
struct Shared {                         // memory of one __shared__ variable
    char* at = nullptr;
    size_t bytes = 0, capacity = 0;
    bool fresh = false;                 // already made ready for the block that runs now
};
struct Block {
    uint3 index;
    unsigned number, epoch;             // in the grid; barriers so far
    Thread* threads;
    int waiting, done, votes, result;
    std::vector<unsigned> arrived;      // of each warp: the lanes at a warp operation
    std::vector<Shared> shared;
    Shared dynamic;
};

extern "C" {
struct EmulatedArgument {               // an array that a launch may touch
    uintptr_t low;
    uint64_t bytes;
    const char* name;
    int32_t writable, grain;
};
struct EmulatedLaunch {                 // as launch.py packs it
    void (*entry)(void**);
    void** args;
    EmulatedArgument* arguments;
    uint64_t parameters, parameter_bytes;       // memory of the parameters themselves
    uint64_t shared;
    uint32_t grid[3], block[3];
    int32_t count, cooperative, schedule;
    uint32_t seed;
    int64_t counted;
};
}

// Of threads.cpp
extern std::vector<Block> blocks;
extern int threads_per_block;
extern unsigned phase;                  // grows with every launch and every barrier of a grid
inline Thread& me() {
    return *reinterpret_cast<Thread*>(const_cast<EmulatedPlace*>(emulated_place));
}
std::string who(const Thread& thread);
void report(const char* kind, uintptr_t pc, uintptr_t other, const char* format, ...)
    __attribute__((format(printf, 4, 5)));
void stop_launch() __attribute__((noreturn));

// Of stacks.cpp
Stack* take_stack(void (*body)());
void give_stack(Stack* stack);
void give_all_stacks();
Stack* main_stack();
void switch_stacks(Stack* from, Stack* to);
bool on_a_stack(uintptr_t address);

// Of checks.cpp and counts.cpp; without EMULATED_CHECKED there is nothing to do.
#ifdef EMULATED_CHECKED
void check_launch(const EmulatedLaunch& launch);
void check_shared(const Shared& variable, int grain, const char* name);
void check_block();                     // the next block begins: shared memory is new
void check_access(const void* at, size_t bytes, bool write, bool aligned, uintptr_t pc,
                  bool counts = true);
void check_unwritten(const void* at, size_t bytes);     // these bytes count as unwritten again
void check_done();
void count_launch(int64_t block);
void count_access(uintptr_t pc, bool shared, bool write, int bytes, uintptr_t offset);
#else
inline void check_launch(const EmulatedLaunch&) {}
inline void check_shared(const Shared&, int, const char*) {}
inline void check_block() {}
inline void check_access(const void*, size_t, bool, bool, uintptr_t, bool = true) {}
inline void check_unwritten(const void*, size_t) {}
inline void check_done() {}
#endif
