"""The CUDA device on a CPU: right kernels compute what they should, wrong ones are told apart.

Each kernel here is small and right; each fault is one line of it changed.
"""
import os
import subprocess
import sys

import numpy as np
import pytest

from minicredit.kernels.cuda import source
from minicredit.kernels.cuda.emulator.device import SCHEDULES, Device
from minicredit.kernels.cuda.emulator.reports import KernelError
from minicredit.kernels.cuda.work import Group

FLOAT = (("real", "float"),)

# A product by tiles in shared memory, one thread a number; 16 x 16 threads.
TILED = """
#define T 16
extern "C" __global__ void tiled(const real* A, const real* B, real* C, int m, int n, int k) {
    __shared__ real As[T][T + 1];
    __shared__ real Bs[T][T];
    const int x = threadIdx.x, y = threadIdx.y;
    const int row = blockIdx.y * T + y, column = blockIdx.x * T + x;
    real sum = 0;
    for (int k0 = 0; k0 < k; k0 += T) {
        As[y][x] = row < m && k0 + x < k ? A[row * k + k0 + x] : real(0);
        Bs[y][x] = k0 + y < k && column < n ? B[(k0 + y) * n + column] : real(0);
        __syncthreads();  // the tiles are complete
        for (int i = 0; i < T; ++i) sum += As[y][i] * Bs[i][x];
        __syncthreads();  // everyone is done with them
    }
    if (row < m && column < n) C[row * n + column] = sum;
}
"""
# out[block] = the sum of a block's share of x, or out[0] the sum of all.
SUMS = """
extern "C" __global__ void block_sums(const real* x, real* out, int n) {
    __shared__ real part[32];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    real s = 0;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        s += x[i];
    for (int d = 16; d > 0; d /= 2) s += __shfl_down_sync(0xffffffffu, s, d);
    if (lane == 0) part[warp] = s;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int w = 1; w < warps; ++w) s += part[w];
        out[blockIdx.x] = s;
    }
}
extern "C" __global__ void atomic_sum(const real* x, real* out, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) atomicAdd(out, x[i]);
}
"""
# h <- h + 1, then everyone reads what another block wrote; a barrier of the grid between.
ROUND = """
#include "device.cuh"
extern "C" __global__ void around(real* h, real* out, unsigned* bar, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) h[i] = i;
    grid_sync(bar);
    if (i < n) out[i] = h[n - 1 - i];
}
"""
# Each thread copies in the background what another one reads.
COPIES = """
#include "device.cuh"
extern "C" __global__ void shifted(const real* x, real* out, int n) {
    __shared__ __align__(16) real stage[2][64];
    const int i = threadIdx.x;
    cp_async<4>(&stage[0][i], x + i);
    cp_async_commit();
    cp_async<4>(&stage[1][i], i < n - 64 ? x + 64 + i : x, i < n - 64 ? 4 : 0);
    cp_async_commit();
    cp_async_wait<1>();  // the first
    __syncthreads();  // everyone's first
    const real first = stage[0][63 - i];
    cp_async_wait<0>();  // the second
    __syncthreads();  // everyone's second
    out[i] = first + stage[1][63 - i];
}
"""
# D = A B + D by one warp on the tensor cores, A 16 x 8 and B 8 x 8.
TENSOR = """
#include "device.cuh"
extern "C" __global__ void tensor(const real* A, const real* B, real* D) {
    const int g = threadIdx.x / 4, t = threadIdx.x % 4;
    const unsigned a[4] = {to_tf32(A[g * 8 + t]), to_tf32(A[(g + 8) * 8 + t]),
                           to_tf32(A[g * 8 + t + 4]), to_tf32(A[(g + 8) * 8 + t + 4])};
    const unsigned b[2] = {to_tf32(B[t * 8 + g]), to_tf32(B[(t + 4) * 8 + g])};
    float d[4] = {D[g * 8 + 2 * t], D[g * 8 + 2 * t + 1], D[(g + 8) * 8 + 2 * t],
                  D[(g + 8) * 8 + 2 * t + 1]};
    mma_m16n8k8_tf32(d, a, b);
    D[g * 8 + 2 * t] = d[0];
    D[g * 8 + 2 * t + 1] = d[1];
    D[(g + 8) * 8 + 2 * t] = d[2];
    D[(g + 8) * 8 + 2 * t + 1] = d[3];
}
"""
# Several vectors in one launch, each times its own number; one number lies in device memory.
SCALED = """
#include "group.cuh"
struct Scaled { const real* x; real* out; Number s; Count t; int n; };
extern "C" __global__ void scaled(const Group<Scaled> group) {
    int block;
    const Scaled& p = group.mine(block);
    const int i = block * 32 + threadIdx.x;
    if (i < p.n) p.out[i] = real(p.s.value()) * p.x[i] + real(p.t.value());
}
"""
FILES = {"tiled": TILED, "sums": SUMS, "round": ROUND, "copies": COPIES, "tensor": TENSOR,
         "scaled": SCALED}


