"""Whether proofs depend on their premises: plant an error in each, and see the proof break.

    python -m tools.audit                       # the chapters of which something changed
    python -m tools.audit gain-for-a-rate       # one chapter
    python -m tools.audit --check               # refuse missing, stale and failing results
    python -m tools.audit --unused              # list premises that no proof noticed an error in

For each call of `ledger.prove` and `ledger.hold` the slice of statements that built it runs alone,
once as it is and once with each planted error.  An error that breaks the proof shows that the proof
depends on the premise; one that does not is listed as unused.  An error that stops the derivation
before its end (a root that is not there, an assertion of the chapter) is told apart from both.
About twelve places are tried; if none is noticed, up to `MOST` of them.  A proof that no planted
error breaks is decorative and fails.  Results are kept in `results/audit/proofs/`, by a hash of
what the proof depends on (`proof_slices`).
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import dataclasses
import importlib
import io
import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

from tools import chapters
from tools.plant import DECLARED, WATCH, Error, Place, in_order, places, planted, watched
from tools.proof_slices import Proof, proofs

RESULTS = chapters.AUDITED / "proofs"
LIMIT = 60.0  # seconds of processor time for the slice as it is
PLANTED_LIMIT = 10.0  # for one planted error, beyond twice the slice's own
MOST = 60  # errors to try before a proof is called decorative


class _Late(Exception):
    """The time of one run is over."""


@contextlib.contextmanager
def _within(seconds: float) -> Iterator[None]:
    def late(signal_number: int, frame: FrameType | None) -> None:
        raise _Late

    before = signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


class _Ledger(SimpleNamespace):
    """The ledger as a slice sees it: proofs are judged and noted, everything else is silent."""

    def __init__(self, real: Any) -> None:
        silent = set(real.__all__) - {"prove", "hold"}
        quiet = {name: lambda *args, **kwargs: None for name in silent}
        super().__init__(**{**quiet, "symbols": real.symbols, "seed": real.seed})
        self.ClaimFailed = real.ClaimFailed
        self.latex = real.latex
        self.real = real
        self.found: dict[str, str] = {}

    def _judge(self, call: str, claim: str, *args: Any, **kwargs: Any) -> None:
        from snnlib.ledger import chapter

        chapter._state.evidence.clear()
        try:
            getattr(self.real, call)(claim, *args, **kwargs)
        except self.real.ClaimFailed:
            self.found[claim] = "broken"
        except ValueError as error:
            self.found[claim] = "undecided" if "undecided" in str(error) else "crashed"
        except NotImplementedError:
            self.found[claim] = "crashed"
        else:
            self.found[claim] = "holds"

    def prove(self, claim: str, *args: Any, **kwargs: Any) -> None:
        self._judge("prove", claim, *args, **kwargs)

    def hold(self, claim: str, *args: Any, **kwargs: Any) -> None:
        self._judge("hold", claim, *args, **kwargs)


@dataclasses.dataclass
class Outcome:
    """What a run of a slice came to.

    Attributes:
        found: What became of each claim.
        stopped: An exception that ended it, or "".
        reached: Numbers of the watched places that were reached and hold a symbolic value.
        unused: Labels of assumptions that the moment algebra was given and no step consumed.
    """

    found: dict[str, str] = dataclasses.field(default_factory=dict)
    stopped: str = ""
    reached: dict[int, bool] = dataclasses.field(default_factory=dict)
    unused: list[str] = dataclasses.field(default_factory=list)


def outcome(program: Any, imports: Any, seconds: float) -> Outcome:
    """Run a slice."""
    import sympy

    from snnlib import ledger
    from snnlib.ledger.moments import Algebra

    made = Outcome()
    proxy = _Ledger(ledger)
    symbolic = (sympy.Expr, sympy.MatrixBase, sympy.MatrixExpr)

    def watch(number: int, value: Any) -> Any:
        made.reached[number] = isinstance(value, symbolic)
        return value

    names: dict[str, Any] = {"__name__": "slice", "sp": sympy}
    try:
        with _within(seconds), contextlib.redirect_stdout(io.StringIO()):
            exec(compile(ast.Module(list(imports), []), "<imports>", "exec"), names)
            names |= {k: proxy for k, v in names.items() if v is ledger} | {"ledger": proxy}
            names[WATCH] = watch
            exec(compile(ast.Module(list(program), []), "<slice>", "exec"), names)
    except _Late:
        made.stopped = "late"
    except Exception as error:
        made.stopped = f"{type(error).__name__}: {error}".splitlines()[0][:120]
    made.found = proxy.found
    algebras = [value for value in names.values() if isinstance(value, Algebra)]
    made.unused = sorted(set().union(*(algebra.unused for algebra in algebras)))
    return made


def audit_proof(proof: Proof) -> dict[str, Any]:
    """Plant each error in a proof's premises; what was tried, and which claims it breaks."""
    where = places(proof.statements, proof.call)
    start = time.process_time()
    asis = outcome(watched(proof.statements, where), proof.imports, LIMIT)
    took = time.process_time() - start
    claims = sorted(name for name in asis.found if proof.claim in (None, name))
    result: dict[str, Any] = {"claims": claims, "call": proof.call, "tried": []}
    if asis.stopped or not claims or any(asis.found[name] != "holds" for name in claims):
        return result | {"fault": asis.stopped or f"as it is: {asis.found}"}
    chosen, others = in_order(_reached(where, asis.reached))
    broken: set[str] = set()
    for number, place in enumerate([*chosen, *others][:MOST]):
        if number >= len(chosen) and broken >= set(claims):
            break
        error = planted(proof.statements, place, proof.call)
        made = outcome(error.program, proof.imports, min(LIMIT, took * 2 + PLANTED_LIMIT))
        result["tried"].append(_tried(error, claims, made))
        broken |= set(result["tried"][-1]["breaks"])
    missed = [claim for claim in claims if claim not in broken]
    result |= {"unused": asis.unused} if asis.unused else {}
    return result | ({"decorative": missed} if missed else {})


