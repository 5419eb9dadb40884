"""The membrane on a grid against neurons of the library and the quadrature."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from snnlib.membrane import Cells, MPInit, stationary_law, total_variation, wasserstein
from snnlib.neurons import LIF

CASE = {"leak": 0.5, "threshold": 1.0, "input_mean": 0.25, "input_std": 0.75}


@pytest.mark.parametrize("reset", ["subtract_leak", "zero"])
def test_the_grid_and_the_quadrature_have_one_law(reset):
    cells, law = Cells(**CASE, reset=reset), stationary_law(**CASE, reset=reset)
    np.testing.assert_allclose(cells.operator.sum(1), 1, atol=1e-12)
    assert cells.mean == pytest.approx(law.mean, abs=1e-3)
    assert cells.rate == pytest.approx(law.rate, abs=1e-3)
    bound = [law.contraction**n for n in range(1, 9)]
    distances = [total_variation(a, cells.stationary) for a in cells.after(0.0, 8)]
    np.testing.assert_allclose(distances[-1] / distances[-3], bound[1], rtol=0.02)


@pytest.mark.parametrize("reset", ["subtract_leak", "zero"])
@pytest.mark.parametrize("over", ["active", "all"])
def test_neurons_that_start_at_the_resting_point_end_there(reset, over):
    start = Cells(**CASE, reset=reset).resting_point(3, over)
    layer = LIF(leak=0.5, reset=reset, initial=MPInit(momentum=1.0, over=over))
    layer.initial.mean.fill_(start)
    noise = torch.randn(3, 1, 400_000, generator=torch.Generator().manual_seed(1))
    layer(CASE["input_mean"] + CASE["input_std"] * noise)
    assert layer.initial.mean.item() == pytest.approx(start, abs=0.008)


@pytest.mark.parametrize(
    ("reset", "case"),
    [
        ("subtract_leak", {"leak": 0.95, "threshold": 1.2, "input_mean": 0.1, "input_std": 0.3}),
        ("zero", {"leak": 0.95, "threshold": 6.0, "input_mean": 0.1, "input_std": 0.3}),
        ("zero", {"leak": 0.9, "threshold": 0.8, "input_mean": -0.5, "input_std": 0.2}),
    ],
)
def test_the_grid_reaches_as_far_as_the_potential(reset, case):
    """Where the leak is weak, the law is wide and far from both 0 and the input's mean."""
    cells = Cells(**case, reset=reset, width=0.02)
    law = stationary_law(**case, reset=reset)
    start = cells.after(law.mean, 60)[-1]
    for now in (start, cells.stationary):
        assert now @ cells.states == pytest.approx(law.mean, abs=5e-3)
        spread = now @ (cells.states - law.mean) ** 2
        assert spread == pytest.approx(law.variance, rel=5e-3)
    assert cells.rate == pytest.approx(law.rate, abs=1e-3)


@pytest.mark.parametrize("over", ["active", "all"])
def test_a_resting_point_is_one_with_a_weak_leak_too(over):
    cells = Cells(leak=0.95, threshold=1.2, input_mean=0.1, input_std=0.3, reset="zero", width=0.02)
    start = cells.resting_point(2, over)
    law = cells.split(start, 2)[over == "active"]
    assert law @ cells.states / law.sum() == pytest.approx(start, abs=1e-9)


def test_the_unit_of_the_potential_does_not_matter():
    case = {"leak": 0.8, "threshold": 1.0, "input_mean": 0.2, "input_std": 0.5}
    scaled = {name: 1e6 * value if name != "leak" else value for name, value in case.items()}
    one = Cells(**case, reset="zero", width=0.05)
    other = Cells(**scaled, reset="zero", width=0.05e6)
    assert other.rate == pytest.approx(one.rate, rel=1e-9)
    assert other.mean == pytest.approx(1e6 * one.mean, rel=1e-9)
    assert other.resting_point(3, "active") == pytest.approx(
        1e6 * one.resting_point(3, "active"), rel=1e-9
    )


