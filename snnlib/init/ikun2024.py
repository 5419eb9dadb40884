r"""IKUN, Chang et al. 2024: the surrogate derivative in the variance of the weights.

At the first step a layer with n inputs x, weights of mean zero and m outputs has

    forward    Var[u] = λ² n Var[w] E[x²],
    backward   Var[∂L/∂u] below = λ² m Var[w] E[σ'(u − θ)²] Var[∂L/∂u] above,

with u and θ of the neurons that send x. IKUN prints Var[w] = α/(n Var[x] E[σ'²]), which is neither.
So there are three choices of `balance`, and `alpha` says what is balanced:

    "forward"    G = α / E[x²]            every layer has Var[u] = α,
    "backward"   G = α n / (m E[σ'²])     a layer multiplies the variance of the gradient by α,
    "printed"    G = α / (Var[x] E[σ'²]),

all divided by λ²; "forward" at α = 1 is Eq. 10 of Micheli et al. 2024. The moments are those of
u ~ N(0, Var[u]) with the Var[u] that the gains themselves produce.

Source: Chang, Wang, Yang, IKUN: Initialization to keep SNN training and generalization great with
surrogate-stable variance, 2024, known here from a summary, which does not define α. The two
conditions are derived in the book.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr
from torch import Tensor, nn

from snnlib.init.method import (
    Arranged,
    Feeding,
    Method,
    check_positive,
    draw_,
    driven_neuron,
    sharing,
    with_the_network,
    without_synapse,
)
from snnlib.init.pairing import Connection, Layer, fans
from snnlib.surrogate import Surrogate

SOURCE = "Chang et al. 2024, from a summary; both conditions derived in the book"

Array: TypeAlias = NDArray[np.float64]
Balance: TypeAlias = Literal["forward", "backward", "printed"]
BALANCES: tuple[str, ...] = get_args(Balance)
STEP = 0.25  # of ln Var[u], in the search for brackets


class Moments(NamedTuple):
    """What a layer of neurons sends forward and lets pass backward.

    Attributes:
        second: E[x²] of what it sends.
        variance: Var[x].
        slope: E[(dx/du)²] under the surrogate derivative; NaN without one.
    """

    second: float
    variance: float
    slope: float = math.nan


class _Neurons(NamedTuple):
    """A layer of neurons of one surrogate; hashable."""

    kinds: tuple[tuple[float, float, float], ...]  # (threshold, height, share of the neurons)
    surrogate: Surrogate | None
    relative: bool  # the surrogate's argument is u/θ − 1

    @property
    def columns(self) -> tuple[Array, Array, Array]:
        """Thresholds, heights and shares."""
        threshold, height, share = np.array(self.kinds).T
        return threshold, height, share

    def moments(self, variance: float) -> Moments:
        """Under u ~ N(0, variance)."""
        return _moments(self, variance)

    def spread(self, variance: float) -> float:
        """The slope d ln E[x²] / d ln Var[u] of the variance map at its fixed point."""
        threshold, height, share = self.columns
        z = threshold / math.sqrt(variance)
        if z.min() > 30:
            return math.inf
        density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
        squares = share * height**2
        return float(squares @ (z * density) / (2 * squares @ ndtr(-z)))

    @property
    def unit(self) -> float:
        """A potential of the size of the thresholds."""
        return max(float(self.columns[0].max()), 1e-3)


@lru_cache(maxsize=4096)
def _moments(neurons: _Neurons, variance: float) -> Moments:
    threshold, height, share = neurons.columns
    std = math.sqrt(variance)
    fires = ndtr(-threshold / std)
    second, mean = float(share @ (height**2 * fires)), float(share @ (height * fires))
    slope = math.nan
    if neurons.surrogate is not None:
        unit = threshold if neurons.relative else np.ones_like(threshold)
        squares = np.asarray(neurons.surrogate.moment(2, threshold / unit, 0.0, std / unit))
        slope = float(share @ ((height / unit) ** 2 * squares))
    return Moments(second, second - mean**2, slope)


def steady_variance(
    *,
    balance: Balance = "forward",
    alpha: float = 1.0,
    surrogate: Surrogate | None = None,
    threshold: float | Tensor = 1.0,
    height: float | Tensor = 1.0,
    relative: bool = False,
) -> float:
    r"""Var[u] = q that every layer of a deep network of equal layers keeps.

        "forward"    q = α
        "backward"   q E[σ'(u − θ)²] = α E[x²]                 u ~ N(0, q)
        "printed"    q Var[x] E[σ'(u − θ)²] = α E[x²]

    "printed" has one solution for every α. "backward" has one that is stable, or none: along the
    living networks (the stable fixed points of the variance map) the gradient is multiplied by at
    least a number that the surrogate sets.

    Args:
        balance: What is kept.
        alpha: α > 0, see the gain.
        surrogate: σ' of the neurons; "forward" needs none.
        threshold: θ >= 0, a number or one per neuron.
        height: What one spike sends on.
        relative: Whether σ' is taken of u/θ − 1 instead of u − θ.

    Returns:
        q.

    Raises:
        ValueError: If an argument is outside its range, or the surrogate leaves no living network
            that keeps the gradient; then with the feasible range.

    Source: derived in the book.

    Example:
        The rectangle's E[σ'²] is the probability of its window.

        >>> from scipy.stats import norm
        >>> box = Surrogate("rectangular", sharpness=2.0)
        >>> q = steady_variance(balance="backward", surrogate=box)
        >>> window = norm.cdf(1.25 / q**0.5) - norm.cdf(0.75 / q**0.5)
        >>> bool(abs(q * window / norm.sf(1 / q**0.5) - 1) < 1e-9)
        True
    """
    _check_balance(balance, surrogate)
    neurons = _neurons(threshold, height, surrogate, relative)
    return _steady(neurons, balance, check_positive("alpha", alpha))


def gain(
    *,
    balance: Balance = "forward",
    alpha: float = 1.0,
    surrogate: Surrogate | None = None,
    threshold: float | Tensor = 1.0,
    height: float | Tensor = 1.0,
    relative: bool = False,
    variance: float | None = None,
    input_gain: float = 1.0,
    fan_in: float = 1,
    fan_out: float = 1,
    input_second_moment: float | None = None,
    moments: Moments | None = None,
) -> float:
    r"""G = n·Var[w] for one of the three balances.

    Behind spikes, with u ~ N(0, Var[u]) of the neurons that send them,

        "forward"    G = α q / (λ² E[x²])
        "backward"   G = α n / (λ² m E[σ'(u − θ)²])
        "printed"    G = α / (λ² Var[x] E[σ'(u − θ)²]),

    q = 1.  Behind real values there is no σ', and the weights give the layer that they drive the
    variance that all further layers keep: G = q/(λ² E[x²]), q of `steady_variance`.

    Args:
        balance: "forward", "backward" or "printed".
        alpha: α > 0: Var[u] under "forward", the factor of the gradient's variance under
            "backward", the formula's α under "printed".
        surrogate: σ' of the neurons that feed the weight (behind real values: that it drives);
            "forward" needs none.
        threshold: θ >= 0 of the same neurons, a number or one per neuron.
        height: What one of their spikes sends on.
        relative: Whether their σ' is taken of u/θ − 1.
        variance: Var[u] of the same neurons; None is `steady_variance`, so that the gain belongs
            to the moments that it produces itself.
        input_gain: λ > 0, what the driven neuron multiplies its current with.
        fan_in: n, only its ratio to m enters, and only under "backward".
        fan_out: m, outputs that an input reaches.
        input_second_moment: E[x²] > 0 of real values that feed the weight.
        moments: Moments of what feeds the weight, in place of computed ones.

    Returns:
        The gain.

    Raises:
        ValueError: If an argument is outside its range, a surrogate is missing, no neuron ever
            fires, or no network that stays alive keeps the gradient.

    Source: Chang et al. 2024 ("printed", from a summary); the others derived in the book.

    Example:
        At the matched sharpness one gain meets both conditions.

        >>> from snnlib.meanfield import matched_sharpness
        >>> both = Surrogate("arctan", sharpness=matched_sharpness("arctan", 1.0))
        >>> round(gain(balance="forward"), 6)
        6.302974
        >>> round(gain(balance="backward", surrogate=both), 6)
        6.302974
    """
    _check_balance(balance, surrogate, needed=moments is None)
    scale = check_positive("input_gain", input_gain) ** 2
    ratio = check_positive("fan_in", fan_in) / check_positive("fan_out", fan_out)
    alpha = check_positive("alpha", alpha)
    if input_second_moment is not None:
        second = check_positive("input_second_moment", input_second_moment)
        neurons = _neurons(threshold, height, surrogate, relative)
        return _steady(neurons, balance, alpha) / (scale * max(second, 1e-300))
    if moments is None:
        neurons = _neurons(threshold, height, surrogate, relative)
        own = _steady(neurons, balance, alpha) if variance is None else variance
        moments = neurons.moments(check_positive("variance", own))
    if not moments.second > 1e-300:
        raise ValueError(
            "threshold must let some neuron fire (feasible: 0 <= threshold <= 37 standard "
            f"deviations), got {threshold!r}"
        )
    if balance == "forward":
        return alpha / (scale * moments.second)
    if not moments.slope > 1e-300:
        raise ValueError(
            "surrogate must let some gradient pass: E[σ'²] is 0 under the law of the potential, "
            f"got {surrogate!r}"
        )
    if balance == "backward":
        return alpha * ratio / (scale * moments.slope)
    return alpha / (scale * moments.variance * moments.slope)


def ikun2024_(
    weight: Tensor,
    threshold: float | Tensor = 1.0,
    generator: torch.Generator | None = None,
    *,
    balance: Balance = "forward",
    alpha: float = 1.0,
    surrogate: Surrogate | None = None,
    variance: float | None = None,
    input_gain: float = 1.0,
) -> Tensor:
    r"""Fill a weight in place from N(0, G/n), for a layer that receives spikes.

    Args:
        weight: Weight of a linear layer [out, in] or a convolution [out, in / groups, k, ...].
        threshold: θ >= 0 of the neurons that feed the weight.
        generator: Random numbers; None is torch's global generator.
        balance: "forward", "backward" or "printed", see `gain`.
        alpha: α > 0.
        surrogate: σ' of the neurons that feed the weight; "forward" needs none.
        variance: Var[u] of those neurons; None is the one that the gain itself produces.
        input_gain: λ > 0, what the driven neuron multiplies its current with.

    Returns:
        The weight.

    Raises:
        ValueError: As `gain`; and if the weight is empty or the generator lives on another device.

    Source: Chang et al. 2024 ("printed", from a summary); the others derived in the book.

    Example:
        >>> draw = torch.Generator().manual_seed(0)
        >>> s = Surrogate("sigmoid", sharpness=2.0)
        >>> weight = ikun2024_(torch.empty(400, 400), 1.0, draw, balance="backward", surrogate=s)
        >>> abs(400 * weight.var().item() / gain(balance="backward", surrogate=s) - 1) < 0.02
        True
    """
    fan_in, fan_out = fans(weight)
    value = gain(
        balance=balance,
        alpha=alpha,
        surrogate=surrogate,
        threshold=threshold,
        variance=variance,
        input_gain=input_gain,
        fan_in=fan_in,
        fan_out=fan_out,
    )
    return draw_(weight, value, "normal", generator)


# --- Checks and roots ---------------------------------------------------------------------------


def _check_balance(balance: str, surrogate: Surrogate | None, *, needed: bool = True) -> None:
    if balance not in BALANCES:
        raise ValueError(f"balance must be one of {', '.join(BALANCES)}, got {balance!r}")
    if surrogate is not None and not isinstance(surrogate, Surrogate):
        raise ValueError(f"surrogate must be a snnlib.surrogate.Surrogate, got {surrogate!r}")
    if needed and surrogate is None and balance != "forward":
        raise ValueError(
            f"surrogate is needed by balance={balance!r}: pass surrogate=snnlib.surrogate."
            "Surrogate(...), the derivative that the neurons train with "
            "(snnlib.surrogate.from_library knows those of other libraries)"
        )


def _neurons(
    threshold: float | Tensor,
    height: float | Tensor,
    surrogate: Surrogate | None,
    relative: bool,
) -> _Neurons:
    theta, size = np.broadcast_arrays(*(_flat(x) for x in (threshold, height)))
    least = "> 0 where the surrogate is relative to it" if relative else ">= 0"
    inside = theta > 0 if relative else theta >= 0
    if theta.size == 0 or not (inside & np.isfinite(theta)).all():
        raise ValueError(f"threshold must be {least} and finite, got {threshold!r}")
    if not np.isfinite(size).all() or not size.any():
        raise ValueError(f"height must be finite and not all 0, got {height!r}")
    counts = Counter(zip(theta.ravel().tolist(), size.ravel().tolist(), strict=True))
    kinds = sorted((t, h, n / theta.size) for (t, h), n in counts.items())
    return _Neurons(tuple(kinds), surrogate, relative)


def _flat(value: float | Tensor) -> Array:
    plain = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
    return np.asarray(plain, dtype=np.float64)


@lru_cache(maxsize=1024)
def _steady(neurons: _Neurons, balance: str, alpha: float) -> float:
    """The root that `steady_variance` describes."""
    if balance == "forward":
        return alpha

    def factor(log_variance: float) -> float:
        variance = math.exp(log_variance)
        own = neurons.moments(variance)
        if own.second < 1e-300:  # then Var[x] = E[x²]
            return variance * own.slope if balance == "printed" else math.inf
        share = own.variance if balance == "printed" else 1.0
        return variance * own.slope * share / own.second

    # "printed": a rising function. "backward": rising for large variances; then its largest root.
    high = 2 * math.log(neurons.unit) + 1.0
    while factor(high) <= alpha:
        high += 1.0
        if high > 600:
            raise ValueError(f"alpha must be smaller: no variance reaches it, got {alpha!r}")
    low = high - STEP
    while factor(low) > alpha and (balance == "printed" or neurons.spread(math.exp(low)) < 1):
        high, low = low, low - STEP
    if balance == "backward" and neurons.spread(math.exp(low)) >= 1:
        low = _edge(neurons, low, high)
        if not factor(low) < alpha:
            raise ValueError(_infeasible(neurons, alpha))
    return math.exp(brentq(lambda x: factor(x) - alpha, low, high, xtol=1e-14, rtol=1e-14))


def _edge(neurons: _Neurons, low: float, high: float) -> float:
    """Log of the least variance of a stable fixed point, between an unstable and a stable one."""
    while high - low > 1e-12:
        middle = (low + high) / 2
        low, high = (low, middle) if neurons.spread(math.exp(middle)) < 1 else (middle, high)
    return high


def _least_factor(neurons: _Neurons) -> float:
    """Least factor of the gradient's variance over all networks that stay alive."""
    top = 2 * math.log(neurons.unit) + 3.0
    low = top
    while low > top - 60 and neurons.spread(math.exp(low)) < 1:
        low -= STEP
    edge = _edge(neurons, low, low + STEP)
    factors = []
    for log_variance in np.linspace(edge, top, 60):
        own = neurons.moments(math.exp(log_variance))
        factors.append(math.exp(log_variance) * own.slope / own.second)
    return min(factors)


def _infeasible(neurons: _Neurons, alpha: float) -> str:
    """The error where every network that stays alive multiplies the gradient by more than α."""
    least, surrogate = _least_factor(neurons), neurons.surrogate
    assert surrogate is not None

    def excess(log_sharpness: float) -> float:
        sharper = replace(surrogate, sharpness=math.exp(log_sharpness))
        return math.log(_least_factor(neurons._replace(surrogate=sharper)) / alpha)

    low = high = math.log(surrogate.sharpness)
    while excess(high) > 0:
        low, high = high, high + 1.0
    needed = math.exp(brentq(excess, low, high, xtol=1e-6)) if low < high else surrogate.sharpness
    return (
        f"surrogate is too large around the threshold: a network that stays alive multiplies the "
        f"variance of the gradient by at least {least:.4g} per layer, alpha={alpha:g} is asked; "
        f"feasible: a sharpness above {needed:.4g} (now {surrogate.sharpness:.4g}) at dampening "
        f"{surrogate.dampening:.4g}, or alpha above {least:.4g}"
    )


# --- In a network -------------------------------------------------------------------------------


class _Walk:
    """The variance of every layer's potential, from the input on, and the gains that make it."""

    def __init__(
        self,
        connections: Sequence[Connection],
        given: Sequence[Mapping[str, Any]],
        modules: Mapping[str, nn.Module],
    ) -> None:
        self.connections, self.given, self.modules = connections, given, modules
        self._found: dict[int, tuple[Arranged, float]] = {}
        self._variance: dict[str, float] = {}
        self._into: dict[str, list[int]] = {}
        for index, connection in enumerate(connections):
            for layer in connection.drives:
                self._into.setdefault(layer.name, []).append(index)

    def variance(self, layer: Layer) -> float:
        """Var[u] at the first step; 1 where no weight of these drives (standardized data)."""
        into = self._into.get(layer.name)
        if into is None:
            return 1.0
        if layer.name not in self._variance:
            self._variance[layer.name] = math.nan  # in progress: a loop back asks for it
            total = 0.0
            for index in into:
                connection = self.connections[index]
                if not connection.recurrent:  # silent at the first step
                    arranged, second = self.arranged(index)
                    scale = driven_neuron(connection).first_gain ** 2
                    total += scale * gain(**arranged.settings) * second
            self._variance[layer.name] = total or 1.0
        known = self._variance[layer.name]
        return 1.0 if math.isnan(known) else known

    def neurons(self, layer: Layer, given: Mapping[str, Any], balance: str) -> _Neurons:
        """A layer with its surrogate, the user's before the module's own."""
        module = self.modules.get(layer.name)
        own = getattr(module, "surrogate", None)
        surrogate = given.get("surrogate", own if isinstance(own, Surrogate) else None)
        try:
            _check_balance(balance, surrogate)
        except ValueError as error:
            raise ValueError(f"{error} (layer {layer.name!r})") from error
        relative = getattr(module, "threshold_gradient", "absolute") != "absolute"
        return _neurons(layer.threshold, layer.height, surrogate, relative)

    def arranged(self, index: int) -> tuple[Arranged, float]:
        """Settings of `gain` for one weight, and E[x²] of its input."""
        if index not in self._found:
            self._found[index] = self._arrange(index)
        return self._found[index]

    def _arrange(self, index: int) -> tuple[Arranged, float]:
        connection, given = self.connections[index], self.given[index]
        balance = given.get("balance", "forward")
        alpha = given.get("alpha", 1.0)
        neuron = driven_neuron(connection) if connection.drives else None
        scale = given.get("input_gain", 1.0 if neuron is None else neuron.first_gain)
        settings: dict[str, Any] = {"balance": balance, "alpha": alpha, "input_gain": scale}
        notes = []
        if connection.fed_by:
            parts = [
                self.neurons(layer, given, balance).moments(self.variance(layer))
                for layer in connection.fed_by
            ]
            moments = Moments(*(sum(values) / len(parts) for values in zip(*parts, strict=True)))
            fan_out = _reached(connection)
            settings |= {"fan_in": connection.fan_in, "fan_out": fan_out, "moments": moments}
            second = moments.second
            if balance == "backward":
                for layer in connection.fed_by:  # refuses what cannot last
                    _steady(self.neurons(layer, given, balance), balance, alpha)
            if not math.isnan(moments.slope):
                factor = scale**2 * gain(**settings) * moments.slope * fan_out / connection.fan_in
                notes.append(f"gradient × {factor:.3g}")
        else:
            measured = connection.second_moment
            second = given.get("input_second_moment", 1.0 if measured is None else measured)
            settings["input_second_moment"] = second
            if connection.drives:
                own = self.neurons(connection.drives[0], given, balance)
                settings |= {
                    "surrogate": own.surrogate,
                    "threshold": connection.drives[0].threshold,
                    "height": connection.drives[0].height,
                    "relative": own.relative,
                }
        if connection.drives:
            variance = scale**2 * gain(**settings) * second
            notes.insert(0, f"Var[u] = {variance:.3g}")
            own = self.neurons(connection.drives[0], given, "forward")
            if variance > 0 and own.spread(variance) > 1:
                notes.append("too small to last: spikes die out in deeper layers")
        return Arranged(settings, "; ".join(notes)), second


def _reached(connection: Connection) -> float:
    """Outputs that one input reaches."""
    weight, module = connection.weight, connection.module
    outputs = weight.shape[0] / getattr(module, "groups", 1)
    stride = getattr(module, "stride", ())
    return outputs * math.prod(weight.shape[2:]) / math.prod(stride or (1,))


def _network(
    connections: Sequence[Connection],
    given: Sequence[Mapping[str, Any]],
    distributions: Sequence[str],
    modules: Mapping[str, nn.Module],
) -> list[Arranged]:
    walk, result = _Walk(connections, given, modules), []
    for index, connection in enumerate(connections):
        try:
            result.append(walk.arranged(index)[0])
        except ValueError as error:
            raise ValueError(f"{error} (weight of {connection.name!r})") from error
    return result


def _feeding(connection: Connection, settings: dict[str, Any]) -> Feeding | None:
    if not connection.fed_by:
        return None
    thresholds, heights = connection.feeding
    second = settings["moments"].second
    return Feeding(thresholds.mean().item(), second / heights.square().mean().item(), second)


def _remark(connection: Connection, settings: dict[str, Any]) -> str:
    if not connection.drives:
        return ""
    notes = [driven_neuron(connection).note, sharing(connection), without_synapse(connection)]
    return "; ".join(note for note in notes if note)


METHOD = Method(
    "ikun2024",
    SOURCE,
    gain,
    with_the_network,
    given=("balance", "alpha", "surrogate", "input_second_moment", "input_gain"),
    free=True,
    feeding=_feeding,
    remark=_remark,
    network=_network,
)
