"""Other libraries: their neurons and surrogates as ours, and ours as theirs.

One module per library: ``snntorch``, ``spikingjelly``, ``norse``, ``sinabs`` and ``nir``; ``tied``
is a neuron that only conversions need, and `set_surrogate_` gives all layers of a network, of any
library, one surrogate derivative. Each is imported on first use; converting to snnlib needs
no foreign package beyond the one that made the module.

Example:
    >>> from snnlib import interop
    >>> interop.spikingjelly.__name__
    'snnlib.interop.spikingjelly'
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = [
    "nir",
    "norse",
    "set_surrogate_",
    "sinabs",
    "snntorch",
    "spikingjelly",
    "surrogates",
    "tied",
]

if TYPE_CHECKING:
    from . import nir, norse, sinabs, snntorch, spikingjelly, surrogates, tied
    from .surrogates import set_surrogate_


def __getattr__(name: str) -> Any:
    """Import a submodule when it is first asked for (PEP 562)."""
    if name == "set_surrogate_":
        return import_module(f"{__name__}.surrogates").set_surrogate_
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
