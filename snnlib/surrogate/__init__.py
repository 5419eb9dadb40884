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

from snnlib.surrogate.libraries import LIBRARY_NAMES, from_library
from snnlib.surrogate.normal_form import Surrogate
from snnlib.surrogate.shapes import SHAPES
from snnlib.surrogate.solving import (
    exponential_sharpness,
    sharpness,
    sharpness_at_balance,
)

__all__ = [
    "LIBRARY_NAMES",
    "SHAPES",
    "Surrogate",
    "exponential_sharpness",
    "from_library",
    "sharpness",
    "sharpness_at_balance",
]
