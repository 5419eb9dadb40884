"""The surrogate derivative in its normal form, σ'(v) = γ f(s v)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias, overload

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from snnlib.surrogate.moments import gaussian_closed, gaussian_quadrature
from snnlib.surrogate.shapes import SHAPES, Array, bump, bump_, cumulative, interval_integral

Numbers: TypeAlias = float | npt.ArrayLike | Tensor


def positive(name: str, value: object, low: float = 0.0) -> float:
    """Value as a float above `low`, or the error that says so."""
    if isinstance(value, (int, float, np.floating, np.integer)) and not isinstance(value, bool):
        number = float(value)
        if low < number < math.inf:
            return number
    raise ValueError(f"{name} must be a finite number > {low:g}, got {value!r}")


def _array(name: str, value: Numbers) -> Array:
    """Value as a float64 array of finite numbers."""
    if isinstance(value, Tensor):
        if value.is_complex() or value.is_meta:
            raise ValueError(f"{name} must be real numbers, got a tensor of {value.dtype}")
        value = value.detach().cpu()
    array = np.asarray(value, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {value!r}")
    return array


@dataclass(frozen=True)
class Surrogate:
    r"""A surrogate derivative σ'(v) = γ f(s v) of the centred voltage v = u - θ.

    Immutable, hashable and picklable, so that it can be a default argument, a dictionary key, or
    the setting of a saved network.
    γ is the derivative's value at the threshold, 1/s its width, γ/s its area.

    Args:
        shape: One of :data:`SHAPES`.
        dampening: Height γ > 0.
        sharpness: Inverse width s > 0, in units of 1/voltage.
        tail: Exponent q > 1 of ``q_pseudospike``; the other shapes do not read it.
            q = 2 is ``fast_sigmoid``, q → ∞ is ``exponential``.

    Raises:
        ValueError: If the shape is unknown, or a number lies outside its range.

    Source:
        Herranz-Celotti & Rouat 2022, section 2.2 and Table S1; arctan: Fang et al. 2021.

    Example:
        >>> surrogate = Surrogate("triangular", dampening=0.3, sharpness=2.0)
        >>> surrogate.derivative(torch.tensor([-0.5, 0.0, 0.25, 9.0]))
        tensor([0.0000, 0.3000, 0.1500, 0.0000])
        >>> surrogate.primitive(9.0)  # the area γ/s
        0.15
    """

    shape: str = "arctan"
    dampening: float = 1.0
    sharpness: float = 1.0
    tail: float = 2.0

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise ValueError(f"shape must be one of {', '.join(SHAPES)}; got {self.shape!r}")
        for field, low in (("dampening", 0.0), ("sharpness", 0.0), ("tail", 1.0)):
            object.__setattr__(self, field, positive(field, getattr(self, field), low))

    @overload
    def derivative(self, v: Tensor) -> Tensor: ...
    @overload
    def derivative(self, v: float) -> float: ...
    @overload
    def derivative(self, v: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]: ...
    def derivative(self, v):  # type: ignore[no-untyped-def]
        r"""Surrogate derivative σ'(v) = γ f(s v).

        Written in plain torch operations, so that autograd, ``torch.func`` and ``vmap`` go through
        it: the derivative of the result with respect to v is γ s f'(s v) (0 at a kink).

        Args:
            v: Centred voltage u - θ, any shape: floating-point tensor, array, or number.

        Returns:
            σ'(v), in the shape, type and dtype of v.

        Raises:
            ValueError: If v is a tensor that is not floating point.

        Source:
            Herranz-Celotti & Rouat 2022, Table S1.

        Example:
            The slope of 1/(1 + (πv)²) at v = 1/π is -π/2:

            >>> v = torch.tensor(1 / torch.pi, requires_grad=True)
            >>> torch.autograd.grad(Surrogate("arctan").derivative(v), v)[0]
            tensor(-1.5708)
        """
        return _lift(self._derivative, v)

    def _derivative(self, v: Tensor) -> Tensor:
        value = bump(self.shape, v, self.sharpness, self.tail)
        return value if self.dampening == 1 else value * self.dampening

    def derivative_(self, v: Tensor) -> Tensor:
        r"""Surrogate derivative σ'(v) = γ f(s v), written over v: `derivative` without temporaries.

        Args:
            v: Centred voltage u - θ, any shape: float32 or float64, and no part of a graph.

        Returns:
            v, which now holds σ'(v).

        Raises:
            ValueError: If v is no such tensor.

        Source:
            Herranz-Celotti & Rouat 2022, Table S1.

        Example:
            >>> v = torch.tensor([0.0, 1 / torch.pi])
            >>> Surrogate("arctan", dampening=0.5).derivative_(v), v
            (tensor([0.5000, 0.2500]), tensor([0.5000, 0.2500]))
        """
        kind = v.dtype if isinstance(v, Tensor) else type(v).__name__
        if kind not in (torch.float32, torch.float64):
            raise ValueError(f"v must be a float32 or float64 tensor, got {kind}")
        if v.requires_grad and torch.is_grad_enabled():
            raise ValueError("v must not require a gradient, got one that does: use derivative")
        bump_(self.shape, v, self.sharpness, self.tail)
        return v if self.dampening == 1 else v.mul_(self.dampening)

    @overload
    def primitive(self, v: Tensor) -> Tensor: ...
    @overload
    def primitive(self, v: float) -> float: ...
    @overload
    def primitive(self, v: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]: ...
    def primitive(self, v):  # type: ignore[no-untyped-def]
        r"""Smooth step σ(v) = ∫ from -∞ to v of γ f(s x) dx, from 0 to γ/s.

        With γ = s it is a distribution function: the firing probability of a neuron with escape
        noise of density σ'.

        Args:
            v: Centred voltage u - θ, any shape: floating-point tensor, array, or number.

        Returns:
            σ(v), in the shape, type and dtype of v; the lower tail keeps its relative accuracy.

        Raises:
            ValueError: If v is a tensor that is not floating point.

        Source:
            The integral of Herranz-Celotti & Rouat 2022, Table S1.

        Example:
            >>> Surrogate("sigmoid", dampening=2.0, sharpness=2.0).primitive(0.0)
            0.5
            >>> Surrogate("exponential").primitive(-100.0) == math.exp(-200.0) / 2
            True
        """
        return _lift(self._primitive, v)

    def _primitive(self, v: Tensor) -> Tensor:
        value = cumulative(self.shape, v * self.sharpness, self.tail)
        return value * (self.dampening / self.sharpness)

    def moment(
        self,
        order: float,
        threshold: Numbers,
        mean: Numbers = 0.0,
        std: Numbers = 1.0,
        law: Literal["gaussian", "uniform"] = "gaussian",
        *,
        bounds: tuple[Numbers, Numbers] | None = None,
    ) -> float | Array:
        r"""Moment E[σ'(u - θ)^m] under a Gaussian or a uniform potential u.

        Uniform on [a, b]:   γ^m / (s (b - a)) ∫ from s(a - θ) to s(b - θ) of f(x)^m dx

        Gaussian N(μ, σ²):   γ^m E[f(x)^m],   x ~ N(s(μ - θ), (sσ)²)

        The uniform law is in closed form for every shape and real order.
        Under the Gaussian law rectangular, gaussian and exponential are in closed form for every
        order, triangular for orders 1 to 8, arctan (Voigt profile) for orders 1 and 2; the rest,
        and closed forms that would cancel, are integrated to a relative error of 1e-10.

        Args:
            order: m >= 1, a real number.
            threshold: θ; any sign, since only u - θ enters.
            mean: Mean of u.
            std: Standard deviation of u, > 0.
            law: ``"gaussian"``, or ``"uniform"`` on mean ± √3 std, the interval with that mean
                and that standard deviation.
            bounds: (a, b) with a < b: the interval of the uniform law instead of mean and std.

        Returns:
            A float if all arguments are scalars, else an array of their broadcast shape, float64.

        Raises:
            ValueError: If an argument is outside its range, or bounds are given together with the
                Gaussian law or with a mean or std.

        Source:
            Herranz-Celotti & Rouat 2022, Eq. 2 and Eqs. 62-67 (uniform).

        Example:
            Far bounds leave γ² ∫f²/(s (b - a)), here 0.5²·(1/2)/(2·20):

            >>> surrogate = Surrogate("exponential", dampening=0.5, sharpness=2.0)
            >>> surrogate.moment(2, threshold=1.0, law="uniform", bounds=(-10.0, 10.0))
            0.003125
            >>> surrogate = Surrogate("gaussian", sharpness=1 / math.sqrt(2 * math.pi))
            >>> surrogate.moment(1, threshold=0.0)  # 1/√(1 + 2π s²) = 1/√2
            0.70710678
        """
        m = positive("order", order)
        if m < 1:
            raise ValueError(f"order must be >= 1, got {order!r}")
        theta, s = _array("threshold", threshold), self.sharpness
        mu, sigma = _array("mean", mean), _array("std", std)
        if not (sigma > 0).all():
            raise ValueError(f"std must be > 0, got {std!r}")
        if law == "uniform":
            if bounds is None:
                low, high = mu - math.sqrt(3) * sigma, mu + math.sqrt(3) * sigma
            elif (mu == 0).all() and (sigma == 1).all():
                low, high = (_array("bounds", bound) for bound in bounds)
            else:
                raise ValueError(f"bounds replace mean and std; got mean={mean!r}, std={std!r} too")
            if not (low < high).all():
                raise ValueError(f"bounds must be (a, b) with a < b, got {bounds!r}")
            a, b = s * (low - theta), s * (high - theta)
            value = interval_integral(self.shape, a, b, m, self.tail) / (b - a)
        elif law == "gaussian":
            if bounds is not None:
                raise ValueError(f"bounds belong to law='uniform', got {bounds!r} and {law!r}")
            location, scale = np.broadcast_arrays(s * (mu - theta), s * sigma)
            value = np.array(gaussian_closed(self.shape, location, scale, m))
            for index in map(tuple, np.argwhere(np.isnan(value))):
                value[index] = self._quadrature(m, float(location[index]), float(scale[index]))
        else:
            raise ValueError(f"law must be 'gaussian' or 'uniform', got {law!r}")
        value = self.dampening**m * value
        return float(value) if value.ndim == 0 else value

    def _quadrature(self, m: float, mu: float, tau: float) -> float:
        def power(x: Array) -> Array:
            return _lift(partial(bump, self.shape, s=1.0, q=self.tail), x) ** m

        width = (self.tail - 1) / 2 if self.shape == "q_pseudospike" else 0.5
        return gaussian_quadrature(power, width, mu, tau)


def _lift(function: Callable[[Tensor], Tensor], v):  # type: ignore[no-untyped-def]
    """Apply a tensor function to a tensor, an array or a number, and return the same kind."""
    if isinstance(v, Tensor):
        if not v.is_floating_point():
            raise ValueError(f"v must be a floating-point tensor, got {v.dtype}")
        half = v.dtype in (torch.float16, torch.bfloat16)  # squares would overflow there
        return function(v.float() if half else v).to(v.dtype)
    array = np.asarray(v)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"v must be real numbers, got {v!r}")
    dtype = array.dtype if array.dtype.kind == "f" else np.dtype(np.float64)
    value = function(torch.from_numpy(np.array(array, dtype))).numpy()
    return value if isinstance(v, np.ndarray) else float(value) if value.ndim == 0 else value
