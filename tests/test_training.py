"""The training loop against a plain one; learning, reproducibility, early stop, bad input."""

import math
import sys

import pytest
import torch
from scipy import stats
from torch import nn
from torch.nn import functional

from snnlib import data, training
from snnlib.data import Dataset
from snnlib.networks import FeedForward, TdBN, constant, convnet, mlp, recurrent
from snnlib.neurons import LIF
from snnlib.training import History, evaluate, fit, losses, rate_mse, spike_count, winner


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def digits() -> tuple[Dataset, Dataset]:
    return data.load("digits"), data.load("digits", split="test")


def small() -> FeedForward:
    return mlp([64, 50, 10], threshold=0.5, generator=seeded(1))


# --- it learns ------------------------------------------------------------------------------------


# The least accuracy that guessing reaches with probability 1e-6: what a trained network reaches is
# of this processor, that it is above this is not.
GUESSING = 1e-6


def above_guessing(count: int) -> float:
    return float(stats.binom.isf(GUESSING, count, 0.1)) / count


def test_an_mlp_learns_digits(digits):
    train, test = digits
    network = mlp([64, 200, 10], generator=seeded())
    settings = {"epochs": 6, "batch_size": 32, "learning_rate": 3e-3, "progress": False}
    history = fit(network, train, validation=test, **settings)
    assert len(history) == 6
    assert history.validation_accuracy[-1] > above_guessing(len(test))
    assert history.loss[-1] < min(history.loss[0], math.log(10))  # ln 10 by guessing
    metrics = evaluate(network, test)
    assert metrics.accuracy == history.validation_accuracy[-1]
    assert metrics.loss == pytest.approx(history.validation_loss[-1], rel=1e-6)


def test_a_convnet_learns_digits(digits):
    train, _ = digits
    network = convnet((1, 8, 8), 10, channels=(8, 8), generator=seeded())
    history = fit(network, train, epochs=3, batch_size=32, learning_rate=3e-3, progress=False)
    assert history.accuracy[-1] > above_guessing(len(train))


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


def test_the_rate_is_asked_to_be_the_target():
    output = torch.rand(5, 3, 4, generator=seeded())
    rates, y = output.mean(0), torch.tensor([2, 0, 3])
    expected = [(rates[b, c] - (c == y[b]).float()).square() for b in range(3) for c in range(4)]
    assert rate_mse(output, y).item() == pytest.approx(torch.stack(expected).mean().item())
    assert training.LOSSES["rate_mse"] is rate_mse


@pytest.mark.parametrize("name", ["spike_count", "mean_output", "every_step"])
def test_smoothed_labels_spread_over_the_classes(name):
    """-Σ q log p with q = (1 - ε)·[c = y] + ε/C."""
    z, y = torch.randn(5, 7, 4, generator=seeded()), torch.randint(4, (7,), generator=seeded(1))
    logits = {"spike_count": z.sum(0)[None], "mean_output": z.mean(0)[None], "every_step": z}[name]
    q = 0.7 * functional.one_hot(y, 4) + 0.3 / 4
    expected = -(q * torch.log_softmax(logits, -1)).sum(-1).mean()
    assert losses.resolve(name, 0.3)(z, y).item() == pytest.approx(expected.item(), rel=1e-6)
    assert losses.resolve(training.LOSSES[name], 0.3)(z, y) == losses.resolve(name, 0.3)(z, y)
    assert losses.resolve(name, 0.0) is training.LOSSES[name]


def test_a_target_per_step():
    """Step t of sample b is compared with y[b, t], by the loss and by the accuracy."""
    z, y = torch.randn(5, 7, 4, generator=seeded()), torch.randint(4, (7, 5), generator=seeded(1))
    log_p = torch.log_softmax(z, -1)
    expected = -sum(log_p[t, b, y[b, t]] for t in range(5) for b in range(7)) / 35
    assert training.every_step(z, y).item() == pytest.approx(expected.item(), rel=1e-6)
    tokens = Dataset("text", "train", z.transpose(0, 1), y, 4, sequence=True)
    found = evaluate(nn.Identity(), tokens, batch_size=3, loss="every_step")
    right = sum(int(z[t, b].argmax() == y[b, t]) for t in range(5) for b in range(7))
    assert found.accuracy == pytest.approx(right / 35) and found.loss == pytest.approx(
        expected.item(), rel=1e-6
    )
    with pytest.raises(ValueError, match=r"targets must be \[batch\] or \[batch, T = 5\]"):
        training.every_step(z, y[:, :4])
    for name in ("spike_count", "mean_output", "rate_mse"):
        with pytest.raises(ValueError, match=f"one class per sample, .batch., for {name}"):
            training.LOSSES[name](z, y)


