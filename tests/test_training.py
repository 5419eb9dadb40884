"""The training loop against a plain one; learning, reproducibility, early stop, bad input."""

import math
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional

from snnlib import data, training
from snnlib.data import Dataset
from snnlib.networks import FeedForward, constant, convnet, mlp
from snnlib.neurons import LIF
from snnlib.training import History, evaluate, fit, spike_count


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def digits() -> tuple[Dataset, Dataset]:
    return data.load("digits"), data.load("digits", split="test")


def small() -> FeedForward:
    return mlp([64, 50, 10], threshold=0.5, generator=seeded(1))


# --- it learns ------------------------------------------------------------------------------------


def test_an_mlp_learns_digits(digits):
    train, test = digits
    network = mlp([64, 200, 10], generator=seeded())
    settings = {"epochs": 6, "batch_size": 32, "learning_rate": 3e-3, "progress": False}
    history = fit(network, train, validation=test, **settings)
    assert len(history) == 6
    assert history.validation_accuracy[-1] > 0.85  # 0.1 by guessing
    assert history.loss[-1] < 0.6 * history.loss[0]
    metrics = evaluate(network, test)
    assert metrics.accuracy == history.validation_accuracy[-1]
    assert metrics.loss == pytest.approx(history.validation_loss[-1], rel=1e-6)


def test_a_convnet_learns_digits(digits):
    train, _ = digits
    network = convnet((1, 8, 8), 10, channels=(8, 8), generator=seeded())
    history = fit(network, train, epochs=3, batch_size=32, learning_rate=3e-3, progress=False)
    assert history.accuracy[-1] > 0.6


# --- it is the loop that it says ------------------------------------------------------------------


