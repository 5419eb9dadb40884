"""Registered experiments: rules, rows older than them, changed rules, reused seeds, outcomes."""

from __future__ import annotations

import copy
import dataclasses
import math
import re
import shutil
import subprocess
from pathlib import Path

import jupytext
import numpy as np
import pytest
import torch

from snnlib import ledger
from snnlib.experiments import registered, runner, task
from snnlib.experiments.protocol import key
from snnlib.experiments.registered import (
    RULES,
    SIZE,
    boundary,
    check,
    check_all,
    history,
    judge_rule,
    parse,
    read_rules,
    resolution_of,
)
from snnlib.ledger.provenance import notebook_slice
from tools import chapters

ROOT = Path(__file__).resolve().parent.parent

RULE = """
name = "planted"
question = "Is a better than b?"
claim = "somebody said so"
supports = "a is better"
refutes = "a is worse"
stopping = "all seeds"
level = 0.1
value = "test_accuracy"
updates = 6
seeds = [70, 71, 72]

[[contrast]]
name = "a against b"
plus = ["a"]
minus = ["b", "c"]
factor = 2.0

[[contrast]]
name = "b against c"
plus = ["b"]
minus = ["c"]

[planned]
effect = 0.02
spread = 0.03
source = "none"
seconds = 1.5

[settings.data]
name = "digits"
train = 90
held_out = 20
test = 40

[settings.network]
kind = "mlp"
width = 7

[settings.training]
epochs = 2
batch_size = 25

[condition]
a = { network.depth = 1 }
b = { network.depth = 2 }
c = { network = { depth = 3, width = 9 } }
"""

CELLS = RULE[: RULE.index("[[contrast]]")] + RULE[RULE.index("[planned]") :]
CELLS += """
[cells]
trained = 0.5
share = 0.6
lead = 0.1
law = "by hand"
predicted = { a = true, b = false, c = false }
"""


def rows_of(rule, commit="", values=None):
    """A row for each run."""
    values = values or {}
    return [
        run.labels
        | {
            "seed": run.seed,
            "key": run.key,
            "rule": rule.sha256,
            "commit": commit,
            "test_accuracy": values.get((run.labels["condition"], run.seed), 0.5),
        }
        for run in rule.protocol().runs(SIZE)
    ]


# --- rules -------------------------------------------------------------------------------------


def test_a_rule_fixes_every_setting_of_its_runs():
    rule = parse(RULE)
    runs = rule.protocol().runs(SIZE)
    assert [(run.labels["condition"], run.seed) for run in runs[:4]] == [
        ("a", 70), ("b", 70), ("c", 70), ("a", 71),
    ]  # fmt: skip
    assert [run.settings["network"] for run in runs[:3]] == [
        {"kind": "mlp", "width": 7, "depth": 1},
        {"kind": "mlp", "width": 7, "depth": 2},
        {"kind": "mlp", "width": 9, "depth": 3},
    ]
    for old, new in (("width = 7", "width = 8"), ('"a is worse"', '"a is not better"')):
        changed = parse(RULE.replace(old, new))
        assert changed.sha256 != rule.sha256
        assert {run.key for run in changed.protocol().runs(SIZE)}.isdisjoint(r.key for r in runs)
    # comments and blanks are no change
    assert parse("# a comment\n" + RULE.replace("level = 0.1", "level  =  0.1")).sha256 == (
        rule.sha256
    )


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("name =", "nam =", "lacks name"),
        ("level = 0.1", "level = 1.0", "level must be in"),
        ("level = 0.1", "level = 0.1\nodd = 3", "unknown odd"),
        ("updates = 6", "updates = 8", "make 6 updates, not 8"),
        ("[70, 71, 72]", "[70]", "at least two"),
        ("[70, 71, 72]", "[70, 71, 70]", "none twice"),
        ('plus = ["a"]', 'plus = ["d"]', "no sides"),
        ('minus = ["c"]', "minus = []", "no sides"),
        ("factor = 2.0", "facto = 2.0", "facto"),
        ("spread = 0.03", "spread = 0.0", "must be positive"),
        ("[planned]", "[planed]", "lacks planned"),
        ("a = {", "a = ", "must be TOML"),
    ],
)  # fmt: skip
def test_a_rule_that_leaves_something_open_is_refused(old, new, says):
    assert old in RULE
    with pytest.raises(ValueError, match=says):
        parse(RULE.replace(old, new, 1))


