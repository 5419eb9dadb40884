r"""The leaky integrate-and-fire (LIF) neuron: one fused autograd function over time.

With potential u, spike x, threshold θ, leak β and input current i, step t computes

    u[t] = carry(u[t-1], x[t-1]) + i[t],      x[t] = 1 if u[t] > θ else 0,

and the reset is the form of the first term (`RULES`):

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
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional

from snnlib.surrogate import Surrogate

__all__ = ["LIF", "RULES", "LIFState", "LIFTrace", "ResetRule", "lif"]

Reset: TypeAlias = Literal["subtract", "subtract_leak", "zero", "none"]
ThresholdGradient: TypeAlias = Literal["absolute", "relative", "threshold_robust"]
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


# --- The four resets ------------------------------------------------------------------------------


@dataclass(frozen=True)
class ResetRule:
    """What potential u and spike x bring into the next step, and the derivatives of that.

    Every function but `into` takes (u, x, threshold, leak) and uses arithmetic only, so it accepts
    numbers, tensors and SymPy symbols. None stands for a derivative that is zero.

    Attributes:
        carry: The carried term.
        by_membrane: Its derivative with respect to u.
        by_spikes: With respect to x.
        by_threshold: With respect to the threshold.
        by_leak: With respect to the leak.
        into: (out, u, x, threshold, leak): writes the carried term into `out` with the same
            roundings, in few kernels and without temporaries.
    """

    carry: Callable[[Any, Any, Any, Any], Any]
    by_membrane: Callable[[Any, Any, Any, Any], Any]
    by_spikes: Callable[[Any, Any, Any, Any], Any] | None
    by_threshold: Callable[[Any, Any, Any, Any], Any] | None
    by_leak: Callable[[Any, Any, Any, Any], Any]
    into: Callable[[Tensor, Tensor, Tensor, Any, Any], None]


def _subtract_into(out: Tensor, u: Tensor, x: Tensor, threshold: Any, leak: Any) -> None:
    torch.mul(u, leak, out=out)
    _less(out, x, threshold, out=out)


def _subtract_leak_into(out: Tensor, u: Tensor, x: Tensor, threshold: Any, leak: Any) -> None:
    _less(u, x, threshold, out=out)
    out.mul_(leak)


def _zero_into(out: Tensor, u: Tensor, x: Tensor, threshold: Any, leak: Any) -> None:
    torch.mul(u, leak, out=out)
    out.addcmul_(out, x, value=-1)


def _none_into(out: Tensor, u: Tensor, x: Tensor, threshold: Any, leak: Any) -> None:
    torch.mul(u, leak, out=out)


def _less(u: Tensor, x: Tensor, threshold: float | Tensor, *, out: Tensor) -> None:
    if isinstance(threshold, Tensor):
        torch.addcmul(u, x, threshold, value=-1, out=out)
    else:
        torch.sub(u, x, alpha=threshold, out=out)


RULES: dict[str, ResetRule] = {
    "subtract": ResetRule(
        carry=lambda u, x, threshold, leak: leak * u - threshold * x,
        by_membrane=lambda u, x, threshold, leak: leak,
        by_spikes=lambda u, x, threshold, leak: -threshold,
        by_threshold=lambda u, x, threshold, leak: -x,
        by_leak=lambda u, x, threshold, leak: u,
        into=_subtract_into,
    ),
    "subtract_leak": ResetRule(
        carry=lambda u, x, threshold, leak: leak * (u - threshold * x),
        by_membrane=lambda u, x, threshold, leak: leak,
        by_spikes=lambda u, x, threshold, leak: -leak * threshold,
        by_threshold=lambda u, x, threshold, leak: -leak * x,
        by_leak=lambda u, x, threshold, leak: u - threshold * x,
        into=_subtract_leak_into,
    ),
    "zero": ResetRule(
        carry=lambda u, x, threshold, leak: leak * u * (1 - x),
        by_membrane=lambda u, x, threshold, leak: leak * (1 - x),
        by_spikes=lambda u, x, threshold, leak: -leak * u,
        by_threshold=None,
        by_leak=lambda u, x, threshold, leak: u * (1 - x),
        into=_zero_into,
    ),
    "none": ResetRule(
        carry=lambda u, x, threshold, leak: leak * u,
        by_membrane=lambda u, x, threshold, leak: leak,
        by_spikes=None,
        by_threshold=None,
        by_leak=lambda u, x, threshold, leak: u,
        into=_none_into,
    ),
}


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

    $$u[t] = \beta u[t-1] - \theta x[t-1] + i[t], \qquad x[t] = 1 \text{ if } u[t] > \theta
    \text{ else } 0$$

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
        initial: State before the first step: a (membrane, spikes) pair such as the `.state` of an
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
    _check_choice("reset", reset, RULES)
    settings = _Settings(
        reset=reset,
        surrogate=Surrogate("arctan") if surrogate is None else surrogate,
        detach_reset=detach_reset,
        relative=False,
        check=True,
    )
    threshold = _number("threshold", threshold, math.inf)
    leak = _number("leak", leak, 1.0)
    return _run(current, leak, threshold, initial, settings)


class LIF(nn.Module):
    r"""A layer of leaky integrate-and-fire neurons, without weights: a module around `lif`.

    The surrogate's argument is $u - \theta$ (`"absolute"`) or $u/\theta - 1$ (`"relative"` and
    `"threshold_robust"`); with `"threshold_robust"` the output is $\theta x$ instead of $x$.

    Args:
        threshold: Threshold θ >= 0, and > 0 if learnable or not `"absolute"`; a float, or a tensor
            that broadcasts to [batch, features...].
        leak: Leak β in [0, 1], and inside (0, 1) if learnable; a float, or such a tensor.
        reset: `"subtract"`, `"subtract_leak"`, `"zero"` or `"none"`, see `lif`.
        surrogate: Derivative of the spike on the way back; None is `Surrogate("arctan")`.
        detach_reset: Whether the way back ignores that the reset depends on the spike.
        learn_threshold: Learn the threshold, as the softplus of the parameter `raw_threshold`.
        learn_leak: Learn the leak, as the sigmoid of the parameter `raw_leak`.
        threshold_gradient: `"absolute"`, `"relative"` or `"threshold_robust"`.
        initial: Membrane before the first step, a tensor that broadcasts to [batch, features...];
            None is rest.

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

    raw_threshold: nn.Parameter
    raw_leak: nn.Parameter
    fixed_threshold: float | Tensor
    fixed_leak: float | Tensor
    initial: Tensor | None

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
        initial: Tensor | None = None,
    ) -> None:
        super().__init__()
        _check_choice("reset", reset, RULES)
        _check_choice("threshold_gradient", threshold_gradient, get_args(ThresholdGradient))
        threshold = _number("threshold", threshold, math.inf)
        leak = _number("leak", leak, 1.0)
        _check_values(threshold, leak)
        if learn_threshold:
            _check_strict("threshold", threshold, math.inf, "to be learnable")
        if threshold_gradient != "absolute":
            _check_strict("threshold", threshold, math.inf, f'with "{threshold_gradient}"')
        if learn_leak:
            _check_strict("leak", leak, 1.0, "to be learnable")
        if initial is not None:
            initial = _floating("initial", initial).detach().clone()
        self.reset = reset
        self.surrogate = Surrogate("arctan") if surrogate is None else surrogate
        self.detach_reset = detach_reset
        self.learn_threshold = learn_threshold
        self.learn_leak = learn_leak
        self.threshold_gradient = threshold_gradient
        self.register_buffer("initial", initial)
        self._keep("threshold", threshold, _inverse_softplus if learn_threshold else None)
        self._keep("leak", leak, torch.logit if learn_leak else None)

    def _keep(
        self, name: str, value: float | Tensor, inverse: Callable[[Tensor], Tensor] | None
    ) -> None:
        """Keep a constant as float or buffer, a learnable value as a raw parameter."""
        if inverse is not None:
            dtype = value.dtype if isinstance(value, Tensor) else torch.get_default_dtype()
            raw = inverse(torch.as_tensor(value).detach().double()).to(dtype)
            self.register_parameter(f"raw_{name}", nn.Parameter(raw))
        elif isinstance(value, Tensor):
            self.register_buffer(f"fixed_{name}", value.detach().clone())
        else:
            setattr(self, f"fixed_{name}", value)

    @property
    def threshold(self) -> float | Tensor:
        """The threshold θ: a float, or a tensor (which carries gradients if learnable)."""
        if self.learn_threshold:
            return functional.softplus(self.raw_threshold)
        return self.fixed_threshold

    @property
    def leak(self) -> float | Tensor:
        """The leak β: a float, or a tensor (which carries gradients if learnable)."""
        return torch.sigmoid(self.raw_leak) if self.learn_leak else self.fixed_leak

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
        settings = _Settings(
            reset=self.reset,
            surrogate=self.surrogate,
            detach_reset=self.detach_reset,
            relative=self.threshold_gradient != "absolute",
            check=False,  # checked when made; softplus and sigmoid keep learnable values in range
        )
        return _run(current, self.leak, self.threshold, self.initial, settings)

    def forward(self, current: Tensor) -> Tensor:
        """Spikes [T, batch, features...], times θ with `"threshold_robust"`; see `trace`."""
        spikes = self.trace(current).spikes
        if self.threshold_gradient != "threshold_robust":
            return spikes
        threshold = self.threshold
        if isinstance(threshold, Tensor):
            threshold = threshold.to(spikes.dtype)
        return threshold * spikes

    def extra_repr(self) -> str:
        """The settings, for `print(model)`."""
        parts = [
            f"threshold={_brief(self.threshold, self.learn_threshold)}",
            f"leak={_brief(self.leak, self.learn_leak)}",
            f"reset={self.reset!r}",
            f"surrogate={self.surrogate!r}",
        ]
        if not self.detach_reset:
            parts.append("detach_reset=False")
        if self.threshold_gradient != "absolute":
            parts.append(f"threshold_gradient={self.threshold_gradient!r}")
        if self.initial is not None:
            parts.append(f"initial={_brief(self.initial, False)}")
        return ", ".join(parts)


