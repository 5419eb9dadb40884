"""The exact range of the voltage against the set that a neuron can reach."""

import itertools

import pytest
import torch

from snnlib.membrane.voltage import extreme_voltages, sampled_voltage_range, voltage_range
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


BOXES = [  # weights, input weights, inputs, bias: ends of each, of any sign
    ((-0.3, 0.7), (-0.5, 0.2), (0.0, 1.0), (0.0, 0.0)),
    ((0.1, 0.4), (0.3, 0.9), (-2.0, 0.6), (-0.15, 0.35)),
    ((-0.8, -0.2), (-0.7, -0.4), (0.25, 1.5), (0.05, 0.2)),
    ((-0.6, 0.0), (-1.1, 0.45), (-1.7, -0.3), (-0.4, -0.1)),
]


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("reset", ["none", "zero", "subtract_leak", "subtract"])
def test_the_bounds_are_the_largest_currents_held_for_ever(box, reset):
    """All corners of the box, one by one; a reset that subtracts may take ρ at each step."""
    weights, inputs, values, biases = box
    leak, threshold = 0.85, 0.6
    spoken = [w * spike for w in weights for spike in (0, 1)]
    arriving = [v * z for v in inputs for z in values]
    currents = [
        sum(a) + sum(b) + bias
        for a in itertools.product(spoken, repeat=2)
        for b in itertools.product(arriving, repeat=3)
        for bias in biases
    ]
    low, high = 0.0, 0.0
    taken = {"subtract": threshold, "subtract_leak": leak * threshold}.get(reset, 0.0)
    for _ in range(400):
        low, high = leak * low - taken + min(currents), leak * high + max(currents)
    law = voltage_range(
        fan_in=3,
        width=3,
        leak=torch.tensor([0.2, leak], dtype=torch.float64),
        threshold=threshold,
        weight_min=weights[0],
        weight_max=weights[1],
        input_weight_min=inputs[0],
        input_weight_max=inputs[1],
        input_low=values[0],
        input_high=values[1],
        bias_min=biases[0],
        bias_max=biases[1],
        reset=reset,
    )
    assert law == pytest.approx((low, high), rel=1e-9)


@pytest.mark.parametrize("reset", ["none", "zero", "subtract_leak", "subtract"])
def test_the_bounds_of_given_weights_are_those_of_the_best_pattern(reset):
    """Every pattern of spikes and every corner of the inputs, for each of four neurons."""
    draw = torch.Generator().manual_seed(4)
    w = torch.randn(4, 4, generator=draw, dtype=torch.float64)
    v = torch.randn(4, 3, generator=draw, dtype=torch.float64)
    leak, threshold = 0.7, torch.tensor([0.3, 0.8, 1.1, 0.5], dtype=torch.float64)
    bias = torch.tensor([0.2, -0.4, 0.0, 0.1], dtype=torch.float64)
    ends = (-0.6, 1.7)
    spikes = torch.tensor(list(itertools.product((0.0, 1.0), repeat=4)), dtype=torch.float64)
    inputs = torch.tensor(list(itertools.product(ends, repeat=3)), dtype=torch.float64)
    silent = w.clone().fill_diagonal_(0.0)
    currents = (spikes @ silent.T)[:, None] + (inputs @ v.T)[None] + bias
    taken = {"subtract": threshold, "subtract_leak": leak * threshold}.get(reset, 0.0 * threshold)
    low, high = sampled_voltage_range(
        w,
        v,
        leak=leak,
        threshold=threshold,
        bias=bias,
        reset=reset,
        input_low=ends[0],
        input_high=ends[1],
    )
    torch.testing.assert_close(high, currents.amax((0, 1)) / (1 - leak), rtol=1e-12, atol=0)
    torch.testing.assert_close(
        low, (currents.amin((0, 1)) - taken) / (1 - leak), rtol=1e-12, atol=0
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight_min": -torch.inf}, "weight must have finite bounds"),
        ({"bias_max": torch.inf}, "bias must have finite bounds"),
        ({"input_low": torch.nan}, "input must have finite bounds"),
        ({"input_weight_min": 0.5}, "input_weight must have finite bounds"),
        ({"width": 1}, "width must be"),
        ({"fan_in": 0}, "fan_in must be"),
    ],
)
def test_bounds_of_no_box_are_refused(change, message):
    good = {"fan_in": 2, "width": 3, "leak": 0.5, "threshold": 1.0, "weight_min": -0.1}
    good |= {"weight_max": 0.1, "input_weight_min": -0.2, "input_weight_max": 0.2}
    with pytest.raises(ValueError, match=message):
        voltage_range(**{**good, **change})


@pytest.mark.parametrize(
    ("recurrent", "inputs", "message"),
    [
        ((3, 2), (3, 2), r"recurrent_weight must be \[n, n\], got \(3, 2\)"),
        ((3,), (3, 2), r"recurrent_weight must be \[n, n\], got \(3,\)"),
        ((3, 3), (2, 2), r"input_weight must be \[3, n_in\] beside \(3, 3\), got \(2, 2\)"),
        ((3, 3), (3,), r"input_weight must be \[3, n_in\] beside \(3, 3\), got \(3,\)"),
        ((3, 3), (3, 2, 1), r"input_weight must be \[3, n_in\]"),
    ],
)
def test_weights_of_another_rank_are_refused(recurrent, inputs, message):
    with pytest.raises(ValueError, match=message):
        sampled_voltage_range(torch.ones(recurrent), torch.ones(inputs), leak=0.5, threshold=1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"current_min": torch.tensor([-1.0, 0.0])}, "current_min must be negative"),
        ({"current_max": torch.tensor([2.0, 0.5])}, "current_max must be finite and above"),
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
