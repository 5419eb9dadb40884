r"""Checkpoints: one file that a killed training goes on from, never half written, never code.

A file is a line that names the format, the SHA-256 digest of what follows, and what
`torch.save` makes of tensors, numbers and names. It is written beside its place, forced to the
disk and then renamed, so that its place holds a complete one at every moment. It is read with
`weights_only=True`, which executes nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from snnlib.data import Dataset

__all__ = ["Checkpoint", "CorruptCheckpoint", "describe", "digest", "read", "write"]

MAGIC = b"snnlib checkpoint 1\n"

State = dict[str, Any]


class CorruptCheckpoint(ValueError):
    """A file that is no complete checkpoint."""


def write(path: Path, content: State) -> None:
    """Put a checkpoint in its place, at once.

    Args:
        path: Where.
        content: Tensors, numbers, strings, None, and dictionaries and lists of these.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    payload = buffer.getbuffer()
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        file.write(MAGIC + hashlib.sha256(payload).hexdigest().encode() + b"\n")
        file.write(payload)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
    with contextlib.suppress(OSError):  # a folder cannot be opened on Windows
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def read(path: Path) -> State | None:
    """What a checkpoint holds, on the CPU; None if there is no such file.

    Args:
        path: Where.

    Raises:
        CorruptCheckpoint: If the file is truncated, damaged or no checkpoint.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    if not raw.startswith(MAGIC):
        raise CorruptCheckpoint(f"{path} is not a checkpoint of this version of snnlib")
    start = len(MAGIC) + 65
    payload = memoryview(raw)[start:]
    if hashlib.sha256(payload).hexdigest().encode() + b"\n" != raw[len(MAGIC) : start]:
        raise CorruptCheckpoint(
            f"{path} is damaged: its checksum does not match; delete it to start anew"
        )
    return torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)


class Checkpoint:
    """The checkpoint of one training.

    Args:
        path: The file; its folder is made if there is none.
        every: Seconds between two of them; 0 writes one after every update.
        settings: All that fixes the result, by name.
        environment: What the last digits depend on besides.
        network: The network at the start.

    Raises:
        ValueError: If the path is a folder.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        every: float,
        settings: Mapping[str, Any],
        environment: Mapping[str, Any],
        network: nn.Module,
    ) -> None:
        self.path = Path(path)
        if self.path.is_dir():
            raise ValueError(f"checkpoint must be a file, got the folder {self.path}")
        self.every = every
        self.settings = {name: describe(value) for name, value in settings.items()}
        self.environment = dict(environment)
        # The text of a function holds its address.
        self.structure = re.sub(r" at 0x[0-9a-f]+", "", repr(network))
        self.weights = digest(tensors(network))
        self._last = time.monotonic()
        self._readable = False

    def load(self) -> State | None:
        """The state to go on from, or None without a file.

        Raises:
            CorruptCheckpoint: If the file is damaged.
            ValueError: If it belongs to a training with other settings, data or weights at the
                start; says which.
        """
        content = read(self.path)
        if content is None:
            return None
        for name in sorted(self.settings.keys() | content["settings"].keys()):
            here, there = self.settings.get(name), content["settings"].get(name)
            if here != there:
                raise ValueError(
                    f"checkpoint {self.path} is of another training: {name} is {here!r}, was "
                    f"{there!r} there"
                )
        # A training that was interrupted may go on with the very network that it left.
        left = self.weights == digest(content["state"]["network"])
        same = (self.weights, self.structure) == (content["weights"], content["structure"])
        if not (left or same):
            what = "weights at the start" if self.weights != content["weights"] else "layers"
            raise ValueError(
                f"checkpoint {self.path} is of another training: network has other {what}"
            )
        self.weights, self.structure = content["weights"], content["structure"]
        for name, here in self.environment.items():
            there = content["environment"].get(name)
            if here != there:
                warnings.warn(
                    f"checkpoint {self.path} goes on with {name} {here}, was {there}: the result "
                    "may differ in the last digits from that of a run without interruption",
                    stacklevel=3,
                )
        return content["state"]

    @property
    def due(self) -> bool:
        """Whether it is time for the next one."""
        return time.monotonic() - self._last >= self.every

    def save(self, state: State) -> None:
        """Write a state."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        content = dict(
            settings=self.settings,
            environment=self.environment,
            structure=self.structure,
            weights=self.weights,
            state=state,
        )
        write(self.path, content)
        if not self._readable:  # better to fail now than after a kill
            read(self.path)
            self._readable = True
        self._last = time.monotonic()


def tensors(network: nn.Module) -> dict[str, Any]:
    """All that a network holds in tensors, buffers that `state_dict` leaves out too.

    Not the settings of neurons, which its text holds.
    """
    found = dict(network.named_buffers()) | network.state_dict()
    return {name: value for name, value in found.items() if not name.endswith("_extra_state")}


def load_tensors(network: nn.Module, values: Mapping[str, Any]) -> None:
    """Put back what `tensors` gave."""
    own = network.state_dict()
    network.load_state_dict({name: values.get(name, own[name]) for name in own})
    with torch.no_grad():
        for name, buffer in network.named_buffers():
            buffer.copy_(values[name])


def digest(values: Mapping[str, Any]) -> str:
    """Digest of named tensors, bit by bit.

    Example:
        >>> a, b = torch.zeros(2), torch.zeros(2)
        >>> digest({"a": a}) == digest({"a": b})
        True
        >>> digest({"a": a}) == digest({"a": -b})
        False
    """
    found = hashlib.sha256()
    for name in sorted(values):
        value = values[name]
        if isinstance(value, Tensor):
            found.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            flat = value.detach().cpu().contiguous().reshape(-1)
            found.update(flat.view(torch.uint8).numpy().data)
        else:
            found.update(f"{name} {value!r}\n".encode())
    return found.hexdigest()


def describe(value: Any) -> Any:
    """A setting as a checkpoint keeps it: functions by name, data with a digest of all samples.

    Example:
        >>> describe(0.5), describe(digest)
        (0.5, 'snnlib.training.checkpoint.digest')
    """
    if isinstance(value, Dataset):
        parts = digest({"inputs": value.inputs, "targets": value.targets})
        return f"{value!r} {'sequence ' * value.sequence}{parts[:16]}"
    if callable(value):
        kind = value if hasattr(value, "__qualname__") else type(value)
        return f"{kind.__module__}.{kind.__qualname__}"
    return value
