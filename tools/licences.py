"""The licence of every pinned package, from the metadata that is installed.

Usage: ``python -m tools.licences`` writes ``hashes/licences.csv``; a test compares it with what is
installed, so a new package or version is looked at before it is merged.
"""

from __future__ import annotations

import csv
import io
from importlib import metadata

from tools import chapters

TABLE = chapters.ROOT / "hashes" / "licences.csv"
LOCKS = ("requirements.txt", "requirements-peers.txt")
LONGEST = 60


def pinned() -> dict[str, str]:
    """Name -> version of each pinned package, as written in the lock files."""
    lines = [line for name in LOCKS for line in (chapters.ROOT / name).read_text().splitlines()]
    pairs = (line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    return {name: version for name, version in pairs}


def licence(name: str) -> str:
    """What a distribution says of its licence.

    Its expression, else its short text, else its classifiers, else the title of its licence file.

    Args:
        name: An installed distribution.

    Returns:
        The licence; an empty text if it names none.

    Example:
        >>> licence("sympy")
        'BSD'
    """
    said = metadata.metadata(name)
    kinds = [c.split(" :: ")[-1] for c in said.get_all("Classifier") or [] if "License ::" in c]
    # A missing key is None, or an error where importlib_metadata has been imported.
    expression, short = (
        said[key].strip() if key in said else "" for key in ("License-Expression", "License")
    )
    if "\n" in short or len(short) > LONGEST or short.upper() == "UNKNOWN":
        short = ""
    return expression or short or "; ".join(kinds) or _title(name)


def _title(name: str) -> str:
    """The first line of the licence file, and the second if that is the version."""
    for path in metadata.files(name) or []:
        if ".dist-info" in str(path) and path.name.upper().startswith(("LICENSE", "COPYING")):
            lines = [line.strip() for line in path.read_text().splitlines() if line.strip()]
            version = lines[1].split(",")[0] if lines[1].startswith("Version") else ""
            return f"{lines[0]} {version}".strip()
    return ""


def table() -> str:
    """The table as CSV: package, version, licence; sorted by name."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(("package", "version", "licence"))
    for name, version in sorted(pinned().items(), key=lambda pair: pair[0].lower()):
        rows.writerow((name, version, licence(name)))
    return out.getvalue()


if __name__ == "__main__":
    TABLE.write_text(table(), encoding="utf-8")
    print(TABLE)
