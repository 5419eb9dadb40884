"""MP-Init against a plain loop, and the stationary law against another discretization."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from snnlib import init, networks, probe
from snnlib.membrane import MPInit, stationary_law
from snnlib.neurons import LIF, AdaptiveLIF, CurrentLIF, RecurrentLIF, lif

RESETS = ["subtract", "subtract_leak", "zero", "none"]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# --- MP-Init --------------------------------------------------------------------------------------


def loop(current, mean, reset, leak, threshold):
    """Potential after the last reset, and who spiked, from the definition of each reset."""
    after = torch.full_like(current[0], mean)
    active = torch.zeros_like(after, dtype=torch.bool)
    for i in current:
        before = leak * after + i
        fires = before > threshold
        active |= fires
        left = {
            "subtract": before - threshold / leak,
            "subtract_leak": before - threshold,
            "zero": torch.zeros_like(before),
            "none": before,
        }[reset]
        after = torch.where(fires, left, before)
    return after, active


@pytest.mark.parametrize("over", ["active", "all"])
@pytest.mark.parametrize("reset", RESETS)
def test_running_mean_over_batches_is_that_of_a_plain_loop(reset, over):
    leak, threshold = 0.5, 0.75
    initial = MPInit(momentum=0.25, over=over)
    layer = LIF(reset=reset, leak=leak, threshold=threshold, initial=initial).double()
    mean = 0.0
    for batch in range(4):
        current = torch.randn(3, 5, 4, generator=generator(batch), dtype=torch.double) * 0.7
        layer(current)
        after, active = loop(current, mean, reset, leak, threshold)
        assert 0 < active.sum() < active.numel()  # else the two means are one
        chosen = after[active] if over == "active" else after
        mean = 0.75 * mean + 0.25 * chosen.mean().item()
        assert layer.initial.mean.item() == pytest.approx(mean, rel=1e-12)
    assert initial.mean == 0  # the layer moved its own


def test_all_neurons_start_at_the_mean_in_training_and_evaluation():
    layer = LIF(leak=0.5, threshold=9.0, initial=MPInit())
    layer.initial.mean.fill_(0.5)
    current = torch.zeros(1, 2, 3)
    for mode in (True, False):
        layer.train(mode)
        assert (layer.trace(current).membrane == 0.25).all()


def test_batch_without_a_spike_changes_nothing():
    layer = LIF(threshold=1.0, initial=MPInit())
    layer.initial.mean.fill_(0.5)
    layer(torch.full((4, 2, 3), 0.01))
    assert layer.initial.mean == 0.5


@pytest.mark.parametrize("over", ["active", "all"])
def test_half_precision_counts_more_neurons_than_it_can_hold(over):
    start = MPInit(over=over).half()
    start.update(torch.full((400, 300), 0.5).half(), torch.ones(2, 400, 300).half())
    assert abs(start.mean.item() - 0.05) < 1e-4
    start.update(torch.zeros(0, 3).half(), torch.zeros(2, 0, 3).half())  # nobody: no change
    assert abs(start.mean.item() - 0.05) < 1e-4


def test_evaluation_and_reading_the_trace_leave_it_alone():
    layer = LIF(initial=MPInit())
    current = 2 * torch.rand(4, 2, 3, generator=generator())
    layer.trace(current)
    assert layer.initial.mean == 0
    layer.eval()(current)
    assert layer.initial.mean == 0
    layer.train()(current)
    assert layer.initial.mean != 0


def test_gradients_are_those_of_a_constant_start():
    current = torch.randn(4, 3, 5, generator=generator(), dtype=torch.double)
    layer = LIF(leak=0.7, learn_leak=True, learn_threshold=True, initial=MPInit()).double()
    layer.initial.mean.fill_(0.25)
    ours = current.clone().requires_grad_()
    # the update comes between the forward and the backward pass
    layer(ours).sum().backward()
    leak = layer.leak.detach().requires_grad_()
    plain = current.clone().requires_grad_()
    trace = lif(
        plain,
        leak=leak,
        threshold=layer.threshold.detach(),
        initial=torch.tensor(0.25, dtype=torch.double),
    )
    trace.spikes.sum().backward()
    assert torch.equal(ours.grad, plain.grad)
    sigmoid = leak.detach() * (1 - leak.detach())
    assert layer.raw_leak.grad.item() == pytest.approx((leak.grad * sigmoid).item(), rel=1e-12)
    assert layer.initial.mean.grad is None


def network(**neuron):
    return networks.mlp(
        [8, 32, 16, 4],
        reset="subtract_leak",
        initial=MPInit(),
        generator=generator(),
        **neuron,
    )


def train(model, batches=3):
    for seed in range(batches):
        model(2 * torch.rand(5, 6, 8, generator=generator(seed))).sum().backward()
    return model


def test_each_layer_of_a_network_has_its_own_number():
    model = train(network())
    means = [value.item() for name, value in model.named_buffers() if name.endswith("initial.mean")]
    assert len(means) == 4 and len(set(means)) == 4


@pytest.mark.parametrize("way", ["state_dict", "deepcopy", "pickle"])
def test_saved_and_loaded_model_gives_identical_outputs(way, tmp_path):
    settings = dict(threshold_gradient="threshold_robust", learn_threshold=True, learn_leak=True)
    model = train(network(**settings)).eval()
    if way == "state_dict":
        torch.save(model.state_dict(), tmp_path / "model.pt")
        other = network(**settings).eval()
        other.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    else:
        other = copy.deepcopy(model) if way == "deepcopy" else pickle.loads(pickle.dumps(model))
    current = 2 * torch.rand(5, 6, 8, generator=generator(9))
    expected = model(current)
    assert expected.count_nonzero() > 0
    assert torch.equal(other(current), expected)
    for name, value in other.named_buffers():  # what the published code loses
        if name.endswith("initial.mean"):
            value.zero_()
    assert not torch.equal(other(current), expected)


def test_model_pickled_when_membrane_was_one_file_loads():
    model = train(network())
    text = pickle.dumps(model, protocol=0)  # names modules in plain text
    old = text.replace(b"snnlib.membrane.mp_init", b"snnlib.membrane")
    assert old != text
    current = 2 * torch.rand(5, 6, 8, generator=generator(9))
    assert torch.equal(pickle.loads(old).eval()(current), model.eval()(current))


def test_data_parallel_processes_share_the_first_ones_number(tmp_path):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1
    )
    try:
        model = DistributedDataParallel(network())
        train(model)
        names = [name for name, _ in model.named_buffers()]
        assert "module.lif1.initial.mean" in names and model.broadcast_buffers
    finally:
        torch.distributed.destroy_process_group()
    alone = train(network())
    for ours, theirs in zip(alone.buffers(), model.module.buffers(), strict=True):
        assert torch.equal(ours, theirs)


def test_initialization_and_probe_leave_the_number_alone():
    model = train(network())
    before = {k: v.clone() for k, v in model.named_buffers()}
    batch = 2 * torch.rand(5, 6, 8, generator=generator(9))
    init.initialize_(model, "micheli2024", example=batch, generator=generator())
    probe.record(model, batch)
    assert all(torch.equal(v, before[k]) for k, v in model.named_buffers())
    # the probe sees the neurons start where they start
    record = probe.record(model, batch)
    first = model.lif1.trace(model.linear1(model.lif0.trace(batch).spikes))
    assert record.mean[1][0].item() == pytest.approx(first.membrane[0].mean().item(), rel=1e-5)


def test_works_under_compile_double_backward_and_checkpoint():
    current = torch.rand(3, 2, 4, generator=generator()) * 2
    plain, compiled = LIF(initial=MPInit()), LIF(initial=MPInit())
    run = torch.compile(compiled, backend="eager")
    for _ in range(2):
        assert torch.equal(plain(current), run(current))
    assert plain.initial.mean == compiled.initial.mean != 0
    x = current.double().requires_grad_()
    layer = LIF(initial=MPInit(), detach_reset=False).double()
    (first,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
    first.square().sum().backward()
    assert x.grad.isfinite().all() and x.grad.any()


@pytest.mark.parametrize("make", [CurrentLIF, lambda **k: RecurrentLIF(4, **k)])
def test_other_neurons_take_it(make):
    layer = make(initial=MPInit(), threshold=0.5)
    layer.initial.mean.fill_(0.25)
    current = torch.rand(3, 2, 4, generator=generator())
    trace = layer.trace(current)
    layer(current)
    last, spikes = trace.membrane[-1], trace.spikes
    after = last - 0.5 * spikes[-1] / 0.5
    expected = 0.9 * 0.25 + 0.1 * after[spikes.any(0)].mean()
    assert layer.initial.mean.item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_moves_to_the_device_with_the_model():
    model, other = train(network()), network().cuda()
    for seed in range(3):
        other(2 * torch.rand(5, 6, 8, generator=generator(seed)).cuda()).sum().backward()
    for ours, theirs in zip(model.buffers(), other.buffers(), strict=True):
        assert theirs.is_cuda
        torch.testing.assert_close(theirs.cpu(), ours, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MPInit(0.0), r"momentum must be in \(0, 1\], got 0.0"),
        (lambda: MPInit(1.5), r"momentum must be in \(0, 1\], got 1.5"),
        (lambda: MPInit(math.nan), r"momentum must be in \(0, 1\], got nan"),
        (lambda: MPInit("slow"), "momentum must be a number"),
        (lambda: MPInit(over="some"), "over must be one of 'active', 'all', got 'some'"),
        (lambda: MPInit().update(torch.zeros(2, 3), torch.zeros(4, 3, 2)), "spikes must be"),
        (lambda: LIF(initial=nn.Linear(2, 2)), "initial must be a tensor, a snnlib.membrane"),
        (lambda: LIF(initial=MPInit(), leak=0.0), "leak must be > 0 and finite for an MPInit"),
        (lambda: AdaptiveLIF(initial=MPInit()), "initial must be a floating-point tensor"),
        (
            lambda: RecurrentLIF(3, initial=MPInit(), reset="multiplicative"),
            "initial must be a tensor or None with reset='multiplicative'",
        ),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# --- The stationary law ---------------------------------------------------------------------------

CASES = [
    dict(leak=0.5, threshold=1.0, input_mean=0.25, input_std=0.75, reset="subtract_leak"),
    dict(leak=0.5, threshold=1.0, input_mean=0.5, input_std=0.5, reset="subtract_leak"),
    dict(leak=0.8, threshold=0.5, input_mean=-0.1, input_std=0.4, reset="subtract"),
    dict(leak=0.5, threshold=1.0, input_mean=0.25, input_std=0.75, reset="zero"),
    dict(leak=0.9, threshold=1.0, input_mean=0.3, input_std=0.3, reset="zero"),
    dict(leak=0.6, threshold=0.8, input_mean=1.1, input_std=0.5, reset="zero"),
    dict(leak=0.0, threshold=0.5, input_mean=0.1, input_std=1.0, reset="zero"),
]
NAMES = [f"{c['reset']} leak {c['leak']} mean {c['input_mean']}" for c in CASES]


def after_reset(before, case):
    """The reset, from its definition."""
    leak, threshold = case["leak"], case["threshold"]
    drop = {"subtract": threshold / (leak or 1), "subtract_leak": threshold, "none": 0.0}
    left = 0.0 * before if case["reset"] == "zero" else before - drop[case["reset"]]
    return np.where(before > threshold, left, before)


def cells(case, edges):
    """Probabilities to go from the middle of each cell of the line to each cell."""
    middles = (edges[1:] + edges[:-1]) / 2
    starts = case["leak"] * middles + case["input_mean"]
    fine = np.sort(np.concatenate([edges, [case["threshold"]]]))
    middle_before = (fine[1:] + fine[:-1]) / 2
    into = np.searchsorted(edges, after_reset(middle_before, case), side="left") - 1
    p = np.diff(norm.cdf((fine - starts[:, None]) / case["input_std"]), axis=1)
    matrix = np.zeros((len(middles), len(middles)))
    np.add.at(matrix.T, np.clip(into, 0, len(middles) - 1), p.T)
    return middles, matrix


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_law_agrees_with_cells_of_the_line(case):
    law = stationary_law(**case)
    size = 0.005
    edges = np.arange(-6, 6 + size / 2, size) + size / 2  # no edge at 0 or at the threshold
    edges = edges[:: 1 + (len(edges) > 1300)]
    middles, matrix = cells(case, edges)
    pi = np.full(len(middles), 1 / len(middles))
    for _ in range(200):
        pi = pi @ matrix
    fires = norm.sf(
        (case["threshold"] - case["leak"] * middles - case["input_mean"]) / case["input_std"]
    )
    assert law.rate == pytest.approx(pi @ fires, abs=2e-3)
    assert law.mean == pytest.approx(pi @ middles, abs=5e-3)
    assert law.variance == pytest.approx(pi @ middles**2 - (pi @ middles) ** 2, abs=1e-2)


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_law_is_a_probability_that_one_step_keeps(case):
    law = stationary_law(**case)
    assert law.weights @ law.density + sum(p for _, p in law.atoms) == pytest.approx(1, abs=1e-10)
    atoms = sum(x * p for x, p in law.atoms)
    assert law.weights @ (law.density * law.grid) + atoms == pytest.approx(law.mean, abs=1e-10)
    starts = case["leak"] * law.grid + case["input_mean"]
    fires = norm.sf((case["threshold"] - starts) / case["input_std"])
    at_zero = norm.sf((case["threshold"] - case["input_mean"]) / case["input_std"])
    rate = law.weights @ (law.density * fires) + sum(p for _, p in law.atoms) * at_zero
    assert rate == pytest.approx(law.rate, abs=1e-10)
    assert (law.density >= 0).all() and (np.diff(law.grid) > 0).all()


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_neurons_of_the_library_settle_to_it(case):
    # 40,000 independent neurons: the standard error of the rate is below 0.0025, of the mean below
    # 0.006; 5.3 of them have the false-alarm level 1e-7, and errors above 0.02 and 0.05 show.
    law = stationary_law(**case)
    count, steps = 40_000, 60
    noise = torch.randn(steps + 1, 1, count, generator=generator(3), dtype=torch.double)
    current = case["input_mean"] + case["input_std"] * noise
    current[-1] = 0  # then the last potential is the leak times what was left
    settings = {k: case[k] for k in ("leak", "threshold", "reset")}
    trace = lif(current, **settings)
    spikes = trace.spikes[-2]
    error = math.sqrt(law.rate * (1 - law.rate) / count)
    assert abs(spikes.mean().item() - law.rate) < 5.3 * error
    if case["leak"]:
        left = trace.membrane[-1] / case["leak"]
        error = math.sqrt(law.variance / count)
        assert abs(left.mean().item() - law.mean) < 5.3 * error


def test_autoregression_has_its_known_law_and_rate():
    case = dict(leak=0.8, threshold=1.0, input_mean=0.3, input_std=0.5, reset="none")
    law = stationary_law(**case)
    std = 0.5 / math.sqrt(1 - 0.64)
    np.testing.assert_allclose(law.density, norm.pdf(law.grid, 1.5, std), atol=1e-10)
    assert law.rate == pytest.approx(norm.sf(1, 1.5, std), abs=1e-10)
    assert law.contraction == pytest.approx(0.8, abs=1e-9)


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_distance_falls_by_the_second_eigenvalue(case):
    law = stationary_law(**case)
    size = 0.02
    middles, matrix = cells(case, np.arange(-6, 6 + size / 2, size) + size / 2)
    a, b = (np.eye(len(middles))[np.abs(middles - x).argmin()] for x in (-0.5, 0.4))
    distances = []
    for _ in range(16):
        a, b = a @ matrix, b @ matrix
        distances.append(np.abs(a - b).sum() / 2)
    if case["leak"] == 0:
        assert law.contraction == 0 and distances[0] < 1e-12
    elif distances[15] > 1e-9:
        assert (distances[15] / distances[7]) ** (1 / 8) == pytest.approx(law.contraction, abs=0.01)


@pytest.mark.parametrize("case", CASES, ids=NAMES)
@pytest.mark.parametrize("support", [None, (-0.5, 0.25), (-2.0, 1.5)], ids=str)
def test_doeblin_constant_and_escape_bound_every_start(case, support):
    law = stationary_law(**case, support=support)
    low, high = law.support
    size = 0.01
    middles, matrix = cells(case, np.arange(-8, 8 + size / 2, size) + size / 2)
    inside = (middles >= low) & (middles <= high)
    shared = matrix[inside].min(0).sum()
    assert 0 < law.doeblin <= shared + 0.02
    if case["reset"] == "zero":  # all that the starts share
        assert law.doeblin == pytest.approx(shared, abs=0.02)
    leave = matrix[inside][:, ~inside].sum(1).max()
    assert law.escape == pytest.approx(leave, abs=0.03)


def test_unit_of_the_potential_does_not_matter():
    case = CASES[0]
    scaled = {k: 7 * v if k not in ("leak", "reset") else v for k, v in case.items()}
    law, other = stationary_law(**case), stationary_law(**scaled)
    assert other.mean == pytest.approx(7 * law.mean, rel=1e-9)
    for name in ("rate", "doeblin", "escape", "contraction"):
        assert getattr(other, name) == pytest.approx(getattr(law, name), abs=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(leak=1.0), r"leak must be in \[0, 1\), got 1.0"),
        (dict(leak=math.nan), "leak must be finite, got nan"),
        (dict(leak=0.0, reset="subtract"), r"leak must be inside \(0, 1\) with reset"),
        (dict(threshold=-1.0), r"threshold must be >= 0, got -1.0 \(nearest: 0\)"),
        (dict(input_std=0.0), "input_std must be > 0, got 0.0"),
        (dict(input_std=1e-5), "input_std must be at least 0.0"),
        (dict(input_mean="big"), "input_mean must be a finite number"),
        (dict(leak=0.99999), "leak must be further from 1"),
        (dict(reset="half"), "reset must be one of 'subtract', 'subtract_leak', 'zero', 'none'"),
        (dict(support=(1.0, 0.0)), "support must be a pair"),
        (dict(support=3.0), "support must be a pair"),
    ],
)
def test_bad_laws_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        stationary_law(**{**CASES[0], **change})


def test_the_named_least_deviation_is_accepted():
    case = {**CASES[0], "input_std": 1e-5}
    with pytest.raises(ValueError, match="at least") as error:
        stationary_law(**case)
    least = float(str(error.value).split("at least ")[1].split(" ")[0])
    assert stationary_law(**{**case, "input_std": 1.01 * least}).rate >= 0
