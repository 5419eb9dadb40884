"""Encodings over time, sequences in a data set, and the generated sets."""

import math
import random

import numpy as np
import pytest
import torch
from scipy import stats

from snnlib import data
from snnlib.data import ENCODINGS, Dataset, currents, encoding, mnist1d, randman


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- encodings ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in ENCODINGS if name != "none"])
def test_every_encoding_puts_time_first(name):
    x = torch.rand(3, 2, 4, generator=seeded())
    out = ENCODINGS[name](x, 7, generator=seeded(1))
    assert out.shape == (7, 3, 2, 4) and out.dtype == torch.float32
    again = currents(x, sequence=False, steps=7, encoding=name, generator=seeded(1))
    assert torch.equal(out, again)
    if name != "constant":
        assert set(out.unique().tolist()) <= {0.0, 1.0}


def test_the_constant_encoding_is_a_view():
    x = torch.rand(3, 2)
    out = encoding.constant(x, 5)
    assert out.data_ptr() == x.data_ptr() and out.stride(0) == 0


def test_poisson_counts_are_binomial():
    # 5 probabilities, 4,000 channels each, 20 steps: Pearson's statistic of the counts' histogram.
    # False alarm 1e-6 each. A probability wrong by 5 % is caught at x = 0.5, 0.8 and 0.95 for every
    # seed tried (p < 1e-29); at x = 0.05 it is not.
    steps, channels = 20, 4000
    for x in (0.05, 0.2, 0.5, 0.8, 0.95):
        spikes = encoding.poisson(torch.full((1, channels), x), steps, generator=seeded(7))
        counts = np.bincount(spikes.sum(0)[0].long().numpy(), minlength=steps + 1)
        expected = channels * stats.binom.pmf(np.arange(steps + 1), steps, x)
        large = expected >= 10
        seen = np.append(counts[large], counts[~large].sum())
        law = np.append(expected[large], expected[~large].sum())
        statistic = ((seen - law) ** 2 / law).sum()
        assert stats.chi2.sf(statistic, len(law) - 1) > 1e-6
        # Steps are independent: the lag-one correlation has standard error 1/sqrt(19 * 4000).
        a = (spikes[:, 0] - x).double()
        correlation = (a[1:] * a[:-1]).mean().item() / (x * (1 - x))
        assert abs(correlation) < 5 / math.sqrt((steps - 1) * channels)


def test_latency_is_the_crossing_of_an_integrator():
    """The formula against the integrator itself, stepped finely."""
    x = torch.linspace(0, 1, 101, dtype=torch.float64)[None]
    steps = 60
    out = encoding.latency(x, steps)[:, 0]
    assert out.sum(0).max() == 1
    fine = 200  # sub-steps of a step; exact exponential update towards x
    membrane, decay = torch.zeros_like(x[0]), math.exp(-1 / (50 * fine))
    first = torch.full_like(x[0], math.inf)
    for k in range(1, steps * fine + 1):
        membrane = decay * membrane + (1 - decay) * x[0]
        first = torch.where((membrane > 0.2) & first.isinf(), k / fine, first)
    clear = (first.frac() * fine > 2) | first.isinf()  # not within rounding of a step's edge
    assert clear.sum() > 90
    expected = torch.zeros(steps, 101)
    fires = first.isfinite()
    expected[first[fires].floor().long().clamp(max=steps - 1), fires.nonzero()[:, 0]] = 1
    assert torch.equal(out[:, clear], expected[:, clear])


def test_latency_loses_dark_and_late_pixels():
    late = 0.2 / (1 - math.exp(-1))  # spikes at t = 50
    x = torch.tensor([[0.0, 0.2, late - 1e-3, late + 1e-3, 1.0]])
    assert encoding.latency(x, 50).sum(0).tolist() == [[0, 0, 0, 1, 1]]
    assert encoding.latency(x, 51).sum(0).tolist() == [[0, 0, 1, 1, 1]]


