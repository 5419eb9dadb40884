"""A NIR graph as nodes in the order of their inputs: files, sub-graphs and loops."""

from __future__ import annotations

import warnings
from os import PathLike
from typing import Any, NamedTuple

import numpy as np

from snnlib._extras import require
from snnlib.interop.nir.order import components, ordered

__all__ = ["Graph", "flattened", "load"]


class Graph(NamedTuple):
    """Nodes and edges without sub-graphs.

    Attributes:
        nodes: Nodes by name, without input and output.
        sources: For each node, in the order in which a step runs them, the names of those that
            lead to it; "" is the input. One that does not stand before it leads back.
        outputs: Names of the nodes that lead to the output.
        loops: For neurons that have one way back and no other loop the node that leads back, by
            the name of the neurons; None is an edge from the neurons to themselves.
        shape: Shape of one input, as the graph says; None if it does not.
    """

    nodes: dict[str, Any]
    sources: dict[str, list[str]]
    outputs: list[str]
    loops: dict[str, str | None]
    shape: tuple[int, ...] | None


def load(nir: Any, graph: Any) -> Any:
    """A graph, or that of a file; `nir.read` refuses files of older versions of the package."""
    if not isinstance(graph, (str, PathLike)):
        return graph
    h5py = require("h5py", "nir")
    with h5py.File(graph, "r") as file:
        found = nir.serialization.hdf2dict(file["node"])
    _mended(found, "")
    return nir.dict2NIRNode(found)


def _mended(graph: dict[str, Any], name: str) -> None:
    """Take the check of types off a graph and those in it, and mend a misnamed end.

    Published graphs of recurrent networks have edges to "lif" where the node is called "lif1": an
    end that is no node, and a node without an edge.
    """
    if graph.get("type") != "NIRGraph":
        return
    graph["type_check"] = False
    nodes, edges = graph["nodes"], [[_text(end) for end in edge] for edge in graph["edges"]]
    ends = {end for edge in edges for end in edge}
    strangers, loose = ends - set(nodes), set(nodes) - ends
    if len(strangers) == len(loose) == 1:
        wrong, right = strangers.pop(), loose.pop()
        edges = [[right if end == wrong else end for end in edge] for edge in edges]
        where = f"sub-graph {name!r}" if name else "graph"
        warnings.warn(
            f"{where} has edges to {wrong!r}, which is not one of its nodes, and no edge to "
            f"{right!r}: taken for the same",
            stacklevel=4,
        )
    graph["edges"] = edges
    for key, node in nodes.items():
        _mended(node, key)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def flattened(nir: Any, graph: Any) -> Graph:
    """The graph without sub-graphs, its nodes in the order of their inputs.

    Raises:
        ValueError: If it has not one input and one output, an edge to no node, a node that the
            input does not reach, or a loop without neurons.
    """
    nodes, edges = _inlined(nir, graph, "")
    ends = {
        kind: [name for name, node in nodes.items() if isinstance(node, of)]
        for kind, of in (("input", nir.Input), ("output", nir.Output))
    }
    for kind, found in ends.items():
        if len(found) != 1:
            raise ValueError(f"graph must have one {kind}, got {len(found)}")
    (start,), (end,) = ends["input"], ends["output"]
    into: dict[str, list[str]] = {name: [] for name in nodes}
    for source, target in edges:
        if target == start or source == end:
            raise ValueError(f"graph must not have an edge from {source!r} to {target!r}")
        into[target].append("" if source == start else source)
    # Names in the order in which edges lead to them: `to_nir` writes them in that of a step.
    rank = list(dict.fromkeys([target for _, target in edges] + list(nodes)))
    rank = [name for name in rank if name not in (start, end)]
    loops = _loops(nir, nodes, rank, edges)
    for neurons, back in loops.items():
        into[neurons] = [source for source in into[neurons] if source not in (back, neurons)]
        if back is not None:
            del into[back]
            rank.remove(back)
    _check_reached(into, rank)
    between = [(source, name) for name in rank for source in into[name]]
    order = [name for group in ordered(rank, between) for name in group]
    if not into[end] or not {*into[end]} <= {"", *order}:
        raise ValueError("graph must end in an output, got no edge to it")
    given = nodes[start].input_type["input"]
    shape = None if given is None else tuple(int(size) for size in np.atleast_1d(given))
    return Graph(nodes, {name: into[name] for name in order}, into[end], loops, shape)


