"""Optional packages: imported where they are used, named where they are missing."""

from importlib import import_module
from types import ModuleType


def require(module: str, extra: str) -> ModuleType:
    """Import an optional package, or say which extra of snnlib brings it.

    Args:
        module: Name to import, dots allowed (``"sklearn.datasets"``).
        extra: Extra of the snnlib package that has it: ``"book"``, ``"data"`` or ``"train"``.

    Returns:
        The imported module.

    Raises:
        ImportError: If the package is not installed. An error raised inside an installed package
            is passed on as it is.

    Example:
        >>> require("math", "book").sqrt(4.0)
        2.0
        >>> require("a_package_that_nobody_has", "data")
        Traceback (most recent call last):
            ...
        ImportError: a_package_that_nobody_has is not installed; pip install "snnlib[data]"
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        raise ImportError(
            f'{package} is not installed; pip install "snnlib[{extra}]"', name=package
        ) from error
