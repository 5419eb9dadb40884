r"""What a value was computed from, as a small graph: sources, and the operations behind them.

Sources are spiking layers, weights and data. From the first and second moments of the sources
over the steps, m_t = E[x_t] and R_st = E[x_s x_t], follow those of the value where every operation
on the way is known and its inputs are taken as independent:

    sum          m + m',   R + R' + m m'ᵀ + m' mᵀ
    product      m m',   R R', element by element
    mean of k    m,   (R − m mᵀ) / k + m mᵀ                  (average pooling)
    largest of k spikes of height h: 1 − (1 − p_s)^k − (1 − p_t)^k + (1 − p_s − p_t + P_st)^k
                 with p and P the m and R of spikes of height 1     (max pooling)
    dropout d    m,   R with its diagonal divided by 1 − d
    c x + a      c m + a,   c² R + c a (m 1ᵀ + 1 mᵀ) + a²
    side by side the mean of both

Of products of matrices, normalizations and unknown functions nothing follows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Flow",
    "Moments",
    "affine",
    "at_one_step",
    "collapsed",
    "mixed",
    "passed",
    "source",
    "sum_of",
]

Array: TypeAlias = NDArray[np.float64]
Moments: TypeAlias = tuple[Array, Array]
LARGEST = 48  # nodes; what a loop by hand makes of T steps is cut down to its sources
UNKNOWN = ("matrix product", "normalization", "function", "many operations")
CERTAIN = {
    "sum": "a sum",
    "product": "a product",
    "matrix product": "a product of values (attention)",
    "mix": "a concatenation",
    "max pooling": "max pooling",
    "average pooling": "average pooling",
    "dropout": "dropout",
    "affine": "a factor",
    "normalization": "a normalization",
    "function": "a function",
    "many operations": "many operations",
}


@dataclass(frozen=True)
class Flow:
    """A value: a source, or an operation on other values.

    Attributes:
        kind: "source", or a key of `CERTAIN`.
        parts: What it was computed from.
        number: Factor c, size k of a pool, or share d that a dropout takes away; NaN if unknown.
        offset: What an "affine" operation adds; NaN if unknown.
        name: Of the module or the function.
        key: Tells sources apart.
        origin: The source itself.
    """

    kind: str
    parts: tuple[Flow, ...] = ()
    number: float = 1.0
    offset: float = 0.0
    name: str = ""
    key: int = 0
    origin: Any = field(default=None, compare=False, repr=False)

    def walk(self) -> Iterator[Flow]:
        """This value and all that it was computed from."""
        yield self
        for part in self.parts:
            yield from part.walk()

    @property
    def size(self) -> int:
        """Number of nodes."""
        return sum(1 for _ in self.walk())

    def sources(self) -> dict[Any, None]:
        """The sources, an ordered set."""
        return {node.origin: None for node in self.walk() if node.kind == "source"}

    @property
    def plain(self) -> bool:
        """Whether it is a source itself."""
        return self.kind == "source"

    def way(self, origin: Any) -> tuple[Flow, ...]:
        """The operations from a source to the value, the nearest to the source first."""
        if self.kind == "source":
            return ()
        for part in self.parts:
            if origin in part.sources():
                return (*part.way(origin), self)
        return ()

    def moments(self, known: Callable[[Any], Moments | None]) -> Moments | None:
        """M [T] and R [T, T] from those of the sources; None if they do not follow.

        Args:
            known: Of a source; None if unknown.

        Returns:
            Both, or None.

        Example:
            Two layers that fire at rate 1/4 and add up, at one step:

            >>> both = sum_of((source("a"), source("b")))
            >>> mean, square = both.moments(lambda _: at_one_step(0.25, 0.25))
            >>> mean.item(), square.item()
            (0.5, 0.625)
        """
        if self.kind == "source":
            return known(self.origin)
        if self.kind in UNKNOWN or (self.kind in ("sum", "product") and self._entangled()):
            return None
        found = [part.moments(known) for part in self.parts]
        parts = [moments for moments in found if moments is not None]
        if len(parts) < len(found) or not parts:
            return None
        result = _RULES[self.kind](self, parts)
        if result is None or not all(np.isfinite(values).all() for values in result):
            return None
        return result

    def _entangled(self) -> bool:
        """Whether parts that count as independent come from one source."""
        origins = [part.sources() for part in self.parts]
        return len(self.sources()) < sum(map(len, origins))

    def words(self) -> str:
        """What it is, in words.

        Example:
            >>> sum_of((source("a"), source("b"))).words()
            'a sum'
        """
        said = []
        for node in self.walk():
            if node.kind == "source" or (node.kind == "affine" and _nothing(node)):
                continue
            named = node.kind == "function" and node.name
            said.append(f"{CERTAIN[node.kind]} ({node.name})" if named else CERTAIN[node.kind])
        return ", ".join(dict.fromkeys(said))


def _nothing(node: Flow) -> bool:
    return node.number == 1 and node.offset == 0


def at_one_step(mean: float, square: float) -> Moments:
    """E[x] and E[x²] as moments over a single step.

    Example:
        >>> at_one_step(0.5, 0.25)
        (array([0.5]), array([[0.25]]))
    """
    return np.array([mean]), np.array([[square]])


def _sum(node: Flow, parts: Sequence[Moments]) -> Moments:
    mean, square = parts[0]
    for m, s in parts[1:]:
        square = square + s + np.outer(mean, m) + np.outer(m, mean)
        mean = mean + m
    return mean, square


def _product(node: Flow, parts: Sequence[Moments]) -> Moments:
    mean, square = parts[0]
    for m, s in parts[1:]:
        mean, square = mean * m, square * s
    return mean, square


def _mix(node: Flow, parts: Sequence[Moments]) -> Moments:
    mean = sum((m for m, _ in parts), np.zeros(1)) / len(parts)
    return mean, sum((s for _, s in parts), np.zeros((1, 1))) / len(parts)


def _largest(node: Flow, parts: Sequence[Moments]) -> Moments | None:
    ((mean, square),) = parts
    binary = node.parts[0].kind in ("source", "max pooling", "dropout")
    diagonal = np.diagonal(square)
    if not binary or (mean < 0).any() or not node.number >= 1:
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        height = np.where(mean > 0, diagonal / mean, 1.0)
    rate, pairs = mean / height, square / np.outer(height, height)
    k = node.number
    none = np.maximum(1 - rate, 0.0) ** k
    neither = np.maximum(1 - rate[:, None] - rate + pairs, 0.0) ** k
    both = 1 - none[:, None] - none + neither
    return height * (1 - none), np.outer(height, height) * both


def _average(node: Flow, parts: Sequence[Moments]) -> Moments:
    ((mean, square),) = parts
    outer = np.outer(mean, mean)
    return mean, (square - outer) / node.number + outer


def _dropout(node: Flow, parts: Sequence[Moments]) -> Moments:
    ((mean, square),) = parts
    return mean, square * (1 + np.eye(len(mean)) * node.number / (1 - node.number))


def _affine(node: Flow, parts: Sequence[Moments]) -> Moments:
    ((mean, square),) = parts
    c, a = node.number, node.offset
    return c * mean + a, c**2 * square + c * a * (mean[:, None] + mean) + a**2


_RULES: dict[str, Callable[[Flow, Sequence[Moments]], Moments | None]] = {
    "sum": _sum,
    "product": _product,
    "mix": _mix,
    "max pooling": _largest,
    "average pooling": _average,
    "dropout": _dropout,
    "affine": _affine,
}


def source(origin: Any) -> Flow:
    """A spiking layer, a weight or data.

    Example:
        >>> source("data").plain
        True
    """
    return Flow("source", key=id(origin), origin=origin)


def passed(kind: str, parts: Sequence[Flow], *, number: float = 1.0, name: str = "") -> Flow:
    """An operation on values; one that is too long to follow becomes its sources.

    Example:
        >>> half = passed("dropout", [source("a")], number=0.5)
        >>> half.moments(lambda _: at_one_step(0.25, 0.25))[1].item()
        0.5
    """
    return collapsed(Flow(kind, tuple(parts), number, name=name))


def affine(part: Flow, factor: float, offset: float = 0.0) -> Flow:
    """C x + a; what changes nothing is left out.

    Example:
        >>> affine(source("a"), 1.0).plain
        True
        >>> other = affine(source("a"), -1.0, 1.0)
        >>> [m.item() for m in other.moments(lambda _: at_one_step(0.25, 0.25))]
        [0.75, 0.75]
    """
    if factor == 1 and offset == 0:
        return part
    return collapsed(Flow("affine", (part,), factor, offset))


def sum_of(parts: Sequence[Flow]) -> Flow:
    """X + y.

    Example:
        >>> three = sum_of((source("a"), source("b"), source("c")))
        >>> three.moments(lambda _: at_one_step(1.0, 1.0))[1].item()
        9.0
    """
    return collapsed(Flow("sum", tuple(parts)))


def mixed(parts: Sequence[Flow]) -> Flow:
    """Values side by side; equal ones are one.

    Example:
        >>> mixed((source("a"), source("a"))).plain
        True
    """
    different = tuple(dict.fromkeys(parts))
    return different[0] if len(different) == 1 else collapsed(Flow("mix", different))


def collapsed(flow: Flow) -> Flow:
    """The same, or if it is too long its sources alone."""
    if flow.size <= LARGEST:
        return flow
    kept = tuple(source(origin) for origin in flow.sources())
    return Flow("many operations", kept[: LARGEST - 1])
