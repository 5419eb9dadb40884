"""Other libraries: their neurons and surrogates as ours, and ours as theirs.

One module per library: ``snntorch``, ``spikingjelly``, ``norse``, ``sinabs`` and ``nir``; ``tied``
is a neuron that only conversions need. Each is imported on first use; converting to snnlib needs
no foreign package beyond the one that made the module.

Example:
    >>> from snnlib import interop
    >>> interop.spikingjelly.__name__
    'snnlib.interop.spikingjelly'
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = ["nir", "norse", "sinabs", "snntorch", "spikingjelly", "tied"]

if TYPE_CHECKING:
    from . import nir, norse, sinabs, snntorch, spikingjelly, tied


def __getattr__(name: str) -> Any:
    """Import a submodule when it is first asked for (PEP 562)."""
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
