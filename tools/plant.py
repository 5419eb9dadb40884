"""Errors to plant in the premises of a proof, one at a time.

A premise is what a derivation starts from: a declared moment, a bound of an integral, a sum or a
limit, the neuron's equation, a coefficient or a sign of an expression that a deriving step then
works on.  What a proof ends at, the sides of a typed relation, is no premise, and neither is an
expression that goes to the ledger as it was typed: there is nothing that follows from it.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# Calls in which something follows from something else; expand, simplify and subs only rewrite.
DERIVING = frozenset(
    [
        "integrate",
        "Integral",
        "doit",
        "diff",
        "Derivative",
        "limit",
        "Limit",
        "series",
        "solve",
        "solveset",
        "linsolve",
        "nonlinsolve",
        "rsolve",
        "dsolve",
        "summation",
        "Sum",
        "Product",
        "expectation",
        "variance",
        "covariance",
        "carry",
        "cdf",
        "density",
        "E",
        "P",
        "det",
        "inv",
        "eigenvals",
        "charpoly",
        "jacobian",
        "nullspace",
        "discriminant",
        "roots",
        "maximum",
        "minimum",
    ]
)
RELATIONS = frozenset(["Eq", "Ne", "Gt", "Ge", "Lt", "Le", "same", "prove", "hold"])
BOUNDED = frozenset(["integrate", "Integral", "summation", "Sum", "limit", "Limit", "Product"])


@dataclass(frozen=True)
class Error:
    """One planted error.

    Attributes:
        kind: "moment", "bound", "neuron", "sign" or "coefficient".
        was: The text of what was changed.
        planted: The text of what stands there now.
        program: The changed statements.
    """

    kind: str
    was: str
    planted: str
    program: tuple[ast.stmt, ...]


def _called(node: ast.AST) -> str:
    if not isinstance(node, ast.Call):
        return ""
    target = node.func
    return target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")


def _reads(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


def _stores(statement: ast.stmt) -> set[str]:
    bound = {
        n.id
        for n in ast.walk(statement)
        if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)
    }
    if isinstance(statement, ast.FunctionDef):
        bound = {statement.name}
    for node in ast.walk(statement):  # algebra.declare(...) changes algebra
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            target = node.value.func
            if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
                bound.add(target.value.id)
    return bound


def _deriving_names(program: Sequence[ast.stmt]) -> frozenset[str]:
    """Functions of the chapter in whose body something is derived."""
    names: set[str] = set()
    for statement in program:
        body = isinstance(statement, ast.FunctionDef) or (
            isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Lambda)
        )
        if body and any(_called(n) in DERIVING | names for n in ast.walk(statement)):
            names |= _stores(statement)
    return frozenset(names)


def _flows_on(program: Sequence[ast.stmt], index: int, deriving: frozenset[str]) -> bool:
    """Whether what a statement binds goes through a deriving step later on."""
    tainted = _stores(program[index])
    for statement in program[index + 1 :]:
        for node in ast.walk(statement):
            if _called(node) in deriving and _reads(node) & tainted:
                return True
        if _reads(statement) & tainted:
            tainted |= _stores(statement)
    return False


Place = tuple[str, ast.expr, list[ast.AST]]  # kind, node, the nodes above it


def _places(statement: ast.stmt) -> Iterator[Place]:
    """Nodes of a statement in which an error can be planted."""

    def visit(node: ast.AST, above: list[ast.AST]) -> Iterator[Place]:
        path = [*above, node]
        name = _called(node)
        if isinstance(node, ast.JoinedStr) or name in ("range", "symbols", "Symbol", "Function"):
            return  # text, counts and names
        if isinstance(node, ast.Subscript):
            yield from visit(node.value, path)
            return
        if name == "declare":
            assert isinstance(node, ast.Call)
            for argument in (
                *node.args[1:],
                *(k.value for k in node.keywords if k.arg == "moments"),
            ):
                if isinstance(argument, ast.Dict):
                    yield from (("moment", value, path) for value in argument.values)
                elif isinstance(argument, ast.Lambda):
                    yield "moment", argument.body, [*path, argument]
            return
        if name in BOUNDED:
            assert isinstance(node, ast.Call)
            for argument in node.args[1:]:
                if isinstance(argument, ast.Tuple) and len(argument.elts) == 3:
                    yield from (("bound", bound, path) for bound in argument.elts[1:])
            if name in ("limit", "Limit") and len(node.args) > 2:
                yield "bound", node.args[2], path
        if name == "carry" and isinstance(node, ast.expr):
            yield "neuron", node, above
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            yield "sign", node, above
        if isinstance(node, ast.BinOp):
            if isinstance(node.op, ast.Add | ast.Sub):
                yield "sign", node, above
            if isinstance(node.op, ast.Mult | ast.Div | ast.Pow):
                yield "coefficient", node, above
        for child in ast.iter_child_nodes(node):
            yield from visit(child, path)

    yield from visit(statement, [])


def _wrong(kind: str, node: ast.expr, call: str) -> ast.expr:
    """The node with an error of 5 % in it, and of the other sign where the proof is a relation."""
    text, error = ast.unparse(node), "21" if call == "prove" else "-21"
    if kind == "sign":
        if isinstance(node, ast.UnaryOp):
            return copy.deepcopy(node.operand)
        assert isinstance(node, ast.BinOp)
        flipped = copy.deepcopy(node)
        flipped.op = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
        return flipped
    if kind == "bound":
        if text.endswith("oo"):
            new = f"({text.replace('sp.oo', '3').replace('oo', '3')})"
        else:
            new = f"(({text}) + 1)"
    elif text == "0":
        new = "sp.Rational(1, 20)"
    else:
        new = f"(({text}) * sp.Rational({error}, 20))"
    return ast.parse(new, mode="eval").body


class _Swap(ast.NodeTransformer):
    def __init__(self, number: int, new: ast.expr) -> None:
        self.number, self.new, self.seen = number, new, -1

    def visit(self, node: ast.AST) -> ast.AST:
        self.seen += 1
        if self.seen == self.number:
            return self.new
        return self.generic_visit(node)


def _replaced(statement: ast.stmt, old: ast.AST, new: ast.expr) -> ast.stmt:
    """A copy of a statement with another node in place of one of its own."""
    order: list[ast.AST] = []

    def walk(node: ast.AST) -> None:
        order.append(node)
        for child in ast.iter_child_nodes(node):
            walk(child)

    walk(statement)
    number = next(i for i, node in enumerate(order) if node is old)
    changed = _Swap(number, new).visit(copy.deepcopy(statement))
    assert isinstance(changed, ast.stmt)
    return ast.fix_missing_locations(changed)


def _is_premise(
    place: Place, program: Sequence[ast.stmt], index: int, call: str, deriving: frozenset[str]
) -> bool:
    """Whether an error there is one in a premise."""
    kind, _, above = place
    names = [_called(node) for node in above]
    derived_here = any(name in deriving for name in names)
    if kind in ("moment", "bound", "neuron"):
        return True
    innermost = max((i for i, name in enumerate(names) if name in RELATIONS), default=-1)
    if innermost >= 0 and not any(name in deriving for name in names[innermost + 1 :]):
        return False  # a side of a typed relation
    if derived_here or _flows_on(program, index, deriving):
        return True
    # that an inequality holds is decided by the ledger itself: what goes into it is a premise
    return call == "hold" and index < len(program) - 1


def errors(program: Sequence[ast.stmt], call: str, most: int = 12) -> list[Error]:
    """Planted errors, the premises that a derivation declares first, then the earliest.

    Args:
        program: The statements that built a proof, its call in the last.
        call: "prove" or "hold".
        most: How many to plant; all declared moments are among them.
    """
    deriving = DERIVING | _deriving_names(program)
    found: list[Error] = []
    for index, statement in enumerate(program):
        for place in _places(statement):
            kind, node, _ = place
            if not _is_premise(place, program, index, call, deriving):
                continue
            new = _wrong(kind, node, call)
            changed = list(program)
            changed[index] = _replaced(statement, node, new)
            found.append(Error(kind, ast.unparse(node), ast.unparse(new), tuple(changed)))
    rank = {"moment": 0, "neuron": 1, "bound": 2, "sign": 3, "coefficient": 3}
    first = [error for error in found if rank[error.kind] < 3]
    rest = [error for error in found if rank[error.kind] == 3]
    first.sort(key=lambda error: rank[error.kind])
    room = max(most - len(first), 4)
    step = max(len(rest) // room, 1)
    return first[: max(most, sum(e.kind == "moment" for e in first))] + rest[::step][:room]
