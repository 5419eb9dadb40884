"""Errors to plant in the library's formulas, one at a time, as changed source text.

A mutation changes one expression in the body of a function: a constant, a sign, a factor, a power,
a comparison, a bound, a name, a copy that is not made. Docstrings, annotations, messages of errors
and default values are left alone: they are not formulas.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from typing import NamedTuple

ADDITIVE = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}
STRICTER = {ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Lt: ast.LtE, ast.LtE: ast.Lt}
OPPOSITE = {ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is}
SWAPPED = {"fan_in": "fan_out", "fan_out": "fan_in", "min": "max", "max": "min"}
SWAPPED |= {"minimum": "maximum", "maximum": "minimum", "any": "all", "all": "any"}
COPIES = frozenset({"clone", "detach"})
TINY = 1e-5  # smaller numbers are tolerances, of which 5 % change nothing


Placed = ast.stmt | ast.expr


class Mutation(NamedTuple):
    """One planted error.

    Attributes:
        line: Where it is.
        owner: The function or class at the top level of the module that it is in.
        kind: What was done.
        was: The expression as it stands there.
        planted: What stands there instead.
        source: The whole changed text.
    """

    line: int
    owner: str
    kind: str
    was: str
    planted: str
    source: str


def mutations(source: str) -> list[Mutation]:
    r"""All errors that can be planted in a module, in the order of its text.

    Args:
        source: The module.

    Example:
        >>> found = mutations("def gain(n, p):\n    return 2.0 / (n * p)\n")
        >>> [each.planted for each in found]
        ['2.0 * (n * p)', '2.1', 'n / p', 'n']
    """
    text, found = Text(source), []
    for owner, function in functions(ast.parse(source)):
        for node in _expressions(function.body):
            was = ast.unparse(node)
            for kind, new in _wrong(node):
                planted = ast.unparse(new)
                changed = text.changed(node, node, f"({planted})")
                found.append(Mutation(node.lineno, owner, kind, was, planted, changed))
    return found


class Text:
    """A module's text, in which what stands at a node can be written over.

    Args:
        source: The module.
    """

    def __init__(self, source: str) -> None:
        lines = source.encode().splitlines(keepends=True)
        self.whole, self.starts = b"".join(lines), [0]
        for line in lines:
            self.starts.append(self.starts[-1] + len(line))

    def changed(self, first: Placed, last: Placed, new: str) -> str:
        """The text with something else from the start of one node to the end of another."""
        assert last.end_lineno is not None and last.end_col_offset is not None
        low = self.starts[first.lineno - 1] + first.col_offset
        high = self.starts[last.end_lineno - 1] + last.end_col_offset
        return (self.whole[:low] + new.encode() + self.whole[high:]).decode()


def functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Each function with the name of what stands at the top level."""
    for top in tree.body:
        if isinstance(top, ast.FunctionDef):
            yield top.name, top
        elif isinstance(top, ast.ClassDef):
            for method in top.body:
                if isinstance(method, ast.FunctionDef):
                    yield top.name, method


def _expressions(body: list[ast.stmt]) -> Iterator[ast.expr]:
    """The expressions of statements that compute something, outside of texts."""
    todo: list[ast.AST] = list(reversed(body))
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Raise | ast.Assert | ast.JoinedStr | ast.Import | ast.ImportFrom):
            continue
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue  # a docstring
        if isinstance(node, ast.expr):
            yield node
        children: list[ast.AST] = list(ast.iter_child_nodes(node))
        if isinstance(node, ast.FunctionDef):
            children = list(node.body)
        elif isinstance(node, ast.AnnAssign):
            children = [node.value] if node.value else []
        todo.extend(reversed(children))


def _wrong(node: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    """Expressions that are not the one that is there."""
    if isinstance(node, ast.Constant):
        if type(node.value) is float and abs(node.value) > TINY:
            yield "constant", ast.Constant(1.05 * node.value)
        elif type(node.value) is int and node.value > 1:
            yield "constant", ast.Constant(node.value - 1)
    elif isinstance(node, ast.BinOp) and not _texts(node):
        if (other := ADDITIVE.get(type(node.op))) is not None:
            yield "operation", ast.BinOp(node.left, other(), node.right)
        if isinstance(node.op, ast.Mult | ast.Add | ast.Sub | ast.Pow):
            yield "dropped", node.left
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not):
        yield "sign", node.operand
    elif isinstance(node, ast.BoolOp):
        other_op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield "condition", ast.BoolOp(other_op, node.values)
    elif isinstance(node, ast.Compare):
        for place, op in enumerate(node.ops):
            if new := (STRICTER | OPPOSITE).get(type(op)):
                changed = copy.deepcopy(node)
                changed.ops[place] = new()
                yield "condition", changed
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in SWAPPED:
        yield "name", ast.Name(SWAPPED[node.id])
    elif isinstance(node, ast.Attribute) and node.attr in SWAPPED:
        yield "name", ast.Attribute(node.value, SWAPPED[node.attr])
    elif (copied := _copied(node)) is not None:
        yield "copy", copied


def _copied(node: ast.expr) -> ast.expr | None:
    """What a call copies or cuts off; None if it does neither."""
    called = node.func if isinstance(node, ast.Call) and not node.args else None
    return called.value if isinstance(called, ast.Attribute) and called.attr in COPIES else None


def _texts(node: ast.BinOp) -> bool:
    """Whether it joins texts or types, not numbers."""
    parts = [node.left, node.right]
    while parts:
        part = parts.pop()
        if isinstance(part, ast.JoinedStr | ast.List | ast.Tuple | ast.Dict):
            return True
        if isinstance(part, ast.Constant) and not isinstance(part.value, int | float | complex):
            return True
        if isinstance(part, ast.BinOp):
            parts += [part.left, part.right]
    return isinstance(node.op, ast.BitOr)
