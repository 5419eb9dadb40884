"""The search for the gain of a rate: the neurons of `lif`, each gain once, roots of covariances."""

import numpy as np
import pytest
import torch

from snnlib.meanfield import covariance_map, gain_for_rate, rate
from snnlib.meanfield.covariance import square_root
from snnlib.neurons import lif
from snnlib.resets import RULES


@pytest.mark.parametrize("reset", RULES)
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_its_neurons_are_those_of_lif_bit_for_bit(reset, steps):
    layer = rate._Layer(0.2, 0.7, 0.9, steps, reset)
    current = layer.normals(3)
    spikes = lif(2.3**0.5 * current[:, None], leak=0.7, threshold=0.9, reset=reset).spikes[:, 0]
    assert torch.equal(layer.spikes(current, 2.3), spikes)
    assert layer.mean_rate(current, 2.3) == float(spikes.mean())


def test_no_gain_is_tried_twice_on_the_same_currents(monkeypatch):
    tried, original = [], rate._Layer.mean_rate

    def counted(layer, current, gain):
        tried.append((float(current.sum()), float(gain)))
        return original(layer, current, gain)

    monkeypatch.setattr(rate._Layer, "mean_rate", counted)
    gain_for_rate(0.2, leak=0.5, threshold=1.0, steps=4)
    layers = len({current for current, _ in tried})
    assert layers >= 16
    assert len(set(tried)) == len(tried) <= 5.5 * layers


def test_one_spike_of_all_neurons_and_steps_is_the_least_that_is_counted():
    """Half of a spike is said to be too few; a whole one is tried, and found to die out."""
    least = 1 / (rate._SAMPLES * 4)
    for wanted, words in ((least / 2, "must be at least"), (least, "falls silent in deep layers")):
        with pytest.raises(ValueError, match=words):
            gain_for_rate(wanted, leak=0.5, threshold=0.8, steps=4)


@pytest.mark.parametrize("steps", [1, 10, 33, 60])
def test_square_roots_of_covariances(steps):
    values = np.random.default_rng(0).normal(size=(3, steps, max(1, steps // 2)))
    covariances = values @ values.swapaxes(1, 2)  # of half the rank
    root = square_root(covariances)
    assert np.allclose(root @ root.swapaxes(1, 2), covariances, atol=1e-12 * steps)
    alone = square_root(covariances[1])
    assert np.allclose(alone @ alone.T, covariances[1], atol=1e-12 * steps)


def test_many_steps_do_not_wait_for_the_threads_of_numpy(monkeypatch):
    def refused(*args):
        raise AssertionError("asked NumPy")

    monkeypatch.setattr(np.linalg, "eigh", refused)
    monkeypatch.setattr(np.linalg, "eigvalsh", refused)
    covariance = 0.5 + 0.5 * np.eye(33)
    step = covariance_map(
        covariance, 2.0, leak=0.0, threshold=0.0, reset="none", samples=100_000,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    expected = np.full((33, 33), 2 / 3) + np.eye(33) / 3  # Sheppard: 1/4 + arcsin(1/2)/2π
    assert np.all(np.abs(step.covariance - expected) < 6 * step.standard_error)
