"""Initialization and surrogate gradients of spiking neural networks.

The core (``surrogate``, ``neurons``, ``meanfield``, ``init``, ``membrane``, ``networks``,
``probe``) needs torch, numpy and scipy only; ``interop`` needs the library that it converts to.
The other modules belong to the book and to training; what they need beyond that are extras of
the package, and a missing one is named by the error.

Example:
    Submodules load on first use, so ``import snnlib`` alone takes no time.

    >>> import snnlib
    >>> snnlib.meanfield.firing_probability(0.0)
    0.5
"""

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "__version__",
    "curvature",
    "data",
    "dialects",
    "experiments",
    "fold",
    "init",
    "interop",
    "ledger",
    "meanfield",
    "membrane",
    "networks",
    "neurons",
    "page",
    "probe",
    "resets",
    "surrogate",
    "training",
]

_SUBMODULES = frozenset(__all__) - {"__version__"}
_MOVED = {
    "figures": "page.figures",
    "moments": "ledger.moments",
    "running": "dialects.running",
    "tables": "page.tables",
}

if TYPE_CHECKING:
    from . import (
        curvature,
        data,
        dialects,
        experiments,
        fold,
        init,
        interop,
        ledger,
        meanfield,
        membrane,
        networks,
        neurons,
        page,
        probe,
        resets,
        surrogate,
        training,
    )


def __getattr__(name: str) -> Any:
    """Import a submodule when it is first asked for (PEP 562)."""
    if name in _SUBMODULES:
        return import_module(f"{__name__}.{name}")
    if name in _MOVED:
        place = f"{__name__}.{_MOVED[name]}"
        warnings.warn(f"{__name__}.{name} is {place} now", DeprecationWarning, stacklevel=2)
        return import_module(place)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the submodules whether loaded or not."""
    return sorted({*globals(), *_SUBMODULES})