def test_a_rule_has_contrasts_or_cells():
    assert parse(CELLS).cells.predicted["a"]
    for text in (
        CELLS.replace("c = false }", "d = false }"),
        RULE + CELLS[CELLS.index("[cells]") :],
    ):
        with pytest.raises(ValueError, match="cells"):
            parse(text)


def test_rules_share_no_seed_and_are_named_after_their_files(tmp_path):
    (tmp_path / "planted.toml").write_text(RULE)
    assert list(read_rules(tmp_path)) == ["planted"]
    (tmp_path / "second.toml").write_text(RULE.replace('"planted"', '"second"'))
    with pytest.raises(ValueError, match="seed 70 is of the rules 'planted' and 'second'"):
        read_rules(tmp_path)
    (tmp_path / "second.toml").write_text(RULE)
    with pytest.raises(ValueError, match=r"second\.toml holds the rule 'planted'"):
        read_rules(tmp_path)


def test_a_registered_run_needs_a_clean_commit(monkeypatch, tmp_path):
    from snnlib.experiments.store import Store

    task = runner.queue([parse(RULE).protocol()], SIZE)[0]
    for commit in ("", "1d19815d+changes"):
        monkeypatch.setattr(runner, "commit", lambda found=commit: found)
        with pytest.raises(ValueError, match="clean commit"):
            runner.execute(task, Store(tmp_path), train=lambda settings: {})
    monkeypatch.setattr(runner, "commit", lambda: "1d19815d")
    content = runner.execute(task, Store(tmp_path), train=lambda settings: {"diverged": ""})
    assert content["provenance"]["rule"] == parse(RULE).sha256
    # explored runs may come from anywhere
    monkeypatch.setattr(runner, "commit", lambda: "1d19815d+changes")
    runner.refuse_changes({"seed": 1})


# --- history -----------------------------------------------------------------------------------


def git(folder, *arguments):
    command = ["git", "-C", str(folder), "-c", "user.name=n", "-c", "user.email=e", *arguments]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    """A commit before the rule, one with it, one with a changed one and one with it again."""
    folder = tmp_path / "repository"
    place = folder / history.PLACE
    place.mkdir(parents=True)
    git(tmp_path, "init", "--quiet", str(folder))
    commits = []
    for text in (None, RULE, RULE.replace("width = 7", "width = 8"), RULE):
        git(folder, "commit", "--quiet", "--allow-empty", "-m", "nothing")
        if text is not None:
            (place / "planted.toml").write_text(text)
            git(folder, "add", ".")
            git(folder, "commit", "--quiet", "-m", "rule")
        commits.append(git(folder, "rev-parse", "HEAD"))
    return folder, commits


def test_rows_that_are_younger_than_their_rule_pass(repository):
    folder, (_, _, _, last) = repository
    rule = parse(RULE)
    found = check(rule, rows_of(rule, last), {"other": [{"seed": 3, "commit": last}]}, folder)
    assert (found.word, found.rows) == ("checked", 9)
    assert check(rule, [], {}, folder).word == "open"


