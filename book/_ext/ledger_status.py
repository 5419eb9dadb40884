"""The tables of the status page: chapters, measurements, audits, versions."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Callable, Iterable, Sequence
from importlib import metadata
from pathlib import Path
from statistics import median

from docutils import nodes
from ledger_audit import audited, in_library, reruns, summary
from ledger_env import notebook_names, registered
from ledger_model import Book, mde_text, plain_number
from sphinx.environment import BuildEnvironment

from snnlib import ledger

PACKAGES = (
    "snnlib",
    "torch",
    "numpy",
    "scipy",
    "sympy",
    "matplotlib",
    "scikit-learn",
    "jupyter-book",
    "sphinx",
    "myst-nb",
    "nbclient",
    "jupytext",
)
PARTS = ("chapters", "measurements", "proofs", "library", "reruns", "versions")


def table(
    head: Sequence[str], rows: Iterable[Sequence[Sequence[nodes.Node]]], classes: Sequence[str] = ()
) -> nodes.table:
    """A table from inline nodes."""
    group = nodes.tgroup(cols=len(head))
    group += [nodes.colspec(colwidth=1) for _ in head]
    header, body = nodes.thead(), nodes.tbody()
    header_row = nodes.row()
    header_row += [nodes.entry("", nodes.paragraph("", name)) for name in head]
    header += header_row
    for cells in rows:
        row = nodes.row()
        for cell in cells:
            paragraph = nodes.paragraph()
            paragraph += list(cell)
            row += nodes.entry("", paragraph)
        body += row
    group += [header, body]
    result = nodes.table(classes=["ledger-table", *classes])
    result += group
    return result


def text_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> nodes.table:
    """A table from texts."""
    return table(head, [[[nodes.Text(cell)] for cell in row] for row in rows])


def execution_time(env: BuildEnvironment, docname: str) -> float | None:
    """Seconds that a notebook took when it was executed, if that was recorded."""
    data = getattr(env, "nb_metadata", {}).get(docname, {}).get("exec_data") or {}
    return data.get("runtime")


def chapter_table(env: BuildEnvironment, book: Book, uri: Callable[[str], str]) -> nodes.table:
    """Execution time and number of claims of each executed page."""
    rows: list[Sequence[Sequence[nodes.Node]]] = []
    total = 0.0
    for docname in notebook_names(env):
        seconds = execution_time(env, docname)
        total += seconds or 0.0
        slug = docname.rpartition("/")[2]
        claims = sum(row.claim.chapter == slug for row in book.rows.values())
        title = env.titles[docname].astext()
        link = nodes.reference("", title, refuri=uri(docname), internal=True)
        time = f"{seconds:.1f} s" if seconds is not None else "not recorded"
        rows.append([[link], [nodes.Text(time)], [nodes.Text(str(claims))]])
    last = ("all", f"{total:.1f} s", str(len(book.rows)))
    rows.append([[nodes.Text(cell)] for cell in last])
    return table(["Page", "Execution time", "Claims"], rows)


def level_table(env: BuildEnvironment, book: Book) -> nodes.table:
    """Family-wise level, entries and detectable errors."""
    claims = registered(env)
    law = [v for r in book.rows.values() if r.claim.level == "law" for v in r.mde]
    facts = [
        ("False-alarm level of the whole book", plain_number(ledger.FAMILY_LEVEL)),
        ("Measured entries registered", str(claims.entries)),
        ("False-alarm level of one entry", f"one in {round(1 / claims.level, -3):,.0f}"),
    ]
    if law:
        facts.append(("Law-level entries measured", str(len(law))))
        facts.append(("Their median minimum detectable error", mde_text([median(law)]) or "–"))
    return text_table(["Quantity", "Value"], facts)


def proofs_table(env: BuildEnvironment, uri: Callable[[str], str]) -> nodes.table:
    """What `make audit` found: errors planted in the premises of each chapter's proofs."""
    documents = {name.rpartition("/")[2]: name for name in notebook_names(env)}
    rows: list[Sequence[Sequence[nodes.Node]]] = []
    for chapter, *counts in summary(audited(Path(env.srcdir))):
        title: nodes.Node = nodes.Text(chapter)
        if name := documents.get(chapter):
            text = env.titles[name].astext()
            title = nodes.reference("", text, refuri=uri(name), internal=True)
        rows.append([[title], *([nodes.Text(count)] for count in counts)])
    return table(["Page", "Proofs", "Errors", "Noticed", "Ended it", "Noticed none"], rows)


def library_table(env: BuildEnvironment) -> nodes.table:
    """What `make mutants` found: errors planted in the library's formulas."""
    rows: list[Sequence[Sequence[nodes.Node]]] = []
    for room, *counts in in_library(Path(env.srcdir)):
        name, comma, what = room.partition(", ")
        module = [nodes.literal("", f"snnlib.{name}"), nodes.Text(comma + what)]
        rows.append([module, *([nodes.Text(count)] for count in counts)])
    return table(["Module", "Errors", "Noticed", "Change nothing"], rows)


def reruns_table(env: BuildEnvironment) -> nodes.table:
    """What `make seeds` found: chapters with other random numbers and other parameters."""
    return text_table(["With", "Chapters", "Failures"], reruns(Path(env.srcdir)))


def versions_table(env: BuildEnvironment) -> nodes.table:
    """Versions of what made this build."""
    found = [("Python", platform.python_version())]
    for package in PACKAGES:
        try:
            found.append((package, metadata.version(package)))
        except metadata.PackageNotFoundError:
            continue
    found.append(("platform", f"{platform.system()} on {platform.machine()}"))
    commit = commit_of(Path(env.srcdir))
    if commit:
        found.append(("commit", commit))
    rows = [[[nodes.Text(name)], [nodes.literal("", value)]] for name, value in found]
    return table(["Package", "Version"], rows)


def commit_of(folder: Path) -> str | None:
    """Commit of a working tree, and whether its tracked files differ from it."""

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            encoding="utf-8",
            check=False,
        )

    try:
        head = git("rev-parse", "--short=12", "HEAD")
    except OSError:
        return None
    if head.returncode:
        return None
    changed = git("diff", "--quiet", "HEAD").returncode != 0
    return head.stdout.strip() + (" with local changes" if changed else "")
