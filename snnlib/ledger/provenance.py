"""Where in a notebook a derived expression was built: a backward slice over its cells."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
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


def _stored(node: ast.AST) -> set[str]:
    """Names that a target or a body binds, those of comprehensions and inner functions left out."""
    inner = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp | ast.Lambda
    if isinstance(node, inner):
        return set()
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Name):
        return set() if isinstance(node.ctx, ast.Load) else {node.id}
    return set().union(*(_stored(child) for child in ast.iter_child_nodes(node)))


class _Reads(ast.NodeVisitor):
    """Names that code reads and has not bound itself before, in `free`."""

    def __init__(self) -> None:
        self.free: set[str] = set()
        self.bound: set[str] = set()

    def _inside(self, names: set[str], *nodes: ast.AST) -> None:
        before = set(self.bound)
        self.bound |= names
        for node in nodes:
            self.visit(node)
        self.bound = before

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load) and node.id not in self.bound:
            self.free.add(node.id)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        for target in node.targets:
            self.visit(target)
            self.bound |= _stored(target)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.generic_visit(node)
        if isinstance(node.target, ast.Name) and node.target.id not in self.bound:
            self.free.add(node.target.id)

    def visit_For(self, node: ast.For) -> None:
        self.visit(node.iter)
        self._inside(_stored(node.target), node.target, *node.body)
        self._inside(set(), *node.orelse)

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        self._inside(set(), *node.body)
        self._inside(set(), *node.orelse)

    def visit_While(self, node: ast.While) -> None:
        self.visit(node.test)
        self._inside(set(), *node.body, *node.orelse)

    def visit_Try(self, node: ast.Try) -> None:
        for part in (node.body, node.handlers, node.orelse, node.finalbody):
            self._inside(set(), *part)

    def _visit_function(self, node: ast.FunctionDef | ast.Lambda) -> None:
        arguments = node.args
        for default in (*arguments.defaults, *(d for d in arguments.kw_defaults if d)):
            self.visit(default)
        every = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
        names = {argument.arg for argument in every}
        names |= {extra.arg for extra in (arguments.vararg, arguments.kwarg) if extra}
        if isinstance(node, ast.Lambda):
            self._inside(names, node.body)
            return
        for decorator in node.decorator_list:
            self.visit(decorator)
        self._inside(names.union(*map(_stored, node.body)), *node.body)
        self.bound.add(node.name)

    visit_Lambda = visit_FunctionDef = _visit_function

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for part in (*node.decorator_list, *node.bases):
            self.visit(part)
        self._inside(set(), *node.body)
        self.bound.add(node.name)

    def _visit_comprehension(
        self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp
    ) -> None:
        self.visit(node.generators[0].iter)
        names = set().union(*(_stored(part.target) for part in node.generators))
        later = [part.iter for part in node.generators[1:]]
        tests = [test for part in node.generators for test in part.ifs]
        ends = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        self._inside(names, *later, *tests, *ends)

    visit_ListComp = visit_SetComp = visit_GeneratorExp = visit_DictComp = _visit_comprehension


def _names_read(tree: ast.AST) -> set[str]:
    """Names whose values from before a statement or an expression rests on."""
    reads = _Reads()
    reads.visit(tree)
    return reads.free


def _root(node: ast.AST) -> str | None:
    """Name at the start of a chain of attributes and items."""
    while isinstance(node, ast.Subscript | ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def _names_bound(statement: ast.stmt, modules: frozenset[str] = frozenset()) -> set[str]:
    """Names that a statement binds, or whose objects it may change in place."""
    bound = _stored(statement)
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
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


def _replaced(statement: ast.stmt) -> set[str]:
    """Names whose values from before do not matter after a statement."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return {statement.name}
    if not isinstance(statement, ast.Assign):
        return set()
    whole: set[str] = set()
    for target in statement.targets:
        parts = target.elts if isinstance(target, ast.Tuple | ast.List) else [target]
        whole |= {part.id for part in parts if isinstance(part, ast.Name)}
    return whole


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


@dataclass(frozen=True)
class _Program:
    """The cells of a notebook up to a statement that makes a call."""

    trees: Sequence[ast.Module | None]
    target: ast.stmt
    imported: frozenset[str]
    own: frozenset[str]

    def made_in_target(self, wanted: set[str]) -> set[str]:
        """Those of some names that the calling statement binds itself."""
        return _names_bound(self.target, self.imported) & wanted

    @cached_property
    def read_by(self) -> Mapping[str, set[str]]:
        """Name of a function -> names that a call of it reads, whenever they were bound."""
        found: dict[str, set[str]] = {}
        for statement in (node for tree in self.trees if tree for node in tree.body):
            later = isinstance(statement, ast.FunctionDef | ast.ClassDef) or (
                isinstance(statement, ast.Assign)
                and any(isinstance(node, ast.Lambda) for node in ast.walk(statement.value))
            )
            for name in _stored(statement) if later else ():
                found.setdefault(name, set()).update(_names_read(statement) - self.own)
        return found

    def called(self, names: set[str]) -> set[str]:
        """Names, and what calls of the functions among them read."""
        every, new = set(names), set(names)
        while new:
            new = set().union(*(self.read_by.get(name, ()) for name in new)) - every
            every |= new
        return every

    def traced(self, wanted: set[str]) -> list[tuple[int, ast.stmt]]:
        """Statements that bind some names, and what they rest on, the last one first."""
        taken = []
        wanted = self.called(wanted)
        if made := self.made_in_target(wanted):
            wanted = (wanted - made) | self.called(_names_read(self.target) - self.own)
        for index in range(len(self.trees) - 1, -1, -1):
            tree = self.trees[index]
            for statement in reversed(tree.body if tree else []):
                if statement is self.target or isinstance(statement, ast.Import | ast.ImportFrom):
                    continue
                if index == len(self.trees) - 1 and statement.lineno > self.target.lineno:
                    continue  # runs after the call
                if _names_bound(statement, self.imported) & wanted:
                    reads = self.called(_names_read(statement) - self.own)
                    wanted = (wanted - _replaced(statement)) | reads
                    taken.append((index, statement))
        return taken


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
    program = _Program(trees, target, imported, own)
    taken = program.traced(wanted)
    for _, statement in taken:
        calls |= names.calls(statement)
    if program.made_in_target(wanted):
        calls |= names.calls(target)
    calls.discard(call)
    cells = {len(history) - 1, *(index for index, _ in taken)}
    statements = (*reversed(taken), (len(history) - 1, target))
    return Slice(tuple(sorted(cells)), tuple(sorted(calls)), statements)
