"""The dependency graph of the claims as an inline SVG: layered layout and drawing.

An edge runs from a premise, left, to the claim that uses it, right. Connected parts are laid out
one below the other; claims that neither use nor are used stand in a grid at the end. Pure
functions, no Sphinx, no external program.
"""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from statistics import mean

NODE_WIDTH = 120.0
NODE_HEIGHT = 38.0
GAP_X = 20.0
GAP_Y = 9.0
PART_GAP = 22.0
MARGIN = 6.0
SHRINK = 0.8  # as narrow as letters stay readable; then the frame scrolls
GRID_COLUMNS = 5

Edge = tuple[str, str]


@dataclass(frozen=True)
class Layout:
    """Positions of the nodes' upper left corners, edges as polylines, and the size."""

    positions: Mapping[str, tuple[float, float]]
    routes: Mapping[Edge, tuple[tuple[float, float], ...]]
    width: float
    height: float


def without_cycles(nodes: Sequence[str], edges: Iterable[Edge]) -> list[Edge]:
    """Drop self-loops and edges that close a cycle, deterministically."""
    following: dict[str, list[str]] = {n: [] for n in nodes}
    for source, target in sorted(set(edges)):
        if source in following and target in following and source != target:
            following[source].append(target)
    state: dict[str, int] = {}
    kept: list[Edge] = []

    def visit(node: str) -> None:
        state[node] = 1
        for target in following[node]:
            if state.get(target) == 1:
                continue
            kept.append((node, target))
            if target not in state:
                visit(target)
        state[node] = 2

    for node in nodes:
        if node not in state:
            visit(node)
    return kept


def assign_layers(nodes: Sequence[str], edges: Sequence[Edge]) -> dict[str, int]:
    """Layer of each node of an acyclic graph: every edge goes to a higher layer.

    Longest path from the premises; a premise of nothing else then moves next to its first user.
    """
    premises: dict[str, list[str]] = {n: [] for n in nodes}
    users: dict[str, list[str]] = {n: [] for n in nodes}
    for source, target in edges:
        premises[target].append(source)
        users[source].append(target)
    layer: dict[str, int] = {}

    def depth(node: str) -> int:
        if node not in layer:
            layer[node] = 1 + max((depth(p) for p in premises[node]), default=-1)
        return layer[node]

    for node in nodes:
        depth(node)
    for node in nodes:
        if not premises[node] and users[node]:
            layer[node] = min(layer[u] for u in users[node]) - 1
    return layer


def components(nodes: Sequence[str], edges: Iterable[Edge]) -> list[list[str]]:
    """Connected parts, in the order of their first node."""
    root = {n: n for n in nodes}

    def find(node: str) -> str:
        while root[node] != node:
            root[node] = root[root[node]]
            node = root[node]
        return node

    for source, target in edges:
        root[find(source)] = find(target)
    parts: dict[str, list[str]] = {}
    for node in nodes:
        parts.setdefault(find(node), []).append(node)
    return list(parts.values())


def crossings(order: Sequence[Sequence[str]], links: Iterable[Edge]) -> int:
    """Number of crossings between neighbouring layers."""
    place = {n: (layer, i) for layer, row in enumerate(order) for i, n in enumerate(row)}
    by_layer: dict[int, list[tuple[int, int]]] = {}
    for source, target in links:
        by_layer.setdefault(place[source][0], []).append((place[source][1], place[target][1]))
    return sum(
        (a - c) * (b - d) < 0
        for pairs in by_layer.values()
        for i, (a, b) in enumerate(pairs)
        for c, d in pairs[:i]
    )


def _order_layers(
    rows: list[list[str]], links: Sequence[Edge], sweeps: int = 12
) -> list[list[str]]:
    """Order each layer by the mean place of its neighbours; keep the order that crosses least."""
    before: dict[str, list[str]] = {}
    after: dict[str, list[str]] = {}
    for source, target in links:
        after.setdefault(source, []).append(target)
        before.setdefault(target, []).append(source)
    best, fewest = [list(r) for r in rows], crossings(rows, links)
    for sweep in range(sweeps):
        forward = sweep % 2 == 0
        neighbours = before if forward else after
        indices = range(len(rows)) if forward else range(len(rows) - 1, -1, -1)
        place = {n: float(i) for row in rows for i, n in enumerate(row)}
        for index in indices:
            key = {
                n: mean(place[m] for m in neighbours[n]) if neighbours.get(n) else place[n]
                for n in rows[index]
            }
            rows[index].sort(key=lambda n: key[n])
            place.update({n: float(i) for i, n in enumerate(rows[index])})
        found = crossings(rows, links)
        if found < fewest:
            best, fewest = [list(r) for r in rows], found
    return best


