"""The proofs of a chapter, each with the statements that built it.

A proof is a call of `ledger.prove` or `ledger.hold` in a cell.  Its program is the slice of the
chapter's statements that the call's arguments rest on, in order: it runs without the rest of the
chapter, and without its simulations.

What a proof's outcome depends on, and so what its key is a hash of: the text of these statements,
the registered claims that it may prove with the symbols of the sources that it names, the ledger's
modules that decide, and those modules of the library in which a name that the statements use is
defined, with all that they import in turn.  That is all the code that can run, whatever else
changes in the chapter or in the library; the versions of SymPy and of Python are left out, as the
lock file pins one and the tests try others.
"""

from __future__ import annotations

import ast
import copy
import functools
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snnlib.ledger.provenance import notebook_slice
from tools import chapters

VERSION = 3  # of the planted errors: another one makes all results stale
DECIDES = ("decide", "proofs")  # the ledger's modules that every proof rests on


@dataclass(frozen=True)
class Proof:
    """One call of `prove` or `hold`.

    Attributes:
        chapter: Its slug.
        call: "prove" or "hold".
        claim: Identity of the claim, where the call names it; a loop may make several.
        statements: The program; the last statement holds the call.
        imports: The import statements of the chapter that bind a name of the program.
        text: The program as it is written, with its imports.
    """

    chapter: str
    call: str
    claim: str | None
    statements: tuple[ast.stmt, ...]
    imports: tuple[ast.stmt, ...]
    text: str = ""

    def key(self, claims: Mapping[str, Any]) -> str:
        """Hash of what the outcome depends on.

        Args:
            claims: Under "claims" the registered ones, by identity, and under "symbols" the
                symbols, by source.
        """
        digest = hashlib.sha256(f"{VERSION}\0{self.call}\0{self.text}".encode())
        listed = claims["claims"]
        named = [self.claim] if self.claim else sorted(_may_name(self.statements[-1], listed))
        registered = {name: listed.get(name) for name in named}
        sources = {str((spec or [None, None])[1]) for spec in registered.values()} | _texts(self)
        spelled = {name: spec for name, spec in claims["symbols"].items() if name in sources}
        digest.update(json.dumps([registered, spelled], sort_keys=True, default=str).encode())
        files = {chapters.ROOT / f"snnlib/ledger/{name}.py" for name in DECIDES}
        for path in sorted(files | _library_files(self.imports, self.statements)):
            digest.update(_content(path))
        return digest.hexdigest()[:16]


@functools.cache
def _content(path: Path) -> bytes:
    return path.read_bytes()


