"""Every operation as its equation, in NumPy.  This file is the definition.

Any float dtype goes in and the same comes out.  Rows are examples.  Operations return new arrays,
except keep_signs and the optimisers at the end, which change their first argument, and the
optimisers their state, in place.

    activations    dense, times_slope, pull_back, dense_grad, difference, join,
                   with_signs
    coherent nets  signed_dense, signed_slope, signed_times_slope, signed_pull_back, signed_grad,
                   influence, class_sums, by_class, network_sum, keep_signs
    images         local_dense, local_pull_back, local_grad, local_transposed,
                   local_transposed_pull_back, local_transposed_grad, and conv_ for local_
    losses         softmax, softmax_xent, squared_error
    randomness     philox, uniform, normal, noisy, permutation
    optimisers     sgd, momentum, manhattan, rmsprop, rmsprop_centred, adam, leak
    arrays         asarray, to_numpy
    steps          take
"""
import numpy as np
from numpy.lib.stride_tricks import as_strided

PHILOX_M = 0xD2511F53, 0xCD9E8D57           # multipliers of philox4x32 (Salmon et al. 2011)
PHILOX_W = 0x9E3779B9, 0xBB67AE85           # what the key grows by each round
CHUNK = 4096                                # philox blocks at once: they stay in a core's cache


# Activations --------------------------------------------------------------------------------------

def dense(h, W, b, f):
    """h' = f(h W + b).

    Parameters
    ----------
    h : array (N, n_in)
    W : array (n_in, n_out)
    b : array (n_out,)
    f : {"linear", "tanh", "relu", "softmax"}

    Returns
    -------
    array (N, n_out)
    """
    a = h @ W
    a += b
    if f == "tanh":
        return np.tanh(a, out=a)
    if f == "relu":
        return np.maximum(a, 0, out=a)
    if f == "softmax":
        return softmax(a)
    return a


def times_slope(e, h, f):
    """delta = e f'(a), with the slope as a function of h = f(a).

    The rectifier's slope at a = 0 is 0.  For softmax this is the product with its Jacobian,
    h (e - <e, h>).

    Parameters
    ----------
    e, h : array (N, n)
        Error at h, and h.
    f : {"linear", "tanh", "relu", "softmax"}
    """
    if f == "tanh":
        return e * (1 - h * h)
    if f == "relu":
        return e * (h > 0)
    if f == "softmax":
        return h * (e - (e * h).sum(axis=1, keepdims=True))
    return e


def pull_back(delta, W):
    """e = delta W^T: what an error at a = h W + b means at h.

    Parameters
    ----------
    delta : array (N, n_out)
    W : array (n_in, n_out)
        The layer's weights, or whatever a rule uses in their place.

    Returns
    -------
    array (N, n_in)
    """
    return delta @ W.T


def dense_grad(h, delta):
    """dW = h^T delta / N and db = sum_n delta / N: the only place that divides by the batch size.

    Parameters
    ----------
    h : array (N, n_in)
    delta : array (N, n_out)
        Per example, not averaged.

    Returns
    -------
    dW : array (n_in, n_out)
    db : array (n_out,)
    """
    return h.T @ delta / len(h), delta.sum(axis=0) / len(h)


def difference(h, up, down):
    """h_hat = h + (up - down): the target below, corrected by what the inverse gets wrong at h.

    If up is down, bit for bit, then h_hat is h, bit for bit.
    """
    return h + (up - down)


def join(*parts):
    """[o, z, ...], side by side; arrays (N, n), (N, m), ... -> (N, n + m + ...)."""
    return np.concatenate(parts, axis=1)


def with_signs(M, W):
    """M sign(W), entry by entry: magnitudes of one array, signs of another."""
    return M * np.sign(W)


# Coherent networks: K of them side by side, signed rectifiers -------------------------------------

def signed_dense(h, W, b, sign):
    """h' = sign max(0, h W + b), for K networks at once.

    Parameters
    ----------
    h : array (K, N, n_in), or (N, n_in) if every network sees the same
    W : array (K, n_in, n_out)
    b : array (K, n_out)
    sign : array (n_out,), +1 or -1, the class of each unit

    Returns
    -------
    array (K, N, n_out)
    """
    a = h @ W
    a += b[:, None, :]
    return sign * np.maximum(a, 0, out=a)


def signed_slope(h, sign):
    """s = sign [a > 0], with the gate as a function of h = sign max(0, a); shapes as h."""
    return sign * (h != 0)


