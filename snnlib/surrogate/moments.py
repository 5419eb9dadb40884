"""Moments of the shapes under a Gaussian law: closed forms, and the quadrature for the rest."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy import special

from snnlib.surrogate.shapes import Array


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


def gaussian_closed(name: str, mu: Array, tau: Array, m: float) -> Array:
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


def gaussian_quadrature(
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
