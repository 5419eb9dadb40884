r"""The recommended call: leave alone what learns, draw anew what cannot.

Being silent on the first pass is no illness by itself: a surrogate lets the gradient through, and
after some updates the layer fires. What decides is what reaches the weights. Adam moves a weight
with the gradient g by

.. math:: η\,\frac{|g|}{|g| + ε}

at its first update, so the *share* |g|/(|g| + ε), averaged over a weight's entries, says how much
of a full step it takes. A network none of whose weights takes a tenth of it cannot learn, and one
with two silent layers of which one feeds the other has to wake them one after the other (layers
that no scale of weights wakes, behind norms or products of spikes, do not count): all of it is
drawn anew, what is then still silent is scaled until it fires, and surrogates of ours that are
sharp are widened, because each layer that fires makes gradients of two samples less alike, the
more so the sharper they are. A network that learns is left, but for layers that max pooling of
their currents saturates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from snnlib._progress import stage
from snnlib.dialects.running import Time, resolve_time, run
from snnlib.dialects.untouched import untouched
from snnlib.init.connection import Connection, Layer
from snnlib.init.drawing import draw_plans_
from snnlib.init.planning import Choice, Plan, choices_of, plans_of
from snnlib.init.pooled import shift_pooled_
from snnlib.init.readout import RATE, SILENT, Readout, mean_rate, wake_
from snnlib.init.registry import method_named
from snnlib.init.report import Report, report
from snnlib.surrogate import Surrogate

__all__ = ["EPSILON", "LEARNS", "Learning", "draw_recommended_", "learning"]

EPSILON = 1e-8
"""Adam's ε, of torch."""

LEARNS = 0.1
"""Share of Adam's full step that some weight must take for a network to learn."""

SILENT_LAYERS = 2
"""Silent layers in front of others from which on a network is drawn."""

WIDE = 0.25
"""Largest sharpness of a drawn layer's surrogate, times its threshold."""

NAME, SYNAPTIC = "micheli2024", "rossbroich2022"
SOURCE = "this book, judged by training"


class Learning(NamedTuple):
    """What reaches the weights of a network.

    Attributes:
        shares: Mean of |g|/(|g| + ε) over the entries of each weight that is not frozen, by name.
        coherence: Cosine of the gradients of the two halves of the batch; NaN if one is zero.
        silent: Names of the spiking layers that feed weights and fire in less than `SILENT` of all
            steps.
        beyond: Those of them that no scale of weights wakes: no weights drive them, or a norm
            takes the scale away.
    """

    shares: dict[str, float]
    coherence: float
    silent: tuple[str, ...]
    beyond: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """Of the weight that takes the largest."""
        return max(self.shares.values(), default=0.0)

    @property
    def learns(self) -> bool:
        """Whether the gradient reaches a weight, and no silence to wake lies behind another."""
        return self.share >= LEARNS and len(self.silent) - len(self.beyond) < SILENT_LAYERS

    @property
    def reached(self) -> bool:
        """Whether each weight takes a tenth of a full step, and no layer in front of one is silent.

        Then no weight waits for another layer to wake.
        """
        least = min(self.shares.values(), default=0.0)
        return least >= LEARNS and not self.silent

    @property
    def verdict(self) -> str:
        """What the network does, as the end of a sentence."""
        if not self.shares:
            return "has no weight that is trained"
        share = f"{self.share:.0%}" if self.share >= LEARNS else f"{100 * self.share:.1g}%"
        reached = f"its weights take up to {share} of Adam's full step"
        if self.share < 1e-4:
            reached = "its weights take less than 0.01% of Adam's full step"
        which = ", ".join(map(repr, self.silent))
        if self.beyond:
            reached += (
                f"; no scale of weights wakes {', '.join(map(repr, self.beyond))}, "
                "snnlib.probe.diagnose says what does"
            )
        if self.share < LEARNS:
            return f"cannot learn: {reached}, the gradient is below its ε"
        if not self.learns:
            return f"is silent in {which}, which wake one after the other: {reached}"
        if self.silent:
            return f"is silent on the first pass in {which} and trains anyway: {reached}"
        return f"learns: {reached}"


