"""A LIF neuron whose input gain is what its leak takes: one number is both."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from snnlib.neurons import CurrentLIF

__all__ = ["TiedLIF"]


class TiedLIF(CurrentLIF):
    r"""A layer of LIF neurons with input gain 1 - β, also where the leak β is learned.

    .. math:: u[t] = \operatorname{carry}(u[t-1], x[t-1]) + (1 - \beta)\, i[t]

    This is SpikingJelly's `ParametricLIFNode` with `decay_input=True`: its learned w is the leak
    1 - sigmoid(w) and the gain sigmoid(w), so `raw_leak` here is -w and gets its gradient.

    Args:
        **settings: As of `snnlib.neurons.LIF`.

    Raises:
        ValueError: If a setting is outside its range, or names a synapse, a gain or a delay.

    Source:
        Code of SpikingJelly 2.0.0.

    Example:
        A constant input 1 charges it to 1, whatever the leak is.

        >>> import torch
        >>> layer = TiedLIF(leak=0.5, threshold=2.0, learn_leak=True)
        >>> layer.trace(torch.ones(3, 1, 1)).membrane.flatten().tolist()
        [0.5, 0.75, 0.875]
    """

    def __init__(self, **settings: Any) -> None:
        for name in ("synapse_leak", "learn_synapse_leak", "input_gain", "delay"):
            if name in settings:
                raise ValueError(f"{name} must not be given: the gain is 1 - leak, without synapse")
        super().__init__(synapse_leak=0.0, **settings)

    @property
    def input_gain(self) -> float | Tensor:
        """The input gain 1 - β; it carries a gradient where the leak does."""
        return 1 - self.leak
