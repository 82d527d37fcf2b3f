// update.cuh -- what an optimiser does with a gradient, entry by entry; kernels.reference's seven.
//
//     SGD              w -= eta g
//     MOMENTUM         u = a u - eta g;  w += u                                    u = s1
//     MANHATTAN        w -= eta sign(g)
//     RMSPROP          v = a v + (1 - a) g^2;  w -= eta g / (sqrt(v) + b)          v = s1
//     RMSPROP_CENTRED  m = a m + (1 - a) g;  v = a v + (1 - a) g^2;
//                      u = b u - eta g / sqrt(v - m^2 + c);  w += u                m, v, u = s1..s3
//     ADAM             m = a m + (1 - a) g;  v = b v + (1 - b) g^2;
//                      w -= eta' m / (sqrt(v / (1 - b^t)) + c),                    m, v = s1, s2
//                      eta' = eta / (1 - a^t)
//     LEAK             w -= eta w
//
// What every entry needs is computed once a block, in double, and then rounded: `rates`.
#pragma once
#include "group.cuh"

enum Kind { NONE, SGD, MOMENTUM, MANHATTAN, RMSPROP, RMSPROP_CENTRED, ADAM, LEAK };

struct Update {
    int kind;
    real* w;
    real* s1;
    real* s2;
    real* s3;
    Number eta;
    double a, b, c;
    Count t;
};

struct Rates {
    real eta, a, a1, b, b1, c;                      // a1 = 1 - a, b1 = 1 - b
    real start;                                     // 1 - b^t: Adam's v began at 0
};

__device__ inline Rates rates(const Update& u) {
    double eta = u.eta.value(), start = 1;
    if (u.kind == ADAM) {
        const double t = (double)u.t.value();
        eta /= 1 - pow(u.a, t);
        start = 1 - pow(u.b, t);
    }
    return {real(eta), real(u.a), real(1 - u.a), real(u.b), real(1 - u.b), real(u.c), real(start)};
}

// One weight and its state, given the gradient.
__device__ __forceinline__ void move(int kind, const Rates& r, real g, real& w, real& s1, real& s2,
                                     real& s3) {
    switch (kind) {
    case SGD:
        w -= r.eta * g;
        break;
    case MOMENTUM:
        s1 = r.a * s1 - r.eta * g;
        w += s1;
        break;
    case MANHATTAN:
        w -= r.eta * (g > 0 ? real(1) : g < 0 ? real(-1) : g);
        break;
    case RMSPROP:
        s1 = r.a * s1 + r.a1 * g * g;
        w -= r.eta * g / (sqrt(s1) + r.b);
        break;
    case RMSPROP_CENTRED:
        s1 = r.a * s1 + r.a1 * g;
        s2 = r.a * s2 + r.a1 * g * g;
        s3 = r.b * s3 - r.eta * g / sqrt(s2 - s1 * s1 + r.c);
        w += s3;
        break;
    case ADAM:
        s1 = r.a * s1 + r.a1 * g;
        s2 = r.b * s2 + r.b1 * g * g;
        w -= r.eta * s1 / (sqrt(s2 / r.start) + r.c);
        break;
    case LEAK:
        w -= r.eta * w;
        break;
    }
}

// The same for entry i of the arrays.
__device__ __forceinline__ void update(const Update& u, const Rates& r, size_t i, real g) {
    if (u.kind == NONE) return;
    real w = u.w[i], s1 = u.s1 ? u.s1[i] : real(0), s2 = u.s2 ? u.s2[i] : real(0);
    real s3 = u.s3 ? u.s3[i] : real(0);
    move(u.kind, r, g, w, s1, s2, s3);
    u.w[i] = w;
    if (u.s1) u.s1[i] = s1;
    if (u.s2) u.s2[i] = s2;
    if (u.s3) u.s3[i] = s3;
}
