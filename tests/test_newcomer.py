"""The README's steps add a method: one file, one chapter, one claims file, and two lists."""

from __future__ import annotations

import ast
import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EVERYWHERE = {"Method", "METHOD", "SETTINGS", "ORTHONORMAL"}  # documented with snnlib.init, or data

METHOD = '''"""Weights of variance 1/(2n): an example."""

from __future__ import annotations

from typing import Any

from snnlib.init.connection import Connection
from snnlib.init.method import Method


def gain() -> float:
    """G = 1/2."""
    return 0.5


def _resolve(connection: Connection, **given: Any) -> dict[str, Any]:
    return {}


METHOD = Method("nobody2026", "an example", gain, _resolve)
'''

CLAIMS = """sources:
  nobody2026: An example

symbols:
  nobody2026:
    n: {assume: [positive, integer]}
    V: {latex: "\\\\operatorname{Var}[w]", assume: [positive]}

claims:
  nobody2026.variance:
    source: nobody2026
    locator: Eq. 1
    read: ours
    statement: Half the variance of LeCun's weights.
    printed: "Eq(V, 1/(2*n))"
    verdict: proved
    chapter: half-of-it
"""

CHAPTER = """---
jupytext:
  text_representation: {extension: .md, format_name: myst}
kernelspec: {display_name: Python 3, language: python, name: python3}
---

(half-of-it)=
# Half of it

```{code-cell} ipython3
import sympy as sp
import torch

from snnlib import init, ledger, networks

ledger.load()
s = ledger.symbols("nobody2026")
network = networks.mlp([40, 400, 10], init=None)
report = init.initialize_(
    network,
    "nobody2026",
    readout="draw",
    generator=torch.Generator().manual_seed(ledger.seed("half")),
)
assert [row.gain for row in report] == [0.5, 0.5]
assert abs(network.linear1.weight.var() * 40 - 0.5) < 0.05
```

```{code-cell} ipython3
variance = sp.solve(sp.Eq(2 * s.n * s.V, 1), s.V)[0]
ledger.prove("nobody2026.variance", variance WRONG)
```
"""


@pytest.fixture
def newcomer(tmp_path):
    """A copy of the project's code with the new method, and nothing of its chapters."""
    for name in ("snnlib", "tools"):
        ignored = shutil.ignore_patterns("*.pyc", "__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    for name in ("conftest.py", "pyproject.toml", "requirements.txt"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("book/claims", "notebooks", "results"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "snnlib" / "init" / "nobody2026.py").write_text(METHOD)
    registry = tmp_path / "snnlib" / "init" / "registry.py"  # the list of methods
    text = registry.read_text(encoding="utf-8")
    text, imported = re.subn(r"(?m)^    micheli2024,$", "    micheli2024,\n    nobody2026,", text)
    text, listed = re.subn(
        r"(?m)^        lsuv\.METHOD,$", "        lsuv.METHOD,\n        nobody2026.METHOD,", text
    )
    assert imported == listed == 1
    registry.write_text(text, encoding="utf-8")
    (tmp_path / "book" / "claims" / "nobody2026.yml").write_text(CLAIMS)
    return tmp_path


def run(folder, *command):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    environment["PYTHONPATH"] = str(folder)
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        encoding="utf-8",
    )


@pytest.mark.parametrize(("factor", "says"), [("", "0 problems"), ("* 2", "ClaimFailed")])
def test_a_newcomer_adds_a_method_and_the_ledger_judges_it(newcomer, factor, says):
    chapter = newcomer / "notebooks" / "half-of-it.md"
    chapter.write_text(CHAPTER.replace(" WRONG", factor))
    done = run(newcomer, "pytest", "notebooks", "-n0")
    assert says in done.stdout and (done.returncode == 0) == (not factor), done.stdout


def test_the_new_method_is_everywhere(newcomer):
    code = (
        "from snnlib import init\n"
        "assert init.gain('nobody2026') == 0.5\n"
        "assert 'nobody2026' in init.METHODS and 'nobody2026' in init.settings_table()\n"
    )
    (newcomer / "look.py").write_text(code)
    done = run(newcomer, "look")
    assert done.returncode == 0, done.stderr


# --- What a method must be listed in --------------------------------------------------------------


def api_pages(root):
    """Text of the pages on the library."""
    paths = sorted((root / "book" / "api").glob("*.md"))
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


