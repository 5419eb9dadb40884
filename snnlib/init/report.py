"""What `initialize_` did, weight by weight: prints as a table and renders as one in a notebook."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, NamedTuple, overload

from torch import nn

from snnlib import _html
from snnlib._checks import check_positive
from snnlib.dialects.form import OWN_RECURRENT
from snnlib.init.activity import Activity, Drive
from snnlib.init.connection import Layer
from snnlib.init.inventory import ESTIMATED
from snnlib.init.method import Feeding, Method, standard_deviation
from snnlib.init.planning import Plan
from snnlib.surrogate import Surrogate


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
        gradient: Predicted Σ (dL/du)² over the neurons and steps of what it drives, over that of
            the last layer; None where the method does not say.
        coherence: Predicted cosine of the gradients of two unrelated inputs there, likewise.
        learning_rate: For Adam and this weight, likewise.
        told_apart: Predicted part of what tells one pair of inputs from another in the first layer
            that is left in this one, e^(−(l−1)/ξ), likewise.
        surrogate: Derivative of the spike of what it drives, which the other numbers are for,
            likewise; set where the layer is one of ours. Not in the table.
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
    gradient: float | None = None
    coherence: float | None = None
    learning_rate: float | None = None
    told_apart: float | None = None
    surrogate: Surrogate | None = None


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
    "gradient",
    "coherence",
    "learning rate",
    "told apart",
)
NUMERIC = tuple(name for name in HEADINGS if name not in ("layer", "fed by", "drives", "note"))
# left out where empty throughout
OPTIONAL = ("note", "gradient", "coherence", "learning rate", "told apart")


@dataclass(frozen=True)
class Report(Sequence[Row]):
    """Rows of an initialization, one per weight.

    Attributes:
        method: Name of the method.
        source: Paper and equation.
        rows: One row per weight.
        said: What there is to say of the whole network.

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
    said: str = ""

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def groups(self, module: nn.Module, *, default: float) -> list[dict[str, Any]]:
        """The parameters of a network with their learning rates, as Adam takes them.

        Args:
            module: The network that the report is of.
            default: Learning rate of what the report has none for: the readout, norms, neurons.

        Returns:
            Groups for `torch.optim.Adam`, one for each rate; a bias goes with its weight.

        Raises:
            ValueError: If the network has no module of a row's name, or `default` is not positive.

        Example:
            >>> network = nn.Sequential(nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 10))
            >>> row = Row("0", 30, 2.0, 0.26, "data", None, None, 1.0, "1", learning_rate=0.002)
            >>> found = Report("balanced", "", (row,)).groups(network, default=0.001)
            >>> [(len(group["params"]), group["lr"]) for group in found]
            [(2, 0.002), (2, 0.001)]
        """
        check_positive("default", default)
        known, groups = dict(module.named_modules()), []
        left = {id(p): p for p in module.parameters()}
        for row in self.rows:
            if row.learning_rate is None:
                continue
            if row.layer not in known:
                raise ValueError(f"module must hold the weights of the report, got no {row.layer}")
            own = [left.pop(id(p)) for p in known[row.layer].parameters() if id(p) in left]
            groups.append({"params": own, "lr": row.learning_rate})
        return [*groups, {"params": list(left.values()), "lr": default}]

    def _table(self) -> list[list[str]]:
        """Headings and cells as text, without columns that are empty throughout."""
        rows = [[_text(cell) for cell in row] for row in self.rows]
        empty = ("", _text(None))
        keep = [
            i
            for i, name in enumerate(HEADINGS)
            if name not in OPTIONAL or any(r[i] not in empty for r in rows)
        ]
        keep.sort(key=lambda i: HEADINGS[i] == "note")  # the longest stands last
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
        said = [self.said] if self.said else []
        return "\n".join([f"{self.method} ({self.source})", *said, *lines])

    def _repr_html_(self) -> str:
        head, *body = self._table()
        said = f"<p>{escape(self.said)}</p>" if self.said else ""
        return said + _html.table(head, body, f"{self.method} ({self.source})")


