"""Wrong uses that every newcomer tries: the message must name the argument and the way out."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from snnlib import init, probe
from snnlib.dialects.arguments import mend
from snnlib.dialects.running import resolve_time, run
from snnlib.networks import mlp
from snnlib.neurons import LIF, RecurrentLIF

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


# --- what a batch may be, and what to say where it does not fit -----------------------------------


def test_labels_beside_the_input():
    """A tuple is positional arguments; a DataLoader's list and dict are taken apart."""
    x, y = batch(), torch.zeros(8)
    with pytest.raises(ValueError, match=r"does not take as many: pass the input alone.*loss="):
        probe.diagnose(ours(), (x, y))
    network = ours()
    expected = str(probe.diagnose(network, x, networks=0))
    assert str(probe.diagnose(network, [x, y], networks=0)) == expected
    assert str(probe.diagnose(network, {"input": x, "label": y}, networks=0)) == expected
    with pytest.raises(ValueError, match=r"keys 'image', 'label'.*the input.*batch\['image'\]"):
        probe.diagnose(network, {"image": x, "label": y})
    report = init.initialize_(network, "micheli2024", example=[x, y])
    assert report[0].second_moment == pytest.approx(float(x.square().mean()), rel=1e-5)


def test_swapped_and_other_arguments():
    with pytest.raises(ValueError, match=r"got Tensor \(the model comes first\)"):
        probe.diagnose(batch(), ours())
    with pytest.raises(ValueError, match=r"method must be a name .*got Tensor; .*example=batch"):
        init.initialize_(ours(), batch())
    with pytest.raises(ValueError, match=r"module must be .*got Tensor \(the network comes first"):
        init.initialize_(batch(), ours())
    with pytest.raises(ValueError, match=r"module must be a torch\.nn\.Module, got str"):
        init.initialize_("micheli2024", ours())
    with pytest.raises(ValueError, match=r"got NoneType: one batch of input, \[T, batch, feat"):
        probe.diagnose(ours(), None)
    with pytest.raises(ValueError, match="batch must be a tensor, got str"):
        probe.diagnose(ours(), "batch")
    with pytest.raises(ValueError, match=r"scalar tensor, .*got a tensor \[5, 8, 5\]"):
        probe.diagnose(ours(), batch(), loss=lambda output: output)


def test_a_stateful_layer_that_returns_its_potential_too():
    network = nn.Sequential(
        nn.Linear(20, 30), snntorch.Leaky(beta=0.5), nn.Linear(30, 5), snntorch.Leaky(beta=0.5)
    )
    with pytest.raises(ValueError, match=r"layer '1' returns .* make it with init_hidden=True"):
        probe.diagnose(network, batch())


@pytest.mark.parametrize("build", [ours, leaky])
def test_types_are_named(build):
    with pytest.raises(ValueError, match=r"pass batch\.to\(torch\.float32\)"):
        probe.diagnose(build(), batch().double())


def test_another_device_is_named():
    with pytest.raises(ValueError, match=r"weights are on meta, the batch on cpu.*to_empty"):
        probe.diagnose(ours().to("meta"), batch())
    with pytest.raises(ValueError, match=r"on 'meta', which holds no numbers.*to_empty"):
        init.initialize_(leaky().to("meta"), "micheli2024", example=batch())
    with pytest.raises(ValueError, match=r"the batch is on 'meta'.*pass a real one"):
        probe.diagnose(leaky(), batch().to("meta"))
    # Between devices that hold numbers, as a processor without others can try it:
    elsewhere = mend(ours().to("meta"), (batch(),), RuntimeError("device"))
    assert elsewhere == "the weights are on meta, the batch on cpu: pass batch.to('meta')"


def loader() -> DataLoader:
    return DataLoader(TensorDataset(torch.randn(16, 20), torch.zeros(16)), 8)


