"""What `initialize_` did, weight by weight: prints as a table and renders as one in a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, overload

from snnlib import _html


class Row(NamedTuple):
    """One weight.

    Attributes:
        layer: Qualified name of the module that holds the weight.
        fan_in: Inputs n of one output neuron.
        gain: G = n·E[w²] it was drawn with; None if it was left as it is.
        std: √(G/n), the standard deviation of the weights; None likewise.
        fed_by: Name of the spiking layer that feeds it, or "data".
        threshold: Threshold of that layer (the mean if it has several); None for data.
        probability: Its firing probability P(u > θ) that the method assumes or implies; None for
            data.
        second_moment: E[x²] of the input: for spikes of height 1 the firing probability, for data
            the measured or assumed value.
        drives: Name of the spiking layer it drives; empty for a readout.
        rate: Predicted firing probability per step of that layer, see `initialize_`; None for a
            readout.
        note: What else there is to know.
    """

    layer: str
    fan_in: int
    gain: float | None
    std: float | None
    fed_by: str
    threshold: float | None
    probability: float | None
    second_moment: float | None
    drives: str
    rate: float | None = None
    note: str = ""


HEADINGS = (
    "layer",
    "fan-in",
    "gain",
    "std",
    "fed by",
    "threshold",
    "P(u > θ)",
    "E[x²]",
    "drives",
    "rate",
    "note",
)
NUMERIC = ("fan-in", "gain", "std", "threshold", "P(u > θ)", "E[x²]", "rate")


@dataclass(frozen=True)
class Report(Sequence[Row]):
    """Rows of an initialization, one per weight.

    Attributes:
        method: Name of the method.
        source: Paper and equation.
        rows: One row per weight.

    Example:
        >>> print(Report("kaiming", "He et al. 2015", (
        ...     Row("linear1", 100, 2.0, 0.1414, "lif0", 1.0, 0.1587, 0.1587, "lif1", 0.038),
        ... )))
        kaiming (He et al. 2015)
        layer    fan-in  gain     std  fed by  threshold  P(u > θ)   E[x²]  drives   rate
        linear1     100     2  0.1414  lif0            1    0.1587  0.1587  lif1    0.038
    """

    method: str
    source: str
    rows: tuple[Row, ...]

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def _table(self) -> list[list[str]]:
        """Headings and cells as text, without columns that are empty throughout."""
        rows = [[_text(cell) for cell in row] for row in self.rows]
        keep = [i for i, name in enumerate(HEADINGS) if name != "note" or any(r[i] for r in rows)]
        return [[row[i] for i in keep] for row in [list(HEADINGS), *rows]]

    def __str__(self) -> str:
        table = self._table()
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        numeric = [name in NUMERIC for name in table[0]]
        lines = [
            "  ".join(
                cell.rjust(width) if right else cell.ljust(width)
                for cell, width, right in zip(row, widths, numeric, strict=True)
            ).rstrip()
            for row in table
        ]
        return "\n".join([f"{self.method} ({self.source})", *lines])

    def _repr_html_(self) -> str:
        head, *body = self._table()
        return _html.table(head, body, f"{self.method} ({self.source})")


def _text(cell: object) -> str:
    if cell is None or cell != cell:  # NaN: not known
        return "–"
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)
