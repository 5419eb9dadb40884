"""The order in which a graph with loops is run, and so which of its edges lead back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

__all__ = ["components", "ordered"]

Edges = Sequence[tuple[str, str]]


def components(names: Sequence[str], edges: Edges) -> list[list[str]]:
    """Groups of nodes that reach each other, each in the order of the names.

    Args:
        names: Nodes; edges to others do not count.
        edges: From, to.

    Returns:
        The groups, in the order of their first names.

    Example:
        >>> components("abc", [("a", "b"), ("b", "a"), ("b", "c")])
        [['a', 'b'], ['c']]
    """
    place = {name: i for i, name in enumerate(names)}
    inside = [(place[a], place[b]) for a, b in edges if a in place and b in place]
    pairs = np.array(inside, dtype=int).reshape(-1, 2)
    matrix = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(names),) * 2)
    _, label = connected_components(matrix, directed=True, connection="strong")
    found: dict[int, list[str]] = {}
    for name, own in zip(names, label, strict=True):
        found.setdefault(int(own), []).append(name)
    return list(found.values())


def ordered(names: Sequence[str], edges: Edges) -> list[list[str]]:
    """Nodes and loops, each after those that lead to it.

    A loop begins with the first of its nodes that something outside leads to; the edges back to
    that node lead to its next step, and without them the rest of the loop is ordered in the same
    way. So the edges that lead back are those of the graph where each loop is entered at one node
    only, and the order of the names decides where it is not.

    Args:
        names: Nodes, in the order that decides.
        edges: From, to; from what is no name is from outside.

    Returns:
        Groups of nodes that reach each other, in the order in which a step runs them.

    Example:
        The way back from b leads to a, since the input enters at a:

        >>> ordered(["b", "a"], [("input", "a"), ("a", "b"), ("b", "a")])
        [['a', 'b']]

    Source: Bourdoncle 1993, weak topological ordering (recalled).
    """
    groups = components(names, edges)
    of = {name: k for k, group in enumerate(groups) for name in group}
    before = [
        {of[a] for a, b in edges if a in of and b in group and a not in group} for group in groups
    ]
    todo, order = list(range(len(groups))), []
    while todo:
        now = next(k for k in todo if before[k].isdisjoint(todo))
        todo.remove(now)
        order.append(_inner(groups[now], edges))
    return order


def _inner(members: list[str], edges: Edges) -> list[str]:
    """The nodes of one loop, its entry first."""
    if len(members) == 1:
        return members
    entered = {b for a, b in edges if a not in members}
    head = next((name for name in members if name in entered), members[0])
    rest = [name for name in members if name != head]
    return [head, *(name for group in ordered(rest, edges) for name in group)]
