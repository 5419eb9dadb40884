"""The book's own Sphinx extensions and its link checker."""

from __future__ import annotations

import doctest
import importlib
import itertools
import json
import random
import re
import sys
import types
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml
from docutils import nodes
from docutils.utils import new_document

from snnlib.ledger import VERDICTS, Claim
from tools import check_site, pdf

ROOT = Path(__file__).resolve().parent.parent
EXTENSIONS = ROOT / "book" / "_ext"

sys.path.insert(0, str(EXTENSIONS))

formula = importlib.import_module("formula")
graph = importlib.import_module("ledger_graph")
lines = importlib.import_module("ledger_lines")
model = importlib.import_module("ledger_model")
pages = importlib.import_module("ledger_pages")
assets = importlib.import_module("offline_assets")
reading = importlib.import_module("reading")
navigation = importlib.import_module("shared_navigation")


MODULES = ["ledger_graph", "ledger_model", "ledger_env", "formula", "api_docs", "book_map"]
MODULES += ["valid_html", "downloads", "formula_sheet"]


@pytest.mark.parametrize("name", MODULES)
def test_doctests(name: str) -> None:
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried > 0
    assert failed == 0


def test_pages_outside_the_book_share_the_navigation_of_their_folder() -> None:
    made = []

    def toctree(page: str) -> Any:
        return lambda **options: made.append((page, options)) or f"made for {page}, {options}"

    site = navigation.SharedNavigation()

    def of(page: str, **options: Any) -> str:
        return str(site.shared(page, {"book/a", "book/b"}, toctree(page))(**options))

    assert of("book/a", depth=1) == "made for book/a, {'depth': 1}"
    assert of("book/b", depth=1) == "made for book/b, {'depth': 1}"  # another is current
    assert of("_modules/m/x", depth=1) == of("_modules/m/y", depth=1)
    assert of("_modules/z", depth=1) == "made for _modules/z, {'depth': 1}"  # another way
    assert of("_modules/m/y", depth=2) == "made for _modules/m/y, {'depth': 2}"
    assert len(made) == 5


# --- claims and evidence ----------------------------------------------------------------------


def claim(name: str, *uses: str, verdict: str = "proved") -> Claim:
    return Claim(
        id=name,
        source="a",
        locator=name,
        read="full text",
        statement="",
        verdict=verdict,
        chapter="c",
        uses=uses,
    )


def listed(*claims: Claim) -> dict[str, Claim]:
    return {c.id: c for c in claims}


def test_every_verdict_has_meaning_icon_and_style() -> None:
    style = (ROOT / "book" / "_static" / "book.css").read_text()
    assert tuple(model.MEANING) == VERDICTS
    assert len({model.ICONS[v] for v in VERDICTS}) == len(VERDICTS)
    for verdict in (*VERDICTS, model.MISSING):
        rule = re.search(rf"\.{model.css_class(verdict)} {{([^}}]*)}}", style)
        assert rule, verdict
        assert f'--verdict-icon: "{model.ICONS[verdict]}"' in rule[1]


def test_doubt_spreads_to_everything_above() -> None:
    claims = listed(claim("a"), claim("b", "a"), claim("c", "b"), claim("d"))
    found = model.doubtful_premises(claims, {"a": "refuted", "b": "proved", "c": "measured"})
    assert found == {"b": (("a",),), "c": (("b", "a"),)}


def test_doubt_takes_a_shortest_path_and_stops_at_the_trouble() -> None:
    claims = listed(
        claim("root"), claim("a", "root"), claim("b", "a"), claim("c", "b", "a"), claim("d", "c")
    )
    verdicts = {"root": "refuted", "a": "corrected", "b": "proved", "c": "proved"}
    found = model.doubtful_premises(claims, verdicts)
    assert found["c"] == (("a",),)
    assert found["d"] == (("c", "a"),)
    assert found["a"] == (("root",),)


def test_doubt_survives_circles_and_unknown_premises() -> None:
    claims = listed(claim("a", "b"), claim("b", "a", "nobody"))
    assert model.doubtful_premises(claims, {"a": "proved", "b": "refuted"}) == {"a": (("b",),)}


def test_assemble_joins_claims_and_evidence() -> None:
    claims = listed(claim("a"), claim("b", "a"), claim("c"), claim("d", verdict=VERDICTS[-1]))
    bundles = [
        {"claim": "a", "verdict": "corrected", "statement_latex": "x", "corrected_latex": "y"},
        {"claim": "b", "verdict": "measured", "margin": 0.5, "mde": [0.01, 0.02]},
        {"claim": "stranger", "verdict": "proved"},
    ]
    book = model.assemble(claims, bundles, {"c": "z"})
    assert [row.verdict for row in book.rows.values()] == [
        "corrected",
        "measured",
        "no evidence",
        "not testable here",
    ]
    assert (book.rows["a"].printed, book.rows["a"].corrected) == ("x", "y")
    assert (book.rows["b"].margin, book.rows["b"].mde) == (0.5, (0.01, 0.02))
    assert book.rows["b"].doubts == (("a",),)
    assert book.rows["c"].printed == "z"
    assert book.counts() == {
        "measured": 1,
        "corrected": 1,
        "not testable here": 1,
        "no evidence": 1,
    }