def signed_times_slope(e, h, sign):
    """delta = e s, s = sign [a > 0]: an error at h, as it is at the pre-activation.

    Parameters
    ----------
    e : array (K, N, n), or (K, N, 1), one number for all units of a network
    h : array (K, N, n)
    sign : array (n,)

    Returns
    -------
    array (K, N, n)
    """
    return e * ((h != 0) * sign)


def signed_pull_back(delta, W):
    """e = delta W^T in each of K networks: (K, N, n_out), (K, n_in, n_out) -> (K, N, n_in)."""
    return delta @ W.transpose(0, 2, 1)


def signed_grad(h, delta):
    """dW = h^T delta / N, db = sum_n delta / N in each of K networks; shapes as `signed_dense`."""
    N = delta.shape[1]
    return np.swapaxes(h, -1, -2) @ delta / N, delta.sum(axis=1) / N


def influence(s, W):
    """tau_j = sum_k w_jk s_k: how the layer directly above answers unit j, and nothing beyond.

    Parameters
    ----------
    s : array (K, N, n_out)
        Signed gates of the layer above, `signed_slope`.
    W : array (K, n_in, n_out)

    Returns
    -------
    array (K, N, n_in)
    """
    return s @ W.transpose(0, 2, 1)


def class_sums(h):
    """z_nc = sum_k h_cnk: what network c says of example n, a class each; (K, N, n) -> (N, K)."""
    return h.sum(axis=2).T.copy()


def by_class(beta):
    """To each network its own class's number of every example; (N, K) -> (K, N, 1)."""
    return beta.T.copy()[:, :, None]


def network_sum(e):
    """What all K networks mean at the input that they share; (K, N, n) -> (N, n)."""
    return e.sum(axis=0)


def keep_signs(W, sign):
    """w_jk = sign_k max(0, sign_k w_jk), in place: a weight of the wrong sign becomes 0.

    Parameters
    ----------
    W : array (K, n_in, n_out)
    sign : array (n_out,)
    """
    W *= sign
    np.maximum(W, 0, out=W)
    W *= sign


# Images: rows x columns x channels, flat, channels innermost --------------------------------------
#
# A stencil is nine integers, (R, C, ch, k, s, top, left, R1, C1): the rows, columns and channels of
# an image; the kernel's side and stride; the rows and columns of zeros above and left of the image;
# and the rows and columns of places.  Place (r, c) sees the S = k k ch numbers that begin at row
# r s - top and column c s - left.  There are P = R1 C1 places, with F channels each.

def patches(h, stencil):
    """What each place sees, zeros where it looks past the edge; (N, R C ch) -> (N, P, S)."""
    R, C, ch, k, s, top, left, R1, C1 = stencil
    around = np.zeros((len(h), *extent(stencil), ch), h.dtype)
    around[:, top:top + R, left:left + C] = h.reshape(len(h), R, C, ch)
    n, row, column, one = around.strides
    seen = as_strided(around, (len(h), R1, C1, k, k, ch),
                      (n, s * row, s * column, row, column, one))       # windows that overlap
    return seen.reshape(len(h), R1 * C1, k * k * ch)


def extent(stencil):
    """Rows and columns of the image with its zeros, as far as the kernel or the image reaches."""
    R, C, _, k, s, top, left, R1, C1 = stencil
    return max(top + R, s * (R1 - 1) + k), max(left + C, s * (C1 - 1) + k)


def gather(h, W, stencil):
    """What place p sees, times W[p]: one matrix product a place.

    Parameters
    ----------
    h : array (N, R C ch)
    W : array (P, S, F), or (S, F), shared

    Returns
    -------
    array (N, P, F)
    """
    seen = patches(h, stencil)
    a = np.empty((*seen.shape[:2], W.shape[-1]), h.dtype)
    np.matmul(seen.swapaxes(0, 1), W, out=a.swapaxes(0, 1))
    return a


def scatter(h, W, stencil):
    """What place p says, times W[p], added to what it looks at: `gather` with W^T, transposed.

    Parameters
    ----------
    h : array (N, P F)
    W : array (P, F, S), or (F, S), shared

    Returns
    -------
    array (N, R C, ch)
    """
    R, C, ch, k, s, top, left, R1, C1 = stencil
    N, taps = len(h), W.reshape(*W.shape[:-1], k, k, ch)
    h = h.reshape(N, R1 * C1, W.shape[-2]).swapaxes(0, 1)               # (P, N, F)
    e = np.zeros((*extent(stencil), N, ch), h.dtype)
    for i in range(k):
        for j in range(k):                          # where tap (i, j) of every place looks
            part = (h @ taps[..., i, j, :]).reshape(R1, C1, N, ch)
            e[i:i + s * R1:s, j:j + s * C1:s] += part
    inside = e[top:top + R, left:left + C]                              # (R, C, N, ch)
    return inside.transpose(2, 0, 1, 3).reshape(N, R * C, ch)


