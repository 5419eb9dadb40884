"""Where in a notebook a derived expression was built: a backward slice over its cells."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import NamedTuple

__all__ = ["Slice", "notebook_slice"]

_MODULE = frozenset({"ledger"})


class Slice(NamedTuple):
    """Cells (execution counts) that a value rests on, and the calls they make to the ledger."""

    cells: tuple[int, ...]
    ledger_calls: tuple[str, ...]


def _parse(source: str) -> ast.Module | None:
    lines = [line for line in source.splitlines() if not line.lstrip().startswith(("%", "!"))]
    try:
        return ast.parse("\n".join(lines))
    except SyntaxError:
        return None


def _names_read(tree: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


def _names_bound(statement: ast.stmt) -> set[str]:
    bound = {
        n.id
        for n in ast.walk(statement)
        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        bound.add(statement.name)
    # a method call or an item assignment may change its object in place
    for node in ast.walk(statement):
        if isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store):
            root: ast.AST = node
            while isinstance(root, ast.Subscript | ast.Attribute):
                root = root.value
            if isinstance(root, ast.Name):
                bound.add(root.id)
    return bound


class _Names(NamedTuple):
    """Names under which a notebook reaches the ledger: the module, and its functions."""

    modules: frozenset[str]
    functions: Mapping[str, str]

    def called(self, node: ast.AST) -> str | None:
        """Name of the ledger's function that a node calls, if it does."""
        if not isinstance(node, ast.Call):
            return None
        target = node.func
        if isinstance(target, ast.Name):
            return self.functions.get(target.id)
        if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
            return target.attr if target.value.id in self.modules else None
        return None

    def calls(self, tree: ast.AST) -> set[str]:
        """Every function of the ledger that is called below a node."""
        return {name for name in map(self.called, ast.walk(tree)) if name}


def notebook_slice(
    history: Sequence[str],
    call: str,
    *,
    modules: frozenset[str] = _MODULE,
    functions: Mapping[str, str] | None = None,
) -> Slice | None:
    """Trace the arguments of the last ledger call back through the cells that built them.

    Args:
        history: sources of the executed cells, index = execution count; the last one makes
            the call.
        call: name of the ledger function that was called, for example "prove".
        modules: names that the notebook gave to the ledger.
        functions: names that it gave to functions of the ledger, with their own names.

    Returns:
        The slice, or None if the call is not in the last cell (it came from a helper).

    Example:
        >>> cells = ["", "n = 2", "other = 5", "var = n + 1", "ledger.prove('c', var)"]
        >>> notebook_slice(cells, "prove").cells
        (1, 3, 4)
    """
    if not history:
        return None
    names = _Names(modules, functions or {})
    own = names.modules | set(names.functions)
    last = _parse(history[-1])
    if last is None or call not in names.calls(last):
        return None
    wanted: set[str] = set()
    calls: set[str] = set()
    for node in ast.walk(last):
        if isinstance(node, ast.Call) and names.called(node) == call:
            wanted |= {name for arg in node.args[1:] for name in _names_read(arg)}
            wanted |= {name for kw in node.keywords for name in _names_read(kw.value)}
            for argument in (*node.args[1:], *(kw.value for kw in node.keywords)):
                calls |= names.calls(argument)
    wanted -= own
    cells: list[int] = []
    for index in range(len(history) - 1, -1, -1):
        tree = _parse(history[index])
        if tree is None:
            continue
        used = index == len(history) - 1
        for statement in reversed(tree.body):
            if isinstance(statement, ast.Import | ast.ImportFrom):
                continue
            bound = _names_bound(statement)
            if bound & wanted:
                used = True
                wanted |= _names_read(statement) - own
                calls |= names.calls(statement)
        if used:
            cells.append(index)
    return Slice(tuple(sorted(cells)), tuple(sorted(calls)))
