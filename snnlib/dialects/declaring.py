r"""Neurons that no library knows, made known in one line or read off their responses.

A neuron of your own is known as soon as its constants are:

* `declare(MyLIF, threshold="threshold", leak="decay", reset="zero")` for all modules of a class,
  with names of attributes, numbers, or functions of the module;
* `neurons={MyLIF: reader}` of `initialize_` and `diagnose`, for one call;
* a class that has `threshold`, `leak`, `reset` and `trace(current) -> (membrane, spikes)` is known
  by itself, as those of `snnlib.neurons`;
* `estimate(module)` feeds known currents and fits leak, input gain, threshold and reset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

from torch import Tensor, nn

from snnlib.dialects.estimating import estimate
from snnlib.dialects.form import NAN, ONE, Spiking, as_double
from snnlib.dialects.reading import DECLARED

__all__ = ["Constant", "Reader", "declare", "declared", "hint", "undeclare"]

Constant: TypeAlias = str | float | Tensor | Callable[[Any], Any]
Reader: TypeAlias = Callable[[Any], Spiking | Mapping[str, Any]]
THRESHOLDS = ("threshold", "v_threshold", "v_th", "vth", "theta", "thresh")
LEAKS = ("leak", "decay", "beta", "alpha", "tau")
RESETS = ("subtract", "subtract_leak", "zero", "none")


def declare(
    kind: type[nn.Module],
    *,
    threshold: Constant,
    leak: Constant | None = None,
    reset: str = "zero",
    input_gain: Constant | None = 1.0,
    synapse: Constant | None = None,
    height: Constant = 1.0,
    sequence: bool = False,
    fires_at_threshold: bool = False,
) -> None:
    r"""Say what the neurons of a class are, for all functions of this library.

    Each step is u ← carry(u, x) + λ c with c ← κ c + i, and x = [u > θ].

    Args:
        kind: The class of the module that gets a current and returns spikes (first, if it returns
            several tensors).
        threshold: θ: the name of an attribute (dots lead into attributes of it), a number, or a
            function of the module.
        leak: β likewise, the share of the potential that is kept each step; None if unknown.
        reset: As in `snnlib.neurons.lif`: "subtract", "subtract_leak", "zero" or "none".
        input_gain: λ likewise; None if unknown.
        synapse: κ likewise, the share of a synaptic current that is kept; None without one.
        height: What a spike sends on likewise.
        sequence: Whether one call takes all steps [T, batch, ...]; else one call is one step.
        fires_at_threshold: Whether u = θ spikes.

    Raises:
        ValueError: If the class is none, or the reset is unknown.

    Example:
        >>> import torch
        >>> class Own(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.theta, self.decay = 0.8, nn.Parameter(torch.tensor(0.9))
        >>> declare(Own, threshold="theta", leak="decay", reset="subtract")
        >>> from snnlib.dialects import read
        >>> read(Own()).threshold.item(), read(Own()).reset
        (0.8, 'subtract')
        >>> undeclare(Own)
    """
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise ValueError(f"kind must be a class of torch.nn.Module, got {kind!r}")
    if reset not in RESETS:
        raise ValueError(f"reset must be one of {', '.join(RESETS)}, got {reset!r}")

    def reader(module: Any) -> Spiking:
        unknown = " and ".join(
            name for name, value in (("leak", leak), ("input gain", input_gain)) if value is None
        )
        return Spiking(
            _constant(module, threshold),
            NAN if leak is None else _constant(module, leak),
            reset,
            ONE if height == 1.0 else _constant(module, height),
            input_gain=NAN if input_gain is None else _constant(module, input_gain),
            synapse=None if synapse is None else _constant(module, synapse),
            fires_at_threshold=fires_at_threshold,
            sequence=sequence,
            library="declared",
            why=f"its {unknown} was not declared" if unknown else "",
        )

    DECLARED[kind] = reader


def undeclare(kind: type[nn.Module]) -> None:
    """Forget what was declared of a class.

    Example:
        >>> undeclare(nn.ReLU)  # which never was
    """
    DECLARED.pop(kind, None)


@contextmanager
def declared(neurons: Mapping[type[nn.Module], Reader] | None) -> Iterator[None]:
    """Know some classes inside of a block.

    Args:
        neurons: From a class to a function of its module that returns a `Spiking`, or a mapping
            with the arguments of `declare`.

    Yields:
        None.

    Raises:
        ValueError: If `neurons` is no such mapping.

    Example:
        >>> from snnlib.dialects import is_spiking
        >>> with declared({nn.Tanh: lambda m: {"threshold": 1.0, "leak": 0.5}}):
        ...     is_spiking(nn.Tanh())
        True
        >>> is_spiking(nn.Tanh())
        False
    """
    if neurons is not None and not isinstance(neurons, Mapping):
        raise ValueError(
            "neurons must be a dict from class to reader, such as "
            f'{{MyLIF: lambda m: {{"threshold": m.theta, "leak": m.decay}}}}, got {neurons!r}'
        )
    before = dict(DECLARED)
    try:
        for kind, reader in (neurons or {}).items():
            DECLARED[kind] = _form(kind, reader)
        yield
    finally:
        DECLARED.clear()
        DECLARED.update(before)


def _form(kind: type[nn.Module], reader: Reader) -> Callable[[Any], Spiking]:
    def read(module: Any) -> Spiking:
        found = reader(module)
        if isinstance(found, Spiking):
            return found
        before = DECLARED.get(kind)
        declare(kind, **found)
        made = DECLARED[kind](module)
        if before is not None:
            DECLARED[kind] = before
        return made

    return read


def _constant(module: Any, value: Constant) -> Tensor:
    if callable(value):
        return as_double(value(module))
    if not isinstance(value, str):
        return as_double(value)
    found = module
    for part in value.split("."):
        if not hasattr(found, part):
            raise ValueError(
                f"{type(module).__name__} has no attribute {value!r}, as was declared of it"
            )
        found = getattr(found, part)
    return as_double(found)


def hint(network: nn.Module) -> str:
    """What to do about a network in which no spiking layer is known.

    Args:
        network: The network.

    Returns:
        A sentence that names the classes which look like neurons.

    Example:
        >>> hint(nn.Sequential(nn.Linear(2, 2)))[:58]
        'its forward seems to compute its neurons by mere functions'
    """
    places: dict[type[nn.Module], list[str]] = {}
    for name, module in network.named_modules():
        own = not type(module).__module__.startswith("torch.") and not list(module.children())
        if own and name:
            places.setdefault(type(module), []).append(name)
    likely = {k: v for k, v in places.items() if _attribute(network, v[0], THRESHOLDS)} or places
    if not likely:
        return (
            "its forward seems to compute its neurons by mere functions, or none runs: make each "
            "layer of neurons a module that keeps its state (such as snnlib.neurons.LIF or your "
            "own), or convert the network"
        )
    kind, names = next(iter(likely.items()))
    at = ", ".join(repr(name) for name in names[:3])
    line, source = _line(network, names[0])
    return (
        f"{kind.__name__} (at {at}) may be a neuron of your own: say what it is by one line, "
        f"snnlib.dialects.declare({kind.__name__}, {line}){source}, or give the class a threshold, "
        "a leak, a reset and a method trace(current) -> (membrane, spikes); "
        "snnlib.dialects.estimate(module) finds such numbers from its responses"
    )


def _line(network: nn.Module, place: str) -> tuple[str, str]:
    """What declares a neuron, as far as its attributes and responses tell, and where it is from."""
    module = network.get_submodule(place)
    threshold, leak = (_attribute(network, place, names) for names in (THRESHOLDS, LEAKS))
    told = f'threshold="{threshold}"' if threshold else "threshold=..."
    try:
        found = estimate(module)
    except ValueError:
        found = None
    if found is None or not found.good or not threshold:
        kept = f'leak="{leak}"' if leak and leak != "tau" else "leak=..."
        return f'{told}, {kept}, reset="zero", input_gain=...', ""
    value = getattr(module, leak, None) if leak else None
    named = isinstance(value, Tensor | float) and bool(abs(float(value) - found.leak) < 1e-3)
    kept = f'leak="{leak}"' if named else f"leak={found.leak:.4g}"
    line = f'{told}, {kept}, reset="{found.reset}", input_gain={found.input_gain:.4g}'
    more = ", sequence=True" if found.sequence else ""
    return line + more, f" (which gives {found.fit:.1%} of its spikes right)"


def _attribute(network: nn.Module, place: str, names: tuple[str, ...]) -> str:
    module = network.get_submodule(place)
    return next((name for name in names if hasattr(module, name)), "")
