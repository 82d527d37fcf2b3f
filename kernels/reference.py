"""Every operation as its equation, in NumPy.  This file is the definition.

Any float dtype goes in and the same comes out.  Rows are examples.  Operations return new arrays,
except the optimisers at the end, which change their first argument and their state in place.

    activations    dense, times_slope, pull_back, dense_grad, difference, join,
                   with_signs
    coherent nets  signed_dense, signed_slope, signed_pull_back, signed_grad, influence
    losses         softmax, softmax_xent, squared_error
    randomness     philox, uniform, normal, permutation
    optimisers     sgd, momentum, manhattan, rmsprop, rmsprop_centred, adam, leak
    arrays         asarray, to_numpy
"""
import numpy as np

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


def join(o, z):
    """[o, z], side by side; (N, n), (N, m) -> (N, n + m)."""
    return np.concatenate([o, z], axis=1)


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
