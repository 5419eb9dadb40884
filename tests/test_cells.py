"""The membrane on a grid against neurons of the library and the quadrature."""

import numpy as np
import pytest
import torch

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


def test_states_are_those_of_their_potentials():
    cells = Cells(**CASE, reset="zero")
    assert cells.states[cells.state_of(np.array([0.0]))] == 0
    inside = np.array([-0.503, 0.004, 1.203])
    assert np.abs(cells.states[cells.state_of(inside)] - inside).max() <= 0.005


def test_a_law_that_is_moved_is_that_far_away():
    law = np.array([0.2, 0.8, 0.0])
    assert wasserstein(law, np.roll(law, 1), np.array([0.0, 2.0, 4.0])) == pytest.approx(2.0)


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
