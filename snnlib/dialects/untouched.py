"""Run a network without leaving a trace in it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn

from snnlib.dialects.reading import DECLARED

__all__ = ["at_rest", "put_to_rest", "untouched"]

_TORCHS = frozenset(vars(nn.Module()))  # what every module has, modes and buffers among it


@contextmanager
def untouched(network: nn.Module) -> Iterator[nn.Module]:
    """Keep buffers, attributes, training modes and torch's global random state as they are.

    Inside, the network runs in the mode it is in, so that a probe sees what training would see
    (batch statistics, dropout) without moving running means, neurons or the random stream.

    Args:
        network: The module that will be run; what is compiled runs uncompiled.

    Yields:
        The network, or the module below `torch.compile`'s wrapper.
    """
    compiled = any("_orig_mod" in module._modules for module in network.modules())
    eager = torch.compiler.set_stance("force_eager") if compiled else nullcontext()
    network = getattr(network, "_orig_mod", network)
    modes = [(module, module.training) for module in network.modules()]
    buffers = [
        (module._buffers, name, buffer)
        for module in network.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    devices = {tensor.device for tensor in (*network.parameters(), *network.buffers())}
    cuda = [device for device in devices if device.type == "cuda"]
    with torch.random.fork_rng(devices=cuda), eager, _same_attributes(network):
        try:
            # The block works on copies: a graph that the caller holds keeps its own buffers.
            copies: dict[Tensor, Tensor] = {}
            for holder, name, buffer in buffers:
                holder[name] = copies.setdefault(buffer, buffer.detach().clone())
            yield network
        finally:
            for module, training in modes:
                module.training = training
            for holder, name, buffer in buffers:
                holder[name] = buffer


@contextmanager
def at_rest(network: nn.Module) -> Iterator[None]:
    """Put neurons that remember their last call to rest; their state is back afterwards.

    snnTorch's neurons keep their potentials in buffers, SpikingJelly's in `_memories` with the
    values of rest beside them in `_memories_rv`. Those that were declared have a method `reset`,
    `reset_state` or `init_state` for it, if they keep a state. Others are called with their state.

    Args:
        network: The module that will be run.

    Yields:
        None.
    """
    own = [module for module in network.modules() if isinstance(module, tuple(DECLARED))]
    stateful = [module for module in network.modules() if callable(getattr(module, "reset_mem", 0))]
    stateful += [module for module in own if module not in stateful]
    buffers = [(module._buffers, dict(module._buffers)) for module in stateful]
    with _same_attributes(network):
        try:
            for module in stateful:
                if callable(getattr(module, "reset_mem", None)):
                    module.reset_mem()  # type: ignore[operator]
                else:
                    put_to_rest(module)
            for module in network.modules():
                memories = vars(module).get("_memories")
                if memories is not None:
                    memories.update(copy.deepcopy(vars(module)["_memories_rv"]))
            yield
        finally:
            for holder, before in buffers:
                holder.update(before)


def put_to_rest(module: nn.Module) -> None:
    """Call the method by which a neuron of a user's own forgets its state, if it has one."""
    for name in ("reset", "reset_state", "init_state"):
        method = getattr(module, name, None)
        if callable(method):
            method()
            return


@contextmanager
def _same_attributes(network: nn.Module) -> Iterator[None]:
    """Give all modules their plain attributes back, and lists and dictionaries their content."""
    kept = []
    for module in network.modules():
        plain = {name: value for name, value in vars(module).items() if name not in _TORCHS}
        content = {k: copy.copy(v) for k, v in plain.items() if type(v) in (list, dict, set)}
        kept.append((module, plain, content))
    try:
        yield
    finally:
        for module, plain, content in kept:
            for name in [n for n in vars(module) if n not in _TORCHS and n not in plain]:
                del vars(module)[name]
            vars(module).update(plain)
            for name, before in content.items():
                value = plain[name]
                value.clear()
                value.extend(before) if isinstance(value, list) else value.update(before)