def _texts(proof: Proof) -> set[str]:
    """All texts in a program, the names of sources among them."""
    return {
        node.value
        for statement in proof.statements
        for node in ast.walk(statement)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def _may_name(statement: ast.stmt, claims: Mapping[str, Any]) -> set[str]:
    """Claims whose identity fits a formatted string in a call's first argument."""
    openings = [n.values[0] for n in ast.walk(statement) if isinstance(n, ast.JoinedStr)]
    prefixes = {str(opening.value) for opening in openings if isinstance(opening, ast.Constant)}
    texts = {
        node.value
        for node in ast.walk(statement)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return {name for name in claims if name in texts or any(map(name.startswith, prefixes))}


def _names(statements: Sequence[ast.stmt]) -> set[str]:
    return {n.id for node in statements for n in ast.walk(node) if isinstance(n, ast.Name)}


def _module(name: str) -> Path | None:
    """File of a module of snnlib."""
    path = chapters.ROOT / name.replace(".", "/")
    found = [p for p in (path.with_suffix(".py"), path / "__init__.py") if p.exists()]
    return found[0] if found else None


@functools.cache
def _taken(path: Path) -> Mapping[str, str]:
    """Names that a module of the library takes from others, with where they come from."""
    tree = ast.parse(path.read_text("utf-8"))
    return {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("snnlib")
        for alias in node.names
    }


def _defined_in(name: str, attributes: Mapping[str, set[str]]) -> set[Path]:
    """Files that define what `from module import name` takes, those that they import included."""
    found: set[Path] = set()
    waiting = [(name, attributes)]
    while waiting:
        dotted, used = waiting.pop()
        path = _module(dotted)
        module, _, last = dotted.rpartition(".")
        if path is None:  # a name inside a module
            path = _module(module)
            if path is None:
                continue
            if last in _taken(path):
                waiting.append((_taken(path)[last], used))
            if path.name == "__init__.py" and last in _taken(path):
                continue  # it only passes the name on
        elif path.name == "__init__.py":
            waiting += [(f"{dotted}.{part}", {}) for part in used.get(last, ())]
            continue
        if path not in found:
            found.add(path)
            waiting += [(origin, {}) for origin in _taken(path).values()]
    return found


def _library_files(imports: Sequence[ast.stmt], statements: Sequence[ast.stmt]) -> set[Path]:
    """Files of snnlib in which what a program uses is defined, the ledger's face left out."""
    attributes: dict[str, set[str]] = {}
    for statement in statements:
        for node in ast.walk(statement):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                attributes.setdefault(node.value.id, set()).add(node.attr)
    used = _names(statements) - {"ledger"}
    files: set[Path] = set()
    for node in imports:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("snnlib"):
            for alias in node.names:
                name = alias.asname or alias.name
                if name in used:
                    seen = {alias.name: attributes.get(name, set())}
                    files |= _defined_in(f"{node.module}.{alias.name}", seen)
    return files


def _lines(source: str) -> list[str]:
    return [line for line in source.splitlines() if not line.lstrip().startswith(("%", "!"))]


def _parse(source: str) -> ast.Module:
    return ast.parse("\n".join(_lines(source)))


def _text(source: str, statement: ast.stmt) -> str:
    """A statement as it is written, its decorators included."""
    decorators = getattr(statement, "decorator_list", [])
    start = min([statement.lineno, *(node.lineno for node in decorators)])
    written = _lines(source)[start - 1 : statement.end_lineno]
    return "\n".join(line.rstrip() for line in written)


def _name(alias: ast.alias) -> str:
    return (alias.asname or alias.name).partition(".")[0]


def _binds(node: ast.stmt) -> set[str]:
    if not isinstance(node, ast.Import | ast.ImportFrom):
        return set()
    return {_name(alias) for alias in node.names}


def _only(node: ast.stmt, names: set[str]) -> ast.stmt:
    """An import statement without the names that are not used."""
    assert isinstance(node, ast.Import | ast.ImportFrom)
    used = copy.copy(node)
    used.names = [alias for alias in node.names if _name(alias) in names]
    return used


def calls(tree: ast.AST) -> Iterator[tuple[str, str | None]]:
    """Each call of `ledger.prove` or `ledger.hold`, with the claim that it names."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("prove", "hold")
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "ledger"
        ):
            first = node.args[0]
            named = first.value if isinstance(first, ast.Constant) else None
            yield node.func.attr, named if isinstance(named, str) else None


def proofs(path: Path) -> list[Proof]:
    """All proofs of a chapter, in order."""
    import jupytext

    sources = [cell.source for cell in jupytext.read(path).cells if cell.cell_type == "code"]
    history, imports, found = [""], [], []
    for source in sources:
        history.append(source)
        tree = _parse(source)
        imports += [node for node in tree.body if _binds(node)]
        for call, claim in calls(tree):
            built = notebook_slice(history, call, claim=claim)
            if built is None:
                continue
            statements = tuple(node for _, node in built.statements)
            names = _names(statements)
            wanted = tuple(_only(node, names) for node in imports if _binds(node) & names)
            written = [ast.unparse(node) for node in wanted]
            written += [_text(history[cell], node) for cell, node in built.statements]
            text = "\n".join(written)
            found.append(Proof(chapters.slug(path), call, claim, statements, wanted, text))
    return found
