"""Drawing the weights as planned: all of them, or nothing is changed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from snnlib._progress import stage
from snnlib.dialects.running import Time
from snnlib.init import lsuv
from snnlib.init.distributions import check_generator
from snnlib.init.method import draw_
from snnlib.init.pairing import pair
from snnlib.init.planning import Plan
from snnlib.init.pooled import shift_pooled_
from snnlib.init.readout import RATE, SILENT, mean_rate, predicted, wake_


def draw_plans_(
    network: nn.Module,
    plans: list[Plan],
    *,
    example: Any = None,
    generator: torch.Generator | None = None,
    bias: str = "zero",
    time: Time = "auto",
    then: Callable[[], None] | None = None,
) -> None:
    """Draw every weight that has a method, fit those that the data scale, and set surrogates.

    Args:
        network: The network, which data-driven methods run.
        plans: One for each weight.
        example: One batch, for those.
        generator: Random numbers; None is torch's global generator.
        bias: "zero" or "keep".
        time: Who loops over time.
        then: What is done to the drawn weights before a silent output layer is scaled.

    Raises:
        ValueError: If two plans of one weight differ, the generator lives on another device, or
            the data do not fit. Then nothing was changed.
    """
    fitted = [p for p in plans if p.method is not None and p.method.data_driven]
    own = [plan.connection for plan in fitted]
    settings = fitted[0].settings if fitted else {}
    if fitted:
        if any(plan.settings != settings for plan in fitted):
            raise ValueError("layers: 'lsuv' needs one tolerance and iterations for all layers")
        lsuv.check(own, example, **settings)
    for plan in plans:
        if plan.method is not None:
            check_generator(generator, plan.connection.weight)
    drawn = _unique(plans)
    with _all_or_nothing(plans if fitted else [], generator):
        with torch.no_grad():
            for plan in drawn:
                stage(f"drawing {plan.connection.name}")
                _draw_(plan, generator, bias)
        if fitted and example is not None:
            _fit_(network, fitted, example, time, settings)
        if example is not None and bias == "zero":
            shift_pooled_(network, [p for p in plans if p.method is not None], example, time=time)
        if then is not None:
            then()
        stage("looking whether an output would be silent")
        _wake_readouts_(network, plans, example, time)
    for plan in plans:
        for layer in plan.connection.drives:
            if layer.name in plan.surrogates:
                setattr(layer.module, "surrogate", plan.surrogates[layer.name])  # noqa: B010


def _fit_(
    network: nn.Module, plans: list[Plan], example: Any, time: Time, settings: dict[str, Any]
) -> None:
    """Rescale drawn weights on the example, and note what was measured then."""
    own = [plan.connection for plan in plans]
    found = lsuv.rescale_(network, own, example, time=time, **settings)
    stage("measuring what reaches the weights")
    measured = {c.name: c for c in pair(network, example, time=time)}
    for plan in plans:
        plan.second_moment = measured[plan.connection.name].second_moment
        told = [
            f"λ²Var[i] = {found[layer.name][0]:.3g} of {layer.name} on the example, rescaled "
            f"{found[layer.name][1]} times"
            for layer in plan.connection.drives
            if layer.name in found and not lsuv.METHOD.remark(plan.connection, plan.settings)
        ]
        if plan.connection.fed_by:
            told.append("E[x²] measured there")
        plan.remark = "; ".join(told)


def _draw_(plan: Plan, generator: torch.Generator | None, bias: str) -> None:
    assert plan.method is not None
    # An orthonormal weight has the gain of its shape; the data find the scale otherwise.
    value = 1.0 if plan.gain is None else plan.gain
    draw_(plan.connection.weight, value, plan.distribution, generator, mean=plan.mean)
    plan.method.finish_(plan.connection)
    own = plan.connection.bias
    frozen = isinstance(own, nn.Parameter) and not own.requires_grad
    if bias == "zero" and own is not None and not frozen:
        own.zero_()


def _wake_readouts_(network: nn.Module, plans: list[Plan], example: Any, time: Time) -> None:
    """Scale the weights of output layers that would not count a spike."""
    kept: dict[str, list[Plan]] = {}
    for plan in plans:
        if plan.readout is not None and plan.readout.counted and plan.readout.layer is not None:
            kept.setdefault(plan.readout.layer.name, []).append(plan)
    for own in kept.values():
        _wake_(network, own, example, time)


def _wake_(network: nn.Module, own: list[Plan], example: Any, time: Time) -> None:
    layer = own[0].readout.layer  # type: ignore[union-attr]
    assert layer is not None
    forward = [plan.connection for plan in own if not plan.connection.recurrent]
    parameters = [connection.parameter for connection in forward]
    factor, where = 1.0, "as predicted"
    if example is not None and layer.module is not None:
        rate, where = mean_rate(network, layer.module, example, time=time), "on the example"
        if rate < SILENT:
            factor, rate = wake_(network, layer.module, parameters, example, time=time)
    else:
        rate, wanted = predicted(forward, layer)
        if rate < SILENT:
            factor, rate = wanted, RATE
            with torch.no_grad():
                for parameter in parameters:
                    parameter.mul_(factor)
    said = f" (rate {rate:.3g} {where})"
    for plan in own:
        if factor != 1 and not plan.connection.recurrent:
            plan.why = f"{plan.readout.why}, silent: scaled by {factor:.3g}"  # type: ignore[union-attr]
        plan.why += said


@contextmanager
def _all_or_nothing(plans: list[Plan], generator: torch.Generator | None) -> Iterator[None]:
    """Put parameters and random state back after an error."""
    state = None if generator is None else generator.get_state()
    before = _copies(plans)
    global_state = torch.get_rng_state()
    try:
        yield
    except BaseException:
        with torch.no_grad():
            for parameter, value in before.items():
                parameter.copy_(value)
        if generator is not None and state is not None:
            generator.set_state(state)
        torch.set_rng_state(global_state)
        raise


def _copies(plans: list[Plan]) -> dict[Tensor, Tensor]:
    tensors: list[Tensor] = []
    for plan in plans:
        tensors.append(plan.connection.parameter)
        if plan.connection.bias is not None:
            tensors.append(plan.connection.bias)
    return {tensor: tensor.detach().clone() for tensor in tensors}


def _unique(plans: list[Plan]) -> list[Plan]:
    """One plan for each weight that is drawn; refuses a shared weight with two laws."""
    first: dict[nn.Parameter, Plan] = {}
    for plan in plans:
        if plan.method is None:
            continue
        other = first.setdefault(plan.connection.parameter, plan)
        same = other.distribution == plan.distribution and other.method is plan.method
        for one, two in ((other.gain, plan.gain), (other.mean, plan.mean)):
            if one is not None and two is not None and not math.isclose(one, two, rel_tol=1e-9):
                same = False
        if not same:
            raise ValueError(
                f"module shares the weight of {plan.connection.name!r} between layers that ask "
                f"for different gains or laws, {other.gain} of {other.distribution!r} and "
                f"{plan.gain} of {plan.distribution!r}"
            )
    return list(first.values())
