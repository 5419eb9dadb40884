"""Run a network over all time steps, whoever holds the loop over time.

Some models loop over time themselves or are made of layers that take whole sequences; others do
one step per call and keep their state, inside or in the caller's hands. `run` makes both look
alike: a batch [T, batch, ...] in, the output of all steps out.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from snnlib.dialects.arguments import CHOOSE, arguments_of, mend
from snnlib.dialects.reading import form_of
from snnlib.dialects.untouched import at_rest, untouched

__all__ = ["Time", "resolve_time", "run"]

Time: TypeAlias = Literal["auto", "inside", "outside"]


def run(network: nn.Module, batch: Tensor | tuple[Any, ...], *, time: Time = "auto") -> Any:
    r"""Run a network from rest over all T time steps.

    With `time="outside"` the network is called as

        output[t] = network(batch[t]),   t = 0, ..., T-1,

    and a network whose `forward` has an argument `state` and returns (output, state), as Norse's
    `SequentialState`, gets the state of the step before. With `time="inside"` it is called once.
    Neurons that remember their last call (snnTorch's and SpikingJelly's) start at rest and have
    their state back afterwards.

    Args:
        network: Any module.
        batch: Its input, time-major [T, batch, ...], or a tuple of positional arguments, of which
            every tensor is time-major; with `time="inside"` whatever the network takes. Of a list
            or a dict, as a DataLoader gives them, the network gets what its `forward` takes.
        time: Who loops over time: "inside" the network, "outside" the caller, "auto": see
            `resolve_time`.

    Returns:
        The network's output, [T, batch, ...]; a tuple of such if one step returns a tuple. The
        state that a network returns beside its output is left out.

    Raises:
        ValueError: If `time` is unknown or not clear, or there is no step to run.

    Example:
        A sum over the last axis, step by step and at once:

        >>> batch = torch.arange(6.0).reshape(3, 1, 2)
        >>> layer = nn.Linear(2, 1, bias=False)
        >>> once, stepwise = (run(layer, batch, time=time) for time in ("inside", "outside"))
        >>> once.shape, bool((once - stepwise).abs().max() < 1e-6)
        (torch.Size([3, 1, 1]), True)
    """
    arguments = arguments_of(network, batch)
    with at_rest(network):
        if resolve_time(network, batch, time) == "inside":
            return _output(network, _called(network, arguments, time))
        steps = _steps(arguments)
        outputs = []
        state: dict[str, Any] = {}
        for step in range(steps):
            result = _called(network, _at(arguments, step), time, **state)
            if _stateful(network) and isinstance(result, tuple) and len(result) == 2:
                result, state = result[0], {"state": result[1]}
            outputs.append(result)
        return tree_map(lambda *values: _stacked(values), *outputs)


def resolve_time(network: nn.Module, batch: Tensor | tuple[Any, ...], time: Time = "auto") -> Time:
    """Whether one call of a network runs all time steps ("inside") or one ("outside").

    "auto" asks the spiking layers: if all take whole sequences, it is "inside". If they take
    single steps, the network runs on the first two and the first three steps of the batch, or on
    all of it where its loop needs them: one that calls a layer of weights more than once holds the
    loop itself, one that calls each of them once, or accepts a single step only, does not.

    Args:
        network: Any module.
        batch: Its input, as for `run`.
        time: "auto", or the answer.

    Returns:
        "inside" or "outside".

    Raises:
        ValueError: If `time` is unknown, the batch is no tensor or empty, or "auto" finds neither.

    Example:
        >>> from snnlib.neurons import LIF
        >>> resolve_time(nn.Sequential(nn.Linear(3, 2), LIF()), torch.zeros(5, 4, 3))
        'inside'
    """
    if time not in ("auto", "inside", "outside"):
        raise ValueError(f"time must be 'auto', 'inside' or 'outside', got {time!r}; {CHOOSE}")
    arguments = arguments_of(network, batch)
    if time != "auto":
        return time
    spiking = [found for module in network.modules() if (found := form_of(module))]
    sequences = {found.sequence for found in spiking}
    if not spiking or sequences == {True}:
        return "inside"
    try:
        two, three = (_calls(network, _first(arguments, steps)) for steps in (2, 3))
    except Exception as of_sequence:
        if _loops(network, arguments):
            return "inside"
        try:
            _calls(network, _at(arguments, 0))
        except Exception as of_step:
            what = mend(network, arguments, of_sequence, of_step) or CHOOSE
            raise ValueError(
                f"network runs neither on the batch ({_brief(of_sequence)}) nor on its first "
                f"step ({_brief(of_step)}); {what}"
            ) from of_sequence
        return "outside"
    if two != three or _repeats(two):
        return "inside"
    if len(sequences) == 2:
        raise ValueError(
            "network holds spiking layers that take whole sequences and others that take single "
            f"steps, and calls each of them once; {CHOOSE}"
        )
    return "outside"


def _called(network: nn.Module, arguments: tuple[Any, ...], time: Time, **state: Any) -> Any:
    try:
        return network(*arguments, **state)
    except Exception as error:
        whole = all(f.sequence for m in network.modules() if (f := form_of(m)))
        if whole and time != "outside" and _adds_time(network, arguments):
            raise ValueError(
                f"network makes its time steps itself and was given them ({_brief(error)}): give "
                "it the batch without a time axis, [batch, ...]; snnlib.training.fit and evaluate "
                'do so with encoding="none"'
            ) from error
        what = mend(network, arguments, error)
        if not what and isinstance(error, ValueError):
            raise  # which says what is wrong
        if not what and whole:
            raise  # there is no choice of who loops
        asked = "" if time == "auto" else f' with time="{time}"'
        raise ValueError(
            f"network does not run on the batch{asked} ({_brief(error)}): {what or CHOOSE}"
        ) from error


def _adds_time(network: nn.Module, arguments: tuple[Any, ...]) -> bool:
    """Whether it runs on one step, of which its spiking layers get several."""
    first = next((a for a in arguments if isinstance(a, Tensor)), None)
    if first is None or first.dim() < 3:
        return False
    seen: list[torch.Size] = []

    def look(module: nn.Module, args: Any) -> None:
        seen.extend(a.shape for a in args[:1] if isinstance(a, Tensor))

    with ExitStack() as stack:
        stack.enter_context(untouched(network))
        stack.enter_context(at_rest(network))
        stack.enter_context(torch.no_grad())
        for module in network.modules():
            if form_of(module):
                stack.callback(module.register_forward_pre_hook(look).remove)
        try:
            network(*_at(arguments, 0))
        except Exception:
            return False
    return bool(seen) and all(len(s) > 1 and s[1] == first.shape[1] for s in seen[:1])


def _at(arguments: tuple[Any, ...], step: int) -> tuple[Any, ...]:
    return tuple(a[step] if isinstance(a, Tensor) else a for a in arguments)


def _first(arguments: tuple[Any, ...], steps: int) -> tuple[Any, ...]:
    """The first steps of all tensors, the last one repeated if there are fewer."""
    return tuple(
        a[[min(t, a.shape[0] - 1) for t in range(steps)]] if isinstance(a, Tensor) else a
        for a in arguments
    )


def _steps(arguments: tuple[Any, ...]) -> int:
    lengths = {a.shape[0] if a.dim() else 0 for a in arguments if isinstance(a, Tensor)}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(
            "batch must hold time-major tensors [T, batch, ...] of one length T >= 1 to run step "
            f"by step, got lengths {sorted(lengths)}"
        )
    return lengths.pop()


def _calls(network: nn.Module, arguments: tuple[Any, ...]) -> Counter[nn.Module]:
    """How often each module below the network runs in one call of it."""
    calls: Counter[nn.Module] = Counter()

    def count(module: nn.Module, inputs: Any) -> None:
        calls[module] += 1

    with ExitStack() as stack:
        stack.enter_context(untouched(network))
        stack.enter_context(at_rest(network))
        stack.enter_context(torch.no_grad())
        for module in network.modules():
            stack.callback(module.register_forward_pre_hook(count).remove)
        network(*arguments)
    return calls


def _repeats(calls: Counter[nn.Module]) -> bool:
    """Whether a layer of weights ran more than once."""
    weights = [m for m in calls if any(p.dim() > 1 for p in m.parameters(recurse=False))]
    return any(calls[module] > 1 for module in weights)


def _loops(network: nn.Module, arguments: tuple[Any, ...]) -> bool:
    """Whether it runs on the whole batch, in a loop: over a number of steps of its own."""
    try:
        return _repeats(_calls(network, arguments))
    except Exception:
        return False


def _stateful(network: nn.Module) -> bool:
    if isinstance(network, nn.DataParallel | nn.parallel.DistributedDataParallel):
        network = network.module  # the wrapper passes a state on
    forward: Callable[..., Any] = network.forward
    return "state" in inspect.signature(forward).parameters


def _output(network: nn.Module, result: Any) -> Any:
    """The output without the state beside it."""
    if _stateful(network) and isinstance(result, tuple) and len(result) == 2:
        return result[0]
    return result


def _stacked(values: tuple[Any, ...]) -> Any:
    return torch.stack(values) if isinstance(values[0], Tensor) else values[-1]


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
