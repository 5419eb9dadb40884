"""The figures' house style, bands and images."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("IPython")

import matplotlib as mpl
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from snnlib.page import figures


@pytest.fixture(autouse=True)
def _style():
    with mpl.rc_context():
        yield


def line(axes: Any, value: float) -> None:
    axes.plot([0, 1], [0, value])
    axes.set(ylim=(0, 4), title=f"{value}")


def contrast(color: str, other: str = "#ffffff") -> float:
    """WCAG contrast of two colours."""

    def luminance(name: str) -> float:
        rgb = np.asarray(to_rgb(name))
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    a, b = sorted((luminance(color), luminance(other)))
    return (b + 0.05) / (a + 0.05)


@pytest.mark.parametrize("name", list(figures.COLORS))
def test_colors_stand_out_on_white(name: str) -> None:
    assert contrast(figures.COLORS[name]) >= 3


def test_sequence_colors_are_in_order_and_stand_out() -> None:
    colors = figures.sequence_colors(np.linspace(0, 1, 6))
    against_white = [contrast(c) for c in colors]
    assert against_white == sorted(against_white, reverse=True)
    assert against_white[-1] >= 2


@pytest.mark.parametrize("values", [[], [0.0, float("nan")], [[1.0]]])
def test_sequence_colors_refuses(values: Any) -> None:
    with pytest.raises(ValueError, match="values"):
        figures.sequence_colors(values)


def test_style_is_complete_and_idempotent() -> None:
    figures.use_house_style()
    first = dict(mpl.rcParams)
    figures.use_house_style()
    assert dict(mpl.rcParams) == first
    assert mpl.rcParams["font.size"] >= 9
    assert mpl.rcParams["figure.figsize"][0] <= 7


def test_band_is_mean_and_population_deviation() -> None:
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(7, 5))
    axes = Figure().subplots()
    mean, spread = figures.band(axes, np.arange(5), samples, label="a", linewidth=3)
    np.testing.assert_allclose(mean, samples.sum(0) / 7)
    np.testing.assert_allclose(spread**2, (samples**2).mean(0) - mean**2)
    (drawn,) = axes.lines
    np.testing.assert_allclose(drawn.get_ydata(), mean)
    assert drawn.get_label() == "a"
    assert drawn.get_linewidth() == 3
    (area,) = axes.collections
    low, high = area.get_paths()[0].vertices[:, 1].min(), area.get_paths()[0].vertices[:, 1].max()
    assert low == pytest.approx((mean - spread).min())
    assert high == pytest.approx((mean + spread).max())


@pytest.mark.parametrize(
    ("x", "samples"),
    [([0, 1], [1.0, 2.0]), ([0, 1], [[1.0, 2.0, 3.0]]), ([[0, 1]], [[1.0, 2.0]])],
)
def test_band_refuses_other_shapes(x: Any, samples: Any) -> None:
    axes = Figure().subplots()
    with pytest.raises(ValueError, match=r"samples must have shape \[runs, k\]"):
        figures.band(axes, x, samples)
    assert not axes.lines


def test_band_refuses_no_runs() -> None:
    with pytest.raises(ValueError, match="at least one run, got 0"):
        figures.band(Figure().subplots(), [0, 1], np.empty((0, 2)))


def one_figure() -> Figure:
    figure = Figure(figsize=(2, 1))
    line(figure.subplots(), 1 / 3)
    return figure


def test_svg_is_small_and_reproducible() -> None:
    text = figures.svg(one_figure())
    assert text == figures.svg(one_figure())
    assert not re.search(r"<!--|<metadata|<\?xml|<!DOCTYPE", text)
    assert not re.search(r'\bd="[^"]*\d\.\d{3}', text)


def test_save_writes_a_titled_file(tmp_path: Any) -> None:
    path = tmp_path / "a.svg"
    figures.save(one_figure(), path, title="1 < 2")
    text = path.read_text()
    assert "<title>1 &lt; 2</title>" in text
    assert text.startswith("<svg") and 'role="img"' in text.partition(">")[0]


def test_save_refuses(tmp_path: Any) -> None:
    with pytest.raises(ValueError, match=r"path must end in \.svg"):
        figures.save(one_figure(), tmp_path / "a.png", title="a")
    with pytest.raises(ValueError, match="title"):
        figures.save(one_figure(), tmp_path / "a.svg", title=" ")
    assert not list(tmp_path.iterdir())


def test_show_takes_a_name_for_the_page() -> None:
    page = figures.show(one_figure(), alt="a", name='fig-"a"').data
    assert page.startswith('<figure class="snn-figure" id="fig-&quot;a&quot;">')
    assert " id=" not in figures.show(one_figure(), alt="a").data


def test_show_holds_text_and_caption() -> None:
    page = figures.show(one_figure(), alt='say "a"', caption=r"\(x < 1\)").data
    assert 'alt="say &quot;a&quot;"' in page
    assert r"<figcaption>\(x &lt; 1\)</figcaption>" in page
    with pytest.raises(ValueError, match="alt"):
        figures.show(one_figure(), alt="")


def test_import_needs_no_extra() -> None:
    code = (
        "import sys\n"
        "for name in ('matplotlib', 'IPython'): sys.modules[name] = None\n"
        "from snnlib import figures\n"
        "try: figures.use_house_style()\n"
        "except ImportError as error: print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "snnlib[book]"' in run.stdout
