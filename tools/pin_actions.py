"""Pin the actions of the workflows to commits: a tag can be moved, a commit cannot.

Usage: ``python -m tools.pin_actions`` before a release; ``--check`` only says what is not pinned.

``uses: actions/checkout@v5`` becomes ``uses: actions/checkout@<40 digits> # v5``.  One that is
pinned already is looked up again by the tag behind it, so the same command renews the pins.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Sequence

from tools import chapters

WORKFLOWS = chapters.ROOT / ".github" / "workflows"
USES = re.compile(r"(\buses: *)([\w.-]+/[\w.-]+)([\w./-]*)@([\w.-]+)(?: *# *([\w.-]+))?")
COMMIT = re.compile(r"[0-9a-f]{40}")


def commit_of(repository: str, tag: str) -> str:
    """Commit that a tag of a repository points to, asked of the repository itself.

    Args:
        repository: Address that git understands.
        tag: Name of the tag.

    Returns:
        The commit; for an annotated tag the one that it names, not the tag's own object.

    Raises:
        ValueError: If the repository has no such tag.
    """
    names = [f"refs/tags/{tag}", f"refs/tags/{tag}^{{}}"]
    done = subprocess.run(
        ["git", "ls-remote", repository, *names], capture_output=True, encoding="utf-8", check=True
    )
    found = {name: commit for commit, name in map(str.split, done.stdout.splitlines())}
    if not found:
        raise ValueError(f"tag must be one of {repository}, got {tag!r}")
    return found.get(names[1], found.get(names[0], ""))


def pin(text: str, resolve: Callable[[str, str], str]) -> str:
    """Pin all actions of a workflow.

    Args:
        text: The workflow.
        resolve: Called with an action's repository (``owner/name``) and a tag; returns the commit.

    Returns:
        The workflow with commits, each with its tag as a comment.

    Example:
        >>> pin("  - uses: a/b/c@v1", lambda repository, tag: 40 * "0")
        '  - uses: a/b/c@0000000000000000000000000000000000000000 # v1'
    """

    def pinned(match: re.Match[str]) -> str:
        head, repository, folder, version, comment = match.groups()
        tag = comment if COMMIT.fullmatch(version) else version
        if not tag:
            raise ValueError(f"{repository}@{version} must have its tag as a comment behind it")
        return f"{head}{repository}{folder}@{resolve(repository, tag)} # {tag}"

    return USES.sub(pinned, text)


def loose(text: str) -> list[str]:
    """Actions of a workflow that are not pinned to a commit."""
    return [
        f"{match[2]}{match[3]}@{match[4]}"
        for match in USES.finditer(text)
        if not COMMIT.fullmatch(match[4])
    ]


def main(arguments: Sequence[str]) -> int:
    """Pin the actions of all workflows, or say which are not pinned."""
    files = sorted(WORKFLOWS.glob("*.yml"))
    if "--check" in arguments:
        found = [f"{file.name}: {name}" for file in files for name in loose(file.read_text())]
        print("\n".join(found) or "all actions are pinned")
        return int(bool(found))
    for file in files:
        file.write_text(
            pin(file.read_text(), lambda name, tag: commit_of(f"https://github.com/{name}", tag))
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
