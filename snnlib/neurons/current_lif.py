r"""The LIF neuron behind a synapse: a current that decays in front of the membrane.

In continuous time, with membrane u, synaptic current s and time constants τ_m, τ_s,

    τ_m du/dt = -u + R s,      τ_s ds/dt = -s,

an input spike through a weight w lets s jump by w, and a spike of the neuron (u > θ) resets u. In
steps, with input i, leak β of the membrane, leak α of the synapse, input gain λ and delay d,

    s[t] = α s[t-1] + i[t],
    u[t] = carry(u[t-1], x[t-1]) + λ ((1 - d) s[t] + d s[t-1]),      x[t] = 1 if u[t] > θ else 0,

with the carry of `snnlib.neurons.lif`. So the neuron is a linear filter over time, then a LIF
neuron. Only the filter is new here. Its backward pass is the same filter run backward in time:
with g[t] the incoming gradient of s[t], the total derivative a[t] = dL/ds[t] is

    a[t] = g[t] + α a[t+1],      dL/di[t] = a[t],      dL/dα = Σ_t a[t] s[t-1].

What others simulate is a choice of the four constants (dt is the step, τ in the same unit):

    snnTorch, Synaptic             β, α as given             λ = 1         d = 0
    SpikingJelly, CUBALIFNode      β, α as given             λ = 1         d = 0
    Norse, LIFCell                 1 - dt/τ_m, 1 - dt/τ_s    λ = dt/τ_m    d = 0
    Rossbroich et al., in steps    exp(-dt/τ)                λ = 1 - β     d = 1
    exact for jumps                exp(-dt/τ)                `exact_step(β, α)`
    exact for a held input         exp(-dt/τ)                `exact_step(β, α, held=True)`

(In the step after a spike, snnTorch's and Rossbroich's resets to zero drop the input as well.)
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from snnlib.neurons._checks import (
    check_export,
    check_strict,
    checked,
    fitted,
    number,
    sequence,
    state,
)
from snnlib.neurons._recursion import (
    add_up,
    mapped,
    numbers_apart,
    plain,
    reverse_in_place,
    reverse_recorded,
)
from snnlib.neurons._settings import (
    LearnedStart,
    Settings,
    ThresholdGradient,
    brief,
    constant,
)
from snnlib.neurons.lif import LIF, run_lif
from snnlib.resets import Reset
from snnlib.surrogate import Surrogate

__all__ = [
    "CurrentLIF",
    "CurrentLIFState",
    "CurrentLIFTrace",
    "ExactStep",
    "current_lif",
    "exact_step",
]


class CurrentLIFState(NamedTuple):
    """What a layer of neurons with synapses remembers between two steps.

    Attributes:
        membrane: Potential before the reset, [batch, features...].
        spikes: Spikes whose reset is still pending, same shape.
        current: Synaptic current, same shape.
    """

    membrane: Tensor
    spikes: Tensor
    current: Tensor


class CurrentLIFTrace(NamedTuple):
    """Trajectory of a layer of neurons with synapses; begins as a `LIFTrace` does.

    Attributes:
        membrane: Potential that is compared with the threshold, so before the reset,
            [T, batch, features...].
        spikes: 1 where membrane > threshold, else 0; same shape and dtype.
        current: Synaptic current s, after the input of its step; same shape and dtype.
    """

    membrane: Tensor
    spikes: Tensor
    current: Tensor

    @property
    def state(self) -> CurrentLIFState:
        """The last membrane, spikes and current: as `initial`, they continue the trajectory."""
        return CurrentLIFState(self.membrane[-1], self.spikes[-1], self.current[-1])


class ExactStep(NamedTuple):
    """Constants with which a step of the neuron solves its differential equations exactly.

    Attributes:
        input_gain: λ for R = 1.
        delay: d, in [0, 1].
    """

    input_gain: float
    delay: float


def exact_step(leak: float, synapse_leak: float, *, held: bool = False) -> ExactStep:
    r"""Input gain and delay that make a step of `current_lif` exact between two spikes.

    The equations are $\tau_m \dot u = -u + s$ and $\tau_s \dot s = -s$ + input, in steps of
    $\Delta t$ with $\beta = e^{-\Delta t/\tau_m}$ and $\alpha = e^{-\Delta t/\tau_s}$. A current
    that decays freely over a step leaves in the membrane the share

    .. math:: c = -L(\alpha, \beta) \ln \beta, \qquad
              L(\alpha, \beta) = \frac{\alpha - \beta}{\ln \alpha - \ln \beta}, \quad
              L(\beta, \beta) = \beta.

    * Jumps (`held=False`): the current jumps by i[t] at the start of step t, and u[t], s[t]/α are
      membrane and current at its end: $\lambda = c$, $d = 0$.
    * Held input (`held=True`): $\tau_s \dot s = -s + i[t]$ over the whole of step t. With $i$ fed
      as it is, s[t] counts in units of $1 - \alpha$, and
      $\lambda = (1 - \alpha)(1 - \beta)$, $d = (c - \alpha (1 - \beta)) / \lambda$, which tends to
      1/2 for short steps.

    Args:
        leak: β of the membrane, in (0, 1).
        synapse_leak: α of the synapse, in (0, 1).
        held: Whether the input is held over a step, instead of a jump at its start.

    Returns:
        Input gain and delay, for R = 1.

    Raises:
        ValueError: If a leak is outside (0, 1).

    Source:
        The solution of the two linear differential equations over one step.

    Example:
        The response to one jump is the double-exponential kernel
        τ_s / (τ_m - τ_s) (exp(-t/τ_m) - exp(-t/τ_s)) at the end of every step.

        >>> import math, torch
        >>> beta, alpha = math.exp(-1 / 20), math.exp(-1 / 5)
        >>> gain, delay = exact_step(beta, alpha)
        >>> jump = torch.eye(30, 1, dtype=torch.float64).unsqueeze(1)
        >>> trace = current_lif(jump, leak=beta, synapse_leak=alpha, threshold=1.0,
        ...                     input_gain=gain, delay=delay)
        >>> kernel = [5 / 15 * (beta**t - alpha**t) for t in range(1, 31)]
        >>> error = trace.membrane.flatten() - torch.tensor(kernel, dtype=torch.float64)
        >>> error.abs().max().item() < 1e-15
        True
    """
    for name, value in (("leak", leak), ("synapse_leak", synapse_leak)):
        check_strict(name, number(name, value), 1.0, "for an exact step")
    beta, alpha = float(leak), float(synapse_leak)
    # The mean L as α (exp(y) - 1) / y with y = ln(β/α): exact where the two leaks are close, too.
    ratio = math.log(beta / alpha)
    mean = alpha * (math.expm1(ratio) / ratio if ratio else 1.0)
    share = -mean * math.log(beta)
    if not held:
        return ExactStep(share, 0.0)
    gain = (1 - alpha) * (1 - beta)
    return ExactStep(gain, (share - alpha * (1 - beta)) / gain)


# --- The function and the module ------------------------------------------------------------------


def current_lif(
    current: Tensor,
    *,
    leak: float | Tensor,
    synapse_leak: float | Tensor,
    threshold: float | Tensor,
    reset: Reset = "subtract",
    surrogate: Surrogate | None = None,
    initial: Tensor | tuple[Tensor, Tensor, Tensor] | None = None,
    detach_reset: bool = True,
    input_gain: float | Tensor = 1.0,
    delay: float | Tensor = 0.0,
) -> CurrentLIFTrace:
    r"""Run leaky integrate-and-fire neurons with a decaying synaptic current over T steps.

    .. math:: s[t] &= \alpha s[t-1] + i[t] \\
              u[t] &= \beta u[t-1] - \theta x[t-1] + \lambda \big((1 - d)\, s[t] + d\, s[t-1]\big),
              \qquad x[t] = [u[t] > \theta]

    for `reset="subtract"`; the other resets, the surrogate derivative, half precision and
    `torch.func` are as in `snnlib.neurons.lif`. With α = 0, λ = 1 and d = 0 this is `lif`.

    Args:
        current: Input i, [T, batch, features...], floating point, T >= 1.
        leak: Leak β of the membrane, in [0, 1]; a float, or a tensor that broadcasts to
            [batch, features...].
        synapse_leak: Share α of the synaptic current that is kept each step, in [0, 1]; likewise.
        threshold: Threshold θ >= 0; likewise.
        reset: What a spike does to the potential one step later.
        surrogate: Derivative of the spike on the way back; None is `Surrogate("arctan")`.
        initial: State before the first step: a (membrane, spikes, current) triple such as the
            ``.state`` of an earlier trace, or a membrane alone with no reset pending and no
            current; None is rest. Tensors broadcast to [batch, features...].
        detach_reset: Whether the way back ignores that the reset depends on the spike.
        input_gain: Share λ >= 0 of the synaptic current that enters the membrane each step; a
            float, or such a tensor.
        delay: How many steps d the membrane lags behind the current, in [0, 1]: 0 sees the current
            with this step's input, 1 without; between, a mean of both. A float, or such a tensor.

    Returns:
        Membrane, spikes and synaptic current, each [T, batch, features...].

    Raises:
        ValueError: If the current is not a floating-point tensor [T, batch, ...] with T >= 1, an
            argument is outside its range, or a tensor does not broadcast to [batch, features...].

    Source:
        Rossbroich et al. 2022 (current-based LIF neuron); the exact steps are `exact_step`.

    Example:
        One jump of the current, below the threshold: u is the sum of two decays,
        (β**(t+1) - α**(t+1)) / (β - α), here with β = 1/2 and α = 1/4.

        >>> import torch
        >>> jump = torch.tensor([1.0, 0, 0, 0]).reshape(4, 1, 1)
        >>> trace = current_lif(jump, leak=0.5, synapse_leak=0.25, threshold=2.0)
        >>> want = [4 * (0.5 ** (t + 1) - 0.25 ** (t + 1)) for t in range(4)]
        >>> trace.membrane.flatten().tolist() == want
        True
    """
    settings = Settings.of_call(reset, surrogate, detach_reset)
    leak, threshold = number("leak", leak), number("threshold", threshold)
    synapse = (
        checked("synapse_leak", synapse_leak),
        checked("input_gain", input_gain),
        checked("delay", delay),
    )
    return run_current_lif(current, leak, threshold, synapse, initial, settings)


class CurrentLIF(LIF):
    r"""A layer of LIF neurons with a synaptic current: a module around `current_lif`.

    All that is not named here is as in `snnlib.neurons.LIF`.

    Args:
        threshold: Threshold θ >= 0, and > 0 if learnable or not `"absolute"`; a float, or a tensor
            that broadcasts to [batch, features...] and is copied.
        leak: Leak β of the membrane in [0, 1], and inside (0, 1) if learnable; likewise.
        synapse_leak: Leak α of the synaptic current, likewise.
        input_gain: λ >= 0, a float or such a tensor.
        delay: d in [0, 1], a float or such a tensor.
        reset: `"subtract"`, `"subtract_leak"`, `"zero"` or `"none"`, see `snnlib.neurons.lif`.
        surrogate: Derivative of the spike on the way back; None is `Surrogate("arctan")`.
        detach_reset: Whether the way back ignores that the reset depends on the spike.
        learn_threshold: Learn the threshold, as the softplus of the parameter `raw_threshold`.
        learn_leak: Learn the leak, as the sigmoid of the parameter `raw_leak`.
        learn_synapse_leak: Learn the synapse's leak, as the sigmoid of `raw_synapse_leak`.
        threshold_gradient: `"absolute"`, `"relative"` or `"threshold_robust"`.
        initial: Membrane before the first step, as in `snnlib.neurons.LIF`: a tensor that
            broadcasts to [batch, features...], a `snnlib.membrane.MPInit`, or None for rest.

    Raises:
        ValueError: If an argument is outside its range.

    Source:
        Rossbroich et al. 2022 (current-based LIF neuron).

    Example:
        >>> import torch
        >>> layer = CurrentLIF(threshold=1.5, leak=0.5, synapse_leak=0.5)
        >>> layer(torch.ones(4, 1, 1)).flatten().tolist()
        [0.0, 1.0, 0.0, 1.0]
    """

    raw_synapse_leak: nn.Parameter
    fixed_synapse_leak: float | Tensor
    fixed_input_gain: float | Tensor
    fixed_delay: float | Tensor

    def __init__(
        self,
        *,
        threshold: float | Tensor = 1.0,
        leak: float | Tensor = 0.5,
        synapse_leak: float | Tensor = 0.5,
        input_gain: float | Tensor = 1.0,
        delay: float | Tensor = 0.0,
        reset: Reset = "subtract",
        surrogate: Surrogate | None = None,
        detach_reset: bool = True,
        learn_threshold: bool = False,
        learn_leak: bool = False,
        learn_synapse_leak: bool = False,
        threshold_gradient: ThresholdGradient = "absolute",
        initial: Tensor | LearnedStart | None = None,
    ) -> None:
        super().__init__(
            threshold=threshold,
            leak=leak,
            reset=reset,
            surrogate=surrogate,
            detach_reset=detach_reset,
            learn_threshold=learn_threshold,
            learn_leak=learn_leak,
            threshold_gradient=threshold_gradient,
            initial=initial,
        )
        self.learn_synapse_leak = learn_synapse_leak
        values = (
            ("synapse_leak", synapse_leak, learn_synapse_leak),
            ("input_gain", input_gain, False),
            ("delay", delay, False),
        )
        for name, value, learn in values:
            value = constant(name, value, learn, "the function current_lif")
            self._keep(name, value, learn)

    @property
    def synapse_leak(self) -> float | Tensor:
        """The synapse's leak α: a float, or a tensor (which carries gradients if learnable)."""
        return self._value("synapse_leak")

    @property
    def input_gain(self) -> float | Tensor:
        """The input gain λ."""
        return self._value("input_gain")

    @property
    def delay(self) -> float | Tensor:
        """The delay d."""
        return self._value("delay")

    def trace(self, current: Tensor) -> CurrentLIFTrace:  # type: ignore[override]
        """Membrane, spikes and synaptic current for an input [T, batch, ...]; see `current_lif`.

        Args:
            current: Input, [T, batch, features...], floating point, T >= 1.

        Returns:
            Membrane, spikes and synaptic current, each [T, batch, features...].

        Raises:
            ValueError: If the input is not such a tensor, or a tensor of the layer does not
                broadcast to [batch, features...].
        """
        synapse = (self.synapse_leak, self.input_gain, self.delay)
        start, settings = self._start(), self._settings
        return run_current_lif(current, self.leak, self.threshold, synapse, start, settings)

    def extra_repr(self) -> str:
        """The settings, for `print(model)`."""
        head, comma, tail = super().extra_repr().partition(", reset=")
        own = f", synapse_leak={brief(self.synapse_leak, self.learn_synapse_leak)}"
        if not isinstance(self.input_gain, float) or self.input_gain != 1:
            own += f", input_gain={brief(self.input_gain, False)}"
        if not isinstance(self.delay, float) or self.delay != 0:
            own += f", delay={brief(self.delay, False)}"
        return head + own + comma + tail


