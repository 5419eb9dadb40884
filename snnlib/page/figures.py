"""House style of the book's figures; `live` has those with sliders.

Matplotlib and IPython are extras (``pip install "snnlib[book]"``) and are imported when a function
needs them.  Figures are SVG with the same bytes in every run of the same data.

Example:
    Draw on a figure of one's own; nothing is shown or stored:

    >>> from matplotlib.figure import Figure
    >>> axes = Figure().subplots()
    >>> mean, spread = band(axes, [1, 2], [[1.0, 4.0], [3.0, 4.0]], label="runs")
    >>> mean.tolist(), spread.tolist()
    ([2.0, 4.0], [1.0, 0.0])
"""

from __future__ import annotations

import base64
import io
import math
import re
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from snnlib._extras import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "BAND_ALPHA",
    "COLORS",
    "PREDICTION",
    "band",
    "least_width",
    "panels",
    "save",
    "sequence_colors",
    "short_numbers",
    "show",
    "svg",
    "use_house_style",
]

COLORS = {
    "blue": "#0072b2",
    "vermilion": "#d55e00",
    "green": "#009e73",
    "purple": "#a6538a",
    "black": "#222222",
    "sky": "#3a94cb",
    "amber": "#b77f00",
}
"""Colours that readers with any colour vision tell apart, with a contrast of 3 to 1 on white.

Okabe and Ito's set in the order of use, its three light colours darkened.
"""

PREDICTION = {"color": "#222222", "linestyle": (0, (5, 2.5)), "linewidth": 1.4, "zorder": 3}
"""Line style of what a formula predicts; solid coloured lines are what was simulated."""

BAND_ALPHA = 0.22
"""Opacity of a band of one standard deviation."""

_SIZE = (6.4, 3.7)  # inches: nearly the width of the text on a desktop
_LEAST = 9.0  # pixels, of letters on a phone
_LETTERS = r'<g id="text_\d+"[^>]*>\s*(?:<!--.*?-->\s*)?<g [^>]*?scale\(([\d.]+)'
_STYLE: dict[str, Any] = {
    "figure.figsize": _SIZE,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "font.size": 11.0,
    "axes.titlesize": 11.5,
    "axes.labelsize": 11.0,
    "xtick.labelsize": 10.0,
    "ytick.labelsize": 10.0,
    "legend.fontsize": 10.0,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#444444",
    "axes.labelcolor": "#222222",
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "xtick.labelcolor": "#222222",
    "ytick.labelcolor": "#222222",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e3e6ea",
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "image.cmap": "viridis",
    "mathtext.fontset": "dejavusans",
    "svg.fonttype": "path",
    "svg.hashsalt": "snnlib",
}


def use_house_style() -> None:
    """Set the book's figure style, SVG as the format of figures in a notebook, short numbers.

    A number that a cell displays, alone or in a tuple, list or dictionary, has five digits.

    Raises:
        ImportError: If matplotlib is not installed.

    Example:
        >>> use_house_style()
        >>> import matplotlib
        >>> matplotlib.rcParams["svg.hashsalt"]
        'snnlib'
    """
    matplotlib = require("matplotlib", "book")
    cycler = require("cycler", "book").cycler
    matplotlib.rcParams.update({**_STYLE, "axes.prop_cycle": cycler(color=list(COLORS.values()))})
    try:
        from IPython import get_ipython
        from matplotlib_inline.backend_inline import set_matplotlib_formats
    except ImportError:
        return
    shell = get_ipython()
    if shell is not None:
        set_matplotlib_formats("svg", bbox_inches=None, metadata={"Date": None})
        short_numbers(shell.display_formatter.formatters["text/plain"])


def short_numbers(formatter: Any) -> None:
    """Have a formatter of IPython write floats with five digits.

    Args:
        formatter: A ``PlainTextFormatter``.

    Example:
        >>> from IPython.core.formatters import PlainTextFormatter
        >>> formatter = PlainTextFormatter()
        >>> short_numbers(formatter)
        >>> formatter((1 / 3, {"threshold": 0.9999999403953552}, 2.5e-7))
        "(0.33333, {'threshold': 1}, 2.5e-07)"
    """
    formatter.for_type(float, lambda value, printer, cycle: printer.text(f"{value:.5g}"))