def test_planted_violations_are_refused(repository):
    folder, (before, first, changed, last) = repository
    rule = parse(RULE)
    good = rows_of(rule, last)

    def said(rows, others=None):
        found = check(rule, rows, others or {}, folder)
        assert found.word == ("refused" if found.violations else "checked")
        return " ".join(found.violations)

    assert said(good) == ""
    assert "rows are older than their rule" in said(rows_of(rule, before))
    assert "the rule was changed after" in said(rows_of(rule, changed))
    assert "not in this history" in said(rows_of(rule, "0" * 40))
    assert "no clean commit" in said(rows_of(rule, last + "+changes"))
    assert "no clean commit" in said(rows_of(rule, ""))
    one = good[0] | {"rule": parse(RULE.replace("0.1", "0.2", 1)).sha256}
    assert said([*good[1:], one]).startswith("planted, row 9: was made under another rule")
    assert "settings are not of the rule" in said([*good[1:], good[0] | {"key": key({"seed": 70})}])
    # a seed that an older row used; a younger row may
    assert "seed 71 was used before, in other" in said(
        good, {"other": [{"seed": 71, "commit": first}]}
    )
    assert "seed 71" in said(good, {"other": [{"seed": 71, "commit": ""}]})
    assert said(good, {"other": [{"seed": 71, "commit": last}]}) == ""


def test_without_a_history_nothing_is_said_of_the_order(repository, tmp_path):
    folder, (before, *_) = repository
    rule = parse(RULE)
    rows = rows_of(rule, before)
    shutil.copytree(folder / history.PLACE, tmp_path / "copy" / history.PLACE)
    assert check(rule, rows, {}, tmp_path / "copy").word == "not checked"
    git(tmp_path, "clone", "--quiet", "--depth", "1", f"file://{folder}", str(tmp_path / "shallow"))
    assert check(rule, rows, {}, tmp_path / "shallow").word == "not checked"
    # digests do not need it
    assert check(rule, [rows[0] | {"rule": "x"}], {}, tmp_path / "copy").word == "refused"


def test_no_row_of_the_book_is_older_than_its_rule():
    for name, found in check_all(RULES, ROOT).items():
        assert not found.violations, (name, found.violations)


# --- outcomes ----------------------------------------------------------------------------------


def values(a, b, c):
    return {
        (name, seed): x
        for name, own in zip("abc", (a, b, c), strict=True)
        for seed, x in zip((70, 71, 72), own, strict=True)
    }


def test_contrasts_are_paired_and_corrected_over_the_family():
    from scipy import stats

    rule = parse(RULE)
    a, b, c = (0.9, 0.85, 0.95), (0.5, 0.45, 0.6), (0.5, 0.55, 0.5)
    first, second = judge_rule(rule, rows_of(rule, values=values(a, b, c)))
    expected = stats.ttest_1samp(2 * (np.array(a) - (np.array(b) + np.array(c)) / 2), 0).pvalue
    other = stats.ttest_1samp(np.array(b) - np.array(c), 0).pvalue
    assert first.difference.mean == pytest.approx(0.7666667)
    assert first.p_holm == pytest.approx(2 * expected)
    assert second.p_holm == pytest.approx(max(other, 2 * expected))
    assert (first.outcome, second.outcome) == ("supported", "undecided")
    (lost, _) = judge_rule(rule, rows_of(rule, values=values(b, a, a)))
    assert lost.outcome == "refuted"
    assert first.difference.confidence == pytest.approx(0.9)


def test_rows_that_are_missing_twice_or_of_another_rule_are_no_result():
    rule = parse(RULE)
    rows = rows_of(rule)
    for given, says in (
        (rows[1:], "not complete: a"),
        ([*rows, rows[0]], "twice"),
        ([rows[0] | {"rule": "x"}, *rows[1:]], "another rule"),
        ([rows[0] | {"condition": "d"}, *rows[1:]], "no such row"),
    ):
        with pytest.raises(ValueError, match=says):
            judge_rule(rule, given)
    with pytest.raises(ValueError, match="contrasts, not predictions"):
        boundary(rule, rows)


