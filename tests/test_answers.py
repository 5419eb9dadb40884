"""Every sentence of the papers on trainings is answered, and what is open says what it takes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from test_registered import RULE, rows_of

from snnlib import ledger
from snnlib.experiments import PROTOCOLS, costs, read, write
from snnlib.experiments.costs import Cost, expected, operations
from snnlib.experiments.protocol import updates
from snnlib.experiments.registered import RULES, answers, parse, read_answers, unanswered

ROOT = Path(__file__).resolve().parent.parent


def claims():
    return ledger.read_claims(ROOT / "book" / "claims", parse=False).claims


def claim(source="micheli2024", verdict="not testable here", mark=""):
    return SimpleNamespace(
        source=source, verdict=verdict, mark=mark, citation="Fig. 1", statement="it trains"
    )


def test_every_sentence_on_trainings_is_answered():
    known = read_answers(RULES)
    assert not unanswered(claims(), known)
    assert not set(known) - set(claims())


@pytest.mark.parametrize(
    "planted",
    [claim(), claim("ikun2024", "inconclusive", "explored"), claim("mpinit2026", mark="explored")],
)
def test_a_sentence_without_an_answer_is_named(planted):
    known = read_answers(RULES)
    assert unanswered(claims() | {"a.b": planted}, known) == ["a.b"]
    assert not unanswered({"a.b": claim("book")}, known)
    assert not unanswered({"a.b": claim(verdict="proved")}, known)
    assert unanswered(claims(), dict(list(known.items())[1:])) == [next(iter(known))]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[trained.x]\n[elsewhere]", "x needs one answer"),
        ("[trained.x]\nrules = ['r']\n[elsewhere]\nx = 'why'", "x needs one answer"),
        ("[trained.x]\nrules = ['s']\n[elsewhere]", "x: no rule, .*'s'"),
        ("[trained.x]\nopen = ['nothing']\n[elsewhere]", "x: no rule, .*'nothing'"),
        ("[trained.x]\nopen = ['gain-digits']\n[elsewhere]", "of size paper: 'gain-digits'"),
    ],
)
def test_an_answer_that_leads_nowhere_is_refused(text, says):
    with pytest.raises(ValueError, match=says):
        read_answers(["r"], text)


def test_the_table_has_outcomes_of_what_is_complete_and_commands_of_the_rest(tmp_path, monkeypatch):
    rule = parse(RULE)
    text = "[trained.x]\nrules = ['planted']\nopen = ['fig8-digits']\n[elsewhere]\ny = 'why'"
    known = read_answers(["planted"], text)
    monkeypatch.setitem(answers.__globals__, "read_answers", lambda rules: known)
    asked = []

    def cost(protocol, size, folder):
        asked.append((protocol.name, size))
        return Cost(1234.0, 5.6) if size == "paper" else Cost(0.25, 0.01)

    monkeypatch.setitem(answers.__globals__, "expected", cost)
    found = answers({"x": claim(), "y": claim()}, {"planted": rule}, tmp_path)
    assert found["registered"] == ["● planted: open"]
    assert found["open"] == ["run planted --size registered; run fig8-digits --size paper"]
    assert found["hours, two cores"] == ["0.25; 1,234"] and found["hours, one GPU"] == ["0.01; 5.6"]
    origin = {"seconds": 9.0, "threads": 1, "command": "c", "commit": "1d19815d"}
    write(
        tmp_path / "planted-registered.csv",
        rule.protocol(),
        [row | origin for row in rows_of(rule)],
    )
    found = answers({"x": claim(), "y": claim()}, {"planted": rule}, tmp_path)
    assert found["open"] == ["run fig8-digits --size paper"]
    assert found["registered"][0].startswith("● planted: a against b +0.0 ± ")
    assert found["registered"][0].endswith(" points (undecided)")
    assert asked == [("planted", "registered"), *[("fig8-digits", "paper")] * 2]


def test_operations_are_those_of_the_products():
    smoke, desk = (PROTOCOLS["fig8-digits"].runs(size)[0] for size in ("smoke", "desk"))
    macs = 64 * 60 + 2 * 60 * 60 + 60 * 10
    assert operations(smoke) == 3 * 2 * macs * 3 * 128 * 2  # back, multiply and add, T, samples
    macs = 64 * 600 + 9 * 600 * 600 + 600 * 10
    assert operations(desk) == 3 * 2 * macs * 3 * 1442 * 15
    with pytest.raises(ValueError, match=r"data must be one of digits, .*, got 'other'"):
        costs._blank({"name": "other"}, 3)


def test_hours_are_those_of_a_stored_table_scaled():
    """The desk size of the reference itself takes its own median; twice the epochs, twice that."""
    found = expected(PROTOCOLS["fig8-fashion"], "desk", ROOT / "results")
    table = read(ROOT / "results" / "fig8-fashion-desk.csv")
    middle = sorted(row["seconds"] for row in table)[len(table) // 2]
    assert found.two_cores == pytest.approx(27 * middle / 2 / 3600, rel=0.02)
    run = PROTOCOLS["fig8-fashion"].runs("desk")[0]
    least = 27 * updates(run.settings) * 3 * costs.GPU_LEAST / 3600
    assert found.gpu == pytest.approx(max(least, 27 * operations(run) / costs.GPU_RATE / 3600))