def device(file, *changes, checked=True, **kwargs):
    """A device on which a file is one of ours, with some of its text changed."""
    made, text = Device(checked, **kwargs), FILES[file]
    for old, new in changes:
        assert text.count(old) == 1, f"{old!r} is there {text.count(old)} times"
        text = text.replace(old, new)
    made.replace(file, text)
    return made


def numbers(*shape):
    """Normal numbers, the same every time."""
    return np.random.default_rng(shape).standard_normal(shape, dtype=np.float32)


def product(made, m=33, n=18, k=21):
    """What `tiled` makes of two matrices, and what it should."""
    A, B, C = numbers(m, k), numbers(k, n), made.empty((m, n), np.float32)
    made.launch("tiled", "tiled", FLOAT, (-(-n // 16), -(-m // 16)), (16, 16),
                [made.asarray(A), made.asarray(B), C, m, n, k])
    return made.to_numpy(C), A.astype(np.float64) @ B


def summed(made, kernel="block_sums", n=1000, blocks=3, threads=96):
    """What a kernel of `sums` makes of n numbers, and what it should."""
    x = numbers(n)
    out = made.empty(blocks, np.float32) if kernel == "block_sums" else made.zeros(1, np.float32)
    made.launch("sums", kernel, FLOAT, blocks, threads, [made.asarray(x), out, n])
    return made.to_numpy(out).sum(), x.astype(np.float64).sum()


def around(made, n=200):
    """A kernel whose blocks wait for each other."""
    h, out = made.empty(n, np.float32), made.empty(n, np.float32)
    bar = made.zeros(1, np.uint32)
    made.launch("round", "around", FLOAT, 4, 64, [h, out, bar, n], cooperative=True)
    return made.to_numpy(out), np.arange(n)[::-1]


def shifted(made, n=100):
    """A kernel that copies in the background."""
    x, out = numbers(n), made.empty(64, np.float32)
    made.launch("copies", "shifted", FLOAT, 1, 64, [made.asarray(x), out, n])
    return made.to_numpy(out), (x[:64] + np.pad(x[64:], (0, 128 - n)))[::-1]


def reported(kinds, run, made, **kwargs):
    """The report of a run that must find one of `kinds`."""
    with pytest.raises(KernelError) as caught:
        got, want = run(made, **kwargs)
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
    assert caught.value.kinds & set(kinds.split()), caught.value
    return str(caught.value)


# What is right ------------------------------------------------------------------------------------

@pytest.mark.parametrize("checked", [False, True])
@pytest.mark.parametrize("size", [(1, 1, 1), (16, 16, 16), (33, 18, 21), (5, 40, 1), (47, 1, 64)])
def test_a_product_is_the_same_under_every_schedule(size, checked):
    runs = [product(device("tiled", checked=checked, schedule=s), *size) for s in SCHEDULES]
    np.testing.assert_allclose(runs[0][0], runs[0][1], rtol=1e-5, atol=2e-5)
    assert all(np.array_equal(runs[0][0], got) for got, _ in runs)


@pytest.mark.parametrize("kernel", ["block_sums", "atomic_sum"])
@pytest.mark.parametrize("n", [1, 31, 33, 250])
def test_sums_by_shuffles_and_by_atomics(kernel, n):
    for schedule in SCHEDULES:
        got, want = summed(device("sums", schedule=schedule), kernel, n)
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("file, run", [("round", around), ("copies", shifted)])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_barriers_of_the_grid_and_copies_in_the_background(file, run, schedule):
    for checked in (False, True):
        got, want = run(device(file, checked=checked, schedule=schedule))
        np.testing.assert_array_equal(got, want)


def test_the_tensor_cores_product_keeps_eleven_bits_of_what_it_multiplies():
    A, B, D = numbers(16, 8), numbers(8, 8), numbers(16, 8)
    made = device("tensor")
    on = made.asarray(D)
    made.launch("tensor", "tensor", FLOAT, 1, 32, [made.asarray(A), made.asarray(B), on])
    want = A.astype(np.float64) @ B + D
    miss = np.linalg.norm(made.to_numpy(on) - want) / np.linalg.norm(want)
    assert 1e-5 < miss < 2.0**-11


def test_ballots_and_counts_agree():
    made = Device(checked=True)
    made.replace("votes", """
extern "C" __global__ void votes(const int* x, int* out) {
    const int yes = x[threadIdx.x] > 0;
    const int warp = __popc(__ballot_sync(0xffffffffu, yes));
    out[threadIdx.x] = warp + 100 * __syncthreads_count(yes) + 10000 * __any_sync(0xffffffffu, yes);
}
""")
    x = (np.arange(64) % 3 == 0).astype(np.int32) * (np.arange(64) < 32)
    out = made.empty(64, np.int32)
    made.launch("votes", "votes", (), 1, 64, [made.asarray(x.astype(np.int32)), out])
    got = made.to_numpy(out)
    assert (got[:32] == 11 + 1100 + 10000).all() and (got[32:] == 1100).all()


# What is wrong ------------------------------------------------------------------------------------

COMPLETE = "__syncthreads();  // the tiles are complete"
DONE = "__syncthreads();  // everyone is done"
WRONG_PRODUCTS = [
    ("race uninit", COMPLETE, ""),
    ("race", DONE, "//"),
    ("bounds", "row < m && k0 + x < k ?", "k0 + x < k ?"),
    ("bounds race", "row < m && column < n)", "row < m)"),
    ("bounds", "real As[T][T + 1]", "real As[T - 1][T + 1]"),
    ("bounds uninit", "As[y][x] = row", "As[y + 1][x] = row"),
    ("uninit", "Bs[y][x] = k0 + y < k && column < n ? B[(k0 + y) * n + column] : real(0);",
     "if (k0 + y < k && column < n) Bs[y][x] = B[(k0 + y) * n + column];"),
    ("unwritten", "column < n) C", "column < n - 1) C"),
    ("readonly", "C[row * n + column] = sum", "const_cast<real*>(A)[0] = sum"),
    ("stuck barrier", COMPLETE, "if (y < 8) __syncthreads();"),
    ("stuck", "real sum = 0;", "real sum = 0; if (row >= m) return;"),
]


@pytest.mark.parametrize("kinds, old, new", WRONG_PRODUCTS)
def test_a_wrong_product_is_reported(kinds, old, new):
    reported(kinds, product, device("tiled", (old, new)))


@pytest.mark.parametrize("old", [COMPLETE, DONE])
def test_a_missing_barrier_shows_in_the_numbers_too(old):
    runs = [product(device("tiled", (old, "//"), checked=False, schedule=s)) for s in SCHEDULES]
    assert not all(np.allclose(got, want, rtol=1e-4, atol=1e-4) for got, want in runs)


def test_a_report_names_the_lines_and_the_array():
    text = reported("race", product, device("tiled", (DONE, "//")))
    lines = TILED.splitlines()
    reads, writes = (1 + next(i for i, line in enumerate(lines) if part in line)
                     for part in ("sum += As", "Bs[y][x] = "))
    assert f"tiled.cu:{reads}" in text and f"tiled.cu:{writes}" in text and "Bs" in text


def test_a_barrier_that_some_never_reach_says_who_waits_where():
    text = reported("stuck", product, device("tiled", ("real sum = 0;",
                                                       "real sum = 0; if (row >= m) return;")))
    assert "finished" in text and "__syncthreads() on line" in text


@pytest.mark.parametrize("kinds, old, new", [
    ("race uninit", "part[warp] = s;\n    __syncthreads();", "part[warp] = s;"),
    ("stuck", "for (int d = 16; d > 0; d /= 2)", "if (lane < 16) for (int d = 8; d; d /= 2)"),
    ("uninit", "if (lane == 0) part[warp]", "if (lane == 0 && warp) part[warp + 1]"),
    ("unwritten", "out[blockIdx.x] = s", "out[0] = s"),
    ("warp", "(0xffffffffu, s, d)", "(0xffffu, s, d)"),
])
def test_a_wrong_sum_is_reported(kinds, old, new):
    reported(kinds + " race", summed, device("sums", (old, new)))


def test_an_addition_that_should_have_been_atomic_is_a_race():
    reported("race", summed, device("sums", ("atomicAdd(out, x[i])", "*out += x[i]")),
             kernel="atomic_sum")


def test_a_missing_barrier_of_the_grid_is_a_race_between_blocks():
    reported("race uninit", around, device("round", ("grid_sync(bar);", "")))


def test_a_barrier_of_the_grid_needs_a_cooperative_launch():
    made = device("round", checked=False)
    h, bar = made.zeros(8, np.float32), made.zeros(1, np.uint32)
    with pytest.raises(KernelError, match="cooperative"):
        made.launch("round", "around", FLOAT, 2, 32, [h, made.zeros(8, np.float32), bar, 8])


@pytest.mark.parametrize("kinds, old, new", [
    ("uninit", "cp_async_wait<1>();", ""),
    ("uninit race", "cp_async_wait<0>();", ""),
    ("async uninit", "cp_async_wait<0>();", "cp_async_wait<1>();"),
    ("race", "__syncthreads();  // everyone's first", "//"),
    ("race", "__syncthreads();  // everyone's second", "//"),
    ("align", "&stage[0][i], x + i", "(char*)&stage[0][i] + 1, x + i"),
])
def test_a_wrong_copy_in_the_background_is_reported(kinds, old, new):
    reported(kinds + " uninit", shifted, device("copies", (old, new)))


def test_a_vector_at_an_odd_address_is_reported():
    made = Device(checked=True)
    made.replace("quads", """
extern "C" __global__ void quads(const float* x, float* out) {
    const float4 v = *reinterpret_cast<const float4*>(x + 4 * threadIdx.x + 1);
    out[threadIdx.x] = v.x + v.w;
}
""")
    with pytest.raises(KernelError, match="not aligned"):
        made.launch("quads", "quads", (), 1, 4,
                    [made.zeros(20, np.float32), made.empty(4, np.float32)])

# out[i] = the neighbour's x, by way of shared memory, within a warp.
NEIGHBOURS = """
extern "C" __global__ void neighbours(const int* x, int* out) {
    __shared__ int kept[64];
    kept[threadIdx.x] = x[threadIdx.x];
    __syncwarp();
    out[threadIdx.x] = kept[threadIdx.x ^ 1];
}
"""


@pytest.mark.parametrize("right, changes", [
    (True, ()), (False, ("__syncwarp();", "")), (False, ("x ^ 1", "x ^ 32")),
    (False, ("__syncwarp();", "__shfl_sync(0xffffffffu, 0, 0);"))])
def test_lanes_that_met_see_each_others_memory(right, changes):
    """Those of a warp that called __syncwarp, and no others; a shuffle is no fence."""
    made, out = Device(checked=True), None
    made.replace("neighbours", NEIGHBOURS.replace(*changes) if changes else NEIGHBOURS)
    out = made.empty(64, np.int32)
    args = [made.asarray(np.arange(64, dtype=np.int32)), out]
    if right:
        made.launch("neighbours", "neighbours", (), 1, 64, args)
        assert (made.to_numpy(out) == np.arange(64) ^ 1).all()
    else:
        with pytest.raises(KernelError, match="race|uninit"):
            made.launch("neighbours", "neighbours", (), 1, 64, args)


# Small wrongs, each with the one kind of report that it must give.
SMALL = {
    "two blocks write one number": ("race", "if (i == 0) x[0] = blockIdx.x;"),
    "what one has read another overwrites": ("race", """
    if (i == 0 && blockIdx.x == 0) x[64] = x[1];
    if (i == 1 && blockIdx.x == 0) x[1] = 0;"""),
    "one of two readers writes, a shuffle later": ("race", """
    if (blockIdx.x > 0) return;
    const int v = x[32];
    __shfl_sync(0xffffffffu, v, 0);
    if (i == 0) x[32] = v + 1;"""),
    "a copy that nobody waits for": ("async", """
    __shared__ int kept[64];
    cp_async<4>(&kept[i], x + i);"""),
    "a barrier here for some, there for others": ("barrier", """
    if (i < 32) __syncthreads();
    else
        __syncthreads();"""),
    "a shuffle here for some, there for others": ("stuck", """
    if (i % 2) __shfl_sync(0xffffffffu, i, 0);
    else
        __shfl_sync(0xffffffffu, i, 1);"""),
    "what another block left in shared memory": ("uninit", """
    __shared__ int kept[64];
    if (blockIdx.x == 0) kept[i] = i;
    __syncthreads();
    x[64 * blockIdx.x + i] = kept[i];"""),
    "a byte before the beginning": ("bounds", "if (i == 0) reinterpret_cast<char*>(x)[-1] = 0;"),
    "a number behind the end": ("bounds", "if (i == 0) x[128] = 0;"),
    "far away": ("bounds", "if (i == 0) x[1ll << 40] = 0;"),
}


@pytest.mark.parametrize("kind, body", SMALL.values(), ids=SMALL)
def test_a_small_wrong_has_its_report(kind, body):
    made = Device(checked=True)
    made.replace("small", f"""
#include "device.cuh"
extern "C" __global__ void small(int* x) {{
    const int i = threadIdx.x;
    {body}
}}
""")
    with pytest.raises(KernelError) as caught:
        made.launch("small", "small", (), 2, 64, [made.zeros(128, np.int32)])
    assert caught.value.kinds == {kind}, caught.value


@pytest.mark.parametrize("body", [
    "x[i] = kept[i];",                                              # nothing has written it
    "kept[i] = 0; cp_async<4>(&kept[i], x + i); x[i] = kept[i]; cp_async_commit(); "
    "cp_async_wait<0>();"])                                         # it is not there yet
def test_what_is_not_there_yet_is_all_ones_even_without_checks(body):
    made, x = Device(), Device().zeros(64, np.int32)
    made.replace("early", f"""
#include "device.cuh"
extern "C" __global__ void early(int* x) {{
    __shared__ int kept[64];
    const int i = threadIdx.x;
    {body}
}}
""")
    for _ in range(2):
        made.launch("early", "early", (), 1, 64, [x])
        assert (made.to_numpy(x) == -1).all()


# Memory -------------------------------------------------------------------------------------------

def test_what_nothing_has_written_is_known_from_launch_to_launch():
    made = device("sums")
    part, out = made.empty(3, np.float32), made.empty(1, np.float32)
    with pytest.raises(KernelError, match="uninit"):
        made.launch("sums", "block_sums", FLOAT, 1, 32, [part, out, 3])
    made.launch("sums", "block_sums", FLOAT, 3, 32, [made.asarray(numbers(9)), part, 9])
    made.launch("sums", "block_sums", FLOAT, 1, 32, [part, out, 3])
    np.testing.assert_allclose(made.to_numpy(out)[0], numbers(9).sum(), rtol=1e-5)


def test_a_view_has_bounds_of_its_own():
    made = device("sums")
    x, out = made.asarray(numbers(8)), made.empty(1, np.float32)
    made.launch("sums", "block_sums", FLOAT, 1, 32, [x[:4], out, 4])
    with pytest.raises(KernelError, match="bounds"):
        made.launch("sums", "block_sums", FLOAT, 1, 32, [x[:4], out, 5])


def test_a_view_keeps_its_memory():
    made = Device(checked=True)
    view = made.asarray(np.arange(1000.0))[10:20]
    others = [made.zeros(1000, np.float64) for _ in range(20)]
    assert len(others) == 20 and (made.to_numpy(view) == np.arange(10, 20)).all()


@pytest.mark.parametrize("checked", [False, True])
def test_arrays_of_the_device_do_not_mix_with_those_of_the_host(checked):
    made = Device(checked)
    x, y = made.asarray(numbers(4, 3)), numbers(4, 3)
    for mixed in (lambda: x > y, lambda: y / x, lambda: x @ y.T, lambda: np.concatenate([x, x]),
                  lambda: np.sum(x), lambda: x.__setitem__(0, y[0])):
        with pytest.raises(TypeError, match="device|host"):
            mixed()


@pytest.mark.parametrize("checked", [False, True])
def test_an_array_of_the_device_has_numpys_methods(checked):
    made = Device(checked)
    x, y = made.asarray(numbers(4, 3)), numbers(4, 3)
    for got, want in [(x.sum(axis=0), y.sum(axis=0)), (x.T.copy(), y.T), (x > 0, y > 0),
                      (x.reshape(3, 4), y.reshape(3, 4)), (x[1:], y[1:]), (x / 2, y / 2),
                      (x.argmax(axis=1), y.argmax(axis=1)), (x.astype(np.float64), y)]:
        np.testing.assert_array_equal(made.to_numpy(got), want)


# Groups of problems -------------------------------------------------------------------------------

class Placed:
    """A number that lies in device memory."""

    def __init__(self, at, factor=1.0, offset=0):
        self.at, self.factor, self.offset = at, factor, offset


@pytest.mark.parametrize("checked", [False, True])
def test_problems_share_a_launch(checked):
    made = device("scaled", checked=checked)
    xs = [numbers(n) for n in (1, 32, 70, 5)]
    outs = [made.empty(len(x), np.float32) for x in xs]
    there, clock = made.asarray(np.array([3.0])), made.asarray(np.array([7]))
    problems = [{"x": made.asarray(x), "out": out, "s": 2.0, "t": 1, "n": len(x)}
                for x, out in zip(xs, outs)]
    problems[2].update(s=Placed(there, factor=0.5), t=Placed(clock, offset=-2))
    blocks = [-(-len(x) // 32) for x in xs]
    made.launch("scaled", "scaled", FLOAT, (sum(blocks),), 32, [Group(problems, blocks)])
    for i, (x, out) in enumerate(zip(xs, outs)):
        want = np.float32(1.5) * x + np.float32(5) if i == 2 else 2 * x + 1
        np.testing.assert_array_equal(made.to_numpy(out), want)


@pytest.mark.parametrize("change, message", [
    ({"n": 2**31}, "scaled: n: wanted int32; 2147483648 does not fit"),
    ({"n": 1.5}, "scaled: n: wanted int32; got 1.5"),
    ({"s": "two"}, "scaled: s: wanted float64; got 'two'"),
    ({"x": np.ones(4, np.float32)}, "scaled: x: wanted an array of the device; got numpy.ndarray"),
    ({"x": Device().zeros(4, np.float64)}, "scaled: x: wanted an array of real .float32.; got flo"),
    ({"x": Device().zeros(8, np.float32)[::2]}, "scaled: x: wanted an array in C order; got a vie"),
    ({"nn": 3}, "scaled: struct Scaled has no field nn"),
])
def test_a_field_that_a_kernel_would_misread_is_refused(change, message):
    made = device("scaled", checked=False)
    x = made.zeros(4, np.float32)
    problem = {"x": x, "out": x, "s": 2.0, "t": 1, "n": 4, **change}
    with pytest.raises((ValueError, TypeError), match=message):
        made.launch("scaled", "scaled", FLOAT, (1,), 32, [Group([problem], [1])])


def test_a_field_that_is_missing_is_named():
    made = device("scaled", checked=False)
    with pytest.raises(ValueError, match="scaled: at.1..out is missing"):
        x = made.zeros(4, np.float32)
        whole = {"x": x, "out": x, "s": 2.0, "t": 1, "n": 4}
        made.launch("scaled", "scaled", FLOAT, (2,), 32, [Group([whole, {"x": x}], [1, 1])])


def test_structs_lie_in_memory_as_the_compiler_has_them():
    text = """
struct Inner { unsigned char a; double b; int c; };
struct Outer { int n; Inner inner; const real* x; bool q; float f[3]; long long t; int last; };
extern "C" __global__ void layout(int* out) {
    const size_t found[] = {offsetof(Outer, inner), offsetof(Outer, x), offsetof(Outer, q),
                            offsetof(Outer, f), offsetof(Outer, t), offsetof(Outer, last),
                            sizeof(Outer)};
    for (int i = 0; i < 7; ++i) out[i] = found[i];
}
"""
    made, out = Device(), Device().zeros(7, np.int32)
    made.replace("layout", text)
    made.launch("layout", "layout", FLOAT, 1, 1, [out])
    kind = source.Layouts(text, "float").dtype("Outer")
    want = [kind.fields[name][1] for name in ("inner", "x", "q", "f", "t", "last")]
    assert list(made.to_numpy(out)) == [*want, kind.itemsize]


# Counts -------------------------------------------------------------------------------------------

def costs(made, part):
    """Cost over least cost of the accesses on the lines of TILED that have `part`."""
    made.counted = 0
    product(made, 32, 32, 32)
    text = made.texts["tiled"].splitlines()
    lines = {f"tiled.cu:{i + 1}" for i, line in enumerate(text) if part in line}
    return {space: sum(row["cost"] for row in rows) / sum(row["best"] for row in rows)
            for space in ("shared", "global")
            if (rows := [row for row in made.accesses["tiled"]
                         if row["where"] in lines and row["space"] == space])}


def test_bank_conflicts_and_sectors_are_counted():
    assert costs(device("tiled"), "Bs[y][x] = ") == {"shared": 1, "global": 1}
    down = ("Bs[y][x] = k0 + y < k && column < n ? B[(k0 + y) * n + column]",
            "Bs[x][y] = k0 + x < k ? B[(k0 + x) * n + blockIdx.x * T + y]")
    assert costs(device("tiled", down), "Bs[x][y] = ") == {"shared": 8, "global": 4}
    padded = ("real Bs[T][T]", "real Bs[T][T + 1]")
    assert costs(device("tiled", down, padded), "Bs[x][y] = ")["shared"] < 3


# Building -----------------------------------------------------------------------------------------

def test_a_kernel_that_does_not_compile_says_what_the_compiler_says():
    made = Device()
    made.replace("broken", 'extern "C" __global__ void broken(int n) { return m; }')
    with pytest.raises(RuntimeError, match="broken.cu.*1.*error"):
        made.launch("broken", "broken", (), 1, 1, [3])


def test_two_shared_variables_in_a_statement_are_refused():
    made = Device()
    made.replace("two", 'extern "C" __global__ void two(int n) { __shared__ int a[2], b[2]; }')
    with pytest.raises(ValueError, match="one __shared__ variable"):
        made.launch("two", "two", (), 1, 1, [3])


def loaded(**environment):
    """What a fresh process says about the backend, in another environment."""
    code = ("from minicredit.kernels import load, BackendError\n"
            "try: load('emulated'); print('loads')\n"
            "except BackendError as error: print(error)")
    ran = subprocess.run([sys.executable, "-c", code], env={**os.environ, **environment},
                         capture_output=True, text=True)
    return ran.stdout.strip()


def test_without_a_compiler_one_line_says_so():
    assert loaded(CXX="/there/is/no/compiler") == (
        "backend 'emulated' cannot be loaded: it needs a C++ compiler, and "
        "CXX=/there/is/no/compiler is not there")


def test_a_cache_that_cannot_be_written_to_is_named():
    said = loaded(MINICREDIT_CACHE="/dev/null")
    assert "/dev/null/kernels" in said and "MINICREDIT_CACHE" in said and "\n" not in said


def test_where_there_is_no_written_out_switch_threads_run_all_the_same(tmp_path):
    """As on processors that are no x86-64."""
    code = ("from minicredit.kernels.cuda.emulator import build\n"
            "build.COMMON = (*build.COMMON, '-DEMULATED_UCONTEXT')\n"
            "import numpy, test_emulator as t\n"
            "numpy.testing.assert_allclose(*t.product(t.device('tiled', checked=False)), 1e-4)\n"
            "print('right')")
    ran = subprocess.run([sys.executable, "-c", code], cwd=os.path.dirname(__file__), text=True,
                         env={**os.environ, "MINICREDIT_CACHE": str(tmp_path)},
                         capture_output=True)
    assert ran.stdout.strip() == "right", ran.stderr
