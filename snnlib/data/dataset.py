"""What a data set is: standardized inputs, targets, and batches in a stated order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Dataset:
    """Inputs with their classes, all in memory.

    Attributes:
        name: Name that `snnlib.data.load` knows.
        split: "train" or "test".
        inputs: float32, [samples, features...]; images are [samples, channels, height, width].
            A sequence has a time axis, [samples, T, features...], and may hold spikes as bool or
            uint8, or tokens as int64, [samples, T]; `snnlib.data.currents` makes them time first.
        targets: int64, [samples], in 0, ..., classes - 1; or [samples, T], one for every step.
        classes: Number of classes.
        mean: Mean over all pixels of the training split, in the unit of the raw pixels.
        std: Standard deviation likewise; raw pixel = mean + std · input. Inputs that were not
            standardized have mean 0 and std 1 here.
        sequence: Whether the inputs have a time axis of their own.
        labels: Names of the classes (for text its words), where the data set has them.
    """

    name: str
    split: str
    inputs: Tensor
    targets: Tensor
    classes: int
    mean: float = 0.0
    std: float = 1.0
    sequence: bool = False
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse inputs and targets that do not belong together."""
        if len(self.inputs) != len(self.targets):
            raise ValueError(
                f"targets must have one entry per input, got {len(self.inputs)} inputs and "
                f"{len(self.targets)} targets"
            )
        if self.sequence and self.inputs.dim() < 2:
            raise ValueError(
                "inputs of a sequence must be [samples, T, features...], got "
                f"{tuple(self.inputs.shape)}"
            )
        if self.targets.dim() > 1 and (
            not self.sequence or self.targets.shape != self.inputs.shape[:2]
        ):
            raise ValueError(
                "targets must be [samples], or [samples, T] for a sequence of T steps, got "
                f"{tuple(self.targets.shape)} for inputs {tuple(self.inputs.shape)}"
            )

    def __len__(self) -> int:
        return len(self.targets)

    def __repr__(self) -> str:
        shape = "×".join(map(str, self.inputs.shape[1:]))
        return f"Dataset({self.name!r}, {self.split!r}, {len(self)} of {shape})"

    def batches(
        self, batch_size: int, generator: torch.Generator | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Go once through the data in batches; the last one may be smaller.

        Args:
            batch_size: Samples per batch, >= 1.
            generator: Shuffles the samples; None keeps their order.

        Returns:
            An iterator over (inputs, targets), both as they are stored: samples first.

        Raises:
            ValueError: If `batch_size` is not a positive integer.

        Example:
            >>> data = Dataset("count", "train", torch.arange(5.0), torch.zeros(5).long(), 1)
            >>> [inputs.tolist() for inputs, _ in data.batches(2)]
            [[0.0, 1.0], [2.0, 3.0], [4.0]]
            >>> shuffled = torch.cat([x for x, _ in data.batches(2, torch.Generator())])
            >>> sorted(shuffled.tolist()) == data.inputs.tolist()
            True
        """
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(f"batch_size must be a positive integer, got {batch_size!r}")
        # Not a generator function itself: the check and the permutation happen at the call.
        if generator is None:
            return zip(self.inputs.split(batch_size), self.targets.split(batch_size), strict=True)
        order = torch.randperm(len(self), generator=generator, device=generator.device)
        parts = order.to(self.targets.device).split(batch_size)
        return ((self.inputs[part], self.targets[part]) for part in parts)

    def take(self, count: int) -> Dataset:
        """The first samples only.

        Args:
            count: How many, between 1 and the number of samples.

        Raises:
            ValueError: If `count` is outside that range.
        """
        if not 1 <= count <= len(self):
            raise ValueError(f"count must be between 1 and {len(self)}, got {count!r}")
        return replace(self, inputs=self.inputs[:count], targets=self.targets[:count])

    def to(self, device: str | torch.device) -> Dataset:
        """The same data on another device."""
        return replace(self, inputs=self.inputs.to(device), targets=self.targets.to(device))
