"""Whether proofs depend on their premises: plant an error in each, and see the proof break.

    python -m tools.audit                       # the chapters of which something changed
    python -m tools.audit gain-for-a-rate       # one chapter
    python -m tools.audit --check               # refuse stale and failing results, run nothing

For each call of `ledger.prove` and `ledger.hold` the slice of statements that built it runs alone,
once as it is and once with each planted error.  An error that breaks the proof shows that the proof
depends on the premise; one that does not is listed as unused.  A proof that no planted error breaks
is decorative and fails.  Results are kept in `results/audit/proofs/`, by a hash of the slice.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

from tools import chapters
from tools.plant import Error, errors
from tools.proof_slices import Proof, proofs

RESULTS = chapters.AUDITED / "proofs"
KNOWN = chapters.AUDITED / "decorative.txt"  # found, and not mended yet
LIMIT = 60.0  # seconds of processor time for the slice as it is
PLANTED_LIMIT = 15.0  # for one planted error, beyond the slice's own


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


def outcome(program: Any, imports: Any, seconds: float) -> tuple[dict[str, str], str]:
    """Run a slice: what became of each claim, and an exception that stopped it."""
    import ast

    import sympy

    from snnlib import ledger

    proxy = _Ledger(ledger)
    names: dict[str, Any] = {"__name__": "slice", "sp": sympy}
    stopped = ""
    try:
        with _within(seconds), contextlib.redirect_stdout(io.StringIO()):
            exec(compile(ast.Module(list(imports), []), "<imports>", "exec"), names)
            names |= {k: proxy for k, v in names.items() if v is ledger} | {"ledger": proxy}
            exec(compile(ast.Module(list(program), []), "<slice>", "exec"), names)
    except _Late:
        stopped = "late"
    except Exception as error:
        stopped = f"{type(error).__name__}: {error}".splitlines()[0][:120]
    return proxy.found, stopped


def audit_proof(proof: Proof) -> dict[str, Any]:
    """Plant each error in a proof's premises; what was tried, and which claims it breaks."""
    start = time.process_time()
    found, stopped = outcome(proof.statements, proof.imports, LIMIT)
    took = time.process_time() - start
    claims = sorted(name for name, result in found.items() if proof.claim in (None, name))
    result: dict[str, Any] = {"claims": claims, "call": proof.call, "tried": []}
    if stopped or not claims or any(found[name] != "holds" for name in claims):
        return result | {"fault": stopped or f"as it is: {found}"}
    planted = errors(proof.statements, proof.call)
    for error in planted:
        broken, why = outcome(error.program, proof.imports, min(LIMIT, took * 3 + PLANTED_LIMIT))
        result["tried"].append(_tried(error, claims, broken, why))
    missed = [c for c in claims if not any(c in tried["breaks"] for tried in result["tried"])]
    return result | ({"decorative": missed} if missed else {})


def _tried(error: Error, claims: list[str], broken: Mapping[str, str], why: str) -> dict[str, Any]:
    breaks = [name for name in claims if broken.get(name) in ("broken", "undecided")]
    return {
        "kind": error.kind,
        "was": error.was[:120],
        "planted": error.planted[:140],
        "breaks": breaks,
    } | ({"stopped": why} if why and not breaks else {})


# --- results -----------------------------------------------------------------------------------


def registered() -> dict[str, Any]:
    """The claims as they are written down, by identity."""
    import yaml

    merged: dict[str, Any] = {}
    for path in sorted(chapters.CLAIMS.rglob("*.yml")):
        content = yaml.load(path.read_text("utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        merged |= (content or {}).get("claims") or {}
    return {name: [spec.get("printed"), spec.get("namespace")] for name, spec in merged.items()}


def kept(chapter: str) -> dict[str, Any]:
    """Results of a chapter, by key."""
    path = RESULTS / f"{chapter}.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


def stale(path: Path, claims: Mapping[str, Any]) -> list[Proof]:
    """Proofs of a chapter without a result."""
    have = kept(chapters.slug(path))
    return [proof for proof in proofs(path) if proof.key(claims) not in have]


def known() -> set[str]:
    """Claims whose proofs are known to be decorative."""
    lines = KNOWN.read_text("utf-8").splitlines() if KNOWN.exists() else []
    return {line for line in lines if line and not line.startswith("#")}


def problems() -> list[str]:
    """Stale results, faults and decorative proofs, one line each."""
    claims, found, decorative = registered(), [], set()
    for path in chapters.chapters():
        chapter = chapters.slug(path)
        missing = stale(path, claims) if kept(chapter) else []
        if missing:
            found.append(f"{chapter}: {len(missing)} proofs changed since `make audit`")
        for result in kept(chapter).values():
            if "fault" in result:
                found.append(f"{chapter}: {', '.join(result['claims'])}: {result['fault']}")
            decorative |= set(result.get("decorative", ()))
    found += [f"{name}: no planted error breaks its proof" for name in sorted(decorative - known())]
    found += [f"{name}: mended, take it off {KNOWN.name}" for name in sorted(known() - decorative)]
    return found + registrations()


def registrations() -> list[str]:
    """Rows of registered experiments that are older than their rule, changed, or on used seeds."""
    from snnlib.experiments.registered import RULES, check_all

    checks = check_all(RULES, chapters.ROOT).values()
    return [line for checked in checks for line in checked.violations]


def not_audited() -> list[str]:
    """Chapters with proofs that were never audited."""
    paths = chapters.chapters()
    return [name for path in paths if not kept(name := chapters.slug(path)) and proofs(path)]


def run(path: Path) -> None:
    """Audit the changed proofs of one chapter, in this process."""
    from snnlib import ledger

    os.chdir(path.parent)
    ledger.load()
    claims, chapter = registered(), chapters.slug(path)
    current = {proof.key(claims): proof for proof in proofs(path)}
    results = {key: value for key, value in kept(chapter).items() if key in current}
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
        f"{sum(bool(t['breaks']) for t in tried)} noticed"
        + (f"; decorative: {', '.join(weak)}" if weak else "")
        + (f"; faults: {'; '.join(faults)}" if faults else ""),
        flush=True,
    )


def main(arguments: list[str] | None = None) -> int:
    """Run what changed, or check what is kept."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.audit", description=__doc__.split("\n")[0]
    )
    parser.add_argument("chapters", nargs="*", help="slugs; all if none is given")
    parser.add_argument("--check", action="store_true", help="run nothing")
    given = parser.parse_args(arguments)
    if not given.check:
        claims = registered()
        if len(given.chapters) == 1:
            run(chapters.NOTEBOOKS / f"{given.chapters[0]}.md")
        else:
            for path in chapters.chapters():
                if chapters.slug(path) in (given.chapters or [chapters.slug(path)]) and (
                    stale(path, claims)
                ):
                    subprocess.run(
                        [sys.executable, "-m", "tools.audit", chapters.slug(path)],
                        cwd=chapters.ROOT,
                        check=False,
                    )
    if given.chapters:
        return 0
    found = problems()
    for problem in found:
        print(problem)
    if missing := not_audited():
        print(f"never audited: {', '.join(missing)}")
    return bool(found or missing)


if __name__ == "__main__":
    sys.exit(main())
