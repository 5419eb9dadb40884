r"""Neurons and surrogates of SpikingJelly as ours, and ours as SpikingJelly's.

SpikingJelly charges, fires and resets in one step and keeps the potential after the reset; ours
keeps the one before it, so its `v` is our carry divided by the leak. Its soft reset
(`v_reset=None`) is our `"subtract_leak"`, its hard reset our `"zero"` with the potential counted
from `v_reset`, where it also starts. With `decay_input=True` the input is divided by τ; ours then
counts the potential in units of 1/τ, so that the threshold is τ θ.

One thing differs: SpikingJelly spikes at u = θ, ours above it. On currents with a density that has
probability zero; where currents are sums of few round numbers it happens. `exact_at_threshold`
moves the threshold by one rounding of float32, so that both do the same.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from snnlib import dialects
from snnlib._extras import require
from snnlib.interop import _neuron
from snnlib.interop.tied import TiedLIF
from snnlib.neurons import LIF, CurrentLIF
from snnlib.surrogate import Surrogate

__all__ = ["convert", "from_snnlib", "surrogate_from_snnlib", "surrogate_to_snnlib", "to_snnlib"]


def to_snnlib(
    module: nn.Module,
    *,
    learn: bool = True,
    surrogate: Surrogate | None = None,
    exact_at_threshold: bool = False,
) -> LIF:
    """The neuron of ours that is equal to one of SpikingJelly's.

    Args:
        module: `IFNode`, `LIFNode`, `ParametricLIFNode`, `CUBALIFNode`, `HalfThresholdIFNode`,
            `SimpleIFNode` or `SimpleLIFNode`, of either step mode.
        learn: Whether a leak that is learned there is learned here; False keeps its value as a
            constant.
        surrogate: Surrogate in the unit of the foreign potential, in place of the module's own, for
            instance where that is none of the eight shapes.
        exact_at_threshold: Lower the threshold to the next smaller float32, so that u = θ spikes
            as it does there.

    Returns:
        A `LIF` that takes all steps [T, batch, features...] at a call; for `CUBALIFNode` a
        `CurrentLIF`; for a `ParametricLIFNode` with `decay_input=True`, whose leak is learned
        together with the gain of its input, a `TiedLIF`, with the potential in their unit.

    Raises:
        ValueError: If no neuron of ours is equal to the module, with the reason.

    Source:
        Code of SpikingJelly 2.0.0.

    Example:
        >>> import pytest
        >>> neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
        >>> layer = to_snnlib(neuron.LIFNode(tau=4.0, v_threshold=0.5, v_reset=None))
        >>> layer.leak, layer.threshold, layer.reset
        (0.75, 2.0, 'subtract_leak')
    """
    form = _neuron.form_of(module, "spikingjelly")
    node: Any = module
    learned = {"leak"} if learn and _neuron.learnable(getattr(node, "w", None)) else set[str]()
    own_surrogate = surrogate or surrogate_to_snnlib(node.surrogate_function)
    if learned and node.decay_input:
        threshold = form.threshold
        if exact_at_threshold:
            threshold = torch.nextafter(threshold.float(), torch.tensor(-torch.inf))
        return TiedLIF(
            threshold=_neuron.number(threshold),
            leak=_neuron.number(form.leak, True),
            reset=form.reset,
            surrogate=own_surrogate,
            detach_reset=bool(node.detach_reset),
            learn_leak=True,
        ).to(node.w.device)
    half = type(module).__name__ == "HalfThresholdIFNode"
    return _neuron.build(
        module,
        form,
        surrogate=own_surrogate,
        detach_reset=bool(node.detach_reset),
        learned=learned,
        initial=(form.threshold / 2).to(torch.get_default_dtype()) if half else None,
        fires_at_threshold=exact_at_threshold,
    )


def from_snnlib(
    neuron: LIF, *, step_mode: str = "m", exact_at_threshold: bool = False
) -> nn.Module:
    """The SpikingJelly neuron that is equal to one of ours.

    Args:
        neuron: A `LIF` or `CurrentLIF` with one leak and one threshold.
        step_mode: SpikingJelly's own switch: `"m"` takes all steps at a call, `"s"` one.
        exact_at_threshold: Raise the threshold to the next larger float32, so that u = θ does not
            spike, as here.

    Returns:
        An `IFNode` for leak 1, else a `LIFNode`, or a `ParametricLIFNode` where the leak is
        learned, with `decay_input=False` but for a `TiedLIF`; for a `CurrentLIF` a
        `CUBALIFNode`, whose potential is
        counted in units of the input gain.

    Raises:
        ImportError: If SpikingJelly is not installed.
        ValueError: If SpikingJelly has no equal, with the reason.

    Source:
        Code of SpikingJelly 2.0.0.

    Example:
        >>> import pytest
        >>> _ = pytest.importorskip("spikingjelly")
        >>> node = from_snnlib(LIF(leak=0.75, reset="subtract_leak", detach_reset=False))
        >>> node.tau, node.v_reset, node.decay_input
        (4.0, None, False)
    """
    library: Any = require("spikingjelly.activation_based.neuron", None)
    tied = isinstance(neuron, TiedLIF)
    form, surrogate, learned, gain = _neuron.own(neuron, "SpikingJelly")
    if tied:
        gain = 1.0  # it keeps the unit of its potential
    kind = type(neuron).__name__
    if step_mode not in ("m", "s"):
        raise ValueError(f"step_mode must be 'm' or 's', got {step_mode!r}")
    if form.threshold.numel() > 1 or form.leak.numel() > 1:
        raise ValueError(f"{kind} has no equal in SpikingJelly: it needs one threshold, one leak")
    if learned - {"leak"} or ("leak" in learned and isinstance(neuron, CurrentLIF) and not tied):
        raise ValueError(
            f"{kind} has no equal in SpikingJelly: there {', '.join(sorted(learned))} "
            "cannot be learned"
        )
    leak, threshold = float(form.leak), form.threshold / gain
    soft = form.reset == "subtract_leak" or (form.reset == "subtract" and leak == 1)
    if not soft and form.reset != "zero":
        nearest = "subtract_leak" if form.reset == "subtract" else "zero"
        raise ValueError(
            f'reset="{form.reset}" has no equal in SpikingJelly; the nearest is "{nearest}"'
        )
    if exact_at_threshold:
        threshold = torch.nextafter(threshold.float(), torch.tensor(torch.inf))
    settings: dict[str, Any] = {
        "v_threshold": float(threshold),
        "v_reset": None if soft else 0.0,
        "surrogate_function": surrogate_from_snnlib(_neuron.rescaled(surrogate, gain)),
    }
    if isinstance(neuron, CurrentLIF) and not tied:
        assert form.synapse is not None
        node = library.CUBALIFNode(c_decay=float(form.synapse), v_decay=leak, **settings)
        node.step_mode, node.detach_reset = step_mode, neuron.detach_reset
        return node
    settings |= {"detach_reset": neuron.detach_reset, "step_mode": step_mode}
    if leak == 1:
        return library.IFNode(**settings)
    if leak == 0:
        raise ValueError(
            "leak=0 has no equal in SpikingJelly: it needs tau > 1 (nearest: a leak above 0)"
        )
    if "leak" not in learned:
        return library.LIFNode(tau=1 / (1 - leak), decay_input=tied, **settings)
    return library.ParametricLIFNode(init_tau=1 / (1 - leak), decay_input=tied, **settings)


def convert(
    network: nn.Module, *, learn: bool = True, exact_at_threshold: bool = False
) -> nn.Module:
    """A copy of a SpikingJelly network with our neurons in place of its own; weights are kept.

    Args:
        network: A network whose spiking layers take all steps at a call (`step_mode="m"`).
        learn: As for `to_snnlib`.
        exact_at_threshold: As for `to_snnlib`.

    Returns:
        The copy. It starts each call from rest, so it needs no `reset_net`.

    Raises:
        ValueError: If a spiking layer takes single steps or has no equal here; its name is said.

    Example:
        >>> import pytest
        >>> neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
        >>> convert(nn.Sequential(nn.Linear(2, 3), neuron.IFNode(step_mode="m")))[1].leak
        1.0
    """
    network = copy.deepcopy(network)
    done: dict[int, LIF] = {}
    for name, module in list(network.named_modules(remove_duplicate=False)):
        form = dialects.read(module)
        if form is None or form.library != "spikingjelly":
            continue
        if not form.sequence:
            raise ValueError(
                f'{name or "network"} takes single steps; set step_mode="m" before converting'
            )
        try:
            new = done.get(id(module)) or to_snnlib(
                module, learn=learn, exact_at_threshold=exact_at_threshold
            )
        except ValueError as error:
            raise ValueError(f"{name or 'network'}: {error}") from error
        done[id(module)] = new
        new.train(module.training)
        if not name:
            return new
        parent, _, child = name.rpartition(".")
        network.get_submodule(parent)._modules[child] = new
    return network


def surrogate_to_snnlib(surrogate_function: Callable[[Tensor], Tensor]) -> Surrogate:
    """Normal form of one of SpikingJelly's surrogate functions.

    Args:
        surrogate_function: A module of `spikingjelly.activation_based.surrogate`, or
            `surrogate_from_snnlib`.

    Returns:
        The surrogate whose derivative its backward pass computes.

    Raises:
        ValueError: If it is none of the eight shapes, sends no spikes (`spiking=False`), or is a
            function of the user's.

    Source:
        Code of SpikingJelly 2.0.0.

    Example:
        >>> import pytest
        >>> surrogate = pytest.importorskip("spikingjelly.activation_based.surrogate")
        >>> surrogate_to_snnlib(surrogate.Sigmoid(alpha=8.0))
        Surrogate(shape='sigmoid', dampening=2.0, sharpness=2.0, tail=2.0)
    """
    function: Any = surrogate_function
    own = getattr(function, "snnlib_surrogate", None)
    if isinstance(own, Surrogate):
        return own
    if not type(function).__module__.startswith("spikingjelly."):
        raise ValueError(
            f"surrogate_function must be a module of spikingjelly.activation_based.surrogate, got "
            f"{function!r}: what a function of your own computes on the way back cannot be read"
        )
    if not getattr(function, "spiking", True):
        raise ValueError("surrogate_function with spiking=False sends no spikes")
    settings = {"alpha": float(function.alpha)} if hasattr(function, "alpha") else {}
    return _neuron.from_name("spikingjelly", type(function).__name__, **settings)


def surrogate_from_snnlib(surrogate: Surrogate) -> Callable[[Tensor], Tensor]:
    """A surrogate function for SpikingJelly with one of our surrogates, of any shape.

    Args:
        surrogate: The surrogate.

    Returns:
        SpikingJelly's own module where it has one, else a function that spikes at v >= 0, as
        theirs do, and whose backward pass is our derivative.

    Raises:
        ImportError: If SpikingJelly is not installed.

    Source:
        Code of SpikingJelly 2.0.0.

    Example:
        >>> import pytest
        >>> _ = pytest.importorskip("spikingjelly")
        >>> surrogate_from_snnlib(Surrogate("arctan", dampening=2.0, sharpness=2.0)).alpha
        4.0
    """
    library: Any = require("spikingjelly.activation_based.surrogate", None)
    known = _neuron.named("spikingjelly", surrogate)
    if known is not None:
        name, value = known
        return getattr(library, name)(value)
    return _Spike(surrogate)


class _Spike(nn.Module):
    """A step at v >= 0 whose backward pass is a surrogate's derivative."""

    spiking = True

    def __init__(self, surrogate: Surrogate) -> None:
        super().__init__()
        self.snnlib_surrogate = surrogate

    def forward(self, v: Tensor) -> Tensor:
        return _Step.apply(v, self.snnlib_surrogate)


class _Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, v: Tensor, surrogate: Surrogate) -> Tensor:
        ctx.save_for_backward(v)
        ctx.surrogate = surrogate
        return (v >= 0).to(v.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (v,) = ctx.saved_tensors
        return grads[0] * ctx.surrogate.derivative(v), None
