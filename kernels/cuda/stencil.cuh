// Where a place of a layer of images looks, and which places look at a unit of the image.
//
// Nine integers, as in kernels.reference: an image of R x C x ch numbers, channels innermost; a
// kernel of k x k with stride s; the rows and columns of zeros above and left of the image; and
// R1 x C1 places.  Place (r, c) sees tap (i, j) at row r s - top + i and column c s - left + j.
#pragma once

struct Stencil { int R, C, ch, k, s, top, left, R1, C1; };

// Taps [first, end) along one side: those of a place's kernel that fall inside the image.
struct Side { int first, end, start; };              // start: where tap 0 looks, maybe outside

__device__ inline Side taps_inside(int place, int k, int s, int before, int size) {
    Side side;
    side.start = place * s - before;
    side.first = max(0, -side.start);
    side.end = max(side.first, min(k, size - side.start));
    return side;
}

// The places along one side that see a unit: place - a with tap first + a s, for a in [0, count).
struct Readers { int place, tap, count; };

__device__ inline Readers readers(int unit, int k, int s, int before, int places) {
    const int skipped = max(0, (unit + before) / s - (places - 1));   // places that do not exist
    Readers all;
    all.place = (unit + before) / s - skipped;
    all.tap = (unit + before) % s + skipped * s;
    all.count = all.tap < k ? min((k - all.tap + s - 1) / s, all.place + 1) : 0;
    return all;
}

// With stride s the units along a side are of s kinds: those of one kind are seen by the same taps,
// tap + s a for a in [0, taps), or fewer at the edges.  They are first + s q, for q in [0, count).
// The kinds are numbered by their first tap, so that the first are seen by most.
struct Kind {
    int first, count, tap, taps;

    __device__ Kind(int tap, int size, int k, int s, int before) : tap(tap) {
        first = ((tap - before) % s + s) % s;
        count = first < size ? (size - first + s - 1) / s : 0;
        taps = tap < k ? (k - tap + s - 1) / s : 0;
    }
};
