"""Where the samples come from: our data sets, tensors, torch's data sets and loaders."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sized
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset
from torch.utils.data import Dataset as TorchDataset

from snnlib.data import Dataset

__all__ = ["Batches", "Data", "Samples", "as_data", "count"]

Data: TypeAlias = "Dataset | tuple[Tensor, Tensor] | TorchDataset[Any] | DataLoader[Any]"


class Batches:
    """The batches of a loader, in its own size and order.

    Args:
        loader: A loader of pairs (inputs, targets).

    Raises:
        ValueError: If it does not know its length.
    """

    sequence = False

    def __init__(self, loader: DataLoader[Any]) -> None:
        if isinstance(loader.dataset, IterableDataset) or not isinstance(loader.dataset, Sized):
            raise ValueError("data must have a length: a DataLoader of a map-style data set")
        self.loader = loader

    def __len__(self) -> int:
        return len(self.loader.dataset)  # type: ignore[arg-type]

    def batches(
        self, batch_size: int, generator: torch.Generator | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Go once through the data.

        Args:
            batch_size: Not used: the loader has its own.
            generator: Likewise.

        Returns:
            An iterator over (inputs, targets).

        Raises:
            ValueError: If a batch is no such pair, or not finite.
        """
        for batch in self.loader:
            yield _pair(batch)

    def to(self, device: str | torch.device) -> Batches:
        """Itself: each batch goes to a device when it is used."""
        return self


Samples: TypeAlias = "Dataset | Batches"


def as_data(name: str, data: Any) -> Samples:
    """Samples in one of two forms, from all that people have.

    Args:
        name: What an error calls it.
        data: A `snnlib.data.Dataset`, a pair of tensors (inputs, targets), a map-style data set of
            torch, which is read into memory once, or a DataLoader.

    Returns:
        A `Dataset`, or the batches of a loader.

    Raises:
        ValueError: If it is none of these.

    Example:
        >>> len(as_data("data", (torch.zeros(5, 3), torch.zeros(5, dtype=torch.int64))))
        5
    """
    if isinstance(data, (Dataset, Batches)):
        return data
    if isinstance(data, DataLoader):
        return Batches(data)
    if isinstance(data, (tuple, list)) and len(data) == 2 and isinstance(data[0], Tensor):
        return _dataset(*_pair(data))
    map_style = isinstance(data, TorchDataset) and not isinstance(data, IterableDataset)
    if map_style and isinstance(data, Sized) and len(data):
        rows = [data[k] for k in range(len(data))]  # type: ignore[index]
        if all(isinstance(row, (tuple, list)) and len(row) == 2 for row in rows):
            inputs = torch.stack([torch.as_tensor(x) for x, _ in rows])
            return _dataset(inputs, torch.stack([torch.as_tensor(y) for _, y in rows]))
    raise ValueError(
        f"{name} must be a snnlib.data.Dataset, a pair of tensors (inputs, targets), a map-style "
        f"torch Dataset or a DataLoader of such pairs, got {type(data).__name__}"
    )


def count(data: Samples, batch_size: int) -> int:
    """Batches in one pass."""
    if isinstance(data, Batches):
        return len(data.loader)
    return math.ceil(len(data) / batch_size)


def _dataset(inputs: Tensor, targets: Tensor) -> Dataset:
    if targets.is_floating_point() or targets.dtype == torch.bool:
        raise ValueError(f"targets must be classes as integers, got {targets.dtype}")
    sequence = targets.dim() > 1
    classes = int(targets.max()) + 1 if targets.numel() else 0
    return Dataset("tensors", "train", inputs, targets.long(), classes, sequence=sequence)


def _pair(batch: Any) -> tuple[Tensor, Tensor]:
    """Inputs and targets of a batch.

    Raises:
        ValueError: If there are no such two tensors, or a value is not finite.
    """
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        what = f"{len(batch)} parts" if isinstance(batch, (tuple, list)) else type(batch).__name__
        raise ValueError(f"data must give pairs (inputs, targets), got {what}")
    inputs, targets = (torch.as_tensor(part) for part in batch)
    if inputs.is_floating_point() and not bool(torch.isfinite(inputs).all()):
        raise ValueError("data must be finite, got a batch that is not")
    return inputs, targets
