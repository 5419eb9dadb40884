"""Constants of neurons that no network can work with: named first, with what would be stable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from snnlib.dialects import Spiking
from snnlib.probe.capture import Entry

__all__ = ["Unstable", "shared_constants", "unstable", "unstable_buffers"]


STABLE = 0.8
"""Step of a remedy in units of the time constant: the longest with some memory and a margin, since
a finer one drives the neurons the less the fewer the time steps are."""


class Unstable(NamedTuple):
    """A constant outside its range.

    Attributes:
        sentence: What it is, and what would be stable.
        remedy: The call that mends it.
    """

    sentence: str
    remedy: str


def unstable(entry: Entry) -> Unstable | None:
    """The worst constant of a layer; None if all are within their range.

    Args:
        entry: The layer.

    Returns:
        What is wrong.
    """
    module: Any = entry.module
    path = f'model.get_submodule("{entry.name.partition("#")[0]}")'
    for look in (_learned, _step, _threshold, _leaks):
        found = look(module, entry.spiking, path)
        if found is not None:
            return found
    return None


def _range(value: Tensor | None) -> tuple[float, float]:
    if value is None or value.numel() == 0 or bool(torch.isnan(value).any()):
        return 0.0, 0.0
    return float(value.min()), float(value.max())


def _outside(value: Tensor | None) -> float | None:
    """The value farthest outside [0, 1]."""
    low, high = _range(value)
    if low >= 0 and high <= 1 + 1e-6:
        return None
    return low if -low > high - 1 else high


def _learned(module: Any, form: Spiking, path: str) -> Unstable | None:
    """Values that the library cuts off, so that nothing is learned there, and NaN."""
    for name, parameter in _constants(module):
        value = parameter.detach()
        if bool(torch.isnan(value).any()):
            return Unstable(
                f"its {name} holds NaN; a number is needed", f"{path}.{name}.data.fill_(0.5)"
            )
        clamped = form.library == "snntorch" and name in ("beta", "alpha")
        bad = _outside(value.double().cpu()) if clamped else None
        if bad is not None:
            return Unstable(
                f"its {name} = {bad:.4g} left [0, 1] and counts as {min(max(bad, 0.0), 1.0):g}; "
                "there it gets no gradient",
                f"{path}.{name}.data.clamp_(0, 1)",
            )
    return None


def _constants(module: nn.Module) -> list[tuple[str, Tensor]]:
    own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    return [(name, value) for name, value in own if value.dim() <= 1 and value.is_floating_point()]


def _step(module: Any, form: Spiking, path: str) -> Unstable | None:
    """A step that is longer than a time constant, as Norse and snnTorch's Lapicque have it."""
    leak, synapse = _outside(form.leak), _outside(form.synapse)
    if leak is None and synapse is None:
        return None
    p = getattr(module, "p", None)
    p = getattr(p, "lif", getattr(p, "lif_parameters", p))
    found = [
        (what, kept, float(1 / torch.as_tensor(getattr(p, name)).detach().double().max()))
        for what, kept, name in (
            ("synapse", synapse, "tau_syn_inv"),
            ("potential", leak, "tau_mem_inv"),
        )
        if kept is not None and hasattr(p, name)
    ]
    if found and hasattr(module, "dt"):
        what, kept, tau = min(found, key=lambda one: one[2])
        step = float(torch.as_tensor(module.dt).detach().double().max())
        low, _ = _range(form.leak)
        also = " (and no memory of its potential)" if low == 0 and what == "synapse" else ""
        return Unstable(
            f"its step dt = {step:g} is {step / tau:.3g} times the time constant {tau:g} of its "
            f"{what}, of which it keeps {kept:.3g} at each step{also}: {_effect(kept)}; stable is "
            f"dt < {tau:g}",
            _set_to(module, path, "dt", STABLE * tau),
        )
    return None


def _set_to(module: Any, path: str, name: str, value: float) -> str:
    """The call that sets a number, which a library may hold as a parameter or a buffer."""
    held = isinstance(getattr(module, name), Tensor)
    return f"{path}.{name}" + (f".data.fill_({value:g})" if held else f" = {value:g}")


def _effect(kept: float) -> str:
    if kept > 1:
        return "it grows without bound"
    if kept <= -1:
        return "it changes sign at each step and never fades"
    return "it changes sign at each step"


def _threshold(module: Any, form: Spiking, path: str) -> Unstable | None:
    low, _ = _range(form.threshold)
    if low >= 0:
        return None
    name = "v_threshold" if hasattr(module, "v_threshold") else "threshold"
    value = getattr(module, name, None)
    call = f"{path}.{name}.data.fill_(1)" if isinstance(value, Tensor) else f"{path}.{name} = 1.0"
    return Unstable(
        f"its threshold {low:.4g} is below its potential at rest, so that it fires without input; "
        "a threshold above 0 is stable",
        call,
    )


def _leaks(module: Any, form: Spiking, path: str) -> Unstable | None:
    for what, value in (("potential", form.leak), ("synapse", form.synapse)):
        bad = _outside(value)
        if bad is None:
            continue
        if hasattr(module, "tau") and not isinstance(module.tau, Tensor):
            call = f"{path}.tau = 2.0"
        elif hasattr(module, "time_step"):
            call = _set_to(module, path, "time_step", STABLE * float(module.R * module.C))
        elif isinstance(getattr(module, "leak", None), nn.Parameter):
            call = f"{path}.leak.data.clamp_(0, 1)"
        else:
            call = "a leak in [0, 1]"
        return Unstable(
            f"it keeps {bad:.4g} of its {what} at each step: {_effect(bad)}; stable is [0, 1]", call
        )
    return None


def unstable_buffers(network: nn.Module) -> list[tuple[str, str, str]]:
    """Buffers of the network that hold NaN or infinity.

    Args:
        network: The network.

    Returns:
        (module, buffer, the call that mends it) of each.
    """
    found = []
    for name, module in network.named_modules():
        for key, value in module.named_buffers(recurse=False):
            if not value.is_floating_point() or bool(torch.isfinite(value).all()):
                continue
            path = f'model.get_submodule("{name}")' if name else "model"
            if callable(getattr(module, "reset_running_stats", None)):
                call = f"{path}.reset_running_stats()"
            elif callable(getattr(module, "reset_mem", None)):
                call = f"{path}.reset_mem()"
            else:
                call = f"{path}.{key}.zero_()"
            found.append((name, key, call))
    return found


def shared_constants(entries: Sequence[Entry]) -> list[str]:
    """Layers whose constants are many numbers, of which the table shows the mean."""
    names = []
    for entry in entries:
        form = entry.spiking
        values = (form.threshold, form.leak, form.input_gain, form.synapse)
        if any(value is not None and value.numel() > 1 for value in values):
            names.append(entry.name)
    return names
