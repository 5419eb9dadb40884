r"""The adaptive LIF neuron (ALIF): a threshold that rises with every spike and falls back.

In continuous time, with membrane u, time constants τ_m and τ_a, adaptation level a and its strength
κ in the unit of the threshold θ at rest,

    τ_m du/dt = -u + R I(t),      τ_a da/dt = -a,      spike where u > A = θ + κ a,

and a spike of the neuron resets u, by A where the reset subtracts, and lets a jump. In steps, with
leak β = exp(-Δt/τ_m), decay ρ = exp(-Δt/τ_a) and the jump 1 - ρ, so that a is a running mean of the
spikes and a[t] = 1 for a neuron that fires at every step,

    a[t] = ρ a[t-1] + (1 - ρ) x[t-1],                A[t] = θ + κ a[t],
    u[t] = carry(u[t-1], x[t-1], A[t-1]) + drive[t],    x[t] = 1 if u[t] > A[t] else 0,

with the carries and drives of `snnlib.neurons.recurrent_lif`, A in the place of θ. With κ = 0 it is
that neuron, without weights the feed-forward one.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from snnlib.neurons._checks import check_choice, checked, floating, number
from snnlib.neurons._settings import Settings, ThresholdGradient, brief, constant
from snnlib.neurons._stepwise import stepwise
from snnlib.neurons._weight import check_width, draw_
from snnlib.neurons.lif import LIF
from snnlib.resets import RESETS, RecurrentReset
from snnlib.surrogate import Surrogate

__all__ = ["AdaptiveLIF", "AdaptiveLIFState", "AdaptiveLIFTrace", "adaptive_lif"]


class AdaptiveLIFState(NamedTuple):
    """What a layer of adaptive neurons remembers between two steps.

    Attributes:
        membrane: Potential before the reset, [batch, n].
        spikes: Spikes whose effects are still pending, same shape.
        adaptation: Level a at the step of these spikes, same shape.
    """

    membrane: Tensor
    spikes: Tensor
    adaptation: Tensor


class AdaptiveLIFTrace(NamedTuple):
    """Trajectory of a layer of adaptive neurons; begins as a `LIFTrace` does.

    Attributes:
        membrane: Potential that is compared with the threshold, so before the reset,
            [T, batch, n].
        spikes: 1 where membrane > θ + κ·adaptation, else 0; same shape and dtype.
        adaptation: Level a, a running mean of the earlier spikes; same shape and dtype.
    """

    membrane: Tensor
    spikes: Tensor
    adaptation: Tensor

    @property
    def state(self) -> AdaptiveLIFState:
        """The last membrane, spikes and level: as `initial`, they continue the trajectory."""
        return AdaptiveLIFState(self.membrane[-1], self.spikes[-1], self.adaptation[-1])


def adaptive_lif(
    current: Tensor,
    weight: Tensor | None = None,
    *,
    leak: float | Tensor,
    threshold: float | Tensor,
    adaptation: float | Tensor,
    adaptation_leak: float | Tensor,
    reset: RecurrentReset = "subtract",
    surrogate: Surrogate | None = None,
    initial: Tensor | tuple[Tensor, Tensor, Tensor] | None = None,
    detach_reset: bool = True,
    self_connections: bool = False,
) -> AdaptiveLIFTrace:
    r"""Run adaptive integrate-and-fire neurons over T steps, with or without recurrent weights.

    .. math:: a[t] &= \rho a[t-1] + (1 - \rho) x[t-1], \qquad A[t] = \theta + \kappa a[t] \\
              u[t] &= \beta u[t-1] - A[t-1] x[t-1] + i[t] + W x[t-1], \qquad x[t] = [u[t] > A[t]]

    for `reset="subtract"`; the other resets, the way back, precision and transforms are as in
    `snnlib.neurons.recurrent_lif`. The gradient passes through the adaptation, too: with
    `detach_reset=True` only the factor x of the reset is held constant.

    Args:
        current: Input current i, [T, batch, n], floating point, T >= 1.
        weight: Recurrent weights, [n, n]; None for no connections.
        leak: Leak β of the membrane, in [0, 1]; a float, or a tensor that broadcasts to
            [batch, n].
        threshold: Threshold θ >= 0 at rest; likewise.
        adaptation: Strength κ >= 0: how far the threshold of a neuron that fires at every step
            rises; likewise.
        adaptation_leak: Share ρ of the level that is kept each step, in [0, 1]; likewise.
        reset: What a spike does to the potential one step later.
        surrogate: Derivative of the spike on the way back; None is `Surrogate("arctan")`.
        initial: State before the first step: a (membrane, spikes, adaptation) triple such as the
            ``.state`` of an earlier trace, or a membrane alone with nothing pending; None is rest.
        detach_reset: Whether the way back ignores that the reset depends on the spike.
        self_connections: Whether the diagonal of the weight counts.

    Returns:
        Membrane, spikes and level of adaptation, each [T, batch, n].

    Raises:
        ValueError: If a tensor has the wrong shape or type or an argument is outside its range.

    Source:
        Bellec et al. 2018, the adaptive neuron of the LSNN (their b is a, their β is κ).

    Example:
        A neuron that fires at every step: its threshold rises as 1 + 2 (1 - (3/4)**t).

        >>> import torch
        >>> trace = adaptive_lif(torch.full((6, 1, 1), 64.0), leak=0.5, threshold=1.0,
        ...                      adaptation=2.0, adaptation_leak=0.75, reset="none")
        >>> trace.spikes.flatten().tolist()
        [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
        >>> (1 + 2 * trace.adaptation.flatten()).tolist() == [
        ...     1 + 2 * (1 - 0.75**t) for t in range(6)]
        True
    """
    settings = Settings.of_call(reset, surrogate, detach_reset, RESETS)
    threshold, leak = number("threshold", threshold), number("leak", leak)
    trajectories = stepwise(
        current,
        weight,
        self_connections=self_connections,
        threshold=threshold,
        leak=leak,
        adaptation=(
            checked("adaptation", adaptation),
            checked("adaptation_leak", adaptation_leak),
        ),
        initial=initial,
        settings=settings,
    )
    return AdaptiveLIFTrace(*trajectories)


class AdaptiveLIF(LIF):
    r"""A layer of adaptive LIF neurons: a module around `adaptive_lif`.

    All that is not named here is as in `snnlib.neurons.LIF`.

    Args:
        width: Number n of neurons, which then have recurrent weights; None for neurons without.
        threshold: Threshold θ >= 0 at rest, and > 0 if learnable or not `"absolute"`; a float, or
            a tensor that broadcasts to [batch, n] and is copied.
        leak: Leak β of the membrane in [0, 1], and inside (0, 1) if learnable; likewise.
        adaptation: Strength κ >= 0, a float or such a tensor.
        adaptation_leak: Decay ρ in [0, 1], a float or such a tensor.
        reset: One of six, see `snnlib.neurons.recurrent_lif`.
        surrogate: Derivative of the spike on the way back; None is `Surrogate("arctan")`.
        detach_reset: Whether the way back ignores that the reset depends on the spike.
        self_connections: Whether the diagonal of the weight counts.
        learn_threshold: Learn the threshold, as the softplus of the parameter `raw_threshold`.
        learn_leak: Learn the leak, as the sigmoid of the parameter `raw_leak`.
        learn_adaptation: Learn the strength, as the softplus of `raw_adaptation`.
        learn_adaptation_leak: Learn the decay, as the sigmoid of `raw_adaptation_leak`.
        threshold_gradient: `"absolute"` or `"relative"`, see `snnlib.neurons.LIF`.
        initial: Membrane before the first step, a tensor that broadcasts to [batch, n]; None is
            rest.
        generator: Random numbers for the weight, see `snnlib.neurons.RecurrentLIF`.

    Attributes:
        weight: Recurrent weights [n, n], or None.

    Raises:
        ValueError: If an argument is outside its range.

    Source:
        Bellec et al. 2018, the adaptive neuron of the LSNN.

    Example:
        A constant current 3 makes a plain neuron (leak 0, threshold 2) fire at every other step;
        this one gets slower.

        >>> import torch
        >>> layer = AdaptiveLIF(threshold=2.0, leak=0.0, adaptation=4.0, adaptation_leak=0.5)
        >>> layer(torch.full((6, 1, 1), 3.0)).flatten().tolist()
        [1.0, 0.0, 0.0, 1.0, 0.0, 0.0]
    """

    _resets: ClassVar[Any] = RESETS
    differs: ClassVar[str] = "its threshold adapts"

    weight: nn.Parameter | None
    raw_adaptation: nn.Parameter
    raw_adaptation_leak: nn.Parameter
    fixed_adaptation: float | Tensor
    fixed_adaptation_leak: float | Tensor

    def __init__(
        self,
        width: int | None = None,
        *,
        threshold: float | Tensor = 1.0,
        leak: float | Tensor = 0.5,
        adaptation: float | Tensor = 1.0,
        adaptation_leak: float | Tensor = 0.9,
        reset: RecurrentReset = "subtract",
        surrogate: Surrogate | None = None,
        detach_reset: bool = True,
        self_connections: bool = False,
        learn_threshold: bool = False,
        learn_leak: bool = False,
        learn_adaptation: bool = False,
        learn_adaptation_leak: bool = False,
        threshold_gradient: ThresholdGradient = "absolute",
        initial: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        if width is not None:
            check_width(width)
        # What leaves the layer would depend on a threshold that changes from step to step.
        check_choice("threshold_gradient", threshold_gradient, ("absolute", "relative"))
        if initial is not None:
            floating("initial", initial)  # a learned start would need the threshold of each step
        super().__init__(
            threshold=threshold,
            leak=leak,
            reset=reset,  # type: ignore[arg-type]
            surrogate=surrogate,
            detach_reset=detach_reset,
            learn_threshold=learn_threshold,
            learn_leak=learn_leak,
            threshold_gradient=threshold_gradient,
            initial=initial,
        )
        self.self_connections = self_connections
        self.learn_adaptation = learn_adaptation
        self.learn_adaptation_leak = learn_adaptation_leak
        values = (
            ("adaptation", adaptation, learn_adaptation),
            ("adaptation_leak", adaptation_leak, learn_adaptation_leak),
        )
        for name, value, learn in values:
            instead = f"learn_{name}=True, or the function adaptive_lif"
            self._keep(name, constant(name, value, learn, instead), learn)
        matrix = None if width is None else nn.Parameter(torch.empty(width, width))
        self.register_parameter("weight", matrix)
        self.reset_parameters(generator)

    @property
    def recurrent(self) -> bool:
        """Whether the layer has recurrent weights."""
        return self.weight is not None

    @property
    def bias(self) -> None:
        """There is none."""
        return None

    @property
    def adaptation(self) -> float | Tensor:
        """The strength κ: a float, or a tensor (which carries gradients if learnable)."""
        return self._value("adaptation")

    @property
    def adaptation_leak(self) -> float | Tensor:
        """The decay ρ: a float, or a tensor (which carries gradients if learnable)."""
        return self._value("adaptation_leak")

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the weight from the uniform law on ±1/√n, without self-connections.

        Args:
            generator: Random numbers; None is torch's global generator.
        """
        if self.weight is not None:
            draw_(self.weight, generator)
            if not self.self_connections:
                with torch.no_grad():
                    self.weight.fill_diagonal_(0.0)

    def trace(self, current: Tensor) -> AdaptiveLIFTrace:  # type: ignore[override]
        """Membrane, spikes and adaptation for a current [T, batch, n]; see `adaptive_lif`.

        Args:
            current: Input current, [T, batch, n], floating point, T >= 1.

        Returns:
            Membrane, spikes and level of adaptation, each [T, batch, n].

        Raises:
            ValueError: If the current is not such a tensor, or a tensor of the layer does not
                broadcast to [batch, n].
        """
        trajectories = stepwise(
            current,
            self.weight,
            self_connections=self.self_connections,
            threshold=self.threshold,
            leak=self.leak,
            adaptation=(self.adaptation, self.adaptation_leak),
            initial=self._start(),
            settings=self._settings,
        )
        return AdaptiveLIFTrace(*trajectories)

    def extra_repr(self) -> str:
        """The settings, for `print(model)`."""
        head, comma, tail = super().extra_repr().partition(", reset=")
        own = f", adaptation={brief(self.adaptation, self.learn_adaptation)}"
        own += f", adaptation_leak={brief(self.adaptation_leak, self.learn_adaptation_leak)}"
        width = "" if self.weight is None else f"{self.weight.shape[0]}, "
        loops = ", self_connections=True" if self.self_connections else ""
        return width + head + own + comma + tail + loops
