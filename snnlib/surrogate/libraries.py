"""Surrogates of other libraries in normal form."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable

from snnlib.surrogate.normal_form import Surrogate, positive

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
        positive(setting, value)
    return form(**settings)
