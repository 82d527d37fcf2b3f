// Counts how one block reads and writes: bank conflicts in shared memory, sectors in global memory.
//
// What the lanes of a warp do at the same place in the code, for the n-th time, is one request.
// Shared memory has 32 banks of 4 bytes and serves a word of each bank at a time, so a request
// costs the most words that it wants from one bank.  Global memory moves 32 bytes at a time, a
// sector.
#include "runtime.h"

#include <stdio.h>

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>

namespace {

struct Request { uint64_t address[32]; uint32_t lanes; };
struct Site {
    bool shared, write;
    int bytes;
    std::unordered_map<uint64_t, Request> requests;             // by (how often, warp)
    std::unordered_map<int, uint32_t> times;                    // by thread
};
struct Cost { size_t paid, least; };

std::map<std::pair<uintptr_t, bool>, Site> sites;       // a copy reads and writes at one place
int64_t counted = -1;

// 8- and 16-byte accesses go in 2 and 4 parts, each a half or a quarter of the warp.
Cost of_shared(const Site& site, const Request& request) {
    const int parts = site.bytes <= 4 ? 1 : std::min(site.bytes / 4, 4), lanes = 32 / parts;
    Cost cost{0, 0};
    for (int first = 0; first < 32; first += lanes) {
        std::map<int, std::set<uint64_t>> words;                // by bank
        for (int lane = first; lane < first + lanes; ++lane)
            for (int w = 0; request.lanes >> lane & 1 && w < std::max(1, site.bytes / 4); ++w) {
                const uint64_t word = request.address[lane] / 4 + w;
                words[word % 32].insert(word);
            }
        size_t most = 0;
        for (auto& bank : words) most = std::max(most, bank.second.size());
        cost.paid += most;
        cost.least += most > 0;
    }
    return cost;
}

Cost of_global(const Site& site, const Request& request) {
    std::set<uint64_t> sectors, numbers;
    for (int lane = 0; lane < 32; ++lane)
        if (request.lanes >> lane & 1) {
            sectors.insert(request.address[lane] / 32);
            sectors.insert((request.address[lane] + site.bytes - 1) / 32);
            numbers.insert(request.address[lane]);
        }
    return {sectors.size(), (numbers.size() * site.bytes + 31) / 32};
}

}  // namespace

void count_launch(int64_t block) {
    sites.clear();
    counted = block;
}

void count_access(uintptr_t pc, bool shared, bool write, int bytes, uintptr_t offset) {
    const Thread& thread = me();
    if (counted != int64_t(thread.block->number)) return;
    Site& site = sites[{pc, write}];
    site.shared = shared;
    site.write = write;
    site.bytes = bytes;
    const uint64_t times = site.times[thread.number]++;
    Request& request = site.requests[times << 8 | thread.warp];
    request.address[thread.place.lane] = offset;
    request.lanes |= 1u << thread.place.lane;
}

// A line for each place in the code: address|shared|write|bytes|requests|cost|least possible.
extern "C" size_t emulated_counts(char* out, size_t capacity, uintptr_t base) {
    std::string all;
    for (auto& [place, site] : sites) {
        Cost sum{0, 0};
        for (auto& [key, request] : site.requests) {
            const Cost cost = site.shared ? of_shared(site, request) : of_global(site, request);
            sum.paid += cost.paid;
            sum.least += cost.least;
        }
        char line[160];
        snprintf(line, sizeof line, "%lx|%d|%d|%d|%zu|%zu|%zu\n",
                 (unsigned long)(place.first - base),
                 site.shared, site.write, site.bytes, site.requests.size(), sum.paid, sum.least);
        all += line;
    }
    if (capacity) snprintf(out, capacity, "%s", all.c_str());
    return all.size();
}