def test_mde_without_prediction_is_left_out() -> None:
    assert model.mde_text([float("inf"), 0.02]) == "2 %"
    assert model.mde_text([float("inf")]) is None


# --- the graph --------------------------------------------------------------------------------


def random_graph(seed: int) -> tuple[list[str], list[tuple[str, str]]]:
    rng = random.Random(seed)
    nodes = [f"n{i}" for i in range(rng.randint(1, 25))]
    pairs = list(itertools.combinations(nodes, 2))
    return nodes, rng.sample(pairs, k=min(len(pairs), rng.randint(0, 40)))


@pytest.mark.parametrize("seed", range(12))
def test_layout_keeps_nodes_apart_and_inside(seed: int) -> None:
    nodes, edges = random_graph(seed)
    placed = graph.layout(nodes, edges)
    assert set(placed.positions) == set(nodes)
    for (x0, y0), (x1, y1) in itertools.combinations(placed.positions.values(), 2):
        beside = abs(x0 - x1) >= graph.NODE_WIDTH - 1e-6
        below = abs(y0 - y1) >= graph.NODE_HEIGHT - 1e-6
        assert beside or below
    for x, y in placed.positions.values():
        assert -1e-6 <= x <= placed.width - graph.NODE_WIDTH + 1e-6
        assert -1e-6 <= y <= placed.height - graph.NODE_HEIGHT + 1e-6


@pytest.mark.parametrize("seed", range(12))
def test_edges_run_to_the_right_and_end_at_their_nodes(seed: int) -> None:
    nodes, edges = random_graph(seed)
    placed = graph.layout(nodes, edges)
    assert set(placed.routes) == set(edges)
    for (source, target), points in placed.routes.items():
        (x0, y0), (x1, y1) = placed.positions[source], placed.positions[target]
        half = graph.NODE_HEIGHT / 2
        assert points[0] == pytest.approx((x0 + graph.NODE_WIDTH, y0 + half))
        assert points[-1] == pytest.approx((x1, y1 + half))
        assert all(a[0] <= b[0] for a, b in itertools.pairwise(points))


@pytest.mark.parametrize("seed", range(12))
def test_edges_do_not_pass_behind_other_nodes(seed: int) -> None:
    nodes, edges = random_graph(seed)
    placed = graph.layout(nodes, edges)
    for points in placed.routes.values():
        for (x0, y0), (x1, _) in itertools.pairwise(points[1:-1]):
            if x1 - x0 < graph.NODE_WIDTH - 1:  # between two columns
                continue
            for x, y in placed.positions.values():
                assert not (x < (x0 + x1) / 2 < x + graph.NODE_WIDTH) or not (
                    y < y0 < y + graph.NODE_HEIGHT
                )


def test_ordering_removes_a_needless_crossing() -> None:
    placed = graph.layout(["a", "b", "c", "d"], [("a", "d"), ("b", "c"), ("a", "c")])
    heights = {n: y for n, (_, y) in placed.positions.items()}
    assert (heights["a"] - heights["b"]) * (heights["d"] - heights["c"]) > 0


def test_a_circle_is_cut() -> None:
    kept = graph.without_cycles(["a", "b"], [("a", "b"), ("b", "a"), ("a", "a")])
    assert kept == [("a", "b")]
    assert graph.layout(["a", "b"], [("a", "b"), ("b", "a")]).width > 0


@pytest.mark.parametrize("wanted", [[0, 0, 0], [5, 1, 3], [0, 10, 20], [4]])
def test_spread_keeps_distances_and_mean(wanted: list[float]) -> None:
    gaps = [2.0] * max(len(wanted) - 1, 0)
    placed = graph.spread(wanted, gaps)
    assert all(b - a >= 2 - 1e-9 for a, b in itertools.pairwise(placed))
    assert sum(placed) == pytest.approx(sum(wanted))


def test_drawing_is_well_formed_and_takes_no_tab_stop() -> None:
    def describe(node: str) -> Any:
        return graph.NodeText(
            label=node, icon="✓", title=f"<{node}>", href=f"#{node}", css="ledger-proved"
        )

    root = ElementTree.fromstring(graph.draw(["a", "b"], [("a", "b")], describe))
    space = "{http://www.w3.org/2000/svg}"
    assert root.get("aria-hidden") == "true"
    links = root.findall(f".//{space}a")
    assert [(a.get("href"), a.get("tabindex")) for a in links] == [("#a", "-1"), ("#b", "-1")]
    assert [t.text for t in root.findall(f".//{space}a/{space}title")] == ["<a>", "<b>"]


# --- formulas and lines -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def claims() -> dict[str, Claim]:
    from snnlib.ledger import read_claims

    return dict(read_claims(ROOT / "book" / "claims").claims)


def test_cutting_a_formula_loses_nothing_and_cuts_no_bracket(claims: dict[str, Claim]) -> None:
    printed = [c.printed_latex for c in claims.values() if c.printed_latex]
    cut = 0
    for latex in printed:
        parts = formula.pieces(latex)
        assert "".join(part.removeprefix("{}") for part in parts) == latex
        for part in parts:
            assert part.count(r"\left") == part.count(r"\right"), part
            assert part.count(r"\begin") == part.count(r"\end"), part
            assert part.replace(r"\{", "").count("{") == part.replace(r"\}", "").count("}"), part
        cut += len(parts) > 1
    assert cut > 0.9 * len(printed) > 100  # a statement is a relation