# --- sequences ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [torch.uint8, torch.bool, torch.float32, torch.int64])
def test_a_sequence_is_moved_time_first(kind):
    x = torch.randint(0, 2, (3, 5, 2), generator=seeded()).to(kind)
    out = currents(x, sequence=True, steps=99, encoding="poisson")  # its own T, no encoding
    assert out.shape == (5, 3, 2)
    assert out.dtype == (torch.int64 if kind == torch.int64 else torch.float32)
    assert torch.equal(out[:, 1].to(kind), x[1])


def test_batches_of_a_sequence_keep_samples_first():
    tokens = torch.arange(12).reshape(4, 3)
    dataset = Dataset("words", "train", tokens, tokens + 1, 13, sequence=True, labels=("a",))
    inputs, targets = next(iter(dataset.batches(2, seeded())))
    assert inputs.shape == targets.shape == (2, 3) and torch.equal(targets, inputs + 1)
    few = dataset.take(2)
    assert few.sequence and few.labels == ("a",) and few.to("cpu").targets.shape == (2, 3)


# --- randman ------------------------------------------------------------------------------------


def test_every_unit_of_randman_spikes_once():
    train = data.load("randman", samples=50, steps=30, units=6, classes=3, seed=4)
    test = data.load("randman", samples=50, steps=30, units=6, classes=3, seed=4, split="test")
    assert train.inputs.shape == (120, 30, 6) and test.inputs.shape == (30, 30, 6)
    assert train.inputs.dtype == torch.uint8 and train.sequence and train.classes == 3
    for part, count in ((train, 40), (test, 10)):
        assert (part.inputs.sum(1) == 1).all()
        assert part.targets.bincount().tolist() == [count] * 3
        assert (part.mean, part.std) == (0.0, 1.0)
    # Scaled over all samples of a class: the earliest and the latest step are both reached.
    times = torch.cat([train.inputs, test.inputs]).argmax(1)
    targets = torch.cat([train.targets, test.targets])
    for label in range(3):
        of_class = times[targets == label]
        assert (of_class.amin(0) == 0).all() and (of_class.amax(0) == 29).all()


def test_randman_depends_on_its_seed_alone():
    options = dict(samples=20, classes=2, units=3)
    state = torch.random.get_rng_state()
    one, same, other = (data.load("randman", seed=seed, **options) for seed in (1, 1, 2))
    assert torch.equal(one.inputs, same.inputs) and torch.equal(one.targets, same.targets)
    assert not torch.equal(one.inputs, other.inputs)
    assert torch.equal(state, torch.random.get_rng_state())
    one.inputs.zero_()  # nothing is shared with the next call
    assert torch.equal(data.load("randman", seed=1, **options).inputs, same.inputs)


def test_a_manifold_is_the_product_of_its_series():
    """Against a plain loop over the formula."""
    a, b, c = torch.rand(3, 2, 3, 5, dtype=torch.float64, generator=seeded())
    x = torch.rand(4, 2, dtype=torch.float64, generator=seeded(1))
    found = randman.evaluate(x, a, b, c, smoothness=1.5)
    for n in range(4):
        for unit in range(3):
            product = 1.0
            for j in range(2):
                product *= sum(
                    k**-1.5
                    * a[j, unit, k - 1].item()
                    * math.sin(
                        2 * math.pi * (k * b[j, unit, k - 1] * x[n, j] + c[j, unit, k - 1]).item()
                    )
                    for k in range(1, 6)
                )
            assert found[n, unit].item() == pytest.approx(product, abs=1e-12)


def test_larger_alpha_is_smoother():
    x = torch.linspace(0, 1, 2001, dtype=torch.float64)[:, None]
    a, b, c = torch.rand(3, 1, 8, 200, dtype=torch.float64, generator=seeded())
    lengths = []
    for alpha in (0.5, 1.0, 2.0, 3.0):
        f = randman.evaluate(x, a, b, c, smoothness=alpha)
        scaled = (f - f.amin(0)) / (f.amax(0) - f.amin(0))
        lengths.append(scaled.diff(dim=0).abs().sum(0).mean().item())  # total variation
    assert lengths == sorted(lengths, reverse=True) and lengths[0] > 5 * lengths[-1]


