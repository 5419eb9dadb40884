"""A batch as the positional arguments of a network, and what to say where it does not fit."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

__all__ = ["CHOOSE", "arguments_of", "mend"]

CHOOSE = (
    'pass time="inside" if one call of the network, network(batch), runs all time steps, '
    'time="outside" if one call, network(batch[0]), runs one'
)


def arguments_of(network: Any, batch: Any) -> tuple[Any, ...]:
    """What a network is called with.

    Args:
        network: The network.
        batch: A tensor; a tuple of positional arguments; a list or a dict as a DataLoader gives
            them, of which the network gets as many as it takes, in order or by name.

    Returns:
        The arguments.

    Raises:
        ValueError: If network and batch are swapped, the batch is empty, is no tensor, or does not
            fit the network's `forward`.

    Example:
        >>> layer, x, labels = nn.Linear(3, 2), torch.zeros(5, 3), torch.zeros(5)
        >>> len(arguments_of(layer, x)), len(arguments_of(layer, [x, labels]))
        (1, 1)
    """
    if not isinstance(network, nn.Module):
        swapped = " (the model comes first)" if isinstance(batch, nn.Module) else ""
        raise ValueError(
            f"network must be a torch.nn.Module, got {type(network).__name__}{swapped}"
        )
    if isinstance(batch, Mapping):
        arguments = _by_name(network, batch)
    elif isinstance(batch, list):
        arguments = tuple(batch)
        while len(arguments) > 1 and not _fits(network, arguments):
            arguments = arguments[:-1]  # labels
    else:
        arguments = batch if isinstance(batch, tuple) else (batch,)
    for argument in arguments:
        _check(argument)
    if len(arguments) > 1 and not _fits(network, arguments):
        names = ", ".join(inspect.signature(network.forward).parameters)
        raise ValueError(
            f"batch is a tuple of {len(arguments)} positional arguments, and "
            f"{type(network).__name__}.forward({names}) does not take as many: pass the input "
            "alone, such as diagnose(model, x); labels belong into the loss, "
            "loss=lambda output: criterion(output, y)"
        )
    return arguments


def _fits(network: nn.Module, arguments: tuple[Any, ...]) -> bool:
    try:
        inspect.signature(network.forward).bind(*arguments)
    except TypeError:
        return False
    except ValueError:  # no signature
        return True
    return True


def _by_name(network: nn.Module, batch: Mapping[str, Any]) -> tuple[Any, ...]:
    """Values of a dict in the order of the arguments of `forward`."""
    parameters = inspect.signature(network.forward).parameters
    found = tuple(batch[name] for name in parameters if name in batch)
    if found:
        return found
    raise ValueError(
        f"batch is a dict with the keys {', '.join(map(repr, batch))}, and "
        f"{type(network).__name__}.forward takes {', '.join(parameters)}: pass the input, such as "
        f"batch[{next(iter(batch), 'x')!r}]"
    )


def _check(argument: Any) -> None:
    if isinstance(argument, np.ndarray):
        raise ValueError("batch must be a tensor, got a NumPy array: torch.from_numpy(batch)")
    if isinstance(argument, str | nn.Module):
        raise ValueError(f"batch must be a tensor, got {type(argument).__name__}")
    if isinstance(argument, Tensor) and (argument.dim() == 0 or argument.numel() == 0):
        raise ValueError(
            "batch must hold at least one step and one sample, [T, batch, features...], "
            f"got the shape {list(argument.shape)}"
        )


def mend(network: nn.Module, arguments: tuple[Any, ...], *errors: Exception) -> str:
    """What to change so that a network runs on a batch; empty if nothing is known.

    Args:
        network: The network.
        arguments: What it was called with.
        *errors: What it said.

    Returns:
        A sentence.

    Example:
        >>> mend(nn.Linear(2, 2), (torch.zeros(1, 2, dtype=torch.float64),))
        'the weights are torch.float32: pass batch.to(torch.float32)'
    """
    tensors = [a for a in arguments if isinstance(a, Tensor)]
    places = {p.device for p in network.parameters()}
    elsewhere = [a.device for a in tensors if a.device not in places]
    if len(places) == 1 and elsewhere:
        place = str(next(iter(places)))
        return f"the weights are on {place}, the batch on {elsewhere[0]}: pass batch.to({place!r})"
    bare = [
        name
        for name, module in network.named_modules()
        if getattr(module, "init_hidden", None) is False
        and type(module).__module__.partition(".")[0] == "snntorch"
    ]
    if bare and any("tuple" in str(error) for error in errors):
        return (
            f"the snnTorch layer {bare[0]!r} returns (spikes, potential), which the next layer "
            "cannot take: make it with init_hidden=True"
        )
    wanted = {p.dtype for p in network.parameters() if p.is_floating_point()}
    given = {a.dtype for a in tensors if a.is_floating_point()}
    if len(wanted) == 1 and given and not given <= wanted:
        name = str(next(iter(wanted)))
        return f"the weights are {name}: pass batch.to({name})"
    return ""