def test_a_formula_is_cut_at_signs_outside_of_brackets_only() -> None:
    latex = r"\left(a + b\right) = \begin{cases} 1 & x < 2 \\0 \end{cases} + x_{i - 1}^- - [0, 1)"
    assert formula.pieces(latex) == [
        r"\left(a + b\right) ",
        r"{}= \begin{cases} 1 & x < 2 \\0 \end{cases} ",
        "{}+ x_{i - 1}^- ",
        "{}- [0, 1)",
    ]


@pytest.mark.parametrize(
    ("html", "shown"),
    [
        ("0.9999999403953552 < 1", "0.9999999 < 1"),
        ("0.123999997973442", "0.124"),
        ("12.5 and 2026.1234567890123", "12.5 and 2026.12"),
        ("version 1.12345678.3", "version 1.12345678.3"),
        ("1.9e-07 per entry, 2e+3", "1.9·10<sup>−7</sup> per entry, 2·10<sup>3</sup>"),
    ],
)
def test_no_number_has_more_digits_than_it_needs(html: str, shown: str) -> None:
    assert formula.rounded(html) == shown


def test_a_line_says_the_sentence_also_of_a_claim_in_words() -> None:
    claim = Claim(
        id="a.words",
        source="a",
        locator="",
        read="ours",
        statement="All $x < 1$ & *most* `y`.",
        verdict="measured",
        chapter="c",
        citation="A 2000, words",
    )
    evidence = {"verdict": "measured", "summary": r"at \(x = 0.123456789012\)", "detail": r"\(y\)"}
    html = lines.line_html(model.Row(claim, "measured", evidence), "../book/claims/a.html#a-words")
    assert 'All <span class="late-math">\\(x &lt; 1\\)</span> &amp; <em>most</em>' in html
    assert '<a class="ledger-claim" href="../book/claims/a.html#a-words">A 2000, words</a>' in html
    assert "0.123457" in html and "0.123456789012" not in html
    assert html.index("All <span") < html.index("A 2000, words") < html.index("<details")
    assert "<a " not in lines.line_html(model.Row(claim, "measured", evidence), None)


# --- severities -------------------------------------------------------------------------------


def test_severities_have_one_list_of_names() -> None:
    from snnlib.ledger import claims as listed

    assert tuple(model.SEVERITIES) == listed.SEVERITIES


def erratum(name: str, **more: Any) -> Any:
    from types import SimpleNamespace

    return SimpleNamespace(**{"id": name, "read": "full text", **more})


@pytest.mark.parametrize(
    ("claim", "severity"),
    [
        (erratum("paper2000.eq1"), "false"),
        (erratum("paper2000.eq1", mark="misprint"), "misprint"),
        (erratum("paper2000.eq1", mark="inherits"), "false"),
        (erratum("paper2000.eq1", severity="unstated assumption"), "unstated assumption"),
        (erratum("lib.doc-a", read="code"), "library docstring"),
        (erratum("lib.doc-a", read="code", severity="false"), "false"),
        (erratum("paper2000.doc-a"), "false"),
    ],
)
def test_severity_is_what_the_list_says_else_what_the_source_is(claim: Any, severity: str) -> None:
    assert model.severity(claim) == severity


# --- a small book, built three times ----------------------------------------------------------

CLAIMS = {
    "sources": {"paper2000": "Somebody 2000", "book": "This book"},
    "symbols": {"paper2000": {"a": {"latex": "\\alpha"}, "b": {}}},
    "claims": {
        "paper2000.eq1": {
            "source": "paper2000",
            "locator": "Eq. 1",
            "read": "full text",
            "statement": "One is $b$.",
            "printed": "Eq(a, b)",
            "verdict": "proved",
            "chapter": "first",
        },
        "paper2000.eq2": {
            "source": "paper2000",
            "locator": "Eq. 2",
            "read": "full text",
            "statement": "Two.",
            "verdict": "measured",
            "uses": ["paper2000.eq1"],
            "chapter": "second",
            "entries": 2,
            "level": "law",
        },
    },
}


def evidence(name: str, verdict: str, **more: Any) -> dict[str, Any]:
    return {
        "claim": name,
        "verdict": verdict,
        "statement_latex": "\\alpha = b",
        "corrected_latex": None,
        "kind": "prove",
        "cells": [1],
        "summary": "at \\(b &lt; 1\\)",
        "detail": "by \\(x\\)",
        "margin": 0.25,
        "entries": CLAIMS["claims"].get(name, {}).get("entries", 0),
        "mde": [0.01, 0.02],
        **more,
    }


def chapter(title: str, name: str, verdict: str, **more: Any) -> str:
    bundle = {
        "text/html": f'<div class="ledger ledger-a" id="evidence-{name.replace(".", "-")}"></div>',
        "text/plain": "",
        pages.ledger.MIME: evidence(name, verdict, **more),
    }
    output = nbformat.v4.new_output("display_data", data=bundle)
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell(f"# {title}"),
            nbformat.v4.new_code_cell("1", outputs=[output], execution_count=1),
        ],
        metadata={"kernelspec": {"name": "python3", "display_name": "", "language": "python"}},
    )
    return nbformat.writes(notebook)


