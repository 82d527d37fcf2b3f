// tick.cu -- the clock of replayed steps: counters move on, and what they decide is looked up.
//
//     tick        counts[i] += grown[i]
//     look_up     value = table[min(count, length - 1)]
//
// A thread a counter; one thread for the table.  Both run when all else of a step has read them.
#include "group.cuh"

#define THREADS 32

struct Tick {
    long long* counts;
    const long long* grown;
    int n;
};

struct LookUp {
    const long long* count;
    const double* table;
    double* value;
    int length;
};

extern "C" __global__ void tick(const Group<Tick> group) {
    int block;
    const Tick& p = group.mine(block);
    const int i = block * THREADS + threadIdx.x;
    if (i < p.n) p.counts[i] += p.grown[i];
}

extern "C" __global__ void look_up(const Group<LookUp> group) {
    int block;
    const LookUp& p = group.mine(block);
    if (threadIdx.x) return;
    const long long step = *p.count, last = p.length - 1;
    *p.value = p.table[step < last ? step : last];
}
