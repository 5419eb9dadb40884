"""Mean and mean square of what enters a weight."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from snnlib._checks import check_finite
from snnlib.init.connection import Connection


def input_statistics(into: Connection, given: Mapping[str, Any]) -> tuple[float, float, list[str]]:
    """E[z] and E[z²]: of spikes at rate 1/2, given, measured, or of standardized data.

    Args:
        into: The weight.
        given: `input_mean` and `input_variance` go before what is known otherwise.

    Returns:
        (E[z], E[z²], what the report should say of their origin).

    Raises:
        ValueError: If a given number is not finite.
    """
    for key in ("input_mean", "input_variance"):
        if key in given:
            check_finite(key, given[key])
    if into.fed_by:
        mean, square, origin = 0.5, 0.5, "input at rate 1/2 by condition I"
    elif into.second_moment is not None and into.mean is not None:
        mean, square, origin = into.mean, into.second_moment, ""
    else:
        mean, square, origin = 0.0, 1.0, "E[z] = 0, Var[z] = 1 assumed"
    variance = given.get("input_variance", square - mean**2)
    mean = given.get("input_mean", mean)
    if "input_mean" in given and "input_variance" in given:
        origin = ""
    return mean, variance + mean**2, [origin] if origin else []


def moments_at_rate(connection: Connection, given: Mapping[str, Any]) -> dict[str, Any]:
    """What the user gave, with E[x] and E[x²] of spikes at a rate, or of data.

    Args:
        connection: The weight.
        given: `rate`, and `input_mean` and `input_second_moment` of data.

    Returns:
        Settings; without a rate as given, so that the method says that it is missing.

    Raises:
        ValueError: If a mean potential is asked for and E[x] of the data is unknown.
    """
    settings: dict[str, Any] = dict(given)
    if connection.fed_by:
        _, heights = connection.feeding
        rate = given.get("rate", math.nan)
        settings["input_mean"] = rate * heights.mean().item()
        settings["input_second_moment"] = rate * heights.square().mean().item()
    else:
        measured, mean = connection.second_moment, connection.mean
        if mean is None and "input_mean" not in given:
            if given.get("mean", 0.0) != 0:
                raise ValueError(
                    f"mean={given['mean']!r} needs E[x] of the data that feed "
                    f"{connection.name!r}: pass example= or input_mean="
                )
            mean = 0.0
        settings.setdefault("input_mean", mean)
        settings.setdefault("input_second_moment", 1.0 if measured is None else measured)
    if "rate" not in given:
        settings.pop("input_mean"), settings.pop("input_second_moment")
    return settings
