"""Figures with sliders: what the page shows at a setting is what was computed for it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snnlib import meanfield
from snnlib.page import live
from tools.browser import chromium, keyboard

PANEL = live.Panel("q", "next", (0, 4), (0, 4))
ROOT = Path(__file__).resolve().parent.parent
GAINS, THRESHOLDS = [2.5, 4.5, 7.25], [0.35, 1.15]


def mapped(threshold: float, gain: float) -> live.Frame:
    q = np.array([0.5, 1.7, 3.1])
    following = meanfield.variance_map(q, gain, threshold)
    return [[live.Line(q, following, "map")]], says(threshold, gain)


def says(threshold: float, gain: float) -> str:
    return f"1 becomes {float(meanfield.variance_map(1.0, gain, threshold)):.4f}"


def made(**changes: Any) -> str:
    knobs = [live.Knob("threshold", THRESHOLDS, start=1), live.Knob("gain", GAINS)]
    given: dict[str, Any] = {"knobs": knobs, "panels": [PANEL], "alt": "A map.", **changes}
    return live.html(given.pop("frame", mapped), **given)


def content(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json">(.*?)</script>', page, flags=re.S)
    assert found
    read: dict[str, Any] = json.loads(found[1])
    return read


def decoded(text: str) -> list[float]:
    """The inverse of the encoding, written from its description: 12 bits from -1/8 to 9/8."""
    digit = {c: k for k, c in enumerate(live._DIGITS)}
    codes = [64 * digit[a] + digit[b] for a, b in zip(text[::2], text[1::2], strict=True)]
    return [np.nan if k == 4095 else 1.25 * k / 4094 - 0.125 for k in codes]


def test_each_setting_has_its_frame() -> None:
    page = content(made())
    place = 0
    for threshold in THRESHOLDS:
        for gain in GAINS:
            ((line,),), said = page["frames"][place]
            assert page["data"][said] == says(threshold, gain)
            expected = meanfield.variance_map(np.array([0.5, 1.7, 3.1]), gain, threshold)
            assert decoded(page["data"][line[1]]) == pytest.approx(expected / 4, abs=2e-4)
            place += 1
    assert place == len(page["frames"])


def test_equal_curves_are_stored_once() -> None:
    page = content(made(frame=lambda threshold, gain: ([[live.Line([0, 1], [0, gain / 2])]], "x")))
    assert len(page["data"]) == 1 + 3 + 2  # positions, one curve for each gain, name, text


def test_axes_may_be_logarithmic_and_lines_broken() -> None:
    panel = live.Panel("x", "y", (0.1, 1000), (1, 100), xlog=True, ylog=True)
    line = live.Line([1, 10, 100], [10, np.nan, 0])
    page = content(made(panels=[panel], frame=lambda *_: ([[line]], "x")))
    ((drawn,),), _ = page["frames"][0]
    assert decoded(page["data"][drawn[0]]) == pytest.approx([0.25, 0.5, 0.75], abs=2e-4)
    up = decoded(page["data"][drawn[1]])
    assert up[0] == pytest.approx(0.5, abs=2e-4) and np.isnan(up[1:]).all()
    assert [text for _, text in page["panels"][0]["xt"]] == ["0.1", "1", "10", "100", "1000"]


def test_cells_are_rows_from_the_bottom() -> None:
    page = content(made(frame=lambda *_: ([[live.Cells([[0, 0.5, 1], [1, 0, 0]])]], "x")))
    ((drawn,),), _ = page["frames"][0]
    assert page["panels"][0]["cells"] == [3, 2]
    assert [live._DIGITS.index(c) for c in page["data"][drawn[1]]] == [0, 32, 63, 63, 0, 0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"knobs": []}, "knobs must be 1 ... 3, got 0"),
        ({"panels": [PANEL] * 3}, "panels must be 1 ... 2, got 3"),
        ({"knobs": [live.Knob("a", [1])]}, "values of 'a' must be at least two"),
        ({"knobs": [live.Knob("a", [1, 2], start=2)]}, r"start of 'a' must be in 0 ... 1, got 2"),
        ({"knobs": [live.Knob("", [1, 2])]}, "name must say something"),
        ({"alt": " "}, "alt must say something"),
        ({"frame": lambda *_: ([], "x")}, "frame must fill 1 panels, got 0"),
        ({"frame": lambda *_: ([[live.Line([0], [0], style="dotted")]], "x")}, "style must be one"),
        ({"frame": lambda *_: ([[live.Line([0], [0], color=7)]], "x")}, "color 0 ... 6"),
        ({"frame": lambda *_: ([[live.Line([0, 1], [0])]], "x")}, "x and y must have one length"),
        ({"frame": lambda *_: ([[live.Cells([[2.0]])]], "x")}, r"\[rows, columns\] in \[0, 1\]"),
        ({"frame": lambda *_: ([[]], "x" * 100_001)}, "at most 100000 bytes together"),
    ],
)  # fmt: skip
def test_wrong_figures_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made(**changes)


def test_a_notebook_gets_the_script_and_a_page_does_not() -> None:
    pytest.importorskip("IPython")
    knobs = [live.Knob("threshold", THRESHOLDS), live.Knob("gain", GAINS)]
    shown = live.figure(mapped, knobs, [PANEL], alt="A </script> map.", name="here").data
    assert shown.count('<script class="snn-live-script">') == 1
    assert shown.count("</script>") == 2 and 'id="here"' in shown


@pytest.mark.skipif(chromium.browser() is None, reason="no Chromium")
def test_arrow_keys_move_it_and_the_number_is_the_library_s() -> None:
    script = (Path(live.__file__).parent / "static" / "live.js").read_text(encoding="utf-8")
    style = (ROOT / "book" / "_static" / "book.css").read_text(encoding="utf-8")
    body = f"<style>{style}</style><main style='width: 340px'>{made()}{made(panels=[PANEL])}</main>"
    with chromium.launched() as program, chromium.tab(program) as tab:
        tab.page.set_content(f"<!doctype html>{body}<script>{script}</script>")
        assert not keyboard.sliders(tab.page)
        ranges = tab.page.locator("input[type=range]").all()
        said = tab.page.locator(".live-says").first
        assert ranges[0].get_attribute("aria-valuetext") == str(THRESHOLDS[0])
        place = [0, 1]  # where the check above left them: the first was at its end
        for which, key, move in ((1, "ArrowRight", 1), (0, "ArrowRight", 1), (1, "ArrowLeft", -1)):
            ranges[which].focus()
            tab.page.keyboard.press(key)
            place[which] += move
            threshold, gain = THRESHOLDS[place[0]], GAINS[place[1]]
            assert said.inner_text() == says(threshold, gain)
            assert ranges[which].get_attribute("aria-valuetext") == str((threshold, gain)[which])
        drawing = tab.page.locator(".live-panel svg[role=img]").first
        assert says(threshold, gain) in str(drawing.get_attribute("aria-label"))
        box = drawing.bounding_box()
        assert box and box["width"] <= 340
        assert tab.page.evaluate(
            "() => Math.min(...[...document.querySelectorAll('.live-panel text')]"
            ".map(t => parseFloat(getComputedStyle(t).fontSize)))"
        ) >= 9  # fmt: skip
        assert not tab.complaints