def _inlined(nir: Any, graph: Any, name: str) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Nodes and edges with those of sub-graphs among them, by their qualified names."""
    nodes: dict[str, Any] = {}
    inside: dict[str, tuple[str, str]] = {}  # input and output of each sub-graph
    edges: list[tuple[str, str]] = []
    for own, node in graph.nodes.items():
        full = f"{name}.{own}" if name else own
        if not isinstance(node, nir.NIRGraph):
            nodes[full] = node
            continue
        below, between = _inlined(nir, node, full)
        ends = []
        for kind in (nir.Input, nir.Output):
            found = [key for key, inner in below.items() if isinstance(inner, kind)]
            if len(found) != 1:
                raise ValueError(
                    f"sub-graph {full!r} must have one {kind.__name__.lower()}, got {len(found)}"
                )
            ends.append(found[0])
        inside[own] = (ends[0], ends[1])
        nodes |= below
        edges += between
    for source, target in dict.fromkeys((_text(a), _text(b)) for a, b in graph.edges):
        pair = []
        for own, side in ((source, 1), (target, 0)):
            if own not in graph.nodes:
                raise ValueError(f"graph has an edge to {own!r}, which is not one of its nodes")
            full = f"{name}.{own}" if name else own
            pair.append(inside[own][side] if own in inside else full)
        edges.append((pair[0], pair[1]))
    for own in inside:
        for end in inside[own]:
            edges = _bypassed(edges, end)
            del nodes[end]
    return nodes, edges


def _bypassed(edges: list[tuple[str, str]], name: str) -> list[tuple[str, str]]:
    """The edges with what leads to a node leading to what it leads to."""
    sources = [a for a, b in edges if b == name]
    targets = [b for a, b in edges if a == name]
    rest = [edge for edge in edges if name not in edge]
    return rest + [(a, b) for a in sources for b in targets]


def _check_reached(into: dict[str, list[str]], names: list[str]) -> None:
    """Refuse nodes that nothing leads to from the input."""
    reached, beside = {""}, set(names)
    while now := {name for name in beside if not reached.isdisjoint(into[name])}:
        reached |= now
        beside -= now
    if beside:
        raise ValueError(
            f"graph must lead from its input to each node, got nodes beside it: "
            f"{', '.join(sorted(beside))}"
        )


def _loops(
    nir: Any, nodes: dict[str, Any], names: list[str], edges: list[tuple[str, str]]
) -> dict[str, str | None]:
    """Neurons with one way back and no other loop, and the weights of that way."""
    neurons = (nir.LIF, nir.CubaLIF, nir.IF)
    still = [n for n in names if not isinstance(nodes[n], (*neurons, nir.LI, nir.CubaLI, nir.I))]
    for group in components(still, edges):
        if len(group) > 1 or (group[0], group[0]) in edges:
            raise ValueError(
                f"graph has a loop through {', '.join(sorted(group))} alone, where nothing takes "
                "time: a loop must hold a LIF, CubaLIF, IF, LI, CubaLI or I node"
            )
    found: dict[str, str | None] = {}
    for members in components(names, edges):
        within = [e for e in edges if e[0] in members and e[1] in members]
        firing = [n for n in members if isinstance(nodes[n], neurons)]
        others = [n for n in members if n not in firing]
        known = all(isinstance(nodes[n], (nir.Linear, nir.Affine, nir.Scale)) for n in others)
        astray = [e for e in edges if (e[0] in others) != (e[1] in others) and e not in within]
        one = len(firing) == 1 and len(others) <= 1 and known and not astray
        if one and len(within) == len(others) + 1:
            found[firing[0]] = others[0] if others else None
    return found
