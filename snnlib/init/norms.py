r"""Normalizations in front of neurons: what they leave of a weight's scale, which is nothing.

A batch, layer or group norm between weights and neurons makes of the product x

    i = γ (x − E[x]) / √Var[x] + b,

so that multiplying the weights by a number changes nothing: the currents have the mean b and the
standard deviation γ of the norm, whatever the weights. A batch norm in evaluation is a fixed
affine map instead and does keep the scale.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from snnlib.dialects.form import as_double
from snnlib.init.flow import Flow

__all__ = ["Intake", "Norm", "is_norm", "read_norm", "set_scale_"]

_KINDS: tuple[type, ...] = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)


class Norm(NamedTuple):
    """A normalization.

    Attributes:
        name: Qualified name of the module.
        module: The module.
        scale: γ of each channel, float64; empty if it is not known.
        shift: b likewise.
        undoes: Whether the scale of what comes in is lost; not so for a batch norm in evaluation.
        weights: Parameters whose products it normalizes.
    """

    name: str
    module: nn.Module
    scale: Tensor
    shift: Tensor
    undoes: bool
    weights: frozenset[nn.Parameter] = frozenset()

    @property
    def known(self) -> bool:
        """Whether scale and shift say how its output is distributed."""
        return self.undoes and self.scale.numel() > 0


@dataclass(frozen=True)
class Intake:
    """What the currents of a spiking layer were computed from.

    Attributes:
        flow: The operations from weights, layers and data to the current.
        norms: The normalizations on the way from weights.
        factors: The current is a sum of these norms' outputs times these numbers; None if it is
            something else.
        mean: Mean of the currents i on the example.
        covariance: E[i_s i_t] likewise, [T, T]; only behind a normalization.
        shape: Skewness and excess kurtosis of the currents likewise.
        others: Spiking layers or data whose values join the current without a weight.
    """

    flow: Flow | None = None
    norms: tuple[Norm, ...] = ()
    factors: tuple[float, ...] | None = None
    mean: float = math.nan
    covariance: NDArray[Any] | None = None
    shape: tuple[float, float] = (math.nan, math.nan)
    others: tuple[str, ...] = ()

    @property
    def weighted_sum(self) -> bool:
        """Whether the currents are products of weights and nothing else."""
        if self.flow is None or self.others:
            return self.flow is None
        return all(node.kind in ("source", "sum", "mix") for node in self.flow.walk())


def is_norm(module: nn.Module) -> bool:
    """Whether a module normalizes values: torch's norms, ours, and others by their name.

    Example:
        >>> is_norm(nn.BatchNorm2d(3)), is_norm(nn.Linear(3, 3))
        (True, False)
    """
    if isinstance(module, _KINDS):
        return True
    name = type(module).__name__
    return any(part in name for part in ("Norm", "BatchNorm", "TdBN", "TEBN", "BNTT"))


def read_norm(name: str, module: nn.Module, weights: frozenset[nn.Parameter]) -> Norm:
    """Scale and shift of a normalization.

    Args:
        name: Qualified name.
        module: The module.
        weights: Parameters whose products it normalizes.

    Returns:
        The norm; without a scale if its output is not known to have the deviation γ.

    Example:
        >>> norm = read_norm("bn", nn.BatchNorm1d(3), frozenset())
        >>> norm.scale.tolist(), norm.shift.tolist(), norm.undoes
        ([1.0, 1.0, 1.0], [0.0, 0.0, 0.0], True)
    """
    inner = [m for m in module.modules() if m is not module and is_norm(m)]
    if inner and not isinstance(module, _KINDS):  # one norm for each step, say
        parts = [read_norm(name, m, weights) for m in inner]
        scale, shift = torch.cat([p.scale for p in parts]), torch.cat([p.shift for p in parts])
        return Norm(name, module, scale, shift, all(p.undoes for p in parts), weights)
    scale, shift = _affine(module)
    batch = not isinstance(module, nn.LayerNorm | nn.GroupNorm)
    running = getattr(module, "running_mean", getattr(module, "mean", None)) is not None
    return Norm(name, module, scale, shift, module.training or not (batch and running), weights)


def _affine(module: Any) -> tuple[Tensor, Tensor]:
    """Scale and shift of the output, one for each channel."""
    one, zero = (torch.full((1,), value, dtype=torch.float64) for value in (1.0, 0.0))
    own: dict[str, Tensor | None] = module._parameters
    if isinstance(getattr(module, "std", None), float):  # ours
        weight = as_double(getattr(module, "gain", getattr(module, "weight", 1.0)))
        shift = as_double(getattr(module, "shift", 0.0))
        factor = module.std * getattr(module, "input_gain", 1.0)
        if own.get("scale") is not None:
            each = as_double(module.scale)
            factor, shift = factor * each.square().mean().sqrt(), shift * each.mean()
        return (weight * factor).flatten(), shift.flatten()
    if not isinstance(module, _KINDS):
        return one[:0], zero[:0]
    given = [own.get(name) for name in ("weight", "bias")]
    scale = one if given[0] is None else as_double(given[0]).flatten()
    shift = zero if given[1] is None else as_double(given[1]).flatten()
    if own.get("scale") is not None:  # a factor for each step, as TEBN has
        each = as_double(own["scale"])
        scale, shift = scale * each.square().mean().sqrt(), shift * each.mean()
    shape = torch.broadcast_shapes(scale.shape, shift.shape)
    return scale.expand(shape), shift.expand(shape)


def set_scale_(norm: Norm, value: float) -> None:
    """Give a norm's output the standard deviation `value` and the mean 0.

    Args:
        norm: The norm.
        value: Above 0.

    Raises:
        ValueError: If the norm has no scale of its own to set.

    Example:
        >>> norm = read_norm("bn", nn.BatchNorm1d(3), frozenset())
        >>> set_scale_(norm, 2.5)
        >>> norm.module.weight.tolist(), norm.module.bias.tolist()
        ([2.5, 2.5, 2.5], [0.0, 0.0, 0.0])
    """
    own = {k: p for m in norm.module.modules() for k, p in m.named_parameters(recurse=False)}
    name = "weight" if "weight" in own else "gain"
    if name not in own or not norm.scale.numel() or not bool((norm.scale != 0).all()):
        raise ValueError(f"normalization {norm.name!r} has no scale of its own to set")
    with torch.no_grad():
        holders: list[nn.Module] = list(norm.module.modules())
        for module in holders:
            scale = module._parameters.get(name)
            if scale is None:
                continue
            now = float(read_norm("", module, frozenset()).scale.square().mean().sqrt())
            factor = now / float(as_double(scale).square().mean().sqrt())
            scale.fill_(value / factor)
            for bias in ("bias", "shift"):
                shift = module._parameters.get(bias)
                if shift is not None:
                    shift.zero_()
