"""Loss, accuracy and output rate of a network as it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from snnlib.data.encoding import ENCODINGS, Encoding, currents
from snnlib.dialects.running import Time
from snnlib.training import metrics
from snnlib.training.checks import check_data, check_positive
from snnlib.training.losses import Loss, resolve
from snnlib.training.metrics import Accuracy, Metrics, Totals
from snnlib.training.sources import Batches, Data, Samples, as_data
from snnlib.training.stepping import Output, Stepper

__all__ = ["batches", "check_encoding", "evaluate", "mode"]


def evaluate(
    network: nn.Module,
    data: Data,
    *,
    steps: int = 3,
    batch_size: int = 1000,
    loss: str | Loss = "spike_count",
    encoding: str | Encoding = "constant",
    accuracy: Accuracy = "sum",
    seed: int = 0,
    time: Time = "auto",
    output: Output | None = None,
) -> Metrics:
    """Loss, accuracy and output rate of a network in evaluation mode.

    Args:
        network: As for `fit`.
        data: As for `fit`.
        steps: Time steps T of encoded inputs; a sequence has its own.
        batch_size: Samples per batch.
        loss: A name in `LOSSES` or a function of output and targets.
        encoding: How a sample becomes currents, a name in `snnlib.data.encoding.ENCODINGS` or a
            function like those.
        accuracy: Which class counts as the answer: "sum" is the one with the largest output
            summed over time, "mode" the one that is largest at most steps.
        seed: Seed of a random encoding.
        time: Who loops over time, see `fit`.
        output: Picks what counts out of what the network returns, see `fit`.

    Returns:
        The means over all samples.

    Raises:
        ValueError: If the data are empty, not finite or of an unknown kind, an argument is outside
            its range, or the network cannot be stepped, see `fit`.

    Example:
        A network that never fires guesses the first class.

        >>> import math
        >>> from snnlib.data import Dataset
        >>> data = Dataset("silence", "test", torch.zeros(4, 2), torch.tensor([0, 0, 1, 1]), 2)
        >>> metrics = evaluate(nn.Identity(), data)
        >>> abs(metrics.loss - math.log(2)) < 1e-6, metrics.accuracy, metrics.rate
        (True, 0.5, 0.0)
    """
    function = resolve(loss)
    check_positive(steps=steps, batch_size=batch_size)
    check_encoding(encoding)
    way = metrics.check(accuracy)
    samples = as_data("data", data)
    check_data("data", samples)
    step = Stepper(network, time=time, output=output)
    generator = torch.Generator().manual_seed(seed)
    device = next((p.device for p in network.parameters()), where(samples))
    totals = Totals()
    with mode(network, training=False), torch.no_grad():
        for inputs, targets in batches(samples, batch_size, device):
            current = currents(
                inputs,
                sequence=samples.sequence,
                steps=steps,
                encoding=encoding,
                generator=generator,
            )
            made = step(current, targets)
            right = metrics.correct(made, targets, way)
            values = measured(function(made, targets), right, made)
            totals.add(len(targets), *values.tolist())
    return totals.means()


def measured(loss: Tensor, right: Tensor, output: Tensor, *others: Tensor) -> Tensor:
    """Numbers of one batch in one tensor: the device is waited for once."""
    values = (loss, right, output.mean(), *others)
    wide = torch.float32 if loss.device.type == "mps" else torch.float64  # keeps all their digits
    return torch.stack([value.detach().to(loss.device, wide) for value in values])


def where(data: Samples) -> torch.device:
    """Where the samples are."""
    return torch.device("cpu") if isinstance(data, Batches) else data.inputs.device


def batches(
    data: Samples,
    batch_size: int,
    device: torch.device,
    generator: torch.Generator | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Go once through the data, on a device.

    Data on the host are copied batch by batch through pinned memory, so that the copy of one batch
    does not wait for the work on the one before.
    """
    pin = device.type == "cuda" and where(data).type == "cpu"
    for batch in data.batches(batch_size, generator):
        inputs, targets = (part.pin_memory() if pin else part for part in batch)
        yield inputs.to(device, non_blocking=pin), targets.to(device, non_blocking=pin)


@contextmanager
def mode(network: nn.Module, *, training: bool) -> Iterator[None]:
    """Put a network into a mode and back, module by module."""
    before = [(module, module.training) for module in network.modules()]
    network.train(training)
    try:
        yield
    finally:
        for module, was in before:
            module.training = was


def check_encoding(encoding: Any) -> None:
    """Refuse an unknown encoding.

    Raises:
        ValueError: If it is neither a function nor a known name.
    """
    if not callable(encoding) and encoding not in ENCODINGS:
        known = ", ".join(ENCODINGS)
        raise ValueError(f"encoding must be a function or one of {known}, got {encoding!r}")
