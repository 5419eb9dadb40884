"""Where a result comes from: command, commit, versions, kind of machine, threads."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import torch

import snnlib

__all__ = ["FIELDS", "provenance"]

FIELDS = ("command", "commit", "versions", "machine", "threads", "seconds")
"""Columns that say where a row comes from."""


def provenance(command: str) -> dict[str, str | int]:
    """What holds for all runs of this process.

    Args:
        command: The command that repeats them.

    Returns:
        `command`; `commit`, with "+changes" if the library differs from it and empty outside a
        repository; `versions`; `machine`: processor, number of cores and GPU, no names; `threads`.
    """
    versions = [f"python {platform.python_version()}", f"snnlib {snnlib.__version__}"]
    versions += [f"{name} {metadata.version(name)}" for name in ("torch", "numpy")]
    machine = f"{_processor()}, {os.cpu_count()} cores, {platform.system()}"
    if torch.cuda.is_available():
        machine += f", {torch.cuda.get_device_name()}"
    return {
        "command": command,
        "commit": _commit(),
        "versions": ", ".join(versions),
        "machine": machine,
        "threads": torch.get_num_threads(),
    }


def _commit() -> str:
    package = Path(snnlib.__file__).parent
    commit = _git(package, "rev-parse", "HEAD")
    changed = _git(package, "status", "--porcelain", "--", str(package))
    return f"{commit}+changes" if commit and changed else commit


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()