def learning(
    network: nn.Module,
    connections: Sequence[Connection],
    example: Any,
    *,
    time: Time = "auto",
    epsilon: float = EPSILON,
    seed: int = 0,
    loss: Callable[[Any], Tensor] | None = None,
) -> Learning:
    r"""What a mean over the samples of an example sends back to each weight.

    The gradient is that of :math:`\frac1B \sum_{t,b,c} z_c\,y_{tbc}` with z from N(0, 1), the same
    for all samples, as a loss's mean over a batch B; the network is left as it was.

    Args:
        network: The network.
        connections: Its weights.
        example: One batch.
        time: Who loops over time.
        epsilon: The optimizer's ε > 0.
        seed: Seed of z.
        loss: Scalar function of the output in place of that sum; the coherence is unknown then.

    Returns:
        The shares.

    Raises:
        ValueError: If ε is not positive, or the network returns no floating-point tensor.

    Example:
        Ten silent layers let nothing through:

        >>> from snnlib.init.pairing import pair
        >>> from snnlib.networks import mlp
        >>> example = torch.rand(3, 8, 50, generator=torch.Generator().manual_seed(0))
        >>> for depth in (2, 10):
        ...     seeded = torch.Generator().manual_seed(1)
        ...     network = mlp([50] * (depth + 1), encode=False, init=None, generator=seeded)
        ...     print(learning(network, pair(network), example).learns)
        True
        False
    """
    if not 0 < epsilon < math.inf:
        raise ValueError(f"epsilon must be positive and finite, got {epsilon!r}")
    weights = {c.name: c.parameter for c in connections if c.parameter.requires_grad}
    layers = {layer.name: layer for c in connections for layer in (*c.fed_by, *c.drives)}
    rates = _Rates(layers)
    with ExitStack() as stack:
        module = stack.enter_context(untouched(network))
        stack.enter_context(torch.enable_grad())
        time = resolve_time(module, example, time)
        for layer in layers.values():
            if layer.module is not None:
                hook = layer.module.register_forward_hook(rates.note)
                stack.callback(hook.remove)
        result = run(module, example, time=time)
        own = list(weights.values())
        halves = _halves(result, own, seed) if loss is None else _of(loss(result), own)
    total = [first + second for first, second in zip(*halves, strict=True)]
    shares = {
        name: float((g.abs() / (g.abs() + epsilon)).double().mean())
        for name, g in zip(weights, total, strict=True)
    }
    one, two = (
        torch.cat([g.flatten().double() for g in half] or [torch.zeros(0)]) for half in halves
    )
    size = float(one.norm() * two.norm())
    feeding = {layer.name for c in connections if not c.recurrent for layer in c.fed_by}
    silent = tuple(name for name in rates.silent() if name in feeding)
    within = {
        layer.name
        for c in connections
        if not c.recurrent and not any(norm.undoes for norm in c.norms)
        for layer in c.drives
    }
    beyond = tuple(name for name in silent if name not in within)
    return Learning(shares, float(one @ two) / size if size > 0 else math.nan, silent, beyond)


class _Rates:
    """Spikes of each layer while the network runs."""

    def __init__(self, layers: Mapping[str, Layer]) -> None:
        self.names = {layer.module: name for name, layer in layers.items()}
        self.counts: dict[str, tuple[int, int]] = {}

    def note(self, module: nn.Module, args: Any, output: Any) -> None:
        spikes = next(leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor))
        fired, count = self.counts.get(self.names[module], (0, 0))
        self.counts[self.names[module]] = (
            fired + int(spikes.detach().count_nonzero()),
            count + spikes.numel(),
        )

    def silent(self) -> tuple[str, ...]:
        """In the order of execution."""
        return tuple(n for n, (fired, count) in self.counts.items() if fired < SILENT * count)


def _output(result: Any) -> Tensor:
    """The first tensor that a network returns."""
    found = next((leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)), None)
    if found is None or not found.is_floating_point() or not found.dim():
        raise ValueError(
            "module must return a floating-point tensor for its gradient to be asked, got "
            f"{type(result).__name__}; name a method"
        )
    return found


def _of(value: Tensor, weights: list[nn.Parameter]) -> list[list[Tensor]]:
    """Gradient of a number by the weights, and nothing beside it."""
    zeros = [torch.zeros_like(weight) for weight in weights]
    if not value.requires_grad or not weights:
        return [zeros, zeros]
    given = torch.autograd.grad(value, weights, retain_graph=True, allow_unused=True)
    return [[zero if g is None else g for g, zero in zip(given, zeros, strict=True)], zeros]