STATUS = "# Status\n\n```{ledger-counts}\n```\n" + "".join(
    f"\n```{{ledger-status}} {part}\n```\n" for part in pages.PARTS
)


class SmallBook:
    """A book of two chapters with stored outputs, as jupyter-cache would give them."""

    def __init__(self, folder: Path) -> None:
        self.source = folder / "source"
        self.build = folder / "_build"
        for name in ("book", "notebooks"):
            (self.source / name).mkdir(parents=True)
        self.write("claims", "# Claims\n\n```{ledger-counts}\n```\n\n```{ledger-index}\n```\n")
        links = "{claim}`paper2000.eq2` {verdict}`paper2000.eq1`"
        self.write("errata", f"# Errata\n\n```{{ledger-errata}}\n```\n\n{links}\n")
        self.write("status", STATUS)
        (self.source / "book" / "references.bib").write_text(
            "@misc{paper2000, author={Body, Some}, title={T}, year={2000}}"
        )
        self.write("references", "# References\n\n```{bibliography}\n```\n")
        (self.source / "index.md").write_text(
            "# Index\n\n```{toctree}\n:glob:\n\nbook/*\nbook/claims/*\nnotebooks/*\n```\n"
        )
        self.claims(CLAIMS)
        self.chapter("first", "paper2000.eq1", "proved")
        self.chapter("second", "paper2000.eq2", "measured")

    def write(self, name: str, text: str) -> None:
        (self.source / "book" / f"{name}.md").write_text(text)

    def claims(self, content: dict[str, Any]) -> None:
        (self.source / "book" / "claims").mkdir(exist_ok=True)
        (self.source / "book" / "claims" / "all.yml").write_text(
            yaml.safe_dump(content, sort_keys=False)
        )

    def chapter(self, name: str, claim_id: str, verdict: str, **more: Any) -> None:
        path = self.source / "notebooks" / f"{name}.ipynb"
        path.write_text(chapter(name.title(), claim_id, verdict, **more))

    def make(self, *extensions: str) -> list[str]:
        """Build the pages, with more extensions; return the warnings."""
        import io

        from sphinx.application import Sphinx
        from sphinx.util.docutils import docutils_namespace, patch_docutils

        warnings = io.StringIO()
        settings = {
            "extensions": [
                *("myst_nb", "sphinxcontrib.bibtex", "ledger_pages", "in_short"),
                *extensions,
            ],
            "nb_execution_mode": "off",
            "myst_enable_extensions": ["dollarmath"],
            "bibtex_bibfiles": ["book/references.bib"],
            "bibtex_reference_style": "author_year",
            "html_theme": "basic",
            "suppress_warnings": ["mystnb.unknown_mime_type"],
        }
        with patch_docutils(), docutils_namespace():
            app = Sphinx(
                str(self.source),
                None,
                str(self.build / "html"),
                str(self.build / "doctrees"),
                "html",
                confoverrides=settings,
                status=None,
                warning=warnings,
            )
            app.build()
        return [line for line in warnings.getvalue().splitlines() if line.strip()]

    def page(self, name: str, folder: str = "book") -> Any:
        from bs4 import BeautifulSoup

        text = (self.build / "html" / folder / f"{name}.html").read_text()
        return BeautifulSoup(text, "html.parser")

    def in_short(self, *lines: str, figure: str = "fig-a") -> None:
        """A chapter whose answer stands before the cells that it shows."""
        shown = '<figure class="snn-figure" id="fig-a"><img alt="x"><figcaption>c</figcaption>'
        proved = (
            '<div class="ledger ledger-proved" id="evidence-paper2000-eq1">'
            '<span class="ledger-verdict">proved</span></div>'
        )
        bundles = [
            {"text/html": proved, pages.ledger.MIME: evidence("paper2000.eq1", "proved")},
            {"text/html": f"{shown}</figure>"},
        ]
        directive = "\n".join([f"```{{in-short}} {figure}", *lines, "```"])
        outputs = [nbformat.v4.new_output("display_data", data=bundle) for bundle in bundles]
        notebook = nbformat.v4.new_notebook(
            cells=[
                nbformat.v4.new_markdown_cell(f"# First\n\n## In short\n\n{directive}"),
                nbformat.v4.new_code_cell("1", outputs=outputs, execution_count=1),
            ],
            metadata={"kernelspec": {"name": "python3", "display_name": "", "language": "python"}},
        )
        path = self.source / "notebooks" / "first.ipynb"
        path.write_text(nbformat.writes(notebook))


@pytest.fixture
def book(tmp_path: Path) -> SmallBook:
    return SmallBook(tmp_path)


def verdict_on_page(book: SmallBook, name: str) -> str:
    verdict = book.page("claims/all").find(id=name).find(class_="ledger-badge").get_text()
    row = book.page("claims").find(id=name)
    assert row["data-verdict"] == row.find(class_="ledger-badge").get_text() == verdict
    return str(verdict)