def _reached(where: Sequence[Place], reached: Mapping[int, bool]) -> list[Place]:
    """Places that a run came by, with a symbolic value unless the premise is a declared number."""
    symbolic = {where[number].node: kind for number, kind in reached.items()}
    return [
        place
        for place in where
        if place.node in symbolic and (symbolic[place.node] or place.kind in ("moment", "bound"))
    ]


def _tried(error: Error, claims: list[str], made: Outcome) -> dict[str, Any]:
    breaks = [name for name in claims if made.found.get(name) in ("broken", "undecided")]
    crashed = [name for name in claims if made.found.get(name) == "crashed"]
    stopped = made.stopped or ("the ledger cannot take it" if crashed else "")
    return {
        "kind": error.kind,
        "was": error.was[:120],
        "planted": error.planted[:140],
        "breaks": breaks,
    } | ({"stopped": stopped} if stopped and not breaks else {})


# --- results -----------------------------------------------------------------------------------


def registered() -> dict[str, Any]:
    """The claims and symbols as they are written down: what `Proof.key` takes."""
    import yaml

    merged: dict[str, Any] = {}
    symbols: dict[str, Any] = {}
    for path in sorted(chapters.CLAIMS.rglob("*.yml")):
        content = yaml.load(path.read_text("utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        merged |= (content or {}).get("claims") or {}
        symbols |= (content or {}).get("symbols") or {}
    written = {name: [spec.get("printed"), spec.get("namespace")] for name, spec in merged.items()}
    return {"claims": written, "symbols": symbols}


def kept(chapter: str) -> dict[str, Any]:
    """Results of a chapter, by key."""
    path = RESULTS / f"{chapter}.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


def stale(path: Path, claims: Mapping[str, Any], *, failing: bool = False) -> list[Proof]:
    """Proofs of a chapter without a result, or also those whose result is a failure."""
    have = {k: r for k, r in kept(chapters.slug(path)).items() if not (failing and _fails(r))}
    return [proof for proof in proofs(path) if proof.key(claims) not in have]


def _fails(result: Mapping[str, Any]) -> bool:
    return "fault" in result or "decorative" in result


def problems() -> list[str]:
    """Missing and stale results, faults and decorative proofs, one line each."""
    claims, found = registered(), []
    for path in chapters.chapters():
        chapter = chapters.slug(path)
        if missing := stale(path, claims):
            found.append(f"{chapter}: {len(missing)} proofs are new or changed since `make audit`")
        for result in kept(chapter).values():
            if "fault" in result:
                found.append(f"{chapter}: {', '.join(result['claims'])}: {result['fault']}")
            weak = result.get("decorative", ())
            found += [f"{name}: no planted error breaks its proof" for name in weak]
    return found + registrations()


def registrations() -> list[str]:
    """Rows of registered experiments that are older than their rule, changed, or on used seeds."""
    from snnlib.experiments.registered import RULES, check_all

    checks = check_all(RULES, chapters.ROOT).values()
    return [line for checked in checks for line in checked.violations]


def unused() -> list[str]:
    """Premises of which a proof noticed no error, and assumptions that no step consumed."""
    found = []
    for path in chapters.chapters():
        for result in kept(chapters.slug(path)).values():
            silent = [
                tried["was"]
                for tried in result["tried"]
                if tried["kind"] in DECLARED and not tried["breaks"] and "stopped" not in tried
            ]
            silent += [f"assumption {label!r}" for label in result.get("unused", ())]
            if silent:
                found.append(f"{', '.join(result['claims'])}: {'; '.join(dict.fromkeys(silent))}")
    return found


def run(path: Path) -> None:
    """Audit the changed proofs of one chapter, in this process."""
    from snnlib import ledger

    start = time.process_time()
    os.chdir(path.parent)
    ledger.load()
    claims, chapter = registered(), chapters.slug(path)
    current = {proof.key(claims): proof for proof in proofs(path)}
    results = {k: r for k, r in kept(chapter).items() if k in current and not _fails(r)}
    for key, proof in current.items():
        if key not in results:
            results[key] = audit_proof(proof)
            chapters.write(
                RESULTS / f"{chapter}.json", json.dumps(results, indent=1, sort_keys=True) + "\n"
            )
    tried = [t for result in results.values() for t in result["tried"]]
    weak = [c for result in results.values() for c in result.get("decorative", ())]
    faults = [result["fault"] for result in results.values() if "fault" in result]
    print(
        f"{chapter}: {len(results)} proofs, {len(tried)} planted errors, "
        f"{sum(bool(t['breaks']) for t in tried)} noticed, {time.process_time() - start:.0f} s"
        + (f"; decorative: {', '.join(weak)}" if weak else "")
        + (f"; faults: {'; '.join(faults)}" if faults else ""),
        flush=True,
    )


def _alone(path: Path) -> None:
    """Audit a chapter in a process of its own, which starts with what chapters import."""
    for heavy in ("jupytext", "scipy.stats", "sympy", "torch", "snnlib.ledger"):
        importlib.import_module(heavy)
    process = multiprocessing.get_context("fork").Process(target=run, args=(path,))
    process.start()
    process.join()


def main(arguments: list[str] | None = None) -> int:
    """Run what changed, or check what is kept."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.audit", description=__doc__.split("\n")[0]
    )
    parser.add_argument("chapters", nargs="*", help="slugs; all if none is given")
    parser.add_argument("--check", action="store_true", help="run nothing")
    parser.add_argument("--unused", action="store_true", help="list unused premises, run nothing")
    given = parser.parse_args(arguments)
    if given.unused:
        print("\n".join(unused()))
        return 0
    if not given.check:
        claims = registered()
        for path in chapters.chapters():
            if chapters.slug(path) in (given.chapters or [chapters.slug(path)]) and (
                stale(path, claims, failing=True)
            ):
                _alone(path)
    if given.chapters:
        return 0
    found = problems()
    for problem in found:
        print(problem)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
