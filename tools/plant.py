"""Errors to plant in the premises of a proof, one at a time.

A premise is what a derivation starts from: a declared moment, a bound of an integral, a sum or a
limit, the neuron's equation, a coefficient or a sign of an expression that a deriving step then
works on.  What a proof ends at, the sides of a typed relation, is no premise, and neither is an
expression that goes to the ledger as it was typed: there is nothing that follows from it.

Where an error can be planted is read off the text; whether a symbolic value is there, and whether
the place is reached at all, is seen in a run of the unchanged program (`watched`).
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator, Mapping, Sequence
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
        "hessian",
        "coeff",
        "interpolate",
        "nullspace",
        "discriminant",
        "roots",
        "maximum",
        "minimum",
    ]
)
RELATIONS = frozenset(["Eq", "Ne", "Gt", "Ge", "Lt", "Le", "same", "prove", "hold"])
NUMBERS = frozenset(["Rational", "Integer"])
NAMING = frozenset(["range", "symbols", "Symbol", "Function"])
FUNCTIONS = frozenset(["exp", "log", "sqrt", "erf", "erfc", "tanh", "sin", "cos"])
TERM = (ast.Name, ast.Attribute)  # a term of a sum without a coefficient of its own
WATCH = "_watch_"
BOUNDED = frozenset(["integrate", "Integral", "summation", "Sum", "limit", "Limit", "Product"])


DECLARED = ("moment", "neuron", "bound")  # what a derivation says that it starts from


@dataclass(frozen=True)
class Place:
    """Where an error can be planted.

    Attributes:
        kind: "moment", "bound", "neuron", "sign", "coefficient" or "argument".
        index: Number of the statement.
        node: What is to be changed in it.
    """

    kind: str
    index: int
    node: ast.expr


@dataclass(frozen=True)
class Error:
    """One planted error.

    Attributes:
        kind: As that of its place.
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
    again = isinstance(program[index], ast.For | ast.While)  # what a loop binds, it reads again
    for statement in program[index + (not again) :]:
        if not _reads(statement) & tainted:
            continue
        if any(_called(node) in deriving for node in ast.walk(statement)):
            return True
        tainted |= _stores(statement)
    return False


_Found = tuple[str, ast.expr, list[ast.AST]]  # kind, node, the nodes above it


def _places(statement: ast.stmt) -> Iterator[_Found]:
    """Nodes of a statement in which an error can be planted."""

    def visit(node: ast.AST, above: list[ast.AST]) -> Iterator[_Found]:
        path = [*above, node]
        name = _called(node)
        if isinstance(node, ast.JoinedStr | ast.Assert) or name in NAMING:
            return  # text, the chapter's own checks, counts and names
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
        alone = not (above and isinstance(above[-1], ast.BinOp | ast.UnaryOp))
        if name in NUMBERS and alone and isinstance(node, ast.expr):
            yield "coefficient", node, above
        if isinstance(node, ast.Call) and name in FUNCTIONS and isinstance(node.args[0], TERM):
            yield "argument", node.args[0], path
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            yield "sign", node, above
        if isinstance(node, ast.BinOp):
            if isinstance(node.op, ast.Add | ast.Sub):
                yield "sign", node, above
                sides = (node.left, node.right)
                yield from (("coefficient", side, path) for side in sides if isinstance(side, TERM))
            product = isinstance(node.op, ast.Mult | ast.Div)
            in_one = (
                above
                and isinstance(above[-1], ast.BinOp)
                and (isinstance(above[-1].op, ast.Mult | ast.Div) and above[-1].left is node)
            )  # a * b in a * b * c: the same error
            if (product and not in_one) or isinstance(node.op, ast.Pow):
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
    elif text in ("0", "sp.Integer(0)"):
        new = "sp.Rational(1, 20)"
    else:
        new = f"(({text}) * sp.Rational({error}, 20))"
    return ast.parse(new, mode="eval").body


