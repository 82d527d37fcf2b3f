"""Every kernel at work: arrays for it, and what should come out.

    got, want = TRIALS["dense"](Bench(device), 33, 18, 21)
    want()                                      the reference's answer, in float64

This is what the kernels are broken against: `minicredit kernels check` runs one of these under the
emulator's checks, the tests delete its barriers and bounds one by one, count its accesses, and
compile every variant that it asks for.  The three sizes are those of a product (m x k by k x n);
other kernels have rows m of length n.
"""
from functools import partial

import numpy as np

from minicredit.kernels import reference
from minicredit.kernels.cuda import (coherent, dense, images, losses, optimisers, pointwise,
                                     randomness)
from minicredit.kernels.cuda.work import REAL, Work

KEY = 7, 2, 1, 5                        # seed, stream, layer, step
LADDER = {"naive": (32, 8), "coalesced": (32, 8), "shared": (32, 32), "registers": 256,
          "quads": 256, "warps": 256}   # rungs of matmul.cu, and the threads of their blocks


class Bench:
    """Where a trial gets its numbers from.

    Parameters
    ----------
    device : Device
    dtype : {"float32", "float64"}
    seed : int
    """

    def __init__(self, device, dtype="float32", seed=0):
        self.device, self.dtype, self.dice = device, np.dtype(dtype), np.random.default_rng(seed)

    def some(self, *shape):
        """Normal numbers, rounded to this bench's type; as the reference takes them: float64."""
        return self.dice.standard_normal(shape).astype(self.dtype).astype(np.float64)

    def there(self, *arrays):
        """Arrays on the device, floats in this bench's type."""
        return [self.device.asarray(x.astype(self.dtype) if x.dtype == np.float64 else x)
                for x in arrays]

    def empty(self, *shape):
        """An array on the device that nothing has written."""
        return self.device.empty(shape, self.dtype)

    def asked(self, operation, *args):
        """An operation's answer, and the reference's when it is asked for."""
        on = [self.there(x)[0] if isinstance(x, np.ndarray) else x for x in args]
        got = operation(self.device, *on)
        want = partial(getattr(reference, operation.__name__), *args)
        return (list(got) if isinstance(got, tuple) else [got]), partial(answers, want)

    def moved(self, operation, *args):
        """The same for an operation that changes its arguments in place."""
        on = [self.there(x)[0] if isinstance(x, np.ndarray) else x for x in args]
        operation(self.device, *on)
        got = [x for i, x in enumerate(on) if hasattr(x, "on_device") and i != 1]
        return got, partial(changed, operation.__name__, args)


def answers(want):
    """The arrays that the reference gives, as a list."""
    found = want()
    return list(found) if isinstance(found, tuple) else [found]


def changed(name, args):
    """The arrays that an operation of the reference has changed; the second, g, it has not."""
    args = [x.copy() if isinstance(x, np.ndarray) else x for x in args]
    getattr(reference, name)(*args)
    return [x for i, x in enumerate(args) if isinstance(x, np.ndarray) and i != 1]


def both(*trials):
    """Several trials as one."""
    return [x for got, _ in trials for x in got], partial(all_of, [want for _, want in trials])


def all_of(wants):
    """What several trials should give."""
    return [x for want in wants for x in want()]


# Products -----------------------------------------------------------------------------------------

def dense_trial(bench, m, n, k):
    """f(h W + b)."""
    return bench.asked(dense.dense, bench.some(m, k), bench.some(k, n), bench.some(n), "tanh")


def pull_back_trial(bench, m, n, k):
    """delta W^T, and times the slope of the layer below."""
    plain = bench.asked(dense.pull_back, bench.some(m, k), bench.some(n, k))
    delta, W, h = bench.some(m, k), bench.some(n, k), np.tanh(bench.some(m, n))
    out = bench.empty(m, n)
    bench.device.run([dense.pull_back_slope_work(*bench.there(delta, W, h), "tanh", out)])
    return both(plain, ([out], partial(sloped, delta, W, h)))


def sloped(delta, W, h):
    """delta W^T f'(h)."""
    return [reference.times_slope(delta @ W.T, h, "tanh")]


def dense_grad_trial(bench, m, n, k):
    """h^T delta / N of k examples."""
    return bench.asked(dense.dense_grad, bench.some(k, m), bench.some(k, n))