def test_training_is_adam_with_cosine_annealing_over_all_updates(digits):
    train = digits[0].take(100)
    trained, expected = small(), small()
    history = fit(trained, train, epochs=3, steps=4, batch_size=40, seed=5, progress=False)

    optimizer = torch.optim.Adam(expected.parameters(), lr=1e-3)
    order, update, losses, counts = seeded(5), 0, [], []
    for _ in range(3):
        total = correct = 0.0
        for indices in torch.randperm(100, generator=order).split(40):
            x, y = train.inputs[indices], train.targets[indices]
            optimizer.param_groups[0]["lr"] = 0.5e-3 * (1 + math.cos(math.pi * update / 9))
            logits = expected(x.expand(4, *x.shape)).sum(0)
            loss = functional.cross_entropy(logits, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            update += 1
            total += loss.item() * len(y)
            correct += (logits.argmax(1) == y).sum().item()
        losses.append(total / 100)
        counts.append(correct / 100)
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(trained.state_dict()[name], value, rtol=1e-4, atol=1e-6)
    assert history.loss == pytest.approx(losses, rel=1e-5)
    assert history.accuracy == pytest.approx(counts)
    assert history.learning_rate == pytest.approx(
        [0.5e-3 * (1 + math.cos(math.pi * k / 9)) for k in (3, 6, 9)], abs=1e-12
    )


def test_sgd_has_momentum_and_weight_decay(digits):
    """v <- 0.8 v + (gradient + 0.01 w), w <- w - rate v; a plain loop."""
    train = digits[0].take(80)
    trained, expected = small(), small()
    settings = {"optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.8, "weight_decay": 0.01}
    fit(trained, train, epochs=2, batch_size=40, seed=5, progress=False, **settings)
    order, update = seeded(5), 0
    velocity = [torch.zeros_like(p) for p in expected.parameters()]
    for _ in range(2):
        for indices in torch.randperm(80, generator=order).split(40):
            x, y = train.inputs[indices], train.targets[indices]
            loss = functional.cross_entropy(expected(x.expand(3, *x.shape)).sum(0), y)
            parameters = list(expected.parameters())
            gradients = torch.autograd.grad(loss, parameters)
            rate = 0.05 * (1 + math.cos(math.pi * update / 4))
            with torch.no_grad():
                for p, v, g in zip(parameters, velocity, gradients, strict=True):
                    v.mul_(0.8).add_(g + 0.01 * p)
                    p.sub_(rate * v)
            update += 1
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(trained.state_dict()[name], value, rtol=1e-4, atol=1e-6)


def test_losses_of_a_readout_at_every_step():
    z, y = torch.randn(5, 7, 4, generator=seeded()), torch.randint(4, (7,), generator=seeded(1))
    log_p = [torch.log_softmax(step, -1)[torch.arange(7), y] for step in z]
    every, mean = (training.LOSSES[name](z, y).item() for name in ("every_step", "mean_output"))
    assert every == pytest.approx(-torch.stack(log_p).mean().item(), rel=1e-6)
    log_p = torch.log_softmax(z.mean(0), -1)[torch.arange(7), y]
    assert mean == pytest.approx(-log_p.mean().item(), rel=1e-6) and mean < every


def test_the_spike_count_is_the_logit():
    output = torch.zeros(3, 2, 4)
    output[:, 0, 1] = 1.0  # three spikes for class 1
    output[0, 1, 2] = 1.0  # one spike for class 2
    expected = -math.log(math.exp(3) / (math.exp(3) + 3)), -math.log(1 / (math.e + 3))
    assert spike_count(output, torch.tensor([1, 0])).item() == pytest.approx(
        sum(expected) / 2, rel=1e-6
    )


def test_metrics_by_hand():
    """Two samples: spikes for class 1 at both steps, and none."""
    inputs = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    dataset = Dataset("two", "test", inputs, torch.tensor([1, 2]), 3)
    metrics = evaluate(nn.Identity(), dataset, steps=2, batch_size=1)
    losses = -math.log(math.exp(2) / (math.exp(2) + 2)), math.log(3)
    assert metrics.loss == pytest.approx(sum(losses) / 2, rel=1e-6)
    assert (metrics.accuracy, metrics.rate) == (0.5, pytest.approx(1 / 6))


def test_a_loss_may_be_any_function(digits):
    train = digits[0].take(64)

    def mean_square(output, targets):
        return (output.mean(0) - functional.one_hot(targets, 10)).square().mean()

    history = fit(small(), train, epochs=1, batch_size=64, loss=mean_square, progress=False)
    output = small()(constant(train.inputs, 3))
    assert history.loss[0] == pytest.approx(mean_square(output, train.targets).item(), rel=1e-5)


# --- it is reproducible and leaves the rest alone -------------------------------------------------


def test_the_seed_fixes_the_history(digits):
    train = digits[0].take(200)
    runs = []
    for seed, global_seed in ((3, 0), (3, 1), (4, 0)):
        torch.manual_seed(global_seed)
        network = FeedForward(*small(), nn.Dropout(0.2))
        before = torch.get_rng_state()
        runs.append((fit(network, train, epochs=2, seed=seed, progress=False), network))
        assert torch.equal(before, torch.get_rng_state())
    assert runs[0][0] == runs[1][0] != runs[2][0]
    assert torch.equal(runs[0][1][2].weight, runs[1][1][2].weight)
    assert len(runs[0][0].seconds) == 2  # not compared


def test_modes_are_put_back(digits):
    network = small()
    network.eval()
    network.lif1.train()
    modes = [module.training for module in network.modules()]
    fit(network, digits[0].take(64), epochs=1, validation=digits[1].take(64), progress=False)
    assert modes == [module.training for module in network.modules()]


def test_training_trains_and_evaluation_does_not(digits):
    train, seen = digits[0].take(64), []

    class Spy(nn.Module):
        def forward(self, x):
            seen.append((self.training, torch.is_grad_enabled()))
            return x

    fit(FeedForward(*small(), Spy()), train, epochs=1, validation=train, progress=False)
    assert seen == [(True, True), (False, False)]


# --- progress bar ---------------------------------------------------------------------------------


def test_the_progress_bar_shows_the_epochs(digits, capsys):
    fit(small(), digits[0].take(64), epochs=2, validation=digits[1].take(64))
    shown = capsys.readouterr().err
    assert "2/2" in shown and "validation=" in shown


def test_without_tqdm_training_works_and_a_bar_names_the_extra(digits, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    train = digits[0].take(64)
    fit(small(), train, epochs=1, progress=False)
    network = small()
    with pytest.raises(ImportError, match=r"snnlib\[train\]"):
        fit(network, train, epochs=1)
    assert torch.equal(network.linear1.weight, small().linear1.weight)


# --- early stop -----------------------------------------------------------------------------------


def broken(where: str) -> FeedForward:
    """A network that is not finite in one place; its spikes hide that from the loss."""
    network = mlp([64, 50, 40, 10], threshold=0.5, generator=seeded(1))
    with torch.no_grad():
        if where == "parameter":
            network.linear2.weight[0, 0] = math.nan
        elif where == "potential":
            network.linear2.weight.fill_(3e38)  # sums overflow to inf - inf
            network.linear2.weight[:, ::2] = -3e38
    if where == "gradient":
        network.linear3.weight.register_hook(lambda gradient: gradient * math.inf)
    return network


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("parameter", "parameter 'linear2.weight' is not finite"),
        ("potential", "the potential of 'lif2' is not finite from step 0 on"),
        ("gradient", "the gradient of 'linear3.weight' is not finite"),
    ],
)
def test_training_stops_and_says_where(digits, where, message):
    network = broken(where)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(FloatingPointError, match=message) as caught:
        fit(network, digits[0].take(300), epochs=2, progress=False)
    assert "epoch 1 of 2, batch 1, at loss" in str(caught.value)
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0, equal_nan=True)


