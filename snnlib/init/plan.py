"""What is to happen to one weight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from snnlib.init.connection import Connection
from snnlib.init.method import Forecast, Method
from snnlib.init.readout import Readout
from snnlib.surrogate import Surrogate

__all__ = ["Plan"]


@dataclass
class Plan:
    """What happens to one weight; without a method it stays as it is.

    Attributes:
        connection: Its place in the network.
        method: Of initialization.
        settings: Of `Method.gain`.
        distribution: To draw from.
        gain: n·E[w²]; None if the shape or the data fix it.
        mean: E[w].
        why: Why it stays as it is.
        readout: What reads it, if that is why.
        remark: What the report should say.
        surrogates: To set, by the name of the spiking layer.
        rate: Of what it drives, if the method says it with the plan.
        forecast: Of its training, likewise.
        second_moment: E[x²] that was counted with, where it is not what the method assumes.
    """

    connection: Connection
    method: Method | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    distribution: str = ""
    gain: float | None = None
    mean: float = 0.0
    why: str = ""
    readout: Readout | None = None
    remark: str = ""
    surrogates: Mapping[str, Surrogate] = field(default_factory=dict)
    rate: float | None = None
    forecast: Forecast | None = None
    second_moment: float | None = None

    def realized_gain(self) -> float:
        """n·E[w²] as drawn, measured where no formula gives it."""
        if self.gain is not None:
            return self.gain
        weight = self.connection.parameter.detach().double()
        return self.connection.fan_in * float(weight.square().mean())
