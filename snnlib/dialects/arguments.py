"""A batch as the positional arguments of a network, and what to say where it does not fit."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from snnlib.dialects.form import NO_NUMBERS

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
        >>> import torch
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
    if not any(isinstance(argument, Tensor) for argument in arguments):
        _check_kind(arguments[0] if arguments else None)
    for argument in arguments:
        _check(argument)
    _check_device(network, arguments)
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
    inner = network
    if isinstance(network, nn.DataParallel | nn.parallel.DistributedDataParallel):
        inner = network.module
    try:
        taken = inspect.signature(inner.forward)
        kept = [p for name, p in taken.parameters.items() if name != "state"]  # no input is one
        taken.replace(parameters=kept).bind(*arguments)
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


def _check_kind(argument: Any) -> None:
    """Refuse what is no input of a network; a network may take an object of its own."""
    what = f"batch must be a tensor, got {type(argument).__name__}"
    if isinstance(argument, DataLoader | Dataset):
        raise ValueError(f"{what}: pass one batch of it, such as next(iter(loader))")
    if isinstance(argument, list | int | float):
        raise ValueError(f"{what}: torch.tensor(batch)")
    if argument is None:
        raise ValueError(f"{what}: one batch of input, [T, batch, features...]")


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


def _check_device(network: nn.Module, arguments: tuple[Any, ...]) -> None:
    """Refuse tensors without numbers."""
    places = {a.device for a in arguments if isinstance(a, Tensor)}
    if any(p.is_meta for p in network.parameters()):
        given = next(iter(places), "cpu")
        raise ValueError(f"the weights are on meta, the batch on {given}: on 'meta', {NO_NUMBERS}")
    if any(place.type == "meta" for place in places):
        raise ValueError("the batch is on 'meta', which holds no numbers: pass a real one")


def mend(network: nn.Module, arguments: tuple[Any, ...], *errors: Exception) -> str:
    """What to change so that a network runs on a batch; empty if nothing is known.

    Args:
        network: The network.
        arguments: What it was called with.
        *errors: What it said.

    Returns:
        A sentence.

    Example:
        >>> import torch
        >>> mend(nn.Linear(2, 2), (torch.zeros(1, 2, dtype=torch.float64),))
        'the weights are torch.float32: pass batch.to(torch.float32)'
    """
    tensors = [a for a in arguments if isinstance(a, Tensor)]
    places = {p.device for p in network.parameters()}
    elsewhere = [a.device for a in tensors if a.device not in places]
    if len(places) == 1 and elsewhere:
        place = str(next(iter(places)))
        return f"the weights are on {place}, the batch on {elsewhere[0]}: pass batch.to({place!r})"
    said = " ".join(map(str, errors))
    if "tuple" in said and (what := _returns_state(network)):
        return what
    wanted = {p.dtype for p in network.parameters() if p.is_floating_point()}
    given = {a.dtype for a in tensors}
    if len(wanted) == 1 and (not errors or "dtype" in said or "scalar type" in said):
        name = str(next(iter(wanted)))
        if given and not given <= wanted:
            return f"the weights are {name}: pass batch.to({name})"
        if given and name != "torch.float32":
            return (
                f"the weights and the batch are {name}, but a layer sends another type, such as "
                "spikes in torch.float32: keep the weights in torch.float32 and run under "
                f'torch.autocast("{next(iter(places))}", {name})'
            )
    fits = "mat1 and mat2 shapes" not in said and "channels" not in said
    return "" if fits else _features(network, tensors)


def _returns_state(network: nn.Module) -> str:
    """A layer whose output holds its state, in front of one that cannot take that."""
    for name, module in network.named_modules():
        library = type(module).__module__.partition(".")[0]
        if getattr(module, "init_hidden", None) is False and library == "snntorch":
            return (
                f"the snnTorch layer {name!r} returns (spikes, potential), which the next layer "
                "cannot take: make it with init_hidden=True"
            )
        stepped = name and library == "norse" and hasattr(module, "state_fallback")
        if stepped and not hasattr(network, "stateful_layers"):
            return (
                f"the Norse layer {name!r} returns (spikes, state), which the next layer cannot "
                "take: put the layers into norse.torch.SequentialState"
            )
    return ""


def _features(network: nn.Module, tensors: list[Tensor]) -> str:
    """The batch beside what the first weight takes."""
    first = next((m for m in network.modules() if isinstance(m, nn.Linear | nn.Conv2d)), None)
    if first is None or len(tensors) != 1:
        return ""
    flat = isinstance(first, nn.Linear)
    wanted = first.in_features if flat else first.in_channels
    axis, shape = (-1 if flat else -3), list(tensors[0].shape)
    if len(shape) < -axis or shape[axis] == wanted:
        return ""
    name = next(name for name, module in network.named_modules() if module is first)
    layout = f"{wanted}" if flat else f"{wanted}, height, width"
    return (
        f"the batch {shape} has {shape[axis]} in the dimension {axis}, the first weight {name!r} "
        f"takes {wanted}: pass [T, batch, {layout}]; {CHOOSE}"
    )
