// tick.cu -- the clock of replayed steps: counters move on, and what they decide is looked up.
//
//     counter[i] += by[i];  value = table[min(counter[0], length - 1)]
//
// One thread.  It runs when everything else of a step has read them.
#include "group.cuh"

struct Tick {
    long long* counters;
    const long long* by;
    const double* table;                            // or none
    double* value;
    int counts, length;
};

extern "C" __global__ void tick(const Group<Tick> group) {
    int block;
    const Tick& p = group.mine(block);
    for (int i = 0; i < p.counts; ++i) p.counters[i] += p.by[i];
    if (!p.table) return;
    const long long step = p.counters[0];
    *p.value = p.table[step < p.length ? step : p.length - 1];
}