def test_pages_are_right_cold_again_and_after_a_change(book: SmallBook) -> None:
    assert book.make() == []
    assert verdict_on_page(book, "paper2000-eq1") == "proved"
    assert verdict_on_page(book, "paper2000-eq2") == "measured"
    card = book.page("claims/all").find(id="paper2000-eq2").get_text(" ", strip=True)
    assert "Eq. 2 read: full text" in card
    assert "0.25 of the critical value, would see errors of 1–2 %" in card
    assert "Claims of Body [ 2000 ]" in book.page("claims/all").get_text(" ", strip=True)
    assert "No claim checked so far" in book.page("errata").get_text()
    first = {n: str(book.page(n).body) for n in ("claims", "claims/all", "errata", "status")}

    assert book.make() == []
    assert {n: str(book.page(n).body) for n in first} == first

    book.chapter("first", "paper2000.eq1", "refuted")
    changed = yaml.safe_load(yaml.safe_dump(CLAIMS))
    changed["claims"]["paper2000.eq1"]["verdict"] = "refuted"
    book.claims(changed)
    assert book.make() == []
    assert verdict_on_page(book, "paper2000-eq1") == "refuted"
    above = book.page("claims/all").find(id="paper2000-eq2")
    assert "Eq. 1 (refuted)" in above.find(class_="ledger-doubt").get_text()
    assert book.page("errata").find(id="erratum-paper2000-eq1")
    assert not book.page("errata").find(id="erratum-paper2000-eq2")


def test_a_changed_chapter_alone_reaches_the_pages(book: SmallBook) -> None:
    book.make()
    book.chapter("first", "paper2000.eq1", "refuted")
    (warning,) = book.make()
    assert "paper2000.eq1" in warning and "refuted" in warning and "proved" in warning
    assert verdict_on_page(book, "paper2000-eq1") == "refuted"


def test_a_lost_executed_copy_is_made_again(book: SmallBook) -> None:
    import shutil

    book.make()
    shutil.rmtree(book.build / "jupyter_execute")
    assert book.make() == []
    assert verdict_on_page(book, "paper2000-eq1") == "proved"


def test_an_answer_shows_lines_and_a_figure_of_cells_below(book: SmallBook) -> None:
    book.in_short("paper2000.eq1")
    assert book.make() == []
    page = book.page("first", "notebooks")
    (line,) = page.find_all(class_="in-short-line")
    assert line.get_text(" ", strip=True) == r"proved One is \(b\) . how"
    assert line.a["href"] == "#evidence-paper2000-eq1"
    (figure,) = page.find_all(class_="in-short-figure")
    assert figure.a["href"] == "#fig-a" and figure.img and not figure.find("figcaption")
    assert len(page.find_all(id="fig-a")) == len(page.find_all(id="evidence-paper2000-eq1")) == 1


@pytest.mark.parametrize(
    ("claim", "figure", "message"),
    [
        ("paper2000.eq7", "fig-a", "no claim paper2000.eq7"),
        ("paper2000.eq2", "fig-a", "no cell of this page shows paper2000.eq2"),
        ("paper2000.eq1", "fig-b", "no cell of this page shows fig-b"),
    ],
)
def test_an_answer_cannot_show_what_the_page_has_not(
    book: SmallBook, claim: str, figure: str, message: str
) -> None:
    book.in_short(claim, figure=figure)
    assert any(message in warning for warning in book.make())


CHAPTER = """---
kernelspec: {name: python3}
---

(a)=
# Two words

```{code-cell} ipython3
:tags: [hide-input]

hidden = 1
```

Three more $x^2 + y$ words.

```{code-cell} ipython3
---
tags: [figure]
mystnb: {figure: {name: fig-a}}
---
one = 1

two = 2
```

```{solution-start} a
:class: dropdown
```

Not read.

```{code-cell} ipython3
not_read = 3
```

```{solution-end}
```

```{note} Title
:class: dropdown
Folded.
```

```{prf:assumption} Weights
:label: a-b
Of one law.
```
"""


def test_reading_counts_what_is_not_folded() -> None:
    assert reading.read(CHAPTER) == reading.Reading(words=9, code=2)
    assert reading.Reading(200, 20).minutes == 2
    assert reading.Reading(201, 20).minutes == 3


def test_what_does_not_fit_is_a_warning(book: SmallBook) -> None:
    book.chapter("second", "paper2000.eq3", "measured")
    warnings = book.make()
    assert any("paper2000.eq3" in w and "no claim" in w for w in warnings)
    assert any("paper2000.eq2" in w and "no evidence" in w for w in warnings)
    assert verdict_on_page(book, "paper2000-eq2") == "no evidence"


def test_an_unknown_claim_in_the_text_is_a_warning(book: SmallBook) -> None:
    book.write("errata", "# Errata\n\n{claim}`nobody.eq1`\n")
    assert any("nobody.eq1" in w for w in book.make())