NO_BATCH = {
    "loader": (loader, r"got DataLoader: pass one batch of it, such as next\(iter\(loader\)\)"),
    "dataset": (lambda: loader().dataset, "got TensorDataset: pass one batch"),
    "numbers": (lambda: batch().tolist(), r"got list: torch\.tensor\(batch\)"),
    "arrays": (lambda: [batch().numpy(), np.zeros(8)], r"NumPy array: torch\.from_numpy\(batch\)"),
    "integers": (lambda: (batch() > 0).long(), r"pass batch\.to\(torch\.float32\)"),
    "truths": (lambda: batch() > 0, r"pass batch\.to\(torch\.float32\)"),
    "features": (
        lambda: batch(5, 8, 7),
        r"\[5, 8, 7\] has 7 in the dimension -1, the first weight '0' takes 20: pass \[T, batch",
    ),
}


@pytest.mark.parametrize("build", [ours, leaky])
@pytest.mark.parametrize("case", NO_BATCH)
def test_what_is_no_batch_is_refused_with_the_way_out(build, case):
    make, message = NO_BATCH[case]
    for call in (probe.diagnose, lambda m, b: init.initialize_(m, "micheli2024", example=b)):
        with pytest.raises(ValueError, match=message):
            call(build(), make())


@pytest.mark.parametrize("build", [ours, leaky])
def test_a_batch_in_another_order_is_pointed_out(build):
    """Of slowly changing input the long axis is time; of noise nothing can be told."""
    slow = batch(1, 30, 20).expand(12, 30, 20) + 0.5 * batch(12, 30, 20)  # [T, batch, ...]
    told = "(30, 12, 20) is read as 30 steps of 12 samples"
    notes = probe.diagnose(build(), slow.transpose(0, 1), networks=0).notes
    assert any(told in note and "batch.transpose(0, 1)" in note for note in notes)
    for right in (slow, batch(30, 12, 20)):
        notes = probe.diagnose(build(), right, networks=0).notes
        assert not any("transpose" in note for note in notes)


def test_half_precision_that_a_layer_breaks():
    """snnTorch's spikes are float32 whatever comes in."""
    with pytest.raises(ValueError, match=r'torch\.autocast\("cpu", torch\.bfloat16\)'):
        probe.diagnose(leaky().bfloat16(), batch().bfloat16())
    with torch.autocast("cpu", torch.bfloat16):
        assert len(probe.diagnose(leaky(), batch(), networks=0).layers) == 2


def test_a_loss_that_asks_for_more_than_the_output():
    with pytest.raises(ValueError, match=r"loss=lambda output: criterion\(output, y\)"):
        probe.diagnose(ours(), batch(), loss=nn.CrossEntropyLoss())
    with pytest.raises(ValueError, match=r"loss must be a function .*got 'mse'"):
        probe.diagnose(ours(), batch(), loss="mse")


def test_cells_of_norse_in_a_plain_row():
    norse = pytest.importorskip("norse.torch")
    layers = nn.Linear(20, 30), norse.LIFCell(), nn.Linear(30, 5), norse.LIFCell()
    with pytest.raises(ValueError, match=r"layer '1' returns .*norse\.torch\.SequentialState"):
        probe.diagnose(nn.Sequential(*layers), batch())
    stateful = norse.SequentialState(*layers)
    expected = str(probe.diagnose(stateful, batch(), networks=0))
    labels = torch.zeros(8)  # are no state
    assert str(probe.diagnose(stateful, [batch(), labels], networks=0)) == expected
    wrapped = probe.diagnose(nn.DataParallel(stateful), batch(), networks=0)
    assert str(wrapped).replace("module.", "").split() == expected.split()
    with pytest.raises(ValueError, match="labels belong into the loss"):
        probe.diagnose(stateful, (batch(), labels))