# --- The fused function ---------------------------------------------------------------------------


@dataclass(frozen=True)
class _Settings:
    """The arguments of the fused function that are not numbers."""

    reset: str
    surrogate: Surrogate
    detach_reset: bool
    relative: bool
    check: bool


def _run(
    current: Tensor,
    leak: float | Tensor,
    threshold: float | Tensor,
    initial: Initial | None,
    settings: _Settings,
) -> LIFTrace:
    """Fit all tensors to the current and apply the fused function."""
    if not isinstance(current, Tensor) or not current.is_floating_point():
        raise ValueError(f"current must be a floating-point tensor, got {_brief_kind(current)}")
    if current.dim() < 2 or current.shape[0] == 0:
        raise ValueError(
            f"current must be [T, batch, features...] with T >= 1, got shape {list(current.shape)}"
        )
    low = current.dtype in (torch.float16, torch.bfloat16)
    if low and torch.is_autocast_enabled(current.device.type):
        current = current.float()  # as autocast does for sums: a leaky sum needs the low bits
    threshold = _fitted("threshold", threshold, current)
    leak = _fitted("leak", leak, current)
    membrane, spikes = initial if isinstance(initial, tuple) else (initial, None)
    if membrane is not None:
        membrane = _fitted("initial membrane", _floating("initial membrane", membrane), current)
        spikes = torch.zeros_like(membrane) if spikes is None else spikes
        spikes = _fitted("initial spikes", _floating("initial spikes", spikes), current)
    return LIFTrace(*_FusedLIF.apply(current, threshold, leak, membrane, spikes, settings))


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
        settings: _Settings,
    ) -> tuple[Tensor, Tensor]:
        if settings.check:
            # Tensors are plain ones here, even under vmap. On a GPU the check waits for the
            # device, once a call; the module needs none.
            _check_values(threshold, leak)
        carry_into = RULES[settings.reset].into
        membrane, spikes = torch.empty_like(current), torch.empty_like(current)
        for t in range(current.shape[0]):
            u, x = membrane[t], spikes[t]
            if t > 0:
                carry_into(u, membrane[t - 1], spikes[t - 1], threshold, leak)
                u.add_(current[t])
            elif membrane0 is not None and spikes0 is not None:
                carry_into(u, membrane0.expand_as(u), spikes0.expand_as(u), threshold, leak)
                u.add_(current[t])
            else:
                u.copy_(current[t])
            torch.gt(u, threshold, out=x)
        return membrane, spikes

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        _, threshold, leak, membrane0, spikes0, ctx.settings = inputs
        ctx.set_materialize_grads(False)
        # The outputs are saved, not copies of them: a second derivative flows back through them.
        ctx.numbers = [None if isinstance(value, Tensor) else value for value in (threshold, leak)]
        tensors = [value if isinstance(value, Tensor) else None for value in (threshold, leak)]
        ctx.save_for_backward(*output, *tensors, membrane0, spikes0)
        ctx.save_for_forward(*output, *tensors, membrane0, spikes0)

    @staticmethod
    def backward(ctx: Any, grad_membrane: Tensor | None, grad_spikes: Tensor | None) -> Any:
        if grad_membrane is None and grad_spikes is None:
            return (None,) * 6
        run = _Unrolled(ctx)
        if grad_spikes is None:
            total = grad_membrane
        else:
            total = run.slope * grad_spikes
            total = total if grad_membrane is None else total + grad_membrane
        assert total is not None
        by_membrane, by_spikes = run.by_membrane(), run.by_spikes()
        factor = run.between(by_membrane)
        if by_spikes is not None:
            factor = factor + run.slope[:-1] * run.between(by_spikes)
        if torch.is_grad_enabled():  # this pass is differentiated itself: create_graph, torch.func
            total = _reverse_recorded(total, factor)
        else:
            total = _reverse_in_place(total.clone() if grad_spikes is None else total, factor)

        arrived = total if run.started else total[1:]  # at the steps that had one before them
        _, need_threshold, need_leak, need_membrane0, need_spikes0, _ = ctx.needs_input_grad
        grad_threshold = grad_leak = grad_membrane0 = grad_spikes0 = None
        if need_threshold:
            parts = []
            shift = run.threshold_slope()
            if grad_spikes is not None:
                parts.append(shift * grad_spikes)
            if by_spikes is not None:
                parts.append(shift[:-1] * run.between(by_spikes) * total[1:])
            by_threshold = run.by_threshold()
            if by_threshold is not None:
                parts.append(by_threshold * arrived)
            grad_threshold = sum(part.sum_to_size(run.threshold.shape) for part in parts)
        if need_leak:
            grad_leak = (run.by_leak() * arrived).sum_to_size(run.leak.shape)
        if need_membrane0:
            grad_membrane0 = (run.first(by_membrane) * total[0]).sum_to_size(run.membrane0.shape)
        if need_spikes0 and by_spikes is not None:
            grad_spikes0 = (run.first(by_spikes) * total[0]).sum_to_size(run.spikes0.shape)
        return total, grad_threshold, grad_leak, grad_membrane0, grad_spikes0, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor, Tensor]:
        # torch switches forward mode off in here, which would silently drop the tangents of an
        # outer forward-mode derivative. So switch it on, for values without their own tangents.
        with forward_ad._set_fwd_grad_enabled(True):
            run = _Unrolled(ctx, lambda saved: forward_ad.unpack_dual(saved).primal)
            return _push_forward(run, *tangents[:-1])

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Any, Any]:
        """Make the mapped dimension one more batch dimension, right after time."""
        current, *others, settings = inputs
        if in_dims[0] is None:
            current = current.unsqueeze(1).expand(-1, info.batch_size, *current.shape[1:])
        else:
            current = current.movedim(in_dims[0], 1)
        moved = []
        for value, dim in zip(others, in_dims[1:-1], strict=True):
            if dim is not None:
                value = value.movedim(dim, 0)
                missing = current.dim() - 1 - value.dim()
                value = value.reshape(value.shape[0], *[1] * missing, *value.shape[1:])
            moved.append(value)
        return _FusedLIF.apply(current, *moved, settings), (1, 1)


