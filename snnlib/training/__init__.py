r"""One training loop: backpropagation through time, optimizers and losses of the papers."""

from snnlib.training.checkpoint import CorruptCheckpoint
from snnlib.training.evaluation import evaluate
from snnlib.training.loop import fit
from snnlib.training.losses import (
    LOSSES,
    Loss,
    every_step,
    mean_output,
    rate_mse,
    spike_count,
)
from snnlib.training.metrics import Metrics, winner
from snnlib.training.run import History

__all__ = [
    "LOSSES",
    "CorruptCheckpoint",
    "History",
    "Loss",
    "Metrics",
    "evaluate",
    "every_step",
    "fit",
    "mean_output",
    "rate_mse",
    "spike_count",
    "winner",
]