def test_pages_link_to_the_evidence_and_to_each_other(book: SmallBook) -> None:
    book.make()
    card = book.page("claims/all").find(id="paper2000-eq1")
    targets = [a["href"] for a in card.find_all("a")]
    assert "../../notebooks/first.html#evidence-paper2000-eq1" in targets
    assert book.page("errata").find("a", href="claims/all.html#paper2000-eq2")
    (verdict,) = book.page("errata").select("a.ledger-badge-link")
    assert (verdict["href"], verdict.get_text()) == ("claims/all.html#paper2000-eq1", "proved")
    (group,) = book.page("claims").select("details.ledger-group")
    rows = group.select("li[data-verdict]")
    assert [li.a["href"] for li in rows] == [
        "claims/all.html#paper2000-eq1",
        "claims/all.html#paper2000-eq2",
    ]
    _, problems = check_site.check(book.build / "html")
    assert [p for p in problems if p.startswith("book/") and "mathjax" not in p] == []


def test_cards_say_what_the_filters_ask_for(book: SmallBook) -> None:
    book.make()
    for page in ("claims", "claims/all"):
        found = {
            item["id"]: (item["data-verdict"], item["data-kind"], item["data-chapter"])
            for item in book.page(page).find_all(attrs={"data-verdict": True})
        }
        assert found == {
            "paper2000-eq1": ("proved", "proof", "first"),
            "paper2000-eq2": ("measured", "proof", "second"),
        }


def test_the_line_in_a_chapter_is_written_anew(book: SmallBook) -> None:
    book.make()
    line = book.page("first", "notebooks").find(id="evidence-paper2000-eq1")
    assert line.get_text(" ", strip=True).startswith(r"proved One is \(b\) .")
    assert line.find("a")["href"] == "../book/claims/all.html#paper2000-eq1"
    assert line.find("details").find(class_="late").get_text() == r"by \(x\)"
    assert not line.find_parent(class_="text_html")  # MathJax would not wait there


def test_errata_stand_by_source_with_both_forms_and_a_count(book: SmallBook) -> None:
    changed = yaml.safe_load(yaml.safe_dump(CLAIMS))
    changed["claims"]["paper2000.eq1"]["verdict"] = "corrected"
    book.claims(changed)
    book.chapter("first", "paper2000.eq1", "corrected", corrected_latex="\\alpha = 2 b")
    assert book.make() == []
    page = book.page("errata")
    head, *body = [
        [cell.get_text(strip=True) for cell in row.find_all(["th", "td"])]
        for row in page.find("table", class_="ledger-summary").find_all("tr")
    ]
    assert head == ["Source", "false", "all"]
    assert body == [["Somebody 2000", "1", "1"], ["all", "1", "1"]]
    section = page.find("section", id="errata-paper2000")
    card = section.find(id="erratum-paper2000-eq1")
    assert card.find(class_="ledger-severity").get_text() == "false"
    forms = [form.get_text(" ", strip=True) for form in card.find_all(class_="ledger-form")]
    assert forms == [
        r"as printed \(\displaystyle \alpha = b\)",
        r"corrected \(\displaystyle \alpha = 2 b\)",
    ]
    assert card.find("a", string="dispute")["href"].endswith(
        "/issues/new?title=Erratum%3A%20paper2000.eq1"
    )


def test_the_lemmas_of_a_chapter_have_a_page_with_their_graph(book: SmallBook) -> None:
    folder = book.source / "book" / "claims" / "book"
    folder.mkdir()
    own = {
        "book.own": {
            **CLAIMS["claims"]["paper2000.eq2"],
            "source": "book",
            "read": "ours",
            "verdict": "not testable here",
            "uses": ["paper2000.eq1", "paper2000.eq2"],
        }
    }
    (folder / "second.yml").write_text(yaml.safe_dump({"claims": own}))
    (folder.parent / "book.yml").write_text(yaml.safe_dump({"sources": {"book": "This book"}}))
    without = yaml.safe_load(yaml.safe_dump(CLAIMS))
    del without["sources"]["book"]
    book.claims(without)
    (book.source / "index.md").write_text(
        (book.source / "index.md").read_text().replace("book/claims/*", "book/claims/**")
    )
    assert book.make() == []
    page = book.page("claims/book/second")
    nodes = page.select("svg.ledger-graph g.lg-node")
    shown = {node.a["href"]: "lg-outside" in node["class"] for node in nodes}
    assert shown == {
        "../all.html#paper2000-eq1": True,  # checked in another chapter
        "../all.html#paper2000-eq2": False,
        "#book-own": False,
    }
    (listed,) = page.select("ul.ledger-elsewhere a")
    assert listed["href"] == "../all.html#paper2000-eq2"
    assert book.page("claims/book").find("a", href="book/second.html")


def test_status_names_no_machine(book: SmallBook) -> None:
    import platform

    book.make()
    text = book.page("status").get_text()
    assert "First" in text and "torch" in text and "0.0001" in text
    assert platform.node() not in text
    assert str(book.source) not in text


LETTERS = '<g id="text_1"><!-- 5 --><g transform="translate(1 1) scale({} -1)"/></g>'


@pytest.mark.parametrize(
    ("name", "content", "keeps", "width"),
    [
        ("a.svg", f'<svg viewBox="0 0 480 9">{LETTERS.format(0.1)}</svg>', False, 432),
        ("a.svg", f'<svg viewBox="0 0 480 9">{(LETTERS * 2).format(0.1, 0.07)}</svg>', False, 618),
        ("a.svg", '<svg viewBox="0 0 9 9"><image href="data:image/png;base64,x"/></svg>', True, 0),
        ("a.png", "", True, 0),
    ],
)
def test_figures_keep_colors_of_pictures_and_room_for_letters(
    tmp_path: Path, name: str, content: str, keeps: bool, width: int
) -> None:
    (tmp_path / name).write_text(content)
    frames = importlib.import_module("figure_frames")
    assert frames.keeps_colors(tmp_path / name) is keeps
    assert frames.readable_width(tmp_path / name) == width


