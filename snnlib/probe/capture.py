r"""Watch every spiking layer of a running network, ours or foreign, without changing it.

Of our layers the probe sees the trajectory itself. Of foreign ones it sees the current that goes
in and the spikes that come out; the potential between them is the recursion in normal form

    c[t] = κ c[t-1] + i[t],    u[t] = carry(u[t-1], x[t-1]) + λ ((1 - d) c[t] + d c[t-1]),

driven by what was seen (`snnlib.dialects.Spiking`), and it counts only if it crosses the threshold
exactly where the layer spiked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from snnlib.dialects import Spiking
from snnlib.dialects.declaring import hint
from snnlib.dialects.reading import form_of
from snnlib.dialects.running import Time, resolve_time, run
from snnlib.dialects.untouched import untouched
from snnlib.resets import RULES

__all__ = ["Entry", "Potential", "Visit", "observe"]


@dataclass
class Entry:
    """One spiking layer at one place of the network: the second use of a module is "name#2".

    Attributes:
        name: Qualified name of the module, numbered from its second use on.
        module: The module.
        spiking: Its normal form.
        steps: Number of steps seen so far.
        why: Why its potential is not known; empty if it is.
        inner: Whether its current is a product with its own input weights, seen inside of it.
        fed: Of the last block of steps, what enters where recurrent weights of its own add to it.
    """

    name: str
    module: nn.Module
    spiking: Spiking
    steps: int = 0
    why: str = ""
    inner: bool = False
    fed: Tensor | None = field(default=None, repr=False)
    potential: Potential | None = field(default=None, repr=False)


# visit(entry, current, membrane, spikes): a block [t, batch, ...] of successive steps; the
# membrane is None where it is not known, the current where the layer has weights of its own.
Visit: TypeAlias = Callable[[Entry, Tensor | None, Tensor | None, Tensor], None]
# branch(entry, first_step, current) -> the tensor that goes into the layer in its place
Branch: TypeAlias = Callable[[Entry, int, Tensor], Tensor]


def observe(
    network: nn.Module,
    batch: Any,
    *,
    time: Time = "auto",
    visit: Visit,
    branch: Branch | None = None,
    output: Callable[[Entry, int, Tensor], None] | None = None,
    then: Callable[[Any], None] | None = None,
) -> list[Entry]:
    """Run a network once and show every spiking layer's currents, potentials and spikes.

    Args:
        network: Any module; it is left as it was.
        batch: Its input, see `snnlib.dialects.running.run`.
        time: Who loops over time, likewise.
        visit: Called with each block of steps of each layer.
        branch: What goes into a layer instead of a current, for derivatives.
        output: Called with a layer's own output (with the graph).
        then: Called with the network's output before anything is put back.

    Returns:
        The layers in the order in which they first ran.

    Raises:
        ValueError: If no spiking layer runs, or it is not clear who loops over time.
    """
    watch = _Watch(visit, branch, output)
    with untouched(network) as module:
        time = resolve_time(module, batch, time)
        with watch.attached(module, stepwise=time == "outside"):
            result = run(module, batch, time=time)
        if not watch.entries:
            raise ValueError(
                "network must run at least one spiking layer (of snnlib.neurons, snnTorch, "
                f"SpikingJelly or Norse), got {type(network).__name__}: {hint(module)}"
            )
        if then is not None:
            then(result)
    return watch.entries


class _Watch:
    def __init__(
        self,
        visit: Visit,
        branch: Branch | None,
        output: Callable[[Entry, int, Tensor], None] | None,
    ) -> None:
        self.visit, self.branch, self.output = visit, branch, output
        self.entries: list[Entry] = []
        self.places: dict[tuple[nn.Module, int], Entry] = {}
        self.calls: Counter[nn.Module] = Counter()  # within one step, or one call of the network
        self.inner: dict[nn.Module, Tensor] = {}  # last output of a layer's own recurrent module

    @contextmanager
    def attached(self, network: nn.Module, *, stepwise: bool) -> Iterator[None]:
        with ExitStack() as stack:
            if stepwise:
                hook = network.register_forward_pre_hook(lambda *_: self.calls.clear())
                stack.callback(hook.remove)
            for name, module in network.named_modules():
                spiking = form_of(module)
                if spiking is None:
                    continue
                name = name or type(module).__name__
                if spiking.library == "snnlib":
                    stack.enter_context(self._traced(name, module, spiking))
                else:
                    self._hooked(stack, name, module, spiking, stepwise)
            yield

    # --- ours: the trajectory itself

    @contextmanager
    def _traced(self, name: str, module: nn.Module, spiking: Spiking) -> Iterator[None]:
        """Send every call of the layer's `trace` through here."""
        own = vars(module).get("trace")
        trace: Callable[[Tensor], Any] = module.trace  # type: ignore[assignment]

        def seen(current: Tensor) -> Any:
            entry = self._entry(name, module, spiking)
            if self.branch is not None:
                current = self.branch(entry, entry.steps, current)
            result = trace(current)
            entry.fed = current.detach() if spiking.recurrent else None
            self.visit(entry, current, result.membrane, result.spikes)
            if self.output is not None:
                self.output(entry, entry.steps, result.spikes)
            entry.steps += current.shape[0]
            return result

        try:
            vars(module)["trace"] = seen  # on the instance, where it hides the class's method
            yield
        finally:
            vars(module).pop("trace", None)
            if own is not None:
                vars(module)["trace"] = own

    def _entry(self, name: str, module: nn.Module, spiking: Spiking, again: bool = True) -> Entry:
        """The place of this call: the k-th within a step; `again`: every call is a new place."""
        self.calls[module] += 1
        count = self.calls[module] if again else 1
        if (module, count) not in self.places:
            shown = name if count == 1 else f"{name}#{count}"
            self.places[module, count] = entry = Entry(shown, module, spiking)
            entry.potential = Potential(spiking)
            self.entries.append(entry)
        return self.places[module, count]

    # --- foreign: what goes in and what comes out

    def _hooked(
        self, stack: ExitStack, name: str, module: nn.Module, spiking: Spiking, stepwise: bool
    ) -> None:
        # In a loop inside the network a single-step layer's next call is its next step.
        again = stepwise or spiking.sequence
        running: list[tuple[Entry, Tensor]] = []
        modes: list[_Products] = []

        def close() -> None:  # what an error inside of the layer has left open
            while modes:
                modes.pop().__exit__(None, None, None)

        stack.callback(close)
        recurrent = getattr(module, "recurrent", None)
        if spiking.recurrent and isinstance(recurrent, nn.Module):
            hook = recurrent.register_forward_hook(
                lambda _, args, made: self.inner.__setitem__(module, made)
            )
            stack.callback(hook.remove)

        def enter(_: nn.Module, args: Any, kwargs: Any) -> Any:
            entry = self._entry(name, module, spiking, again)
            place = next((k for k, a in enumerate(args) if isinstance(a, Tensor)), None)
            if place is None:
                raise ValueError(
                    f"{name!r} must get its current as a positional tensor to be probed"
                )
            current = args[place]
            own = getattr(module, "input_weights", None)
            if self.branch is not None and isinstance(own, Tensor):
                entry.inner = True
                modes.append(_Products(own, self.branch, entry))
                modes[-1].__enter__()
            elif self.branch is not None:
                current = self.branch(entry, entry.steps, current)
                args = (*args[:place], current, *args[place + 1 :])
            running.append((entry, current))
            return args, kwargs

        def leave(_: nn.Module, args: Any, made: Any) -> None:
            entry, current = running.pop()
            if entry.inner:
                modes.pop().__exit__(None, None, None)
            spikes = next(leaf for leaf in tree_leaves(made) if isinstance(leaf, Tensor))
            if self.output is not None:
                self.output(entry, entry.steps, spikes)
            with torch.no_grad():
                block = [current.detach(), spikes.detach()]
                if not spiking.sequence:
                    block = [value[None] for value in block]
                self._show(entry, block[0], block[1], self.inner.pop(module, None))
            entry.steps += block[1].shape[0]

        stack.callback(module.register_forward_pre_hook(enter, with_kwargs=True).remove)
        stack.callback(module.register_forward_hook(leave).remove)

    def _show(self, entry: Entry, given: Tensor, spikes: Tensor, inner: Tensor | None) -> None:
        potential = entry.potential
        assert potential is not None
        fired = (spikes != 0).to(spikes.dtype)
        current, entry.fed = potential.current(entry.module, given, spikes, inner)
        membrane = None
        if not entry.why:
            if current is None:
                entry.why = entry.spiking.why or "its current is made inside the module"
            else:
                membrane, entry.why = potential.run(current, fired)
        self.visit(entry, current, membrane, fired)


