"""Initial weights, as functions of a key.

    glorot      uniform(-r, r), r = sqrt(6 / (n_in + n_out))     (Glorot & Bengio 2010)
    orthogonal  the nearest orthogonal matrix of a uniform one   (Lee et al. 2015, their script)

Both are drawn on the host in float64 and then rounded, so every backend and dtype starts alike;
`host` is what draws, see `minicredit.kernels.host`.
"""
import numpy as np

from minicredit.kernels import reference


def glorot(n_in, n_out, key, host=reference):
    """Uniform in +-sqrt(6 / (n_in + n_out)); float64 (n_in, n_out)."""
    r = np.sqrt(6 / (n_in + n_out))
    return r * (2 * host.uniform((n_in, n_out), key, np.float64) - 1)


def orthogonal(n_in, n_out, key, host=reference):
    """Orthonormal rows or columns, whichever are fewer: singular values replaced by 1; float64."""
    U, _, Vt = np.linalg.svd(glorot(n_in, n_out, key, host), full_matrices=False)
    return U @ Vt


INITIAL = {"glorot": glorot, "orthogonal": orthogonal}