def panels(count: int, *, height: float = 3.3, **shared: Any) -> tuple[Figure, Any]:
    """A figure of one or two panels beside each other, at the width of the text.

    More panels than two are too small to read on a phone; draw a second figure instead.

    Args:
        count: 1 or 2.
        height: Inches.
        **shared: As of ``plt.subplots``, such as ``sharey=True``.

    Returns:
        The figure, and its axes or the array of both.

    Raises:
        ValueError: If `count` is neither.

    Example:
        >>> figure, (left, right) = panels(2, sharey=True)
        >>> figure.get_size_inches().tolist()
        [6.8, 3.3]
    """
    if count not in (1, 2):
        raise ValueError(f"count must be 1 or 2, got {count!r}")
    plt = require("matplotlib.pyplot", "book")
    figure, axes = plt.subplots(1, count, figsize=(6.4 if count == 1 else 6.8, height), **shared)
    return figure, axes


def least_width(text: str) -> float:
    """Width at which the smallest letters of an SVG drawing are large enough to read.

    Args:
        text: What `svg` returned.

    Returns:
        Pixels; 0 for a drawing without letters.

    Example:
        Letters of 6 points are a tenth of a drawing that is 60 points wide:

        >>> least_width('<svg viewBox="0 0 60 9"><g id="text_1"><g transform="scale(0.06)"/></g>')
        90.0
    """
    box = re.search(r'viewBox="[\d.-]+ [\d.-]+ ([\d.]+) ', text)
    sizes = re.findall(_LETTERS, text, flags=re.S)
    sizes = [100 * float(size) for size in sizes]  # matplotlib draws letters 100 units high
    return round(_LEAST / min(sizes) * float(box[1]), 1) if box and sizes else 0.0


def sequence_colors(values: ArrayLike) -> list[str]:
    r"""Return one colour per value of an ordered quantity, such as the threshold.

    Along the map viridis, linear between the smallest and the largest.  The light end, which
    would vanish on white, is left out.  The book turns lightness over in its dark mode, so a
    caption should name curves by their labels and not call them dark or light.

    Args:
        values: Numbers [k], finite, k ≥ 1.

    Returns:
        Colours as ``"#rrggbb"``.

    Raises:
        ValueError: If there is no value or one is not finite.

    Example:
        >>> len(sequence_colors([0.0, 0.5, 1.0])), sequence_colors([2.0])
        (3, ['#440154'])
    """
    array = np.asarray(values, dtype=float)
    if array.ndim != 1 or array.size == 0 or not np.all(np.isfinite(array)):
        raise ValueError(f"values must be at least one finite number in a row, got {values!r}")
    matplotlib = require("matplotlib", "book")
    colors = require("matplotlib.colors", "book")
    span = float(np.ptp(array)) or 1.0
    places = 0.72 * (array - array.min()) / span
    return [str(colors.to_hex(c)) for c in matplotlib.colormaps["viridis"](places)]