class _Products(TorchFunctionMode):
    """Branches off the product of a layer's input with its own weights: its current."""

    def __init__(self, weight: Tensor, branch: Branch, entry: Entry) -> None:
        super().__init__()
        self.weight, self.branch, self.entry = weight, branch, entry
        self.steps = entry.steps

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        if func is functional.linear and args[1] is self.weight:
            made = self.branch(self.entry, self.steps, made)
            self.steps += 1
        return made


class Potential:
    """The recursion of one layer, driven by the currents and spikes that were seen.

    Args:
        spiking: The layer's normal form.
    """

    def __init__(self, spiking: Spiking) -> None:
        self.spiking = spiking
        self.synapse: Tensor | None = None
        self.carried: tuple[Tensor, Tensor] | None = None
        self.before: Tensor | None = None  # what the layer sent in the step before
        self.largest = 0.0

    def current(
        self, module: Any, given: Tensor, spikes: Tensor, inner: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """What charges the neurons, and of that what recurrent weights of their own do not add."""
        if not self.spiking.recurrent:
            return (given if given.shape == spikes.shape else None), None
        if inner is not None and inner.shape == given.shape[1:]:
            return given + inner, given
        weights = [getattr(module, f"{kind}_weights", None) for kind in ("input", "recurrent")]
        if not all(isinstance(weight, Tensor) for weight in weights):
            return None, None
        if self.before is None:
            self.before = torch.zeros_like(spikes[0])
        previous = torch.cat([self.before[None], spikes[:-1]])
        self.before = spikes[-1]
        fed = functional.linear(given, weights[0])  # type: ignore[arg-type]
        return fed + functional.linear(previous, weights[1]), fed  # type: ignore[arg-type]

    def run(self, current: Tensor, fired: Tensor) -> tuple[Tensor | None, str]:
        """Potentials of a block of steps, or why they cannot be told."""
        form = self.spiking
        if current.dtype in (torch.float16, torch.bfloat16):
            current, fired = current.float(), fired.float()
        threshold, leak, gain = (
            value.to(current) for value in (form.threshold, form.leak, form.input_gain)
        )
        unknown = bool(torch.isnan(threshold).any() | torch.isnan(leak).any())
        if unknown or form.reset not in (*RULES, "zero_with_input"):
            return None, form.why or f"its reset {form.reset!r} is not known here"
        carry = RULES["zero" if form.reset == "zero_with_input" else form.reset].carry
        rows = []
        for i, x in zip(current, fired, strict=True):
            earlier = torch.zeros_like(i) if self.synapse is None else self.synapse
            self.synapse = i if form.synapse is None else form.synapse.to(i) * earlier + i
            u = gain * ((1 - form.delay) * self.synapse + form.delay * earlier)
            if self.carried is not None and self.carried[0].shape == u.shape:
                if form.reset == "zero_with_input":
                    u = u * (1 - self.carried[1])
                u = carry(*self.carried, threshold, leak) + u
            self.carried = (u, x)
            rows.append(u)
        membrane = torch.stack(rows)
        finite = membrane[torch.isfinite(membrane)]
        if finite.numel():
            self.largest = max(self.largest, float(finite.abs().max()))
        above = membrane >= threshold if form.fires_at_threshold else membrane > threshold
        near = 1e-4 * (threshold.abs() + self.largest)
        wrong = (above != (fired != 0)) & ((membrane - threshold).abs() > near)
        wrong &= torch.isfinite(membrane)
        if bool(wrong.any()):
            share = wrong.double().mean().item()
            reason = form.why or "its recursion, driven by the currents it got, spikes elsewhere"
            return None, f"{reason} ({share:.2g} of its spikes differ)"
        return membrane, ""
