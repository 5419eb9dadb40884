"""One call for a whole network: pair, plan, draw, report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from snnlib._progress import check_progress, shown, stage
from snnlib.dialects.declaring import Reader, declared
from snnlib.dialects.running import Time
from snnlib.init.drawing import draw_plans_
from snnlib.init.pairing import pair
from snnlib.init.planning import check_given, choices_of, plans_of
from snnlib.init.readout import readouts
from snnlib.init.recommended import draw_recommended_
from snnlib.init.registry import method_named
from snnlib.init.report import Report, report
from snnlib.init.scaling import check_choice, check_norms, scale_norms_


def initialize_(
    module: nn.Module,
    method: str | None = None,
    *,
    example: Tensor | tuple[Any, ...] | None = None,
    generator: torch.Generator | None = None,
    bias: Literal["zero", "keep"] = "zero",
    layers: Mapping[str, Mapping[str, Any] | str | None] | None = None,
    readout: Literal["keep", "draw"] = "keep",
    time: Time = "auto",
    norms: Literal["keep", "scale"] = "keep",
    neurons: Mapping[type[nn.Module], Reader] | None = None,
    progress: bool = True,
    **settings: Any,
) -> Report:
    r"""Draw all weights of a network in place, each for the spiking layers around it.

    Without a method it does what trains best in the book's suite of ordinary networks: it runs the
    example forward and backward, leaves a network alone whose gradient reaches its weights, and
    says so; one that cannot learn, or has two silent layers in a row, is drawn by "micheli2024"
    ("rossbroich2022" behind synapses), what is then still silent is scaled, and sharp surrogates
    of our layers are widened (`snnlib.init.recommended`).

    Each weight of a linear layer, a convolution or a recurrent layer is paired with the spiking
    layer that feeds it, whose threshold sets the firing probability P(u > θ), and with the one it
    drives, whose threshold, leak and input gain set what the weight must do; ours or snnTorch's,
    SpikingJelly's or Norse's. A weight fed by real values uses E[x²] of what reaches it when
    `example` runs; without an example the data count as standardized, E[x²] = 1.

    The weights of the output layer stay as they are: those that drive no spiking layer, and those
    in front of a last spiking layer, whose spikes are only counted or whose potential is read. If
    no spike would be counted, they are scaled until the layer fires at the rate 0.1. Frozen
    weights stay too. The report says so. Where max pooling of the currents makes a layer fire at
    more than 0.9 on the example, its bias takes the mean away.

    Without `example` weights are paired by the order of registration, where that leaves no doubt;
    with it, by following the values through one run (which leaves buffers, modes and torch's
    random state as they were).

    Args:
        module: A network of weights and spiking layers.
        method: A name in `METHODS`; None asks the network, and needs an example.
        example: One batch of input, [T, batch, ...] for the networks of `snnlib.networks`, or a
            tuple of positional arguments; None pairs by registration. "lsuv" needs one.
        generator: Random numbers; None is torch's global generator.
        bias: "zero" sets the biases of the drawn layers to 0, "keep" leaves them.
        layers: Exceptions, by the name of a layer in the report or a pattern of names (`"conv*"`):
            settings for it, which may hold a "method" of its own; the name of a method; or None,
            which leaves it as it is. A name goes before a pattern, an earlier pattern before a
            later one. A readout or a frozen weight is drawn if it is named itself.
        readout: "keep" leaves the weights in front of a last spiking layer, "draw" draws them as
            those of the others.
        time: Who loops over time: "inside" the network, "outside" the caller, "auto"; see
            `snnlib.dialects.running.run`.
        norms: A batch, layer or group norm between weights and neurons takes the weights' scale
            away. "keep" leaves it and says so; "scale" gives its own scale the standard deviation
            √(G·E[x²]) that the method wants for the currents, and its shift 0.
        neurons: What neurons of your own are, from their class to a reader, see
            `snnlib.dialects.declare`, which says it once for all. Where a neuron's input gain is
            not known it is read off its responses, and the report says so.
        progress: Whether a call that takes longer than some seconds says on the standard error
            what it is doing.
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
            `iterations` (10); "balanced" with `steps`, `rate` (0.2) and `coherence`
            (0.1); `distribution` ("normal", "uniform", "bigamma") for "glorot", "kaiming",
            "lecun", "orthogonal", "herranz2022", "micheli2024", "ikun2024", "mean_field" and
            "balanced".

    Returns:
        One row per weight: layer, fan-in, gain, standard deviation, what feeds it, what it drives,
        and the predicted rate there: the one that the method aims at ("rossbroich2022": Q(ξ) of the
        potential without reset, "spikeinit2026" and "mean_field": their rate, "lsuv": Q(θ)), else
        P(u > θ) at the first step that the input reaches, with Var[u] = λ² Σ G E[x²] from layer to
        layer; "balanced" adds the size and the coherence of gradients there, the surrogate, the
        learning rate (`Report.groups` hands it to Adam) and how much of what tells inputs apart is
        left. Prints as a table.

    Raises:
        ValueError: If the method, a setting or `bias` is unknown, a setting is infeasible, a name
            in `layers` matches nothing, a weight is empty, no weight or no spiking layer is found,
            the order of registration is ambiguous, two layers that share a weight ask for
            different laws, or the generator lives on another device. Then nothing was changed.

    Source: Micheli et al. 2024, Eq. 10, and the docstring of each method's file.

    Example:
        >>> from snnlib.neurons import LIF
        >>> network = nn.Sequential(
        ...     LIF(threshold=0.8), nn.Linear(400, 300), LIF(), nn.Linear(300, 10)
        ... )
        >>> report = initialize_(network, "micheli2024", generator=torch.Generator().manual_seed(0))
        >>> print(report)
        micheli2024 (Micheli et al. 2024, Eq. 10)
        layer  fan-in  gain     std  fed by  threshold  P(u > θ)   E[x²]  drives    rate  note
        1         400  4.72  0.1086  0             0.8    0.2119  0.2119  2       0.1587
        3         300     –       –  2               1    0.1587  0.1587               –  left as it
        is: drives no spiking layer
        >>> expected = (4.72 / 400) ** 0.5
        >>> abs(network[1].weight.std().item() / expected - 1) < 5 * (2 * 400 * 300) ** -0.5
        True
    """
    if not isinstance(module, nn.Module):
        raise ValueError(
            f"module must be a torch.nn.Module, got {type(module).__name__} (the network comes "
            "first)"
        )
    found = None if method is None else method_named(method)
    if found is not None:
        check_given(found, settings)
    elif settings or example is None or readout != "keep" or norms != "keep":
        raise ValueError(
            "method must be named where settings, readout='draw' or norms='scale' are given, and "
            "without an "
            "example: initialize_(module, example=batch) asks the network what it needs"
        )
    _one_of("bias", bias, "zero", "keep")
    _one_of("readout", readout, "keep", "draw")
    check_choice(norms, example)
    check_progress(progress)
    choices = {} if found is None else choices_of(found, settings, layers or {})

    with declared(neurons), shown("initialize_", progress):
        stage("following values from weights to neurons")
        connections = pair(module, example, time=time)
        stage("looking for the output layer")
        ends = readouts(module, connections, example if readout == "keep" else None, time=time)
        if readout == "draw":
            ends = {name: own for name, own in ends.items() if own.layer is None}
        if found is None:
            return draw_recommended_(
                module,
                connections,
                ends,
                example=example,
                generator=generator,
                bias=bias,
                layers=layers,
                time=time,
            )
        stage("planning")
        plans = plans_of(connections, found, settings, choices, ends, norms)
        if norms == "scale":
            check_norms(plans)
        draw_plans_(module, plans, example=example, generator=generator, bias=bias, time=time)
        if norms == "scale":
            scale_norms_(plans)
        return report(plans, found)


def _one_of(name: str, given: str, *words: str) -> None:
    if given not in words:
        raise ValueError(f"{name} must be {' or '.join(map(repr, words))}, got {given!r}")
