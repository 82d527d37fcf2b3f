"""Layers: three verbs and a mirror.

    forward(h)                    what the layer says
    pull_back(delta[, weights])   what an error at its pre-activation means at its input
    gradient(h, delta)            what its own parameters should do about it
    mirror(...)                   the layer of the reversed connectivity: the shape of its inverse

and `times_slope(e, h, below)`, which turns an error at the layer's output h into delta, the error
at its pre-activation; below is its input.  A rule never asks which kind of layer it has.

Activities are flat, (N, n): a layer of images knows its own rows, columns and channels (in that
order), so nothing has to be flattened between layers.
"""
from minicredit.layers.convolution import Convolution, ConvolutionTranspose
from minicredit.layers.dense import Dense
from minicredit.layers.locally_connected import LocallyConnected, LocallyConnectedTranspose
from minicredit.layers.residual import Residual

__all__ = ["Convolution", "ConvolutionTranspose", "Dense", "LocallyConnected",
           "LocallyConnectedTranspose", "Residual"]