def test_a_boundary_has_to_beat_the_best_constant_guess():
    rule = parse(CELLS)
    found = boundary(rule, rows_of(rule, values=values((0.9,) * 3, (0.2,) * 3, (0.4, 0.5, 0.3))))
    assert (found.share, found.outcome) == (1.0, "supported")
    assert found.constant == pytest.approx(2 / 3)
    # two of three are right, but so is the guess that nothing trains
    found = boundary(rule, rows_of(rule, values=values((0.2,) * 3, (0.2,) * 3, (0.4,) * 3)))
    assert (found.share, found.constant) == (pytest.approx(2 / 3), 1.0)
    assert found.outcome == "refuted"
    with pytest.raises(ValueError, match="cells, not contrasts"):
        judge_rule(rule, [])


def test_power_is_what_simulated_experiments_show():
    """4,000 experiments, power 0.8: standard error 0.0063; 0.025 is 4 of them."""
    from scipy import stats

    from snnlib.experiments import resolves

    rule = parse(RULE)
    assert resolution_of(rule, power=0.8) == resolves(0.03, 3, tests=2, level=0.1, power=0.8)
    effect = resolves(0.03, 5, tests=3, level=0.06, power=0.8)
    drawn = np.random.default_rng(4).normal(effect, 0.03, (4000, 5))
    shown = (stats.ttest_1samp(drawn, 0, axis=1).pvalue <= 0.02).mean()
    assert abs(shown - 0.8) < 0.025


def test_nothing_is_said_before_every_run_is_there(tmp_path):
    from snnlib.experiments import write

    rule = parse(RULE)
    assert registered.rows_of(rule, tmp_path) == []
    rows = rows_of(rule, "1d19815d", values((0.9, 0.85, 0.95), (0.5, 0.45, 0.6), (0.5, 0.55, 0.5)))
    assert registered.outcomes(rule, rows[1:]) == {
        "": ["●", "●"], "contrast": ["a against b", "b against c"], "outcome": ["open", "open"],
    }  # fmt: skip
    shown = registered.outcomes(rule, rows)
    assert shown["outcome"] == ["supported", "undecided"]
    assert shown["points (90 %)"][0].startswith("+76.7 ± ")
    (first, *_) = judge_rule(rule, rows)
    assert first.summary.startswith("a against b: +76.7 ± ") and "3 fresh seeds" in first.summary
    found = registered.accuracies(rule, rows)
    assert found["condition"] == ["a", "b", "c"] and found["seeds (%)"][0] == "90, 85, 95"
    # the table is found by its name, and the page says how far it is
    origin = {"seconds": 900.0, "threads": 1, "command": "c"}
    write(tmp_path / "planted-registered.csv", rule.protocol(), [row | origin for row in rows[1:]])
    stored = registered.rows_of(rule, tmp_path)
    assert [row["rule"] for row in stored] == [rule.sha256] * 8
    checks = {"planted": check(rule, stored, {}, tmp_path)}
    page = registered.overview({"planted": rule}, checks, tmp_path)
    assert (page["rows"], page["order in time"], page["outcome"]) == (
        ["8 of 9"], ["not checked"], [""],
    )  # fmt: skip
    assert page["core-hours"] == ["2"]  # 8 rows of a quarter of an hour, and 1.5 s as planned
    whole = [row | origin for row in rows]
    write(tmp_path / "planted-registered.csv", rule.protocol(), whole)
    page = registered.overview({"planted": rule}, checks, tmp_path)
    assert page["outcome"] == ["1 supported, 1 undecided"]


# --- the rules of the book, at a tiny size -----------------------------------------------------

NARROW = {"width": 8, "channels": [4, 4], "hidden": 16}
FEW = {"train": 60, "test": 50, "held_out": 20}