def descend_trial(bench, m, n, k):
    """The same, taken by Adam into the weights and by momentum into the biases."""
    h, delta, W, b = bench.some(k, m), bench.some(k, n), bench.some(m, n), bench.some(n)
    state = [bench.some(m, n), bench.some(m, n)**2, bench.some(n)]
    h_, delta_, W_, b_, m_, v_, u_ = bench.there(h, delta, W, b, *state)
    updates = (optimisers.update_fields("adam", (W_, None, m_, v_, 3, 0.1, 0.9, 0.99, 1e-3)),
               optimisers.update_fields("momentum", (b_, None, u_, 0.1, 0.9)))
    bench.device.run([dense.descend_work(h_, delta_, *updates)])
    return [W_, m_, v_, b_, u_], partial(descended, h, delta, W, b, *state)


def descended(h, delta, W, b, m, v, u):
    """What `descend_trial` should give."""
    dW, db = reference.dense_grad(h, delta)
    W, b, m, v, u = (x.copy() for x in (W, b, m, v, u))
    reference.adam(W, dW, m, v, 3, 0.1, 0.9, 0.99, 1e-3)
    reference.momentum(b, db, u, 0.1, 0.9)
    return [W, m, v, b, u]


def target_trial(bench, m, n, k):
    """h + (g(h_hat above) - g(h above))."""
    args = bench.some(m, k), bench.some(m, k), bench.some(k, n), bench.some(n), bench.some(m, n)
    out = bench.empty(m, n)
    bench.device.run([dense.target_work(*bench.there(*args), out, "tanh")])
    return [out], partial(targeted, *args)


def targeted(h_hat, h, V, c, below):
    """What `target_trial` should give."""
    up, down = (reference.dense(x, V, c, "tanh") for x in (h_hat, h))
    return [reference.difference(below, up, down)]


def reconstruct_trial(bench, m, n, k):
    """(back - goal) f'(back)."""
    args = bench.some(m, k), bench.some(k, n), bench.some(n), bench.some(m, n)
    out = bench.empty(m, n)
    bench.device.run([dense.reconstruct_work(*bench.there(*args), out, "tanh")])
    return [out], partial(missed, *args)


def missed(h, V, c, goal):
    """What `reconstruct_trial` should give."""
    back = reference.dense(h, V, c, "tanh")
    return [reference.times_slope(back - goal, back, "tanh")]


def matmul_trial(bench, m, n, k):
    """The ladder's rungs: A B."""
    return both(*(rung(bench, "matmul", name, LADDER[name], m, n, k) for name in LADDER))


def matmul_tensor_trial(bench, m, n, k):
    """Its last one, which tensor cores make of floats."""
    if bench.dtype != np.float32:
        return [], list
    return rung(bench, "matmul_tensor", "tensor", 256, m, n, k)


