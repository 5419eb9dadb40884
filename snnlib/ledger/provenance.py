"""Where in a notebook a derived expression was built: a backward slice over its cells."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import NamedTuple

__all__ = ["Slice", "notebook_slice"]

_MODULE = frozenset({"ledger"})


class Slice(NamedTuple):
    """What a value rests on: cells (execution counts), their calls to the ledger, statements."""

    cells: tuple[int, ...]
    ledger_calls: tuple[str, ...]
    statements: tuple[tuple[int, ast.stmt], ...]
    """Cell and statement, in the order of execution; the last holds the call."""


def _parse(source: str) -> ast.Module | None:
    lines = [line for line in source.splitlines() if not line.lstrip().startswith(("%", "!"))]
    try:
        return ast.parse("\n".join(lines))
    except SyntaxError:
        return None


def _names_read(tree: ast.AST) -> set[str]:
    read = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    added_to = (n.target for n in ast.walk(tree) if isinstance(n, ast.AugAssign))
    return read | {n.id for n in added_to if isinstance(n, ast.Name)}


def _root(node: ast.AST) -> str | None:
    """Name at the start of a chain of attributes and items."""
    while isinstance(node, ast.Subscript | ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def _names_bound(statement: ast.stmt, modules: frozenset[str] = frozenset()) -> set[str]:
    """Names that a statement binds, or whose objects it may change in place."""
    bound = {
        n.id
        for n in ast.walk(statement)
        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        bound.add(statement.name)
        return bound  # what its body changes, a call changes
    for node in ast.walk(statement):
        changed = None
        if isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store):
            changed = _root(node)
        elif (  # algebra.declare(...), rows.append(...): called for its effect alone
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Call)
            and isinstance(node.value.func, ast.Attribute)
        ):
            changed = _root(node.value.func)
        if changed and changed not in modules:
            bound.add(changed)
    return bound


def _imported(trees: Sequence[ast.Module | None]) -> frozenset[str]:
    """Names that import statements bind."""
    return frozenset(
        (alias.asname or alias.name).partition(".")[0]
        for tree in trees
        if tree is not None
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    )


_READERS = frozenset({"read_claims", "statement_of", "claim_of"})


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
        """Every function of the ledger that is called below a node.

        What can read a printed statement counts wherever its name comes from.
        """
        found = {name for name in map(self.called, ast.walk(tree)) if name}
        for node in ast.walk(tree):
            name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", None)
            if name in _READERS or (name == "printed" and isinstance(node, ast.Attribute)):
                found.add("printed")
        return found


def _names_claim(call: ast.Call, claim: str | None) -> bool:
    first = call.args[0] if call.args else None
    return isinstance(first, ast.Constant) and first.value == claim


def notebook_slice(
    history: Sequence[str],
    call: str,
    *,
    modules: frozenset[str] = _MODULE,
    functions: Mapping[str, str] | None = None,
    claim: str | None = None,
) -> Slice | None:
    """Trace the arguments of a ledger call back through the cells that built them.

    Args:
        history: sources of the executed cells, index = execution count; the last one makes
            the call.
        call: name of the ledger function that was called, for example "prove".
        modules: names that the notebook gave to the ledger.
        functions: names that it gave to functions of the ledger, with their own names.
        claim: identity that the call names, where a cell makes several; else, or where none of
            them names it, all calls of the last cell are traced.

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
    trees = [_parse(source) for source in history]
    last = trees[-1]
    if last is None or call not in names.calls(last):
        return None
    imported = own | _imported(trees)
    wanted: set[str] = set()
    calls: set[str] = set()
    made = [
        (statement, node)
        for statement in last.body
        for node in ast.walk(statement)
        if isinstance(node, ast.Call) and names.called(node) == call
    ]
    named = [(statement, node) for statement, node in made if _names_claim(node, claim)]
    for _, node in named or made:
        for argument in (*node.args[1:], *(kw.value for kw in node.keywords)):
            wanted |= _names_read(argument)
            calls |= names.calls(argument)
    target = (named or made)[-1][0]
    wanted -= own
    cells, taken = [len(history) - 1], [(len(history) - 1, target)]
    for index in range(len(history) - 1, -1, -1):
        tree, used = trees[index], False
        for statement in reversed(tree.body if tree else []):
            if statement is target or isinstance(statement, ast.Import | ast.ImportFrom):
                if statement is target and _names_bound(statement, imported) & wanted:
                    wanted |= _names_read(statement) - own
                    calls |= names.calls(statement)
                continue
            if index == len(history) - 1 and statement.lineno > target.lineno:
                continue  # runs after the call
            if _names_bound(statement, imported) & wanted:
                used = True
                wanted |= _names_read(statement) - own
                calls |= names.calls(statement)
                taken.append((index, statement))
        if used and index not in cells:
            cells.append(index)
    calls.discard(call)
    return Slice(tuple(sorted(cells)), tuple(sorted(calls)), tuple(reversed(taken)))