def run_current_lif(
    current: Tensor,
    leak: float | Tensor,
    threshold: float | Tensor,
    synapse: tuple[float | Tensor, float | Tensor, float | Tensor],
    initial: Tensor | tuple[Tensor, ...] | None,
    settings: Settings,
) -> CurrentLIFTrace:
    """The filter, what it sends to the membrane, and the LIF neuron."""
    current = sequence(current)
    names = ("synapse_leak", "input_gain", "delay")
    synapse_leak, input_gain, delay = (
        fitted(name, value, current) for name, value in zip(names, synapse, strict=True)
    )
    start = None
    if isinstance(initial, tuple):
        given = state(initial, ("membrane", "spikes", "current"), "a {} triple", current)
        assert given is not None
        initial, start = given[:2], given[2]
    filtered = leaky_sum(current, synapse_leak, start)
    drive = _delayed(filtered, start, delay)
    if isinstance(input_gain, Tensor) or input_gain != 1:
        drive = drive * input_gain
    membrane, spikes = run_lif(drive, leak, threshold, initial, settings)
    return CurrentLIFTrace(membrane, spikes, filtered)


def _delayed(synapse: Tensor, start: Tensor | None, delay: float | Tensor) -> Tensor:
    """(1 - d) s[t] + d s[t-1]."""
    if not isinstance(delay, Tensor) and delay == 0:
        return synapse
    first = torch.zeros_like(synapse[:1]) if start is None else start.expand_as(synapse[:1])
    before = torch.cat([first, synapse[:-1]])
    if not isinstance(delay, Tensor) and delay == 1:
        return before
    return synapse + delay * (before - synapse)


