r"""The leaky integrator: a membrane without threshold, whose potential is the output.

With input i, leak β, input gain λ and, where there is a synapse, its leak α and the delay d,

    s[t] = α s[t-1] + i[t],
    u[t] = β u[t-1] + λ ((1 - d) s[t] + d s[t-1]),

the neuron of `snnlib.neurons.current_lif` that never fires. What is sent on is r + u, with r the
potential at rest. Networks end in such a layer where the potential is read and not the spikes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from snnlib.neurons._checks import fitted, floating, sequence
from snnlib.neurons._saving import Saved, described
from snnlib.neurons._settings import brief, constant
from snnlib.neurons.current_lif import leaky_sum

__all__ = ["LeakyIntegrator"]

_NAMES = ("leak", "synapse_leak", "input_gain", "delay")


class LeakyIntegrator(Saved):
    r"""A layer of membranes that are read: currents in, potentials out, no spikes.

    .. math:: s[t] = \alpha s[t-1] + i[t], \qquad
              u[t] = \beta u[t-1] + \lambda \big((1 - d)\, s[t] + d\, s[t-1]\big)

    It starts at rest, u = 0.

    Args:
        leak: Leak β in [0, 1]; a float, or a tensor that broadcasts to [batch, features...].
        synapse_leak: Leak α of the synaptic current in [0, 1], likewise; 0 is no synapse.
        input_gain: λ >= 0, likewise.
        delay: d in [0, 1], likewise.
        rest: Potential r at rest, which is added to the output; a float or such a tensor.

    Raises:
        ValueError: If an argument is outside its range.

    Source:
        NIR's nodes I, LI and CubaLI in steps; Norse's LI.

    Example:
        A constant current 1 charges it to 1/(1 - β).

        >>> import torch
        >>> layer = LeakyIntegrator(leak=0.5)
        >>> layer(torch.ones(4, 1, 1)).flatten().tolist() == [2 - 2.0**-t for t in range(4)]
        True
    """

    leak: float | Tensor
    synapse_leak: float | Tensor
    input_gain: float | Tensor
    delay: float | Tensor
    rest: float | Tensor

    def __init__(
        self,
        *,
        leak: float | Tensor = 0.5,
        synapse_leak: float | Tensor = 0.0,
        input_gain: float | Tensor = 1.0,
        delay: float | Tensor = 0.0,
        rest: float | Tensor = 0.0,
    ) -> None:
        super().__init__()
        values = (leak, synapse_leak, input_gain, delay)
        checked = [
            constant(name, value, False, "a module of your own")
            for name, value in zip(_NAMES, values, strict=True)
        ]
        if isinstance(rest, Tensor):
            floating("rest", rest)
        if not bool(torch.as_tensor(rest).isfinite().all()):
            raise ValueError(f"rest must be finite, got {rest!r}")
        for name, value in zip((*_NAMES, "rest"), (*checked, rest), strict=True):
            if isinstance(value, Tensor):
                self.register_buffer(name, value.detach().clone())
            else:
                setattr(self, name, float(value))

    def forward(self, current: Tensor) -> Tensor:
        """Potentials [T, batch, features...].

        Args:
            current: Input current, [T, batch, features...], floating point, T >= 1.

        Returns:
            The potential after the input of each step, same shape.

        Raises:
            ValueError: If the current is not such a tensor, or a tensor of the layer does not
                broadcast to [batch, features...].
        """
        current = sequence(current)
        leak, synapse_leak, gain, delay, rest = (
            fitted(name, getattr(self, name), current) for name in (*_NAMES, "rest")
        )
        if isinstance(synapse_leak, Tensor) or synapse_leak != 0:
            current = leaky_sum(current, synapse_leak)
        if isinstance(delay, Tensor) or delay != 0:
            before = torch.cat([torch.zeros_like(current[:1]), current[:-1]])
            current = current + delay * (before - current)
        if isinstance(gain, Tensor) or gain != 1:
            current = current * gain
        return leaky_sum(current, leak) + rest

    def step(
        self, current: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Potentials after one step, for who loops over time.

        Args:
            current: Input current of the step, [batch, features...].
            state: What the step before returned; None at the first.

        Returns:
            The potential, and the synaptic current and membrane to go on with.

        Example:
            >>> import torch
            >>> layer = LeakyIntegrator(leak=0.5, synapse_leak=0.25, delay=0.5)
            >>> x, state, found = torch.ones(3, 1, 1), None, []
            >>> for now in x:
            ...     potential, state = layer.step(now, state)
            ...     found.append(potential)
            >>> torch.equal(torch.stack(found), layer(x))
            True
        """
        leak, synapse_leak, gain, delay, rest = (
            fitted(name, getattr(self, name), current[None]) for name in (*_NAMES, "rest")
        )
        before, membrane = (torch.zeros_like(current),) * 2 if state is None else state
        synapse = synapse_leak * before + current
        membrane = leak * membrane + gain * (synapse + delay * (before - synapse))
        return membrane + rest, (synapse, membrane)

    def saved_settings(self) -> dict[str, Any]:
        """The constants that are plain numbers; see `Saved`."""
        return {name: described(getattr(self, name)) for name in (*_NAMES, "rest")}

    def extra_repr(self) -> str:
        """The settings, for `print(model)`."""
        parts = [f"leak={brief(self.leak, False)}"]
        for name, usual in (("synapse_leak", 0), ("input_gain", 1), ("delay", 0), ("rest", 0)):
            value = getattr(self, name)
            if isinstance(value, Tensor) or value != usual:
                parts.append(f"{name}={brief(value, False)}")
        return ", ".join(parts)
