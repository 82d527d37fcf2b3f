"""Faults to plant in the CUDA kernels, a few in each: what stands there, and what is put there.

`test_kernel_audit.py` demands that each is noticed.  They are the slips that kernels are prone to:
a bound that is dropped or one too large, an index that belongs to another axis, a sum that begins
where another ended, a number of the wrong layer, place or example.
"""

FAULTS = {
    "dense": [
        ("n < p.N && j < p.n_out", "n < p.N"),
        ("n < p.N && j < p.n_out", "n <= p.N && j < p.n_out"),
        ("p.b[j]", "p.b[n]"),
        ("size_t(n) * p.n_out + j", "size_t(n) * p.n_in + j"),
        ("W(p.W, p.n_in, p.n_out", "W(p.W, p.n_in + 1, p.n_out"),
    ],
    "pull_back": [
        ("n >= p.N || i >= p.n_in", "n >= p.N"),
        ("size_t(n) * p.n_in + i", "size_t(n) * p.n_out + i"),
        ("p.h[at]", "p.delta[at]"),
        ("W(p.W, p.n_in, p.n_out", "W(p.W, p.n_out, p.n_in"),
    ],
    "dense_grad": [
        ("i < p.n_in && j < p.n_out) p.dW", "j < p.n_out) p.dW"),
        ("real(1) / p.N", "real(1)"),
        ("p.db[j] = sum", "p.db[j] += sum"),
        ("if (tile.row > 0) return;", ""),
        ("tile.row == 0)", "tile.row != 0)"),
    ],
    "descend": [
        ("i < p.n_in && j < p.n_out) update", "i < p.n_in) update"),
        ("if (threadIdx.x == 0) W_rates = rates(p.W);", ""),
        ("b_rates, j, sum * share", "b_rates, j, sum"),
        ("update(p.b, b_rates", "update(p.b, W_rates"),
    ],
    "target": [
        ("n >= p.N || j >= p.n_below", "j >= p.n_below"),
        ("(up - down)", "(down - up)"),
        ("p.below[at] + ", "p.below[at] * "),
        ("first, p.h)", "first, p.h_hat)"),
    ],
    "reconstruct": [
        ("n >= p.N || j >= p.n_below", "n >= p.N"),
        ("back - p.goal[at]", "p.goal[at] - back"),
        ("p.c[j]", "p.c[n]"),
    ],
    "matmul": [
        ("if (row >= m || column >= n) return;", "if (row >= m) return;"),
        ("k0 + x < k ? A", "k0 + x <= k ? A"),
        ("sum += a[y][i] * b[i][x]", "sum += a[i][y] * b[i][x]"),
        ("a[e % 16][e / 16]", "a[e / 16][e % 16]"),
        ("if (row >= rows) return q;", ""),
        ("k0 += 16, now ^= 1", "k0 += 16"),
    ],
    "matmul_tensor": [
        ("if (row < m && column < n)", "if (row < m)"),
        ("columns(B, k, n, tile.column)", "columns(B, n, k, tile.column)"),
        ("C[size_t(row) * n + column]", "C[size_t(row) * k + column]"),
    ],
    "signed_dense": [
        ("n >= p.N || j >= p.n_out", "n >= p.N"),
        ("p.common ? 0 : network", "network"),
        ("p.W + network * p.n_in * p.n_out", "p.W"),
        ("p.sign[j] * ", ""),
    ],
    "signed_slope": [
        ("size_t(n) * p.row", "size_t(n) * p.network"),
        ("k * p.unit", "line * p.unit"),
        ("c = line / p.N", "c = line / p.n_out"),
        ("if (i >= p.n) return;", ""),
        ("p.sign[k]", "p.sign[line % p.n_out]"),
        ("p.h[i] != 0", "p.h[i] > 1"),
    ],
    "signed_pull_back": [
        ("p.h ? e[x] * (p.sign[i]", "p.h ? e[x] * (p.sign[0]"),
        ("real(p.h[at] != 0)", "real(p.h[at] != 1)"),
        ("first = network * p.N * p.n_in", "first = network * p.N * p.n_out"),
        ("n >= p.N || i >= p.n_in", "n >= p.N"),
        ("p.W + network * p.n_in * p.n_out", "p.W"),
    ],
    "signed_descend": [
        ("i >= p.n_in || j >= p.n_out", "i >= p.n_in"),
        ("if (threadIdx.x == 0) W_rates = rates(p.W);", ""),
        ("b_rates, network * p.n_out + j", "b_rates, j"),
        ("(network * p.n_in + i) * p.n_out", "(network * p.n_out + i) * p.n_in"),
        ("if (p.sign) p.W.w[at]", "if (!p.sign) p.W.w[at]"),
        ("of_sign(p.W.w[at], p.sign[j])", "of_sign(p.W.w[at], p.sign[0])"),
        ("seen = p.common ? 0 : network", "seen = network"),
    ],
    "sums": [
        ("r >= p.rows", "r > p.rows"),
        ("j < p.terms", "j < p.terms - 1"),
        ("size_t(r) * p.row", "size_t(r) * p.column"),
        ("real sum = 0", "real sum = 1"),
        ("slope_of(p.f, p.h[i])", "slope_of(p.f, p.h[r])"),
    ],
    "keep_signs": [
        ("i < p.n)", "i <= p.n)"),
        ("i % p.n_out", "i % (p.n_out + 1)"),
        ("of_sign(p.W[i], ", "of_sign(-p.W[i], "),
        ("p.W[i] = of_sign(", "p.W[i] += of_sign("),
    ],
    "signed_grad": [
        ("i < p.n_in && j < p.n_out", "j < p.n_out"),
        ("p.common ? 0 : network", "0"),
        ("p.db[network * p.n_out + j]", "p.db[j]"),
        ("if (tile.row > 0) return;", ""),
    ],
    "local_gather": [
        ("tile.row + m < p.N ? ", "tile.row + m <= p.N ? "),
        ("if (m >= p.N || n >= p.F) return;", "if (m >= p.N) return;"),
        ("done.place * p.F + n", "n"),
        ("(i.first * at.k + j.first)", "(j.first * at.k + i.first)"),
        ("if (left > 1) next", "next"),
    ],
    "local_scatter": [
        ("if (m >= p.N || n >= at.ch) return;", "if (n >= at.ch) return;"),
        ("rows.place - r", "rows.place + r"),
        ("k / p.F % columns.count", "k / p.F % rows.count"),
        ("done.place * at.ch + n", "n"),
    ],
    "local_grad": [
        ("if (m < rows)", ""),
        ("sum / p.N, next / p.N", "sum, next"),
        ("done.place * S", "S"),
    ],
    "conv_gather": [
        ("if (m >= rows || n >= p.F) return;", "if (n >= p.F) return;"),
        ("place / at.C1 * at.s - at.top", "place / at.C1 - at.top"),
        ("a += p.b[n];", "a += p.b[m];"),
        ("n * n_in + y", "n_in + y"),
    ],
    "conv_scatter": [
        ("if (m >= rows || n >= at.ch) return;", "if (m >= rows) return;"),
        ("(m / each)", "(m % each)"),
        ("i = k / p.F / c.taps", "i = k / p.F / r.taps + 1"),
        ("(r.tap + i * at.s) * at.k", "(r.tap + i) * at.k"),
    ],
    "conv_grad": [
        ("if (m < rows)", ""),
        ("sum / p.N", "sum"),
        ("part < p.parts; ++part", "part + 1 < p.parts; ++part"),
        ("if (i >= count) return;", ""),
    ],
    "sum_parts": [
        ("if (i >= p.count) return;", ""),
        ("a /= p.N;", ""),
        ("part * p.count + i", "part * p.biases + i"),
        ("i % p.biases", "i / p.biases"),
    ],
    "mean_rows": [
        ("if (column < p.columns)", ""),
        ("threadIdx.y > 0 || column >= p.columns", "column >= p.columns"),
        ("row += DOWN", "row += DOWN + 1"),
        ("sum = 0;\n    for", "for"),
    ],
    "each": [
        ("x * sign(y)", "sign(x) * y"),
        ("x + (y - z)", "x + (z - y)"),
        ("x * (1 - y * y)", "x * (1 - y)"),
    ],
    "join": [
        ("if (i >= p.N * columns) return;", ""),
        ("j -= n, part = p.b", "part = p.b"),
        ("p.first + column", "column + 1"),
    ],
    "losses": [
        ("if (n >= s.N) return;", ""),
        ("return warp_max(top);", "return top;"),
        ("real(right)", "real(1)"),
        ("total / 2", "total"),
        ("k == y", "k == y + 1"),
    ],
    "random": [
        ("i + e < n", "i + e <= n"),
        ("block * THREADS + threadIdx.x", "block * THREADS + threadIdx.x + 1"),
        ("h.at[j] + sigma * z", "h.at[j] + z"),
    ],
    "update": [
        ("if (threadIdx.x == 0) shared = rates(u);", "if (threadIdx.x == 1) shared = rates(u);\n"
         "    shared.eta = 0;"),
        ("store(u.s2, i, n, whole, s2[j]);", ""),
        ("(j * THREADS + threadIdx.x) * PACK", "(j * THREADS + threadIdx.x)"),
    ],
    "gather": [
        ("if (row >= p.N) return;", ""),
        ("p.first.value() + row", "row"),
        ("p.y[row] = p.labels[from]", "p.y[row] = p.labels[row]"),
    ],
    "keep": [
        ("n < p.N && at < p.room", "at < p.room"),
        ("n < p.N && at < p.room", "n < p.N && at < p.N"),
        ("p.out[at]", "p.out[n]"),
    ],
    "tick": [
        ("i < p.counts", "i <= p.counts"),
        ("+= p.by[i]", "= p.by[i]"),
        ("step < p.length ? step : p.length - 1", "step"),
    ],
}
