"""Networks by name, and as they are written: "784-256-256-10", or "784-5x256-10" for five alike.

    mnist-fc    784-5x256-10     (Bartunov et al. 2018, table 3)
    cifar-fc    3072-3x1024-10   (the same)
    lee         784-7x240-10     (Lee et al. 2015)
"""
import re

from minicredit.errors import UserError

PRESETS = {"mnist-fc": "784-5x256-10", "cifar-fc": "3072-3x1024-10", "lee": "784-7x240-10"}
DEFAULT_NET = {"digits": "64-64-64-10", "mnist": "784-256-256-10",
               "fashion-mnist": "784-256-256-10", "cifar10": "cifar-fc"}
MOST_WEIGHTS = 10**9            # 4 GB in float32, before any optimiser state


def sizes_of(text):
    """The sizes (n_0, ..., n_L) that a preset's name or a text like "64-2x32-10" stands for.

    Raises
    ------
    UserError
        If it is neither.
    """
    sizes = []
    for part in PRESETS.get(text, text).split("-"):
        match = re.fullmatch(r"(?:([1-9]\d{0,2})x)?([1-9]\d{0,6})", part)
        if not match:
            raise UserError(f"--net: wanted sizes like 64-32-10, 784-5x256-10, or one of "
                            f"{', '.join(PRESETS)}; got {text!r}")
        sizes += [int(match[2])] * int(match[1] or 1)
    if len(sizes) < 2:
        raise UserError(f"--net: wanted at least two sizes, inputs and outputs; got {text!r}")
    weights = sum(n * m for n, m in zip(sizes, sizes[1:]))
    if weights > MOST_WEIGHTS:
        raise UserError(f"--net: wanted at most {MOST_WEIGHTS:,} weights; {text} has {weights:,}")
    return tuple(sizes)