def _halves(result: Any, weights: list[nn.Parameter], seed: int) -> list[list[Tensor]]:
    """Gradients of the two halves of the samples, which stand in the last axis but one."""
    output = _output(result)
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(output.shape[-1], generator=generator).to(output)
    axis = max(output.dim() - 2, 0)
    samples = output.shape[axis]
    parts = output.split([(samples + 1) // 2, samples // 2], axis)
    return [_of((part * z).sum() / samples, weights)[0] for part in parts]


def draw_recommended_(
    network: nn.Module,
    connections: list[Connection],
    readouts: Mapping[str, Readout],
    *,
    example: Any,
    generator: torch.Generator | None = None,
    bias: str = "zero",
    layers: Mapping[str, Mapping[str, Any] | str | None] | None = None,
    time: Time = "auto",
) -> Report:
    """Leave a network that learns as it is, and draw one that cannot.

    Args:
        network: The network.
        connections: Its weights.
        readouts: Those in front of output layers.
        example: One batch.
        generator: Random numbers; None is torch's global generator.
        bias: "zero" or "keep", of what is drawn.
        layers: Exceptions, as for `snnlib.init.initialize_`.
        time: Who loops over time.

    Returns:
        What was done; `said` is the verdict.

    Raises:
        ValueError: As `snnlib.init.initialize_`.
    """
    method = method_named(NAME)
    choices = choices_of(method, {}, layers or {})
    stage("what reaches the weights")
    found = learning(network, connections, example, time=time)
    if found.learns or not found.shares:
        why = "the network learns" if found.learns else "frozen"
        plans = [Plan(connection, why=f"left as it is: {why}") for connection in connections]
        # An output that counts no spike is left too: woken, networks of the suite learned less.
        own = [
            plan
            for plan in plans
            if plan.connection.parameter.requires_grad
            and not any(fnmatchcase(plan.connection.name, pattern) for pattern in choices)
        ]
        done = shift_pooled_(network, own, example, time=time) if bias == "zero" else []
        said = f"Nothing needs to be done: the network {found.verdict}."
        if done:
            said = f"The network {found.verdict}. {'; '.join(done)}."
        return replace(report(plans, method), method="recommended", source=SOURCE, said=said)
    synaptic = Choice(method_named(SYNAPTIC), {"rate": RATE})
    behind = {
        connection.name: synaptic
        for connection in connections
        if any(layer.spiking.synapse is not None for layer in connection.drives)
        and connection.name not in readouts
        and connection.parameter.requires_grad
    }
    plans = plans_of(connections, method, {}, {**behind, **choices}, readouts)
    _widen(plans)
    draw_plans_(
        network,
        plans,
        example=example,
        generator=generator,
        bias=bias,
        time=time,
        then=partial(_wake_hidden_, network, plans, example, time),
    )
    stage("what reaches the weights now")
    again = learning(network, connections, example, time=time)
    said = f"The network {found.verdict}. Drawn anew, it {again.verdict}."
    return replace(report(plans, method), method="recommended", source=SOURCE, said=said)


def _widen(plans: list[Plan]) -> None:
    """Plan a wider surrogate for what drawn and counted layers are, if it is ours and sharper."""
    for plan in plans:
        if plan.method is None and (plan.readout is None or not plan.readout.counted):
            continue
        wider = {}
        for layer in plan.connection.drives:
            own = getattr(layer.module, "surrogate", None)
            threshold = float(layer.threshold.mean())
            if isinstance(own, Surrogate) and own.sharpness * threshold > WIDE:
                wider[layer.name] = replace(own, sharpness=WIDE / threshold)
        if wider:
            plan.surrogates = wider
            plan.remark = f"surrogate widened to sharpness {WIDE:g}/θ"


def _wake_hidden_(network: nn.Module, plans: list[Plan], example: Any, time: Time) -> None:
    """Scale what was drawn in front of a layer that is silent all the same."""
    driving: dict[str, list[Plan]] = {}
    for plan in plans:
        own_law = plan.method is not None and plan.method.name in (NAME, SYNAPTIC)
        if own_law and not plan.connection.recurrent:  # what the user named stays as asked
            for layer in plan.connection.drives:
                driving.setdefault(layer.name, []).append(plan)
    for own in driving.values():
        module = own[0].connection.drives[0].module
        if module is None or not mean_rate(network, module, example, time=time) < SILENT:
            continue
        parameters = [plan.connection.parameter for plan in own]
        stage(f"waking {own[0].connection.drives[0].name}")
        factor, rate = wake_(network, module, parameters, example, time=time)
        said = "silent, and no scale of its weights wakes it"
        if factor != 1:
            said = f"silent, scaled by {factor:.3g} to the rate {rate:.2g}"
        for plan in own:
            plan.gain = None if factor != 1 else plan.gain  # measured
            plan.remark = "; ".join(filter(None, (plan.remark, said)))