def test_the_frame_of_a_figure_holds_its_image_or_its_link(tmp_path: Path) -> None:
    (tmp_path / "a.svg").write_text(f'<svg viewBox="0 0 480 9">{LETTERS.format(0.1)}</svg>')
    tree = new_document("a")
    tree += [nodes.figure("", nodes.image(uri="a.svg"))]
    tree += [nodes.container("", nodes.reference("", "", nodes.image(uri="a.svg"), refid="x"))]
    app = types.SimpleNamespace(srcdir=tmp_path)
    importlib.import_module("figure_frames").frame(app, tree, "a")
    kinds = [[type(child).__name__ for child in holder] for holder in tree]
    assert kinds == [["raw", "image", "raw"], ["raw", "reference", "raw"]]
    assert all("--readable: 432px" in holder[0].astext() for holder in tree)


class Indexed:
    """A builder that keeps what is indexed."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def index_page(self, name: str, tree: nodes.document, title: str) -> None:
        self.texts[name] = tree.astext()


def test_code_is_not_indexed_and_stays_on_the_page() -> None:
    tree, builder = new_document("a"), Indexed()
    tree += [nodes.paragraph("", "critical threshold"), nodes.literal_block("", "theta = 1")]
    tree += [nodes.container("", nodes.doctest_block("", ">>> theta")), nodes.literal("", "gain")]
    searching = importlib.import_module("search_index")
    searching.leave_out_code(types.SimpleNamespace(builder=builder))
    builder.index_page("a", tree, "A")
    assert builder.texts["a"].split() == ["critical", "threshold", "gain"]
    assert "theta = 1" in tree.astext() and ">>> theta" in tree.astext()


def glossary(book: SmallBook, link: str = "lore", entry: str = "! slow decay") -> None:
    book.write("words", f"# W\n\n```{{glossary}}\nslow decay\n  Said. {{doc}}`{link}`\n```\n")
    index = entry if entry.startswith("{") else f"```{{index}} {entry}\n```"
    book.write("lore", f"# Lore\n\nText.\n\n## Why slow\n\n{index}\n\nSlow decay.\n")


@pytest.mark.parametrize("entry", ["! slow decay", "{index}`It <! slow decay>` is derived."])
def test_a_term_leads_to_the_section_that_derives_it(book: SmallBook, entry: str) -> None:
    """First in the search, whose score is by importance; from the glossary's own link too."""
    glossary(book, entry=entry)
    assert book.make("derived_terms", "search_index") == []
    place = "lore.html#why-slow"
    assert [a["href"] for a in book.page("words").dd.find_all("a")] == [place]
    index = (book.build / "html" / "searchindex.js").read_text()
    found = json.loads(re.fullmatch(r"Search\.setIndex\((.*)\)", index)[1])  # type: ignore[index]
    entries = {
        found["docnames"][page]: (at, main)
        for page, at, main in found["indexentries"]["slow decay"]
    }
    assert entries == {"book/lore": ("why-slow", True), "book/words": ("term-slow-decay", False)}


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"link": "status"}, "slow decay has no link to book/lore"),
        ({"entry": "slow decay"}, "no section derives slow decay"),
        ({"entry": "! fast decay"}, "no section derives slow decay"),
    ],
)
def test_a_term_that_leads_elsewhere_is_a_warning(
    book: SmallBook, fault: dict[str, str], said: str
) -> None:
    glossary(book, **fault)
    (warning,) = book.make("derived_terms", "search_index")
    assert said in warning


# --- Colab, the site checker, the book's settings ----------------------------------------------


def test_colab_cell_fetches_the_book_and_compiles() -> None:
    cell = assets.colab_cell(
        url="https://example.org/a/book/", branch="main", folder="notebooks", extras="book"
    )
    assert (
        "git clone --quiet --depth 1 --branch main https://example.org/a/book/ /content/book"
        in cell
    )
    plain = re.sub(r"^(\s+)[!%].*$", r"\1pass", cell, flags=re.MULTILINE)
    compile(plain, "cell", "exec")


def write_site(folder: Path, body: str) -> Path:
    (folder / "index.html").write_text(f"<html><body>{body}</body></html>")
    (folder / "other.html").write_text('<p id="here">x</p>')
    (folder / "a.svg").write_text("<svg/>")
    return folder