def tiny(rule):
    """A rule on a few samples, of digits for images, for one epoch, in narrow networks."""
    settings = copy.deepcopy(rule.settings)
    if settings["data"]["name"] == "fashion_mnist":
        settings["data"] = {"name": "digits", "pool": 1}
    settings["data"] |= FEW
    network = settings["network"]
    if "width" in network and network.get("kind", "residual") == "residual":
        network |= {"width": 1 / 64, "blocks": [1, 1], "channels": [128, 256]}
    else:
        network |= {name: small for name, small in NARROW.items() if name in network}
        if "depth" in network:
            network["depth"] = 2
    settings["training"] |= {"epochs": 1, "batch_size": 20}
    if "rise" in settings:
        settings["rise"]["samples"] = 2
    conditions = copy.deepcopy(rule.conditions)
    for changes in conditions.values():
        for name, small in (("depth", 2), ("width", 8)):
            if name in changes.get("network", {}):
                changes["network"][name] = small
    return dataclasses.replace(rule, settings=settings, conditions=conditions)


@pytest.mark.parametrize("name", RULES)
def test_a_rule_runs_at_a_tiny_size_and_measures_what_it_compares(name):
    runs = tiny(RULES[name]).protocol().runs(SIZE)
    chosen = {runs[0].key: runs[0], runs[len(RULES[name].conditions) - 1].key: runs[-1]}
    for run in chosen.values():
        found = task.train(run.settings)
        assert math.isfinite(found[RULES[name].value]), (run.labels, found)


@pytest.mark.parametrize("name", ["curvature-of-minima", "ikun-epochs", "rivals-by-depth"])
def test_every_network_of_a_rule_can_be_drawn(name):
    """At its own width and depth; Fashion-MNIST has as many pixels whatever they show."""
    rule = RULES[name]
    asked = rule.settings["data"] | {"train": 64, "held_out": 0}
    if asked["name"] == "fashion_mnist":
        asked |= {"name": "digits", "pool": 1}
    samples = task.load(asked, "train")
    for run in rule.protocol().runs(SIZE, seeds=1):
        init = run.settings["network"]["init"]
        if init.get("method") == "balanced" and run.settings["network"]["depth"] > 10:
            continue  # its gain is found layer by layer, which takes long
        currents = samples.inputs.expand(run.settings["training"]["steps"], *samples.inputs.shape)
        network = task.build(run.settings["network"], samples, run.seed, currents=currents)
        assert all(torch.isfinite(p).all() for p in network.parameters()), run.labels


def test_epochs_to_an_accuracy_are_linear_between_epochs():
    assert task.crossing([0.3, 0.5, 0.4, 0.9], 0.45, start=0.1) == pytest.approx(1.75)
    assert task.crossing([0.3], 0.2, start=0.1) == pytest.approx(0.5)
    assert task.crossing([0.3, 0.4], 0.45, start=0.1) == 3.0
    assert task.crossing([], 0.45, start=0.1) == 1.0


def test_the_rise_is_that_of_the_trained_network(monkeypatch):
    """Halved and doubled rises move its logarithm by ln 2; none at all gives a number too."""
    from snnlib import curvature

    run = tiny(RULES["curvature-of-minima"]).protocol().runs(SIZE)[0]
    rise, seen, factors = curvature.loss_rise, [], iter((1.0, 2.0, 0.0))

    def noting(network, dataset, **settings):
        seen.append((rise(network, dataset, **settings), settings, len(dataset)))
        return curvature.Estimate(next(factors) * abs(seen[-1][0].value), 0.0)

    monkeypatch.setattr(curvature, "loss_rise", noting)
    found = [task.train(run.settings)["log_rise"] for _ in range(3)]
    assert seen[0][1:] == ({"steps": 4, "loss": "rate_mse", "radius": 0.1, "samples": 2}, 40)
    assert seen[0][0] == seen[1][0] and seen[0][0].value != 0
    assert found[1] - found[0] == pytest.approx(math.log(2))
    assert found[2] == math.log(task.LEAST_RISE)