def band(
    axes: Axes,
    x: ArrayLike,
    samples: ArrayLike,
    *,
    label: str | None = None,
    color: str | None = None,
    **line: Any,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""Draw the mean over runs as a line and ± one standard deviation as a band.

    .. math:: \bar y_k = \frac1R \sum_r y_{rk}, \qquad
              s_k = \sqrt{\frac1R \sum_r (y_{rk} - \bar y_k)^2}

    Args:
        axes: Where to draw.
        x: Positions [k].
        samples: Values [runs, k].
        label: Name in the legend.
        color: Colour of line and band; the next of the cycle if None.
        **line: Further properties of the line.

    Returns:
        Mean [k] and standard deviation [k].

    Raises:
        ValueError: If ``samples`` is not [runs, k] with k positions in ``x``, or has no run.

    Example:
        >>> from matplotlib.figure import Figure
        >>> band(Figure().subplots(), [0.0], [[1.0], [2.0]])
        (array([1.5]), array([0.5]))
    """
    positions = np.asarray(x, dtype=float)
    values = np.asarray(samples, dtype=float)
    if values.ndim != 2 or positions.ndim != 1 or values.shape[1:] != positions.shape:
        raise ValueError(
            f"samples must have shape [runs, k] and x shape [k], "
            f"got {values.shape} and {positions.shape}"
        )
    if values.shape[0] == 0:
        raise ValueError("samples must have at least one run, got 0")
    mean, spread = values.mean(axis=0), values.std(axis=0)
    (drawn,) = axes.plot(positions, mean, label=label, color=color, **line)
    axes.fill_between(
        positions,
        mean - spread,
        mean + spread,
        color=drawn.get_color(),
        alpha=BAND_ALPHA,
        linewidth=0,
    )
    return mean, spread


# ------------------------------------------------------------------------------------- as SVG


def svg(figure: Figure) -> str:
    """Return a figure as SVG text: the same in every run, and without what a page does not need.

    Args:
        figure: A Matplotlib figure.

    Returns:
        The ``<svg>`` element; coordinates have two decimals.

    Example:
        >>> from matplotlib.figure import Figure
        >>> text = svg(Figure(figsize=(1, 1)))
        >>> text.startswith("<svg"), text == svg(Figure(figsize=(1, 1)))
        (True, True)
    """
    matplotlib = require("matplotlib", "book")
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "snnlib", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue().decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'\bd="[^"]*"', _two_decimals, text)
    return "\n".join(line.strip() for line in text.splitlines() if line.strip()) + "\n"


def _two_decimals(match: re.Match[str]) -> str:
    def shorter(number: re.Match[str]) -> str:
        return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")

    return re.sub(r"-?\d+\.\d{3,}", shorter, match[0])


def save(figure: Figure, path: str | Path, *, title: str) -> None:
    """Write a figure as an SVG file that says what it shows.

    Args:
        figure: A Matplotlib figure.
        path: File name that ends in ``.svg``.
        title: What the figure shows; read aloud in place of the picture.

    Raises:
        ValueError: If ``path`` has another suffix or ``title`` is empty.
    """
    target = Path(path)
    if target.suffix != ".svg":
        raise ValueError(f"path must end in .svg, got {str(path)!r}")
    _not_empty("title", title)
    head, tag, rest = svg(figure).partition(">")
    target.write_text(
        f'{head} role="img"{tag}\n<title>{escape(title)}</title>{rest}', encoding="utf-8"
    )


def _not_empty(name: str, text: str) -> None:
    if not text.strip():
        raise ValueError(f"{name} must say something, got {text!r}")


def _data_address(text: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(text.encode()).decode()


def show(figure: Figure, *, alt: str, caption: str = "", name: str = "") -> Any:
    r"""Return a figure with an alternative text that may hold computed numbers.

    A chapter's figures take their alternative text from the cell's metadata, which cannot hold a
    number that the cell computes; this can.

    Args:
        figure: A Matplotlib figure; it is closed.
        alt: What the figure shows, for readers who cannot see it.
        caption: Text below the figure, with mathematics between ``\\(`` and ``\\)``.
        name: Anchor on the page, unique there, by which ``in-short`` finds the figure.

    Returns:
        An object that a notebook displays.

    Raises:
        ValueError: If ``alt`` is empty.
    """
    _not_empty("alt", alt)
    display = require("IPython.display", "book")
    drawing = svg(figure)
    least = math.ceil(least_width(drawing))
    _close(figure)
    anchor = f' id="{escape(name, quote=True)}"' if name else ""
    return display.HTML(
        f'<figure class="snn-figure"{anchor}>'
        f'<div class="figure-frame" tabindex="0" role="group" aria-label="Figure, may scroll" '
        f'style="--readable: {least}px">'
        f'<img src="{_data_address(drawing)}" alt="{escape(alt, quote=True)}"></div>'
        f"{_caption(caption)}</figure>"
    )


def _caption(text: str) -> str:
    return f"<figcaption>{escape(text, quote=False)}</figcaption>" if text else ""


def _close(figure: Figure) -> None:
    require("matplotlib.pyplot", "book").close(figure)
