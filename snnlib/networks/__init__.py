r"""The networks of the papers: feed-forward ones, stacks of recurrent layers, a residual network.

Micheli et al., section V: currents in, spikes out. Chang et al.: batch norm and pooling.
Herranz-Celotti & Rouat, section 2.5: recurrent layers with a linear readout at every step. Zheng et
al. and Kook et al.: the spiking ResNet-19.

Tensors over time are time-major, [T, batch, features...]. Without feedback between layers all T
steps of a layer are one matrix product over T·batch rows, then one fused neuron call over time.
"""

from snnlib.networks.convnet import convnet
from snnlib.networks.feed_forward import FeedForward, constant
from snnlib.networks.fused import fuse
from snnlib.networks.mlp import mlp
from snnlib.networks.recurrent import recurrent
from snnlib.networks.residual import SpatialMean, residual
from snnlib.networks.residual_block import ResidualBlock
from snnlib.networks.tdbn import TdBN
from snnlib.networks.time_norm import TimeNorm, time_normed
from snnlib.networks.vgg import MaxPool, vgg

__all__ = [
    "FeedForward",
    "MaxPool",
    "ResidualBlock",
    "SpatialMean",
    "TdBN",
    "TimeNorm",
    "constant",
    "convnet",
    "fuse",
    "mlp",
    "recurrent",
    "residual",
    "time_normed",
    "vgg",
]