def test_the_mode_is_the_class_that_wins_most_steps():
    z = torch.randn(9, 200, 3, generator=seeded())
    votes = z.argmax(-1)
    expected = [max(range(3), key=lambda c: (votes[:, b] == c).sum()) for b in range(200)]
    assert winner(z, "mode").tolist() == expected != winner(z).tolist()
    tie = torch.tensor([[[0.0, 1.0, 0.0]], [[0.0, 0.0, 9.0]]])  # one step each: the first class
    assert (winner(tie, "mode").item(), winner(tie).item()) == (1, 2)
    both = Dataset("z", "test", z.transpose(0, 1), torch.tensor(expected), 3, sequence=True)
    assert evaluate(nn.Identity(), both, accuracy="mode").accuracy == 1
    assert evaluate(nn.Identity(), both).accuracy < 1


# --- optimizers, schedule, clipping, averaging ----------------------------------------------------


def plain(train, method, *, rate, each=None):
    """Three epochs in batches of 40, in the order that `fit` draws from seed 5."""
    network, order, made = small(), seeded(5), 0
    optimizer = method(network.parameters())
    for _ in range(3):
        for indices in torch.randperm(len(train), generator=order).split(40):
            x, y = train.inputs[indices], train.targets[indices]
            for group in optimizer.param_groups:
                group["lr"] = rate(made)
            optimizer.zero_grad()
            spike_count(network(constant(x, 3)), y).backward()
            if each is not None:
                each(network)
            optimizer.step()
            made += 1
    return network


def assert_same_weights(one, other):
    for name, value in other.state_dict().items():
        torch.testing.assert_close(one.state_dict()[name], value, rtol=1e-4, atol=1e-6)


COMMON = {"epochs": 3, "batch_size": 40, "seed": 5, "progress": False}


def test_adamw_decouples_the_decay_and_the_rate_may_stay(digits):
    """Weights that nothing drives shrink by 1 - ηλ per update; the rest against a plain loop."""
    train, trained = digits[0].take(100), small()
    settings = {"optimizer": "adamw", "learning_rate": 0.01, "weight_decay": 0.5}
    history = fit(trained, train, schedule="constant", **COMMON, **settings)

    def method(parameters):
        return torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.5)

    assert_same_weights(trained, plain(train, method, rate=lambda k: 0.01))
    assert history.learning_rate == [0.01] * 3
    silent = (train.inputs == train.inputs.min()).all(0).flatten()  # pixels that never spike
    expected = small().linear1.weight[:, silent] * (1 - 0.01 * 0.5) ** 9
    assert silent.any()
    torch.testing.assert_close(trained.linear1.weight[:, silent], expected)


def test_adabelief_is_the_papers_algorithm(digits):
    """Zhuang et al. 2020, algorithm 2, with decoupled decay; from the printed lines."""
    pytest.importorskip("pytorch_optimizer")
    train, trained = digits[0].take(100), small()
    settings = {"optimizer": "adabelief", "learning_rate": 3e-3, "weight_decay": 0.1}
    fit(trained, train, **COMMON, **settings)
    network, order, made = small(), seeded(5), 0
    m = [torch.zeros_like(p) for p in network.parameters()]
    s = [torch.zeros_like(p) for p in network.parameters()]
    for _ in range(3):
        for indices in torch.randperm(100, generator=order).split(40):
            x, y = train.inputs[indices], train.targets[indices]
            rate = 1.5e-3 * (1 + math.cos(math.pi * made / 9))
            made += 1
            parameters = list(network.parameters())
            gradients = torch.autograd.grad(spike_count(network(constant(x, 3)), y), parameters)
            with torch.no_grad():
                for p, g, m_, s_ in zip(parameters, gradients, m, s, strict=True):
                    p.mul_(1 - rate * 0.1)
                    m_.mul_(0.9).add_(0.1 * g)
                    s_.mul_(0.999).add_(0.001 * (g - m_) ** 2 + 1e-16)
                    unbiased = m_ / (1 - 0.9**made), s_ / (1 - 0.999**made)
                    p.sub_(rate * unbiased[0] / (unbiased[1].sqrt() + 1e-16))
    assert_same_weights(trained, network)