def test_a_readout_beside_a_recurrent_layer():
    class Stack(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.back = nn.Linear(20, 30), RecurrentLIF(30)
            self.fc2, self.lif2 = nn.Linear(30, 12), LIF()
            self.fc3, self.lif3 = nn.Linear(12, 5), LIF()

        def forward(self, x):
            return self.lif3(self.fc3(self.lif2(self.fc2(self.back(self.fc1(x))))))

    example = {"example": batch(), "readout": "draw"}
    with pytest.raises(ValueError, match=r'layers=\{"fc2": None, "fc3": None\}'):
        init.initialize_(Stack(), "herranz2022", **example)
    report = init.initialize_(Stack(), "herranz2022", **example, layers={"fc2": None, "fc3": None})
    assert [row.layer for row in report if row.gain is not None] == ["fc1", "back.weight"]


def test_a_wrong_choice_of_who_loops_says_how_to_choose():
    for call in (
        probe.diagnose,
        lambda m, b, time: init.initialize_(m, "lecun", example=b, time=time),
    ):
        with pytest.raises(
            ValueError, match=r'with time="outside" .*network\(batch\[0\]\), runs one'
        ):
            call(FixedBatch(), batch(8, 4, 5), time="outside")
        with pytest.raises(ValueError, match=r"got 'both'; .*network\(batch\[0\]\), runs one"):
            call(leaky(), batch(), time="both")


def test_lsuv_reports_what_it_measured():
    network = nn.Sequential(nn.Linear(20, 90), LIF(), nn.Linear(90, 40), LIF(), nn.Linear(40, 5))
    report = init.initialize_(
        network, "lsuv", example=batch(), generator=torch.Generator().manual_seed(1)
    )
    current = network[2](network[1](network[0](batch())))
    rate = float((network[1](network[0](batch())) != 0).double().mean())
    assert report[1].second_moment == report[1].probability == pytest.approx(rate)
    assert (
        f"λ²Var[i] = {float(current.var(correction=0)):.3g} of 3 on the example" in report[1].note
    )


def test_how_to_choose_who_loops_comes_with_an_example():
    with pytest.raises(
        ValueError, match=r"network\(batch\), runs all.*network\(batch\[0\]\), runs one"
    ):
        probe.diagnose(leaky(), batch(5, 8, 7))


@pytest.mark.parametrize("wrong", ["atan", snntorch.surrogate.atan()])
def test_a_surrogate_of_another_kind_is_refused_at_once(wrong):
    with pytest.raises(ValueError, match=r"surrogate must be a snnlib\.surrogate\.Surrogate"):
        LIF(surrogate=wrong)


# --- daily life -----------------------------------------------------------------------------------


def test_wrapped_halved_and_frozen_models():
    """Each is measured as the plain model is; half precision to its own 11 bits."""
    plain = ours()
    with torch.no_grad():
        plain[0].weight.mul_(4)
    x = batch()
    expected = probe.diagnose(plain, x, networks=0).layers[0]
    wrapped = probe.diagnose(nn.DataParallel(plain), x, networks=0).layers[0]
    assert torch.equal(wrapped.rate, expected.rate)
    half = copy.deepcopy(plain).bfloat16()
    assert torch.allclose(
        probe.diagnose(half, x.bfloat16(), networks=0).layers[0].rate, expected.rate, atol=0.02
    )
    frozen = copy.deepcopy(plain).requires_grad_(False)
    found = probe.diagnose(frozen, x, networks=0).layers[0]
    assert torch.equal(found.rate, expected.rate)
    assert torch.equal(found.gradient_variance, expected.gradient_variance)


def test_a_deep_network_fits_a_screen_and_opens_on_request():
    network = mlp(
        [60] * 51, encode=False, threshold=0.5, generator=torch.Generator().manual_seed(1)
    )
    found = probe.diagnose(network, batch(4, 8, 60), networks=0)
    lines = str(found).splitlines()
    assert len(lines) < 40 and "50 layers; all of them: print(diagnosis.text())" in str(found)
    shared = next(line for line in lines if " ... " in line and "(" in line)
    assert shared.startswith("lif")
    full = found.text()
    assert all(f"\n{layer.name} " in full for layer in found.layers)
    html = found._repr_html_()
    whole = html[html.index("<details><summary>all 50 layers") :]
    # A tree: groups of equal layers fold within the whole, and each layer stands in one of them.
    assert whole.count("<details>") > 1 and whole.count("<details>") == whole.count("</details>")
    assert all(whole.count(f">{layer.name}</") == 1 for layer in found.layers)
    for finding in found.findings:
        assert any(line.split()[0] == finding.layer for line in lines[1:] if line)
