"""Networks as they are written, and by name.

    784-256-256-10              input, then one dense layer after the other
    784-5x256-10                five alike
    64-32-6xres32-10            six residual layers of 32
    28x28x1-lc3x32s2-1024-10    an image of rows x columns x channels, then a locally connected
                                layer: kernel 3 x 3, 32 channels, stride 2, zero padding "same"
    28x28x1-conv3x32s2-1024-10  the same with shared weights

The presets are the networks of Bartunov et al. 2018, table 3, and of Lee et al. 2015; each -conv is
the -lc one with shared weights.  For CIFAR-10's third layer Bartunov et al. print a kernel and
channels but no stride.  Ours is 1: where their stride is not 1 they print it, in the same table,
and a layer that halves 8 x 8 to 4 x 4 would leave the 1024 units above a quarter of the inputs.
Write the network out, with s2, for the other reading.  {S} is the image's side, {K} the classes.
"""
import re
from typing import NamedTuple

from minicredit.errors import UserError
from minicredit.kernels import load
from minicredit.keys import WEIGHTS
from minicredit.layers import Convolution, Dense, LocallyConnected, Residual
from minicredit.network import Network, checked

LC = {
    "mnist-lc": "28x28x1-lc3x32s2-lc3x64s2-1024-10",
    "cifar-lc": "32x32x3-lc5x64s2-lc5x128s2-lc3x256s1-1024-10",
    "imagenet-lc": "{S}x{S}x3-lc9x48s4-lc3x48s2-lc5x96s1-lc3x96s2-lc3x192s1-lc3x192s2-lc3x384s1"
                   "-{K}",
}
PRESETS = {
    "mnist-fc": "784-5x256-10", "cifar-fc": "3072-3x1024-10", "lee": "784-7x240-10", **LC,
    **{name.replace("-lc", "-conv"): text.replace("-lc", "-conv") for name, text in LC.items()},
}
DEFAULT_NET = {"digits": "64-64-64-10", "mnist": "784-256-256-10",
               "fashion-mnist": "784-256-256-10", "cifar10": "cifar-fc"}
MOST_WEIGHTS = 10**9            # 4 GB in float32, before any optimiser state
INPUT = re.compile(r"([1-9]\d{0,6})(?:x([1-9]\d{0,6})x([1-9]\d{0,6}))?")
FLAT = re.compile(r"(?:([1-9]\d{0,2})x)?(res)?([1-9]\d{0,6})")
IMAGE = re.compile(r"(lc|conv)([1-9]\d?)x([1-9]\d{0,4})s([1-9]\d?)")


class Spec(NamedTuple):
    """One layer: kind "dense", "res", "lc" or "conv"; n units or channels; kernel and stride."""

    kind: str
    n: int
    kernel: int = 0
    stride: int = 0


def written(text):
    """The shape of the input and the layers that a text or a preset's name stands for.

    Returns
    -------
    shape : (n,) or (rows, columns, channels)
    specs : list of Spec

    Raises
    ------
    UserError
        If it is neither.
    """
    first, *rest = PRESETS.get(text, text).split("-")
    match, specs = INPUT.fullmatch(first), []
    shape = tuple(int(n) for n in match.groups() if n) if match else None
    for part in rest if match else [""]:
        flat, image = FLAT.fullmatch(part), IMAGE.fullmatch(part)
        if flat:
            specs += [Spec(flat[2] or "dense", int(flat[3]))] * int(flat[1] or 1)
        elif image and len(shape) == 3 and all(spec.kind in ("lc", "conv") for spec in specs):
            specs.append(Spec(image[1], int(image[3]), int(image[2]), int(image[4])))
        else:
            specs = []
            break
    if not specs or specs[-1].kind != "dense":
        raise UserError("--net: wanted sizes like 64-32-10, 784-5x256-10, 28x28x1-lc3x32s2-1024-10 "
                        f"(a dense layer last), or one of {', '.join(PRESETS)}; got {text!r}")
    return shape, specs


def layers_of(text, f, backend, dtype, init, seed):
    """The layers of a network that is written so; see `minicredit.network.create`."""
    shape, specs = written(text)
    ops, n, layers = load(backend), product(shape), []
    for i, spec in enumerate(specs, 1):
        common = (f if i < len(specs) else "linear", ops, dtype, (seed, WEIGHTS, i, 0), init)
        if spec.kind in ("lc", "conv"):
            kind = LocallyConnected if spec.kind == "lc" else Convolution
            layers.append(kind(shape, spec.kernel, spec.n, spec.stride, *common))
            shape = layers[-1].shape_out
        else:
            kind = Dense if spec.kind == "dense" else Residual
            layers.append(kind(n, spec.n, *common))
        n = layers[-1].n_out
    return layers


def make(text, f="tanh", backend="numpy", dtype="float32", init="glorot", loss="cross-entropy",
         seed=0):
    """The network that a text or a preset's name stands for.

    Parameters
    ----------
    text : str
        See this module.
    f, backend, dtype, init, loss, seed
        As for `minicredit.create`, which makes the fully connected ones from their sizes.

    Raises
    ------
    UserError
    """
    checked(f, dtype, init)
    too_many(text)
    return Network(layers_of(text, f, backend, dtype, init, seed), load(backend), loss)


def sizes_of(text):
    """The flat sizes (n_0, ..., n_L) of a network that is written so."""
    shape, specs = written(text)
    sizes = [product(shape)]
    for spec in specs:
        if spec.kind in ("lc", "conv"):
            shape = *(-(-side // spec.stride) for side in shape[:2]), spec.n
            sizes.append(product(shape))
        else:
            sizes.append(spec.n)
    return tuple(sizes)


def too_many(text):
    """Refuse a network of more weights than any machine we know would hold.

    Raises
    ------
    UserError
    """
    shape, specs = written(text)
    weights, sizes = 0, sizes_of(text)
    for i, spec in enumerate(specs, 1):
        if spec.kind in ("lc", "conv"):
            places = sizes[i] // spec.n if spec.kind == "lc" else 1
            channels = specs[i - 2].n if i > 1 else shape[2]
            weights += places * spec.kernel**2 * channels * spec.n
        else:
            projects = spec.kind == "res" and sizes[i - 1] != sizes[i]
            weights += sizes[i - 1] * sizes[i] * (1 + projects)
    if weights > MOST_WEIGHTS:
        raise UserError(f"--net: wanted at most {MOST_WEIGHTS:,} weights; {text} has {weights:,}")


def product(shape):
    """The number of entries of an array of this shape."""
    n = 1
    for side in shape:
        n *= side
    return n