class _Unrolled:
    """The partial derivatives of a trajectory, from what the fused function saved.

    "Before" is the index of the step that precedes another: it starts at the initial state, if
    there is one.
    """

    def __init__(self, ctx: Any, view: Callable[[Tensor], Tensor] = lambda saved: saved) -> None:
        saved: list[Any] = [None if kept is None else view(kept) for kept in ctx.saved_tensors]
        membrane, spikes, threshold, leak, membrane0, spikes0 = saved
        settings: _Settings = ctx.settings
        self.membrane, self.membrane0, self.spikes0 = membrane, membrane0, spikes0
        self.threshold = ctx.numbers[0] if threshold is None else threshold
        self.leak = ctx.numbers[1] if leak is None else leak
        self.started = membrane0 is not None
        self.relative = settings.relative
        self.rule, self.detached = RULES[settings.reset], settings.detach_reset
        self._spikes = spikes
        self._before: tuple[Any, ...] | None = None
        if self.relative:
            slope = settings.surrogate.derivative(membrane / self.threshold - 1)
            self.slope = slope / self.threshold
        else:
            self.slope = settings.surrogate.derivative(membrane - self.threshold)

    @property
    def before(self) -> tuple[Any, ...]:
        """The arguments of the reset's functions for each step before another."""
        if self._before is None:
            u, x = self.membrane[:-1], self._spikes[:-1]
            if self.started:
                u = torch.cat([self.membrane0.expand_as(self.membrane[0]).unsqueeze(0), u])
                x = torch.cat([self.spikes0.expand_as(self.membrane[0]).unsqueeze(0), x])
            # A detached reset holds the spike constant, in second derivatives too.
            self._before = (u, x.detach() if self.detached else x, self.threshold, self.leak)
        return self._before

    def by_membrane(self) -> Any:
        """The derivative of the carry by the membrane before."""
        return self.rule.by_membrane(*self.before)

    def by_spikes(self) -> Any:
        """The derivative of the carry by the spikes before; None where none is wanted."""
        if self.detached or self.rule.by_spikes is None:
            return None
        return self.rule.by_spikes(*self.before)

    def by_threshold(self) -> Any:
        """The derivative of the carry by the threshold."""
        return None if self.rule.by_threshold is None else self.rule.by_threshold(*self.before)

    def by_leak(self) -> Any:
        """The derivative of the carry by the leak."""
        return self.rule.by_leak(*self.before)

    def threshold_slope(self) -> Any:
        """The derivative of the spikes by the threshold at a fixed membrane."""
        return -self.slope * self.membrane / self.threshold if self.relative else -self.slope

    def at(self, value: Any, k: int) -> Any:
        """Entry k of a value that may be constant in time."""
        timed = isinstance(value, Tensor) and value.dim() == self.membrane.dim()
        return value[k] if timed else value

    def first(self, value: Any) -> Any:
        """A value's entry at the initial state."""
        return self.at(value, 0)

    def between(self, value: Any) -> Any:
        """A value's entries between two steps of the trajectory, without the initial state."""
        timed = isinstance(value, Tensor) and value.dim() == self.membrane.dim()
        return value[1:] if timed and self.started else value


