"""Settings of neurons that travel with a state, and exported programs."""

import copy
import io
import json
import pickle
import warnings

import pytest
import torch
from torch import nn

from snnlib import networks
from snnlib.neurons import (
    LIF,
    AdaptiveLIF,
    CurrentLIF,
    LeakyIntegrator,
    RecurrentCurrentLIF,
    RecurrentLIF,
)

LAYERS = {
    "LIF": lambda **s: LIF(**s),
    "CurrentLIF": lambda **s: CurrentLIF(synapse_leak=0.3, **s),
    "RecurrentLIF": lambda **s: RecurrentLIF(3, **s),
    "RecurrentCurrentLIF": lambda **s: RecurrentCurrentLIF(3, **s),
    "AdaptiveLIF": lambda **s: AdaptiveLIF(3, **s),
}
USUAL = {"threshold": 0.7, "leak": 0.8, "reset": "zero"}
OTHERS = [
    ({"threshold": 0.71}, "threshold is 0.71 here, 0.7 in the state"),
    ({"leak": 0.75}, "leak is 0.75 here, 0.8 in the state"),
    ({"reset": "subtract"}, "reset is 'subtract' here, 'zero' in the state"),
    ({"learn_leak": True}, "leak is 'learned' here, 0.8 in the state"),
    ({"threshold_gradient": "threshold_robust"}, "output is 'threshold' here, 'none' in the"),
]


def saved(module):
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def without(state):
    return {name: value for name, value in state.items() if not name.endswith("_extra_state")}


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize(("other", "message"), OTHERS)
def test_a_state_of_other_settings_is_refused(kind, other, message):
    if kind == "AdaptiveLIF" and "threshold_gradient" in other:
        pytest.skip("it has no such setting")
    layer = nn.Sequential(LAYERS[kind](**USUAL))
    state = saved(layer)
    assert all(isinstance(value, torch.Tensor) for value in state.values())
    same = nn.Sequential(LAYERS[kind](**USUAL))
    assert str(same.load_state_dict(state)) == "<All keys matched successfully>"
    wrong = nn.Sequential(LAYERS[kind](**USUAL | other))
    before = copy.deepcopy(dict(wrong.named_parameters()))
    with pytest.raises(RuntimeError, match=f"0: .*{message}"):
        wrong.load_state_dict(state, strict=False)
    assert all(torch.equal(before[name], p) for name, p in wrong.named_parameters())


@pytest.mark.parametrize(("one", "two", "message"), [
    (CurrentLIF(synapse_leak=0.3), CurrentLIF(synapse_leak=0.4), "synapse_leak is 0.4 here, 0.3"),
    (CurrentLIF(), CurrentLIF(input_gain=2.0), "input_gain is 2.0 here, 1.0 in the state"),
    (CurrentLIF(), CurrentLIF(delay=1.0), "delay is 1.0 here, 0.0 in the state"),
    (LIF(), CurrentLIF(), "synapse_leak is 0.5 here, 'none' in the state"),
    (RecurrentLIF(3), RecurrentLIF(3, self_connections=True), "self_connections is True here"),
    (AdaptiveLIF(3), AdaptiveLIF(3, adaptation=0.5), "adaptation is 0.5 here, 1.0 in the state"),
    (LeakyIntegrator(), LeakyIntegrator(rest=1.0), "rest is 1.0 here, 0.0 in the state"),
    (LeakyIntegrator(), LeakyIntegrator(leak=0.9), "leak is 0.9 here, 0.5 in the state"),
])  # fmt: skip
def test_every_setting_of_the_forward_pass_counts(one, two, message):
    with pytest.raises(RuntimeError, match=message):
        two.load_state_dict(one.state_dict())
    with pytest.raises(ValueError, match=message):
        two.set_extra_state(one.get_extra_state())


def test_what_only_the_backward_pass_uses_may_differ():
    """One may go on with another surrogate."""
    from snnlib.surrogate import Surrogate

    one = LIF(**USUAL)
    LIF(**USUAL, surrogate=Surrogate("triangular"), detach_reset=False).load_state_dict(
        one.state_dict()
    )