def test_a_loss_that_is_not_finite_stops_training(digits):
    message = "at loss nan: the network is finite, the loss"
    with pytest.raises(FloatingPointError, match=message):
        fit(small(), digits[0], loss=lambda out, y: out.sum() * 0 + math.nan, progress=False)


def test_data_that_are_not_finite_are_refused(digits):
    """A NaN potential never exceeds a threshold: the network would train on silence."""
    train = digits[0].take(300)
    inputs = train.inputs.clone()
    inputs[7, 0, 3, 3] = math.nan
    bad = Dataset("bad", "train", inputs, train.targets, 10)
    with pytest.raises(ValueError, match="data must be finite, got a sample that is not: 7"):
        fit(small(), bad, epochs=1, progress=False)
    with pytest.raises(ValueError, match="data must be finite"):
        evaluate(small(), bad)


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs must be a positive integer, got 0"),
        ({"steps": 2.5}, "steps must be a positive integer, got 2.5"),
        ({"batch_size": -1}, "batch_size must be a positive integer, got -1"),
        ({"learning_rate": 0.0}, "learning_rate must be positive and finite, got 0.0"),
        ({"learning_rate": math.nan}, "learning_rate must be positive and finite, got nan"),
        ({"loss": "hinge"}, "loss must be a function or one of spike_count, .* got 'hinge'"),
        ({"optimizer": "lbfgs"}, "optimizer must be one of 'adam', 'adamw', 'sgd', 'adabelief', got"),
        ({"momentum": 1.0}, r"momentum must be in \[0, 1\), got 1.0"),
        ({"weight_decay": -1e-4}, "weight_decay must be >= 0 and finite, got -0.0001"),
    ],
)
def test_bad_settings_are_refused_before_anything_changes(digits, settings, message):
    network = small()
    with pytest.raises(ValueError, match=message):
        fit(network, digits[0].take(10), progress=False, **settings)
    assert torch.equal(network.linear1.weight, small().linear1.weight)


def test_empty_data_and_networks_without_parameters_are_refused(digits):
    empty = Dataset("none", "train", torch.zeros(0, 64), torch.zeros(0).long(), 10)
    with pytest.raises(ValueError, match="data must hold at least one sample"):
        fit(small(), empty, progress=False)
    with pytest.raises(ValueError, match="validation must hold at least one sample"):
        fit(small(), digits[0], validation=empty, progress=False)
    with pytest.raises(ValueError, match="at least one parameter"):
        fit(LIF(), digits[0], progress=False)
    assert len(History()) == 0 and "spike_count" in training.LOSSES
