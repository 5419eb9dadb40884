"""Values that no function is made for: the documented result, or a ValueError or TypeError.

Each call of the catalogue gets each of its arguments replaced: by every value below, and by
generated ones. A crash, a NaN that nobody asked for, or a result for what is no number, fails.
"""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pytest
import torch
from catalogue import CALLS, Call
from torch import Tensor

NO_NUMBER: dict[str, Any] = {
    **{"text": "nonsense", "no text": "", "None": None, "object": object(), "type": float},
    **{"list": [], "dict": {}, "imaginary": 1j, "NaN": math.nan},
    **{"complex tensor": torch.tensor(1j), "NaN tensor": torch.tensor(math.nan)},
    **{"empty tensor": torch.empty(0), "empty array": np.empty((0, 0))},
    **{"tensor with NaN": torch.tensor([0.3, math.nan]), "array with NaN": np.array([1, math.nan])},
}
"""What no argument that is one number may be."""

ODD: dict[str, Any] = {
    **{"inf": math.inf, "-inf": -math.inf, "-1": -1.0, "0": 0, "0.0": 0.0, "-2": -2, "1.5": 1.5},
    **{"subnormal": 5e-324, "huge": 1e308, "-huge": -1e308, "tiny": 1e-30, "large": 1e30},
    **{"True": True, "pair": (1, 2), "int tensor": torch.tensor(3), "NumPy": np.float32(0.5)},
    **{"bool tensor": torch.tensor(True), "negative": torch.full((4,), -1.0)},
    **{"half": torch.rand(3, 2, 4).half(), "matrix": torch.rand(2, 2)},
}
"""What some arguments may be."""

NAN_IS_A_RESULT = {
    # without a gradient there is nothing to be coherent; outside its map no rate is known
    **{"meanfield.outlook.outlook": "coherence", "meanfield.outlook.gradient_signal": "coherence"},
    **{"meanfield.recurrent.rate_at_half": "rate"},
}
"""Functions whose docstring says where they return NaN."""


def numbers(result: Any) -> Iterator[np.ndarray]:
    """All real arrays in a result."""
    if isinstance(result, Tensor):
        if result.device.type == "cpu" and not result.is_complex():
            yield result.detach().double().numpy()
    elif isinstance(result, np.ndarray | float | int | np.floating):
        array = np.asarray(result)
        if array.dtype.kind in "fiu":
            yield array
    elif isinstance(result, tuple | list):
        for entry in result:
            yield from numbers(entry)
    elif isinstance(result, Mapping):
        yield from numbers(list(result.values()))
    elif is_dataclass(result) and not isinstance(result, type):
        for each in fields(result):
            yield from numbers(getattr(result, each.name))


def has_nan(value: Any) -> bool:
    return any(bool(np.isnan(array).any()) for array in numbers(value))


def is_number(call: Call, name: str) -> bool:
    """Whether an argument is declared as one number and nothing else."""
    return call.kind(name) in ("float", "int", "float | None", "int | None")


def fault(call: Call, name: str, value: Any, refuse: bool = False) -> str:
    """What is wrong with how a call takes a value; nothing if it is computed or refused."""
    what = f"{name}={value!r}"
    try:
        result = call(**{name: value})
    except (ValueError, TypeError) as error:
        return "" if str(error).strip() else f"{what}: an error without a message"
    except Exception as error:
        return f"{what} crashed: {type(error).__name__}: {error}"
    if refuse:
        return f"{what} is no number, and gave {result!r}"
    allowed = has_nan(value) or not finite(value) or call.name in NAN_IS_A_RESULT
    return "" if allowed or not has_nan(result) else f"{what} gave NaN: {result!r}"


def finite(value: Any) -> bool:
    return all(bool(np.isfinite(array).all()) for array in numbers(value))


IDS = [call.name for call in CALLS]


@pytest.mark.parametrize("call", CALLS, ids=IDS)
def test_the_catalogue_is_valid(call):
    result = call()
    assert call.name in NAN_IS_A_RESULT or not has_nan(result)


def test_names_of_calls_are_unique():
    assert len(set(IDS)) == len(IDS)


@pytest.mark.parametrize("call", CALLS, ids=IDS)
def test_no_argument_takes_what_is_no_number(call):
    faults = []
    for name in call.arguments:
        for value in NO_NUMBER.values():
            wanted = value is None and "None" in call.kind(name)
            faults.append(fault(call, name, value, is_number(call, name) and not wanted))
    assert not any(faults), "\n".join(filter(None, faults))


@pytest.mark.parametrize("call", CALLS, ids=IDS)
def test_odd_values_are_computed_or_refused(call):
    faults = [fault(call, name, value) for name in call.arguments for value in ODD.values()]
    assert not any(faults), "\n".join(filter(None, faults))


GENERATED = 40
"""Values that are generated for each call."""


def generated(source: random.Random) -> Any:
    """A float of any 64 bits, a size, a text, or a tensor of any shape and kind."""
    kinds = (torch.float64, torch.float32, torch.float16, torch.int64, torch.bool)
    shape = [source.randrange(5) for _ in range(source.randrange(5))]
    return source.choice(
        (
            struct.unpack("d", source.randbytes(8))[0],
            source.gauss(0, 3),
            source.randrange(-(2**70), 64),
            "".join(map(chr, source.choices(range(32, 0x2FF), k=source.randrange(4)))),
            torch.ones(shape).to(source.choice(kinds)),
            [source.gauss(0, 1) for _ in range(source.randrange(5))],
            source.randbytes(2),
        )
    )


@pytest.mark.parametrize("call", CALLS, ids=IDS)
def test_generated_values_are_computed_or_refused(call):
    # Not by hypothesis: it also draws constants that it finds in the modules loaded so far, so
    # that what fails would depend on which tests ran before.
    source, faults = random.Random(call.name), []
    for _ in range(GENERATED):
        name, value = source.choice(sorted(call.arguments)), generated(source)
        if "int" in call.kind(name) and isinstance(value, int | float) and value > 8:
            value = 8  # a size: time and memory are not what is tried here
        faults.append(fault(call, name, value))
    assert not any(faults), "\n".join(filter(None, faults))
