"""The running chapter: the claims that it loaded, what it has found for them, and its seeds."""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import asdict, dataclass, field
from types import SimpleNamespace
from typing import Any

from snnlib import _html
from snnlib._extras import require
from snnlib.ledger.claims import Claim, Claims, read_claims
from snnlib.ledger.evidence import MIME, Evidence, line, told
from snnlib.ledger.provenance import notebook_slice

BASE_SEED = 20260
"""Seed of the book when the environment variable SNNLIB_SEED is not set."""


class ClaimFailed(AssertionError):
    """A claim's check does not hold."""


@dataclass
class _State:
    """The list of claims that the running chapter loaded, and its evidence so far."""

    claims: Claims | None = None
    evidence: dict[str, Evidence] = field(default_factory=dict)
    seed: int | None = None


_state = _State()


def load(path: str | os.PathLike[str] = "../book/claims") -> None:
    """Load the list of claims for the running chapter and forget earlier evidence.

    Args:
        path: the folder of YAML files (or one file), relative to the chapter's folder.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if an entry is malformed.
    """
    _state.claims = read_claims(path, parse=False)
    _state.evidence, _state.seed = {}, None


def loaded() -> Claims:
    """The list of claims that the chapter loaded."""
    if _state.claims is None:
        raise RuntimeError("no list of claims: call ledger.load() first")
    return _state.claims


def claim_of(claim_id: str) -> Claim:
    """A claim of the list by its id."""
    claims = loaded().claims
    if claim_id not in claims:
        raise ClaimFailed(f"{claim_id} is not in the list of claims")
    return claims[claim_id]


def statement_of(claim: Claim, kind: str) -> Any:
    """The printed statement of a claim that must have one."""
    if claim.printed is None:
        raise ValueError(f"claim {claim.id} has no printed statement to {kind}")
    return claim.printed


def symbols(source: str) -> SimpleNamespace:
    """Return the SymPy symbols of a source, as attributes.

    Args:
        source: a key of `symbols` in the list of claims.

    Returns:
        A namespace with one attribute per symbol.

    Raises:
        ValueError: if the source declares no symbols.
    """
    namespaces = loaded().namespaces
    if source not in namespaces:
        raise ValueError(f"source must be one of {sorted(namespaces)}, got {source!r}")
    return SimpleNamespace(**namespaces[source])


def printed(claim_id: str) -> Any:
    """Return the printed statement, to show it or to compute numbers from it.

    A derivation must not start from it: `prove` and `hold` refuse a derived expression that
    was built from this function's result.
    """
    return statement_of(claim_of(claim_id), "show")


def latex(expression: Any, source: str = "") -> str:
    """LaTeX of an expression in the notation of a source, else of any that knows its symbols."""
    return loaded().latex(expression, source)


def show(*expressions: Any, source: str = "") -> None:
    """Display expressions as mathematics in the notation of a source, one per line.

    Raises:
        ValueError: If one is a bare truth value, to which SymPy evaluated an equation.
    """
    display = require("IPython.display", "book")
    if any(str(expression) in ("True", "False") for expression in expressions):
        raise ValueError("expressions must not be truth values; equations need evaluate=False")
    for expression in expressions:
        display.display(display.Math(latex(expression, source)))


def seed(stream: str) -> int:
    """Seed of a named random stream: a hash of the base seed and the name.

    Streams of different names are independent; the base seed, the environment
    variable SNNLIB_SEED or `reseed`, changes them all.

    Args:
        stream: a name, unique within the book.

    Returns:
        An integer in [0, 2**63).

    Example:
        >>> seed("weights") == seed("weights"), seed("weights") == seed("inputs")
        (True, False)
    """
    base = os.environ.get("SNNLIB_SEED", str(BASE_SEED)) if _state.seed is None else _state.seed
    digest = hashlib.sha256(f"{base}/{stream}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def reseed(base: int | None) -> None:
    """Set the base seed of the running chapter, for a reader who tries other random numbers.

    Args:
        base: any integer; None goes back to SNNLIB_SEED or, without it, to the book's seed.

    Raises:
        ValueError: if it is neither.

    Example:
        >>> usual = seed("weights")
        >>> reseed(1)
        >>> seed("weights") == usual
        False
        >>> reseed(None)
        >>> seed("weights") == usual
        True
    """
    if base is not None and (isinstance(base, bool) or not isinstance(base, int)):
        raise ValueError(f"base must be an integer or None, got {base!r}")
    _state.seed = base


def note(name: str, value: Any, format: str = ".3g") -> None:
    """Store a number for the prose, where {glue:text} shows it as a reader writes it.

    Args:
        name: unique within the book; starts with the chapter's name.
        value: a number, or a string that is shown as it is.
        format: format specification for a number.
    """
    glue = require("myst_nb", "book").glue
    text = value if isinstance(value, str) else f"{value:{format}}"
    glue(name, _html.readable(text), display=False)


def evidence(claim_id: str) -> Evidence:
    """Return what this chapter has found for a claim so far.

    Raises:
        KeyError: if the claim has no evidence yet.
    """
    return _state.evidence[claim_id]


def built_in(claim_id: str, call: str) -> list[int] | None:
    """Cells in which the arguments of a notebook's ledger call were built.

    None outside a notebook, where no evidence is kept.  Refused if the cells cannot be told, or
    read a printed statement.
    """
    try:
        from IPython import get_ipython
    except ImportError:
        return None
    shell = get_ipython()
    if shell is None:
        return None
    ledger = sys.modules[__package__]
    public = {name: getattr(ledger, name) for name in ledger.__all__}
    functions = {id(value): name for name, value in public.items() if callable(value)}
    built = notebook_slice(
        list(shell.user_ns.get("In", [])),
        call,
        modules=frozenset(k for k, v in shell.user_ns.items() if v is ledger),
        functions={k: functions[id(v)] for k, v in shell.user_ns.items() if id(v) in functions},
        claim=claim_id,
    )
    if built is None:
        raise ClaimFailed(
            f"{claim_id}: it cannot be said where the derivation was built; call ledger.{call} in "
            "a cell of its chapter, not from a helper"
        )
    if "printed" in built.ledger_calls:
        raise ClaimFailed(f"{claim_id}: the derivation starts from the printed statement")
    return list(built.cells)


def said_built(cells: list[int] | None) -> str:
    """Name the cells, for the folded detail."""
    if not cells:
        return ""
    return f" Built in cell{'s' if len(cells) > 1 else ''} {', '.join(map(str, cells))}."


def record(claim: Claim, found: Evidence) -> None:
    """Keep what a check found, and show its line; another verdict than expected raises."""
    found.statement_latex = claim.printed_latex
    found.level, found.detail = claim.level, told(found.detail)
    if found.verdict != claim.verdict:
        raise ClaimFailed(
            f"{claim.id}: the verdict is {found.verdict!r} ({found.summary}), but "
            f"{claim.verdict!r} is expected"
        )
    if claim.id in _state.evidence:
        raise ClaimFailed(f"{claim.id} has evidence already: one claim, one check")
    _state.evidence[claim.id] = found
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        return
    if get_ipython() is None:
        return
    display(
        {
            MIME: asdict(found),
            "text/html": line(claim, found),
            "text/plain": f"{found.verdict}: {claim.citation}: {found.summary}",
        },
        raw=True,
    )