def test_each_value_is_shown_in_its_unit():
    """Differences 2, 4 and 6: 4 and 2.92 standard errors of 2/√3, Student's t at 90 %."""
    rule = parse(RULE.replace('value = "test_accuracy"', 'value = "epochs"'))
    rows = [
        row | {"epochs": 3 + (1 + (row["condition"] == "a")) * (row["seed"] - 69)}
        for row in rows_of(rule)
    ]
    shown = registered.outcomes(rule, rows)
    assert shown["epochs (90 %)"][0] == "+4.00 ± 3.37"
    assert registered.accuracies(rule, rows)["epochs"][0].startswith("7.00 ± ")
    assert registered.judge_rule(rule, rows)[0].summary.startswith(
        "a against b: +4.00 ± 3.37 epochs"
    )
    assert rule.unit.show(0.5) == "0.5 epochs"
    assert parse(RULE).unit.show(0.137) == "14 points"
    with pytest.raises(ValueError, match="value must be one of test_accuracy, epochs, log_rise"):
        parse(RULE.replace('value = "test_accuracy"', 'value = "accuracy"'))


# --- the ledger --------------------------------------------------------------------------------

CLAIM = """
sources: {book: This book}
symbols: {}
claims:
  book.x: {source: book, locator: l, read: ours, statement: s, verdict: %s, chapter: one, %s}
"""


def load(tmp_path, verdict, mark):
    path = tmp_path / "claims.yml"
    path.write_text(CLAIM % (verdict, mark))
    ledger.load(path)


@pytest.mark.parametrize("mark", ["mark: registered", "rule: planted", "mark: explored, rule: r"])
def test_confirmed_needs_a_registration(tmp_path, mark):
    load(tmp_path, "measured", "mark: registered, rule: planted")
    with pytest.raises(ValueError, match="belong together"):
        load(tmp_path, "measured", mark)


@pytest.mark.parametrize(
    ("outcome", "verdict"),
    [("supported", "measured"), ("refuted", "refuted"), ("undecided", "inconclusive")],
)
def test_an_outcome_is_kept_whatever_it_is(tmp_path, outcome, verdict):
    load(tmp_path, verdict, "mark: registered, rule: planted")
    given = {"rule": "planted", "sha256": "f" * 64, "summary": "s", "history": "checked"}
    with pytest.raises(ValueError, match="names the rule 'planted', not 'other'"):
        ledger.confirm("book.x", outcome, **given | {"rule": "other"})
    with pytest.raises(ValueError, match="no evidence: refused"):
        ledger.confirm("book.x", outcome, **given | {"history": "refused"})
    with pytest.raises(ValueError, match="outcome must be"):
        ledger.confirm("book.x", "hoped for", **given)
    ledger.confirm("book.x", outcome, **given)
    assert ledger.evidence("book.x").verdict == verdict
    load(tmp_path, "proved", "mark: registered, rule: planted")
    with pytest.raises(ledger.ClaimFailed, match="is expected"):
        ledger.confirm("book.x", outcome, **given)


TRAINS = re.compile(r"experiments\.(?:stored|read)\(|training\.fit\(")


def trainings(path):
    """Claims that a chapter discharges by trainings, with the call that does."""
    sources = [cell.source for cell in jupytext.read(path).cells if cell.cell_type == "code"]
    for number, source in enumerate(sources):
        for call, claim in re.findall(r"ledger\.(observe|measure)\(\s*\"([\w.-]+)\"", source):
            built = notebook_slice(sources[: number + 1], call, claim=claim)
            if built and any(TRAINS.search(sources[cell]) for cell in built.cells):
                yield claim


def test_a_claim_on_trainings_is_registered_or_explored():
    claims = ledger.read_claims(ROOT / "book" / "claims", parse=False).claims
    found = {claim for path in chapters.chapters() for claim in trainings(path)}
    assert "book.below-eq10" in found
    # a law that is measured in a network which happens to be trained says nothing of trainings
    unmarked = {n for n in found if not claims[n].mark and claims[n].level != "law"}
    assert not unmarked, f"neither registered nor explored: {', '.join(sorted(unmarked))}"
    for claim in claims.values():
        assert not claim.rule or claim.rule in RULES, claim.id
