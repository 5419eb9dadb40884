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

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, TypeAlias, get_args

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional

from snnlib.surrogate import Surrogate

if TYPE_CHECKING:
    from snnlib.membrane import MPInit

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
        after: The potential right after the reset: the carried term is the leak times it.
    """

    carry: Callable[[Any, Any, Any, Any], Any]
    by_membrane: Callable[[Any, Any, Any, Any], Any]
    by_spikes: Callable[[Any, Any, Any, Any], Any] | None
    by_threshold: Callable[[Any, Any, Any, Any], Any] | None
    by_leak: Callable[[Any, Any, Any, Any], Any]
    into: Callable[[Tensor, Tensor, Tensor, Any, Any], None]
    after: Callable[[Any, Any, Any, Any], Any]


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
        after=lambda u, x, threshold, leak: u - threshold * x / leak,
    ),
    "subtract_leak": ResetRule(
        carry=lambda u, x, threshold, leak: leak * (u - threshold * x),
        by_membrane=lambda u, x, threshold, leak: leak,
        by_spikes=lambda u, x, threshold, leak: -leak * threshold,
        by_threshold=lambda u, x, threshold, leak: -leak * x,
        by_leak=lambda u, x, threshold, leak: u - threshold * x,
        into=_subtract_leak_into,
        after=lambda u, x, threshold, leak: u - threshold * x,
    ),
    "zero": ResetRule(
        carry=lambda u, x, threshold, leak: leak * u * (1 - x),
        by_membrane=lambda u, x, threshold, leak: leak * (1 - x),
        by_spikes=lambda u, x, threshold, leak: -leak * u,
        by_threshold=None,
        by_leak=lambda u, x, threshold, leak: u * (1 - x),
        into=_zero_into,
        after=lambda u, x, threshold, leak: u * (1 - x),
    ),
    "none": ResetRule(
        carry=lambda u, x, threshold, leak: leak * u,
        by_membrane=lambda u, x, threshold, leak: leak,
        by_spikes=None,
        by_threshold=None,
        by_leak=lambda u, x, threshold, leak: u,
        into=_none_into,
        after=lambda u, x, threshold, leak: u,
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
    initial: Tensor | MPInit | None

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
        initial: Tensor | MPInit | None = None,
    ) -> None:
        super().__init__()
        _check_choice("reset", reset, self._resets)
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
        _check_constant("threshold", threshold, learn_threshold)
        _check_constant("leak", leak, learn_leak)
        if isinstance(initial, nn.Module):
            _check_learnable_start(initial, reset, leak)
            initial = copy.deepcopy(initial)  # one per layer, also where layers share settings
        elif initial is not None:
            initial = _floating("initial", initial).detach().clone()
        self.reset = reset
        self.surrogate = Surrogate("arctan") if surrogate is None else surrogate
        self.detach_reset = detach_reset
        self.learn_threshold = learn_threshold
        self.learn_leak = learn_leak
        self.threshold_gradient = threshold_gradient
        if isinstance(initial, nn.Module):
            self.initial = initial
        else:
            self.register_buffer("initial", initial)
        self._keep("threshold", threshold, _inverse_softplus if learn_threshold else None)
        self._keep("leak", leak, torch.logit if learn_leak else None)

    def _keep(
        self, name: str, value: float | Tensor, inverse: Callable[[Tensor], Tensor] | None
    ) -> None:
        """Keep a constant as float or buffer, a learnable value as a raw parameter."""
        if inverse is not None:
            tensor = torch.as_tensor(value).detach()
            given = isinstance(value, Tensor) and tensor.is_floating_point()
            raw = inverse(tensor.double()).to(tensor.dtype if given else torch.get_default_dtype())
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
        return _run(current, self.leak, self.threshold, self._start(), self._settings)

    def _start(self) -> Tensor | None:
        """The membrane before the first step."""
        return self.initial() if isinstance(self.initial, nn.Module) else self.initial

    @torch.no_grad()
    def _learn_start(self, trace: Any) -> None:
        """Tell the start of the next batch how this one ended."""
        assert isinstance(self.initial, nn.Module)
        membrane, spikes = trace.membrane[-1], trace.spikes[-1]
        threshold, leak = (_fitted("", value, membrane) for value in (self.threshold, self.leak))
        self.initial.update(
            RULES[self.reset].after(membrane, spikes, threshold, leak), trace.spikes
        )

    @property
    def _settings(self) -> _Settings:
        return _Settings(
            reset=self.reset,
            surrogate=self.surrogate,
            detach_reset=self.detach_reset,
            relative=self.threshold_gradient != "absolute",
            check=False,  # checked when made; softplus and sigmoid keep learnable values in range
        )

    def forward(self, current: Tensor) -> Tensor:
        """Spikes [T, batch, features...], times θ with `"threshold_robust"`; see `trace`."""
        trace = self.trace(current)
        if self.training and isinstance(self.initial, nn.Module):
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
            f"threshold={_brief(self.threshold, self.learn_threshold)}",
            f"leak={_brief(self.leak, self.learn_leak)}",
            f"reset={self.reset!r}",
            f"surrogate={self.surrogate!r}",
        ]
        if not self.detach_reset:
            parts.append("detach_reset=False")
        if self.threshold_gradient != "absolute":
            parts.append(f"threshold_gradient={self.threshold_gradient!r}")
        if isinstance(self.initial, Tensor):
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
    current = _sequence(current)
    threshold = _fitted("threshold", threshold, current)
    leak = _fitted("leak", leak, current)
    if isinstance(initial, tuple) and len(initial) != 2:
        raise ValueError(
            "initial must be a membrane or a (membrane, spikes) pair, "
            f"got a tuple of length {len(initial)}"
        )
    membrane, spikes = initial if isinstance(initial, tuple) else (initial, None)
    if membrane is not None:
        membrane = _fitted("initial membrane", _floating("initial membrane", membrane), current)
        spikes = torch.zeros_like(membrane) if spikes is None else spikes
        spikes = _fitted("initial spikes", _floating("initial spikes", spikes), current)
    return LIFTrace(*_FusedLIF.apply(current, threshold, leak, membrane, spikes, settings))


def _sequence(current: Tensor) -> Tensor:
    """The current once it is known to run over time, in the precision of the integration."""
    if not isinstance(current, Tensor) or not current.is_floating_point():
        raise ValueError(f"current must be a floating-point tensor, got {_brief_kind(current)}")
    if current.dim() < 2 or current.shape[0] == 0:
        raise ValueError(
            f"current must be [T, batch, features...] with T >= 1, got shape {list(current.shape)}"
        )
    low = current.dtype in (torch.float16, torch.bfloat16)
    if low and torch.is_autocast_enabled(current.device.type):
        return current.float()  # as autocast does for sums: a leaky sum needs the low bits
    return current


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
    def backward(ctx: Any, grad_membrane: Any, grad_spikes: Any) -> Any:
        if grad_membrane is None and grad_spikes is None:
            return (None,) * 6
        run = _Saved(ctx)
        _, need_threshold, need_leak, need_membrane0, need_spikes0, _ = ctx.needs_input_grad
        grad_threshold = grad_leak = grad_membrane0 = grad_spikes0 = None

        # Grad mode is on when this pass is itself differentiated (create_graph, torch.func): then
        # all steps at once, out of place. Else in place, in blocks that fit the processor's cache.
        # Under torch.func a no_grad outside, such as curvlinops', says nothing.
        recorded = torch.is_grad_enabled() or torch._C._are_functorch_transforms_active()
        steps = run.membrane.shape[0]
        size = steps if recorded else run.block()
        total = None if recorded else _empty_like(grad_membrane, grad_spikes)
        for high in range(steps, 0, -size):
            low = max(high - size, 0)
            here = run.steps(low, high)
            if grad_spikes is None:
                local = grad_membrane[low:high]
            else:
                local = here.slope * grad_spikes[low:high]
                local = local if grad_membrane is None else local + grad_membrane[low:high]
            factor = here.by_membrane
            if here.by_spikes is not None:
                factor = factor + here.slope * here.by_spikes
            if total is None:
                total = _reverse_recorded(local, factor)
            else:
                total[low:high] = local
                _reverse_in_place(total, low, high, factor)
            # Threshold and leak also act through the carry into the next step, if there is one.
            after = total[low + 1 : high + 1]
            before = run.steps(low, low + after.shape[0])
            if need_threshold:
                parts = []
                if grad_spikes is not None:
                    parts.append(here.by_crossing * grad_spikes[low:high])
                if before.by_spikes is not None:
                    parts.append(here.by_crossing[: after.shape[0]] * before.by_spikes * after)
                if before.by_threshold is not None:
                    parts.append(before.by_threshold * after)
                grad_threshold = _add(grad_threshold, parts, run.threshold)
            if need_leak:
                grad_leak = _add(grad_leak, [before.by_leak * after], run.leak)

        assert total is not None
        if run.start is not None:
            start, first = run.start, total[0]
            if need_threshold and start.by_threshold is not None:
                grad_threshold = _add(grad_threshold, [start.by_threshold * first], run.threshold)
            if need_leak:
                grad_leak = _add(grad_leak, [start.by_leak * first], run.leak)
            if need_membrane0:
                grad_membrane0 = _add(None, [start.by_membrane * first], start.u)
            if need_spikes0 and start.by_spikes is not None:
                grad_spikes0 = _add(None, [start.by_spikes * first], start.x)
        return total, grad_threshold, grad_leak, grad_membrane0, grad_spikes0, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor, Tensor]:
        # torch switches forward mode off in here, which would silently drop the tangents of an
        # outer forward-mode derivative. So switch it on, for values without their own tangents.
        with forward_ad._set_fwd_grad_enabled(True):
            run = _Saved(ctx, lambda tensor: forward_ad.unpack_dual(tensor).primal)
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


class _Partials:
    """Partial derivatives at potentials u and spikes x, of a whole stretch of time or one step.

    A derivative has the shape of u where it depends on u or x, else of the leak and threshold.
    None stands for one that is zero, or ignored because the reset is detached.
    """

    def __init__(self, u: Any, x: Any, threshold: Any, leak: Any, settings: _Settings) -> None:
        self.u, self.x, self.threshold, self.settings = u, x, threshold, settings
        self.rule = RULES[settings.reset]
        # A detached reset holds the spike constant, in second derivatives too.
        self.args = (u, x.detach() if settings.detach_reset else x, threshold, leak)

    @cached_property
    def slope(self) -> Tensor:
        """The surrogate derivative of the spike by its potential."""
        if self.settings.relative:
            return self.settings.surrogate.derivative(self.u / self.threshold - 1) / self.threshold
        return self.settings.surrogate.derivative(self.u - self.threshold)

    @cached_property
    def by_crossing(self) -> Tensor:
        """The derivative of the spike by the threshold that its potential is compared with."""
        return -self.slope * self.u / self.threshold if self.settings.relative else -self.slope

    @cached_property
    def by_membrane(self) -> Any:
        """The derivative of the carry by u."""
        return self.rule.by_membrane(*self.args)

    @cached_property
    def by_spikes(self) -> Any:
        """The derivative of the carry by x."""
        if self.settings.detach_reset or self.rule.by_spikes is None:
            return None
        return self.rule.by_spikes(*self.args)

    @cached_property
    def by_threshold(self) -> Any:
        """The derivative of the carry by the threshold."""
        return None if self.rule.by_threshold is None else self.rule.by_threshold(*self.args)

    @cached_property
    def by_leak(self) -> Any:
        """The derivative of the carry by the leak."""
        return self.rule.by_leak(*self.args)


class _Saved:
    """What the fused function saved of a trajectory."""

    def __init__(self, ctx: Any, view: Callable[[Tensor], Tensor] = lambda tensor: tensor) -> None:
        saved: list[Any] = [None if kept is None else view(kept) for kept in ctx.saved_tensors]
        self.membrane, self.spikes, threshold, leak, membrane0, spikes0 = saved
        self.settings: _Settings = ctx.settings
        self.threshold = ctx.numbers[0] if threshold is None else threshold
        self.leak = ctx.numbers[1] if leak is None else leak
        self.start = None if membrane0 is None else self._partials(membrane0, spikes0)

    def _partials(self, u: Tensor, x: Tensor) -> _Partials:
        return _Partials(u, x, self.threshold, self.leak, self.settings)

    def steps(self, low: int, high: int) -> _Partials:
        """The partial derivatives at the steps low to high."""
        return self._partials(self.membrane[low:high], self.spikes[low:high])

    def block(self) -> int:
        """Steps whose temporaries fit a core's cache; on an accelerator all, to launch less."""
        steps = self.membrane.shape[0]
        if self.membrane.device.type != "cpu":
            return steps
        return max(1, min(steps, _BLOCK * steps // max(1, self.membrane.numel())))


_BLOCK = 2**17  # numbers


def _at(value: Any, t: int, like: Tensor) -> Any:
    """Step t of a derivative; thresholds and leaks have fewer dimensions than a trajectory."""
    return value[t] if isinstance(value, Tensor) and value.dim() == like.dim() else value


def _add(total: Tensor | None, parts: list[Tensor], target: Tensor) -> Tensor | None:
    """Add parts, each summed to the shape of the target."""
    for part in parts:
        part = part.sum_to_size(target.shape)
        total = part if total is None else total + part
    return total


def _empty_like(first: Any, second: Any) -> Tensor:
    """A buffer that takes the values of both, of which vmap may map either; one may be None."""
    if first is None or second is None:
        return torch.empty_like(second if first is None else first)
    return first + second


def _reverse_in_place(total: Tensor, low: int, high: int, factor: Any) -> None:
    """Run λ[t] += factor[t] λ[t+1] backward in time over the steps low to high, in place."""
    for t in range(min(high, total.shape[0] - 1) - 1, low - 1, -1):
        step = _at(factor, t - low, total)
        if isinstance(step, Tensor):
            total[t].addcmul_(step, total[t + 1])
        else:
            total[t].add_(total[t + 1], alpha=step)


def _reverse_recorded(local: Any, factor: Any) -> Tensor:
    """Run the same recursion over all steps, with operations that autograd can record."""
    steps = [local[-1]]
    for t in range(local.shape[0] - 2, -1, -1):
        steps.append(local[t] + _at(factor, t, local) * steps[-1])
    return torch.stack(steps[::-1])


def _push_forward(
    run: _Saved,
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
                    u = u + _at(partial, k, like) * tangent
        x = every.slope[t] * u
        if d_threshold is not None:
            x = x + every.by_crossing[t] * d_threshold
        steps.append((u, x))
        d_membrane, d_spikes = u, x
    membranes, spikes = zip(*steps, strict=True)
    return torch.stack(membranes), torch.stack(spikes)


# --- Checks ---------------------------------------------------------------------------------------


def _check_choice(name: str, value: object, choices: Any) -> None:
    if value not in choices:
        known = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} must be one of {known}, got {value!r}")


def _check_learnable_start(initial: nn.Module, reset: str, leak: float | Tensor) -> None:
    if not callable(getattr(initial, "update", None)):
        raise ValueError(
            "initial must be a tensor, a snnlib.membrane.MPInit or None, "
            f"got {_brief_kind(initial)}"
        )
    if reset not in RULES:
        raise ValueError(
            f"initial must be a tensor or None with reset={reset!r}, got {_brief_kind(initial)}"
        )
    if reset == "subtract":
        why = 'for an MPInit with reset="subtract", which subtracts the threshold after the leak'
        _check_strict("leak", leak, math.inf, why)


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


def _check_constant(name: str, value: float | Tensor, learn: bool) -> None:
    """The module copies what it is given: a gradient would stop there without a word."""
    if isinstance(value, Tensor) and value.requires_grad and not learn:
        raise ValueError(
            f"{name} must not require a gradient, got one that does: "
            f"use learn_{name}=True, or the function lif"
        )


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
        known = value.numel() == 1 and not value.is_meta
        text = f"{value.item():g}" if known else f"tensor{list(value.shape)}"
    return f"{text} (learnable)" if learnable else text
