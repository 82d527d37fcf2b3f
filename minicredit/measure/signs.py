"""Do weights change sign?  Watched, not guessed from two ends: a weight may go and come back.

    changed         the sign is not the one at the start
    a flip          a change of sign between two looks
    an outer flip   from one side of a dead band |w| <= band to the other: not mere trembling at 0

A weight that is exactly 0 keeps its last sign, and one that starts at 0 gets its first.
"""
from typing import NamedTuple

import numpy as np

from minicredit.errors import UserError


class SignCount(NamedTuple):
    """One layer's weights since the watch began; shares are in 0..1.

    layer : int
    changed : share whose sign is not the first one
    changed_big, changed_small : the same, of weights whose |w| began above, or not above, the
        median
    flips : flips a weight, mean
    most_flips : those of the weight that has most
    outer_flips : outer flips a weight, mean
    ever : share of weights that ever flipped
    zero : share of weights that are exactly 0 now
    """

    layer: int
    changed: float
    changed_big: float
    changed_small: float
    flips: float
    most_flips: int
    outer_flips: float
    ever: float
    zero: float


class SignWatch:
    """Call `see` after every step, or every few: flips between two looks are missed.

    Parameters
    ----------
    rule : any rule of `minicredit.rules`, or a network
    mask : bool array (sizes[0],), optional
        Inputs that are ever on.  Weights from others never move and are left out of the counts.
    band : float
        Half the width of the dead band, in standard deviations of a layer's initial weights.
    """

    def __init__(self, rule, mask=None, band=0.1):
        self.net = net = getattr(rule, "net", rule)
        self.looks, self.layers = 0, [None]
        for i in range(1, net.L + 1):
            counted = slice(None) if mask is None or i > 1 else inputs(net.W[1].shape, mask)
            W = net.ops.to_numpy(net.W[i])[counted]
            self.layers.append(LayerSigns(W, counted, band))

    def see(self):
        """Look at the weights as they are now."""
        for i in range(1, self.net.L + 1):
            layer = self.layers[i]
            layer.see(self.net.ops.to_numpy(self.net.W[i])[layer.counted])
        self.looks += 1

    def report(self):
        """The counts so far; a list of SignCount for layers 1..L."""
        return [self.layers[i].report(i) for i in range(1, self.net.L + 1)]


class LayerSigns:
    """The signs of one array, since W; `counted` says which part of the layer's weights it is."""

    def __init__(self, W, counted, band):
        self.counted, self.band = counted, band * W.std()
        self.big = abs(W) > np.median(abs(W))
        self.start, self.now, self.signed = W < 0, W < 0, W != 0
        self.up, self.down = W > self.band, W < -self.band      # where it last was, of the two
        self.flips, self.outer = np.zeros(W.shape, np.int32), np.zeros(W.shape, np.int32)
        self.zero = 1 - self.signed.mean()

    def see(self, W):
        """Count what changed since the last look."""
        negative, signed = W < 0, W != 0
        if not self.signed.all():
            first = signed & ~self.signed
            self.start[first] = self.now[first] = negative[first]
            self.signed |= signed
        flipped = (negative != self.now) & signed
        self.flips += flipped
        self.now ^= flipped
        up, down = W > self.band, W < -self.band
        self.outer += (up & self.down) | (down & self.up)
        self.up, self.down = up | (self.up & ~down), down | (self.down & ~up)
        self.zero = 1 - signed.mean()

    def report(self, i):
        """The `SignCount` of layer i."""
        changed = self.now != self.start
        return SignCount(i, float(changed.mean()), share(changed, self.big),
                         share(changed, ~self.big), float(self.flips.mean()),
                         int(self.flips.max()), float(self.outer.mean()),
                         float((self.flips > 0).mean()), float(self.zero))


def share(a, where):
    """The share of True in a, of the places in `where`; NaN of none."""
    return float(a[where].mean()) if where.any() else float("nan")


def inputs(shape, mask):
    """The index of the weights (..., n_in, n_out) that come from inputs in the mask.

    Raises
    ------
    UserError
        If the layer's weights are not one row an input.
    """
    mask = np.asarray(mask, bool)
    if len(shape) < 2 or shape[-2] != len(mask):
        raise UserError(f"mask: wanted one entry an input and a dense first layer; got {len(mask)} "
                        f"entries and weights {tuple(shape)}")
    return ..., np.flatnonzero(mask), slice(None)


def inputs_ever_on(x):
    """Which inputs are not 0 in every example; (N, n) -> bool (n,)."""
    return (np.asarray(x) != 0).any(axis=0)