def documented(root):
    """Members that the API pages document, by module; None is all."""
    page = api_pages(root)
    found = {}
    for module, options in re.findall(r"\.\. automodule:: (\S+)\n((?:   :.*\n)*)", page):
        members = re.search(r":members:(.*)", options)
        names = members[1].split(",") if members else []
        every = bool(members) and not members[1].strip()
        found[module] = None if every else {name.strip() for name in names}
    return found


def exported(root):
    tree = ast.parse((root / "snnlib" / "init" / "__init__.py").read_text(encoding="utf-8"))
    (names,) = (
        node.value for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )  # fmt: skip
    return set(ast.literal_eval(names))


def missing(root):
    """What the lists lack of each method's file: its exports, itself, and what it uses."""
    pages, names, found = documented(root), exported(root), []
    registry = (root / "snnlib" / "init" / "registry.py").read_text(encoding="utf-8")
    for path in sorted((root / "snnlib" / "init").glob("*.py")):
        text = path.read_text(encoding="utf-8")
        if not re.search(r"(?m)^[A-Z]+ = Method\(", text):
            continue
        own = path.stem
        if not re.search(rf"(?m)^        {own}\.[A-Z]+,$", registry):
            found.append(f"registry.py: {own}")
        if f"snnlib.init.{own}" not in pages:
            found.append(f"book/api: snnlib.init.{own}")
        for node in ast.walk(ast.parse(text)):
            if (
                isinstance(node, ast.FunctionDef)
                and node.name == f"{own}_"
                and (node.name not in names)
            ):
                found.append(f"__init__.py: {node.name}")
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("snnlib.init."):
                known = pages.get(node.module, set())
                used = {alias.name for alias in node.names} - EVERYWHERE
                if known is not None and used - known:
                    found += [f"book/api: {node.module}.{name}" for name in sorted(used - known)]
    return found


def test_every_method_is_exported_and_documented_with_what_it_uses():
    assert not missing(ROOT)


def test_what_a_newcomer_forgets_is_named(newcomer):
    shutil.copytree(ROOT / "book" / "api", newcomer / "book" / "api")
    file = newcomer / "snnlib" / "init" / "nobody2026.py"
    extra = (
        "from snnlib.init.drawing import draw\n\n\ndef nobody2026_(weight):\n    return weight\n"
    )
    file.write_text(METHOD + extra)
    before = missing(ROOT)
    assert [line for line in missing(newcomer) if line not in before] == [
        "book/api: snnlib.init.nobody2026",
        "book/api: snnlib.init.drawing.draw",
        "__init__.py: nobody2026_",
    ]
    registry = newcomer / "snnlib" / "init" / "registry.py"
    text = registry.read_text(encoding="utf-8")
    registry.write_text(text.replace("        nobody2026.METHOD,\n", ""), encoding="utf-8")
    assert "registry.py: nobody2026" in missing(newcomer)


def named_on_the_pages(root):
    """Every object that the API pages document, by its full name, once for each time."""
    found, module = [], ""
    pattern = r"\.\. (\w+):: (\S+)\n((?:   :.*\n)*)"
    for directive, name, options in re.findall(pattern, api_pages(root)):
        if directive in ("automodule", "currentmodule"):
            module = name
        if directive == "automodule" and (members := re.search(r":members:(.*)", options)):
            exported = getattr(importlib.import_module(module), "__all__", ())
            names = [part.strip() for part in members[1].split(",") if part.strip()]
            found += [f"{module}.{part}" for part in names or exported]
        elif directive in ("autofunction", "autoclass", "autodata", "autoexception"):
            found.append(name if name.startswith("snnlib.") else f"{module}.{name}")
    return found


PARTS = (
    "neurons surrogate meanfield membrane networks products fold probe dialects curvature ledger"
)


@pytest.mark.parametrize("part", PARTS.split())
def test_every_public_name_is_documented_once(part):
    names = named_on_the_pages(ROOT)
    public = {f"snnlib.{part}.{name}" for name in importlib.import_module(f"snnlib.{part}").__all__}
    assert not public - set(names)
    assert not [name for name in public if names.count(name) > 1]


def test_every_part_that_the_api_page_lists_has_its_own():
    page = (ROOT / "book" / "api.md").read_text(encoding="utf-8")
    parts = re.search(r"autosummary::\n\n((?:   \w+\n)+)", page)[1].split()
    assert len(parts) > 10
    for part in parts:
        text = (ROOT / "book" / "api" / f"{part}.md").read_text(encoding="utf-8")
        assert re.search(rf"automodule:: snnlib\.{part}\b", text), part