def test_without_pytorch_optimizer_the_extra_is_named(digits, monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", None)
    network = small()
    with pytest.raises(ImportError, match=r"snnlib\[train\]"):
        fit(network, digits[0].take(64), optimizer="adabelief", progress=False)
    assert torch.equal(network.linear1.weight, small().linear1.weight)


def test_clipping_bounds_the_norm_of_all_gradients_together(digits):
    train, trained = digits[0].take(100), small()
    settings = {"optimizer": "sgd", "learning_rate": 0.5, "momentum": 0.0}
    fit(trained, train, clip_norm=0.1, **COMMON, **settings)

    def clip(network):
        gradients = [p.grad for p in network.parameters()]
        norm = math.sqrt(sum(g.square().sum().item() for g in gradients))
        norms.append(norm)
        for g in gradients:
            g.mul_(min(1.0, 0.1 / norm))

    norms: list[float] = []
    cosine = dict(rate=lambda k: 0.25 * (1 + math.cos(math.pi * k / 9)))
    expected = plain(train, lambda p: torch.optim.SGD(p, lr=0.5), each=clip, **cosine)
    assert_same_weights(trained, expected)
    assert max(norms) > 0.2


def test_averaging_leaves_the_mean_of_the_last_epochs(digits):
    """With a constant rate the runs of 2, 3 and 4 epochs are the beginnings of one."""
    train = digits[0].take(100)
    settings = COMMON | {"schedule": "constant", "validation": digits[1].take(80)}
    ends = []
    for epochs in (1, 2, 3, 4):
        network = small()
        last = fit(network, train, **settings | {"epochs": epochs})
        ends.append([p.detach().clone() for p in network.parameters()])
    averaged = small()
    history = fit(
        averaged, train, averaging="swa", averaging_start=0.25, **settings | {"epochs": 4}
    )
    for p, *others in zip(averaged.parameters(), *ends[1:], strict=True):
        torch.testing.assert_close(p, torch.stack(others).mean(0))
    # Only what is left behind, and evaluated at the end, is the mean.
    assert history.loss == last.loss
    assert history.validation_loss[:3] == last.validation_loss[:3]
    assert history.validation_loss[3] != last.validation_loss[3]
    assert history.validation_accuracy[3] == evaluate(averaged, settings["validation"]).accuracy


def test_the_mean_weights_get_statistics_of_their_own(digits):
    """Batch norms end with the plain means over the training batches, in their stored order."""
    train = digits[0].take(100)
    network = FeedForward(nn.Flatten(2), TdBN(64), *small()[1:], TdBN(10))
    fit(network, train, averaging="swa", averaging_start=0.0, **COMMON)
    assert [norm.momentum for norm in network.modules() if isinstance(norm, TdBN)] == [0.1, 0.1]
    batches = train.inputs.split(40)
    means = torch.stack([x.mean(0).flatten() for x in batches]).mean(0)
    variances = torch.stack([constant(x, 3).flatten(0, 1).var(0).flatten() for x in batches])
    torch.testing.assert_close(network[1].running_mean, means)
    torch.testing.assert_close(network[1].running_var, variances.mean(0))
    with torch.no_grad():
        network.train()
        last = [network[:-1](constant(x, 3)).mean((0, 1)) for x in batches]
    torch.testing.assert_close(network[-1].running_mean, torch.stack(last).mean(0))


# --- encodings and sequences ----------------------------------------------------------------------


def test_the_order_of_samples_does_not_depend_on_the_encoding():
    train, seen = data.load("digits", standardize=False).take(90), []

    class Watch(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones(()))

        def forward(self, x):
            if self.training:
                seen.append(x.detach().clone())
            return self.w * x.flatten(2)[..., :10]

    for encoding in ("constant", "poisson", "latency"):
        fit(Watch(), train, epochs=1, steps=40, encoding=encoding, batch_size=45, progress=False)
    pixels, spikes, times = seen[:2], seen[2:4], seen[4:]
    for x, poisson, latency in zip(pixels, spikes, times, strict=True):
        assert set(poisson.unique().tolist()) == set(latency.unique().tolist()) == {0.0, 1.0}
        assert torch.equal(latency.sum(0) > 0, x[0] > 0.2 / (1 - math.exp(-40 / 50)))
        error = poisson.mean(0) - x[0]  # 2,880 pixels of at most sqrt(1/160) each
        assert error.abs().max() < 6 * math.sqrt(1 / 160)
    assert not torch.equal(spikes[0], spikes[1])


def test_a_random_encoding_follows_the_seed():
    train = data.load("digits", standardize=False).take(60)
    settings = {"epochs": 1, "encoding": "poisson", "validation": train, "progress": False}
    runs = [fit(small(), train, seed=seed, **settings) for seed in (0, 0, 1)]
    assert runs[0] == runs[1] != runs[2]
    metrics = [evaluate(small(), train, encoding="poisson", seed=seed) for seed in (0, 0, 1)]
    assert metrics[0] == metrics[1] != metrics[2]


def test_a_sequence_of_spikes_is_fed_as_it_is():
    """uint8 spikes [samples, T, units] train as the same numbers time first, whatever the steps."""
    spikes = (torch.rand(40, 6, 20, generator=seeded()) < 0.3).to(torch.uint8)
    targets = torch.randint(10, (40,), generator=seeded(1))
    train = Dataset("spikes", "train", spikes, targets, 10, sequence=True)
    settings = {"loss": "every_step", "progress": False, "batch_size": 40}
    network, other = (recurrent([20, 16, 10], generator=seeded(2)) for _ in range(2))
    history = fit(network, train, epochs=1, steps=99, **settings)
    loss = training.every_step(other(spikes.transpose(0, 1).float()), targets)
    assert history.loss[0] == pytest.approx(loss.item(), rel=1e-6)


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


def test_deterministic_algorithms_are_asked_for_and_put_back(digits, monkeypatch):
    train, seen = digits[0].take(64), []

    def loss(output, targets):
        seen.append(torch.are_deterministic_algorithms_enabled())
        return spike_count(output, targets)

    settings = {"epochs": 1, "batch_size": 64, "loss": loss, "progress": False}
    histories = [fit(small(), train, deterministic=wanted, **settings) for wanted in (True, False)]
    assert seen == [True, False] and histories[0] == histories[1]
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    with pytest.raises(ValueError, match=r"deterministic must be False on CUDA unless .* :4096:8"):
        fit(small(), train, deterministic=True, device="cuda", **settings)


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


def test_without_tqdm_training_works(digits, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    train = digits[0].take(64)
    fit(small(), train, epochs=1, progress=False)
    assert fit(small(), train, epochs=1) == fit(small(), train, epochs=1, progress=False)


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


def test_networks_whose_potentials_cannot_be_seen_stop_too(digits):
    lstm = recurrent([64, 8, 10], neuron="slstm", init="glorot", generator=seeded())
    for layers in (lstm, [nn.Linear(64, 10)]):
        network = FeedForward(nn.Flatten(2), *layers)
        next(network.parameters()).register_hook(lambda gradient: gradient * math.inf)
        with pytest.raises(FloatingPointError, match=r"the gradient of '1\.weight' is not"):
            fit(network, digits[0].take(64), progress=False)


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
        ({"optimizer": "lbfgs"}, "optimizer must be one of 'adam', .*, 'adabelief', got 'lbfgs'"),
        ({"momentum": 1.0}, r"momentum must be in \[0, 1\), got 1.0"),
        ({"weight_decay": -1e-4}, "weight_decay must be >= 0 and finite, got -0.0001"),
        ({"encoding": "rank"}, "encoding must be a function or one of constant, .*, got 'rank'"),
        ({"schedule": "linear"}, "schedule must be one of 'cosine', 'constant', got 'linear'"),
        ({"label_smoothing": 1.0}, r"label_smoothing must be in \[0, 1\), got 1.0"),
        ({"loss": "rate_mse", "label_smoothing": 0.1}, "label_smoothing must be 0 for a loss"),
        ({"loss": lambda x, y: x.sum(), "label_smoothing": 0.1}, "label_smoothing must be 0"),
        ({"clip_norm": 0.0}, "clip_norm must be None or positive and finite, got 0.0"),
        ({"averaging": "ema"}, "averaging must be None or 'swa', got 'ema'"),
        ({"averaging_start": 1.0}, r"averaging_start must be in \[0, 1\), got 1.0"),
        ({"accuracy": "median"}, "accuracy must be one of 'sum', 'mode', got 'median'"),
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
