"""The methods of initialization by name, and a way to add one from outside."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from snnlib.init import (
    balanced,
    bellec2018,
    classic,
    ding2022,
    herranz2022,
    ikun2024,
    lee2016,
    lsuv,
    mean_field,
    micheli2024,
    rossbroich2022,
    spikeinit2026,
    zenke2021,
)
from snnlib.init.distributions import DISTRIBUTIONS
from snnlib.init.method import ORTHONORMAL, Method, with_the_network

_KNOWN: dict[str, Method] = {
    method.name: method
    for method in (
        classic.GLOROT,
        classic.KAIMING,
        classic.LECUN,
        classic.ORTHOGONAL,
        lee2016.METHOD,
        bellec2018.METHOD,
        zenke2021.METHOD,
        ding2022.METHOD,
        herranz2022.METHOD,
        rossbroich2022.METHOD,
        micheli2024.METHOD,
        ikun2024.METHOD,
        spikeinit2026.METHOD,
        lsuv.METHOD,
        mean_field.METHOD,
        balanced.METHOD,
    )
}

METHODS: Mapping[str, Method] = MappingProxyType(_KNOWN)
"""Every method by name; `register` adds to it."""


def register(method: Method) -> Method:
    r"""Add a method from outside the package, for `gain`, `initialize_` and their report.

    Args:
        method: A `snnlib.init.method.Method` with a name of its own.

    Returns:
        The method.

    Raises:
        ValueError: If it is no `Method`, its name is taken or not a name, or one of its fields is
            not what `Method` says.  Then nothing was added.

    Source: definition.

    Example:
        A method that keeps Var[u] = 1 behind inputs of a given mean square:

        >>> from snnlib.init.method import Method
        >>> def unit_gain(*, input_second_moment: float = 1.0) -> float:
        ...     return 1 / input_second_moment
        >>> def resolve(connection, **given):
        ...     return {"input_second_moment": connection.second_moment or 1.0} | given
        >>> added = register(Method("unit", "nobody 2026", unit_gain, resolve,
        ...                         given=("input_second_moment",)))
        >>> gain("unit", input_second_moment=0.25)
        4.0
        >>> register(added)
        Traceback (most recent call last):
        ValueError: method must have a name of its own, 'unit' is taken
        >>> unregister("unit") is added
        True
    """
    if not isinstance(method, Method):
        raise ValueError(f"method must be a snnlib.init.method.Method, got {method!r}")
    name = method.name
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f"method must have a name such as 'micheli2024', got {name!r}")
    if name in _KNOWN:
        raise ValueError(f"method must have a name of its own, {name!r} is taken")
    for field, wanted, good in _fields(method):
        if not good:
            got = getattr(method, field)
            raise ValueError(f"method {name!r}: {field} must be {wanted}, got {got!r}")
    _KNOWN[name] = method
    return method


def _fields(method: Method) -> list[tuple[str, str, bool]]:
    """(field, what it must be, whether it is)."""
    calls = ("gain", "resolve", "mean", "rate", "feeding", "remark", "finish_")
    laws = (*DISTRIBUTIONS, ORTHONORMAL)
    given = method.given if isinstance(method.given, tuple) else (None,)
    named = all(isinstance(name, str) and name.isidentifier() for name in given)
    source = isinstance(method.source, str) and bool(method.source)
    whole = method.resolve is with_the_network or method.network is not None
    return [
        ("source", "the paper and its equation", source),
        *((field, "a function", callable(getattr(method, field))) for field in calls),
        ("gain", "a function of named settings", _takes_names(method.gain)),
        ("given", "a tuple of names", named),
        ("distribution", f"one of {', '.join(laws)}", method.distribution in laws),
        ("data_driven", "False: lsuv alone is fitted to data", not method.data_driven),
        ("network", "a function for the whole network", not whole or callable(method.network)),
    ]


def _takes_names(gain: Any) -> bool:
    """Whether every argument can be given by its name, and each is known."""
    if not callable(gain):
        return False
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return all(p.kind in kinds for p in inspect.signature(gain).parameters.values())


def unregister(name: str) -> Method:
    """Take a method that `register` added out again.

    Args:
        name: Its name.

    Returns:
        The method.

    Raises:
        ValueError: If there is no such method, or it is one of the package's own.
    """
    if name in _OWN:
        raise ValueError(f"name must be that of a method added by register, got {name!r}")
    method_named(name)
    return _KNOWN.pop(name)


def method_named(name: str) -> Method:
    """A method by its name.

    Raises:
        ValueError: If there is none of that name.
    """
    if not isinstance(name, str):
        raise ValueError(
            f"method must be a name such as 'micheli2024', got {type(name).__name__}; one batch of "
            "input is passed as example=batch"
        )
    if name not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {name!r}")
    return METHODS[name]


def settings_table() -> str:
    r"""Every method with the settings of its gain and their defaults, as a table of text.

    Returns:
        A table in reStructuredText: settings without a default are needed; those that a user may
        give to `initialize_` beyond them stand behind a plus.

    Source: the signatures of the methods' gains.

    Example:
        >>> print(*settings_table().splitlines()[:4], sep="\n")
        ================  ==================================================================
        "glorot"          `fan_in` (1), `fan_out` (1)
        "kaiming"         `nonlinearity` ('relu'), `negative_slope` (0.0)
        "lecun"           none
    """
    rule = "=" * 16 + "  " + "=" * 66
    lines = []
    for method in METHODS.values():
        parameters = inspect.signature(method.gain).parameters
        shown = [_setting(p) for p in parameters.values()]
        more = [f"`{name}`" for name in method.given if name not in parameters]
        text = ", ".join(shown) or "none"
        text += f"; + {', '.join(more)}" if more else ""
        first, *others = textwrap.wrap(text, 66) or ["none"]
        lines.append(f"{chr(34) + method.name + chr(34):16}  {first}")
        lines += [" " * 18 + other for other in others]
    return "\n".join([rule, *lines, rule])


def _setting(parameter: inspect.Parameter) -> str:
    default = parameter.default
    known = default is not parameter.empty and default is not None
    return f"`{parameter.name}`" + (f" ({default!r})" if known else "")


def gain(method: str, **settings: Any) -> float:
    r"""The gain G = n·E[w²] of a method.

    Var[u] = G·E[x²] in a layer with zero-mean weights and fan-in n; G is the square of what torch
    calls the gain.

    Args:
        method: A name in `METHODS`.
        **settings: Those of the method, with defaults; θ, β, λ are the driven neurons'.

            {table}

            Where there is a choice of distributions, `distribution` is taken too, on which G does
            not depend.  `init.<method>.gain` says what each setting is.

    Returns:
        The gain.

    Raises:
        ValueError: If the method or a setting is unknown, a needed one is missing, one is outside
            its range (then with the feasible range), or the method is data-driven.

    Source: the docstring of each method's file.

    Example:
        >>> import torch
        >>> gain("kaiming") == torch.nn.init.calculate_gain("relu") ** 2
        True
        >>> gain("micheli2024", threshold=0.0)
        2.0
        >>> round(gain("rossbroich2022", rate=0.1, leak=0.5, xi=2.0), 9)
        1.875
    """
    found = method_named(method)
    if "distribution" in settings:
        found.chosen(settings["distribution"])
    return found.checked_gain({k: v for k, v in settings.items() if k != "distribution"})


_OWN = frozenset(_KNOWN)
_TABLE = textwrap.indent(settings_table(), " " * 12).lstrip()
gain.__doc__ = (gain.__doc__ or "").replace("{table}", _TABLE)
