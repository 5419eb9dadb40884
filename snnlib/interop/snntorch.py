r"""Neurons and surrogates of snnTorch as ours, and ours as snnTorch's.

snnTorch resets by default in the step after the spike, as we do, spikes above the threshold only,
and never sends a gradient through the reset, so `Leaky` is our `LIF` as it stands. In
`Leaky(reset_delay=False)` the returned potential is the one after the reset; with
`reset_mechanism="zero"` that is the same recursion and the reset passes a gradient. Learnable
constants keep their value; here they are learned through a sigmoid (leaks) and a softplus
(threshold), there as they are and clamped.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from snnlib._extras import require
from snnlib.interop import _network, _neuron
from snnlib.networks import FeedForward
from snnlib.neurons import LIF, CurrentLIF
from snnlib.surrogate import Surrogate

__all__ = [
    "convert",
    "from_snnlib",
    "surrogate_from_snnlib",
    "surrogate_to_snnlib",
    "to_snnlib",
]

SpikeFunction = Callable[[Tensor], Tensor]


def to_snnlib(module: nn.Module, *, learn: bool = True, surrogate: Surrogate | None = None) -> LIF:
    """The neuron of ours that is equal to one of snnTorch's.

    A snnTorch neuron takes one step at a call, ours takes all steps [T, batch, features...].

    Args:
        module: `Leaky`, `Lapicque`, `Synaptic` or `StateLeaky`.
        learn: Whether constants that are learned there are learned here; False keeps their values
            as constants.
        surrogate: Surrogate in the unit of the foreign potential, in place of the module's own, for
            instance where that is none of the eight shapes.

    Returns:
        A `LIF`; for `Synaptic` a `CurrentLIF`. The potential of `Lapicque` is counted in units of
        its input gain dt/C.

    Raises:
        ValueError: If no neuron of ours is equal to the module, with the reason; or if a constant
            to be learned lies on the edge of its range.

    Source:
        Code of snnTorch 1.0.0.

    Example:
        >>> import pytest
        >>> snn = pytest.importorskip("snntorch")
        >>> layer = to_snnlib(snn.Leaky(beta=0.5, threshold=1.25, reset_mechanism="zero"))
        >>> layer.leak, layer.threshold, layer.reset
        (0.5, 1.25, 'zero')
    """
    form = _neuron.form_of(module, "snntorch")
    neuron: Any = module
    names = {"threshold": "threshold", "beta": "leak", "alpha": "synapse_leak", "tau": "leak"}
    learned = {
        ours
        for theirs, ours in names.items()
        if learn and _neuron.learnable(getattr(neuron, theirs, None))
    }
    if hasattr(neuron, "C"):  # Lapicque: its steps do not use its beta
        learned.discard("leak")
    return _neuron.build(
        module,
        form,
        surrogate=surrogate or surrogate_to_snnlib(neuron.spike_grad),
        detach_reset=form.reset != "zero" or getattr(neuron, "reset_delay", True),
        learned=learned,
    )


def from_snnlib(neuron: LIF, *, init_hidden: bool = False, output: bool = False) -> nn.Module:
    """The snnTorch neuron that is equal to one of ours.

    Args:
        neuron: A `LIF` or `CurrentLIF`.
        init_hidden: snnTorch's own switch: keep the state in the module.
        output: snnTorch's own switch: return the state then, too.

    Returns:
        A `Leaky`; for a `CurrentLIF` a `Synaptic`, whose potential is counted in units of the
        input gain.

    Raises:
        ImportError: If snnTorch is not installed.
        ValueError: If snnTorch has no equal, with the reason.

    Source:
        Code of snnTorch 1.0.0.

    Example:
        >>> import pytest
        >>> snn = pytest.importorskip("snntorch")
        >>> from_snnlib(LIF(leak=0.75, reset="zero")).beta
        tensor(0.7500)
    """
    library: Any = require("snntorch", None)
    form, surrogate, learned, gain = _neuron.own(neuron, "snnTorch")
    if form.reset == "subtract_leak":
        raise ValueError(
            'reset="subtract_leak" has no equal in snnTorch: it subtracts the threshold after the '
            'leak ("subtract")'
        )
    synaptic = isinstance(neuron, CurrentLIF)
    # A potential that is reset to zero in the step of its spike follows the same recursion, and
    # there snnTorch passes the gradient of the reset; otherwise it never does.
    immediate = form.reset == "zero" and not neuron.detach_reset
    lone = {"subtract": True, "zero": False if synaptic else None}.get(form.reset)
    if lone is not None and neuron.detach_reset != lone:
        raise ValueError(
            f"detach_reset={not lone} has no equal in snnTorch for a {type(neuron).__name__} with "
            f'reset="{form.reset}"; build it with detach_reset={lone}'
        )
    settings: dict[str, Any] = {
        "beta": _constant(form.leak, "leak" in learned),
        "learn_beta": "leak" in learned,
        "threshold": _constant(form.threshold / gain, "threshold" in learned),
        "learn_threshold": "threshold" in learned,
        "spike_grad": surrogate_from_snnlib(_neuron.rescaled(surrogate, gain)),
        "reset_mechanism": form.reset,
        "reset_delay": not immediate,
        "init_hidden": init_hidden,
        "output": output,
    }
    if not synaptic:
        return library.Leaky(**settings)
    assert form.synapse is not None
    learn_alpha = "synapse_leak" in learned
    return library.Synaptic(
        alpha=_constant(form.synapse, learn_alpha), learn_alpha=learn_alpha, **settings
    )


def convert(network: nn.Module, *, learn: bool = True) -> FeedForward:
    """A copy of a snnTorch network with our neurons in place of its own; weights are kept.

    A snnTorch neuron takes one step at a call and keeps its state (`init_hidden=True`); ours takes
    all steps [T, batch, ...] at a call and starts each call from rest, so there is no loop and no
    `reset`. Where the last neuron has `output=True`, the copy returns its spikes alone.

    Args:
        network: An `nn.Sequential`, nested or not.
        learn: As for `to_snnlib`.

    Returns:
        The copy, with the names of the original: currents [T, batch, features...] to outputs.

    Raises:
        ValueError: If it is no `nn.Sequential`, or a layer has no equal here (a batch norm in
            training mode takes other statistics over all steps); its name is said.

    Source:
        Code of snnTorch 1.0.0.

    Example:
        >>> import pytest
        >>> snn = pytest.importorskip("snntorch")
        >>> theirs = nn.Sequential(nn.Linear(2, 3), snn.Leaky(beta=0.75, init_hidden=True))
        >>> convert(theirs)[1].leak
        0.75
    """
    return _network.over_time(network, "snntorch", to_snnlib, learn=learn)


def surrogate_to_snnlib(spike_grad: SpikeFunction) -> Surrogate:
    """Normal form of one of snnTorch's spike functions.

    Args:
        spike_grad: What `snntorch.surrogate.atan(...)` and its like return, or
            `surrogate_from_snnlib`.

    Returns:
        The surrogate whose derivative its backward pass computes.

    Raises:
        ValueError: If its backward pass is none of the eight shapes, or a function of the user's.

    Source:
        Code of snnTorch 1.0.0.

    Example:
        >>> import pytest
        >>> surrogate = pytest.importorskip("snntorch.surrogate")
        >>> surrogate_to_snnlib(surrogate.fast_sigmoid(slope=10))
        Surrogate(shape='fast_sigmoid', dampening=1.0, sharpness=5.0, tail=2.0)
    """
    own = getattr(spike_grad, "snnlib_surrogate", None)
    if isinstance(own, Surrogate):
        return own
    module, name = getattr(spike_grad, "__module__", ""), getattr(spike_grad, "__qualname__", "")
    if module != "snntorch.surrogate":
        raise ValueError(
            f"spike_grad must be one of snntorch.surrogate, got {spike_grad!r}: what a function of "
            "your own computes on the way back cannot be read from it"
        )
    inside = inspect.getclosurevars(spike_grad).nonlocals
    settings = {key: float(inside[key]) for key in ("alpha", "slope") if key in inside}
    return _neuron.from_name("snntorch", name.partition(".")[0], **settings)


def surrogate_from_snnlib(surrogate: Surrogate) -> SpikeFunction:
    """A spike function for snnTorch with one of our surrogates, of any shape.

    Args:
        surrogate: The surrogate.

    Returns:
        snnTorch's own function where it has one, else its `custom_surrogate` of our derivative.

    Raises:
        ImportError: If snnTorch is not installed.

    Source:
        Code of snnTorch 1.0.0.

    Example:
        >>> import pytest
        >>> snn = pytest.importorskip("snntorch")
        >>> triangle = Surrogate("triangular", dampening=0.3, sharpness=2.0)
        >>> surrogate_to_snnlib(surrogate_from_snnlib(triangle)) == triangle
        True
    """
    library: Any = require("snntorch.surrogate", None)
    known = _neuron.named("snntorch", surrogate)
    if known is not None:
        name, value = known
        return getattr(library, name)(value)

    def slope(input_: Tensor, grad_input: Tensor, spikes: Tensor) -> Tensor:
        return grad_input * surrogate.derivative(input_)

    function = library.custom_surrogate(slope)
    function.snnlib_surrogate = surrogate
    return function


def _constant(value: Tensor, learned: bool) -> float | Tensor:
    """A float, or a fresh tensor of the default dtype that snnTorch may make its parameter."""
    constant = _neuron.number(value, learned)
    return constant.clone() if isinstance(constant, Tensor) else constant
