r"""Neurons that no formula reaches, on the currents that theory gives them.

At infinite width the currents of a layer are a Gaussian process over time, independent over its
neurons. Where leak, threshold or reset are not those of `snnlib.neurons.lif` (a threshold that
adapts, a second filter, a gate), the layer's own neurons are run on draws of that process. Where
the layer holds recurrent weights, what they send back is Gaussian too,

.. math:: E[r_t] = n E[w] E[y_{t-1}] + E[b],\qquad
          \mathrm{Cov}[r_s, r_t] = n \mathrm{Var}[w] E[y_{s-1} y_{t-1}] + \mathrm{Var}[b],

with the spikes y of the same neurons, and is drawn step by step, each given those before.

Source: Sompolinsky, Crisanti & Sommers 1988 (mean-field theory of random recurrent networks).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from snnlib.dialects.untouched import at_rest, untouched
from snnlib.meanfield.covariance import square_root
from snnlib.neurons import AdaptiveLIF, RecurrentCurrentLIF, RecurrentLIF, adaptive_lif
from snnlib.probe.capture import Entry, Potential

__all__ = ["Response", "respond"]

Array = NDArray[np.float64]
SAMPLES = 2**14  # neurons that are run
MATRICES = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class Response(NamedTuple):
    """What neurons do with Gaussian currents.

    Attributes:
        rate: [T], probability of a spike.
        variance: [T], of the potentials; NaN where the module does not show them.
        pairs: [T, T], E[x_s x_t].
    """

    rate: Array
    variance: Array
    pairs: Array


def respond(
    entry: Entry,
    mean: Array,
    covariance: Array,
    shape: Sequence[int],
    generator: torch.Generator,
) -> tuple[Response | None, str]:
    """Run the neurons of a layer on Gaussian currents, from rest; the module is left as it was.

    Args:
        entry: The layer.
        mean: [T], of the currents that enter the module, over neurons and samples.
        covariance: [T, T], likewise; what recurrent weights inside of the module add is drawn.
        shape: Of the neurons of one sample.
        generator: Random numbers.

    Returns:
        What they do, and why that is not known.
    """
    samples = max(1, math.ceil(SAMPLES / max(1, math.prod(shape))))
    root = torch.from_numpy(square_root(covariance)).float()
    size = samples * math.prod(shape)
    drawn = root @ torch.randn(len(mean), size, generator=generator)
    drawn = drawn + torch.as_tensor(mean, dtype=torch.float32)[:, None]
    module = entry.module
    held = next((p for p in module.parameters() if p.is_floating_point()), drawn)
    currents = drawn.reshape(len(mean), samples, *shape).to(held.device, held.dtype)
    run = _ours if entry.spiking.library == "snnlib" else _foreign
    try:
        with torch.no_grad(), untouched(module), at_rest(module):
            potentials, spikes = run(entry, currents, generator)
    except Exception as error:  # neurons of anyone, which were made for their own network
        brief = str(error).splitlines()[0] if str(error) else ""
        return None, f"its neurons do not run alone ({type(error).__name__}: {brief})"
    if spikes.shape != currents.shape:
        return None, "its neurons do not send one value each"
    x = (spikes != 0).flatten(1).float().cpu()
    pairs = (x @ x.T).double().numpy() / x.shape[1]
    variance = np.full(len(mean), np.nan)
    if potentials is not None:
        variance = potentials.flatten(1).double().var(1, correction=0).cpu().numpy()
    return Response(np.diagonal(pairs).copy(), variance, pairs), ""


class _Feedback:
    """Currents that recurrent weights make of the neurons' own spikes, drawn step by step."""

    def __init__(self, weight: Tensor, bias: Tensor | None, generator: torch.Generator) -> None:
        rows = weight.detach().flatten(1).double()
        self.mean = float(rows.sum(1).mean())  # n E[w]
        self.gain = float(rows.square().sum(1).mean()) - self.mean**2 / rows.shape[1]  # n Var[w]
        shift = torch.zeros(1) if bias is None else bias.detach().double()
        self.bias = (float(shift.mean()), float(shift.var(correction=0)))
        self.generator = generator
        self.spikes: list[Tensor] = []
        self.drawn: list[Tensor] = []  # without their means
        self.made: list[Tensor] = []
        self.last: tuple[Tensor, Tensor] | None = None

    def __call__(self, spikes: Tensor) -> Tensor:
        """The current that the spikes of the step before send back."""
        if self.last is not None and self.last[0] is spikes:
            return self.last[1]  # a reset may ask twice
        y = spikes.detach().flatten().float().cpu()
        row = [float(y @ other) for other in (*self.spikes, y)]
        wanted = self.gain * np.array(row) / len(y) + self.bias[1]
        mean, left = torch.zeros_like(y), wanted[-1]
        if self.drawn:
            given = torch.stack(self.spikes).double()
            between = self.gain * (given @ given.T).numpy() / len(y) + self.bias[1]
            share = np.linalg.lstsq(between, wanted[:-1], rcond=1e-9)[0]
            mean = torch.as_tensor(share, dtype=y.dtype) @ torch.stack(self.drawn)
            left -= float(share @ wanted[:-1])
        normal = torch.randn(len(y), generator=self.generator)
        current = mean + math.sqrt(max(left, 0.0)) * normal
        self.spikes.append(y)
        self.drawn.append(current)
        shifted = current + self.mean * float(y.mean()) + self.bias[0]
        made = shifted.reshape(spikes.shape).to(spikes)
        self.last = (spikes, made)
        self.made.append(made)
        return made


