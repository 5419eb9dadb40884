"""One run: data, network, training, evaluation, all from settings that JSON can hold."""

from __future__ import annotations

import inspect
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from snnlib import data, dialects, networks, training
from snnlib.data import Dataset, encoding
from snnlib.dialects.running import resolve_time, run
from snnlib.experiments.ordinary import ordinary
from snnlib.experiments.remedy import apply_remedy_, heal_
from snnlib.experiments.sick import sick
from snnlib.init import initialize_
from snnlib.neurons import LIF, SpikingLSTM
from snnlib.surrogate import Surrogate

__all__ = ["activity", "build", "crossing", "load", "train"]

EXAMPLES = 256
"""Samples that an initialization and the firing rates are computed from."""

LEAST_RISE = 1e-12
"""A network that does not answer its weights at all has a rise of 0, which has no logarithm."""


def load(settings: Mapping[str, Any], split: str) -> Dataset:
    """The samples of a split that a run uses.

    Args:
        settings: "name" of the data and further arguments of `snnlib.data.load`; number of "train"
            and "test" samples; "pool", the side of the squares over which pixels are averaged;
            "held_out", how many of the last training samples are not trained on.
        split: "train", "test", or "held_out".
    """
    arguments = dict(settings)
    counts = {name: arguments.pop(name) for name in ("train", "test")}
    held_out, pool = arguments.pop("held_out", 0), arguments.pop("pool", 1)
    part = "test" if split == "test" else "train"
    samples = data.load(split=part, **arguments)
    samples = samples.take(min(counts[part], len(samples)))
    if part == "train":
        kept = len(samples) - held_out
        chosen = slice(None, kept) if split == "train" else slice(kept, None)
        samples = replace(samples, inputs=samples.inputs[chosen], targets=samples.targets[chosen])
    if pool > 1:
        samples = replace(samples, inputs=functional.avg_pool2d(samples.inputs, pool))
    return samples


def build(
    settings: Mapping[str, Any], samples: Dataset, seed: int, *, currents: Tensor | None = None
) -> nn.Module:
    """The network of a run, its weights drawn from the seed.

    Args:
        settings: "kind", a name in `KINDS` ("residual" if there is none), and arguments of that
            network; "surrogate" as arguments of `Surrogate`; "init" as arguments of
            `snnlib.init.initialize_`, with "example" true if it may see data, or the method
            "normal" with "std" or "gain" for all layers, or "remedy", which diagnoses and does
            what the first finding says, or "remedies", which does so until none is left;
            "mean_squares" of weights by the names of their layers, to which they are scaled at
            last; "mpinit", whether the initial membrane is `MPInit`.
        samples: The training data.
        seed: Seed of the weights.
        currents: What the network gets for some samples, [T, batch, ...]; for "example".

    Raises:
        ValueError: If the kind is unknown, or "normal" has not one of "std" and "gain".
    """
    arguments = dict(settings)
    name = arguments.pop("kind", "residual")
    if name not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {name!r}")
    kind = KINDS[name]
    if "surrogate" in arguments:
        arguments["surrogate"] = Surrogate(**arguments["surrogate"])
    if arguments.pop("mpinit", False):
        from snnlib.membrane import MPInit

        arguments["initial"] = MPInit()
    init, mean_squares = arguments.pop("init", None), arguments.pop("mean_squares", {})
    generator = torch.Generator().manual_seed(seed)
    network = kind(samples, arguments, generator)
    if init is not None:
        init = dict(init)
        method = init.pop("method")
        example = currents if init.pop("example", False) else None
        if method == "normal":
            _normal(network, generator, **init)
        elif method in ("remedy", "remedies"):
            if currents is None:
                raise ValueError("currents must be given to diagnose, got None")
            (apply_remedy_ if method == "remedy" else heal_)(network, currents, seed=seed)
        else:
            # Rows that are stored drew the output layer too.
            init.setdefault("readout", "draw")
            initialize_(network, method, example=example, generator=generator, **init)
    with torch.no_grad():
        for layer, mean_square in mean_squares.items():
            weight = network.get_submodule(layer).weight
            weight *= (mean_square / weight.square().mean()).sqrt()  # type: ignore[operator]
    return network


def _normal(
    network: nn.Module,
    generator: torch.Generator,
    *,
    std: float | None = None,
    gain: float | None = None,
) -> None:
    """Draw all weights with one standard deviation, or with one n·Var[w]."""
    if (std is None) == (gain is None):
        raise ValueError(f"give one of std and gain, got std={std!r} and gain={gain!r}")
    for layer in network.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            fan_in = layer.weight[0].numel()
            scale = math.sqrt(gain / fan_in) if gain is not None else std
            nn.init.normal_(layer.weight, std=scale, generator=generator)  # type: ignore[arg-type]