def rung(bench, file, name, threads, m, n, k):
    """One rung of the ladder."""
    A, B, C = bench.some(m, k), bench.some(k, n), bench.empty(m, n)
    side = 64 if bench.dtype == np.float64 else 128
    grid = {"naive": (-(-m // 32), -(-n // 8)), "coalesced": (-(-n // 32), -(-m // 8)),
            "shared": (-(-n // 32), -(-m // 32)), "warps": (-(-m // side) * -(-n // side),),
            "tensor": (-(-m // side) * -(-n // side),)}.get(name, (-(-n // 64), -(-m // 64)))
    bench.device.launch(file, name, (("real", REAL[bench.dtype.name]),), grid, threads,
                        [*bench.there(A, B), C, m, n, k])
    return [C], partial(answers, partial(np.matmul, A, B))


# Coherent networks --------------------------------------------------------------------------------

def signed_dense_trial(bench, m, n, k, K=2):
    """sign max(0, h W + b), of an input that all see and of each one's own."""
    W, b, sign = bench.some(K, k, n), bench.some(K, n), np.sign(bench.some(n))
    return both(bench.asked(coherent.signed_dense, bench.some(m, k), W, b, sign),
                bench.asked(coherent.signed_dense, bench.some(K, m, k), W, b, sign))


def signed_slope_trial(bench, m, n, k, K=2):
    """sign [h != 0], and times an error of each unit, of each network, and of each class."""
    h, sign, beta = np.maximum(bench.some(K, m, n), 0), np.sign(bench.some(n)), bench.some(m, K)
    out = bench.empty(K, m, n)
    beta_, *on = bench.there(beta, h, sign)
    bench.device.run([coherent.signed_slope_work(*on, out, beta_, (1, K, 0))])
    return both(bench.asked(coherent.signed_slope, h, sign),
                bench.asked(coherent.signed_times_slope, bench.some(K, m, n), h, sign),
                bench.asked(coherent.signed_times_slope, bench.some(K, m, 1), h, sign),
                ([out], partial(told, beta, h, sign)))


def told(beta, h, sign):
    """beta sign [h != 0]."""
    return [reference.signed_times_slope(reference.by_class(beta), h, sign)]


def signed_pull_back_trial(bench, m, n, k, K=2):
    """delta W^T, and times the slope of the layer below."""
    plain = bench.asked(coherent.signed_pull_back, bench.some(K, m, k), bench.some(K, n, k))
    delta, W, out = bench.some(K, m, k), bench.some(K, n, k), bench.empty(K, m, n)
    h, sign = np.maximum(bench.some(K, m, n), 0), np.sign(bench.some(n))
    delta_, W_, *below = bench.there(delta, W, h, sign)
    bench.device.run([coherent.signed_pull_back_work(delta_, W_, out, *below)])
    return both(plain, ([out], partial(gated, delta, W, h, sign)))


def gated(delta, W, h, sign):
    """delta W^T sign [h != 0]."""
    return [reference.signed_times_slope(reference.signed_pull_back(delta, W), h, sign)]


def signed_grad_trial(bench, m, n, k, K=2):
    """h^T delta / N."""
    return both(bench.asked(coherent.signed_grad, bench.some(k, m), bench.some(K, k, n)),
                bench.asked(coherent.signed_grad, bench.some(K, k, m), bench.some(K, k, n)))


def signed_descend_trial(bench, m, n, k, K=2):
    """The same, taken by Adam into weights of one sign and by momentum into the biases."""
    return both(*(signed_descent(bench, *how) for how in ((bench.some(k, m), m, n, k, K, False),
                                                          (bench.some(K, k, m), m, n, k, K, True))))


def signed_descent(bench, h, m, n, k, K, kept):
    """One problem of `signed_descend_trial`."""
    args = (h, bench.some(K, k, n), np.sign(bench.some(n)), bench.some(K, m, n), bench.some(K, n),
            bench.some(K, m, n), bench.some(K, m, n)**2, bench.some(K, n))
    h_, delta_, sign_, W_, b_, m_, v_, u_ = bench.there(*args)
    updates = (optimisers.update_fields("adam", (W_, None, m_, v_, 3, 0.1, 0.9, 0.99, 1e-3)),
               optimisers.update_fields("momentum", (b_, None, u_, 0.1, 0.9)))
    sign_ = sign_ if kept else None
    bench.device.run([coherent.signed_descend_work(h_, delta_, *updates, sign_)])
    return [W_, m_, v_, b_, u_], partial(signed_descended, kept, *args)


def signed_descended(kept, h, delta, sign, W, b, m, v, u):
    """What `signed_descent` should give."""
    dW, db = reference.signed_grad(h, delta)
    W, b, m, v, u = (x.copy() for x in (W, b, m, v, u))
    reference.adam(W, dW, m, v, 3, 0.1, 0.9, 0.99, 1e-3)
    reference.momentum(b, db, u, 0.1, 0.9)
    if kept:
        reference.keep_signs(W, sign)
    return [W, m, v, b, u]


def sums_trial(bench, m, n, k, K=3):
    """A class's units, a transpose, and all networks, with a slope too."""
    e, h, out = bench.some(K, m, n), np.tanh(bench.some(m, n)), bench.empty(m, n)
    e_, h_ = bench.there(e, h)
    bench.device.run([coherent.network_sum_work(e_, out, h_, "tanh")])
    return both(([out], partial(shared, e, h)),
                bench.asked(coherent.class_sums, bench.some(K, m, n)),
                bench.asked(coherent.by_class, bench.some(m, n)),
                bench.asked(coherent.network_sum, bench.some(K, m, n)))


def shared(e, h):
    """sum_c e_c f'(h)."""
    return [reference.times_slope(e.sum(axis=0), h, "tanh")]


def keep_signs_trial(bench, m, n, k):
    """Weights of one sign."""
    W, sign = bench.some(m, k, n), np.sign(bench.some(n))
    W_, sign_ = bench.there(W, sign)
    coherent.keep_signs(bench.device, W_, sign_)
    return [W_], partial(kept_signs, W, sign)


def kept_signs(W, sign):
    """What `keep_signs_trial` should give."""
    W = W.copy()
    reference.keep_signs(W, sign)
    return [W]


# Images -------------------------------------------------------------------------------------------

def seen_by(m, n, k):
    """A batch, a stencil with uneven edges, and channels, about as large as asked for."""
    side, channels = max(3, min(9, round((k / 2)**0.5))), 3
    places = (side + 1) // 2
    return m, (side, side + 1, channels, 3, 2, 1, 1, places, places), max(1, n)


def local_gather_trial(bench, m, n, k):
    """What places see times their weights, and the mirror's pull back."""
    N, stencil, F = seen_by(m, n, k)
    R, C, ch = stencil[:3]
    P, S = images.places(stencil), images.seen(stencil)
    h, b = bench.some(N, R * C * ch), bench.some(P, F)
    return both(bench.asked(images.local_dense, h, bench.some(P, S, F), b, "tanh", stencil),
                bench.asked(images.local_transposed_pull_back, h, bench.some(P, F, S), stencil))


def local_scatter_trial(bench, m, n, k):
    """What places say, where they look."""
    N, stencil, F = seen_by(m, n, k)
    R, C, ch = stencil[:3]
    P, S = images.places(stencil), images.seen(stencil)
    h, b = bench.some(N, P * F), bench.some(R * C, ch)
    return both(bench.asked(images.local_pull_back, h, bench.some(P, S, F), stencil),
                bench.asked(images.local_transposed, h, bench.some(P, F, S), b, "tanh", stencil))


def local_grad_trial(bench, m, n, k):
    """The gradients of both."""
    N, stencil, F = seen_by(m, n, k)
    image, P = bench.some(N, images.numbers(stencil)), images.places(stencil)
    units = bench.some(N, P * F)
    return both(bench.asked(images.local_grad, image, units, stencil),
                bench.asked(images.local_transposed_grad, units, image, stencil))


def conv_gather_trial(bench, m, n, k):
    """As `local_gather_trial`, with one set of weights."""
    N, stencil, F = seen_by(m, n, k)
    h, S = bench.some(N, images.numbers(stencil)), images.seen(stencil)
    return both(bench.asked(images.conv_dense, h, bench.some(S, F), bench.some(F), "tanh",
                            stencil),
                bench.asked(images.conv_transposed_pull_back, h, bench.some(F, S), stencil))


def conv_scatter_trial(bench, m, n, k):
    """As `local_scatter_trial`, with one set of weights."""
    N, stencil, F = seen_by(m, n, k)
    P, S, ch = images.places(stencil), images.seen(stencil), stencil[2]
    h = bench.some(N, P * F)
    return both(bench.asked(images.conv_pull_back, h, bench.some(S, F), stencil),
                bench.asked(images.conv_transposed, h, bench.some(F, S), bench.some(ch), "tanh",
                            stencil))


def conv_grad_trial(bench, m, n, k):
    """As `local_grad_trial`, with one set of weights."""
    N, stencil, F = seen_by(m, n, k)
    image, P = bench.some(N, images.numbers(stencil)), images.places(stencil)
    units = bench.some(N, P * F)
    return both(bench.asked(images.conv_grad, image, units, stencil),
                bench.asked(images.conv_transposed_grad, units, image, stencil))


def sum_parts_trial(bench, m, n, k):
    """f(the sum of k parts / N + b)."""
    sums, b, out = bench.some(k, m, n), bench.some(n), bench.empty(m, n)
    on = bench.there(sums, b)
    bench.device.run([images.sum_work(*on, out, dense.NONLINEARITY["tanh"], 3)])
    return [out], partial(summed, sums, b)


def summed(sums, b):
    """What `sum_parts_trial` should give."""
    return [np.tanh(sums.sum(axis=0) / 3 + b)]


def mean_rows_trial(bench, m, n, k):
    """The mean of m k rows."""
    delta, out = bench.some(m * k, n), bench.empty(n)
    bench.device.run(images.mean_works(bench.device, *bench.there(delta), out, m))
    return [out], partial(averaged, delta, m)


def averaged(delta, N):
    """What `mean_rows_trial` should give."""
    return [delta.sum(axis=0) / N]


# Entry by entry, row by row -----------------------------------------------------------------------

def each_trial(bench, m, n, k):
    """A difference, a slope, signs."""
    a, b, c = (bench.some(m, n) for _ in range(3))
    return both(bench.asked(pointwise.difference, a, b, c),
                bench.asked(pointwise.times_slope, a, np.tanh(b), "tanh"),
                bench.asked(pointwise.with_signs, a, b))


def join_trial(bench, m, n, k):
    """Two matrices side by side."""
    return bench.asked(pointwise.join, bench.some(m, n), bench.some(m, k))


def losses_trial(bench, m, n, k):
    """Softmax, both losses, and a slope, row by row."""
    a, y = bench.some(m, n), bench.dice.integers(0, n, m)
    p = reference.softmax(bench.some(m, n))
    return both(bench.asked(losses.softmax, a), bench.asked(losses.softmax_xent, a, y),
                bench.asked(losses.squared_error, a, bench.some(m, n)),
                bench.asked(pointwise.times_slope, a, p, "softmax"))


def random_trial(bench, m, n, k):
    """Integers, uniform numbers, normal ones, and noise on top of something."""
    on, = bench.there(h := bench.some(m, n))
    got = [randomness.philox(bench.device, m * n, KEY),
           randomness.uniform(bench.device, (m, n), KEY, bench.dtype),
           randomness.normal(bench.device, (m, n), KEY, bench.dtype),
           randomness.noisy(bench.device, on, 0.1, KEY)]
    return got, partial(drawn, h, m, n)


def drawn(h, m, n):
    """What `random_trial` should give."""
    return [reference.philox(m * n, KEY), reference.uniform((m, n), KEY, np.float64),
            reference.normal((m, n), KEY, np.float64), reference.noisy(h, 0.1, KEY)]


def update_trial(bench, m, n, k):
    """All seven optimisers."""
    arrays = [bench.some(m, n) for _ in range(5)]
    w, g, first, _, third = arrays
    mean, square = 0.1 * first, 1 + first**2
    return both(bench.moved(optimisers.sgd, w, g, 0.1),
                bench.moved(optimisers.momentum, w, g, third, 0.1, 0.9),
                bench.moved(optimisers.manhattan, w, g, 0.1),
                bench.moved(optimisers.rmsprop, w, g, square, 0.1, 0.9, 1e-3),
                bench.moved(optimisers.rmsprop_centred, w, g, mean, square, third, 0.1, 0.9, 0.8,
                            1e-3),
                bench.moved(optimisers.adam, w, g, mean, square, 3, 0.1, 0.9, 0.99, 1e-3),
                bench.moved(optimisers.leak, w, 0.01))


# What a replayed epoch consists of besides its steps ----------------------------------------------

def gather_trial(bench, m, n, k):
    """A batch of m rows out of k + m."""
    rows, labels = bench.some(k + m, n), bench.dice.integers(0, 9, k + m)
    order, first = bench.dice.permutation(k + m), k // 2
    out, y = bench.empty(m, n), bench.device.empty(m, np.int64)
    rows_, labels_, order_ = bench.there(rows, labels, order)
    problem = {"rows": rows_, "labels": labels_, "order": order_, "first": first, "out": out,
               "y": y, "N": m, "n": n}
    bench.device.run([Work("gather", (), problem, -(-m // 4), (32, 4), [rows_], [out, y])])
    return [out, y], partial(gathered, rows, labels, order[first:first + m])


def gathered(rows, labels, order):
    """What `gather_trial` should give."""
    return [rows[order], labels[order]]


def keep_trial(bench, m, n, k):
    """m losses, put behind k others."""
    loss, kept = bench.some(m), bench.some(k + m + 1)
    loss_, kept_ = bench.there(loss, kept)
    problem = {"loss": loss_, "out": kept_, "first": k, "N": m, "room": len(kept)}
    bench.device.run([Work("keep", (), problem, -(-m // 128), 128, [loss_], [kept_])])
    return [kept_], partial(put, loss, kept, k)


def put(loss, kept, k):
    """What `keep_trial` should give."""
    return [np.concatenate([kept[:k], loss, kept[k + len(loss):]])]


def tick_trial(bench, m, n, k):
    """m counters move on; the first looks something up, in a table that is long enough or not."""
    return both(counted(bench, m, k, 2 * k), counted(bench, m, k, 1))


def counted(bench, m, k, length):
    """m counters below k move on, with a table of this length."""
    counters, by = bench.dice.integers(0, k, m) + 1, bench.dice.integers(0, 3, m)
    table = bench.dice.standard_normal(length)
    on = bench.device
    counters_, by_, table_ = on.asarray(counters), on.asarray(by), on.asarray(table)
    value = on.empty(1, np.float64)
    problem = {"counters": counters_, "by": by_, "counts": m, "table": table_, "value": value,
               "length": length}
    on.run([Work("tick", (), problem, 1, 1, [by_], [counters_, value], bench.dtype)])
    return [counters_, value], partial(ticked, counters, by, table)


def ticked(counters, by, table):
    """What `tick_trial` should give."""
    after = counters + by
    return [after, table[[min(after[0], len(table) - 1)]]]


TRIALS = {name.removesuffix("_trial"): trial for name, trial in list(globals().items())
          if name.endswith("_trial")}
