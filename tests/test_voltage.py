"""The exact range of the voltage against the set that a neuron can reach."""

import itertools

import pytest
import torch

from snnlib.membrane.voltage import extreme_voltages, voltage_range
from snnlib.neurons import lif


def reachable(leak, threshold, least, most, steps=400):
    """Ends of all potentials that some currents lead to, as a union of intervals, from rest."""
    now, low, high = [(0.0, 0.0)], 0.0, 0.0
    for _ in range(steps):
        after = []
        for a, b in now:
            if a <= threshold:
                after.append((leak * a + least, leak * min(b, threshold) + most))
            if b > threshold:
                start = leak * max(a, threshold) - threshold
                after.append((start + least, leak * b - threshold + most))
        after.sort()
        now = [after[0]]
        for a, b in after[1:]:
            if a <= now[-1][1]:
                now[-1] = (now[-1][0], max(b, now[-1][1]))
            else:
                now.append((a, b))
        low, high = min(low, now[0][0]), max(high, now[-1][1])
    return low, high


CASES = [
    (leak, threshold, least, most)
    for leak, threshold, least, most in itertools.product(
        (0.0, 0.37, 0.5, 0.93), (0.0, 0.8, 1.7), (-0.05, -0.6, -4.1), (0.13, 1.1, 6.3)
    )
    if most > (1 - leak) * threshold
]


@pytest.mark.parametrize(("leak", "threshold", "least", "most"), CASES)
def test_extremes_are_the_ends_of_what_can_be_reached(leak, threshold, least, most):
    law = extreme_voltages(leak=leak, threshold=threshold, current_min=least, current_max=most)
    assert law == pytest.approx(reachable(leak, threshold, least, most), rel=1e-9)


def test_no_current_of_the_library_leads_beyond_and_some_come_close():
    law = extreme_voltages(leak=0.8, threshold=1.0, current_min=-0.5, current_max=0.9)
    current = torch.rand(4000, 200, 1, generator=torch.Generator().manual_seed(0)) * 1.4 - 0.5
    current[0::2] = current[0::2].round(decimals=0).clamp(-0.5, 0.9)
    trace = lif(current.double(), leak=0.8, threshold=1.0).membrane
    assert law.low < trace.min() and trace.max() < law.high
    assert trace.max() > law.high - 0.1 * (law.high - law.low)


def test_one_number_per_neuron():
    leak, threshold = torch.tensor([0.2, 0.9]), torch.tensor([0.5, 1.5])
    law = extreme_voltages(leak=leak, threshold=threshold, current_min=-1.0, current_max=2.0)
    for i in range(2):
        one = extreme_voltages(
            leak=float(leak[i]), threshold=float(threshold[i]), current_min=-1.0, current_max=2.0
        )
        assert (float(law.low[i]), float(law.high[i])) == pytest.approx(one)


@pytest.mark.parametrize(("leak", "threshold", "least", "most"), CASES[::5])
def test_the_papers_bounds_contain_the_extremes(leak, threshold, least, most):
    exact = extreme_voltages(leak=leak, threshold=threshold, current_min=least, current_max=most)
    outer = voltage_range(
        fan_in=1,
        width=2,
        leak=leak,
        threshold=threshold,
        weight_min=0.0,
        weight_max=0.0,
        input_weight_min=1.0,
        input_weight_max=1.0,
        input_low=least,
        input_high=most,
    )
    assert outer.low <= exact.low + 1e-12 and exact.high <= outer.high + 1e-12


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"leak": 1.0}, "leak must satisfy"),
        ({"threshold": -1.0}, "threshold must be >= 0"),
        ({"current_min": 0.0}, "current_min must be negative"),
        ({"current_min": float("nan")}, "current_min must be negative"),
        ({"current_max": 0.5}, "nearest feasible: just above 0.5"),
        ({"current_max": float("inf")}, "current_max must be finite"),
    ],
)
def test_what_has_no_extremes_is_refused(change, message):
    good = {"leak": 0.5, "threshold": 1.0, "current_min": -1.0, "current_max": 2.0}
    with pytest.raises(ValueError, match=message):
        extreme_voltages(**{**good, **change})
