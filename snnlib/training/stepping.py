"""Any network as a function of a batch: who loops over time, what is reset, which output counts."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from snnlib.dialects.reading import read
from snnlib.dialects.running import Time, resolve_time, run
from snnlib.dialects.untouched import untouched

__all__ = ["Output", "Stepper"]

Output = Callable[[Any], Tensor]


class Stepper:
    """Runs a network from rest over all time steps of a batch.

    Networks of `snnlib.neurons` are called once. Others are run by `snnlib.dialects.running.run`,
    at rest before each batch, with the loop over time where they need it.

    Args:
        network: Any module.
        time: Who loops over time.
        output: Picks the tensor that counts out of what the network returns; None takes the first.

    Raises:
        ValueError: If `time` or `output` is not known.
    """

    def __init__(
        self, network: nn.Module, *, time: Time = "auto", output: Output | None = None
    ) -> None:
        if time not in ("auto", "inside", "outside"):
            raise ValueError(f"time must be 'auto', 'inside' or 'outside', got {time!r}")
        if output is not None and not callable(output):
            raise ValueError(
                "output must be None or a function of what the network returns, such as "
                f"lambda result: result[1], got {output!r}"
            )
        self.network, self.output, self.time = network, output, time
        forms = [form for module in network.modules() if (form := read(module)) is not None]
        ours = bool(forms) and all(f.library == "snnlib" and f.sequence for f in forms)
        self.plain = time != "outside" and (ours or not list(network.parameters()))
        self.checked = False

    def __call__(self, current: Tensor, targets: Tensor) -> Tensor:
        """Run a batch.

        Args:
            current: [T, batch, features...], or what the network takes where it makes its steps.
            targets: [batch] or [batch, T].

        Returns:
            [T, batch, classes].

        Raises:
            ValueError: If the network does not run on it, remembers the batch before, or its
                output does not belong to the targets.
        """
        if not self.checked and not self.plain:
            self._check(current)
        # The first run says what is wrong with a batch; ours are called as they are afterwards.
        alone = self.plain and self.checked
        run_alone = self.network if alone else partial(run, self.network, time=self.time)
        output = self._picked(run_alone(current))
        if output.dim() == 2 and len(output) == len(targets):
            output = output[None]  # summed over time by the network
        if output.dim() != 3 or output.shape[1] != len(targets):
            raise ValueError(self._shapes(output, current, targets))
        if not self.checked and targets.numel() and int(targets.max()) >= output.shape[-1]:
            raise ValueError(
                f"network must have an output for every class, got {output.shape[-1]} outputs and "
                f"the target {int(targets.max())}"
            )
        self.checked = True
        return output

    def _check(self, current: Tensor) -> None:
        """Find who loops over time, and refuse a network that nothing puts to rest."""
        self.time = resolve_time(self.network, current, self.time)
        with ExitStack() as stack:
            network = stack.enter_context(untouched(self.network))
            stack.enter_context(torch.no_grad())
            network.eval()
            found = []
            for _ in range(2):
                torch.manual_seed(0)  # untouched puts the random state back
                found.append(tree_leaves(run(network, current, time=self.time)))
        for one, two in zip(*found, strict=True):
            if isinstance(one, Tensor) and not torch.allclose(one, two, equal_nan=True):
                raise ValueError(
                    "network must start every batch at rest, but its output changes when the same "
                    "batch is run again: it remembers its last call in a way that is not known "
                    "here; reset it at the start of its forward, as snnTorch's reset_mem() and "
                    "SpikingJelly's functional.reset_net(network) do"
                )

    def _picked(self, result: Any) -> Tensor:
        if self.output is not None:
            result = self.output(result)
        elif not isinstance(result, Tensor):
            result = next((leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)), None)
        if not isinstance(result, Tensor) or not result.is_floating_point():
            raise ValueError(
                "network must return a floating-point tensor [T, batch, classes], or output= must "
                f"pick it out of what the network returns, got {type(result).__name__}"
            )
        return result

    def _shapes(self, output: Tensor, current: Tensor, targets: Tensor) -> str:
        """What is wrong with the shape of an output."""
        text = (
            f"network must return [T, batch, classes] or [batch, classes], got "
            f"{list(output.shape)} for an input {list(current.shape)} and {len(targets)} targets"
        )
        if output.dim() > 3:
            text += '; if it makes its time steps itself, pass encoding="none"'
        elif output.dim() == 3 and output.shape[0] == len(targets):
            text += "; if its output has the batch first, pass output=lambda y: y.transpose(0, 1)"
        return text
