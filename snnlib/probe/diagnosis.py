r"""What ails a spiking network, and which call mends it.

`diagnose` runs a network once forward and once backward, measures every spiking layer, puts the
mean-field prediction beside it and says in one sentence per illness what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from snnlib._progress import check_progress, shown, stage
from snnlib.dialects.declaring import Reader, declared
from snnlib.dialects.running import Time, resolve_time
from snnlib.init.pairing import pair
from snnlib.init.recommended import learning
from snnlib.probe.backward import gradients
from snnlib.probe.capture import Entry, observe
from snnlib.probe.constants import unstable_buffers
from snnlib.probe.extinction import extinctions
from snnlib.probe.facts import Finding
from snnlib.probe.illnesses import findings
from snnlib.probe.likeness import samples_first
from snnlib.probe.memory import remembered
from snnlib.probe.notes import learned, notes_on
from snnlib.probe.prediction import Predictions, predict
from snnlib.probe.remedies import sparing
from snnlib.probe.result import Diagnosis
from snnlib.probe.rows import facts, row
from snnlib.probe.statistics import statistics
from snnlib.probe.tally import Tally

__all__ = ["diagnose"]


def diagnose(
    model: nn.Module,
    batch: Tensor | tuple[Any, ...],
    *,
    time: Time = "auto",
    loss: Callable[[Any], Tensor] | None = None,
    gradient: bool = True,
    networks: int = 8,
    seed: int = 0,
    neurons: Mapping[type[nn.Module], Reader] | None = None,
    progress: bool = True,
) -> Diagnosis:
    r"""Measure every spiking layer of a model, predict it, and say what is wrong.

    The prediction starts from the covariance over time of the currents of the first layer that
    weights drive, as measured, and follows the weights' gains G = n·E[w²] and biases from there:

    .. math:: C_{l+1}(s, t) = G\,E[x_s x_t] + \mathrm{Var}[b]

    at infinite width (`snnlib.meanfield.covariance_map`), with the spread over networks of this
    width from `snnlib.meanfield.network_law`. The model and torch's random state are as before.

    Args:
        model: Any module with spiking layers of `snnlib.neurons`, snnTorch, SpikingJelly or Norse.
        batch: Its input, [T, batch, features...], or a tuple of positional arguments.
        time: Who loops over time, see `snnlib.dialects.running.run`.
        loss: Scalar function of the model's output for the gradient; None weights the output with
            independent standard normal numbers.
        gradient: Whether to run the backward pass.
        networks: How many networks are drawn for the spread; 0 leaves it out.
        seed: Seed of all random numbers.
        neurons: What neurons of your own are, from their class to a reader, see
            `snnlib.dialects.declare`, which says it once for all.
        progress: Whether a diagnosis that takes longer than some seconds says on the standard
            error what it is doing.

    Returns:
        A `Diagnosis`.

    Raises:
        ValueError: If no spiking layer runs, it is not clear who loops over time, or the loss is
            not a scalar.

    Source:
        The critical gain, the maps and the finite-width law are derived in the book.

    Example:
        Torch's default weights, G = 1/3, cannot keep a deep network of threshold 1 alive:

        >>> from snnlib.networks import mlp
        >>> seeded = torch.Generator().manual_seed(0)
        >>> network = mlp([100] * 8, init=None, generator=seeded)
        >>> found = diagnose(network, torch.randn(4, 8, 100, generator=seeded))
        >>> found.findings[0].kind, found.findings[0].layer
        ('dead', 'lif2')
    """
    check_progress(progress)
    if loss is not None and not callable(loss):
        raise ValueError(
            f"loss must be a function of the model's output that returns a scalar, got {loss!r}"
        )
    network = getattr(model, "_orig_mod", model)
    with declared(neurons), shown("diagnose", progress):
        return _diagnosis(network, batch, time, loss, gradient, networks, seed)


def _diagnosis(
    network: nn.Module,
    batch: Tensor | tuple[Any, ...],
    time: Time,
    loss: Callable[[Any], Tensor] | None,
    gradient: bool,
    networks: int,
    seed: int,
) -> Diagnosis:
    time = resolve_time(network, batch, time)
    notes: list[str] = []
    stage("following values from weights to neurons")
    try:
        connections = pair(network, batch, time=time, estimating=False)
    except ValueError as error:
        connections = []
        notes.append(f"No prediction: {error}")
    tally = Tally(connections)
    stage("the forward pass")
    with torch.no_grad():
        entries = observe(network, batch, time=time, visit=tally)
    stage("the backward pass")
    back = gradients(network, batch, loss, seed, time) if gradient else None
    found = statistics(entries, tally.rows, back.variance if back else None)
    generator = torch.Generator().manual_seed(seed)
    stage("predictions")
    expected = _predictions(entries, tally, networks, generator)
    predictions, missing = expected.found, expected.missing
    widths = {entry.name: tally.width(entry) for entry in entries}
    risks = extinctions(entries, connections, widths, float(found.rate[0, 0]))
    layers = tuple(
        row(k, entry, found, predictions, missing, tally, risks) for k, entry in enumerate(entries)
    )
    known = [facts(k, e, layers[k], tally, back) for k, e in enumerate(entries)]
    ill = [*_buffers(network), *findings(known)]
    notes += [
        *_misread(batch, tally, found.rate.shape[1]),
        *notes_on(entries, connections, expected, tally),
    ]
    notes += learned(back.constants) if back else []
    learns = None
    stage("what reaches the weights")
    if gradient and connections and not tally.broken:
        learns = learning(network, connections, batch, time=time, seed=seed, loss=loss)
    if learns is not None and learns.learns:
        ill = [sparing(finding, known, reached=learns.reached) for finding in ill]
    ill = remembered(network, ill, known)
    return Diagnosis(layers, tuple(ill), found, tally.samples, tuple(notes), learns)


def _buffers(network: nn.Module) -> list[Finding]:
    """Buffers that hold NaN or infinity, as a finding each."""
    return [
        Finding(
            "unstable constant",
            name or type(network).__name__,
            None,
            f"the buffer {key!r} of {name or type(network).__name__} holds NaN or infinity",
            call,
        )
        for name, key, call in unstable_buffers(network)
    ]


def _misread(batch: Any, tally: Tally, steps: int) -> list[str]:
    """A note if a batch of static inputs, or of samples, was taken for steps."""
    if isinstance(batch, Tensor) and len(batch) == steps and samples_first(batch):
        return [
            f"The batch {tuple(batch.shape)} is read as {steps} steps of {batch.shape[1]} samples, "
            "but values go on along its second dimension more than along its first: if that is "
            "time, pass batch.transpose(0, 1)"
        ]
    if not isinstance(batch, Tensor) or batch.dim() != 2 or not tally.single:
        return []
    return [
        f"The batch {tuple(batch.shape)} is read as {len(batch)} steps of one sample; "
        "a batch of static inputs needs batch.expand(T, *batch.shape)"
    ]


def _predictions(
    entries: Sequence[Entry], tally: Tally, networks: int, generator: torch.Generator
) -> Predictions:
    """What theory says of the layers, or why not."""
    if not tally.connections or tally.broken:
        return Predictions({}, {}, {})
    return predict(
        entries,
        tally.connections,
        {entry.name: tally.seen(entry) for entry in entries},
        {entry.name: tally.width(entry) for entry in entries},
        changed=tally.changed(entries),
        networks=networks,
        generator=generator,
    )