def spread(wanted: Sequence[float], distances: Sequence[float]) -> list[float]:
    """Positions nearest to ``wanted`` (least squares) that keep order and minimum distances.

    >>> spread([0.0, 0.0], [2.0])
    [-1.0, 1.0]
    """
    offsets = [0.0]
    for distance in distances:
        offsets.append(offsets[-1] + distance)
    blocks: list[tuple[float, int]] = []  # pool adjacent violators: (mean, size)
    for want, offset in zip(wanted, offsets, strict=True):
        value, size = want - offset, 1
        while blocks and blocks[-1][0] > value:
            other, count = blocks.pop()
            value = (value * size + other * count) / (size + count)
            size += count
        blocks.append((value, size))
    flat = [value for value, size in blocks for _ in range(size)]
    return [value + offset for value, offset in zip(flat, offsets, strict=True)]


def _layout_part(nodes: Sequence[str], edges: Sequence[Edge]) -> Layout:
    layer = assign_layers(nodes, edges)
    lowest = min(layer.values())
    layer = {n: level - lowest for n, level in layer.items()}
    rows: list[list[str]] = [[] for _ in range(max(layer.values()) + 1)]
    for node in nodes:
        rows[layer[node]].append(node)
    chains: dict[Edge, list[str]] = {}
    for source, target in edges:  # a long edge passes through a place of its own in each layer
        passing = [f"\0{source}\0{target}\0{i}" for i in range(layer[source] + 1, layer[target])]
        for level, name in enumerate(passing, layer[source] + 1):
            rows[level].append(name)
        chains[source, target] = [source, *passing, target]
    links = [pair for chain in chains.values() for pair in itertools.pairwise(chain)]
    rows = _order_layers(rows, links)

    def height(name: str) -> float:
        return NODE_HEIGHT * 0.3 if name.startswith("\0") else NODE_HEIGHT

    def distances(row: Sequence[str]) -> list[float]:
        return [(height(a) + height(b)) / 2 + GAP_Y for a, b in itertools.pairwise(row)]

    neighbours: dict[str, list[str]] = {}
    for source, target in links:
        neighbours.setdefault(source, []).append(target)
        neighbours.setdefault(target, []).append(source)
    y: dict[str, float] = {}
    for row in rows:
        placed = spread([0.0] * len(row), distances(row))
        y.update(zip(row, placed, strict=True))
    for _ in range(24):
        for row in rows:
            wanted = [mean(y[m] for m in neighbours[n]) if neighbours.get(n) else y[n] for n in row]
            y.update(zip(row, spread(wanted, distances(row)), strict=True))
    top = min(y[n] - height(n) / 2 for n in y)
    x = {n: i * (NODE_WIDTH + GAP_X) for i, row in enumerate(rows) for n in row}
    routes = {}
    for edge, chain in chains.items():
        points = [(x[chain[0]] + NODE_WIDTH, y[chain[0]] - top)]
        for name in chain[1:-1]:
            points += [(x[name], y[name] - top), (x[name] + NODE_WIDTH, y[name] - top)]
        points.append((x[chain[-1]], y[chain[-1]] - top))
        routes[edge] = tuple(points)
    return Layout(
        positions={n: (x[n], y[n] - top - NODE_HEIGHT / 2) for n in nodes},
        routes=routes,
        width=len(rows) * (NODE_WIDTH + GAP_X) - GAP_X,
        height=max(y[n] + height(n) / 2 for n in y) - top,
    )


