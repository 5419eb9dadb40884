"""Wrong uses that every newcomer tries: the message must name the argument and the way out."""

import numpy as np
import pytest
import torch
from torch import nn

from snnlib import init, probe
from snnlib.dialects.running import resolve_time, run
from snnlib.networks import mlp
from snnlib.neurons import LIF

snntorch = pytest.importorskip("snntorch")


def batch(*shape: int) -> torch.Tensor:
    return torch.randn(*(shape or (5, 8, 20)), generator=torch.Generator().manual_seed(0))


def ours() -> nn.Module:
    return nn.Sequential(nn.Linear(20, 30), LIF(), nn.Linear(30, 5))


def leaky() -> nn.Module:
    kwargs = {"beta": 0.5, "init_hidden": True}
    return nn.Sequential(
        nn.Linear(20, 30), snntorch.Leaky(**kwargs), nn.Linear(30, 5), snntorch.Leaky(**kwargs)
    )


class FixedLoop(nn.Module):
    """The tutorials' network: the number of steps stands in the code."""

    steps = 5

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(20, 30), snntorch.Leaky(beta=0.5)
        self.fc2, self.lif2 = nn.Linear(30, 4), snntorch.Leaky(beta=0.5)

    def forward(self, x):
        mem1, mem2, spikes = self.lif1.init_leaky(), self.lif2.init_leaky(), []
        for step in range(self.steps):
            spk1, mem1 = self.lif1(self.fc1(x[step]), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spikes.append(spk2)
        return torch.stack(spikes), mem2


class FixedBatch(FixedLoop):
    """Of static input, with the batch size in the code."""

    def forward(self, x):
        return super().forward(x.view(8, 20).expand(self.steps, 8, 20))


@pytest.mark.parametrize(("model", "shape"), [(FixedLoop, (5, 8, 20)), (FixedBatch, (8, 4, 5))])
def test_a_loop_over_a_fixed_number_of_steps_is_inside(model, shape):
    network, x = model(), batch(*shape)
    assert resolve_time(network, x) == "inside"
    assert run(network, x)[0].shape == (5, 8, 4)
    assert [row.name for row in probe.diagnose(network, x, networks=0).layers] == ["lif1", "lif2"]


INITIALIZE = {
    "typo": ({"method": "michelli2024"}, "method must be one of glorot, kaiming"),
    "seed": ({"generator": 3}, r"torch\.Generator\(\)\.manual_seed"),
    "list": ({"layers": ["0"]}, r"layers must be a dict such as"),
    "zeros": ({"example": torch.zeros(5, 8, 20)}, r"not all 0 .* mean square is 0 \(weight of '0'"),
    "nan": ({"example": torch.full((5, 8, 20), torch.nan)}, r"example .* mean square is nan"),
    "empty": ({"example": torch.zeros(5, 0, 20)}, r"at least one step and one sample.*\[5, 0, 20"),
    "numpy": ({"example": np.zeros((5, 8, 20))}, r"torch\.from_numpy\(batch\)"),
}


@pytest.mark.parametrize("build", [ours, leaky])
@pytest.mark.parametrize("case", INITIALIZE)
def test_initialize_names_the_way_out(build, case):
    wrong, message = INITIALIZE[case]
    network = build()
    before = [p.clone() for p in network.parameters()]
    with pytest.raises(ValueError, match=message):
        init.initialize_(network, **{"method": "micheli2024"} | wrong)
    assert all(torch.equal(p, q) for p, q in zip(before, network.parameters(), strict=True))


@pytest.mark.parametrize("build", [ours, leaky])
def test_diagnose_refuses_an_empty_batch(build):
    with pytest.raises(ValueError, match="at least one step and one sample"):
        probe.diagnose(build(), torch.zeros(5, 0, 20))


def test_another_type_says_how_to_cast():
    with pytest.raises(ValueError, match=r"pass batch\.to\(torch\.float32\)"):
        probe.diagnose(leaky(), batch().double())


def test_a_rate_that_does_not_last_comes_with_one_that_does():
    """The smallest on a grid of 0.05 above the one asked for."""
    network = mlp([20, 30, 30], leak=0.95)
    with pytest.raises(ValueError, match=r"leak 0\.95\); .* such as 0\.\d+") as e:
        init.initialize_(network, "mean_field", rate=0.1, steps=4)
    rate = float(str(e.value).split("such as ")[1].split()[0])
    init.initialize_(network, "mean_field", rate=rate, steps=4)
    with pytest.raises(ValueError, match="higher rate"):
        init.gain("mean_field", rate=rate - 0.05, steps=4, leak=0.95)


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc, self.norm, self.lif = nn.Linear(20, 30), nn.LayerNorm(30), LIF(leak=0.2)

    def forward(self, x):
        return self.lif(3 * self.norm(self.fc(x)))


def test_lsuv_says_how_to_leave_normalized_weights_out():
    with pytest.raises(ValueError, match=r'normalization follows .* layers=\{"fc": None\}'):
        init.initialize_(Normed(), "lsuv", example=batch())
    init.initialize_(Normed(), "lsuv", example=batch(), layers={"fc": None})
