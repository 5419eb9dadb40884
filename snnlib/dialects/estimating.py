r"""The constants of a neuron from its responses to known currents.

A copy of the module gets constant and random currents. Spikes are all that is asked of it:

* before the first spike a constant current i passes the threshold at once if λ i > θ and within two
  steps if λ i (1 + β) > θ: the least such currents i_1 and i_2 give λ = θ / i_1 and
  β = i_1 / i_2 − 1;
* of the resets the one that gives most of the spikes of a random current is taken.

Only θ / λ shows in the spikes: with θ known (it mostly is an attribute) λ follows, else θ = 1 is
the unit. How well the result fits is the share of steps of a random current that it gives right.
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from snnlib.dialects.form import Spiking, as_double
from snnlib.dialects.reading import form_of
from snnlib.dialects.untouched import at_rest, put_to_rest
from snnlib.resets import RULES

__all__ = ["Estimate", "estimate"]

RESETS = ("zero", "subtract", "subtract_leak", "none")
LARGEST = 2.0**20
NAMES = ("v_threshold", "threshold", "v_th", "theta", "thresh", "vth")


class Estimate(NamedTuple):
    """What the responses of a neuron say.

    Attributes:
        threshold: θ, an attribute of the module or 1.
        leak: β per step.
        input_gain: λ.
        reset: Of those in `snnlib.neurons.lif`.
        fit: Share of the steps of a random current at which these constants spike as it does.
        spikes: How many spikes there were in them.
        sequence: Whether one call takes all steps.
    """

    threshold: float
    leak: float
    input_gain: float
    reset: str
    fit: float
    spikes: int
    sequence: bool = False

    @property
    def good(self) -> bool:
        """Whether the constants give the neuron's spikes, but for a few."""
        return self.fit > 0.99 and self.spikes >= 20

    def spiking(self, like: Spiking | None = None) -> Spiking:
        """A normal form, of an unknown neuron that is otherwise `like` another."""
        start = like or Spiking(as_double(1.0), as_double(0.0), "zero", as_double(1.0))
        return start._replace(
            threshold=as_double(self.threshold),
            leak=as_double(self.leak),
            input_gain=as_double(self.input_gain),
            reset=self.reset,
            sequence=self.sequence,
        )


def estimate(module: nn.Module, *, steps: int = 200, seed: int = 0) -> Estimate:
    """Feed known currents to a copy of a neuron and fit its constants.

    Args:
        module: A module that takes a current [batch, 1], or [T, batch, 1] if it takes sequences,
            keeps its state and returns spikes first. Its state is left as it is.
        steps: Of the random current that the fit is judged by.
        seed: Of the random current.

    Returns:
        The constants, and how well they fit.

    Raises:
        ValueError: If the module does not run so, or no current up to 2^20 makes it spike.

    Example:
        >>> from snnlib.neurons import LIF
        >>> found = estimate(LIF(threshold=0.8, leak=0.6, reset="subtract"))
        >>> round(found.leak, 3), round(found.input_gain, 3), found.reset, found.good
        (0.6, 1.0, 'subtract', True)
    """
    neuron = _Neuron(module)
    with torch.random.fork_rng(devices=[]):
        return _fitted(neuron, steps, seed)


class _Neuron:
    """A neuron that is run from rest."""

    def __init__(self, module: nn.Module) -> None:
        form = form_of(module)
        self.module = module
        value = None if form is None else form.threshold
        if value is None or bool(torch.isnan(value).any()):
            value = next(
                (as_double(v) for n in NAMES if _numeric(v := getattr(module, n, None))), None
            )
        self.threshold = 1.0 if value is None else float(value.double().mean())
        parameter = next(module.parameters(), torch.zeros(()))
        self.dtype, self.device = parameter.dtype, parameter.device
        self.sequence = self._over_rows() if form is None else form.sequence

    def _over_rows(self) -> bool:
        """Whether a call's rows are steps: then some constant current does not spike at all."""
        self.sequence = True
        try:
            spikes = self((2.0 ** torch.arange(-8, 20).double()).expand(8, -1))
        except ValueError:
            return False
        return spikes.dim() == 2 and bool((spikes != spikes[:1]).any())

    def __call__(self, currents: Tensor) -> Tensor:
        """Spikes [T, batch] of currents [T, batch]."""
        module: Any = copy.deepcopy(self.module)
        for part in module.modules():
            put_to_rest(part)
        given = currents.to(self.device, self.dtype)[..., None]
        try:
            with torch.no_grad(), at_rest(module):
                if self.sequence:
                    return _first(module(given))[..., 0].cpu()
                return torch.stack([_first(module(step))[..., 0] for step in given]).cpu()
        except Exception as error:
            raise ValueError(
                f"{type(module).__name__} cannot be fed currents [batch, 1] step by step "
                f"({type(error).__name__}: {error}): declare its constants, "
                f"snnlib.dialects.declare({type(module).__name__}, threshold=..., leak=...)"
            ) from error


def _numeric(value: Any) -> bool:
    return isinstance(value, Tensor | float | int) and not isinstance(value, bool)


def _first(made: Any) -> Tensor:
    spikes = next(leaf for leaf in tree_leaves(made) if isinstance(leaf, Tensor))
    return (spikes != 0).double()


def _fitted(neuron: _Neuron, steps: int, seed: int) -> Estimate:
    one, two = (_least(neuron, within) for within in (1, 2))
    leak = min(max(one / two - 1, 0.0), 1.0)
    # λ i (1 + β) passes at the second step what λ i passes at the first.
    gain = neuron.threshold / one
    generator = torch.Generator().manual_seed(seed)
    currents = one * 0.9 * torch.randn(steps, 8, generator=generator, dtype=torch.float64)
    currents = currents + 0.25 * one
    seen = neuron(currents)
    found = []
    for reset in RESETS:
        made = _simulated(currents, neuron.threshold, leak, gain, reset)
        fit = float((made == seen).double().mean())
        spikes = int(seen.sum())
        found.append(Estimate(neuron.threshold, leak, gain, reset, fit, spikes, neuron.sequence))
    return max(found, key=lambda one: one.fit)


def _least(neuron: _Neuron, steps: int) -> float:
    """The least constant current that makes it spike within some steps, to a relative 1e-9."""
    low, high = 0.0, 1.0
    while not _spikes(neuron, torch.tensor([high], dtype=torch.float64), steps)[0]:
        low, high = high, 2 * high
        if high > LARGEST:
            raise ValueError(
                f"{type(neuron.module).__name__} does not spike at any constant current up to "
                f"{LARGEST:g}: it is no integrate-and-fire neuron, or its state is not at rest"
            )
    for _ in range(6):
        grid = torch.linspace(low, high, 65, dtype=torch.float64)
        place = int(_spikes(neuron, grid, steps).int().argmax())
        low, high = float(grid[max(place - 1, 0)]), float(grid[place])
        if high - low < 1e-9 * high:
            break
    return (low + high) / 2


def _spikes(neuron: _Neuron, currents: Tensor, steps: int) -> Tensor:
    return neuron(currents.expand(steps, -1)).any(0)


def _simulated(currents: Tensor, threshold: float, leak: float, gain: float, reset: str) -> Tensor:
    theta, beta = torch.tensor(threshold).double(), torch.tensor(leak).double()
    u, x = torch.zeros_like(currents[0]), torch.zeros_like(currents[0])
    rows = []
    for i in currents:
        u = RULES[reset].carry(u, x, theta, beta) + gain * i
        x = (u > theta).double()
        rows.append(x)
    return torch.stack(rows)