def nonlinear(a, f):
    """f(a), in place, for f in {"linear", "tanh", "relu"}."""
    if f == "tanh":
        np.tanh(a, out=a)
    elif f == "relu":
        np.maximum(a, 0, out=a)
    return a


def flat(a):
    """(N, places, channels) -> (N, places channels)."""
    return a.reshape(len(a), a.shape[1] * a.shape[2])


def local_dense(h, W, b, f, stencil):
    """h'[p] = f(h[what p sees] W[p] + b[p]): a dense layer at each place, with its own weights.

    Parameters
    ----------
    h : array (N, R C ch)
    W : array (P, S, F)
    b : array (P, F)
    f : {"linear", "tanh", "relu"}
    stencil : tuple of nine int
        See above.

    Returns
    -------
    array (N, P F)
    """
    a = gather(h, W, stencil)
    a += b
    return flat(nonlinear(a, f))


def local_pull_back(delta, W, stencil):
    """e = sum over the places p that see a unit of delta[p] W[p]^T, there.

    Parameters
    ----------
    delta : array (N, P F)
    W : array (P, S, F)
    stencil : tuple of nine int

    Returns
    -------
    array (N, R C ch)
    """
    return flat(scatter(delta, W.swapaxes(1, 2), stencil))


def local_grad(h, delta, stencil):
    """dW[p] = h[what p sees]^T delta[p] / N and db[p] = sum_n delta[p] / N.

    Parameters
    ----------
    h : array (N, R C ch)
    delta : array (N, P F)
        Per example, not averaged.
    stencil : tuple of nine int

    Returns
    -------
    dW : array (P, S, F)
    db : array (P, F)
    """
    seen, N = patches(h, stencil), len(h)
    delta = delta.reshape(N, seen.shape[1], delta.shape[1] // seen.shape[1])
    dW = seen.transpose(1, 2, 0) @ delta.swapaxes(0, 1)
    dW /= N
    return dW, delta.sum(axis=0) / N


def local_transposed(h, W, b, f, stencil):
    """h' = f(sum over the places p that see a unit of h[p] W[p], there, + b): an image again.

    Parameters
    ----------
    h : array (N, P F)
    W : array (P, F, S)
    b : array (R C, ch)
    f : {"linear", "tanh", "relu"}
    stencil : tuple of nine int

    Returns
    -------
    array (N, R C ch)
    """
    a = scatter(h, W, stencil)
    a += b
    return flat(nonlinear(a, f))


def local_transposed_pull_back(delta, W, stencil):
    """e[p] = delta[what p sees] W[p]^T.

    Parameters
    ----------
    delta : array (N, R C ch)
    W : array (P, F, S)
    stencil : tuple of nine int

    Returns
    -------
    array (N, P F)
    """
    return flat(gather(delta, W.swapaxes(1, 2), stencil))


def local_transposed_grad(h, delta, stencil):
    """dW[p] = h[p]^T delta[what p sees] / N and db = sum_n delta / N.

    Parameters
    ----------
    h : array (N, P F)
    delta : array (N, R C ch)
        Per example, not averaged.
    stencil : tuple of nine int

    Returns
    -------
    dW : array (P, F, S)
    db : array (R C, ch)
    """
    seen, N, ch = patches(delta, stencil), len(h), stencil[2]
    h = h.reshape(N, seen.shape[1], h.shape[1] // seen.shape[1])
    dW = h.transpose(1, 2, 0) @ seen.swapaxes(0, 1)
    dW /= N
    return dW, delta.sum(axis=0).reshape(-1, ch) / N


def conv_dense(h, W, b, f, stencil):
    """h'[p] = f(h[what p sees] W + b): one dense layer, the same at every place.

    Parameters
    ----------
    h : array (N, R C ch)
    W : array (S, F)
    b : array (F,)
    f : {"linear", "tanh", "relu"}
    stencil : tuple of nine int

    Returns
    -------
    array (N, P F)
    """
    a = gather(h, W, stencil)
    a += b
    return flat(nonlinear(a, f))


def conv_pull_back(delta, W, stencil):
    """e = sum over the places p that see a unit of delta[p] W^T, there.

    Parameters
    ----------
    delta : array (N, P F)
    W : array (S, F)
    stencil : tuple of nine int

    Returns
    -------
    array (N, R C ch)
    """
    return flat(scatter(delta, W.T, stencil))


def conv_grad(h, delta, stencil):
    """dW = sum_p h[what p sees]^T delta[p] / N and db = sum_n sum_p delta[p] / N.

    Parameters
    ----------
    h : array (N, R C ch)
    delta : array (N, P F)
        Per example, not averaged.
    stencil : tuple of nine int

    Returns
    -------
    dW : array (S, F)
    db : array (F,)
    """
    seen, N = patches(h, stencil), len(h)
    P, S, F = *seen.shape[1:], delta.shape[1] // seen.shape[1]
    delta = delta.reshape(N * P, F)                 # an example after the other: one product
    return seen.reshape(N * P, S).T @ delta / N, delta.sum(axis=0) / N


def conv_transposed(h, W, b, f, stencil):
    """h' = f(sum over the places p that see a unit of h[p] W, there, + b): an image again.

    Parameters
    ----------
    h : array (N, P F)
    W : array (F, S)
    b : array (ch,)
    f : {"linear", "tanh", "relu"}
    stencil : tuple of nine int

    Returns
    -------
    array (N, R C ch)
    """
    a = scatter(h, W, stencil)
    a += b
    return flat(nonlinear(a, f))


def conv_transposed_pull_back(delta, W, stencil):
    """e[p] = delta[what p sees] W^T.

    Parameters
    ----------
    delta : array (N, R C ch)
    W : array (F, S)
    stencil : tuple of nine int

    Returns
    -------
    array (N, P F)
    """
    return flat(gather(delta, W.T, stencil))


def conv_transposed_grad(h, delta, stencil):
    """dW = sum_p h[p]^T delta[what p sees] / N and db = sum_n sum of delta over the image / N.

    Parameters
    ----------
    h : array (N, P F)
    delta : array (N, R C ch)
        Per example, not averaged.
    stencil : tuple of nine int

    Returns
    -------
    dW : array (F, S)
    db : array (ch,)
    """
    seen, N, ch = patches(delta, stencil), len(h), stencil[2]
    P, S, F = *seen.shape[1:], h.shape[1] // seen.shape[1]
    dW = h.reshape(N * P, F).T @ seen.reshape(N * P, S) / N
    return dW, delta.reshape(-1, ch).sum(axis=0) / N


# Losses, per example ------------------------------------------------------------------------------

def softmax(a):
    """p = exp(a) / sum exp(a), row by row; (N, K) -> (N, K)."""
    p = np.exp(a - a.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def softmax_xent(a, y):
    """loss = -log softmax(a)[y] and delta = dloss/da = softmax(a) - onehot(y), row by row.

    Parameters
    ----------
    a : array (N, K)
        Logits.
    y : int64 array (N,)
        Labels in 0..K-1; checked where data is loaded, not here.

    Returns
    -------
    loss : array (N,), in nats
    delta : array (N, K)
    """
    row = np.arange(len(y))
    a = a - a.max(axis=1, keepdims=True)            # softmax does not change; exp cannot overflow
    log_p = a - np.log(np.exp(a).sum(axis=1, keepdims=True))
    delta = np.exp(log_p)
    delta[row, y] -= 1
    return -log_p[row, y], delta


def squared_error(a, y):
    """loss = 1/2 |a - y|^2 and delta = a - y, row by row; (N, n), (N, n) -> (N,), (N, n)."""
    delta = a - y
    return (delta * delta).sum(axis=1) / 2, delta


# Randomness: a pure function of (seed, stream, layer, step) ---------------------------------------

def philox(n, key):
    """The first n integers of the sequence named by `key` (philox4x32-10, Salmon et al. 2011).

    Parameters
    ----------
    n : int
    key : (seed, stream, layer, step)
        seed and step below 2^64, stream and layer below 2^16.

    Returns
    -------
    uint32 array (n,): four words for each value 0, 1, 2, ... of the block counter
    """
    seed, stream, layer, step = key
    out = np.empty((-(-n // 4), 4), np.uint32)
    for start in range(0, len(out), CHUNK):
        block = np.arange(start, min(start + CHUNK, len(out)), dtype=np.uint64)
        counter = block, stream << 16 | layer, step & 0xFFFFFFFF, step >> 32
        words = philox_rounds(counter, (seed & 0xFFFFFFFF, seed >> 32))
        for i in range(4):
            out[start:start + CHUNK, i] = words[i]
    return out.reshape(-1)[:n]


def philox_rounds(counter, key):
    """Ten rounds of philox4x32: four counter words and two key words in, four words out, uint64."""
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    c0, c1, c2, c3 = (np.asarray(c, np.uint64) for c in counter)
    m0, m1 = (np.uint64(m) for m in PHILOX_M)
    for r in range(10):
        k0, k1 = (np.uint64(key[i] + r * PHILOX_W[i] & 0xFFFFFFFF) for i in (0, 1))
        p0, p1 = m0 * c0, m1 * c2                   # 32 x 32 -> 64 bits
        c0, c1, c2, c3 = p1 >> half ^ c1 ^ k0, p1 & low, p0 >> half ^ c3 ^ k1, p0 & low
    return c0, c1, c2, c3


def uniform(shape, key, dtype):
    """u in (0, 1), both ends excluded: (k + 1/2) / 2^23, exact and so the same in every dtype."""
    words = philox(int(np.prod(shape)), key)
    u = (words >> 9).astype(dtype)
    u += 0.5
    u *= 2.0**-23
    return u.reshape(shape)


def normal(shape, key, dtype):
    """Standard normal numbers: Box and Muller's two from each two uniform ones.

    Words 0 and 1 of a philox block give r cos(t) and r sin(t) with r = sqrt(-2 log u_0) and
    t = 2 pi u_1; words 2 and 3 likewise.
    """
    n = int(np.prod(shape))
    u = uniform((-(-n // 2), 2), key, dtype)
    r, t = np.sqrt(-2 * np.log(u[:, 0])), 2 * np.pi * u[:, 1]
    z = np.empty_like(u)
    z[:, 0], z[:, 1] = r * np.cos(t), r * np.sin(t)
    return z.reshape(-1)[:n].reshape(shape)


def noisy(h, sigma, key):
    """h + sigma z, with standard normal numbers z of the key; shapes as h.

    Parameters
    ----------
    h : array
    sigma : float
        Standard deviation of the noise, in units of h.
    key : (seed, stream, layer, step)
    """
    return h + sigma * normal(h.shape, key, h.dtype)


def permutation(n, key):
    """0..n-1 in random order: sorted by their random integers, ties by value; int64 (n,)."""
    return np.argsort(philox(n, key), kind="stable")


# Optimisers: change w and their state, in place ---------------------------------------------------

def sgd(w, g, eta):
    """w -= eta g, in place."""
    w -= eta * g


def momentum(w, g, u, eta, mu):
    """u = mu u - eta g, w += u, in place (Polyak 1964)."""
    u *= mu
    u -= eta * g
    w += u


def manhattan(w, g, eta):
    """w -= eta sign(g), in place: "batch Manhattan" (Liao et al. 2016)."""
    w -= eta * np.sign(g)


def rmsprop(w, g, v, eta, rho, eps):
    """v = rho v + (1 - rho) g^2, w -= eta g / (sqrt(v) + eps), in place (Tieleman & Hinton)."""
    v *= rho
    v += (1 - rho) * g * g
    w -= eta * g / (np.sqrt(v) + eps)


def rmsprop_centred(w, g, m, v, u, eta, rho, mu, eps):
    """u = mu u - eta g / sqrt(v - m^2 + eps), w += u, in place (Graves 2013; Lee et al. 2015).

    v and m are the running means of g^2 and g; eps stands inside the root.
    """
    m *= rho
    m += (1 - rho) * g
    v *= rho
    v += (1 - rho) * g * g
    u *= mu
    u -= eta * g / np.sqrt(v - m * m + eps)
    w += u


def adam(w, g, m, v, t, eta, beta1, beta2, eps):
    """w -= eta m' / (sqrt(v') + eps), in place (Kingma & Ba 2015, Algorithm 1).

    m and v are the running means of g and g^2; m' and v' undo their start at 0; t = 1, 2, ...
    """
    m *= beta1
    m += (1 - beta1) * g
    v *= beta2
    v += (1 - beta2) * g * g
    root = np.sqrt(v / (1 - beta2**t))
    root += eps
    w -= (eta / (1 - beta1**t)) * m / root


def leak(w, decay):
    """w -= decay w, in place."""
    w -= decay * w


# Arrays -------------------------------------------------------------------------------------------

def asarray(x):
    """The array on this backend's device."""
    return np.asarray(x)


def to_numpy(x):
    """The array as a NumPy array."""
    return np.asarray(x)


# Steps --------------------------------------------------------------------------------------------

def take(learn, x, y):
    """learn(x, y), a rule's step; a backend may record it and play it back, see `kernels.steps`.

    Parameters
    ----------
    learn : one of a rule's `passes`
    x, y : arrays
        A batch.

    Returns
    -------
    what learn returns: array (N,), each example's loss, or None
    """
    return learn(x, y)
