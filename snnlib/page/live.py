r"""Figures with sliders: every setting is computed in Python, and a script of the page draws it.

A figure has one to three sliders and one or two panels.  A function is called for each setting and
returns what the panels show, and one line of text with the numbers that follow.  Both are stored
in the page, so the sliders work without a server, by mouse, touch and keys.  Letters have the size
of the page's, on a phone too, and colours are those of its light or dark theme.

Example:
    One curve, one slider:

    >>> from snnlib import meanfield
    >>> panel = Panel("threshold", "probability", (0, 2), (0, 0.5))
    >>> def at(std):
    ...     x = [0.0, 1.0, 2.0]
    ...     p = meanfield.firing_probability(x, std**2)
    ...     return [[Line(x, p)]], f"at threshold 1: {p[1]:.3f}"
    >>> page = html(at, [Knob("standard deviation", [0.5, 1.0])], [panel], alt="A falling curve.")
    >>> "at threshold 1: 0.023" in page, "at threshold 1: 0.159" in page
    (True, True)
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from snnlib import _html
from snnlib._extras import require

__all__ = ["Cells", "Knob", "Line", "Panel", "figure", "html"]

STYLES = ("solid", "dashed", "area")
MOST = 100_000
"""Bytes of a figure's data at most."""

_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_BREAK = 4095
_SCRIPT = Path(__file__).with_name("static") / "live.js"
_seen: Counter[str] = Counter()


@dataclass(frozen=True)
class Knob:
    """One slider.

    Attributes:
        name: What it sets, written beside it.
        values: What it may be set to, at least two.
        start: Index of the value that is shown first.
        format: Format of a value, such as ``"{:.2f}"``.
    """

    name: str
    values: Sequence[Any]
    start: int = 0
    format: str = "{}"

    @property
    def texts(self) -> list[str]:
        """The values as they are shown."""
        return [self.format.format(value) for value in self.values]


@dataclass(frozen=True)
class Panel:
    """Axes; a logarithmic axis has limits and ticks in the data's units.

    Attributes:
        x: What stands below the axes.
        y: What stands above them.
        xlim: Ends of the horizontal axis.
        ylim: Ends of the vertical one.
        xticks: Where numbers stand; five round places if None.
        yticks: Likewise.
        xlog: Whether the horizontal axis is logarithmic.
        ylog: Whether the vertical one is.
    """

    x: str
    y: str
    xlim: tuple[float, float]
    ylim: tuple[float, float]
    xticks: Sequence[float] | None = None
    yticks: Sequence[float] | None = None
    xlog: bool = False
    ylog: bool = False


@dataclass(frozen=True)
class Line:
    """A curve; a value that is not finite breaks it.

    Attributes:
        x: Positions [k].
        y: Values [k].
        name: Name in the legend; none if empty.
        style: ``"solid"``, ``"dashed"`` or ``"area"`` (filled down to the axis).
        color: Number of one of the seven colours, from 0.
    """

    x: ArrayLike
    y: ArrayLike
    name: str = ""
    style: str = "solid"
    color: int = 0


@dataclass(frozen=True)
class Cells:
    """A grid of grey values that fills a panel.

    Attributes:
        values: [rows, columns] in [0, 1], 1 is full ink; the first row is at the bottom.
    """

    values: ArrayLike


Frame = tuple[Sequence[Sequence["Line | Cells"]], str]


def figure(
    frame: Callable[..., Frame],
    knobs: Sequence[Knob],
    panels: Sequence[Panel],
    *,
    alt: str,
    caption: str = "",
    name: str = "",
) -> Any:
    r"""Compute every setting and return a figure that a notebook and the book's page display.

    Args:
        frame: Called with one value of each knob; returns the content of each panel and a line of
            text with the numbers that follow from the setting.
        knobs: One to three sliders.
        panels: One or two panels.
        alt: What the panels show, for readers who cannot see them; the text of `frame` follows it.
        caption: Text below the figure, with mathematics between ``\\(`` and ``\\)``.
        name: Anchor on the page, unique there.

    Returns:
        An object that a notebook displays.

    Raises:
        ValueError: If there are too many or too few knobs, values or panels, a text is empty, a
            style, a colour or a start is none, a frame has other panels, or there are more than
            100 kB of data.
    """
    display = require("IPython.display", "book")
    made = html(frame, knobs, panels, alt=alt, caption=caption, name=name)
    script = _SCRIPT.read_text(encoding="utf-8")  # the book's pages load it once instead
    return display.HTML(f'{made}<script class="snn-live-script">{script}</script>')


