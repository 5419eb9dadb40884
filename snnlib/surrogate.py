r"""Surrogate derivatives: what a spike's derivative is replaced by on the way back.

A spike is a step of the centred voltage v = u - θ (potential minus threshold), so its true
derivative is zero or undefined.
Training replaces it by a bump, written here in one normal form (Herranz-Celotti & Rouat 2022),

    σ'(v) = γ f(s v),   max f = f(0) = 1,   ∫ f = 1,

so that the ``dampening`` γ is the height, 1/s is the width (``sharpness`` s), and γ/s the area.

================== =================================== ================== ==============
shape              f(v)                                ∫ f²               not smooth at
================== =================================== ================== ==============
``triangular``     max(1 - \|v\|, 0)                   2/3                0, ±1
``exponential``    exp(-2\|v\|)                        1/2                0
``gaussian``       exp(-π v²)                          1/√2
``sigmoid``        4 σ(4v) (1 - σ(4v)) = 1/cosh²(2v)   2/3
``fast_sigmoid``   1/(1 + 2\|v\|)²                     1/3                0
``rectangular``    1 if \|v\| < 1/2, else 0            1                  ±1/2
``arctan``         1/(1 + (πv)²)                       1/2
``q_pseudospike``  (1 + 2\|v\|/(q - 1))^(-q), q > 1    (q - 1)/(2q - 1)   0
================== =================================== ================== ==============

All but ``arctan`` (Fang et al. 2021) are those of Herranz-Celotti & Rouat, Table S1; their
"∂ sigmoid" and "∂ fast-sigmoid" are ``sigmoid`` and ``fast_sigmoid``, named after the primitive.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias, overload

import numpy as np
import numpy.typing as npt
import torch
from scipy import special
from torch import Tensor

__all__ = ["LIBRARY_NAMES", "SHAPES", "Surrogate", "from_library"]

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
Numbers: TypeAlias = float | npt.ArrayLike | Tensor


# The shapes f(s v) in torch. The sharpness is folded into the constants to spare a kernel.
def _shape(name: str, v: Tensor, s: float, q: float) -> Tensor:
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


# ∫ from -∞ to z of f; lower tails keep their relative accuracy.
def _cumulative(name: str, z: Tensor, q: float) -> Tensor:
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


# ∫ from x ≥ 0 to ∞ of f^m, for real m ≥ 1.
def _tail_integral(name: str, x: Array, m: float, q: float) -> Array:
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


def _interval_integral(name: str, a: Array, b: Array, m: float, q: float) -> Array:
    """∫ from a to b of f^m, without cancellation when both ends lie in one tail."""
    tail_a, tail_b = (_tail_integral(name, np.abs(x), m, q) for x in (a, b))
    total = 2 * _tail_integral(name, np.zeros(()), m, q)
    across = total - tail_a - tail_b
    return np.where(a >= 0, tail_a - tail_b, np.where(b <= 0, tail_b - tail_a, across))


def _phi_difference(lower: Array, upper: Array) -> Array:
    """Φ(upper) - Φ(lower), taken in the lower tail, where Φ keeps its relative accuracy."""
    flip = lower > 0
    return special.ndtr(np.where(flip, -lower, upper)) - special.ndtr(np.where(flip, -upper, lower))


def _triangular_half(mu: Array, tau: Array, m: int) -> tuple[Array, Array]:
    """∫ from 0 to 1 of (1 - x)^m N(x; mu, tau²) dx by recursion over m, and its rounding error."""
    nu, eps = 1 - mu, float(np.finfo(np.float64).eps)
    scale = tau / math.sqrt(2 * math.pi)
    at_1, at_0 = scale * np.exp(-(((mu / tau) ** 2) / 2)), scale * np.exp(-(((nu / tau) ** 2) / 2))
    last, value = np.zeros_like(nu), _phi_difference(-nu / tau, mu / tau)
    last_error, error = last, eps * value
    for k in range(1, m + 1):
        lower = at_0 if k == 1 else np.zeros_like(at_0)
        back = (k - 1) * tau**2
        terms = np.stack([nu * value, back * last, -at_1, lower])
        last, value = value, terms.sum(0)
        rounding = eps * np.abs(terms).sum(0)
        last_error, error = error, np.abs(nu) * error + back * last_error + rounding
    return value, error


def _gaussian_closed(name: str, mu: Array, tau: Array, m: float) -> Array:
    """E[f(x)^m] for x ~ N(mu, tau²) in closed form; NaN where there is none or it cancels."""
    match name:
        case "rectangular":
            return _phi_difference((-0.5 - mu) / tau, (0.5 - mu) / tau)
        case "gaussian":
            spread = 1 + 2 * math.pi * m * tau**2
            return np.exp(-math.pi * m * mu**2 / spread) / np.sqrt(spread)
        case "exponential":
            value = np.zeros_like(mu)
            for side in (-mu, mu):  # ½ exp(2m²τ² + 2m side) erfc(argument), without overflow
                argument = (2 * m * tau + side / tau) / math.sqrt(2)
                scaled = np.exp(-((mu / tau) ** 2) / 2) * special.erfcx(np.maximum(argument, 0))
                exponent = np.minimum(2 * m * (m * tau**2 + side), 0)
                plain = np.exp(exponent) * special.erfc(np.minimum(argument, 0))
                value = value + np.where(argument >= 0, scaled, plain) / 2
            return value
        case "triangular" if m in range(1, 9):
            right, left = (_triangular_half(sign * mu, tau, int(m)) for sign in (1, -1))
            value, error = right[0] + left[0], right[1] + left[1]
            return np.where(error < 1e-11 * np.abs(value), value, np.nan)
        case "arctan" if m in (1, 2):  # a Voigt profile and its derivative in the width 1/π
            voigt = special.voigt_profile(mu, tau, 1 / math.pi)
            if m == 1:
                return voigt
            z = (mu + 1j / math.pi) / (math.sqrt(2) * tau)
            slope = (1j * (-2 * z * special.wofz(z) + 2j / math.sqrt(math.pi))).real
            value = voigt / 2 - slope / (4 * math.pi**1.5 * tau**2)
            return np.where((np.abs(z) < 30) & (value > 1e-3 * voigt), value, np.nan)
    return np.full_like(mu, np.nan)


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(20)


def _gaussian_quadrature(
    power: Callable[[Array], Array], width: float, mu: float, tau: float
) -> float:
    """E[power(x)] for x ~ N(mu, tau²), by Gauss-Legendre panels split at the kinks.

    The panels are halved until two answers agree to 1e-10; nothing is cut but what lies beyond
    38 standard deviations (probability 1e-315).
    """
    graded = width * 4.0 ** np.arange(-1, 12)
    edges = np.concatenate(
        [mu + tau * np.arange(-38, 39, 2), graded, -graded, [-1.0, -0.5, 0.0, 0.5, 1.0]]
    )
    edges = np.unique(np.clip(edges, mu - 38 * tau, mu + 38 * tau))
    previous = math.nan
    for _ in range(8):
        half = np.diff(edges)[:, None] / 2
        x = edges[:-1, None] + half * (1 + _NODES)
        density = np.exp(-(((x - mu) / tau) ** 2) / 2) / (tau * math.sqrt(2 * math.pi))
        value = float(np.sum(half * _WEIGHTS * power(x) * density))
        if abs(value - previous) <= 1e-10 * abs(value) + 1e-300:
            return value
        previous = value
        edges = np.sort(np.concatenate([edges, (edges[1:] + edges[:-1]) / 2]))
    raise ArithmeticError(f"no convergence of the quadrature for mean {mu} and std {tau}")


def _positive(name: str, value: object, low: float = 0.0) -> float:
    """Value as a float above `low`, or the error that says so."""
    if isinstance(value, (int, float, np.floating, np.integer)) and not isinstance(value, bool):
        number = float(value)
        if low < number < math.inf:
            return number
    raise ValueError(f"{name} must be a finite number > {low:g}, got {value!r}")


def _array(name: str, value: Numbers) -> Array:
    """Value as a float64 array of finite numbers."""
    array = np.asarray(
        value.detach().cpu() if isinstance(value, Tensor) else value, dtype=np.float64
    )
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
            object.__setattr__(self, field, _positive(field, getattr(self, field), low))

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
        value = _shape(self.shape, v, self.sharpness, self.tail)
        return value if self.dampening == 1 else value * self.dampening

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
        value = _cumulative(self.shape, v * self.sharpness, self.tail)
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
        m = _positive("order", order)
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
            value = _interval_integral(self.shape, a, b, m, self.tail) / (b - a)
        elif law == "gaussian":
            if bounds is not None:
                raise ValueError(f"bounds belong to law='uniform', got {bounds!r} and {law!r}")
            location, scale = np.broadcast_arrays(s * (mu - theta), s * sigma)
            value = np.array(_gaussian_closed(self.shape, location, scale, m))
            for index in map(tuple, np.argwhere(np.isnan(value))):
                value[index] = self._quadrature(m, float(location[index]), float(scale[index]))
        else:
            raise ValueError(f"law must be 'gaussian' or 'uniform', got {law!r}")
        value = self.dampening**m * value
        return float(value) if value.ndim == 0 else value

    def _quadrature(self, m: float, mu: float, tau: float) -> float:
        def power(x: Array) -> Array:
            return _lift(partial(_shape, self.shape, s=1.0, q=self.tail), x) ** m

        width = (self.tail - 1) / 2 if self.shape == "q_pseudospike" else 0.5
        return _gaussian_quadrature(power, width, mu, tau)


def _lift(function: Callable[[Tensor], Tensor], v):  # type: ignore[no-untyped-def]
    """Apply a tensor function to a tensor, an array or a number, and return the same kind."""
    if isinstance(v, Tensor):
        if not v.is_floating_point():
            raise ValueError(f"v must be a floating-point tensor, got {v.dtype}")
        half = v.dtype in (torch.float16, torch.bfloat16)  # squares would overflow there
        return function(v.float() if half else v).to(v.dtype)
    array = np.asarray(v)
    dtype = array.dtype if array.dtype.kind == "f" else np.dtype(np.float64)
    value = function(torch.from_numpy(np.array(array, dtype))).numpy()
    return value if isinstance(v, np.ndarray) else float(value) if value.ndim == 0 else value


_ROOT_PI = math.sqrt(math.pi)


def _forms() -> dict[str, Callable[..., Surrogate]]:
    """Surrogates of other libraries by name, each a function of that library's own settings."""
    s = Surrogate
    return {
        "snntorch.atan": lambda alpha=2.0: s("arctan", alpha / 2, alpha / 2),
        "snntorch.fast_sigmoid": lambda slope=25.0: s("fast_sigmoid", 1, slope / 2),
        "snntorch.sigmoid": lambda slope=25.0: s("sigmoid", slope / 4, slope / 4),
        "spikingjelly.ATan": lambda alpha=2.0: s("arctan", alpha / 2, alpha / 2),
        "spikingjelly.Erf": lambda alpha=2.0: s("gaussian", alpha / _ROOT_PI, alpha / _ROOT_PI),
        "spikingjelly.PiecewiseExp": lambda alpha=1.0: s("exponential", alpha / 2, alpha / 2),
        "spikingjelly.PiecewiseQuadratic": lambda alpha=1.0: s("triangular", alpha, alpha),
        "spikingjelly.QPseudoSpike": lambda alpha=2.0: s("q_pseudospike", tail=alpha),
        "spikingjelly.Rect": lambda alpha=1.0: s("rectangular", alpha, alpha),
        "spikingjelly.Sigmoid": lambda alpha=4.0: s("sigmoid", alpha / 4, alpha / 4),
        "spikingjelly.SoftSign": lambda alpha=2.0: s("fast_sigmoid", alpha / 2, alpha / 2),
        "spikingjelly.SuperSpike": lambda alpha=1.0: s("fast_sigmoid", alpha, 0.5),
        "norse.super": lambda alpha=100.0: s("fast_sigmoid", 1, 0.5),
        "norse.triangle": lambda alpha=0.3: s("triangular", alpha, 1),
        "norse.tanh": lambda alpha: s("sigmoid", 1, alpha / 2),
        "norse.heavi_erfc": lambda alpha: s("gaussian", 2 / _ROOT_PI, alpha / _ROOT_PI),
    }