def _text(cell: object) -> str:
    if cell is None or cell != cell:  # NaN: not known
        return "–"
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)


# --- From plans to rows --------------------------------------------------------------------------


def report(plans: list[Plan], default: Method) -> Report:
    """What was drawn, with the rates that it implies.

    Args:
        plans: One for each weight, drawn.
        default: The method that was asked for.

    Returns:
        One row per weight.
    """
    drives = []
    for plan in plans:
        rate = plan.rate
        if rate is None and plan.method is not None and plan.connection.drives:
            rate = plan.method.rate(plan.connection, plan.settings)
        if plan.connection.drives:
            moment, _ = _data(plan)
            drives.append(Drive(plan.connection, plan.realized_gain(), rate, moment))
    activity = Activity(drives)
    rows = tuple(_row(plan, activity, default) for plan in plans)
    return Report(default.name, default.source, rows)


def _data(plan: Plan) -> tuple[float, str]:
    """E[x²] of real values, and where it is from."""
    measured = plan.connection.second_moment
    given = plan.settings.get("input_second_moment")
    if given is not None and given != (1.0 if measured is None else measured):
        return float(given), ""
    if measured is not None:
        return measured, "E[x²] measured on the example"
    return 1.0, "E[x²] = 1 assumed: standardized data"


def _row(plan: Plan, activity: Activity, default: Method) -> Row:
    connection, method = plan.connection, plan.method
    notes = [plan.why] if plan.why else []
    if method is not None and method is not default:
        notes.append(f"by {method.name}")
    if connection.note:
        notes.append(connection.note)
    threshold = probability = None
    if connection.fed_by:
        feeding = None if method is None else method.feeding(connection, plan.settings)
        if feeding is None:
            rates = [activity.rate(layer) for layer in connection.fed_by]
            moment = activity.second_moment(connection, 1.0)
            feeding = Feeding(None, sum(rates) / len(rates), moment)
        thresholds, heights = connection.feeding
        _, probability, moment = feeding
        moment = moment if plan.second_moment is None else plan.second_moment
        if method is not None and method.data_driven and plan.second_moment is not None:
            probability = moment / float(heights.square().mean())  # measured too
        threshold = thresholds.mean().item() if feeding.threshold is None else feeding.threshold
    else:
        moment, origin = _data(plan)
        if origin:
            notes.append(origin)
    if method is not None:
        notes += [f"{x.name}: {why}" for x in connection.drives if (why := _beyond(x))]
    if plan.remark:
        notes.append(plan.remark)
    if method is not None and (remark := method.remark(connection, plan.settings)):
        notes.append(remark)
    rate = None
    if connection.drives and method is not None:
        rates = [activity.rate(layer) for layer in connection.drives]
        rate = sum(rates) / len(rates)
        if math.isnan(rate):
            reasons = dict.fromkeys(
                activity.why(layer)
                for layer, r in zip(connection.drives, rates, strict=True)
                if math.isnan(r)
            )
            notes.append(f"no rate predicted: {', '.join(reasons)}")
    value = None if method is None else plan.realized_gain()
    return Row(
        connection.name,
        connection.fan_in,
        value,
        None if value is None else standard_deviation(value, connection.fan_in, plan.mean),
        ", ".join(layer.name for layer in connection.fed_by) or "data",
        threshold,
        probability,
        moment,
        ", ".join(layer.name for layer in connection.drives),
        None if rate is None or math.isnan(rate) else rate,
        "; ".join(notes),
        *_forecast(plan),
    )


def _beyond(layer: Layer) -> str:
    """What the neurons of a layer are beyond the ones that formulas count with."""
    why = layer.spiking.why
    if why.startswith(ESTIMATED):  # which the connection's note says
        return ""
    return "; ".join(reason for reason in why.split("; ") if reason != OWN_RECURRENT)


def _forecast(plan: Plan) -> tuple[Any, ...]:
    """The last fields of a row."""
    found = plan.forecast
    if found is None:
        return ()
    told = found.gradient, found.coherence, found.learning_rate, found.told_apart
    return *told, found.surrogate