def _shape(samples: Dataset) -> tuple[int, ...]:
    """The features of a sample at one step: a sequence has its time in front of them."""
    return tuple(samples.inputs.shape[2 if samples.sequence else 1 :])


def _mlp(samples: Dataset, arguments: dict[str, Any], generator: torch.Generator) -> nn.Module:
    width, depth = arguments.pop("width"), arguments.pop("depth")
    sizes = [math.prod(_shape(samples)), *[width] * depth, samples.classes]
    return networks.mlp(sizes, init=None, generator=generator, **arguments)


def _convnet(samples: Dataset, arguments: dict[str, Any], generator: torch.Generator) -> nn.Module:
    shape = _shape(samples)
    return networks.convnet(shape, samples.classes, init=None, generator=generator, **arguments)


def _vgg(samples: Dataset, arguments: dict[str, Any], generator: torch.Generator) -> nn.Module:
    shape = _shape(samples)
    return networks.vgg(shape, samples.classes, generator=generator, **arguments)


def _residual(samples: Dataset, arguments: dict[str, Any], generator: torch.Generator) -> nn.Module:
    shape = _shape(samples)
    return networks.residual(shape, samples.classes, generator=generator, **arguments)


def _recurrent(
    samples: Dataset, arguments: dict[str, Any], generator: torch.Generator
) -> nn.Module:
    # A sample is [T, features] or, where an encoding makes the time, the features alone; of words
    # it is [T], and each is looked up.
    widths = arguments.pop("widths")
    words = not samples.inputs.is_floating_point() and not _shape(samples)
    features = widths[0] if words else math.prod(_shape(samples))
    network = networks.recurrent(
        [features, *widths, samples.classes], generator=generator, **arguments
    )
    if words:
        embedding = nn.Embedding(samples.classes, features)
        nn.init.normal_(embedding.weight, generator=generator)
        return nn.Sequential(OrderedDict(embedding=embedding, network=network))
    if samples.sequence:
        return network
    layers = OrderedDict[str, nn.Module](flatten=nn.Flatten(2))
    return networks.FeedForward(layers | OrderedDict(network.named_children()))


def _ordinary(samples: Dataset, arguments: dict[str, Any], generator: torch.Generator) -> nn.Module:
    seed = int(torch.randint(2**31, (), generator=generator))
    return ordinary(arguments.pop("name"), seed)


def _sick(samples: Dataset, arguments: dict[str, Any], generator: torch.Generator) -> nn.Module:
    seed = int(torch.randint(2**31, (), generator=generator))
    return sick(arguments.pop("name"), seed)


KINDS: dict[str, Callable[[Dataset, dict[str, Any], torch.Generator], nn.Module]] = {
    "mlp": _mlp,
    "convnet": _convnet,
    "residual": _residual,
    "recurrent": _recurrent,
    "vgg": _vgg,
    "ordinary": _ordinary,
    "sick": _sick,
}
"""Networks by name: functions of the training data, the arguments left and random numbers."""


def activity(network: nn.Module, currents: Tensor) -> list[float]:
    """Mean firing rate of every spiking layer, in evaluation mode.

    Args:
        network: Currents to outputs.
        currents: [T, batch, ...].

    Returns:
        Spikes per neuron and step, in the order in which the layers run. A layer whose spikes have
        the height of its threshold is divided by it.
    """
    rates: list[list[float]] = []
    places: dict[nn.Module, int] = {}

    def note(module: nn.Module, _: Any, output: Any) -> None:
        spikes = output[0] if isinstance(output, tuple) else output
        form = dialects.read(module)
        if form is None or form.sequence or module not in places:
            places[module] = len(rates)  # a layer of single steps is called once for each
            rates.append([])
        rates[places[module]].append((spikes != 0).float().mean().item())

    time = resolve_time(network, currents)  # which runs it too
    hooks = [
        module.register_forward_hook(note)
        for module in network.modules()
        if dialects.is_spiking(module) or isinstance(module, SpikingLSTM)
    ]
    mode = network.training
    try:
        with torch.no_grad():
            run(network.eval(), currents, time=time)
    finally:
        network.train(mode)
        for hook in hooks:
            hook.remove()
    return [sum(calls) / len(calls) for calls in rates]