_FORMS = _forms()

LIBRARY_NAMES = tuple(_FORMS)
"""Surrogates of snnTorch, SpikingJelly and Norse that `from_library` knows."""


def from_library(name: str, **settings: float) -> Surrogate:
    """Surrogate of another library in normal form, as that library's code computes it.

    The libraries' documentation sometimes states another height; the code is what trains.

    Args:
        name: One of :data:`LIBRARY_NAMES`, ``"library.surrogate"``.
        **settings: The other library's own arguments (``alpha`` or ``slope``); its defaults apply.

    Returns:
        The surrogate with the same σ'(v).

    Raises:
        ValueError: If the name or a setting is unknown, or a setting is out of range.

    Source:
        Code of snnTorch 1.0.0, SpikingJelly 2.0.0 and Norse 1.1.0.

    Example:
        >>> from_library("snntorch.fast_sigmoid", slope=10.0)
        Surrogate(shape='fast_sigmoid', dampening=1.0, sharpness=5.0, tail=2.0)
    """
    if name not in _FORMS:
        raise ValueError(f"name must be one of {', '.join(LIBRARY_NAMES)}; got {name!r}")
    form = _FORMS[name]
    known = inspect.signature(form).parameters
    missing = [k for k, p in known.items() if p.default is p.empty and k not in settings]
    if missing or not settings.keys() <= known.keys():
        raise ValueError(f"settings of {name} are {', '.join(known)}; got {settings!r}")
    for setting, value in settings.items():
        _positive(setting, value)
    return form(**settings)
