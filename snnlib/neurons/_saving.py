"""Settings that travel with a `state_dict`, so that a file cannot match another neuron unnoticed.

A `state_dict` holds tensors; a threshold or a leak that is one plain number, and the kind of reset,
would stay behind, and a file of a network with threshold 1 would load into one with threshold 1/2
without a word. So each layer of neurons saves them under torch's key `_extra_state`, as the bytes
of a JSON text: a tensor, so that whatever copies, moves or stores a `state_dict` takes it along,
and `torch.load(..., weights_only=True)` reads it.
"""

from __future__ import annotations

import json
import warnings
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Saved", "described"]

OLDER = (
    "this state was saved by an older version: it does not say threshold, leak and reset of the "
    "neurons, so they cannot be compared with those of the network"
)
_KEY = "_extra_state"


class Saved(nn.Module):
    """A layer whose settings are saved and compared when a state is loaded."""

    def saved_settings(self) -> dict[str, Any]:
        """What the output depends on beside tensors, by name: numbers, words, None."""
        return {}

    def get_extra_state(self) -> Tensor:
        """The settings as a tensor of bytes; torch puts it into the `state_dict`."""
        text = json.dumps({"neuron": type(self).__name__} | self.saved_settings())
        return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)

    def set_extra_state(self, state: Any) -> None:
        """Compare the settings of a state with those of the layer.

        Args:
            state: What `get_extra_state` gave.

        Raises:
            ValueError: If they differ; says which.
        """
        if differing := self._differing(state):
            raise ValueError(differing)

    def _differing(self, state: Any) -> str:
        """How settings of a state differ from those here; empty if they do not."""
        try:
            there = json.loads(bytes(state.detach().cpu().to(torch.uint8).tolist()))
        except (AttributeError, TypeError, ValueError, RuntimeError):
            return f"{_KEY} must be what get_extra_state gave, got {state!r}"
        here = self.saved_settings()
        there.pop("neuron", None)
        names = [name for name in here | there if here.get(name, _NONE) != there.get(name, _NONE)]
        if not names:
            return ""
        said = "; ".join(
            f"{name} is {here.get(name, 'none')!r} here, {there.get(name, 'none')!r} in the state"
            for name in names
        )
        return (
            f"{said}: build the network with the settings of the state, or take the key {_KEY} out "
            "of the state to load it all the same"
        )

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Load this layer; a state without settings warns, one with others is an error."""
        key = prefix + _KEY
        known = key in state_dict
        if known and (differing := self._differing(state_dict[key])):
            error_msgs.append(f"{prefix.rstrip('.') or type(self).__name__}: {differing}")
            return
        super()._load_from_state_dict(
            state_dict,
            prefix,
            local_metadata,
            strict,
            missing_keys,
            unexpected_keys,
            error_msgs,
        )
        if not known:
            warnings.warn(OLDER, stacklevel=2)
            if key in missing_keys:
                missing_keys.remove(key)


_NONE = object()


def described(value: Any, learned: bool = False) -> Any:
    """A setting as it is saved; the numbers of a tensor are in the state by themselves.

    Args:
        value: A number, a word, None, or a tensor.
        learned: Whether it is learned.

    Example:
        >>> described(0.5), described(torch.ones(3)), described(torch.ones(3), True)
        (0.5, 'tensor', 'learned')
    """
    if learned:
        return "learned"
    return "tensor" if isinstance(value, Tensor) else value
