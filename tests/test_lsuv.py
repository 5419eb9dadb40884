"""LSUV while the values flow: the weights of the plain algorithm, in few runs of the network."""

import copy
import functools

import pytest
import torch
from torch import nn
from torch.nn import functional

from snnlib import init
from snnlib.networks import constant, convnet, mlp, recurrent
from snnlib.neurons import LIF

initialize_ = functools.partial(init.initialize_, readout="draw")  # no layer here is an output


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drives(network):
    """The weights in front of each spiking layer of a row of layers, in order."""
    pairs, weights = [], []
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            weights.append(module)
        elif hasattr(module, "trace"):
            if weights:
                pairs.append((module, weights))
            weights = []
    return pairs


def variance(network, layer, x):
    """Var[i] into one layer, from a run of the whole network."""
    seen = []
    hook = layer.register_forward_pre_hook(lambda module, args: seen.append(args[0].double()))
    with torch.no_grad():
        network(x)
    hook.remove()
    values = torch.cat([current.flatten() for current in seen])
    return float(values.square().mean() - values.mean() ** 2)


def reference_(network, x, tolerance=0.05):
    """Algorithm 1 as it stands: rescale a layer, run everything again, go on when it is right."""
    generator = seeded(7)
    for _, weights in drives(network):
        for module in weights:
            nn.init.orthogonal_(module.weight, generator=generator)
    for layer, weights in drives(network):
        while abs((found := variance(network, layer, x)) - 1) > tolerance:
            with torch.no_grad():
                for module in weights:
                    module.weight.div_(found**0.5)


class Pooled(nn.Module):
    """Real values are pooled between the weights and the neurons."""

    def __init__(self):
        super().__init__()
        self.conv1, self.lif1 = nn.Conv2d(2, 12, 3, padding=1), LIF()
        self.conv2, self.lif2 = nn.Conv2d(12, 12, 3, padding=1), LIF()
        self.fc, self.lif3 = nn.Linear(12, 30), LIF()

    def forward(self, x):
        steps = x.shape[:2]
        i = functional.avg_pool2d(self.conv1(x.flatten(0, 1)), 2).unflatten(0, steps)
        i = self.conv2(self.lif1(i).flatten(0, 1)).unflatten(0, steps)
        x = functional.max_pool2d(self.lif2(i).flatten(0, 1), 2).flatten(1)
        return self.lif3(self.fc(x).unflatten(0, steps))


class Summed(nn.Module):
    """Two layers of weights drive one layer, the second in place; another follows."""

    def __init__(self):
        super().__init__()
        self.here, self.there, self.lif = nn.Linear(20, 40), nn.Linear(20, 40), LIF()
        self.out, self.last = nn.Linear(40, 40), LIF()

    def forward(self, x):
        current = self.here(x)
        current += self.there(x.flip(1))
        return self.last(self.out(self.lif(current)))


class InPlace(nn.Module):
    """The current is changed in place behind its weights."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif, self.out, self.last = nn.Linear(20, 40), LIF(), nn.Linear(40, 9), LIF()

    def forward(self, x):
        return self.last(self.out(self.lif(self.fc(x).mul_(3.0))))


class Read(nn.Module):
    """The current goes to the neurons transposed, and past them."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif, self.out, self.last = nn.Linear(20, 40), LIF(), nn.Linear(40, 9), LIF()

    def forward(self, x):
        current = self.fc(x)
        return self.last(self.out(self.lif(current.transpose(0, 1))) + float(current.mean()))


