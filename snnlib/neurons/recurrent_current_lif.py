r"""The LIF neuron behind a synapse, with recurrent weights: what snnTorch calls RSynaptic.

With input i, recurrent weights W, leak α of the synapse, leak β of the membrane, input gain λ and
delay d, spikes reach the synapses of the layer one step later:

    s[t] = α s[t-1] + i[t] + W x[t-1],
    u[t] = carry(u[t-1], x[t-1]) + λ ((1 - d) s[t] + d s[t-1]),      x[t] = 1 if u[t] > θ else 0,

with the carry of `snnlib.neurons.lif`. With α = 0, λ = 1 and d = 0 it is
`snnlib.neurons.recurrent_lif`. Each step is one call of `snnlib.neurons.current_lif`, whose
backward pass is derived by hand; the chain over the recurrent weights is autograd's.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from snnlib.neurons._checks import sequence
from snnlib.neurons._settings import LearnedStart, ThresholdGradient
from snnlib.neurons._weight import RecurrentWeights, check_width, fitted_weight
from snnlib.neurons.current_lif import CurrentLIF, CurrentLIFTrace, run_current_lif
from snnlib.resets import Reset
from snnlib.surrogate import Surrogate

__all__ = ["RecurrentCurrentLIF"]


class RecurrentCurrentLIF(RecurrentWeights, CurrentLIF):
    r"""A layer of LIF neurons with a synaptic current and recurrent weights.

    Weighted input goes in, so an `nn.Linear` stands in front of it. All that is not named here is
    as in `snnlib.neurons.CurrentLIF`.

    Args:
        width: Number n of neurons.
        threshold: Threshold θ >= 0; a float, or a tensor that broadcasts to [batch, n].
        leak: Leak β of the membrane in [0, 1], likewise.
        synapse_leak: Leak α of the synaptic current in [0, 1], likewise.
        input_gain: λ >= 0, likewise.
        delay: d in [0, 1], likewise.
        reset: `"subtract"`, `"subtract_leak"`, `"zero"` or `"none"`, see `snnlib.neurons.lif`.
        surrogate: Derivative of the spike on the way back; None is `Surrogate("arctan")`.
        detach_reset: Whether the way back ignores that the reset depends on the spike.
        self_connections: Whether the diagonal of the weight counts.
        bias: Whether a learned bias, 0 at the start, is added to the current.
        learn_threshold: Learn the threshold, as the softplus of the parameter `raw_threshold`.
        learn_leak: Learn the leak, as the sigmoid of the parameter `raw_leak`.
        learn_synapse_leak: Learn the synapse's leak, as the sigmoid of `raw_synapse_leak`.
        threshold_gradient: `"absolute"`, `"relative"` or `"threshold_robust"`; with the last one
            the layer sends θ x on, and the recurrent weights see x.
        initial: Membrane before the first step, as in `snnlib.neurons.LIF`.
        generator: Random numbers for the weight, uniform in ±1/√n as torch draws a linear layer;
            None is torch's global generator.

    Attributes:
        weight: Recurrent weights [n, n]: row k holds the weights into neuron k.
        bias: [n], or None.

    Raises:
        ValueError: If an argument is outside its range.

    Source:
        NIR's CubaLIF with a recurrent Affine (NIR paper, section on the Braille network).

    Example:
        One neuron that feeds itself: the spike of step 0 arrives at step 1 with weight 2.

        >>> import torch
        >>> layer = RecurrentCurrentLIF(1, leak=0.0, synapse_leak=0.5, self_connections=True)
        >>> layer.weight.data = torch.tensor([[2.0]])
        >>> trace = layer.trace(torch.tensor([1.5, 0.0, 0.0]).reshape(3, 1, 1))
        >>> trace.current.flatten().tolist(), trace.spikes.flatten().tolist()
        ([1.5, 2.75, 3.375], [1.0, 1.0, 1.0])
    """

    def __init__(
        self,
        width: int,
        *,
        threshold: float | Tensor = 1.0,
        leak: float | Tensor = 0.5,
        synapse_leak: float | Tensor = 0.5,
        input_gain: float | Tensor = 1.0,
        delay: float | Tensor = 0.0,
        reset: Reset = "subtract",
        surrogate: Surrogate | None = None,
        detach_reset: bool = True,
        self_connections: bool = False,
        bias: bool = False,
        learn_threshold: bool = False,
        learn_leak: bool = False,
        learn_synapse_leak: bool = False,
        threshold_gradient: ThresholdGradient = "absolute",
        initial: Tensor | LearnedStart | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        check_width(width)
        super().__init__(
            threshold=threshold,
            leak=leak,
            synapse_leak=synapse_leak,
            input_gain=input_gain,
            delay=delay,
            reset=reset,
            surrogate=surrogate,
            detach_reset=detach_reset,
            learn_threshold=learn_threshold,
            learn_leak=learn_leak,
            learn_synapse_leak=learn_synapse_leak,
            threshold_gradient=threshold_gradient,
            initial=initial,
        )
        self._connect(width, self_connections, bias, generator)

    def trace(self, current: Tensor) -> CurrentLIFTrace:  # type: ignore[override]
        """Membrane, spikes and synaptic current for an input [T, batch, n].

        Args:
            current: Input, [T, batch, n], floating point, T >= 1.

        Returns:
            Membrane, spikes and synaptic current, each [T, batch, n].

        Raises:
            ValueError: If the input is not such a tensor, or a tensor of the layer does not
                broadcast to [batch, n].
        """
        current = sequence(current)
        weight = fitted_weight(self.weight, current, self.self_connections)
        if self.bias is not None:
            current = current + self.bias.to(current.dtype)
        synapse, leak, threshold = (
            (self.synapse_leak, self.input_gain, self.delay),
            self.leak,
            self.threshold,
        )
        start: Any = self._start()
        steps: list[CurrentLIFTrace] = []
        for now in current:
            if steps:
                start = steps[-1].state
                now = now + start.spikes @ weight.t()
            steps.append(
                run_current_lif(now[None], leak, threshold, synapse, start, self._settings)
            )
        return CurrentLIFTrace(*(torch.cat(parts) for parts in zip(*steps, strict=True)))