# --- MNIST-1D -----------------------------------------------------------------------------------


def test_mnist1d_is_generated_and_standardized():
    pytest.importorskip("mnist1d")
    states = random.getstate(), np.random.get_state()[1].copy(), torch.random.get_rng_state()
    train, test = (data.load("mnist1d", split=split) for split in ("train", "test"))
    assert random.getstate() == states[0]
    assert np.array_equal(np.random.get_state()[1], states[1])
    assert torch.equal(torch.random.get_rng_state(), states[2])
    assert train.inputs.shape == (4000, 40, 1) and test.inputs.shape == (1000, 40, 1)
    assert train.sequence and train.inputs.dtype == torch.float32
    assert abs(train.inputs.double().mean().item()) < 1e-6
    assert abs(train.inputs.double().square().mean().item() - 1) < 1e-6
    counts = train.targets.bincount() + test.targets.bincount()
    assert counts.tolist() == [500] * 10
    # The classes differ: the nearest mean shape is right far more often than one in ten.
    means = torch.stack([train.inputs[train.targets == c].mean(0) for c in range(10)])
    nearest = torch.cdist(test.inputs.flatten(1), means.flatten(1)).argmin(1)
    assert (nearest == test.targets).float().mean() > 0.2
    assert not torch.equal(
        data.load("mnist1d", samples=50, seed=1).inputs,
        data.load("mnist1d", samples=50, seed=2).inputs,
    )


def test_mnist1d_is_what_its_package_gives():
    package = pytest.importorskip("mnist1d.data")
    arguments = package.get_dataset_args()
    arguments.num_samples = 30
    state = random.getstate(), np.random.get_state()
    made = package.make_dataset(arguments)
    random.setstate(state[0])
    np.random.set_state(state[1])
    raw = mnist1d.read("test", samples=30)
    assert np.array_equal(raw.inputs[..., 0], made["x_test"].astype(np.float32))
    assert np.array_equal(raw.targets, made["y_test"])


# --- bad input ----------------------------------------------------------------------------------

X = torch.full((2, 3), 0.5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: encoding.poisson(X + 1, 3), r"x must be in \[0, 1\] for the encoding 'poisson'"),
        (lambda: encoding.latency(-X, 3), "got values from -0.5 to -0.5; load"),
        (lambda: encoding.latency(X * math.nan, 3), "got values from nan"),
        (lambda: encoding.poisson(X, 0), "steps must be a positive integer, got 0"),
        (lambda: encoding.latency(X, True), "steps must be a positive integer, got True"),
        (lambda: encoding.latency(X, 3, threshold=1.0), r"threshold must be in \(0, 1\), got 1.0"),
        (lambda: encoding.latency(X, 3, time_constant=0), "time_constant must be positive"),
        (
            lambda: currents(X, sequence=False, steps=3, encoding="rate"),
            "one of constant, poisson, latency, none, got 'rate'",
        ),
        (lambda: currents(X[0], sequence=True, steps=3), r"\[batch, T, features...\], got \(3,\)"),
        (lambda: Dataset("x", "train", X[0], torch.zeros(3), 1, sequence=True), r"got \(3,\)"),
        (lambda: Dataset("x", "train", X, torch.zeros(2, 3), 1), "targets must be"),
        (lambda: Dataset("x", "train", X, torch.zeros(2, 4), 1, sequence=True), r"\(2, 4\) for"),
        (lambda: data.load("randman", units=0), "units must be an integer >= 1, got 0"),
        (lambda: data.load("randman", samples=1), "samples must be an integer >= 2, got 1"),
        (lambda: data.load("randman", smoothness=-1.0), "smoothness must be >= 0"),
        (lambda: data.load("mnist1d", samples=15), "positive multiple of 10, got 15"),
        (lambda: data.load("randman", alpha=1), "'alpha' is no argument of the data set 'randman'"),
        (lambda: data.load("digits", seed=1), "'seed' is no argument .* which has none"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
