"""Folding thresholds into weights: the same outputs from binary spikes, or a reason why not."""

from __future__ import annotations

import copy
import re

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from snnlib import networks
from snnlib.fold import Fold, fold, plan
from snnlib.membrane import MPInit
from snnlib.neurons import LIF, AdaptiveLIF, CurrentLIF, RecurrentLIF

ROBUST = {"threshold_gradient": "threshold_robust"}


def robust(threshold=0.5, kind=LIF, **settings):
    return kind(threshold=threshold, **ROBUST, **settings)


def data(*shape, seed=0, steps=5, batch=6):
    g = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(steps, batch, *shape, generator=g, dtype=torch.float64)


def settle(network, x):
    """Large weights, running statistics that are not 0 and 1; then evaluation mode."""
    network.double().train()
    g = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Linear):
                module.weight.mul_(3)
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine:
                module.weight.copy_(0.5 + torch.rand(len(module.weight), generator=g))
                module.bias.copy_(torch.rand(len(module.bias), generator=g) - 0.5)
        for _ in range(3):
            network(x)
    return network.eval()


def spikes_of(network, x):
    """What each layer of neurons sends."""
    sent, hooks = [], []
    for module in network.modules():
        if isinstance(module, LIF):
            hooks.append(module.register_forward_hook(lambda m, a, out: sent.append(out)))
    with torch.no_grad():
        network(x)
    for hook in hooks:
        hook.remove()
    return sent


class OverTime(nn.Module):
    """Layers that know no time, over all steps at once."""

    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return self.layers(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def linear_stack():
    return nn.Sequential(robust(0.5), nn.Linear(7, 5), robust(0.25), nn.Linear(5, 3)), (7,)


def per_neuron():
    thresholds = torch.tensor([0.25, 0.5, 1.0, 2.0, 0.125, 0.5, 1.0])
    return nn.Sequential(robust(thresholds), nn.Linear(7, 5)), (7,)


def convolutions():
    per_channel = torch.tensor([0.25, 0.5, 1.0, 2.0]).view(4, 1, 1)
    return nn.Sequential(
        OverTime(nn.Conv2d(2, 4, 3, padding=1)),
        robust(per_channel),
        OverTime(nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, padding=1, groups=2), nn.BatchNorm2d(6)),
        robust(0.5),
        OverTime(nn.AvgPool2d(2, padding=1), nn.Dropout(), nn.Flatten(), nn.Linear(54, 3)),
    ), (2, 8, 8)


def flat_channels():
    per_channel = torch.tensor([0.25, 2.0]).view(2, 1, 1)
    return nn.Sequential(robust(per_channel), nn.Flatten(2), nn.Linear(2 * 16, 3)), (2, 4, 4)


def norm_first():
    thresholds = torch.tensor([0.25, 0.5, 2.0]).view(3, 1, 1)
    head = OverTime(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(8, 3))
    return nn.Sequential(robust(thresholds), OverTime(nn.BatchNorm2d(3)), head), (3, 4, 4)


def norm_without_scale():
    norm = OverTime(nn.BatchNorm1d(4, affine=False))
    return nn.Sequential(robust(0.5), norm, nn.Linear(4, 2)), (4,)