# --- The fused filter -----------------------------------------------------------------------------


def leaky_sum(current: Tensor, leak: float | Tensor, start: Tensor | None = None) -> Tensor:
    """s[t] = α s[t-1] + i[t] over time, [T, batch, ...]; None starts at 0."""
    check_export(current, leak)
    return _LeakySum.apply(current, leak, start)


class _LeakySum(torch.autograd.Function):
    """s[t] = α s[t-1] + i[t] over all T steps as one node of the autograd graph.

    Inputs: current [T, ...], leak (float or tensor), s before the first step (tensor or None).
    """

    @staticmethod
    def forward(current: Tensor, leak: float | Tensor, start: Tensor | None) -> Tensor:
        synapse = torch.empty_like(current)
        before = start
        for now, step in zip(synapse, current, strict=True):
            if before is None:
                now.copy_(step)
            else:
                torch.mul(before.expand_as(now), leak, out=now)
                now.add_(step)
            before = now
        return synapse

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, leak, start = inputs
        ctx.shape = output.shape
        (ctx.number,), _ = numbers_apart((leak,))
        # The sum itself is needed for the derivative by the leak only.
        kept = (output, leak, start) if ctx.number is None else (None, None, start)
        ctx.save_for_backward(*kept)
        ctx.save_for_forward(*kept)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        synapse, leak, start = ctx.saved_tensors
        leak = ctx.number if leak is None else leak
        _, need_leak, need_start = ctx.needs_input_grad
        # Grad mode is on when this pass is itself differentiated: then out of place.
        if torch.is_grad_enabled():
            total = reverse_recorded(grad, leak)
        else:
            total = grad.clone(memory_format=torch.contiguous_format)
            reverse_in_place(total, 0, total.shape[0], leak)
        grad_leak = grad_start = None
        if need_leak:
            parts = [synapse[:-1] * total[1:]]
            if start is not None:
                parts.append(start * total[0])
            grad_leak = add_up(parts, leak)
        if need_start:
            grad_start = add_up([leak * total[0]], start)
        return total, grad_leak, grad_start

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        with forward_ad._set_fwd_grad_enabled(True):
            synapse, leak, start = (plain(kept) for kept in ctx.saved_tensors)
            leak = ctx.number if leak is None else leak
            d_current, d_leak, d_start = tangents
            steps: list[Tensor] = []
            for t in range(ctx.shape[0]):
                before, d_before = (start, d_start) if t == 0 else (synapse, steps[-1])
                known = next(d for d in tangents if d is not None)
                step = known.new_zeros(ctx.shape[1:]) if d_current is None else d_current[t]
                if d_leak is not None and before is not None:
                    step = step + (before if t == 0 else before[t - 1]) * d_leak
                if d_before is not None:
                    step = step + leak * d_before
                steps.append(step)
            return torch.stack(steps)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Tensor, int]:
        """Make the mapped dimension one more batch dimension, right after time."""
        current, *others = inputs
        current, others = mapped(info, in_dims, current, tuple(others))
        return _LeakySum.apply(current, *others), 1