def html(
    frame: Callable[..., Frame],
    knobs: Sequence[Knob],
    panels: Sequence[Panel],
    *,
    alt: str,
    caption: str = "",
    name: str = "",
) -> str:
    """The figure without the script that draws it; arguments as of `figure`."""
    _check(knobs, panels, alt)
    store: dict[str, int] = {}
    found = [frame(*setting) for setting in itertools.product(*(knob.values for knob in knobs))]
    frames = [_encoded(one, panels, store) for one in found]
    columns = [
        _axes(panel) | _grid(lines) for panel, lines in zip(panels, found[0][0], strict=True)
    ]
    content = {
        "alt": alt,
        "texts": [knob.texts for knob in knobs],
        "panels": columns,
        "frames": frames,
        "data": list(store),
    }
    data = json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
    if len(data) > MOST:
        raise ValueError(f"frames must hold at most {MOST} bytes together, got {len(data)}")
    digest = hashlib.sha256(data.encode()).hexdigest()[:10]
    _seen[digest] += 1  # the same figure twice in a notebook still has two names
    uid = name or f"live-{digest}-{_seen[digest]}"
    first = 0
    for knob in knobs:
        first = first * len(knob.values) + knob.start
    says = content["data"][frames[first][1]]
    below = f"<figcaption>{escape(caption, quote=False)}</figcaption>" if caption else ""
    return (
        f'<figure class="snn-live" id="{escape(uid, quote=True)}">\n'
        f'<script type="application/json">{data}</script>\n'
        f"{_controls(knobs, uid)}"
        f'<output class="live-says">{escape(says)}</output>\n'
        f'<div class="live-panels"><p>{escape(alt)}</p></div>\n{below}</figure>'
    )


def _controls(knobs: Sequence[Knob], uid: str) -> str:
    rows = []
    for place, knob in enumerate(knobs):
        own = escape(f"{uid}-{place}", quote=True)
        text = escape(knob.texts[knob.start], quote=True)
        rows.append(
            f'<div class="live-control"><label for="{own}">{escape(knob.name)}</label>'
            f'<input type="range" id="{own}" min="0" max="{len(knob.values) - 1}" step="1" '
            f'value="{knob.start}" aria-valuetext="{text}" disabled>'
            f'<output for="{own}">{text}</output></div>\n'
        )
    return "".join(rows)


def _check(knobs: Sequence[Knob], panels: Sequence[Panel], alt: str) -> None:
    for name, found, most in (("knobs", knobs, 3), ("panels", panels, 2)):
        if not 1 <= len(found) <= most:
            raise ValueError(f"{name} must be 1 ... {most}, got {len(found)}")
    for knob in knobs:
        if len(knob.values) < 2:
            raise ValueError(f"values of {knob.name!r} must be at least two, got {knob.values!r}")
        if not 0 <= knob.start < len(knob.values):
            raise ValueError(
                f"start of {knob.name!r} must be in 0 ... {len(knob.values) - 1}, got {knob.start}"
            )
    for what, text in (("alt", alt), *(("name", knob.name) for knob in knobs)):
        if not text.strip():
            raise ValueError(f"{what} must say something, got {text!r}")


def _grid(lines: Sequence[Line | Cells]) -> dict[str, list[int]]:
    """Columns and rows of a panel's cells, which all settings share."""
    shapes = [np.shape(np.asarray(line.values)) for line in lines if isinstance(line, Cells)]
    return {"cells": [shapes[0][1], shapes[0][0]]} if shapes else {}


