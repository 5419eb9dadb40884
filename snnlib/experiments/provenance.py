"""Where a result comes from: command, commit, versions, machine and its arithmetic, threads."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import numpy as np
import torch

import snnlib
from snnlib import products
from snnlib.experiments import machine

__all__ = ["FIELDS", "PLACE", "RULE", "TEXTS", "commit", "is_clean", "provenance"]

RULE = "rule"
"""Column of the SHA-256 of the rule that a registered row belongs to; only its tables have it."""

TEXTS = ("command", "commit", RULE, "versions", "machine", "processor", "kernels", "arithmetic")
"""Columns that are texts, also where they look like numbers."""

FIELDS = (*TEXTS, "threads", "seconds")
"""Columns that say where a row comes from. Rows of the first tables lack some: they are empty."""

PLACE = ("versions", "machine", "processor", "kernels", "arithmetic", "threads")
"""Columns that have to be equal for numbers to be."""


def provenance(command: str) -> dict[str, str | int]:
    """What holds for all runs of this process.

    Args:
        command: The command that repeats them.

    Returns:
        `command`; `commit`, with "+changes" if the library differs from it and empty outside a
        repository; `versions`; `machine`, `processor`, `kernels` and `arithmetic` as in
        `snnlib.experiments.machine`, with the way that products take (`snnlib.products.describe`)
        among the kernels; `threads`.
    """
    versions = [f"python {platform.python_version()}", f"snnlib {snnlib.__version__}"]
    # torch's own word: its package's metadata may leave out how it was built ("+cpu", "+cu130")
    versions += [f"torch {torch.__version__}", f"numpy {np.__version__}"]
    return {
        "command": command,
        "commit": commit(),
        "versions": ", ".join(versions),
        "machine": machine.machine(),
        "processor": machine.processor(),
        "kernels": f"{machine.kernels()}, {products.describe()}",
        "arithmetic": machine.arithmetic(),
        "threads": torch.get_num_threads(),
    }


def commit() -> str:
    """The library's commit, with "+changes" if its files differ; empty outside a repository."""
    package = Path(snnlib.__file__).parent
    head = _git(package, "rev-parse", "HEAD")
    changed = _git(package, "status", "--porcelain", "--", str(package))
    return f"{head}+changes" if head and changed else head


def is_clean(commit: str) -> bool:
    """Whether a row's commit names the library as it was.

    Example:
        >>> is_clean("1d19815d"), is_clean("1d19815d+changes"), is_clean("")
        (True, False, False)
    """
    return bool(commit) and not commit.endswith("+changes")


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            encoding="utf-8",
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
