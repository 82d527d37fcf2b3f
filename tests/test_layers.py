"""Layers of images, and residual ones: definitions, identities, calculus.

A layer of images is a list of wires: which unit below is joined to which unit above by which
weight.  Everything that the layer does follows from the list, which is made here from the
definition, a loop for every index, in float64.
"""
from copy import copy
from typing import NamedTuple

import numpy as np
import pytest
from conftest import assert_close, same
from hypothesis import example, given
from hypothesis import strategies as st

from minicredit import UserError
from minicredit.kernels import reference
from minicredit.keys import FEEDBACK, WEIGHTS
from minicredit.layers import (Convolution, ConvolutionTranspose, Dense, LocallyConnected,
                               LocallyConnectedTranspose, Residual)
from minicredit.layers.geometry import Stencil, cost, matrices, stencil

KEY = 0, WEIGHTS, 1, 0
STEP, KINK, RELATIVE = 1e-5, 1e-3, 1e-6     # as in test_rules_calculus.py

LOCAL, CONV = (LocallyConnected, LocallyConnectedTranspose), (Convolution, ConvolutionTranspose)
KINDS = [*LOCAL, *CONV]
TRANSPOSED = LocallyConnectedTranspose, ConvolutionTranspose
every_kind = pytest.mark.parametrize("kind", KINDS)


class Case(NamedTuple):
    """One geometry, and what a layer needs beside it."""

    shape: tuple
    kernel: int
    channels: int
    stride: int
    padding: str
    f: str = "tanh"
    N: int = 2
    seed: int = 0


@st.composite
def cases(draw):
    """Any geometry that is possible: a kernel that must fit is no larger than the image."""
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 3)))
    padding, kernel = draw(st.sampled_from(["same", "none"])), draw(st.integers(1, 7))
    kernel = min(kernel, *shape[:2]) if padding == "none" else kernel
    return Case(shape, kernel, draw(st.integers(1, 2)), draw(st.integers(1, 4)), padding,
                draw(st.sampled_from(["tanh", "relu", "linear"])), draw(st.integers(1, 3)),
                draw(st.integers(0, 10**6)))


def geometries(test):
    """Random geometries, and those that are at an end of something."""
    for case in (Case((5, 5, 2), 5, 2, 1, "none"), Case((1, 7, 1), 3, 2, 2, "same"),
                 Case((7, 1, 3), 1, 1, 4, "none"), Case((6, 5, 1), 2, 2, 3, "same"),
                 Case((2, 3, 1), 7, 1, 1, "same"), Case((1, 1, 1), 1, 1, 1, "none")):
        test = example(case=case)(test)
    return given(case=cases())(test)


def make(kind, case, dtype="float64"):
    """The layer, with biases that are not 0, as they are at the start."""
    layer = kind(case.shape, case.kernel, case.channels, case.stride, case.f, reference, dtype,
                 (case.seed, WEIGHTS, 1, 0), padding=case.padding)
    layer.b[...] = numbers(case, *layer.b.shape)
    return layer


def numbers(case, *shape):
    return np.random.default_rng((case.seed, *shape)).standard_normal(shape)


def inputs(case, layer, dtype="float64"):
    """The layer's input (N, n_in), and an error at its pre-activation (N, n_out)."""
    h, delta = numbers(case, case.N, layer.n_in), numbers(case, case.N, layer.n_out, 1)[..., 0]
    return h.astype(dtype), delta.astype(dtype)


# The definition -----------------------------------------------------------------------------------