def test_states_are_those_of_their_potentials():
    cells = Cells(**CASE, reset="zero")
    assert cells.states[cells.state_of(np.array([0.0]))] == 0
    inside = np.array([-0.503, 0.004, 1.203])
    assert np.abs(cells.states[cells.state_of(inside)] - inside).max() <= 0.005


def test_a_law_that_is_moved_is_that_far_away():
    law = np.array([0.2, 0.8, 0.0])
    assert wasserstein(law, np.roll(law, 1), np.array([0.0, 2.0, 4.0])) == pytest.approx(2.0)


@pytest.mark.parametrize("seed", range(4))
def test_the_distance_is_the_cheapest_transport(seed):
    """W2² is the least mean square of a move: a linear program, which shares no code."""
    rng = np.random.default_rng(seed)
    a, b = rng.dirichlet(np.ones(6)), rng.dirichlet(np.ones(6))
    states = rng.permutation(np.cumsum(rng.uniform(0.2, 3.0, 6))) - 4
    rows, columns = np.kron(np.eye(6), np.ones(6)), np.kron(np.ones(6), np.eye(6))
    cost = ((states[:, None] - states) ** 2).ravel()
    best = linprog(cost, A_eq=np.vstack([rows, columns]), b_eq=np.concatenate([a, b]))
    assert wasserstein(a, b, states) == pytest.approx(np.sqrt(best.fun), rel=1e-7)
    assert wasserstein(3 * a, 5 * b, states) == pytest.approx(np.sqrt(best.fun), rel=1e-7)
    assert total_variation(a, b) == pytest.approx(np.maximum(a - b, 0).sum(), rel=1e-12)


@pytest.mark.parametrize(
    ("a", "b", "states", "said"),
    [
        ([0.0, 0.0], [0.5, 0.5], [0.0, 1.0], "a must be an array of probabilities"),
        ([0.5, 0.5], [-0.5, 1.5], [0.0, 1.0], "b must be an array of probabilities"),
        ([0.5, 0.5], [0.5, math.inf], [0.0, 1.0], "b must be an array of probabilities"),
        ([0.5, 0.5], [1.0], [0.0, 1.0], "laws on the same states"),
        ([0.5, 0.5], [0.5, 0.5], [0.0, math.nan], "states must be 2 finite numbers"),
        ([0.5, 0.5], [0.5, 0.5], [0.0], "states must be 2 finite numbers"),
    ],
)
def test_what_is_no_law_is_refused(a, b, states, said):
    with pytest.raises(ValueError, match=said):
        wasserstein(np.array(a), np.array(b), np.array(states))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"leak": 1.0}, "leak"),
        ({"threshold": 0.0}, "threshold"),
        ({"threshold": 0.995}, "nearest"),
        ({"input_std": 0.0}, "input_std"),
        ({"reset": "none"}, "reset"),
        ({"width": 0.0}, "width"),
    ],
)
def test_wrong_settings_are_named(wrong, said):
    with pytest.raises(ValueError, match=said):
        Cells(**(CASE | {"reset": "zero"} | wrong))


@pytest.mark.parametrize("reset", ["zero", "subtract_leak"])
def test_a_strong_drive_with_little_noise_has_a_law_too(reset):
    """Potentials go round in a cycle that hardly mixes: steps from anywhere never settle."""
    cells = Cells(leak=0.9, threshold=0.8, input_mean=0.5, input_std=0.02, reset=reset, width=0.02)
    law = cells.stationary
    assert abs(law.sum() - 1) < 1e-12 and law.min() >= 0
    assert np.abs(law @ cells.operator - law).sum() < 1e-9
    # the mean of U = β U + i less what the resets take
    if reset == "subtract_leak":
        assert abs(0.1 * cells.mean - (0.5 - 0.8 * cells.rate)) < 0.02
