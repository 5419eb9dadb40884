r"""The LIF neuron with recurrent weights, without a connection from a neuron to itself.

In continuous time, with membrane u, time constant τ_m, input R I and recurrent weights w,

    τ_m du/dt = -u + R I(t),      u_i jumps by w_ij where neuron j spikes,

and a spike of the neuron itself (u > θ) resets it. In steps, with leak β = exp(-Δt/τ_m), input
current i and spikes that arrive one step later,

    u[t] = carry(u[t-1], x[t-1]) + i[t] + W x[t-1],      x[t] = 1 if u[t] > θ else 0,

with the carry of `snnlib.neurons.lif` for its four resets, and two resets that also drop the drive
i[t] + W x[t-1] in the step after a spike:

    "subtract"          β u[t-1] - θ x[t-1] + drive           Herranz-Celotti & Rouat, Eqs. 1, 3
    "subtract_leak"     β (u[t-1] - θ x[t-1]) + drive
    "zero"              β u[t-1] (1 - x[t-1]) + drive         the recipe behind their Eqs. 82-85
    "none"              β u[t-1] + drive
    "zero_with_input"   (β u[t-1] + drive) (1 - x[t-1])       as snnTorch's RLeaky resets to zero
    "multiplicative"    β (u[t-1] + drive) (1 - x[t-1])       their Eqs. 80-81, as printed

(In their Eqs. 80-81 the spikes x_t are those of the potential y_{t-1}: here x[t-1].) The last two
hold a neuron at 0 for one step after its spike, and the last one lets the drive leak as well.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from snnlib.neurons._checks import floating, number, sequence
from snnlib.neurons._settings import LearnedStart, Settings, ThresholdGradient
from snnlib.neurons._stepwise import stepwise
from snnlib.neurons._weight import RecurrentWeights, check_width
from snnlib.neurons.lif import LIF, Initial, LIFTrace
from snnlib.resets import RESETS, RecurrentReset
from snnlib.surrogate import Surrogate

__all__ = ["RecurrentLIF", "recurrent_lif"]


def recurrent_lif(
    current: Tensor,
    weight: Tensor,
    *,
    leak: float | Tensor,
    threshold: float | Tensor,
    reset: RecurrentReset = "subtract",
    surrogate: Surrogate | None = None,
    initial: Initial | None = None,
    detach_reset: bool = True,
    self_connections: bool = False,
) -> LIFTrace:
    r"""Run leaky integrate-and-fire neurons with recurrent weights over T steps.

    .. math:: u_k[t] = \beta u_k[t-1] - \theta x_k[t-1] + i_k[t] + \sum_{j \ne k} w_{kj} x_j[t-1],
              \qquad x[t] = [u[t] > \theta]

    for `reset="subtract"`; with the drive $d[t] = i[t] + W x[t-1]$ the others are

    * `"subtract_leak"`: $\beta (u[t-1] - \theta x[t-1]) + d[t]$,
    * `"zero"`: $\beta u[t-1] (1 - x[t-1]) + d[t]$,
    * `"none"`: $\beta u[t-1] + d[t]$,
    * `"zero_with_input"`: $(\beta u[t-1] + d[t]) (1 - x[t-1])$,
    * `"multiplicative"`: $\beta (u[t-1] + d[t]) (1 - x[t-1])$.

    On the way back $\partial x/\partial u = \sigma'(u - \theta)$, the surrogate derivative; the
    spikes always carry a gradient to the recurrent weights, and to the reset where it is attached.
    Second derivatives and forward mode work, `torch.vmap` does not. Half-precision currents under
    autocast are integrated in float32, recurrent products included. Weight, threshold, leak and
    initial state take the dtype of the current.

    In float32 on a processor, few spikes are summed instead of multiplied with the weights, and a
    reset that subtracts the same for all samples is folded into them: potentials are those of the
    plain loop up to the rounding of a sum, and so are spikes but where u is that close to θ.
    `snnlib.products.forced(sparse=False)` multiplies always.

    Args:
        current: Input current i (weighted input plus bias), [T, batch, n], floating point, T >= 1.
        weight: Recurrent weights, [n, n]: row k holds the weights into neuron k.
        leak: Share β of the potential that is kept each step, in [0, 1]; a float, or a tensor that
            broadcasts to [batch, n].
        threshold: Threshold θ >= 0 in the unit of the current; a float, or such a tensor.
        reset: What a spike does to the potential one step later.
        surrogate: Derivative of the spike on the way back; None is `Surrogate("arctan")`.
        initial: State before the first step: a (membrane, spikes) pair such as the ``.state`` of an
            earlier trace, or a membrane alone with no spike pending; None is rest. Tensors
            broadcast to [batch, n].
        detach_reset: Whether the way back ignores that the reset depends on the spike.
        self_connections: Whether the diagonal of the weight counts; else it is read as 0 and gets
            the gradient 0.

    Returns:
        Membrane (before the reset) and spikes, each [T, batch, n].

    Raises:
        ValueError: If the current is not a floating-point tensor [T, batch, n] with T >= 1, the
            weight not one of [n, n], the threshold is negative, infinite or NaN, the leak is
            outside [0, 1], the reset is unknown, or a tensor does not broadcast to [batch, n].

    Source:
        Herranz-Celotti & Rouat 2022, Eqs. 1, 3 and 80-81.

    Example:
        Two neurons in a ring pass one spike to and fro without end: the weight 2 exceeds the
        threshold 1, and the reset takes 1 from what is left.

        >>> import torch
        >>> start = torch.tensor([2.0, 0.0]).expand(6, 1, 2) * torch.eye(6, 1).reshape(6, 1, 1)
        >>> ring = torch.tensor([[9.0, 2.0], [2.0, 9.0]])  # the diagonal does not count
        >>> trace = recurrent_lif(start, ring, leak=0.0, threshold=1.0, reset="zero")
        >>> trace.spikes[:, 0, 0].tolist(), trace.spikes[:, 0, 1].tolist()
        ([1.0, 0.0, 1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0, 0.0, 1.0])

        Below the threshold it is `lif`: u[t] = 2 - 2**-t for a constant current 1 and leak 1/2.

        >>> trace = recurrent_lif(torch.ones(4, 1, 2), ring, leak=0.5, threshold=2.0)
        >>> trace.membrane[:, 0, 0].tolist() == [2 - 2.0**-t for t in range(4)]
        True
    """
    settings = Settings.of_call(reset, surrogate, detach_reset, RESETS)
    threshold, leak = number("threshold", threshold), number("leak", leak)
    trajectories = stepwise(
        current,
        floating("weight", weight),
        self_connections=self_connections,
        threshold=threshold,
        leak=leak,
        initial=initial,
        settings=settings,
    )
    return LIFTrace(*trajectories)


class RecurrentLIF(RecurrentWeights, LIF):
    r"""A layer of LIF neurons with recurrent weights: a module around `recurrent_lif`.

    Weighted input goes in, so an `nn.Linear` stands in front of it. All that is not named here is
    as in `snnlib.neurons.LIF`.

    Args:
        width: Number n of neurons.
        threshold: Threshold θ >= 0, and > 0 if learnable or not `"absolute"`; a float, or a tensor
            that broadcasts to [batch, n] and is copied.
        leak: Leak β in [0, 1], and inside (0, 1) if learnable; a float, or such a tensor.
        reset: One of six, see `recurrent_lif`.
        surrogate: Derivative of the spike on the way back; None is `Surrogate("arctan")`.
        detach_reset: Whether the way back ignores that the reset depends on the spike.
        self_connections: Whether the diagonal of the weight counts.
        bias: Whether a learned bias, 0 at the start, is added to the current.
        learn_threshold: Learn the threshold, as the softplus of the parameter `raw_threshold`.
        learn_leak: Learn the leak, as the sigmoid of the parameter `raw_leak`.
        threshold_gradient: `"absolute"`, `"relative"` or `"threshold_robust"`; with the last one
            the layer sends θ x on, and the recurrent weights see x.
        initial: Membrane before the first step, as in `snnlib.neurons.LIF`: a tensor that
            broadcasts to [batch, n], a `snnlib.membrane.MPInit`, or None for rest.
        generator: Random numbers for the weight, uniform in ±1/√n as torch draws a linear layer;
            None is torch's global generator.

    Attributes:
        weight: Recurrent weights [n, n]; `snnlib.init.initialize_` draws them by any method.
        bias: [n], or None.

    Raises:
        ValueError: If an argument is outside its range.

    Source:
        Herranz-Celotti & Rouat 2022, Eqs. 1 and 3 (`reset="subtract"`).

    Example:
        >>> import torch
        >>> layer = RecurrentLIF(2, threshold=1.5, leak=0.5)
        >>> layer.weight.data = torch.tensor([[0.0, 2.0], [-2.0, 0.0]])
        >>> layer(torch.ones(4, 1, 2))[:, 0].tolist()
        [[0.0, 0.0], [0.0, 0.0], [1.0, 1.0], [1.0, 0.0]]
    """

    _resets: ClassVar[Any] = RESETS

    def __init__(
        self,
        width: int,
        *,
        threshold: float | Tensor = 1.0,
        leak: float | Tensor = 0.5,
        reset: RecurrentReset = "subtract",
        surrogate: Surrogate | None = None,
        detach_reset: bool = True,
        self_connections: bool = False,
        bias: bool = False,
        learn_threshold: bool = False,
        learn_leak: bool = False,
        threshold_gradient: ThresholdGradient = "absolute",
        initial: Tensor | LearnedStart | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        check_width(width)
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
        self._connect(width, self_connections, bias, generator)

    def trace(self, current: Tensor) -> LIFTrace:
        """Membrane and spikes for a current [T, batch, n]; see `recurrent_lif`.

        Args:
            current: Input current, [T, batch, n], floating point, T >= 1.

        Returns:
            Membrane and spikes, each [T, batch, n].

        Raises:
            ValueError: If the current is not such a tensor, or the threshold, the leak or the
                initial membrane does not broadcast to [batch, n].
        """
        if self.bias is not None:
            current = sequence(current) + self.bias
        trajectories = stepwise(
            current,
            self.weight,
            self_connections=self.self_connections,
            threshold=self.threshold,
            leak=self.leak,
            initial=self._start(),
            settings=self._settings,
        )
        return LIFTrace(*trajectories)