def layout(nodes: Sequence[str], edges: Iterable[Edge]) -> Layout:
    """Place all nodes: connected parts one below the other, then the rest in a grid."""
    kept = without_cycles(nodes, edges)
    positions: dict[str, tuple[float, float]] = {}
    routes: dict[Edge, tuple[tuple[float, float], ...]] = {}
    parts = components(nodes, kept)
    y = width = 0.0
    for part in (p for p in parts if len(p) > 1):
        inside = set(part)
        piece = _layout_part(part, [e for e in kept if e[0] in inside])
        for node, (px, py) in piece.positions.items():
            positions[node] = (px, py + y)
        for edge, points in piece.routes.items():
            routes[edge] = tuple((px, py + y) for px, py in points)
        y += piece.height + PART_GAP
        width = max(width, piece.width)
    alone = [p[0] for p in parts if len(p) == 1]
    step_x = NODE_WIDTH + GAP_Y
    columns = max(GRID_COLUMNS, int((width + GAP_Y) // step_x))
    for i, node in enumerate(alone):
        positions[node] = (i % columns * step_x, y + i // columns * (NODE_HEIGHT + GAP_Y))
        width = max(width, positions[node][0] + NODE_WIDTH)
    height = max((py for _, py in positions.values()), default=0.0) + NODE_HEIGHT
    return Layout(positions=positions, routes=routes, width=width, height=height)


@dataclass(frozen=True)
class NodeText:
    """What a node shows and says."""

    label: str
    icon: str
    title: str
    href: str
    css: str


def _path(points: Sequence[tuple[float, float]]) -> str:
    """Smooth path: level at every column's edge."""
    parts = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if abs(y0 - y1) < 0.05:
            parts.append(f"H{x1:.1f}")
        else:
            middle = (x0 + x1) / 2
            parts.append(f"C{middle:.1f} {y0:.1f} {middle:.1f} {y1:.1f} {x1:.1f} {y1:.1f}")
    return "".join(parts)


def wrap(text: str, width: int = 15) -> list[str]:
    """Break a label into at most two lines that fit into a node.

    >>> wrap("Eq. 10"), wrap("gain for a rate over time steps")
    (['Eq. 10'], ['gain for a rate', 'over time steps'])
    """
    lines = textwrap.wrap(text, width, max_lines=2, placeholder=" …")
    return lines or [""]


def draw(
    nodes: Sequence[str],
    edges: Iterable[Edge],
    describe: Callable[[str], NodeText],
    *,
    uid: str = "ledger-graph",
) -> str:
    """SVG of the graph; each node is a link to its claim's card.

    It is hidden from screen readers and left out of the tab order, because each card says in words
    what it rests on.
    """
    placed = layout(nodes, edges)
    width, height = placed.width + 2 * MARGIN, placed.height + 2 * MARGIN
    out = [
        f'<svg class="ledger-graph" xmlns="http://www.w3.org/2000/svg" aria-hidden="true" '
        f'focusable="false" style="min-width:{SHRINK * width:.0f}px;max-width:{width:.0f}px" '
        f'viewBox="{-MARGIN:.0f} {-MARGIN:.0f} {width:.0f} {height:.0f}">',
        f'<defs><marker id="{uid}-tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path class="lg-tip" d="M0 0.8L7.5 4L0 7.2z"/></marker>'
        "</defs>",
        '<g class="lg-edges">',
    ]
    out += [
        f'<path class="lg-edge" d="{_path(points)}" marker-end="url(#{uid}-tip)"/>'
        for points in placed.routes.values()
    ]
    out.append("</g>")
    for node in nodes:
        x, y = placed.positions[node]
        text = describe(node)
        lines = wrap(text.label)
        first = 23.5 if len(lines) == 1 else 16.0
        label = "".join(
            f'<tspan x="24" y="{first + 14 * i:g}">{escape(line)}</tspan>'
            for i, line in enumerate(lines)
        )
        body = (
            f"<title>{escape(text.title)}</title>"
            f'<rect width="{NODE_WIDTH:g}" height="{NODE_HEIGHT:g}" rx="7"/>'
            f'<text class="lg-icon" x="13" y="24">{escape(text.icon)}</text>'
            f'<text class="lg-label">{label}</text>'
        )
        group = f'<g class="lg-node {text.css}" transform="translate({x:.1f} {y:.1f})">'
        if text.href:
            body = f'<a href="{escape(text.href, quote=True)}" tabindex="-1">{body}</a>'
        out.append(f"{group}{body}</g>")
    out.append("</svg>")
    return "\n".join(out)
