"""How well a network answers, and whether a rule pulls where backprop would.

    loss, error     what the network says about examples that nobody trains on
    angle           0: the same direction; 90: no information; 180: the opposite

An angle is never folded: folded to 0..90, an update that points exactly away looks perfect.
"""
from typing import NamedTuple

import numpy as np

from minicredit.data import Split
from minicredit.errors import UserError
from minicredit.network import forward
from minicredit.rules.backprop import Backprop

AT_ONCE = 500                   # images of a split that are looked at together


class Score(NamedTuple):
    """How well examples were answered.

    loss : mean over the examples, in nats for a classifier
    error : share of wrong answers, in percent
    error_top5 : share of examples whose class is not among the five best answers, in percent
    """

    loss: float
    error: float
    error_top5: float


class Spread(NamedTuple):
    """Mean and standard deviation over examples, in degrees."""

    mean: float
    sd: float


def evaluate(net, x, y, batch=1000):
    """Mean loss, and the share of wrong answers, in one pass; nothing changes.

    Parameters
    ----------
    net : Network
    x : array (N, sizes[0])
    y : int array (N,), or float (N, n) for a squared loss
    batch : int
        Examples in memory at a time.

    Returns
    -------
    Score; its error is NaN where y holds no classes

    Raises
    ------
    UserError
        If there are no examples.
    """
    return score(net, ((x[n:n + batch], y[n:n + batch]) for n in range(0, len(x), batch)))


def evaluate_split(net, split, batch=AT_ONCE):
    """The same of a split of a data set, whose pictures may be decoded as they are read."""
    if hasattr(net.ops, "kept") and isinstance(split, Split):       # it lies on the device
        return evaluate(net, *net.ops.kept(split), batch)
    return score(net, split.read([np.arange(n, min(n + batch, split.n))
                                  for n in range(0, split.n, batch)]))


def score(net, batches):
    """The `Score` of all examples in an iterable of (x, y)."""
    ops, seen, loss, wrong, beyond = net.ops, 0, 0.0, 0, 0
    for x, y in batches:
        if not len(y):                                      # every picture of it is damaged
            continue
        label = ops.to_numpy(y)
        h_L = forward(net, ops.asarray(x))[net.L]
        each, _ = net.loss(h_L, ops.asarray(y))
        loss += float(ops.to_numpy(each).sum(dtype=np.float64))
        seen += len(label)
        if label.ndim == 1:
            z = ops.to_numpy(net.output(h_L))
            wrong += int((z.argmax(axis=1) != label).sum())
            own = z[np.arange(len(z)), label][:, None]
            beyond += int(((z > own).sum(axis=1) >= 5).sum())
    if not seen:
        raise UserError("evaluate: wanted one example or more; got none")
    if label.ndim != 1:
        return Score(loss / seen, float("nan"), float("nan"))
    return Score(loss / seen, 100 * wrong / seen, 100 * beyond / seen)


def error_percent(net, x, y, batch=1000):
    """The share of wrong answers in percent; see `evaluate`."""
    return evaluate(net, x, y, batch).error


def mean_loss(net, x, y, batch=1000):
    """The mean loss of an example; see `evaluate`."""
    return evaluate(net, x, y, batch).loss


def angle(u, v):
    """The angle between two arrays, each taken as one long vector.

    2 atan2(|u' - v'|, |u' + v'|) of the unit vectors u', v' (Kahan 2006): the arc cosine of their
    product would lose every angle below a millionth of a degree.

    Parameters
    ----------
    u, v : arrays of the same size

    Returns
    -------
    float, degrees in 0..180; NaN if one of them is zero or not finite
    """
    u, v = (unit_rows(np.reshape(w, (1, -1)).astype(np.float64, copy=False)) for w in (u, v))
    return float(between(u, v)[0])


def angles(u, v):
    """The angle between each row of u and the same row of v; (N, n), (N, n) -> (N,) degrees."""
    return between(unit_rows(u), unit_rows(v))


def between(u, v):
    """The same of rows of length 1; the difference is gone before the sum, or both need memory."""
    apart = np.linalg.norm(u - v, axis=1)
    together = np.linalg.norm(u + v, axis=1)
    return np.degrees(2 * np.arctan2(apart, together))


def unit_rows(u):
    """Each row divided by its length, in float64; a row that has no direction becomes NaN."""
    u = u.astype(np.float64, copy=False)
    largest = abs(u).max(axis=1, keepdims=True, initial=0)
    u = u / np.where((largest > 0) & np.isfinite(largest), largest, np.nan)     # no under-, no
    u /= np.linalg.norm(u, axis=1, keepdims=True)                               # overflow of u^2
    return u


def angle_to_backprop(rule, x, y):
    """How far each layer's weight gradient is from backprop's, on the same batch.

    Parameters
    ----------
    rule : any rule of `minicredit.rules`
    x, y : one batch, as for `step`

    Returns
    -------
    list of float: degrees in 0..180 for layers 1..L; the first entry is layer 1
    """
    layers, to_numpy = rule.net.layers, rule.net.ops.to_numpy
    h, delta, true = both_signals(rule, x, y)
    return [angle(*(to_numpy(layers[i].gradient(h[i - 1], d[i])["W"]) for d in (delta, true)))
            for i in range(1, rule.net.L + 1)]


def angle_of_signals(rule, x, y):
    """How far delta[i] is from backprop's delta[i], example by example.

    Examples that hear nothing, from one of the two, have no angle and are left out.

    Returns
    -------
    list of Spread, in degrees, for layers 1..L; NaN where no example has an angle
    """
    to_numpy, spreads = rule.net.ops.to_numpy, []
    _, delta, true = both_signals(rule, x, y)
    for i in range(1, rule.net.L + 1):
        each = angles(*(by_example(to_numpy(d[i])) for d in (delta, true)))
        each = each[np.isfinite(each)]
        spreads.append(Spread(float(each.mean()), float(each.std())) if each.size else
                       Spread(float("nan"), float("nan")))
    return spreads


def both_signals(rule, x, y):
    """The activities, and delta from the rule and from backprop, for one batch."""
    h = forward(rule.net, x)
    return h, rule.feedback(h, y).delta, Backprop(rule.net).feedback(h, y).delta


def by_example(a):
    """One row an example: (N, n) as it is; (K, N, n), K networks side by side -> (N, K n)."""
    a = np.moveaxis(a, 1, 0) if a.ndim == 3 else a
    return a.reshape(len(a), -1)
