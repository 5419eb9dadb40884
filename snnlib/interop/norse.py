r"""Neurons and surrogates of Norse as ours, and ours as Norse's.

Norse integrates its differential equations by one Euler step of length dt: the leak is
1 - dt/τ_mem, the gain of the input dt/τ_mem, and the current of `LIF` keeps 1 - dt/τ_syn a step;
the input of a step acts in that step. The hard reset is our `"zero"` with the potential counted
from `v_leak`, where it starts, if `v_reset` equals `v_leak`. Feed-forward neurons send a gradient
through the reset. A spike needs u > θ, as here.

The alternatives of the surrogate are few: `"super"` has one form whatever `alpha` is,
`"triangle"` one width, `"tanh"` and `"heavi_erfc"` one height.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

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


def to_snnlib(module: nn.Module, *, learn: bool = True, surrogate: Surrogate | None = None) -> LIF:
    """The neuron of ours that is equal to one of Norse's.

    Args:
        module: `LIFBoxCell`, `IAFCell`, `IAF`, `LIFCell` or `LIF`.
        learn: Whether a threshold or a synaptic time constant that requires a gradient there is
            learned here; False keeps its value as a constant.
        surrogate: Surrogate in the unit of the foreign potential, in place of the module's own, for
            instance where that is none of the eight shapes.

    Returns:
        A `LIF` that takes all steps [T, batch, features...] at a call, with the potential counted
        from rest in units of dt/τ_mem; for `LIFCell` and `LIF` a `CurrentLIF`, in Norse's unit.

    Raises:
        ValueError: If no neuron of ours is equal to the module, with the reason.

    Source:
        Code of Norse 1.1.0.

    Example:
        >>> import pytest
        >>> norse = pytest.importorskip("norse.torch")
        >>> p = norse.LIFBoxParameters(tau_mem_inv=torch.tensor(250.0))
        >>> layer = to_snnlib(norse.LIFBoxCell(p))
        >>> layer.leak, layer.threshold, layer.reset
        (0.75, 4.0, 'zero')
    """
    form = _neuron.form_of(module, "norse")
    p: Any = module.p
    learned = set()
    if learn and _neuron.learnable(p.v_th):
        learned.add("threshold")
    if learn and _neuron.learnable(getattr(p, "tau_syn_inv", None)):
        learned.add("synapse_leak")
    for name, why in (
        ("tau_mem_inv", "the leak and the gain of the input are one learned number"),
        ("v_leak", "the potential at rest is learned"),
        ("v_reset", "the potential after a reset is learned"),
    ):
        if learn and _neuron.learnable(getattr(p, name, None)):
            # IAF turns the gradient of its own default v_reset on when it runs.
            if name == "v_reset" and form.leak.eq(1).all():
                continue
            raise ValueError(
                f"{type(module).__name__} has no equal here: {name} requires a gradient, so {why}; "
                "use learn=False for constants"
            )
    return _neuron.build(
        module,
        form,
        surrogate=surrogate or surrogate_to_snnlib(p.method, p.alpha),
        detach_reset=False,
        learned=learned,
    )


def from_snnlib(
    neuron: LIF, *, dt: float = 0.001, method: str | None = None, alpha: float = 100.0
) -> nn.Module:
    """The Norse cell that is equal to one of ours.

    Norse's `Lift` runs a cell over all steps. The potential of the cell is ours times dt/τ_mem.

    Args:
        neuron: A `LIF` or `CurrentLIF` with `detach_reset=False` and nothing learned (Norse's
            parameters are not among `module.parameters()`).
        dt: Norse's time step in seconds.
        method: Norse's surrogate, in place of the neuron's own, which Norse may not have.
        alpha: Setting of `method`.

    Returns:
        An `IAFCell` for leak 1, else a `LIFBoxCell`; for a `CurrentLIF` a `LIFCell`.

    Raises:
        ImportError: If Norse is not installed.
        ValueError: If Norse has no equal, with the reason.

    Source:
        Code of Norse 1.1.0.

    Example:
        >>> import pytest
        >>> norse = pytest.importorskip("norse.torch")
        >>> neuron = LIF(threshold=4.0, leak=0.75, reset="zero", detach_reset=False)
        >>> cell = from_snnlib(neuron, method="super")
        >>> cell.p.tau_mem_inv.item(), cell.p.v_th.item()
        (250.0, 1.0)
    """
    library: Any = require("norse.torch", None)
    form, surrogate, learned, gain = _neuron.own(neuron, "Norse")
    kind = type(neuron).__name__
    if learned:
        raise ValueError(
            f"{kind} has no equal in Norse: {', '.join(sorted(learned))} is learned, but Norse's "
            "parameters are not among module.parameters()"
        )
    if neuron.detach_reset:
        raise ValueError(
            "detach_reset=True has no equal in Norse, whose reset passes the gradient on; "
            "build the neuron with detach_reset=False"
        )
    current = isinstance(neuron, CurrentLIF)
    one = bool((form.leak == 1).all())
    soft = form.reset == "subtract_leak"
    if form.reset != "zero" and (current or one or not soft):
        raise ValueError(
            f'reset="{form.reset}" has no equal in Norse\'s {_cell(current, one)}; '
            'use "zero"' + ("" if current or one else ' or "subtract_leak"')
        )
    if not dt > 0:
        raise ValueError(f"dt must be > 0, got {dt!r}")
    if current and one:
        raise ValueError("leak=1 has no equal in Norse's LIFCell: nothing would enter the membrane")
    step = torch.ones(()) if one else 1 - form.leak  # what Norse multiplies the input with
    if not bool((step == step.flatten()[0]).all()) and method is None:
        raise ValueError(
            "leak must be one number, or method be given: Norse has one surrogate for all neurons"
        )
    if method is None:
        unit = gain / float(step.flatten()[0])
        method, alpha = surrogate_from_snnlib(_neuron.rescaled(surrogate, unit))
    settings: dict[str, Any] = {
        "v_th": (form.threshold * step / gain).float(),
        "v_reset": torch.zeros(()),
        "method": method,
        "alpha": torch.as_tensor(alpha),
    }
    if one:
        return library.IAFCell(library.IAFParameters(**settings), dt=dt)
    settings |= {"tau_mem_inv": (step / dt).float(), "v_leak": torch.zeros(())}
    if not current:
        reset = library.reset_subtract if soft else library.reset_value
        return library.LIFBoxCell(library.LIFBoxParameters(reset_method=reset, **settings), dt=dt)
    assert form.synapse is not None
    settings["tau_syn_inv"] = ((1 - form.synapse) / dt).float()
    return library.LIFCell(library.LIFParameters(**settings), dt=dt)


def convert(network: nn.Module, *, learn: bool = True) -> FeedForward:
    """A copy of a Norse network with our neurons in place of its own; weights are kept.

    Norse's cells take one step and a state; ours take all steps [T, batch, ...] at a call and start
    each call from rest. A `Lift` around a layer falls away.

    Args:
        network: An `nn.Sequential` (such as `SequentialState`), nested or not.
        learn: As for `to_snnlib`.

    Returns:
        The copy, with the names of the original: currents [T, batch, features...] to outputs.

    Raises:
        ValueError: If it is no `nn.Sequential`, or a layer has no equal here (a batch norm in
            training mode takes other statistics over all steps); its name is said.

    Source:
        Code of Norse 1.1.0.

    Example:
        >>> import pytest
        >>> norse = pytest.importorskip("norse.torch")
        >>> cell = norse.LIFBoxCell(norse.LIFBoxParameters(tau_mem_inv=torch.tensor(250.0)))
        >>> theirs = norse.SequentialState(nn.Linear(2, 3), cell)
        >>> convert(theirs)[1].leak
        0.75
    """
    return _network.over_time(network, "norse", to_snnlib, _lifted, learn=learn)


def surrogate_to_snnlib(method: str, alpha: float | torch.Tensor = 100.0) -> Surrogate:
    """Normal form of one of Norse's surrogates.

    Args:
        method: `"super"`, `"triangle"`, `"tanh"` or `"heavi_erfc"`.
        alpha: Its setting.

    Returns:
        The surrogate whose derivative its backward pass computes.

    Raises:
        ValueError: If it is none of the eight shapes (`"circ"`), or has no gradient
            (`"heaviside"`).

    Source:
        Code of Norse 1.1.0.

    Example:
        >>> surrogate_to_snnlib("super", 100.0)
        Surrogate(shape='fast_sigmoid', dampening=1.0, sharpness=0.5, tail=2.0)
    """
    return _neuron.from_name("norse", method, alpha=float(alpha))


def surrogate_from_snnlib(surrogate: Surrogate) -> tuple[str, float]:
    """Norse's `method` and `alpha` for one of our surrogates.

    Args:
        surrogate: The surrogate.

    Returns:
        (method, alpha).

    Raises:
        ValueError: If Norse has no such surrogate.

    Source:
        Code of Norse 1.1.0.

    Example:
        >>> surrogate_from_snnlib(Surrogate("sigmoid", sharpness=3.0))
        ('tanh', 6.0)
    """
    known = _neuron.named("norse", surrogate)
    if known is None:
        raise ValueError(
            f"{surrogate!r} has no equal in Norse; it has the fast sigmoid with dampening 1 and "
            "sharpness 1/2, triangles of sharpness 1, sigmoids of dampening 1 and Gaussians of "
            "dampening 2/√π"
        )
    return known


def _lifted(module: nn.Module) -> nn.Module:
    """What a `Lift` holds."""
    lifted = getattr(module, "lifted_module", None)
    return lifted if type(module).__name__ == "Lift" and isinstance(lifted, nn.Module) else module


def _cell(current: bool, one: bool) -> str:
    return "LIFCell" if current else "IAFCell" if one else "LIFBoxCell"
