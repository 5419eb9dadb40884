"""The proofs of a chapter, each with the statements that built it.

A proof is a call of `ledger.prove` or `ledger.hold` in a cell.  Its program is the slice of the
chapter's statements that the call's arguments rest on, in order: it runs without the rest of the
chapter, and without its simulations.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snnlib.ledger.provenance import notebook_slice
from tools import chapters

VERSION = 1  # of the planted errors: another one makes all results stale
DECIDES = ("decide", "moments", "proofs")  # the ledger's modules that a proof rests on


@dataclass(frozen=True)
class Proof:
    """One call of `prove` or `hold`.

    Attributes:
        chapter: Its slug.
        call: "prove" or "hold".
        claim: Identity of the claim, where the call names it; a loop may make several.
        statements: The program; the last statement holds the call.
        imports: The import statements of the chapter that bind a name of the program.
    """

    chapter: str
    call: str
    claim: str | None
    statements: tuple[ast.stmt, ...]
    imports: tuple[ast.stmt, ...]

    @property
    def text(self) -> str:
        """The program as text."""
        return "\n".join(ast.unparse(node) for node in (*self.imports, *self.statements))

    def key(self, claims: Mapping[str, Any]) -> str:
        """Hash of what the outcome depends on.

        That is the program, the registered claims that it may prove, the modules of the ledger
        that decide, and the library's modules that the program imports.
        """
        digest = hashlib.sha256(f"{VERSION}\0{self.call}\0{self.text}".encode())
        named = [self.claim] if self.claim else sorted(_may_name(self.statements[-1], claims))
        registered = {name: claims.get(name) for name in named}
        digest.update(json.dumps(registered, sort_keys=True, default=str).encode())
        files = [chapters.ROOT / f"snnlib/ledger/{name}.py" for name in DECIDES]
        for path in sorted({*files, *_library_files(self.imports)}):
            digest.update(path.read_bytes())
        return digest.hexdigest()[:16]


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


def _library_files(imports: tuple[ast.stmt, ...]) -> set[Path]:
    """Files of snnlib that import statements name, the ledger's package left out."""
    named = set()
    for node in imports:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("snnlib"):
            named |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names if alias.name.startswith("snnlib")}
    files = set()
    for name in named:
        path = chapters.ROOT / str(name).replace(".", "/")
        files |= {p for p in (path.with_suffix(".py"), path / "__init__.py") if p.exists()}
    return files - {
        chapters.ROOT / "snnlib/ledger/__init__.py",
        chapters.ROOT / "snnlib/__init__.py",
    }


def _parse(source: str) -> ast.Module:
    lines = [line for line in source.splitlines() if not line.lstrip().startswith(("%", "!"))]
    return ast.parse("\n".join(lines))


def _binds(node: ast.stmt) -> set[str]:
    if not isinstance(node, ast.Import | ast.ImportFrom):
        return set()
    return {(alias.asname or alias.name).partition(".")[0] for alias in node.names}


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
            names = {n.id for node in statements for n in ast.walk(node) if isinstance(n, ast.Name)}
            wanted = tuple(node for node in imports if _binds(node) & names)
            found.append(Proof(chapters.slug(path), call, claim, statements, wanted))
    return found
