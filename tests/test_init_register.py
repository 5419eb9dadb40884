"""A method from outside the package, and the table of settings."""

import inspect

import pytest
import torch
from torch import nn

from snnlib import init
from snnlib.init import METHODS, Method, gain, initialize_, register, settings_table, unregister
from snnlib.init.method import with_the_network
from snnlib.neurons import LIF


def square_gain(*, input_second_moment=1.0, scale=1.0):
    return scale / input_second_moment


def resolve(connection, **given):
    moment = connection.second_moment
    return {"input_second_moment": 1.0 if moment is None else moment, **given}


OUTSIDE = Method("outside2027", "Outside 2027, Eq. 1", square_gain, resolve, given=("scale",))


@pytest.fixture
def outside():
    yield register(OUTSIDE)
    unregister("outside2027")


def network():
    return nn.Sequential(nn.Linear(300, 200), LIF(threshold=0.8), nn.Linear(200, 100), LIF())


def test_a_registered_method_computes_draws_and_reports(outside):
    assert METHODS["outside2027"] is outside is OUTSIDE
    assert gain("outside2027", scale=3.0, input_second_moment=2.0) == 1.5
    model = network()
    draw = torch.Generator().manual_seed(0)
    report = initialize_(model, "outside2027", readout="draw", generator=draw, scale=2.0)
    assert str(report).startswith("outside2027 (Outside 2027, Eq. 1)")
    assert [row.gain for row in report] == [2.0, 2.0]
    assert 300 * model[0].weight.var().item() == pytest.approx(2.0, rel=5 * (2 / 60_000) ** 0.5)
    mixed = initialize_(network(), "kaiming", layers={"2": "outside2027"}, generator=draw)
    assert [row.gain for row in mixed] == pytest.approx([2.0, 1.0])
    assert "by outside2027" in mixed[1].note
    with pytest.raises(ValueError, match="its settings are: scale"):
        initialize_(network(), "outside2027", rate=0.1)
    assert '"outside2027"     `input_second_moment` (1.0), `scale` (1.0)' in settings_table()


def test_an_unregistered_method_is_unknown_again():
    register(OUTSIDE)
    assert unregister("outside2027") is OUTSIDE
    with pytest.raises(ValueError, match="method must be one of glorot"):
        gain("outside2027")
    with pytest.raises(ValueError, match="method must be one of glorot"):
        unregister("outside2027")


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("kaiming", "must be a snnlib.init.method.Method"),
        (None, "must be a snnlib.init.method.Method"),
        (OUTSIDE._replace(name="kaiming"), "'kaiming' is taken"),
        (OUTSIDE._replace(name=""), "must have a name"),
        (OUTSIDE._replace(name="two words"), "must have a name"),
        (OUTSIDE._replace(name=3), "must have a name"),
        (OUTSIDE._replace(source=""), "source must be the paper"),
        (OUTSIDE._replace(gain=2.0), "gain must be a function"),
        (OUTSIDE._replace(gain=lambda *a: 1.0), "gain must be a function of named settings"),
        (OUTSIDE._replace(gain=lambda **a: 1.0), "gain must be a function of named settings"),
        (OUTSIDE._replace(resolve=None), "resolve must be a function"),
        (OUTSIDE._replace(mean=0.0), "mean must be a function"),
        (OUTSIDE._replace(finish_=None), "finish_ must be a function"),
        (OUTSIDE._replace(given="rate"), "given must be a tuple of names"),
        (OUTSIDE._replace(given=(1,)), "given must be a tuple of names"),
        (OUTSIDE._replace(distribution="cauchy"), "distribution must be one of normal"),
        (OUTSIDE._replace(data_driven=True), "lsuv alone"),
        (OUTSIDE._replace(network=3), "network must be"),
        (OUTSIDE._replace(resolve=with_the_network), "network must be"),
    ],
)
def test_an_ill_formed_method_is_refused(method, message):
    before = dict(METHODS)
    with pytest.raises(ValueError, match=message):
        register(method)
    assert dict(METHODS) == before


def test_a_method_is_refused_twice(outside):
    with pytest.raises(ValueError, match="'outside2027' is taken"):
        register(OUTSIDE)


def test_the_packages_own_methods_stay():
    with pytest.raises(ValueError, match="added by register"):
        unregister("micheli2024")
    with pytest.raises(TypeError):
        METHODS["new"] = OUTSIDE


def test_the_table_has_every_method_and_setting():
    table = settings_table()
    for name, method in METHODS.items():
        assert f'"{name}"' in table
        for setting in {*inspect.signature(method.gain).parameters, *method.given}:
            assert f"`{setting}`" in table
    assert table.splitlines()[1].strip() in inspect.getdoc(init.gain)