def crossing(curve: Sequence[float], level: float, *, start: float) -> float:
    """Epochs until a curve reaches a level, linear between epochs.

    Args:
        curve: Accuracy after each epoch.
        level: What is to be reached.
        start: Accuracy before the first epoch: guessing.

    Returns:
        A positive number; one more than the number of epochs if it is not reached.

    Example:
        >>> crossing([0.5, 0.7], 0.6, start=0.1), crossing([0.5, 0.7], 0.8, start=0.1)
        (1.5, 3.0)
    """
    before = start
    for epoch, after in enumerate(curve):
        if after >= level:
            return epoch + (level - before) / (after - before)
        before = after
    return len(curve) + 1.0


def train(settings: Mapping[str, Any], *, checkpoint: str | Path | None = None) -> dict[str, Any]:
    """Train one network and evaluate it on the test data, after the last epoch only.

    A run whose loss or gradient is not finite ends there; it is evaluated as it then is.

    Args:
        settings: "data", "network" and "training" (arguments of `snnlib.training.fit`), see `load`
            and `build`; "seed" of the weights and of the order of samples; "reach", an accuracy on
            samples held out; "rise", arguments of `snnlib.curvature.loss_rise`.
        checkpoint: File from which a killed run goes on; a damaged one is made anew.

    Returns:
        `test_accuracy` and `test_loss`; per epoch `train_accuracy` and `train_loss`, and the same
        of samples held out, if there are any; `initial_rates` and `final_rates` of each spiking
        layer; `diverged`, the reason of an early end or an empty string; per layer of neurons,
        after training, `thresholds` and `initial_membranes` (0 is rest); with "reach", the `epochs`
        to it (`crossing`); with "rise", the logarithm `log_rise` of the loss's rise over the
        training samples (of `LEAST_RISE` if it is less).
    """
    seed = settings["seed"]
    samples = load(settings["data"], "train")
    held_out = load(settings["data"], "held_out") if settings["data"].get("held_out") else None
    fitting = settings["training"]
    evaluating = {
        name: fitting[name]
        for name in inspect.signature(training.evaluate).parameters
        if name in fitting and name != "batch_size"
    }
    currents = _currents(samples, fitting, seed)
    network = build(settings["network"], samples, seed, currents=currents)
    initial_rates = activity(network, currents)
    history, diverged = training.History(), ""

    def fit() -> training.History:
        return training.fit(
            network,
            samples,
            seed=seed,
            validation=held_out,
            checkpoint=checkpoint,
            progress=False,
            **fitting,
        )

    try:
        try:
            history = fit()
        except training.CorruptCheckpoint:
            Path(checkpoint).unlink()  # type: ignore[arg-type]
            history = fit()
    except FloatingPointError as error:
        diverged = str(error)
    metrics = training.evaluate(
        network, load(settings["data"], "test"), batch_size=250, **evaluating
    )
    layers = [module for module in network.modules() if isinstance(module, LIF)]
    return {
        "test_accuracy": metrics.accuracy,
        "test_loss": metrics.loss if torch.tensor(metrics.loss).isfinite() else None,
        "train_accuracy": history.accuracy,
        "train_loss": history.loss,
        "held_out_accuracy": history.validation_accuracy,
        "held_out_loss": history.validation_loss,
        "initial_rates": initial_rates,
        "final_rates": activity(network, currents),
        "thresholds": [float(torch.as_tensor(layer.threshold).detach()) for layer in layers],
        "initial_membranes": [float(getattr(layer.initial, "mean", 0.0)) for layer in layers],
        "diverged": diverged,
    } | _further(settings, network, samples, history, evaluating)


def _further(
    settings: Mapping[str, Any],
    network: nn.Module,
    samples: Dataset,
    history: training.History,
    evaluating: Mapping[str, Any],
) -> dict[str, float]:
    """What only some experiments ask for."""
    found = {}
    if "reach" in settings:
        curve, guess = history.validation_accuracy, 1 / samples.classes
        found["epochs"] = crossing(curve, settings["reach"], start=guess)
    if "rise" in settings:
        from snnlib import curvature

        rise = curvature.loss_rise(
            network, samples, steps=evaluating["steps"], loss=evaluating["loss"], **settings["rise"]
        )
        found["log_rise"] = math.log(max(rise.value, LEAST_RISE))
    return found


def _currents(samples: Dataset, fitting: Mapping[str, Any], seed: int) -> Tensor:
    """What the network gets for the first samples."""
    return encoding.currents(
        samples.inputs[:EXAMPLES],
        sequence=samples.sequence,
        steps=fitting["steps"],
        encoding=fitting.get("encoding", "constant"),
        generator=torch.Generator().manual_seed(seed),
    )