class _Swap(ast.NodeTransformer):
    """Puts other nodes in the place of some, by the identity of the old ones."""

    def __init__(self, new: Mapping[int, ast.expr]) -> None:
        self.new = new

    def visit(self, node: ast.AST) -> ast.AST:
        new = self.new.get(id(node))
        if new is None:
            return self.generic_visit(node)
        if isinstance(new, ast.Call) and getattr(new.func, "id", "") == WATCH:
            value = self.generic_visit(node)
            assert isinstance(value, ast.expr)
            new.args.append(value)
        return new


def _swapped(statement: ast.stmt, new: Mapping[ast.expr, ast.expr]) -> ast.stmt:
    """A copy of a statement with other nodes in place of some of its own."""
    memo: dict[int, ast.AST] = {}
    copied = copy.deepcopy(statement, memo)
    changed = _Swap({id(memo[id(old)]): node for old, node in new.items()}).visit(copied)
    assert isinstance(changed, ast.stmt)
    return ast.fix_missing_locations(changed)


def _is_premise(
    found: _Found, program: Sequence[ast.stmt], index: int, call: str, deriving: frozenset[str]
) -> bool:
    """Whether an error there is one in a premise."""
    kind, _, above = found
    names = [_called(node) for node in above]
    derived_here = any(name in deriving for name in names)
    if kind in ("moment", "bound", "neuron"):
        return True
    innermost = max((i for i, name in enumerate(names) if name in RELATIONS), default=-1)
    if derived_here or _flows_on(program, index, deriving):
        return True  # an equation that is solved, too
    if innermost >= 0:
        return False  # a side of a typed relation
    # that an inequality holds is decided by the ledger itself: what goes into it is a premise
    return call == "hold" and index < len(program) - 1


def places(program: Sequence[ast.stmt], call: str) -> list[Place]:
    """Where errors can be planted in the premises of a program, in its order.

    Args:
        program: The statements that built a proof, its call in the last.
        call: "prove" or "hold".
    """
    deriving = DERIVING | _deriving_names(program)
    return [
        Place(found[0], index, found[1])
        for index, statement in enumerate(program)
        for found in _places(statement)
        if _is_premise(found, program, index, call, deriving)
    ]


def watched(program: Sequence[ast.stmt], where: Sequence[Place]) -> tuple[ast.stmt, ...]:
    """The program, which calls `WATCH(number, value)` for the value at the place of that number.

    Of several places at one node the last is named.
    """
    new: list[dict[ast.expr, ast.expr]] = [{} for _ in program]
    for number, place in enumerate(where):
        call = ast.Call(ast.Name(WATCH, ast.Load()), [ast.Constant(number)], [])
        new[place.index][place.node] = call
    return tuple(
        _swapped(statement, nodes) if nodes else statement
        for statement, nodes in zip(program, new, strict=True)
    )


def planted(program: Sequence[ast.stmt], place: Place, call: str) -> Error:
    """The program with an error at one place."""
    new = _wrong(place.kind, place.node, call)
    changed = list(program)
    changed[place.index] = _swapped(program[place.index], {place.node: new})
    return Error(place.kind, ast.unparse(place.node), ast.unparse(new), tuple(changed))


def in_order(where: Sequence[Place], most: int = 12) -> tuple[list[Place], list[Place]]:
    """Those to try, and those to try only if none of them is noticed.

    What is declared comes first, then places all over the derivation; bare arguments of functions
    are for those that none of these breaks.

    Args:
        where: Places at which an error can be planted.
        most: How many to try at first; all declared moments are among them.
    """
    first = sorted(
        (place for place in where if place.kind in DECLARED),
        key=lambda place: DECLARED.index(place.kind),
    )
    moments = sum(place.kind == "moment" for place in first)
    rest = [place for place in where if place.kind not in (*DECLARED, "argument")]
    room = max(most - len(first), 4)
    spread = rest[:: max(len(rest) // room, 1)][:room]
    chosen = first[: max(most, moments)] + spread
    bare = [place for place in where if place.kind == "argument"]
    return chosen, [place for place in [*reversed(rest), *first, *bare] if place not in chosen]