def _encoded(frame: Frame, panels: Sequence[Panel], store: dict[str, int]) -> list[Any]:
    """A frame as numbers of texts in the store, which grows."""
    shown, says = frame
    if len(shown) != len(panels):
        raise ValueError(f"frame must fill {len(panels)} panels, got {len(shown)}")

    def number(text: str) -> int:
        return store.setdefault(text, len(store))

    drawn = []
    for panel, lines in zip(panels, shown, strict=True):
        found: list[list[Any]] = []
        for line in lines:
            if isinstance(line, Cells):
                found.append([0, number(_grey(line)), 0, "cells", 0])
                continue
            if line.style not in STYLES or line.color not in range(7):
                raise ValueError(
                    f"style must be one of {', '.join(STYLES)} and color 0 ... 6, "
                    f"got {line.style!r} and {line.color!r}"
                )
            x = _digits(_places(line.x, panel.xlim, panel.xlog))
            y = _digits(_places(line.y, panel.ylim, panel.ylog))
            if len(x) != len(y):
                raise ValueError(f"x and y must have one length, got {len(x) // 2}, {len(y) // 2}")
            found.append([number(x), number(y), number(line.name), line.style, line.color])
        drawn.append(found)
    return [drawn, number(says)]


def _grey(cells: Cells) -> str:
    values = np.asarray(cells.values, dtype=float)
    if values.ndim != 2 or not np.all((values >= 0) & (values <= 1)):
        raise ValueError("values of cells must be [rows, columns] in [0, 1]")
    return "".join(_DIGITS[k] for k in np.rint(63 * values).astype(int).ravel())


def _places(values: ArrayLike, limits: tuple[float, float], log: bool) -> NDArray[np.float64]:
    """Where values lie along an axis: 0 and 1 are its ends."""
    array = np.asarray(values, dtype=np.float64)
    low, high = limits
    if log:
        with np.errstate(divide="ignore", invalid="ignore"):
            array = np.log(array)
        low, high = math.log(low), math.log(high)
    return (array - low) / (high - low)


def _digits(places: NDArray[np.float64]) -> str:
    """Two digits for each place, from an eighth before the axis to an eighth behind it."""
    finite = np.isfinite(places)
    steps = np.rint((_BREAK - 1) * (np.where(finite, places, 0.0) + 0.125) / 1.25)
    codes = np.where(finite, np.clip(steps, 0, _BREAK - 1), _BREAK).astype(int)
    return "".join(_DIGITS[k >> 6] + _DIGITS[k & 63] for k in codes.tolist())


def _axes(panel: Panel) -> dict[str, Any]:
    def ticks(
        given: Sequence[float] | None, limits: tuple[float, float], log: bool
    ) -> list[list[Any]]:
        at = _round_places(limits, log) if given is None else given
        where = _places(list(at), limits, log)
        powers = log and any(abs(math.log10(t)) > 3.5 for t in at)
        return [[round(float(p), 4), _tick(t, powers)] for p, t in zip(where, at, strict=True)]

    return {
        "x": panel.x,
        "y": panel.y,
        "xt": ticks(panel.xticks, panel.xlim, panel.xlog),
        "yt": ticks(panel.yticks, panel.ylim, panel.ylog),
    }


def _tick(value: float, power: bool = False) -> str:
    """A number at an axis: a power of ten as such, or where the axis has such."""
    if not power or value == 1:
        return _html.readable(f"{value:g}")
    mantissa, exponent = f"{value:e}".split("e")
    raised, mantissa = _html.ten(int(exponent)), mantissa.rstrip("0").rstrip(".")
    return raised if mantissa == "1" else f"{mantissa}·{raised}"


def _round_places(limits: tuple[float, float], log: bool) -> list[float]:
    """Some round numbers between the ends of an axis."""
    low, high = limits
    if log:
        first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
        return [10.0**k for k in range(first, last + 1, max(1, (last - first + 4) // 5))]
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = min((m * power for m in (1, 2, 2.5, 5, 10)), key=lambda s: abs(math.log(s / rough)))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(k * step, 10) for k in range(first, last + 1)]
