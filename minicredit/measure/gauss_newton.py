"""The angle to the damped Gauss-Newton update, towards which target propagation leans.

For one layer, with J the slope of all outputs in its parameters and e = dloss/dz, the step that

    minimises   mean over examples of |J dw + e|^2  +  damping |dw|^2

    dw = -J^T (J J^T + N damping)^-1 e               over the N K rows of a batch

As damping grows, dw turns into the gradient; as it falls, into the least-squares step
(Meulemans et al. 2020, who like us put the identity in the place of the loss's curvature).
"""
import numpy as np

from minicredit.errors import UserError
from minicredit.measure.angles import angle
from minicredit.measure.slopes import logit_slopes
from minicredit.network import forward

LIMIT_BYTES = 2**29


def angle_to_gauss_newton(rule, x, y, damping=1e-3, limit_bytes=LIMIT_BYTES):
    """How far each layer's gradient, W and b together, points from the Gauss-Newton step.

    Parameters
    ----------
    rule : any rule of `minicredit.rules`
    x, y : one batch, as for `step`
    damping : float
        In units of a squared slope of an output in a parameter.
    limit_bytes : int

    Returns
    -------
    list of float: degrees in 0..180 for layers 1..L

    Raises
    ------
    UserError
        See `gauss_newton`.
    """
    net, steps = rule.net, gauss_newton(rule.net, x, y, damping, limit_bytes)
    h = forward(net, x)
    delta = rule.feedback(h, y).delta
    return [angle(flat(net, i, h[i - 1], delta[i]), -steps[i]) for i in range(1, net.L + 1)]


def gauss_newton(net, x, y, damping=1e-3, limit_bytes=LIMIT_BYTES):
    """The damped Gauss-Newton step of each layer, the others held still; changes nothing.

    Parameters
    ----------
    net : Network
    x, y : one batch
    damping : float, above 0
    limit_bytes : int
        The most that one layer's Jacobian, its product and their copies may take.

    Returns
    -------
    list; steps[i] (n_parameters of layer i,) float64: every parameter of the layer, one long vector

    Raises
    ------
    UserError
        If the damping is not positive, or the Jacobian would need more than `limit_bytes`.
    """
    if not damping > 0:
        raise UserError(f"damping: wanted a number above 0; got {damping}")
    h = forward(net, x)
    refuse_large(net, len(x) * net.output(h[net.L]).shape[1], limit_bytes)
    slopes, N = logit_slopes(net, h), len(x)
    e = getattr(net, "scalar_loss", net.loss)(net.output(h[net.L]), y)[1]       # dloss/dz (N, K)
    e = net.ops.to_numpy(e).astype(np.float64).T.reshape(-1)                    # class by class
    steps = [None]
    for i in range(1, net.L + 1):
        J = jacobian(net, i, h, slopes[i])
        JJ = J @ J.T
        JJ[np.diag_indices_from(JJ)] += N * damping
        steps.append(-J.T @ np.linalg.solve(JJ, e))
    return steps


def refuse_large(net, rows, limit_bytes):
    """Say what it would take, before it is taken."""
    n = max(sum(a.size for a in layer.parameters.values()) for layer in net.layers[1:])
    need = 8 * rows * (n + 2 * rows)
    if need > limit_bytes:
        raise UserError(f"gauss_newton: {rows} outputs by {n} parameters need {need} bytes, the "
                        f"limit is {limit_bytes}; take fewer examples or a smaller network")


def jacobian(net, i, h, slopes):
    """dz/d(parameters of layer i); float64 (K N, n), class by class, each example by itself."""
    rows, one = [], each_alone(h[i - 1], len(h[0]))
    for e in slopes:
        delta = net.layers[i].times_slope(net.ops.asarray(e), h[i], h[i - 1])
        rows += [flat(net, i, *pair) for pair in zip(one, each_alone(delta, len(h[0])))]
    return np.array(rows)


def each_alone(a, N):
    """The N examples of (N, n) or (K, N, n), as N batches of one."""
    return [a[..., n:n + 1, :] for n in range(N)]


def flat(net, i, h, delta):
    """Layer i's gradient, every parameter, as one float64 vector; its input is h."""
    gradient = net.layers[i].gradient(h, delta)
    return np.concatenate([np.ravel(net.ops.to_numpy(g)) for g in gradient.values()]).astype(float)
