// Several problems in one launch.
//
//     extern "C" __global__ void softmax(const Group<Softmax> group) {
//         int block;
//         const Softmax& p = group.mine(block);       // this block's problem; its number in there
//
// A step has the same kernel to run for every layer.  Side by side in one launch they fill the
// device, and they wait once.  The problems travel as the launch's arguments, at most 16 of them
// in 4 KB; problem i has the blocks first[i] ... first[i + 1] - 1 of a one-dimensional grid.
//
// A Number and a Count are handed in by the host, or lie in device memory and change there while a
// recorded step is replayed.
#pragma once

struct Number {
    double factor;
    const double* at;
    __device__ double value() const { return at ? factor * *at : factor; }
};

struct Count {
    long long offset;
    const long long* at;
    __device__ long long value() const { return at ? offset + *at : offset; }
};

template <class P> struct Group {
    int count;
    int first[17];
    P at[16];

    __device__ __forceinline__ const P& mine(int& block) const {
        int i = 0;
        while (i + 1 < count && int(blockIdx.x) >= first[i + 1]) ++i;
        block = int(blockIdx.x) - first[i];
        return at[i];
    }
};
