"""The currents into a network's spiking layers while it runs, and weights rescaled on the way.

Where the current of a spiking layer is the output of one layer of weights, that layer alone is
run again when its weights have changed: what lies before it stays as it is, and what lies behind
it has not run yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from snnlib.dialects.running import Time, run
from snnlib.dialects.untouched import untouched
from snnlib.init.connection import Connection
from snnlib.init.inventory import WEIGHTS


class Currents(NamedTuple):
    """What one run of a network showed.

    Attributes:
        variances: λ² Var[i] of the current into each layer, in the order of execution.
        once: The layers that ran once.
        changed: Whether weights were rescaled on the way.
    """

    variances: dict[str, float]
    once: frozenset[str]
    changed: bool


def currents(
    network: nn.Module,
    example: Any,
    groups: Mapping[str, Sequence[Connection]],
    scales: Mapping[str, float],
    *,
    time: Time,
    once: Collection[str],
    within: Callable[[float], bool],
    rescale_: Callable[[str, float], None],
) -> Currents:
    """Run a network once, measure its currents and rescale weights while the values flow.

    The flow is rescaled up to the first layer whose variance is not within bounds and whose
    current cannot be made anew alone; from there on it is measured only.

    Args:
        network: The network; it is left as it was but for what `rescale_` does.
        example: One batch, as for `snnlib.dialects.running.run`.
        groups: The weights that drive each layer and may be rescaled.
        scales: λ² of each layer to measure, by name.
        time: Who loops over time.
        once: Layers known to run once; none of them rescales nothing.
        within: Whether a variance needs no rescaling.
        rescale_: Rescales the weights that drive a layer, for its variance.

    Returns:
        The variances, after rescaling.
    """
    watch = _Watch(groups, scales, once, within, rescale_)
    with ExitStack() as stack:
        stack.enter_context(untouched(network))
        stack.enter_context(torch.no_grad())
        for module in watch.weights:
            hook = module.register_forward_hook(watch.leave_weight, with_kwargs=True)
            stack.callback(hook.remove)
        for name, module in network.named_modules():
            shown = name or type(module).__name__
            if shown in scales:
                hook = module.register_forward_pre_hook(
                    lambda module, args, shown=shown: watch.enter_layer(shown, args)
                )
                stack.callback(hook.remove)
        run(network, example, time=time)
    single = frozenset(name for name, calls in watch.calls.items() if calls == 1)
    return Currents(
        {name: watch.variance(name, *sums) for name, sums in watch.sums.items()},
        single,
        watch.changed,
    )


class _Call:
    """A call of a layer of weights."""

    def __init__(self, module: nn.Module, args: Any, kwargs: Any, output: Tensor) -> None:
        self.module, self.args, self.kwargs, self.output = module, args, kwargs, output
        self.versions = self._versions()

    def _versions(self) -> list[int]:
        """They change when a tensor of the call is written into."""
        values = (*self.args, *self.kwargs.values(), self.output)
        return [value._version for value in values if isinstance(value, Tensor)]

    def made(self, current: Tensor) -> bool:
        """Whether a current is the output of this call, in another shape perhaps."""
        ours, theirs = (t.untyped_storage().data_ptr() for t in (self.output, current))
        plain = len(self.module._forward_hooks) == 1 and not self.module._forward_pre_hooks
        return plain and ours == theirs and self.versions == self._versions()

    def again(self) -> None:
        """Put in the output's place what the weights make now; the current is a view of it."""
        torch.clear_autocast_cache()  # which may hold the weights as they were
        self.output.copy_(self.module.forward(*self.args, **self.kwargs))
        self.versions = self._versions()


class _Watch:
    """Hooks of weights and spiking layers during one run."""

    def __init__(
        self,
        groups: Mapping[str, Sequence[Connection]],
        scales: Mapping[str, float],
        once: Collection[str],
        within: Callable[[float], bool],
        rescale_: Callable[[str, float], None],
    ) -> None:
        self.groups, self.scales, self.once = groups, scales, once
        self.within, self.rescale_ = within, rescale_
        self.flows = bool(once)
        self.uses = Counter(c.parameter for group in groups.values() for c in group)
        modules = dict.fromkeys(c.module for group in groups.values() for c in group)
        self.weights = [module for module in modules if isinstance(module, WEIGHTS)]
        self.made: dict[nn.Module, list[_Call]] = {}
        self.calls: Counter[str] = Counter()
        self.sums: dict[str, tuple[float, float, float]] = {}
        self.changed = False

    def leave_weight(self, module: nn.Module, args: Any, kwargs: Any, output: Tensor) -> None:
        if self.flows and not output.is_inference():
            self.made.setdefault(module, []).append(_Call(module, args, kwargs, output))

    def enter_layer(self, name: str, args: tuple[Any, ...]) -> None:
        current = next(value for value in args if isinstance(value, Tensor)).detach()
        sums = _sums(current)
        self.calls[name] += 1
        if name in self.groups:
            sums = self._settled(name, current, sums)
        count, total, square = self.sums.get(name, (0.0, 0.0, 0.0))
        self.sums[name] = (count + sums[0], total + sums[1], square + sums[2])

    def _settled(
        self, name: str, current: Tensor, sums: tuple[float, float, float]
    ) -> tuple[float, float, float]:
        """The sums of the current after as many rescalings as it takes, if it can be made anew."""
        group = self.groups[name]
        calls = [call for c in group for call in self.made.pop(c.module, [])]
        if not self.flows or name not in self.once:
            self.flows = False  # its variance, over all its calls, is known in the end only
            return sums
        alone = len(group) == len(calls) == self.uses[group[0].parameter] == 1
        while not self.within(variance := self.variance(name, *sums)):
            if not alone or not calls[0].made(current):
                self.flows = False
                return sums
            self.rescale_(name, variance)
            self.changed = True
            calls[0].again()
            sums = _sums(current)
        return sums

    def variance(self, name: str, count: float, total: float, square: float) -> float:
        """λ² Var[i], of the sums of all values and of their squares."""
        return self.scales[name] * (square / count - (total / count) ** 2)


def _sums(current: Tensor) -> tuple[float, float, float]:
    """Number of values, their sum and the sum of their squares."""
    values = current.double()
    return values.numel(), float(values.sum()), float(values.square().sum())
