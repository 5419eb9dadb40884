r"""What NIR leaves open, and how known simulators fill it.

NIR writes differential equations, a threshold and "v returns to v_reset". A simulator adds the
step, what a spike does to the potential within it, whether the membrane sees the synaptic current
of this step or of the last one, and where the potential starts.
"""

from __future__ import annotations

from typing import NamedTuple

from snnlib.interop.nir.time_step import check_step
from snnlib.resets import RULES

__all__ = ["SIMULATORS", "Convention", "convention"]

STARTS = ("reset", "leak")


class Convention(NamedTuple):
    """How a simulator takes a step.

    Attributes:
        step: How a step of the differential equations is taken, one of `STEPS`.
        reset: What a spike does, in the words of `snnlib.neurons.lif`. In the step of the spike
            the potential goes to v_reset (`"zero"`) or down by v_threshold - v_reset
            (`"subtract_leak"`); `"subtract"` does so after the leak of the next step.
        delay: Steps that the membrane lags behind the synaptic current: 0 sees the input of this
            step, 1 does not. None: that of the step.
        start: Potential before the first step: `"reset"`, v_reset, or `"leak"`, v_leak.
    """

    step: str = "exponential"
    reset: str = "zero"
    delay: float | None = None
    start: str = "reset"


SIMULATORS: dict[str, Convention] = {
    "nir": Convention(),
    "snntorch": Convention("euler"),
    "spikingjelly": Convention("euler"),
    "norse": Convention("euler", start="leak"),
    "rockpool": Convention("impulse", "subtract_leak"),
    "reference": Convention("euler", "subtract_leak", 1.0),
}
"""Conventions by name.

"nir" is the text of the specification, each equation solved over a step; "snntorch",
"spikingjelly" and "norse" are what these libraries' NIR importers build; "rockpool" is what its
column of the NIR paper's single neuron shows; "reference" is the NumPy code beside the paper's
recurrent network, whose membrane sees the current of the step before.
"""


def convention(
    simulator: str | None,
    *,
    step: str | None = None,
    reset: str | None = None,
    delay: float | None = None,
    start: str | None = None,
) -> Convention:
    """The convention of a simulator, with what is named beside it in place of its own.

    Args:
        simulator: A name of `SIMULATORS`; None is "nir".
        step: In place of its step; None keeps it. So for the others.
        reset: In place of its reset.
        delay: In place of its delay.
        start: In place of its start.

    Returns:
        The convention.

    Raises:
        ValueError: If a name is unknown or the delay is outside [0, 1].

    Example:
        >>> convention("snntorch", reset="subtract")
        Convention(step='euler', reset='subtract', delay=None, start='reset')
    """
    own = _one_of("simulator", "nir" if simulator is None else simulator, SIMULATORS)
    found = SIMULATORS[own]
    if step is not None:
        check_step(step)
        found = found._replace(step=step)
    if reset is not None:
        found = found._replace(reset=_one_of("reset", reset, RULES))
    if delay is not None:
        if isinstance(delay, bool) or not isinstance(delay, (int, float)) or not 0 <= delay <= 1:
            raise ValueError(f"delay must be a number in [0, 1], got {delay!r}")
        found = found._replace(delay=float(delay))
    if start is not None:
        found = found._replace(start=_one_of("start", start, STARTS))
    return found


def _one_of(name: str, value: object, known: object) -> str:
    choices = list(known)  # type: ignore[call-overload]
    if not isinstance(value, str) or value not in choices:
        shown = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} must be one of {shown}, got {value!r}")
    return value
