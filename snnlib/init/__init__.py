r"""Weight initialization of spiking networks: one number, one call, a report.

Every method here is described by one number, the gain G = n·E[w²], the square of what
`torch.nn.init.calculate_gain` returns. `gain(method, **settings)` computes it,
`initialize_(module, method)` draws the weights of a whole network.

A method is one file named after its paper (`micheli2024.py`); it defines a `METHOD`, and one line
in `METHODS` below makes it available everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor, nn

from snnlib.dialects.running import Time
from snnlib.init import (
    bellec2018,
    classic,
    ding2022,
    distributions,
    herranz2022,
    ikun2024,
    lee2016,
    lsuv,
    mean_field,
    micheli2024,
    rossbroich2022,
    spikeinit2026,
    zenke2021,
)
from snnlib.init.activity import Activity, Drive
from snnlib.init.bellec2018 import bellec2018_
from snnlib.init.ding2022 import ding2022_
from snnlib.init.distributions import check_generator
from snnlib.init.ikun2024 import ikun2024_
from snnlib.init.lee2016 import lee2016_
from snnlib.init.method import Feeding, Method, draw_, standard_deviation
from snnlib.init.micheli2024 import micheli2024_
from snnlib.init.pairing import Connection, pair
from snnlib.init.report import Report, Row
from snnlib.init.rossbroich2022 import rossbroich2022_
from snnlib.init.spikeinit2026 import spikeinit2026_
from snnlib.init.zenke2021 import zenke2021_
from snnlib.surrogate import Surrogate

__all__ = [
    "METHODS",
    "Report",
    "Row",
    "bellec2018_",
    "ding2022_",
    "distributions",
    "gain",
    "herranz2022",
    "ikun2024",
    "ikun2024_",
    "initialize_",
    "lee2016_",
    "micheli2024_",
    "rossbroich2022",
    "rossbroich2022_",
    "spikeinit2026",
    "spikeinit2026_",
    "zenke2021_",
]

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        method.name: method
        for method in (
            classic.GLOROT,
            classic.KAIMING,
            classic.LECUN,
            classic.ORTHOGONAL,
            lee2016.METHOD,
            bellec2018.METHOD,
            zenke2021.METHOD,
            ding2022.METHOD,
            herranz2022.METHOD,
            rossbroich2022.METHOD,
            micheli2024.METHOD,
            ikun2024.METHOD,
            spikeinit2026.METHOD,
            lsuv.METHOD,
            mean_field.METHOD,
        )
    }
)
"""Every method by name."""


def gain(method: str, **settings: Any) -> float:
    r"""The gain G = n·E[w²] of a method.

    Var[u] = G·E[x²] in a layer with zero-mean weights and fan-in n; G is the square of what torch
    calls the gain.

    Args:
        method: A name in `METHODS`.
        **settings: Those of the method; θ, β, λ are the driven neurons', except where noted.

            ================  ==================================================================
            "glorot"          `fan_in`, `fan_out` (square)
            "kaiming"         `nonlinearity` ("relu"), `negative_slope` (0)
            "lecun"           none
            "orthogonal"      `fan_in`, `fan_out` (square)
            "lee2016"         `alpha` (None: no threshold rule), `threshold`, `fan_in`, `input_gain`
            "bellec2018"      `weight_scale` (1)
            "zenke2021"       none
            "ding2022"        `threshold` (1), `input_gain` (1)
            "herranz2022"     `fan_in`, `weight_mean`, `weight_variance`; the last two from
                              `herranz2022.conditions`
            "rossbroich2022"  `rate`, `leak`, `threshold` (1), `xi` (1), `mean` (0), `input_gain`,
                              `fan_in`, `coherent` (False), `synapse`, ...
            "micheli2024"     `threshold` (1) and `height` (1) of the spikes that feed the weight,
                              or `input_second_moment` of other input; `input_gain` (1)
            "ikun2024"        `balance` ("forward", "backward", "printed"), `alpha` (1),
                              `surrogate`, `threshold` (1), `variance`, `input_gain`, ...
            "spikeinit2026"   `rate`, `leak`, `threshold` (1), `input_gain`, `height`, or
                              `input_second_moment` of a constant input
            "mean_field"      `rate`, `steps`, `leak` (0.5), `threshold` (1), `reset`, `input_gain`,
                              `height`, or `input_second_moment` of other input
            "lsuv"            has no formula
            ================  ==================================================================

            The first four, "herranz2022", "micheli2024", "ikun2024" and "mean_field" take
            `distribution` too, on which G does not depend.

    Returns:
        The gain.

    Raises:
        ValueError: If the method or a setting is unknown, a needed one is missing, one is outside
            its range (then with the feasible range), or the method is data-driven.

    Source: the docstring of each method's file.

    Example:
        >>> gain("kaiming") == torch.nn.init.calculate_gain("relu") ** 2
        True
        >>> gain("micheli2024", threshold=0.0)
        2.0
        >>> round(gain("rossbroich2022", rate=0.1, leak=0.5, xi=2.0), 9)
        1.875
    """
    found = _method(method)
    if "distribution" in settings:
        found.chosen(settings["distribution"])
    return found.checked_gain({k: v for k, v in settings.items() if k != "distribution"})


def initialize_(
    module: nn.Module,
    method: str,
    *,
    example: Tensor | tuple[Any, ...] | None = None,
    generator: torch.Generator | None = None,
    bias: Literal["zero", "keep"] = "zero",
    layers: Mapping[str, Mapping[str, Any] | str | None] | None = None,
    time: Time = "auto",
    **settings: Any,
) -> Report:
    r"""Draw all weights of a network in place, each for the spiking layers around it.

    Each weight of a linear layer, a convolution or a recurrent layer is paired with the spiking
    layer that feeds it, whose threshold sets the firing probability P(u > θ), and with the one it
    drives, whose threshold, leak and input gain set what the weight must do; ours or snnTorch's,
    SpikingJelly's or Norse's. A weight fed by real values uses E[x²] of what reaches it when
    `example` runs; without an example the data count as standardized, E[x²] = 1. A weight that
    drives no spiking layer (a readout) stays as it is, and the report says so.

    Without `example` weights are paired by the order of registration, where that leaves no doubt;
    with it, by following the values through one run (which leaves buffers, modes and torch's
    random state as they were).

    Args:
        module: A network of weights and spiking layers.
        method: A name in `METHODS`.
        example: One batch of input, [T, batch, ...] for the networks of `snnlib.networks`, or a
            tuple of positional arguments; None pairs by registration. "lsuv" needs one.
        generator: Random numbers; None is torch's global generator.
        bias: "zero" sets the biases of the drawn layers to 0, "keep" leaves them.
        layers: Exceptions, by the name of a layer in the report or a pattern of names (`"conv*"`):
            settings for it, which may hold a "method" of its own; the name of a method; or None,
            which leaves it as it is. A name goes before a pattern, an earlier pattern before a
            later one. A readout is drawn if it is named itself.
        time: Who loops over time: "inside" the network, "outside" the caller, "auto"; see
            `snnlib.dialects.running.run`.
        **settings: For every weight, in place of what the network and the example say: those of
            `gain`, "micheli2024" with `threshold` for weights fed by spikes and
            `input_second_moment` for weights fed by data; "rossbroich2022" also with `alpha`, the
            feed-forward share of the variance (0.9); "ikun2024" with `balance`, `alpha` and, for
            neurons of other libraries, `surrogate`; "herranz2022" with `conditions` ("I II III
            IV", any subset), `input_mean` and `input_variance` of data, `input_weight_variance`
            (Glorot's; "stable" is enough for the rate 1/2 to last), `exact` (False), `deviation`
            (0; "normal" for reset to zero), `detach_reset` (the layer's),
            `input_low`, `input_high`, and `unreachable` ("nearest" or "raise", where no sharpness
            meets condition IV); "lsuv" with `tolerance` (0.05) and
            `iterations` (10); `distribution` ("normal", "uniform", "bigamma") for "glorot",
            "kaiming", "lecun", "orthogonal", "herranz2022", "micheli2024", "ikun2024" and
            "mean_field".

    Returns:
        One row per weight: layer, fan-in, gain, standard deviation, what feeds it, what it drives,
        and the predicted rate there: the one that the method aims at ("rossbroich2022": Q(ξ) of the
        potential without reset, "spikeinit2026" and "mean_field": their rate, "lsuv": Q(θ)), else
        P(u > θ) at the first step that the input reaches, with Var[u] = λ² Σ G E[x²] from layer to
        layer. Prints as a table.

    Raises:
        ValueError: If the method, a setting or `bias` is unknown, a setting is infeasible, a name
            in `layers` matches nothing, a weight is empty, no weight or no spiking layer is found,
            the order of registration is ambiguous, two layers that share a weight ask for
            different laws, or the generator lives on another device. Then nothing was changed.

    Source: Micheli et al. 2024, Eq. 10, and the docstring of each method's file.

    Example:
        >>> from snnlib.neurons import LIF
        >>> network = nn.Sequential(LIF(threshold=0.8), nn.Linear(400, 300), LIF())
        >>> report = initialize_(network, "micheli2024", generator=torch.Generator().manual_seed(0))
        >>> print(report)
        micheli2024 (Micheli et al. 2024, Eq. 10)
        layer  fan-in  gain     std  fed by  threshold  P(u > θ)   E[x²]  drives    rate
        1         400  4.72  0.1086  0             0.8    0.2119  0.2119  2       0.1587
        >>> expected = (4.72 / 400) ** 0.5
        >>> abs(network[1].weight.std().item() / expected - 1) < 5 * (2 * 400 * 300) ** -0.5
        True
    """
    found = _method(method)
    _check_given(found, settings)
    if bias not in ("zero", "keep"):
        raise ValueError(f"bias must be 'zero' or 'keep', got {bias!r}")
    if not isinstance(module, nn.Module):
        raise ValueError(f"module must be a torch.nn.Module, got {type(module).__name__}")
    choices = _choices(found, settings, layers or {})

    connections = pair(module, example, time=time)
    network = getattr(module, "_orig_mod", module)
    modules = {name or type(m).__name__: m for name, m in network.named_modules()}
    plans = _plans(connections, found, settings, choices, modules)
    fitted = [p for p in plans if p.method is not None and p.method.data_driven]
    if fitted:
        if any(plan.settings != fitted[0].settings for plan in fitted):
            raise ValueError("layers: 'lsuv' needs one tolerance and iterations for all layers")
        lsuv.check(module, [p.connection for p in fitted], example, **fitted[0].settings)
    for plan in plans:
        if plan.method is not None:
            check_generator(generator, plan.connection.weight)

    drawn = _unique(plans)
    state = None if generator is None else generator.get_state()
    before = _copies(plans) if fitted else {}
    global_state = torch.get_rng_state()
    try:
        with torch.no_grad():
            for plan in drawn:
                plan.draw_(generator, bias)
        if fitted and example is not None:
            lsuv.rescale_(
                module, [p.connection for p in fitted], example, time=time, **fitted[0].settings
            )
    except BaseException:
        with torch.no_grad():
            for parameter, value in before.items():
                parameter.copy_(value)
        if generator is not None and state is not None:
            generator.set_state(state)
        torch.set_rng_state(global_state)
        raise
    for plan in plans:
        for name, surrogate in plan.surrogates.items():
            setattr(modules[name], "surrogate", surrogate)  # noqa: B010
    return Report(found.name, found.source, tuple(_rows(plans, found)))


# --- What is asked for ----------------------------------------------------------------------------


@dataclass
class _Plan:
    """What happens to one weight; without a method it stays as it is."""

    connection: Connection
    method: Method | None = None
    settings: dict[str, Any] = field(default_factory=dict)  # of `Method.gain`
    distribution: str = ""
    gain: float | None = None
    mean: float = 0.0
    why: str = ""  # why it stays as it is
    remark: str = ""
    surrogates: Mapping[str, Surrogate] = field(default_factory=dict)
    rate: float | None = None  # of what it drives, if the method says it with the plan

    def draw_(self, generator: torch.Generator | None, bias: str) -> None:
        assert self.method is not None
        weight = self.connection.weight
        # An orthonormal weight has the gain of its shape; the data find the scale otherwise.
        value = 1.0 if self.gain is None else self.gain
        draw_(weight, value, self.distribution, generator, mean=self.mean)
        self.method.finish_(self.connection)
        if bias == "zero" and self.connection.bias is not None:
            self.connection.bias.zero_()

    def realized_gain(self) -> float:
        """n·E[w²] as drawn, measured where no formula gives it."""
        if self.gain is not None:
            return self.gain
        weight = self.connection.parameter.detach().double()
        return self.connection.fan_in * float(weight.square().mean())


@dataclass(frozen=True)
class _Choice:
    """An entry of `layers`; no method: leave the weight as it is."""

    method: Method | None
    settings: Mapping[str, Any]


def _method(name: str) -> Method:
    if name not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {name!r}")
    return METHODS[name]


def _check_given(method: Method, settings: Mapping[str, Any]) -> None:
    known = (*method.given, "distribution") if method.free else method.given
    if "distribution" in settings:
        method.chosen(settings["distribution"])
    method.check_settings(settings, known)


def _choices(
    default: Method,
    settings: Mapping[str, Any],
    layers: Mapping[str, Mapping[str, Any] | str | None],
) -> dict[str, _Choice]:
    if not isinstance(layers, Mapping):
        raise ValueError(
            f'layers must be a dict such as {{"conv*": "kaiming", "head": None}}, got {layers!r}'
        )
    choices = {}
    for name, entry in layers.items():
        if entry is None:
            choices[name] = _Choice(None, {})
            continue
        if not isinstance(entry, str | Mapping):
            raise ValueError(
                f"layers[{name!r}] must be a dict of settings, the name of a method or None, "
                f"got {entry!r}"
            )
        own = {"method": entry} if isinstance(entry, str) else dict(entry)
        method = _method(own.pop("method", default.name))
        _check_given(method, own)
        choices[name] = _Choice(method, {**settings, **own} if method is default else own)
    return choices


def _plans(
    connections: list[Connection],
    default: Method,
    settings: Mapping[str, Any],
    choices: Mapping[str, _Choice],
    modules: Mapping[str, nn.Module],
) -> list[_Plan]:
    names = [connection.name for connection in connections]
    for pattern in choices:
        if pattern not in names and not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(
                f"layers: {pattern!r} matches no weight; the weights are {', '.join(names)}"
            )
    plans: list[_Plan] = []
    together: dict[int, _Choice] = {}
    for index, connection in enumerate(connections):
        matching = [p for p in choices if fnmatchcase(connection.name, p)]
        name = connection.name if connection.name in choices else next(iter(matching), None)
        choice = _Choice(default, settings) if name is None else choices[name]
        if choice.method is None:
            plans.append(_Plan(connection, why="left as it is, as asked"))
        elif not connection.drives and name != connection.name:
            why = "" if connection.note.startswith("not executed") else "drives no spiking layer"
            plans.append(_Plan(connection, why=why and f"left as it is: {why}"))
        elif choice.method.network is not None:
            together[index] = choice
            plans.append(_Plan(connection))
        else:
            plans.append(_plan(connection, choice.method, choice.settings))
    for index, plan in _arranged(connections, together, modules):
        plans[index] = plan
    return plans


def _arranged(
    connections: list[Connection],
    together: Mapping[int, _Choice],
    modules: Mapping[str, nn.Module],
) -> Iterator[tuple[int, _Plan]]:
    """Plans of the weights that a method draws in view of each other."""
    for method in dict.fromkeys(choice.method for choice in together.values()):
        assert method is not None and method.network is not None
        indices = [index for index, choice in together.items() if choice.method is method]
        given = [dict(together[index].settings) for index in indices]
        laws = [method.chosen(settings.pop("distribution", None)) for settings in given]
        own = [connections[index] for index in indices]
        found = method.network(own, given, laws, modules)
        for index, connection, law, (settings, remark, surrogates, rate) in zip(
            indices, own, laws, found, strict=True
        ):
            value, centre = method.checked_gain(settings), method.mean(**settings)
            yield (
                index,
                _Plan(
                    connection,
                    method,
                    settings,
                    law,
                    value,
                    centre,
                    remark=remark,
                    surrogates=surrogates,
                    rate=rate,
                ),
            )


def _plan(connection: Connection, method: Method, settings: Mapping[str, Any]) -> _Plan:
    given = {k: v for k, v in settings.items() if k != "distribution"}
    distribution = method.chosen(settings.get("distribution"))
    try:
        resolved = method.resolve(connection, **given)
        if method.data_driven:
            return _Plan(connection, method, resolved, distribution)
        value = method.checked_gain(resolved)
        centre = method.mean(**resolved)
    except ValueError as error:
        moment, message = connection.second_moment, str(error)
        if not connection.fed_by and moment is not None and not 0 < moment < math.inf:
            message = (
                "example must bring finite values that are not all 0 to every weight fed by data: "
                f"their mean square is {moment:g}"
            )
        raise ValueError(f"{message} (weight of {connection.name!r})") from error
    return _Plan(connection, method, resolved, distribution, value, centre)


def _unique(plans: list[_Plan]) -> list[_Plan]:
    """One plan for each weight that is drawn; refuses a shared weight with two laws."""
    first: dict[nn.Parameter, _Plan] = {}
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


def _copies(plans: list[_Plan]) -> dict[Tensor, Tensor]:
    tensors: list[Tensor] = []
    for plan in plans:
        tensors.append(plan.connection.parameter)
        if plan.connection.bias is not None:
            tensors.append(plan.connection.bias)
    return {tensor: tensor.detach().clone() for tensor in tensors}


# --- What is reported -----------------------------------------------------------------------------


def _rows(plans: list[_Plan], default: Method) -> list[Row]:
    drives = []
    for plan in plans:
        rate = plan.rate
        if rate is None and plan.method is not None and plan.connection.drives:
            rate = plan.method.rate(plan.connection, plan.settings)
        if plan.connection.drives:
            moment, _ = _data(plan)
            drives.append(Drive(plan.connection, plan.realized_gain(), rate, moment))
    activity = Activity(drives)
    return [_row(plan, activity, default) for plan in plans]


def _data(plan: _Plan) -> tuple[float, str]:
    """E[x²] of real values, and where it is from."""
    measured = plan.connection.second_moment
    given = plan.settings.get("input_second_moment")
    if given is not None and given != (1.0 if measured is None else measured):
        return float(given), ""
    if measured is not None:
        return measured, "E[x²] measured on the example"
    return 1.0, "E[x²] = 1 assumed: standardized data"


def _row(plan: _Plan, activity: Activity, default: Method) -> Row:
    connection, method = plan.connection, plan.method
    notes = [plan.why] if plan.why else []
    if method is not None and method is not default:
        notes.append(f"by {method.name}")
    if connection.note:
        notes.append(connection.note)
    threshold = probability = None
    if connection.fed_by:
        feeding = None if method is None else method.feeding(connection, plan.settings)
        if feeding is None:
            rates = [activity.rate(layer) for layer in connection.fed_by]
            moment = activity.second_moment(connection, 1.0)
            feeding = Feeding(None, sum(rates) / len(rates), moment)
        thresholds, _ = connection.feeding
        _, probability, moment = feeding
        threshold = thresholds.mean().item() if feeding.threshold is None else feeding.threshold
    else:
        moment, origin = _data(plan)
        if origin:
            notes.append(origin)
    if plan.remark:
        notes.append(plan.remark)
    if method is not None and (remark := method.remark(connection, plan.settings)):
        notes.append(remark)
    rate = None
    if connection.drives and method is not None:
        rates = [activity.rate(layer) for layer in connection.drives]
        rate = sum(rates) / len(rates)
    value = None if method is None else plan.realized_gain()
    return Row(
        connection.name,
        connection.fan_in,
        value,
        None if value is None else standard_deviation(value, connection.fan_in, plan.mean),
        ", ".join(layer.name for layer in connection.fed_by) or "data",
        threshold,
        probability,
        moment,
        ", ".join(layer.name for layer in connection.drives),
        None if rate is None or math.isnan(rate) else rate,
        "; ".join(notes),
    )
