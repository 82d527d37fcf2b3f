"""The operations of `kernels.reference` on a CUDA device: the same names, in the same order.

    Operations(device)      device: `gpu.Device`, through CuPy, or `emulator.Device`, on a CPU

Each is a function of its family's module (`dense.dense(device, h, W, b, f)`), bound here to the
device.  They do the same five things, one after the other: unpack the shapes, `require` what came,
allocate what goes out, choose blocks, launch.
"""
from functools import partial

from minicredit.kernels import reference
from minicredit.kernels.cuda import (coherent, dense, graph, images, losses, optimisers, pointwise,
                                     randomness)

OPERATIONS = [
    dense.dense, pointwise.times_slope, dense.pull_back, dense.dense_grad, pointwise.difference,
    pointwise.join, pointwise.with_signs,
    coherent.signed_dense, coherent.signed_slope, coherent.signed_times_slope,
    coherent.signed_pull_back, coherent.signed_grad, coherent.influence, coherent.class_sums,
    coherent.by_class, coherent.network_sum, coherent.keep_signs,
    images.local_dense, images.local_pull_back, images.local_grad, images.local_transposed,
    images.local_transposed_pull_back, images.local_transposed_grad, images.conv_dense,
    images.conv_pull_back, images.conv_grad, images.conv_transposed,
    images.conv_transposed_pull_back, images.conv_transposed_grad,
    losses.softmax, losses.softmax_xent, losses.squared_error,
    randomness.philox, randomness.uniform, randomness.normal, randomness.noisy,
    randomness.permutation,
    optimisers.sgd, optimisers.momentum, optimisers.manhattan, optimisers.rmsprop,
    optimisers.rmsprop_centred, optimisers.adam, optimisers.leak,
]


class Operations:
    """The backend on one device.

    Parameters
    ----------
    device : object
        Allocates, copies and launches.
    """

    def __init__(self, device):
        self.device, self.names = device, [operation.__name__ for operation in OPERATIONS]
        for operation in OPERATIONS:
            setattr(self, operation.__name__, partial(operation, device))
        self.asarray, self.to_numpy = device.asarray, device.to_numpy
        self.take = reference.take

    def Recorder(self):
        """A backend on the same device that records steps and replays them; see `graph`."""
        return graph.Recorder(self)
