"""The norms over time: against torch's, step by step, and the network behind them."""

import pytest
import torch
from torch.nn import functional

from snnlib import networks
from snnlib.membrane import MPInit


def currents(steps=4, batch=30, channels=5):
    draw = torch.Generator().manual_seed(0)
    scale = torch.arange(1.0, steps + 1)[:, None, None]
    return scale * torch.randn(steps, batch, channels, generator=draw) + 3


@pytest.mark.parametrize("kind", ["tdBN", "TEBN", "TAB"])
def test_a_norm_in_training_is_torchs_over_its_steps(kind):
    x, norm = currents(), networks.TimeNorm(5, steps=4, kind=kind, std=0.5)
    found = norm(x)
    for t in range(4):
        seen = x[: t + 1] if kind == "TAB" else x
        mean, square = seen.mean((0, 1)), seen.square().mean((0, 1))
        expected = 0.5 * (x[t] - mean) / (square - mean**2 + 1e-5).sqrt()
        torch.testing.assert_close(found[t], expected, atol=1e-4, rtol=1e-4)
    if kind == "tdBN":
        expected = functional.batch_norm(x.flatten(0, 1), None, None, training=True) * 0.5
        torch.testing.assert_close(found.flatten(0, 1), expected, atol=1e-4, rtol=1e-4)
    learned = {name for name, p in norm.named_parameters() if p.requires_grad}
    assert learned == {"gain", "shift"} | (set() if kind == "tdBN" else {"scale"})


@pytest.mark.parametrize("kind", ["tdBN", "TEBN", "TAB"])
def test_the_running_means_end_at_those_of_a_constant_batch(kind):
    x, norm = currents(), networks.TimeNorm(5, steps=4, kind=kind)
    for _ in range(200):
        trained = norm(x)
    torch.testing.assert_close(norm.eval()(x), trained, atol=1e-3, rtol=1e-3)


def test_the_network_repeats_and_gives_each_layer_its_own_start():
    def build():
        return networks.time_normed(
            [3, 8, 8, 2],
            steps=4,
            initial=MPInit(),
            generator=torch.Generator().manual_seed(2),
        )

    first, second = build(), build()
    x = currents(channels=3)
    assert torch.equal(first(x), second(x))
    assert first.lif1.initial is not first.lif2.initial
    first(x).sum().backward()
    assert all(p.grad is not None for p in first.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"kind": "BN"}, "kind"), ({"std": 0.0}, "std"), ({"steps": 0}, "steps"),
     ({"momentum": 0.0}, "momentum")],
)  # fmt: skip
def test_wrong_settings_are_named(wrong, said):
    with pytest.raises(ValueError, match=said):
        networks.TimeNorm(**({"channels": 5, "steps": 4} | wrong))
    with pytest.raises(ValueError, match="steps"):
        networks.TimeNorm(5, steps=3)(currents())
    with pytest.raises(ValueError, match="sizes"):
        networks.time_normed([3, 2], steps=4)