def starts(n, case):
    """Where along a side of n units the kernel begins, past the edge or not, at each place."""
    k, s = case.kernel, case.stride
    if case.padding == "none":
        return [start for start in range(0, n, s) if start + k <= n]
    places = (n + s - 1) // s
    zeros = max((places - 1) * s + k - n, 0)
    return [i * s - zeros // 2 for i in range(places)]


def sight(case):
    """Every (place p, tap t, unit u of the image) where p sees u through t."""
    (R, C, ch), k = case.shape, case.kernel
    for p, (top, left) in enumerate((r, c) for r in starts(R, case) for c in starts(C, case)):
        for i in range(k):
            for j in range(k):
                for c in range(ch):
                    if 0 <= top + i < R and 0 <= left + j < C:
                        yield p, (i * k + j) * ch + c, ((top + i) * C + left + j) * ch + c


def wires(kind, case):
    """Every (unit below, unit above, index into W)."""
    for p, t, u in sight(case):
        for f in range(case.channels):
            v = p * case.channels + f
            if kind is LocallyConnected:
                yield u, v, (p, t, f)
            elif kind is LocallyConnectedTranspose:
                yield v, u, (p, f, t)
            elif kind is Convolution:
                yield u, v, (t, f)
            else:
                yield v, u, (f, t)


def bias_of(layer, unit):
    """The index into b that belongs to a unit above."""
    channels = layer.shape_out[2]
    local = isinstance(layer, LOCAL)
    return (unit // channels, unit % channels) if local else unit % channels


def close(case, layer, got, *factors):
    """Equal but for rounding; a sum has at most as many terms as wires meet, or examples."""
    terms = case.N * (1 + case.kernel**2 * max(*layer.shape_in, *layer.shape_out)
                      * len(layer.W if layer.W.ndim == 3 else [0]) + layer.n_in + layer.n_out)
    got, want = got
    assert_close(got, want, terms, np.prod([1 + np.abs(x).max(initial=0) for x in factors]))


@every_kind
@geometries
def test_forward_sums_over_the_wires_of_each_unit(kind, case):
    layer = make(kind, case)
    h, _ = inputs(case, layer)
    assert layer.shape_in[0] * layer.shape_in[1] * layer.shape_in[2] == layer.n_in
    a = np.zeros((case.N, layer.n_out))
    for below, above, w in wires(kind, case):
        a[:, above] += h[:, below] * layer.W[w]
    for above in range(layer.n_out):
        a[:, above] += layer.b[bias_of(layer, above)]
    want = {"tanh": np.tanh, "relu": lambda a: np.where(a > 0, a, 0), "linear": np.array}[case.f](a)
    close(case, layer, (layer.forward(h), want), h, layer.W, layer.b)


@every_kind
@geometries
def test_pull_back_sends_each_error_down_the_wires_it_came_by(kind, case):
    layer = make(kind, case)
    _, delta = inputs(case, layer)
    B = numbers(case, *layer.W.shape)
    for weights in (None, B):
        e = np.zeros((case.N, layer.n_in))
        for below, above, w in wires(kind, case):
            e[:, below] += delta[:, above] * (layer.W if weights is None else B)[w]
        close(case, layer, (layer.pull_back(delta, weights), e), delta, layer.W, B)


@every_kind
@geometries
def test_a_weight_learns_from_both_ends_of_its_wires(kind, case):
    layer = make(kind, case)
    h, delta = inputs(case, layer)
    dW, db = np.zeros(layer.W.shape), np.zeros(layer.b.shape)
    for below, above, w in wires(kind, case):
        dW[w] += h[:, below] @ delta[:, above] / case.N
    for above in range(layer.n_out):
        db[bias_of(layer, above)] += delta[:, above].mean()
    got = layer.gradient(h, delta)
    assert set(got) == set(layer.parameters) == {"W", "b"}
    close(case, layer, (got["W"], dW), h, delta)
    close(case, layer, (got["b"], db), delta)


# Identities ---------------------------------------------------------------------------------------

def pair(kinds, case):
    """A locally connected layer and a convolution, with the same weights and biases everywhere."""
    local, shared = (make(kind, case) for kind in kinds)
    local.W[...], local.b[...] = shared.W, shared.b
    return local, shared


@pytest.mark.parametrize("kinds", list(zip(LOCAL, CONV)))
@geometries
def test_places_that_agree_are_a_convolution(kinds, case):
    local, shared = pair(kinds, case)
    h, delta = inputs(case, local)
    close(case, local, (local.forward(h), shared.forward(h)), h, local.W, local.b)
    close(case, local, (local.pull_back(delta), shared.pull_back(delta)), delta, local.W)
    one, all_ = local.gradient(h, delta), shared.gradient(h, delta)
    close(case, local, (one["W"].sum(axis=0), all_["W"]), h, delta)
    close(case, local, (one["b"].sum(axis=0), all_["b"]), delta)


@pytest.mark.parametrize("kind", [LocallyConnected, Convolution])
@pytest.mark.parametrize("f", ["tanh", "relu", "linear"])
def test_a_kernel_as_large_as_the_image_is_a_dense_layer(kind, f):
    case = Case((4, 4, 3), 4, 5, 1, "none", f, N=6)
    layer, dense = make(kind, case), Dense(48, 5, f, reference, "float64", KEY)
    dense.W[...], dense.b[...] = layer.W.reshape(48, 5), layer.b.reshape(5)
    h, delta = inputs(case, layer)
    assert_close(layer.forward(h), dense.forward(h), terms=48, scale=8)
    assert_close(layer.pull_back(delta), dense.pull_back(delta), terms=48, scale=8)
    got, want = layer.gradient(h, delta), dense.gradient(h, delta)
    assert_close(got["W"].reshape(48, 5), want["W"], terms=6, scale=8)
    assert_close(got["b"].reshape(5), want["b"], terms=6, scale=8)


@every_kind
@geometries
def test_what_goes_up_and_what_comes_down_have_the_same_product(kind, case):
    layer = make(kind, case._replace(f="linear"))
    layer.b[...] = 0
    h, delta = inputs(case, layer)
    up, down = (layer.forward(h) * delta).sum(), (h * layer.pull_back(delta)).sum()
    close(case, layer, (up, down), h, delta, layer.W, [layer.n_out])


@every_kind
@geometries
def test_a_mirror_with_the_weights_transposed_is_the_pull_back(kind, case):
    layer = make(kind, case)
    mirror = layer.mirror("linear", (0, FEEDBACK, 2, 0))
    mirror.W[...] = layer.W.swapaxes(-1, -2)
    _, delta = inputs(case, layer)
    close(case, layer, (mirror.forward(delta), layer.pull_back(delta)), delta, layer.W)


def pattern(layer):
    """Which unit above hears which unit below; bool (n_out, n_in)."""
    layer.b[...] = 0
    return layer.forward(np.eye(layer.n_in)).T != 0


@every_kind
@geometries
def test_a_mirror_has_exactly_the_wires_of_its_layer_reversed(kind, case):
    layer = make(kind, case._replace(f="linear"))
    mirror = layer.mirror("linear", (case.seed, FEEDBACK, 2, 0))
    want = np.zeros((layer.n_out, layer.n_in), bool)
    for below, above, _ in wires(kind, case):
        want[above, below] = True
    assert same(pattern(layer), want) and same(pattern(mirror), want.T)


@every_kind
def test_a_mirror_has_the_reversed_shape_and_weights_of_its_own(kind):
    case = Case((6, 5, 2), 3, 3, 2, "none", "relu")
    layer = make(kind, case, "float32")
    mirror = layer.mirror("tanh", (0, FEEDBACK, 2, 0))
    assert (mirror.n_in, mirror.n_out) == (layer.n_out, layer.n_in)
    assert (mirror.shape_in, mirror.shape_out) == (layer.shape_out, layer.shape_in)
    assert mirror.f == "tanh" and mirror.init == layer.init and mirror.dtype == "float32"
    assert not set(mirror.W.ravel().tolist()) & set(layer.W.ravel().tolist())
    again = mirror.mirror("relu", KEY)
    assert type(again) is kind and again.stencil == layer.stencil
    assert again.W.shape == layer.W.shape and again.b.shape == layer.b.shape
    assert layer.mirror("tanh", KEY, "orthogonal").init == "orthogonal"


# Calculus -----------------------------------------------------------------------------------------

def differences(loss, array):
    """dloss/darray by central differences; `loss` reads the array where it stands."""
    slope = np.empty_like(array)
    for place in np.ndindex(*array.shape):
        kept = array[place]
        array[place] = kept + STEP
        above = loss()
        array[place] = kept - STEP
        below = loss()
        array[place] = kept
        slope[place] = (above - below) / (2 * STEP)
    return slope


def agree(got, want, what):
    """Within RELATIVE of the largest entry; NaN fails."""
    assert got.shape == want.shape, what
    worst = np.abs(got - want).max(initial=0)
    assert worst <= RELATIVE * max(np.abs(want).max(initial=0), 1e-3), f"{what}: off by {worst}"


def images(kind):
    """A small layer of images of this kind, as a function of f."""
    return lambda f: make(kind, Case((4, 3, 2), 2, 3, 2, "same", f, seed=3))


def residual(n_in, n_out):
    """A residual layer, as a function of f, with biases that are not 0."""
    def build(f):
        layer = Residual(n_in, n_out, f, reference, "float64", KEY)
        layer.b[...] = np.linspace(-0.4, 0.5, n_out)
        return layer
    return build


BUILDERS = {**{kind.__name__: images(kind) for kind in KINDS}, "Residual": residual(5, 5),
            "narrowing Residual": residual(6, 4), "widening Residual": residual(3, 5)}


def pre_activation(layer, u):
    """a, of which a layer's answer is f(a); of a residual one without the skip."""
    if isinstance(layer, Residual):
        return u @ layer.W[:, :layer.n_out] + layer.b
    linear = copy(layer)
    linear.f = "linear"
    return linear.forward(u)


@pytest.mark.parametrize("f", ["tanh", "relu", "linear"])
@pytest.mark.parametrize("what", BUILDERS)
def test_every_layer_descends_the_loss_above_it(what, f):
    layer, rng = BUILDERS[what](f), np.random.default_rng(5)
    u, target = rng.standard_normal((3, layer.n_in)), rng.standard_normal((3, layer.n_out))

    def mean_loss():
        return ((layer.forward(u) - target) ** 2).sum() / 2 / 3

    h = layer.forward(u)
    assert f != "relu" or (np.abs(pre_activation(layer, u)) > KINK).all()       # none will switch
    delta = layer.times_slope(h - target, h, u)
    for name, g in layer.gradient(u, delta).items():
        agree(g, differences(mean_loss, layer.parameters[name]), f"{what}, {f}, {name}")
    agree(layer.pull_back(delta) / 3, differences(mean_loss, u), f"{what}, {f}, input")


# Residual layers ----------------------------------------------------------------------------------

def test_a_residual_layer_is_its_input_and_a_correction():
    layer, u = residual(5, 5)("tanh"), np.random.default_rng(0).standard_normal((4, 5))
    assert_close(layer.forward(u), u + np.tanh(u @ layer.W + layer.b), terms=6, scale=4)
    assert layer.W.shape == (5, 5) and layer.b.shape == (5,)


@pytest.mark.parametrize("n_in, n_out", [(6, 4), (3, 5)])
def test_where_sizes_differ_a_second_half_of_the_weights_projects(n_in, n_out):
    layer = residual(n_in, n_out)("tanh")
    u = np.random.default_rng(0).standard_normal((4, n_in))
    W, P = layer.W[:, :n_out], layer.W[:, n_out:]
    assert W.shape == P.shape == (n_in, n_out) and layer.b.shape == (n_out,)
    assert not np.isin(W, P).any()
    assert_close(layer.forward(u), u @ P + np.tanh(u @ W + layer.b), terms=8, scale=4)


def test_a_residual_layers_teaching_signal_is_the_pair_of_both_halves():
    for layer in (residual(5, 5)("tanh"), residual(6, 4)("tanh")):
        n, rng = layer.n_out, np.random.default_rng(0)
        u, e = rng.standard_normal((4, layer.n_in)), rng.standard_normal((4, n))
        slope = 1 - np.tanh(u @ layer.W[:, :n] + layer.b) ** 2
        delta = layer.times_slope(e, layer.forward(u), u)
        assert_close(delta[:, :n], e * slope, terms=8, scale=4)
        assert same(delta[:, n:], e)


def test_the_skip_carries_the_error_past_any_weights_unchanged():
    layer, rng = residual(5, 5)("tanh"), np.random.default_rng(0)
    delta, B = rng.standard_normal((4, 10)), rng.standard_normal((5, 5))
    assert_close(layer.pull_back(delta, B), delta[:, :5] @ B.T + delta[:, 5:], terms=5, scale=8)
    assert_close(layer.pull_back(delta, 0 * B), delta[:, 5:])


@pytest.mark.parametrize("n_in, n_out", [(50, 50), (60, 40)])
def test_a_silent_rectifier_is_known_as_silent_however_large_the_skip(n_in, n_out):
    layer = Residual(n_in, n_out, "relu", reference, "float32", KEY)
    u = 1e6 * np.random.default_rng(0).standard_normal((50, n_in)).astype("float32")
    h, off = layer.forward(u), pre_activation(layer, u) < -1e3
    each = [layer.times_slope(h[n:n + 1] ** 0, h[n:n + 1], u[n:n + 1])[0, :n_out]
            for n in range(50)]                     # one at a time: the products round otherwise
    assert off.sum() > 500 and not np.array(each)[off].any()


@pytest.mark.parametrize("n_in, n_out", [(5, 5), (6, 4)])
def test_the_mirror_of_a_residual_layer_is_one_of_the_reversed_sizes(n_in, n_out):
    layer = Residual(n_in, n_out, "relu", reference, "float32", KEY)
    mirror = layer.mirror("tanh", (0, FEEDBACK, 2, 0))
    assert type(mirror) is Residual and (mirror.n_in, mirror.n_out) == (n_out, n_in)
    assert mirror.dtype == "float32" and mirror.init == "glorot"
    assert not np.isin(mirror.W, layer.W).any()


@pytest.mark.parametrize("f", ["tanh", "relu", "linear"])
def test_the_mirror_of_a_residual_layer_keeps_its_nonlinearity_whatever_is_below(f):
    layer = Residual(5, 5, f, reference, "float32", KEY)
    assert [layer.mirror(below, KEY).f for below in ("tanh", "relu", "linear")] == [f] * 3
    assert layer.range == "linear"


# Every layer --------------------------------------------------------------------------------------

def every_layer(dtype):
    """One of each, with its name."""
    case = Case((5, 4, 2), 3, 3, 2, "same")
    for kind in KINDS:
        yield kind.__name__, make(kind, case, dtype)
    for n_in, n_out in ((5, 5), (6, 4)):
        yield f"Residual {n_in}-{n_out}", Residual(n_in, n_out, "tanh", reference, dtype, KEY)


def verbs(layer, dtype, N=3):
    """What every verb answers, by name, and what it was given."""
    rng = np.random.default_rng(0)
    u, e = rng.standard_normal((N, layer.n_in)), rng.standard_normal((N, layer.n_out))
    u, e = u.astype(dtype), e.astype(dtype)
    h = layer.forward(u)
    delta = layer.times_slope(e, h, u)
    given_, out = [u, e, h, delta], {"forward": h, "times_slope": delta}
    before = [array.copy() for array in given_]
    out["pull_back"], out["others"] = layer.pull_back(delta), layer.pull_back(delta, layer.W)
    out["times_slope"] = layer.times_slope(e, h, u)
    if N:
        out.update(layer.gradient(u, delta))
    assert all(same(a, b) for a, b in zip(given_, before))
    return out


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_dtype_that_goes_in_comes_out_of_every_verb_and_nothing_else_changes(dtype):
    for what, layer in every_layer(dtype):
        before = {name: array.copy() for name, array in layer.parameters.items()}
        for verb, out in verbs(layer, dtype).items():
            assert out.dtype == dtype, f"{what}.{verb}"
        assert all(same(layer.parameters[name], before[name]) for name in before), what


def test_no_examples_give_an_empty_answer():
    for what, layer in every_layer("float32"):
        out = verbs(layer, "float32", N=0)
        assert out["forward"].shape == (0, layer.n_out), what
        assert out["pull_back"].shape == (0, layer.n_in), what


@pytest.mark.parametrize("f", ["tanh", "relu", "linear"])
@every_kind
def test_nan_in_is_nan_out_where_a_wire_leads_and_nowhere_else(kind, f):
    layer = make(kind, Case((5, 5, 1), 3, 2, 2, "same", f))
    u = np.ones((1, layer.n_in))
    u[0, 0] = np.nan
    seen = pattern(make(kind, Case((5, 5, 1), 3, 2, 2, "same", "linear")))[:, 0]
    assert same(np.isnan(layer.forward(u))[0], seen)
    delta = np.full((1, layer.n_out), np.nan)
    assert np.isnan(layer.gradient(0 * u, delta)["b"]).all()


def test_a_view_is_read_as_what_it_shows():
    for _, layer in every_layer("float64"):
        u = np.random.default_rng(0).standard_normal((layer.n_in, 6)).T[::2]
        e = np.random.default_rng(1).standard_normal((layer.n_out, 6)).T[::2]
        h = layer.forward(u)
        delta = layer.times_slope(e, h, u)
        backwards = np.asfortranarray(delta)
        assert same(h, layer.forward(u.copy()))
        assert_close(layer.pull_back(backwards), layer.pull_back(delta), terms=40)
        assert_close(layer.gradient(u, backwards)["W"], layer.gradient(u.copy(), delta)["W"], 40)


# Initial weights ----------------------------------------------------------------------------------

@every_kind
def test_image_weights_start_within_glorots_bound_of_one_place(kind):
    layer = make(kind, Case((40, 40, 3), 5, 6, 2, "same"))
    r = (6 / (25 * 3 + 25 * 6)) ** 0.5
    assert 0.99 * r < np.abs(layer.W).max() < r
    assert abs((layer.W**2).mean() / (r * r / 3) - 1) < 5 * (0.8 / layer.W.size) ** 0.5


@every_kind
def test_orthogonal_means_that_every_places_matrix_is(kind):
    layer = kind((4, 3, 2), 2, 3, 1, "tanh", reference, "float64", KEY, "orthogonal")
    for W in layer.W.reshape(-1, *layer.W.shape[-2:]):
        product = W @ W.T if len(W) < len(W.T) else W.T @ W
        assert_close(product, np.eye(len(product)), terms=16)


def test_no_two_places_and_no_two_keys_start_with_the_same_numbers():
    a, b = (make(LocallyConnected, Case((5, 5, 1), 3, 2, 1, "same", seed=seed)) for seed in (0, 1))
    assert len(set(a.W.ravel())) == a.W.size and not np.isin(a.W, b.W).any()
    assert same(a.random_weights(KEY), a.W)


def test_float32_and_float64_layers_start_alike():
    for (_, single), (_, double) in zip(every_layer("float32"), every_layer("float64")):
        assert same(single.W, double.W.astype("float32"))


def test_matrices_of_one_are_those_of_a_dense_layer():
    dense = Dense(7, 5, "tanh", reference, "float64", KEY)
    assert same(matrices((1, 7, 5), 7, 5, KEY, "glorot")[0], dense.W)
    dense = Dense(7, 5, "tanh", reference, "float64", KEY, "orthogonal")
    assert_close(matrices((1, 7, 5), 7, 5, KEY, "orthogonal")[0], dense.W, terms=16)


# Geometry -----------------------------------------------------------------------------------------

@pytest.mark.parametrize("shape, kernel, stride, padding, want", [
    ((28, 28, 1), 3, 2, "same", (0, 0, 14, 14)),    # one zero in all: below and right
    ((28, 28, 1), 5, 1, "same", (2, 2, 28, 28)), ((7, 9, 4), 3, 2, "same", (1, 1, 4, 5)),
    ((8, 8, 1), 2, 4, "same", (0, 0, 2, 2)), ((28, 30, 1), 5, 2, "none", (0, 0, 12, 13))])
def test_zeros_and_places_are_tensorflows(shape, kernel, stride, padding, want):
    assert stencil(shape, kernel, stride, padding) == Stencil(*shape, kernel, stride, *want)


@pytest.mark.parametrize("kind", [LocallyConnected, Convolution])
@geometries
def test_a_layer_costs_what_its_arrays_hold(kind, case):
    layer = make(kind, case, "float32")
    got = cost(layer.stencil, case.channels, "float32", batch=3, shared=kind is Convolution)
    assert got.places * case.channels == layer.n_out
    assert (got.weights, got.biases) == (layer.W.size, layer.b.size)
    assert got.parameter_bytes == layer.W.nbytes + layer.b.nbytes
    h = np.zeros((3, layer.n_in), "float32")
    assert got.patch_bytes == reference.patches(h, layer.stencil).nbytes


@pytest.mark.parametrize("change, sentence", [
    ({"kernel": 5, "padding": "none"}, "kernel: wanted at most 4 in an image of 6 x 4, or"),
    ({"kernel": 0}, "kernel: wanted a positive integer; got 0"),
    ({"stride": 1.5}, "stride: wanted a positive integer; got 1.5"),
    ({"channels": -2}, "channels: wanted a positive integer; got -2"),
    ({"shape_in": (6, 4)}, r"shape: wanted rows, columns, channels; got \(6, 4\)"),
    ({"shape_in": (6, 0, 1)}, "columns: wanted a positive integer; got 0"),
    ({"padding": "valid"}, "padding: wanted one of same, none; got 'valid'"),
    ({"init": "he"}, "init: wanted one of glorot, orthogonal; got 'he'")])
@every_kind
def test_a_layer_that_cannot_be_is_refused_with_a_sentence(kind, change, sentence):
    given_ = dict(shape_in=(6, 4, 1), kernel=3, channels=2, stride=1, f="tanh", ops=reference,
                  dtype="float32", key=KEY)
    with pytest.raises(UserError, match=sentence):
        kind(**{**given_, **change})
