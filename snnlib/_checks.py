"""Checks of numbers that several modules make, each with the message that names the argument."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any, ParamSpec, TypeVar

import numpy as np
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")


def check_positive(name: str, value: float) -> float:
    """The value as a float.

    Raises:
        ValueError: If it is not positive and finite.
    """
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be positive and finite, got {value!r}")
    return float(value)


def check_from_zero(name: str, value: Any) -> None:
    """Refuse what is negative, infinite or no number.

    Raises:
        ValueError: Naming the argument.
    """
    if not isinstance(value, Real) or not 0 <= float(value) < math.inf:
        raise ValueError(f"{name} must be >= 0 and finite, got {value!r}; nearest feasible: 0.0")


def check_finite(name: str, value: float) -> None:
    """Refuse infinity and NaN.

    Raises:
        ValueError: Naming the argument.
    """
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, got {value!r}")


def check_count(name: str, value: int, least: int = 1) -> None:
    """Refuse what is no integer, or one below the least.

    Raises:
        ValueError: Naming the argument and the least.
    """
    if not value >= least or int(value) != value:
        raise ValueError(f"{name} must be an integer >= {least}, got {value!r}")


def real(name: str, value: Any) -> Any:
    """The value if it is one finite real number; one entry of an array or a tensor as a float.

    Raises:
        ValueError: Naming the argument.
    """
    plain: Any = int(value) if isinstance(value, bool) else value
    if not isinstance(value, Real):
        try:
            array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
        except (TypeError, ValueError, RuntimeError, NotImplementedError):  # of a tensor on "meta"
            array = np.asarray(None)
        if array.size != 1 or array.dtype.kind not in "iuf":
            raise ValueError(f"{name} must be a finite number, got {_brief(value)}")
        plain = float(array.item())
    if not math.isfinite(plain):
        raise ValueError(f"{name} must be finite, got {value!r}")
    return plain


def check_kind(name: str, value: Any, kind: type) -> None:
    """Refuse what is no object of a class.

    Raises:
        ValueError: Naming the argument.
    """
    if not isinstance(value, kind):
        raise ValueError(f"{name} must be a {kind.__name__}, got {_brief(value)}")


def real_tensor(name: str, value: Any) -> None:
    """Refuse what is no tensor of real numbers.

    Raises:
        ValueError: Naming the argument.
    """
    if not isinstance(value, Tensor) or value.is_complex():
        raise ValueError(f"{name} must be a tensor of real numbers, got {_brief(value)}")


NUMBERS = ("float", "int", "float | None", "int | None", "float | Tensor")
"""Annotations of arguments that are one number, or where they say so a tensor of numbers."""


def annotated(name: str, value: Any, annotation: str) -> Any:
    """The value as its annotation has it: one finite number, None or a tensor where it says so.

    Args:
        name: Of the argument.
        value: What was given.
        annotation: Of the argument, as text.

    Returns:
        The number as a float or an integer; None and tensors as they are.

    Raises:
        ValueError: Naming the argument.

    Example:
        >>> annotated("rate", np.array([0.5]), "float"), annotated("rate", None, "int | None")
        (0.5, None)
    """
    if value is None and "None" in annotation:
        return None
    if not isinstance(value, Tensor) or "Tensor" not in annotation:
        return real(name, value)
    real_tensor(name, value)
    if not value.numel() or not bool(value.isfinite().all()):
        raise ValueError(f"{name} must be finite and not empty, got {value!r}")
    return value


def scalars(*names: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a function refuse what is no finite number, before it does anything.

    None passes where the annotation has it. What leaves the range of floats on the way, or comes
    out as NaN, is an error that says for which numbers.

    Args:
        *names: Of the arguments that are one real number each.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        kinds = {name: str(signature.parameters[name].annotation) for name in names}

        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            bound = signature.bind(*args, **kwargs)
            given = {name: bound.arguments[name] for name in names if name in bound.arguments}
            for name, value in given.items():
                bound.arguments[name] = annotated(name, value, kinds[name])
            try:
                result = function(*bound.args, **bound.kwargs)
            except (OverflowError, ZeroDivisionError):
                raise ValueError(_out_of_range(function, given)) from None
            if isinstance(result, float) and math.isnan(result):
                raise ValueError(_out_of_range(function, given))
            return result

        return checked

    return decorate


def _out_of_range(function: Callable[..., Any], given: Mapping[str, Any]) -> str:
    numbers = ", ".join(f"{name} {value!r}" for name, value in given.items())
    return (
        f"{function.__name__} leaves the range of floating-point numbers at {numbers}: "
        "take other units, nearer to 1"
    )


def _brief(value: Any) -> str:
    if isinstance(value, Tensor | np.ndarray):
        return f"{type(value).__name__} {value.dtype} of shape {tuple(value.shape)}"
    return repr(value)
