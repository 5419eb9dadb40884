r"""The leaky integrate-and-fire (LIF) neuron: one fused autograd function over time.

With potential u, spike x, threshold θ, leak β and input current i, step t computes

    u[t] = carry(u[t-1], x[t-1]) + i[t],      x[t] = 1 if u[t] > θ else 0,

and the reset is the form of the first term (`snnlib.resets.RULES`):

    "subtract"       β u[t-1] - θ x[t-1]
    "subtract_leak"  β (u[t-1] - θ x[t-1])
    "zero"           β u[t-1] (1 - x[t-1])
    "none"           β u[t-1]

The backward pass is derived by hand in the book's chapter on this neuron. Let s[t] = ∂x[t]/∂u[t]
be the surrogate slope, p[t] = ∂u[t+1]/∂u[t] and q[t] = ∂u[t+1]/∂x[t] the derivatives of the carry
(q = 0 for a detached reset), and m[t], z[t] the incoming gradients of membrane and spikes. Then
one recursion, backward in time, gives the total derivative λ[t] = dL/du[t]:

    λ[t] = m[t] + s[t] z[t] + (p[t] + s[t] q[t]) λ[t+1],      dL/di[t] = λ[t].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import NoneType
from typing import Any, ClassVar, NamedTuple, TypeAlias, get_args

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from snnlib.neurons._checks import (
    check_choice,
    check_export,
    check_strict,
    check_values,
    fitted,
    number,
    sequence,
    state,
)
from snnlib.neurons._lif_passes import Trajectory, adjoint, integrate
from snnlib.neurons._recursion import at, mapped, numbers_apart, plain
from snnlib.neurons._settings import (
    Layer,
    LearnedStart,
    Settings,
    ThresholdGradient,
    as_surrogate,
    brief,
    constant,
)
from snnlib.resets import RULES, Reset, ResetRule
from snnlib.surrogate import Surrogate

__all__ = ["LIF", "RULES", "LIFState", "LIFTrace", "ResetRule", "lif"]

Initial: TypeAlias = Tensor | tuple[Tensor, Tensor]


class LIFState(NamedTuple):
    """What a layer of neurons remembers between two steps.

    Attributes:
        membrane: Potential before the reset, [batch, features...].
        spikes: Spikes whose reset is still pending, same shape.
    """

    membrane: Tensor
    spikes: Tensor


class LIFTrace(NamedTuple):
    """Trajectory of a layer of neurons.

    Attributes:
        membrane: Potential that is compared with the threshold, so before the reset,
            [T, batch, features...].
        spikes: 1 where membrane > threshold, else 0; same shape and dtype.
    """

    membrane: Tensor
    spikes: Tensor

    @property
    def state(self) -> LIFState:
        """The last membrane and spikes: as `initial`, they continue the trajectory."""
        return LIFState(self.membrane[-1], self.spikes[-1])


# --- The function and the module ------------------------------------------------------------------


def lif(
    current: Tensor,
    *,
    leak: float | Tensor,
    threshold: float | Tensor,
    reset: Reset = "subtract",
    surrogate: Surrogate | None = None,
    initial: Initial | None = None,
    detach_reset: bool = True,
) -> LIFTrace:
    r"""Run leaky integrate-and-fire neurons over T steps.

    .. math:: u[t] = \beta u[t-1] - \theta x[t-1] + i[t], \qquad x[t] = [u[t] > \theta]

    for `reset="subtract"`. The first two terms are $\beta (u[t-1] - \theta x[t-1])$ for
    `"subtract_leak"`, $\beta u[t-1] (1 - x[t-1])$ for `"zero"` and $\beta u[t-1]$ for `"none"`.
    A reset shows in the membrane one step after its spike.

    On the way back $\partial x/\partial u = \sigma'(u - \theta)$, the surrogate derivative. Second
    derivatives, forward mode and `torch.func` work. Half-precision currents under autocast are
    integrated in float32. Threshold, leak and initial state take the dtype of the current.

    Args:
        current: Input current i, [T, batch, features...], floating point, T >= 1.
        leak: Share β of the potential that is kept each step, in [0, 1]; a float, or a tensor that
            broadcasts to [batch, features...].
        threshold: Threshold θ >= 0 in the unit of the current; a float, or such a tensor.
        reset: What a spike does to the potential one step later.
        surrogate: Derivative of the spike on the way back; None is `Surrogate("arctan")`.
        initial: State before the first step: a (membrane, spikes) pair such as the ``.state`` of an
            earlier trace, or a membrane alone with no reset pending; None is rest. Tensors
            broadcast to [batch, features...].
        detach_reset: Whether the way back ignores that the reset depends on the spike.

    Returns:
        Membrane and spikes, each [T, batch, features...].

    Raises:
        ValueError: If the current is not a floating-point tensor [T, batch, ...] with T >= 1, the
            threshold is negative, infinite or NaN, the leak is outside [0, 1], the reset is
            unknown, or a tensor does not broadcast to [batch, features...].

    Source:
        Micheli et al. 2024, Eqs. 5 and 13 (`"subtract"`).

    Example:
        From rest, below the threshold, a constant current 1 with leak 1/2 sums a geometric series:
        u[t] = 2 - 2**-t.

        >>> import torch
        >>> trace = lif(torch.ones(4, 1, 1), leak=0.5, threshold=2.0)
        >>> trace.membrane.flatten().tolist() == [2 - 2.0**-t for t in range(4)]
        True

        With the threshold at 1.25 the second step crosses it and the third pays for that; the
        fourth meets the threshold and does not cross it.

        >>> trace = lif(torch.ones(4, 1, 1), leak=0.5, threshold=1.25)
        >>> trace.spikes.flatten().tolist(), trace.membrane.flatten().tolist()
        ([0.0, 1.0, 0.0, 0.0], [1.0, 1.5, 0.5, 1.25])
    """
    settings = Settings.of_call(reset, surrogate, detach_reset)
    threshold, leak = number("threshold", threshold), number("leak", leak)
    return run_lif(current, leak, threshold, initial, settings)


class LIF(Layer):
    r"""A layer of leaky integrate-and-fire neurons, without weights: a module around `lif`.

    The surrogate's argument is $u - \theta$ (`"absolute"`) or $u/\theta - 1$ (`"relative"` and
    `"threshold_robust"`); with `"threshold_robust"` the output is $\theta x$ instead of $x$.

    Args:
        threshold: Threshold θ >= 0, and > 0 if learnable or not `"absolute"`; a float, or a tensor
            that broadcasts to [batch, features...] and is copied.
        leak: Leak β in [0, 1], and inside (0, 1) if learnable; a float, or such a tensor.
        reset: `"subtract"`, `"subtract_leak"`, `"zero"` or `"none"`, see `lif`.
        surrogate: Derivative of the spike on the way back; None is `Surrogate("arctan")`.
        detach_reset: Whether the way back ignores that the reset depends on the spike.
        learn_threshold: Learn the threshold, as the softplus of the parameter `raw_threshold`.
        learn_leak: Learn the leak, as the sigmoid of the parameter `raw_leak`.
        threshold_gradient: `"absolute"`, `"relative"` or `"threshold_robust"`.
        initial: Membrane before the first step: a tensor that broadcasts to [batch, features...],
            or a `snnlib.membrane.MPInit`, which learns one number for all neurons from the
            batches that `forward` sees in training mode; either is copied. None is rest.

    Raises:
        ValueError: If an argument is outside its range.

    Source:
        Micheli et al. 2024, Eqs. 5 and 13 (`reset="subtract"`).

    Example:
        >>> import torch
        >>> layer = LIF(threshold=1.25, leak=0.5)
        >>> layer(torch.ones(4, 1, 1)).flatten().tolist()
        [0.0, 1.0, 0.0, 0.0]
        >>> abs(LIF(leak=0.9, learn_leak=True).leak.item() - 0.9) < 1e-6
        True
    """

    _resets: ClassVar[Any] = RULES  # what a subclass may extend

    raw_threshold: nn.Parameter
    raw_leak: nn.Parameter
    fixed_threshold: float | Tensor
    fixed_leak: float | Tensor

    def __init__(
        self,
        *,
        threshold: float | Tensor = 1.0,
        leak: float | Tensor = 0.5,
        reset: Reset = "subtract",
        surrogate: Surrogate | None = None,
        detach_reset: bool = True,
        learn_threshold: bool = False,
        learn_leak: bool = False,
        threshold_gradient: ThresholdGradient = "absolute",
        initial: Tensor | LearnedStart | None = None,
    ) -> None:
        super().__init__()
        check_choice("reset", reset, self._resets)
        check_choice("threshold_gradient", threshold_gradient, get_args(ThresholdGradient))
        function = "or the function lif"
        threshold = constant(
            "threshold", threshold, learn_threshold, f"learn_threshold=True, {function}"
        )
        if threshold_gradient != "absolute":
            check_strict("threshold", threshold, math.inf, f'with "{threshold_gradient}"')
        leak = constant("leak", leak, learn_leak, f"learn_leak=True, {function}")
        self.reset = reset
        self.surrogate = as_surrogate(surrogate)
        self.detach_reset = detach_reset
        self.threshold_gradient = threshold_gradient
        self.learn_threshold, self.learn_leak = learn_threshold, learn_leak
        self._keep_start(initial, reset, leak)
        self._keep("threshold", threshold, learn_threshold)
        self._keep("leak", leak, learn_leak)

    @property
    def threshold(self) -> float | Tensor:
        """The threshold θ: a float, or a tensor (which carries gradients if learnable)."""
        return self._value("threshold")

    @property
    def leak(self) -> float | Tensor:
        """The leak β: a float, or a tensor (which carries gradients if learnable)."""
        return self._value("leak")

    def trace(self, current: Tensor) -> LIFTrace:
        """Membrane and spikes for a current [T, batch, features...]; see `lif`.

        Args:
            current: Input current, [T, batch, features...], floating point, T >= 1.

        Returns:
            Membrane and spikes, each [T, batch, features...].

        Raises:
            ValueError: If the current is not such a tensor, or the threshold, the leak or the
                initial membrane does not broadcast to [batch, features...].
        """
        return run_lif(current, self.leak, self.threshold, self._start(), self._settings)

    def forward(self, current: Tensor) -> Tensor:
        """Spikes [T, batch, features...], times θ with `"threshold_robust"`; see `trace`."""
        trace = self.trace(current)
        if self.training and not isinstance(self.initial, (Tensor, NoneType)):
            self._learn_start(trace)
        spikes = trace.spikes
        if self.threshold_gradient != "threshold_robust":
            return spikes
        threshold = self.threshold
        if isinstance(threshold, Tensor):
            threshold = threshold.to(spikes.dtype)
        return threshold * spikes

    def extra_repr(self) -> str:
        """The settings, for `print(model)`."""
        parts = [
            f"threshold={brief(self.threshold, self.learn_threshold)}",
            f"leak={brief(self.leak, self.learn_leak)}",
            f"reset={self.reset!r}",
            f"surrogate={self.surrogate!r}",
        ]
        if not self.detach_reset:
            parts.append("detach_reset=False")
        if self.threshold_gradient != "absolute":
            parts.append(f"threshold_gradient={self.threshold_gradient!r}")
        if isinstance(self.initial, Tensor):
            parts.append(f"initial={brief(self.initial, False)}")
        return ", ".join(parts)


# --- The fused function ---------------------------------------------------------------------------


def run_lif(
    current: Tensor,
    leak: float | Tensor,
    threshold: float | Tensor,
    initial: Tensor | tuple[Tensor, ...] | None,
    settings: Settings,
) -> LIFTrace:
    """Fit all tensors to the current and apply the fused function."""
    current = sequence(current)
    check_export(current, threshold, leak)
    threshold = fitted("threshold", threshold, current)
    leak = fitted("leak", leak, current)
    start = state(initial, ("membrane", "spikes"), "a {} pair", current) or (None, None)
    return LIFTrace(*_FusedLIF.apply(current, threshold, leak, *start, settings))


class _FusedLIF(torch.autograd.Function):
    """All T steps as one node of the autograd graph.

    Inputs: current [T, ...], threshold, leak (floats or tensors), membrane and spikes before the
    first step (both tensors or both None), settings. Outputs: membrane and spikes, each [T, ...].
    """

    @staticmethod
    def forward(
        current: Tensor,
        threshold: float | Tensor,
        leak: float | Tensor,
        membrane0: Tensor | None,
        spikes0: Tensor | None,
        settings: Settings,
    ) -> tuple[Tensor, Tensor]:
        if settings.check:
            # Tensors are plain ones here, even under vmap. On a GPU the check waits for the
            # device, once a call; the module needs none.
            check_values("threshold", threshold)
            check_values("leak", leak)
        membrane, spikes = torch.empty_like(current), torch.empty_like(current)
        start = None if membrane0 is None or spikes0 is None else (membrane0, spikes0)
        integrate(current, membrane, spikes, threshold, leak, start, settings.reset)
        return membrane, spikes

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        _, threshold, leak, membrane0, spikes0, ctx.settings = inputs
        ctx.set_materialize_grads(False)
        # The outputs are saved, not copies of them: a second derivative flows back through them.
        ctx.numbers, tensors = numbers_apart((threshold, leak))
        ctx.save_for_backward(*output, *tensors, membrane0, spikes0)
        ctx.save_for_forward(*output, *tensors, membrane0, spikes0)

    @staticmethod
    def backward(ctx: Any, grad_membrane: Any, grad_spikes: Any) -> Any:
        if grad_membrane is None and grad_spikes is None:
            return (None,) * 6
        grads = adjoint(_saved(ctx), grad_membrane, grad_spikes, ctx.needs_input_grad[1:5])
        return *grads, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor, Tensor]:
        with forward_ad._set_fwd_grad_enabled(True):
            return _push_forward(_saved(ctx, plain), *tangents[:-1])

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Any, Any]:
        """Make the mapped dimension one more batch dimension, right after time."""
        current, *others, settings = inputs
        current, others = mapped(info, in_dims, current, tuple(others))
        return _FusedLIF.apply(current, *others, settings), (1, 1)


def _saved(ctx: Any, view: Callable[[Tensor], Tensor | None] = lambda kept: kept) -> Trajectory:
    """The trajectory that the fused function saved."""
    saved: list[Any] = [view(kept) for kept in ctx.saved_tensors]
    membrane, spikes, threshold, leak, membrane0, spikes0 = saved
    threshold = ctx.numbers[0] if threshold is None else threshold
    leak = ctx.numbers[1] if leak is None else leak
    start = None if membrane0 is None else (membrane0, spikes0)
    return Trajectory(membrane, spikes, threshold, leak, start, ctx.settings)


def _push_forward(
    run: Trajectory,
    d_current: Tensor | None,
    d_threshold: Tensor | None,
    d_leak: Tensor | None,
    d_membrane: Tensor | None,
    d_spikes: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Tangents of membrane and spikes, forward in time."""
    like = run.membrane
    every = run.steps(0, like.shape[0])
    steps: list[tuple[Tensor, Tensor]] = []
    for t in range(like.shape[0]):
        u = torch.zeros_like(like[t]) if d_current is None else d_current[t]
        before, k = (run.start, -1) if t == 0 else (every, t - 1)
        if before is not None:
            pairs = (
                (before.by_membrane, d_membrane),
                (before.by_spikes, d_spikes),
                (before.by_threshold, d_threshold),
                (before.by_leak, d_leak),
            )
            for partial, tangent in pairs:
                if partial is not None and tangent is not None:
                    u = u + at(partial, k, like) * tangent
        x = every.slope[t] * u
        if d_threshold is not None:
            x = x + every.by_crossing[t] * d_threshold
        steps.append((u, x))
        d_membrane, d_spikes = u, x
    membranes, spikes = zip(*steps, strict=True)
    return torch.stack(membranes), torch.stack(spikes)