class Sums(nn.Module):
    """Spikes of two layers of one threshold meet before the weight; another way is by steps."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.weights = robust(0.5), robust(0.5, leak=0.9), nn.Linear(6, 2)

    def forward(self, x):
        both = torch.cat([self.first(x) + self.second(1 - x), self.second(x)], -1)
        return torch.stack([self.weights(step) for step in 2 * both]).mean(0)


def sums():
    return Sums(), (3,)


def kinds():
    g = torch.Generator().manual_seed(1)
    recurrent = RecurrentLIF(5, threshold=0.5, generator=g, **ROBUST)
    current = CurrentLIF(threshold=0.25, synapse_leak=0.5, **ROBUST)
    return nn.Sequential(recurrent, nn.Linear(5, 5), current, nn.Linear(5, 2)), (5,)


def learned():
    settings = dict(learn_threshold=True, learn_leak=True, initial=MPInit(), reset="subtract_leak")
    return nn.Sequential(
        nn.Linear(4, 8), robust(0.4, **settings), nn.Linear(8, 8), robust(0.7, **settings),
        nn.Linear(8, 2),
    ), (4,)  # fmt: skip


BUILDS = [linear_stack, per_neuron, convolutions, flat_channels, norm_first, norm_without_scale]
BUILDS += [sums, kinds, learned]


@pytest.mark.parametrize("build", BUILDS)
def test_outputs_stay_and_spikes_become_binary(build):
    torch.manual_seed(3)
    network, shape = build()
    x = data(*shape)
    settle(network, x)
    before = copy.deepcopy(network.state_dict())
    folded = fold(network, x)
    with torch.no_grad():
        fresh = data(*shape, seed=1)
        torch.testing.assert_close(folded(fresh), network(fresh), rtol=1e-12, atol=1e-12)
    sent, raw = spikes_of(folded, x), spikes_of(network, x)
    for own, other in zip(sent, raw, strict=True):
        assert own.unique().tolist() == [0.0, 1.0]
        assert torch.equal(own, (other != 0).double())
    assert any(other.max() != 1 for other in raw)
    assert not folded.training
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), f"{name} of the given network was changed"


def test_a_power_of_two_is_folded_without_rounding():
    torch.manual_seed(0)
    network, shape = linear_stack()
    x = data(*shape).float()
    assert torch.equal(fold(network, x)(x), network(x))
    assert torch.equal(fold(network, x)[1].weight, network[1].weight * 0.5)


def test_a_wrong_factor_would_be_seen():
    torch.manual_seed(0)
    network, shape = linear_stack()
    x = data(*shape)
    network.double()
    folded = fold(network, x)
    folded[3].weight.data.mul_(1.001)
    assert not torch.allclose(folded(x), network(x), rtol=1e-9)


def test_plan_says_where_each_threshold_goes():
    network, shape = convolutions()
    assert plan(network.double(), data(*shape)) == (
        Fold("1", ("2.layers.1.weight",)),
        Fold("3", ("4.layers.3.weight",)),
    )


def test_saved_and_loaded_networks_fold_alike(tmp_path):
    torch.manual_seed(3)
    network, shape = learned()
    x = data(*shape)
    settle(network, x)
    torch.save(network.state_dict(), tmp_path / "state.pt")
    other, _ = learned()
    other.double().load_state_dict(torch.load(tmp_path / "state.pt"))
    assert torch.equal(fold(other, x)(x), fold(network, x)(x))
    folded = fold(network, x)
    again = copy.deepcopy(folded)
    assert torch.equal(again(x), folded(x))


# --- where it cannot be done ----------------------------------------------------------------------


class Through(nn.Module):
    """Neurons, then something, then weights."""

    def __init__(self, between, threshold=0.5):
        super().__init__()
        self.neurons, self.weights = robust(threshold), nn.Linear(4, 2)
        self.other, self.plain = robust(0.25), LIF()
        self.between = between

    def forward(self, x):
        return self.weights(self.between(self.neurons(x), x, self))


def join(spikes, x, module):
    spikes = spikes.clone()
    spikes[0] = 1.0
    return spikes


REFUSED = {
    "shortcut": (lambda s, x, m: x + s, "added to another current without a weight"),
    "shortcut in place": (lambda s, x, m: x.clone().add_(s), "added to another current"),
    "constant": (lambda s, x, m: s + 1, "added to another current without a weight"),
    "other threshold": (lambda s, x, m: s + m.other(x), "spikes of another threshold"),
    "square": (lambda s, x, m: s * s, "goes through mul"),
    "divisor": (lambda s, x, m: x / (1 + s), "added to another current"),
    "comparison": (lambda s, x, m: (s > 0.3).double(), "goes through gt"),
    "softmax": (lambda s, x, m: s.softmax(-1), "goes through softmax"),
    "value": (lambda s, x, m: s * s.max().item(), "goes through max"),
    "write": (join, "goes through __setitem__"),
    "joined": (lambda s, x, m: torch.cat([s[..., :2], x[..., :2]], -1), "joined with values"),
    "neurons": (lambda s, x, m: m.plain(s), "no weight stands between it and 'plain'"),
    "adaptive": (lambda s, x, m: AdaptiveLIF(4)(s.float()).double(), "goes through"),
    "as a weight": (lambda s, x, m: nn.functional.linear(x, s[0, :4]), "used as a weight"),
    "computed weight": (
        lambda s, x, m: nn.functional.linear(s, 2 * torch.eye(4).double()),
        "computed, not a parameter",
    ),
    "batch statistics": (
        lambda s, x, m: nn.functional.batch_norm(s.flatten(0, 1), None, None, training=True),
        "without running statistics",
    ),
}


@pytest.mark.parametrize("between, message", REFUSED.values(), ids=REFUSED)
def test_refused_with_a_reason(between, message):
    network = Through(between).double()
    x = data(4)
    entries = {entry.layer: entry for entry in plan(network, x)}
    assert entries["neurons"].into == ()
    assert message in entries["neurons"].reason
    with pytest.raises(ValueError, match=re.escape(entries["neurons"].reason)):
        fold(network, x)
    kept = fold(network, x, partial=True)
    assert torch.equal(kept(x), network.eval()(x))
    assert kept.neurons.threshold_gradient == "threshold_robust"


def test_threshold_that_differs_within_a_channel_is_refused():
    thresholds = torch.rand(2, 4, 4) + 0.5
    for layers, message in (
        ([nn.Conv2d(2, 3, 3)], "differs within one input channel"),
        ([nn.AvgPool2d(2), nn.Conv2d(2, 3, 2)], "pooled over neurons of different thresholds"),
    ):
        network = nn.Sequential(robust(thresholds), OverTime(*layers)).double()
        with pytest.raises(ValueError, match=message):
            fold(network, data(2, 4, 4))
    network = nn.Sequential(robust(torch.rand(4) + 0.5), SumOver(), nn.Linear(1, 2)).double()
    with pytest.raises(ValueError, match="summed over neurons of different thresholds"):
        fold(network, data(4))
    per_sample = nn.Sequential(robust(torch.rand(6, 1) + 0.5), nn.Linear(4, 2)).double()
    with pytest.raises(ValueError, match="differs within one input channel"):
        fold(per_sample, data(4))


class SumOver(nn.Module):
    def forward(self, x):
        return x.sum(-1, keepdim=True)


class Shared(nn.Module):
    """One weight behind two layers of neurons, or behind neurons and data."""

    def __init__(self, second):
        super().__init__()
        self.first, self.second, self.weights = robust(0.5), second, nn.Linear(4, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(LIF()(self.weights(self.first(x)) + self.weights(self.second(x))))


def test_one_weight_takes_one_factor():
    x = data(4)
    with pytest.raises(ValueError, match=r"'weights.weight' sees spikes of different thresholds"):
        fold(Shared(robust(0.25)).double(), x)
    with pytest.raises(ValueError, match=r"'weights.weight' also sees values that are no spikes"):
        fold(Shared(nn.Identity()).double(), x)
    network = Shared(robust(0.5)).double()
    assert torch.equal(fold(network, x)(x), network(x))


def test_a_refusal_spreads_along_shared_weights():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.weights = robust(0.5), robust(0.5), nn.Linear(4, 4)

        def forward(self, x):
            a, b = self.a(x), self.b(1 - x)
            return self.weights(a) + self.weights(b) + b

    network = Net().double()
    entries = plan(network, data(4))
    assert "added to another current" in entries[1].reason
    assert entries[0].reason == "it shares 'weights.weight' with 'b'"
    assert torch.equal(fold(network, data(4), partial=True)(data(4)), network(data(4)))


def test_computed_weights_are_refused():
    network = nn.Sequential(robust(), weight_norm(nn.Linear(4, 2))).double()
    with pytest.raises(ValueError, match="computed, not a parameter"):
        fold(network, data(4))


def test_nothing_to_fold():
    with pytest.raises(ValueError, match="got Sequential with none"):
        fold(nn.Sequential(LIF(), nn.Linear(4, 2)), data(4))

    class Unused(nn.Module):
        def __init__(self):
            super().__init__()
            self.neurons = robust()

        def forward(self, x):
            return x

    with pytest.raises(ValueError, match="the network did not run it"):
        fold(Unused(), data(4))


# --- the papers' network --------------------------------------------------------------------------


def test_residual_network_folds_but_for_its_identity_shortcuts():
    """Six of the eight blocks have an identity shortcut: the stem is as wide as the first stage."""
    g = torch.Generator().manual_seed(0)
    network = networks.residual(
        (1, 8, 8), 10, width=1 / 32, threshold=0.6, reset="subtract_leak", generator=g, **ROBUST
    )
    x = data(1, 8, 8, steps=3)
    settle(network, x)
    entries = plan(network, x)
    stuck = [entry.layer for entry in entries if entry.reason]
    identity = [
        name
        for name, block in network.named_children()
        if isinstance(block, networks.ResidualBlock) and block.shortcut is None
    ]
    names = [name for name, _ in network.named_children()]
    before = [names[names.index(name) - 1] for name in identity]
    assert stuck == ["lif1" if name == "lif1" else f"{name}.lif2" for name in before]
    assert len(entries) == 18 and len(stuck) == 6
    assert all("added to another current" in e.reason for e in entries if e.reason)
    with pytest.raises(ValueError, match="6 of 18 cannot be folded"):
        fold(network, x)
    folded = fold(network, x, partial=True)
    with torch.no_grad():
        torch.testing.assert_close(folded(x), network(x), rtol=1e-10, atol=1e-10)
