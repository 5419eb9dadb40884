"""Optional packages: imported where they are used, named where they are missing."""

from importlib import import_module
from types import ModuleType


def require(module: str, extra: str | None) -> ModuleType:
    """Import an optional package, or say how to install it.

    Args:
        module: Name to import, dots allowed (``"sklearn.datasets"``).
        extra: Extra of the snnlib package that has it (``"book"``, ``"data"``, ``"train"``,
            ``"cluster"``, ``"nir"`` or ``"curvature"``).
            None: no extra has it, it is installed by its own name (other spiking libraries).

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
        what = package if extra is None else f'"snnlib[{extra}]"'
        raise ImportError(
            f"{package} is not installed; pip install {what}", name=package
        ) from error
