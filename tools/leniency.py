"""Ways to make a module that decides say yes, one at a time, as changed source text.

A guard is left out (the test of an `if` that raises or notes a message is False), an answer "no"
or "undecided" is made a "yes", a function that answers says yes at once, a limit is loosened.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tools.mutations import Mutation, Placed, Text, functions

YES = {  # what a function returns -> its answer "yes"
    "bool": "True",
    "bool | None": "True",
    "Decision": "Decision(True, 'planted')",
    "tuple[int | None, bool, str]": "(1, True, 'planted')",
    "tuple[int, bool, str] | None": "(1, True, 'planted')",
    "int | None": "1",
    "list[str]": "[]",
}
LOOSER = {  # name of a limit, or of what is compared with one -> a factor in favor of "yes"
    "critical": 1.05,
    "margin": 0.95,
    "largest": 0.95,
    "mde": 0.95,
    "rejection": 1.05,
    "furthest": 0.95,
    "_NOT_ZERO": 1e9,
    "MEDIAN_LAW_MDE": 1.05,
    "LAW_EFFECT": 1.05,
    "FAMILY_LEVEL": 0.95,
    "DETECTION": 0.95,
}


def lenient(source: str) -> list[Mutation]:
    r"""All of them, in the order of the text; their kind is "yes".

    Args:
        source: The module.

    Example:
        >>> text = "def check(x) -> None:\n    if x < 0:\n        raise ValueError('x')\n"
        >>> [(each.was, each.planted) for each in lenient(text)]
        [('check', 'return None'), ('x < 0', 'False')]
    """
    tree, text, found = ast.parse(source), Text(source), []
    parts: list[tuple[str, ast.AST]] = [
        (ast.unparse(top.targets[0]), top) for top in tree.body if isinstance(top, ast.Assign)
    ]
    parts += [(owner, node) for owner, top in functions(tree) for node in ast.walk(top)]
    for owner, node in parts:
        for first, last, was, planted in _yes(node):
            changed = text.changed(first, last, planted)
            found.append(Mutation(first.lineno, owner, "yes", was, planted, changed))
    return sorted(found, key=lambda each: each.line)


def _yes(node: ast.AST) -> Iterator[tuple[Placed, Placed, str, str]]:
    """First and last node to write over, what stands there, what shall stand there instead."""
    if isinstance(node, ast.FunctionDef):
        yield from _at_once(node)
    elif isinstance(node, ast.If) and _refuses(node.body):
        yield node.test, node.test, ast.unparse(node.test), "False"
    elif isinstance(node, ast.Call) and ast.unparse(node.func) == "Decision":
        if (said := ast.unparse(node.args[0])) != "True":
            yield node.args[0], node.args[0], f"Decision({said}, ...)", "True"
    elif isinstance(node, ast.AugAssign) and ast.unparse(node.target) == "messages":
        yield node.value, node.value, ast.unparse(node.value), "[]"
    elif isinstance(node, ast.Assign):
        name, value = ast.unparse(node.targets[0]), node.value
        if name == "verdict" and isinstance(value, ast.IfExp):
            yield value.test, value.test, ast.unparse(value.test), "True"
        elif name in LOOSER and ast.unparse(value) != "None":
            was = ast.unparse(value)
            yield value, value, was, f"{LOOSER[name]:g} * ({was})"


def _at_once(node: ast.FunctionDef) -> Iterator[tuple[Placed, Placed, str, str]]:
    """The whole function, if it answers or refuses, and each "no" that it returns."""
    body = node.body[1:] if ast.get_docstring(node) else node.body
    returns = ast.unparse(node.returns) if node.returns else ""
    answer = YES.get(returns)
    if returns == "None" and any(isinstance(each, ast.Raise) for each in ast.walk(node)):
        answer = "None"
    if answer is not None:
        yield body[0], body[-1], node.name, f"return {answer}"
    if returns == "bool":
        for each in ast.walk(node):
            if isinstance(each, ast.Return) and ast.unparse(each) == "return False":
                yield each, each, "return False", "return True"


def _refuses(body: list[ast.stmt]) -> bool:
    """Whether a block raises, or notes a message."""
    return isinstance(body[-1], ast.Raise) or any(
        isinstance(each, ast.Expr) and ast.unparse(each).startswith("messages.append(")
        for each in body
    )