# --- ours ---------------------------------------------------------------------------------------


def _ours(
    entry: Entry, currents: Tensor, generator: torch.Generator
) -> tuple[Tensor | None, Tensor]:
    module: Any = entry.module
    if not entry.spiking.recurrent:
        trace = module.trace(currents)
        return trace.membrane, trace.spikes
    kinds = (RecurrentLIF, RecurrentCurrentLIF, AdaptiveLIF)
    if not isinstance(entry.module, kinds):
        raise ValueError(f"{type(module).__name__} multiplies its spikes inside")
    weight: Tensor = module.weight.detach()
    if not module.self_connections:
        weight = weight.clone().fill_diagonal_(0.0)
    back = _Feedback(weight, module.bias, generator)
    kappa, lag = getattr(module, "synapse_leak", 0.0), getattr(module, "delay", 0.0)
    settings: dict[str, Any] = {
        "leak": module.leak,
        "threshold": module.threshold,
        "adaptation": getattr(module, "adaptation", 0.0),
        "adaptation_leak": getattr(module, "adaptation_leak", 0.0),
        "reset": module.reset,
    }
    state: Any = module.initial if isinstance(module.initial, Tensor) else None
    synapse, spikes, rows = torch.zeros_like(currents[0]), torch.zeros_like(currents[0]), []
    for current in currents:
        before, synapse = synapse, kappa * synapse + current + back(spikes)
        drive = getattr(module, "input_gain", 1.0) * ((1 - lag) * synapse + lag * before)
        trace = adaptive_lif(drive[None], initial=state, **settings)
        state, spikes = trace.state, trace.spikes[0]
        rows.append((trace.membrane[0], spikes))
    return torch.stack([u for u, _ in rows]), torch.stack([x for _, x in rows])


# --- foreign ------------------------------------------------------------------------------------


def _foreign(
    entry: Entry, currents: Tensor, generator: torch.Generator
) -> tuple[Tensor | None, Tensor]:
    module: Any = entry.module
    back: _Feedback | None = None
    charge: Tensor | None = currents
    with ExitStack() as stack:
        own = getattr(module, "recurrent", None)
        if isinstance(own, MATRICES):
            back = _Feedback(own.weight, own.bias, generator)
            hook = own.register_forward_hook(lambda _, args, made: back(args[0]))
            stack.callback(hook.remove)
        elif isinstance(getattr(module, "input_weights", None), Tensor):
            back = _Feedback(module.recurrent_weights, None, generator)
            stack.enter_context(_Products(module, currents, back))
            empty = currents.new_zeros(module.input_weights.shape[1])
            currents = empty.expand(*currents.shape[:2], len(empty))
        elif entry.spiking.recurrent and own is None:
            raise ValueError(f"{type(module).__name__} multiplies its spikes inside")
        elif entry.spiking.recurrent:
            charge = None  # a connection of each neuron to itself adds to it
        if entry.spiking.sequence:
            spikes = _spikes(module(currents))
        else:
            rows: list[Tensor] = []
            state: tuple[Any, ...] = ()
            for current in currents:
                made = module(current, *state)
                state = (made[1],) if entry.spiking.library == "norse" else ()
                rows.append(_spikes(made))
            spikes = torch.stack(rows)
    if charge is None or entry.why or spikes.shape != charge.shape:
        return None, spikes
    charge = charge if back is None else charge + torch.stack(back.made)
    return Potential(entry.spiking).run(charge, (spikes != 0).to(charge))[0], spikes


def _spikes(made: Any) -> Tensor:
    return next(leaf for leaf in tree_leaves(made) if isinstance(leaf, Tensor))


class _Products(TorchFunctionMode):
    """In place of a layer's products with its own weights, drawn currents."""

    def __init__(self, module: Any, currents: Tensor, back: _Feedback) -> None:
        super().__init__()
        self.module, self.back, self.left = module, back, iter(currents)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is functional.linear and args[1] is self.module.input_weights:
            return next(self.left)
        if func is functional.linear and args[1] is self.module.recurrent_weights:
            with torch._C.DisableTorchFunction():
                return self.back(args[0])
        return func(*args, **(kwargs or {}))
