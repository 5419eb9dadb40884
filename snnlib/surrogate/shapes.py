"""The shapes f of surrogate derivatives: f, its integral, and integrals of its powers."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from scipy import special
from torch import Tensor

SHAPES: tuple[str, ...] = (
    "triangular",
    "exponential",
    "gaussian",
    "sigmoid",
    "fast_sigmoid",
    "rectangular",
    "arctan",
    "q_pseudospike",
)
"""Names of the shapes f, see the table above."""

Array: TypeAlias = npt.NDArray[np.float64]


def bump(name: str, v: Tensor, s: float, q: float) -> Tensor:
    """f(s v) in torch; the sharpness is folded into the constants to spare a kernel."""
    match name:
        case "triangular":
            return torch.relu(1 - s * v.abs())
        case "exponential":
            return torch.exp(-2 * s * v.abs())
        case "gaussian":
            return torch.exp(-(v * (s * math.sqrt(math.pi))).square())
        case "sigmoid":  # two sigmoids: exact in both tails, and smooth at 0 unlike |v|
            z = v * (4 * s)
            return torch.sigmoid(z) * torch.sigmoid(-z) * 4
        case "fast_sigmoid":
            return (1 + (2 * s) * v.abs()).pow(-2)
        case "rectangular":  # sign and relu, not a comparison: autograd then knows the zero slope
            return torch.relu(torch.sign(0.5 - s * v.abs()))
        case "arctan":
            return (1 + (v * (math.pi * s)).square()).reciprocal()
        case _:  # q_pseudospike; log1p keeps the limit q → ∞, exp(-2|v|), exact
            return torch.exp(-q * torch.log1p((2 * s / (q - 1)) * v.abs()))


def bump_(name: str, v: Tensor, s: float, q: float) -> Tensor:
    """f(s v) written over v, with the same roundings as `bump` but no memory of its own."""
    match name:
        case "triangular":
            return v.abs_().mul_(-s).add_(1).relu_()
        case "exponential":
            return v.abs_().mul_(-2 * s).exp_()
        case "gaussian":
            return v.mul_(s * math.sqrt(math.pi)).square_().neg_().exp_()
        case "sigmoid":
            left = torch.sigmoid(v.mul_(4 * s))
            return v.neg_().sigmoid_().mul_(left).mul_(4)
        case "fast_sigmoid":
            return v.abs_().mul_(2 * s).add_(1).pow_(-2)
        case "rectangular":
            return v.abs_().mul_(-s).add_(0.5).sign_().relu_()
        case "arctan":
            return v.mul_(math.pi * s).square_().add_(1).reciprocal_()
        case _:  # q_pseudospike
            return v.abs_().mul_(2 * s / (q - 1)).log1p_().mul_(-q).exp_()


def cumulative(name: str, z: Tensor, q: float) -> Tensor:
    """∫ from -∞ to z of f; lower tails keep their relative accuracy."""
    match name:
        case "gaussian":
            return 0.5 * torch.erfc(-math.sqrt(math.pi) * z)
        case "sigmoid":
            return torch.sigmoid(4 * z)
        case "rectangular":
            return torch.clamp(z + 0.5, 0, 1)
        case "arctan":
            return torch.atan2(torch.ones_like(z), -math.pi * z) / math.pi
    w = torch.where(z < 0, -z, z)  # |z|, with slope 1 instead of 0 at z = 0
    match name:
        case "triangular":
            tail = 0.5 * torch.relu(1 - w).square()
        case "exponential":
            tail = 0.5 * torch.exp(-2 * w)
        case "fast_sigmoid":
            tail = 0.5 / (1 + 2 * w)
        case _:  # q_pseudospike
            tail = 0.5 * torch.exp((1 - q) * torch.log1p(2 / (q - 1) * w))
    return torch.where(z < 0, tail, 1 - tail)


def _tail_integral(name: str, x: Array, m: float, q: float) -> Array:
    """∫ from x ≥ 0 to ∞ of f^m, for real m ≥ 1."""
    match name:
        case "triangular":
            return np.maximum(1 - x, 0) ** (m + 1) / (m + 1)
        case "exponential":
            return np.exp(-2 * m * x) / (2 * m)
        case "gaussian":
            return special.erfc(math.sqrt(math.pi * m) * x) / (2 * math.sqrt(m))
        case "sigmoid":  # substitute t = 1/cosh²(2v): an incomplete beta function
            t = 4 * special.expit(4 * x) * special.expit(-4 * x)
            return special.beta(m, 0.5) * special.betainc(m, 0.5, t) / 4
        case "fast_sigmoid":
            return (1 + 2 * x) ** (1 - 2 * m) / (2 * (2 * m - 1))
        case "rectangular":
            return np.maximum(0.5 - x, 0)
        case "arctan":  # substitute t = 1/(1 + (πv)²)
            t = 1 / (1 + (math.pi * x) ** 2)
            return special.beta(m - 0.5, 0.5) * special.betainc(m - 0.5, 0.5, t) / (2 * math.pi)
        case _:  # q_pseudospike
            power = np.exp((1 - q * m) * np.log1p(2 * x / (q - 1)))
            return (q - 1) / (2 * (q * m - 1)) * power


def interval_integral(name: str, a: Array, b: Array, m: float, q: float) -> Array:
    """∫ from a to b of f^m, without cancellation when both ends lie in one tail."""
    tail_a, tail_b = (_tail_integral(name, np.abs(x), m, q) for x in (a, b))
    total = 2 * _tail_integral(name, np.zeros(()), m, q)
    across = total - tail_a - tail_b
    return np.where(a >= 0, tail_a - tail_b, np.where(b <= 0, tail_b - tail_a, across))