def _push_forward(
    run: _Unrolled,
    d_current: Tensor | None,
    d_threshold: Tensor | None,
    d_leak: Tensor | None,
    d_membrane: Tensor | None,
    d_spikes: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Tangents of membrane and spikes, forward in time."""
    by_membrane, by_spikes = run.by_membrane(), run.by_spikes()
    extra: list[Tensor] = []
    if d_threshold is not None and (by_threshold := run.by_threshold()) is not None:
        extra.append(by_threshold * d_threshold)
    if d_leak is not None:
        extra.append(run.by_leak() * d_leak)
    shift = None if d_threshold is None else run.threshold_slope() * d_threshold
    rest = torch.zeros_like(run.membrane[0])
    steps: list[tuple[Tensor, Tensor]] = []
    for t in range(run.membrane.shape[0]):
        u = rest if d_current is None else d_current[t]
        k = t - 1 + run.started  # index of the step before
        if k >= 0:
            if d_membrane is not None:
                u = u + run.at(by_membrane, k) * d_membrane
            if d_spikes is not None and by_spikes is not None:
                u = u + run.at(by_spikes, k) * d_spikes
            for term in extra:
                u = u + run.at(term, k)
        x = run.slope[t] * u
        if shift is not None:
            x = x + shift[t]
        steps.append((u, x))
        d_membrane, d_spikes = u, x
    membranes, spikes = zip(*steps, strict=True)
    return torch.stack(membranes), torch.stack(spikes)


def _reverse_in_place(total: Tensor, factor: float | Tensor) -> Tensor:
    """Run λ[t] += factor[t] λ[t+1] backward in time, in place."""
    timed = isinstance(factor, Tensor) and factor.dim() == total.dim()
    for t in range(total.shape[0] - 2, -1, -1):
        if isinstance(factor, Tensor):
            total[t].addcmul_(factor[t] if timed else factor, total[t + 1])
        else:
            total[t].add_(total[t + 1], alpha=factor)
    return total


def _reverse_recorded(total: Tensor, factor: float | Tensor) -> Tensor:
    """Run the same recursion with operations that autograd can record."""
    timed = isinstance(factor, Tensor) and factor.dim() == total.dim()
    steps = [total[-1]]
    for t in range(total.shape[0] - 2, -1, -1):
        step = factor[t] if isinstance(factor, Tensor) and timed else factor
        steps.append(total[t] + step * steps[-1])
    return torch.stack(steps[::-1])


# --- Checks ---------------------------------------------------------------------------------------


def _check_choice(name: str, value: object, choices: Any) -> None:
    if value not in choices:
        known = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} must be one of {known}, got {value!r}")


def _range(high: float, strict: bool = False) -> str:
    if math.isinf(high):
        return "> 0 and finite" if strict else ">= 0 and finite"
    return f"inside (0, {high:g})" if strict else f"in [0, {high:g}]"


def _number(name: str, value: float | Tensor, high: float) -> float | Tensor:
    """A real number as a checked float; a tensor as it is (its values are checked later)."""
    if isinstance(value, Tensor):
        if value.is_complex() or value.dtype == torch.bool:
            raise ValueError(f"{name} must be real and {_range(high)}, got {_brief_kind(value)}")
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(
            f"{name} must be a number or a tensor, {_range(high)}, got {value!r}"
        ) from None
    if not 0 <= number <= high or math.isinf(number):
        raise ValueError(f"{name} must be {_range(high)}, got {value!r}{_nearest(number, high)}")
    return number


def _nearest(number: float, high: float) -> str:
    if math.isnan(number) or math.isinf(number):
        return ""
    return f" (nearest: {min(max(number, 0.0), high):g})"


def _check_values(threshold: float | Tensor, leak: float | Tensor) -> None:
    """Check the values of tensors; floats were checked by `_number`."""
    for name, value, high in (("threshold", threshold, math.inf), ("leak", leak, 1.0)):
        if isinstance(value, Tensor):
            good = (value >= 0) & (value <= high) & (value < math.inf)  # NaN compares false
            _check_all(name, value, good, _range(high))


def _check_strict(name: str, value: float | Tensor, high: float, why: str) -> None:
    tensor = torch.as_tensor(value)
    good = (tensor > 0) & (tensor < high)
    _check_all(name, tensor, good, f"{_range(high, strict=True)} {why}")


def _check_all(name: str, value: Tensor, good: Tensor, wanted: str) -> None:
    if not bool(good.all()):
        bad = value.detach()[~good].flatten()[0].item()
        raise ValueError(f"{name} must be {wanted}, got {bad!r}")


def _floating(name: str, value: object) -> Tensor:
    if not isinstance(value, Tensor) or not value.is_floating_point():
        raise ValueError(f"{name} must be a floating-point tensor, got {_brief_kind(value)}")
    return value


def _fitted(name: str, value: Any, current: Tensor) -> Any:
    """A tensor in the current's dtype, once it is known to broadcast to one step of it."""
    if not isinstance(value, Tensor):
        return value
    wanted = current.shape[1:]
    short = len(wanted) - value.dim()
    if short < 0 or any(
        own not in (1, step) for own, step in zip(value.shape, wanted[short:], strict=True)
    ):
        raise ValueError(
            f"{name} must broadcast to one step of the current, shape {list(wanted)}, "
            f"got shape {list(value.shape)}"
        )
    return value.to(current.dtype)


def _inverse_softplus(value: Tensor) -> Tensor:
    return value + torch.log(-torch.expm1(-value))


def _brief_kind(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of {value.dtype}"
    return f"{type(value).__name__} {value!r}"


def _brief(value: float | Tensor, learnable: bool) -> str:
    text = f"{value:g}" if not isinstance(value, Tensor) else ""
    if isinstance(value, Tensor):
        single = value.numel() == 1
        text = f"{value.item():g}" if single else f"tensor{list(value.shape)}"
    return f"{text} (learnable)" if learnable else text