def test_all_layers_that_differ_are_named():
    one = networks.mlp([5, 4, 3], threshold=0.7, reset="zero")
    two = networks.mlp([5, 4, 3], threshold=[0.7, 0.6, 0.5], reset="zero")
    with pytest.raises(RuntimeError) as error:
        two.load_state_dict(saved(one))
    assert "lif0" not in str(error.value)
    assert "lif1: threshold is 0.6 here" in str(error.value)
    assert "lif2: threshold is 0.5 here" in str(error.value)


def test_states_of_older_versions_load_with_a_warning():
    one = networks.mlp([5, 4, 3], threshold=0.7, reset="zero")
    two = networks.mlp([5, 4, 3], threshold=0.6, reset="zero")
    for strict in (True, False):
        with pytest.warns(UserWarning, match="saved by an older version: it does not say thresh"):
            assert not two.load_state_dict(without(saved(one)), strict=strict).missing_keys
        assert torch.equal(one.linear1.weight, two.linear1.weight)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("default")
        two.load_state_dict(without(saved(one)))
    assert len(seen) == 1  # not one a layer


def test_tensors_travel_as_tensors():
    one, two = (LIF(**USUAL | {"threshold": torch.full((3,), x)}) for x in (0.4, 0.9))
    two.load_state_dict(saved(one))
    assert torch.equal(two.threshold, one.threshold)
    with pytest.raises(RuntimeError, match=r"threshold is 0\.7 here, 'tensor' in"):
        LIF(**USUAL).load_state_dict(saved(one))


def test_whatever_copies_a_state_takes_the_settings_along():
    layer = CurrentLIF(**USUAL)
    text = json.loads(bytes(layer.get_extra_state().tolist()))
    assert text["neuron"] == "CurrentLIF" and text["threshold"] == 0.7
    for state in (
        {name: value.clone().bfloat16() for name, value in layer.state_dict().items()},
        copy.deepcopy(layer).half().state_dict(),
        pickle.loads(pickle.dumps(layer)).state_dict(),
    ):
        CurrentLIF(**USUAL).load_state_dict(state)
        with pytest.raises(RuntimeError, match=r"leak is 0\.5 here"):
            CurrentLIF(**USUAL | {"leak": 0.5}).load_state_dict(state)
    with pytest.raises(RuntimeError, match="_extra_state must be what get_extra_state gave"):
        layer.load_state_dict({"_extra_state": torch.ones(3)})


# --- torch.export ---------------------------------------------------------------------------------

EXPORTED = {
    "mlp": lambda: networks.mlp([5, 64, 5], threshold=0.1, reset="zero"),
    "CurrentLIF": lambda: nn.Sequential(nn.Linear(5, 5), CurrentLIF(threshold=0.3)),
    "RecurrentLIF": lambda: nn.Sequential(nn.Linear(5, 5), RecurrentLIF(5, threshold=0.3)),
    "RecurrentCurrentLIF": lambda: nn.Sequential(RecurrentCurrentLIF(5, threshold=0.3)),
    "LeakyIntegrator": lambda: nn.Sequential(nn.Linear(5, 5), LeakyIntegrator()),
}


@pytest.mark.parametrize("kind", EXPORTED)
def test_networks_are_exported_under_no_grad(kind):
    network = EXPORTED[kind]()
    x = torch.randn(6, 2, 5, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        program = torch.export.export(network, (x,), strict=False)
        want = network(x)
        assert float(want.abs().mean()) > 0
        assert torch.equal(program.module()(x), want)


@pytest.mark.parametrize("kind", EXPORTED)
def test_an_export_with_gradients_is_right_or_says_what_to_do(kind):
    network = EXPORTED[kind]()
    x = torch.randn(6, 2, 5, generator=torch.Generator().manual_seed(0))
    try:
        program = torch.export.export(network, (x,), strict=False)
    except RuntimeError as error:
        assert "under torch.no_grad()" in str(error)
    else:  # torch 2.6 does it
        assert torch.equal(program.module()(x), network(x))
