"""Values and names of nodes, and what of ours NIR has no word for."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = [
    "BIAS",
    "DELAY",
    "DT",
    "RESET",
    "START",
    "STEP",
    "array",
    "check_positive",
    "free",
    "plain",
    "tensor",
]

# Keys of what only this package understands in the metadata of a node or graph.
RESET, DELAY, BIAS, DT, STEP, START = (
    f"snnlib_{name}" for name in ("reset", "delay", "bias", "dt", "step", "start")
)


def plain(tensor: Tensor) -> NDArray[Any]:
    """A copy of a tensor as an array; HDF5 has no bfloat16."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor.clone()).numpy()


def array(value: Any) -> NDArray[Any]:
    """A value of a node as an array; some libraries leave tensors in their graphs."""
    return plain(value) if isinstance(value, Tensor) else np.array(value)


def tensor(value: Any) -> Tensor:
    """A value of a node as a tensor."""
    return torch.from_numpy(array(value))


def free(name: str, *taken: Any) -> str:
    """The name, made longer until nobody has it."""
    used = {"input", "output"}.union(*(set(t) if not isinstance(t, str) else {t} for t in taken))
    while name in used:
        name += "_"
    return name


def check_positive(name: str, value: Any) -> None:
    """Refuse what is no positive number."""
    try:
        good = bool(0 < float(value) < np.inf)
    except (TypeError, ValueError):
        good = False
    if not good:
        raise ValueError(f"{name} must be a number > 0 and finite, got {value!r}")
