"""The operations of `kernels.reference` in Numba: the same names, the same signatures.

Nothing is here that NumPy does as fast: what is imported from the reference is that.
"""
import minicredit.kernels.cpu.compiling  # noqa: F401  tells of it
from minicredit.kernels.cpu.coherent import (influence, keep_signs, signed_dense,  # noqa: F401
                                             signed_grad, signed_pull_back, signed_slope,
                                             signed_times_slope)
from minicredit.kernels.cpu.convolution import (conv_dense, conv_grad,  # noqa: F401
                                                conv_pull_back, conv_transposed,
                                                conv_transposed_grad, conv_transposed_pull_back)
from minicredit.kernels.cpu.dense import (dense, dense_grad, difference, pull_back,  # noqa: F401
                                          times_slope, with_signs)
from minicredit.kernels.cpu.local import (local_dense, local_grad, local_pull_back,  # noqa: F401
                                          local_transposed, local_transposed_grad,
                                          local_transposed_pull_back)
from minicredit.kernels.cpu.losses import softmax, softmax_xent, squared_error  # noqa: F401
from minicredit.kernels.cpu.optimisers import (adam, leak, manhattan, momentum,  # noqa: F401
                                               rmsprop, rmsprop_centred, sgd)
from minicredit.kernels.cpu.randomness import (Host, noisy, normal, permutation,  # noqa: F401
                                               philox, uniform)
from minicredit.kernels.reference import (asarray, by_class, class_sums, join,  # noqa: F401
                                          network_sum, take, to_numpy)
from minicredit.kernels.cpu.recorder import Recorder  # noqa: F401  which has all of the above

host = Host()
