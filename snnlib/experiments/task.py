"""One run: data, network, training, evaluation, all from settings that JSON can hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from snnlib import data, networks, training
from snnlib.data import Dataset
from snnlib.neurons import LIF
from snnlib.surrogate import Surrogate

__all__ = ["build", "load", "train"]


def load(settings: Mapping[str, Any], split: str) -> Dataset:
    """The first images of a split, their pixels averaged over squares.

    Args:
        settings: "name" of the data, number of "train" and "test" images, side of the squares
            as "pool".
        split: "train" or "test".
    """
    images = data.load(settings["name"], split=split)
    images = images.take(min(settings[split], len(images)))
    return replace(images, inputs=functional.avg_pool2d(images.inputs, settings["pool"]))


def build(settings: Mapping[str, Any], images: Dataset, seed: int) -> nn.Module:
    """The network of a run, its weights drawn from the seed.

    Args:
        settings: Arguments of `snnlib.networks.residual`; "surrogate" as arguments of `Surrogate`,
            "mpinit" whether the initial membrane is `MPInit`.
        images: The training images.
        seed: Seed of the weights.
    """
    arguments = dict(settings)
    surrogate = Surrogate(**arguments.pop("surrogate"))
    if arguments.pop("mpinit"):
        from snnlib.membrane import MPInit

        arguments["initial"] = MPInit()
    return networks.residual(
        tuple(images.inputs.shape[1:]),
        images.classes,
        surrogate=surrogate,
        generator=torch.Generator().manual_seed(seed),
        **arguments,
    )


def train(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Train one network and evaluate it on the test images, after the last epoch only.

    A run whose loss or gradient is not finite ends there; it is evaluated as it then is.

    Args:
        settings: "data", "network" and "training" (arguments of `snnlib.training.fit`), see `load`
            and `build`; "seed" of the weights and of the order of samples.

    Returns:
        `test_accuracy` and `test_loss`; per epoch `train_accuracy` and `train_loss`; `diverged`,
        the reason of an early end or an empty string; per layer of neurons, after training,
        `thresholds` and `initial_membranes` (0 is rest).
    """
    seed = settings["seed"]
    images = load(settings["data"], "train")
    network = build(settings["network"], images, seed)
    fitting = settings["training"]
    history, diverged = training.History(), ""
    try:
        history = training.fit(network, images, seed=seed, progress=False, **fitting)
    except FloatingPointError as error:
        diverged = str(error)
    metrics = training.evaluate(
        network,
        load(settings["data"], "test"),
        steps=fitting["steps"],
        loss=fitting["loss"],
        batch_size=250,
    )
    layers = [module for module in network.modules() if isinstance(module, LIF)]
    return {
        "test_accuracy": metrics.accuracy,
        "test_loss": metrics.loss if torch.tensor(metrics.loss).isfinite() else None,
        "train_accuracy": history.accuracy,
        "train_loss": history.loss,
        "thresholds": [float(torch.as_tensor(layer.threshold).detach()) for layer in layers],
        "initial_membranes": [float(getattr(layer.initial, "mean", 0.0)) for layer in layers],
        "diverged": diverged,
    }