@pytest.mark.parametrize(
    "body",
    [
        '<a href="other.html#here">x</a>',
        '<a href="https://example.org/">a link may lead anywhere</a>',
        '<img src="a.svg" alt="A picture">',
        '<a href="other.html"><img src="a.svg" alt="">in words</a>',
        '<img src="data:image/svg+xml,x" alt="A picture">',
        '<link rel="canonical" href="https://example.org/">',
        '<a href="snnbook.pdf">x</a> <a href="formula-sheet.pdf">y</a>',  # `make pdf` adds them
    ],
)
def test_site_checker_passes(tmp_path: Path, body: str) -> None:
    assert check_site.check(write_site(tmp_path, body)) == (2, [])


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ('<a href="nowhere.html">x</a>', "missing nowhere.html"),
        ('<a href="other.html#there">x</a>', "no anchor other.html#there"),
        ('<a href="#there">x</a>', "no anchor #there"),
        ('<a href="/other.html">x</a>', "absolute path /other.html"),
        ('<a href="../other.html">x</a>', "missing ../other.html"),
        ('<a href="other.pdf">x</a>', "missing other.pdf"),
        ('<script src="https://example.org/a.js"></script>', "loads https://example.org/a.js"),
        ('<link rel="stylesheet" href="//example.org/a.css">', "loads //example.org/a.css"),
        ('<style>a{src:url("https://example.org/f")}</style>', "style loads https://example"),
        ('<img src="a.svg">', "image without alternative text"),
        ('<img src="a.svg" alt="">', "image without alternative text"),
        ('<img src="a.svg" alt="_images/a.svg">', "file name as alternative text"),
        ('<a href="file:///home/a">x</a>', "file of this machine"),
    ],
)
def test_site_checker_finds(tmp_path: Path, body: str, problem: str) -> None:
    _, problems = check_site.check(write_site(tmp_path, body))
    assert len(problems) == 1
    assert problem in problems[0]


def test_what_is_printed_is_what_pages_link_to() -> None:
    links = {
        address
        for path in (ROOT / "book").glob("*.md")
        for address in re.findall(r'href="\.\./([\w-]+\.pdf)"', path.read_text(encoding="utf-8"))
    }
    assert links == set(check_site.PRINTED) == {f"{pdf.SHEET.split('/')[1]}.pdf", pdf.TARGET.name}


def test_site_checker_refuses_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="root must hold HTML pages"):
        check_site.check(tmp_path)


def test_the_books_settings_reach_sphinx() -> None:
    """Jupyter Book ignores unknown keys silently."""
    config_module = pytest.importorskip("jupyter_book.config")
    final, _ = config_module.get_final_config(
        user_yaml=ROOT / "_config.yml",
        sourcedir=ROOT,
        cli_config={"latex_individualpages": False},
        raise_on_invalid=True,
    )
    assert final["external_toc_exclude_missing"] is True
    assert final["nb_execution_mode"] == "cache"
    assert final["nb_execution_raise_on_error"] is True
    assert final["html_context"] == {"default_mode": "auto"}
    assert final["html_theme_options"]["repository_url"].startswith("https://github.com/")
    assert final["html_theme_options"]["launch_buttons"]["colab_url"]
    for name in ("offline_assets", "ledger_pages", "api_docs", "sphinx_proof", "sphinx_exercise"):
        assert name in final["extensions"]
    for key in ("html_favicon",):
        assert (ROOT / final[key]).exists()


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.md")), ids=lambda p: p.stem)
def test_every_code_cell_is_executed(path: Path) -> None:
    """A code cell inside a directive would be shown and never run."""
    jupytext = pytest.importorskip("jupytext")
    cells = [c for c in jupytext.read(path).cells if c.cell_type == "code"]
    assert path.read_text(encoding="utf-8").count("{code-cell}") == len(cells)


def test_table_of_contents_names_pages_that_exist() -> None:
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    files = [toc["root"], *(c["file"] for part in toc["parts"] for c in part["chapters"])]
    assert len(files) == len(set(files))
    written = {p.relative_to(ROOT).with_suffix("").as_posix() for p in ROOT.glob("*/*.md")}
    chapters = {f for f in files if f.startswith("notebooks/")}
    assert {f for f in files if f.startswith("book/")} == {
        w for w in written if w.startswith("book/")
    }
    assert {w for w in written if w.startswith("notebooks/")} <= chapters


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("https://doi.org/10.1162/neco_a_01367", ""),
        ("https://doi.org/neco_a_01367", "no DOI"),
        ("https://arxiv.org/abs/2402.01382", ""),
        ("https://arxiv.org/abs/24.01382", "no number of arXiv"),
        ("https://github.com/snnlib/snnbook/blob/main/a.md", ""),
        ("https://github.com/snnlib", "names no repository"),
        ("http://example.org/", "not https"),
        ("https://localhost/a", "no host"),
        ("https://exa mple.org/", "no host"),
        ("https://example.org/a b", "a space"),
        ("https://example.org/a).", "ends in punctuation"),
    ],
)
def test_addresses_elsewhere_are_well_formed(address: str, problem: str) -> None:
    found = check_site.malformed(address)
    assert (problem in found) if problem else not found


def test_addresses_elsewhere_are_listed_with_their_pages(tmp_path: Path) -> None:
    link = '<a href="https://example.org/a">a</a><a href="b.html">b</a>'
    for name in ("a", "b"):
        (tmp_path / f"{name}.html").write_text(f"<p>{link}</p>")
    assert check_site.elsewhere(tmp_path) == {"https://example.org/a": ["a.html", "b.html"]}
    (tmp_path / "b.html").write_text('<a href="http://example.org/">a</a>')
    assert check_site.check(tmp_path)[1] == ["b.html: http://example.org/ is not https"]
