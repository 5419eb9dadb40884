"""Results of single runs on disk: one small file each, named by the digest of its settings."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from snnlib.experiments.protocol import canonical, key
from snnlib.experiments.sealed import CorruptResult, replace_text

__all__ = ["CorruptResult", "Store", "default_folder"]


def default_folder() -> Path:
    """SNNLIB_EXPERIMENTS, else snnlib/experiments in the user's cache."""
    if own := os.environ.get("SNNLIB_EXPERIMENTS"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "snnlib" / "experiments"


class Store:
    """A folder of results. A file appears complete or not at all, so a killed run leaves nothing.

    Args:
        folder: Where; made when the first result is saved. None: `default_folder`.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = default_folder() if folder is None else Path(folder)

    def path(self, name: str) -> Path:
        """The file of a result."""
        return self.folder / f"{name}.json"

    def load(self, name: str) -> dict[str, Any] | None:
        """A stored result, or None if there is none.

        Raises:
            CorruptResult: If the file is damaged or belongs to other settings.
        """
        try:
            text = self.path(name).read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):  # the latter: a home that is no folder
            return None
        try:
            content = json.loads(text)
            digest = content.pop("sha256")
            sound = digest == _digest(content) and key(content["settings"]) == name
        except (ValueError, KeyError, AttributeError, TypeError):
            sound = False
        if not sound:
            raise CorruptResult(
                f"{self.path(name)} is damaged or of another version; delete it to run it again"
            )
        return content

    def save(self, settings: Mapping[str, Any], metrics: Any, provenance: Any) -> Path:
        """Store the result of a run under the digest of its settings."""
        content = {"settings": settings, "metrics": metrics, "provenance": provenance}
        content["sha256"] = _digest(content)
        path = self.path(key(settings))
        replace_text(path, json.dumps(content, indent=1))
        return path


def _digest(content: Any) -> str:
    return hashlib.sha256(canonical(content).encode()).hexdigest()
