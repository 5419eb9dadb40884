"""What a method of initialization is: the interface between a paper's file and `initialize_`."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from snnlib.init.pairing import fans


class Method(NamedTuple):
    """One initialization.

    `gain` and `draw_` take the same settings by keyword, so that the number in the report is the
    number that the weights are drawn with.

    Attributes:
        name: What `initialize_` calls it; the file's name for a paper's method.
        source: Paper and equation.
        gain: `gain(**settings) -> G`, the number n·E[w²].
        draw_: `draw_(weight, generator, **settings)`, fills the weight in place.
        resolve: `resolve(connection, **given) -> settings` of one weight: what the user gave, else
            what the weight's place in the network says.
        given: Names of the settings that a user may give for a whole network.
    """

    name: str
    source: str
    gain: Callable[..., float]
    draw_: Callable[..., Tensor]
    resolve: Callable[..., dict[str, Any]]
    given: tuple[str, ...] = ()

    def checked_gain(self, settings: Mapping[str, Any]) -> float:
        """The gain, with every setting's name checked.

        Raises:
            ValueError: If the method does not have a setting or its value is outside its range.
        """
        self.check_settings(settings, tuple(inspect.signature(self.gain).parameters))
        return self.gain(**settings)

    def check_settings(self, settings: Mapping[str, Any], known: Sequence[str]) -> None:
        """Refuse a setting that is not among the known ones.

        Raises:
            ValueError: Naming the setting and those that exist.
        """
        for name, value in settings.items():
            if name not in known:
                raise ValueError(
                    f"{name}={value!r} is not a setting of {self.name!r} here; "
                    f"its settings are: {', '.join(known) or 'none'}"
                )


def normal_(weight: Tensor, gain: float, generator: torch.Generator | None) -> Tensor:
    r"""Fill a weight in place from N(0, G/n), n its fan-in.

    Args:
        weight: Weight of a linear layer or a convolution.
        gain: G > 0.
        generator: Random numbers; None is torch's global generator.

    Returns:
        The weight.

    Raises:
        ValueError: If the weight is empty or the generator lives on another device.
    """
    fan_in, _ = fans(weight)
    check_generator(generator, weight)
    return torch.nn.init.normal_(weight, 0.0, math.sqrt(gain / fan_in), generator=generator)


def check_generator(generator: torch.Generator | None, weight: Tensor) -> None:
    """Refuse a generator on another device than the weight's.

    Raises:
        ValueError: Naming both devices.
    """
    if generator is not None and generator.device.type != weight.device.type:
        raise ValueError(
            f"generator must live on the weight's device {weight.device}, "
            f"got one on {generator.device}"
        )