class Stepwise(nn.Module):
    """The network holds the loop over time, so each layer runs once for every step."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif, self.out, self.last = nn.Linear(20, 40), LIF(), nn.Linear(40, 40), LIF()

    def forward(self, x):
        return torch.cat([self.last(self.out(self.lif(self.fc(step[None])))) for step in x])


NETWORKS = {
    "mlp": lambda: mlp([20, 60, 50, 40, 30], encode=False, bias=True, generator=seeded()),
    "encoded": lambda: mlp([20, 60, 50], encode=True, generator=seeded()),
    "convolutions": lambda: convnet((2, 4, 4), 10, channels=(8, 8, 8), generator=seeded()),
    "recurrent": lambda: recurrent([20, 40, 40, 5], generator=seeded()),
    "pooled": Pooled,
    "summed": Summed,
    "in place": InPlace,
    "transposed": Read,
    "stepwise": Stepwise,
}


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("bias", ["zero", "keep"])
def test_the_weights_are_those_of_the_plain_algorithm(kind, bias):
    network = NETWORKS[kind]()
    for _, weights in drives(network):
        for module in weights:
            if module.bias is not None:
                nn.init.normal_(module.bias, std=0.4 * (bias == "keep"), generator=seeded(3))
    shape = (2, 4, 4) if kind in ("pooled", "convolutions") else (20,)
    x = 3 * torch.randn(4, 24, *shape, generator=seeded(1))
    plain = copy.deepcopy(network)
    reference_(plain, x)
    kept = {"readout": None, "neurons*": None} if kind == "recurrent" else {}
    initialize_(network, "lsuv", example=x, generator=seeded(7), bias=bias, layers=kept)
    rescaled = 0
    for (_, found), (layer, expected) in zip(drives(network), drives(plain), strict=True):
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours.weight, theirs.weight, rtol=1e-5, atol=1e-6)
            rescaled += 1
        assert abs(variance(plain, layer, x) - 1) <= 0.05
    assert rescaled >= 2


def test_an_input_that_repeats_over_time_passes_its_weights_once():
    network = mlp([20, 60, 50], encode=False, generator=seeded())
    x = constant(3 * torch.randn(24, 20, generator=seeded(1)), 4)
    plain = copy.deepcopy(network)
    reference_(plain, x)
    initialize_(network, "lsuv", example=x, generator=seeded(7))
    for (_, found), (_, expected) in zip(drives(network), drives(plain), strict=True):
        torch.testing.assert_close(found[0].weight, expected[0].weight, rtol=1e-5, atol=1e-6)


def runs(network, x, **settings):
    """How often the network ran, and each of its layers of weights."""
    calls = {}
    hooks = []
    for module in (network, *(w for _, weights in drives(network) for w in weights)):
        calls[module], forward = 0, module.forward

        def counted(*args, module=module, forward=forward):
            calls[module] += 1
            return forward(*args)

        module.forward = counted
        hooks.append(module)
    initialize_(network, "lsuv", example=x, generator=seeded(7), **settings)
    return calls.pop(network), list(calls.values())


@pytest.mark.parametrize("depth", [3, 12])
def test_the_number_of_runs_does_not_grow_with_the_depth(depth):
    """One to pair, one to measure, one that rescales, one that confirms, one that reports E[x²];
    one product more each."""
    network = mlp([20, *[60] * depth], encode=False, generator=seeded())
    x = 3 * torch.randn(4, 24, 20, generator=seeded(1))
    whole, products = runs(network, x)
    assert whole == 5
    assert len(products) == depth and set(products) <= {5, 6} and 6 in products


def test_a_network_that_is_right_already_runs_three_times():
    network = mlp([400, 400], encode=False, generator=seeded())
    x = torch.randn(4, 64, 400, generator=seeded(1))
    assert runs(network, x, tolerance=0.2) == (3, [3])


def test_the_hooks_of_a_user_are_heeded():
    """What a hook does to the current of its weights counts, and no hook runs out of turn."""
    network = mlp([20, 60, 50, 40], encode=False, generator=seeded())
    network.linear2.register_forward_hook(lambda module, args, output: 5 * output)
    x = 3 * torch.randn(4, 24, 20, generator=seeded(1))
    plain = copy.deepcopy(network)
    reference_(plain, x)
    whole, _ = runs(network, x)
    assert whole > 4
    for (_, found), (_, expected) in zip(drives(network), drives(plain), strict=True):
        torch.testing.assert_close(found[0].weight, expected[0].weight, rtol=1e-5, atol=1e-6)


def test_rescaling_under_autocast_sees_the_new_weights():
    class Cast(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = mlp([20, 60, 50, 40], encode=False, generator=seeded())

        def forward(self, x):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return self.inner(x)

    network, x = Cast(), 3 * torch.randn(4, 24, 20, generator=seeded(1))
    with torch.enable_grad():
        initialize_(network, "lsuv", example=x, generator=seeded(7))
    assert all(abs(variance(network, layer, x) - 1) < 0.06 for layer, _ in drives(network))
