"""What a network holds: its weights and its spiking layers, found in one walk over its modules."""

from __future__ import annotations

from typing import Any, TypeAlias

from torch import Tensor, nn

from snnlib import dialects
from snnlib.init.connection import Connection, Layer, fans
from snnlib.init.norms import is_norm

ESTIMATED = "estimated from its responses"
WEIGHTS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
Weight: TypeAlias = nn.Module | nn.Parameter


class Inventory:
    """The weights and spiking layers of a network, by module and parameter.

    Args:
        network: The network, which is walked once.
        estimating: Whether constants of neurons that are not known are read off their responses.

    Raises:
        ValueError: If a weight is empty or computed by a parametrization.
    """

    def __init__(self, network: nn.Module, estimating: bool = False) -> None:
        self.network = network
        self.names: dict[nn.Module, str] = {}
        self.weights: dict[nn.Module, tuple[int, int]] = {}
        self.layers: dict[nn.Module, Layer] = {}
        self.parents: dict[nn.Module, nn.Module] = {}  # of weights inside a spiking layer
        self.raw: dict[nn.Parameter, tuple[nn.Module, str]] = {}  # weights without a module
        self.returning: dict[nn.Module, nn.Parameter] = {}  # recurrent weights that our layers hold
        self.norms: list[nn.Module] = []  # normalizations, without those inside of one
        for name, module in network.named_modules():
            self.names[module] = shown = name or type(module).__name__
            if isinstance(module, WEIGHTS):
                if not isinstance(module.weight, nn.Parameter):
                    raise ValueError(
                        f"weight of {shown!r} is computed by a parametrization: initialize "
                        "what it is computed from, or remove the parametrization first"
                    )
                self.weights[module] = fans(module.weight, f"weight of {shown!r}")
                continue
            spiking = dialects.read(module)
            if estimating and spiking is not None:
                spiking = _estimated(module, spiking)
            if spiking is None and is_norm(module) and not _inside(name, self):
                self.norms.append(module)
            for key, parameter in module.named_parameters(recurse=False):
                if spiking is not None and spiking.library == "snnlib":
                    if not spiking.recurrent or key != "weight":
                        continue  # a learned threshold or leak
                    self.returning[module] = parameter
                if parameter.dim() >= 2 and not isinstance(parameter, nn.UninitializedParameter):
                    qualified = f"{name}.{key}" if name else key
                    self.raw.setdefault(parameter, (module, qualified))
            if spiking is not None:
                self.layers[module] = Layer(shown, spiking, module)
                for child in module.modules():
                    if child is not module:
                        self.parents.setdefault(child, module)
        own = {module.weight for module in self.weights}
        self.raw = {p: place for p, place in self.raw.items() if p not in own}

    @property
    def inner(self) -> list[nn.Parameter]:
        """Weights that a spiking layer itself multiplies by."""
        return [p for p, (module, _) in self.raw.items() if module in self.layers]

    def connection(self, weight: Weight, **known: Any) -> Connection:
        """A weight with what is known of its place."""
        if isinstance(weight, nn.Module):
            parameter = weight.weight
            assert isinstance(parameter, nn.Parameter)
            bias = weight.bias if isinstance(weight.bias, Tensor) else None
            return Connection(
                self.names[weight], weight, parameter, *self.weights[weight], bias=bias, **known
            )
        module, name = self.raw[weight]
        fan_in, fan_out = fans(weight, name)
        if known.get("transposed", False):
            fan_in, fan_out = fan_out, fan_in
        if self.returning.get(module) is weight and isinstance(module.bias, Tensor):
            known["bias"] = module.bias
        return Connection(name, module, weight, fan_in, fan_out, **known)


def _inside(name: str, found: Inventory) -> bool:
    """Whether a module lies inside of a normalization."""
    return any(name.startswith(f"{found.names[norm]}.") for norm in found.norms)


def _estimated(module: nn.Module, spiking: dialects.Spiking) -> dialects.Spiking:
    """With leak, input gain and reset from the module's responses, if the gain is not known."""
    if not bool(spiking.input_gain.isnan().any()):
        return spiking
    try:
        found = dialects.estimate(module)
    except ValueError as error:
        return spiking._replace(why=f"{spiking.why}; {error}")
    if not found.good:
        return spiking._replace(why=f"{spiking.why}; the fit of its responses is {found.fit:.1%}")
    return found.spiking(spiking)._replace(
        why=f"{ESTIMATED}: leak {found.leak:.3g}, input gain {found.input_gain:.3g}, reset "
        f"{found.reset!r} ({found.fit:.1%} of the steps of a random current)"
    )
