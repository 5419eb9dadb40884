"""The list of claims: what each source states, once, and the verdict that is expected."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from snnlib._extras import require
from snnlib._significance import FAMILY_LEVEL

__all__ = ["READ", "VERDICTS", "Claim", "Claims", "read_claims"]

VERDICTS = (
    "definition",
    "proved",
    "measured",
    "corrected",
    "refuted",
    "inconclusive",
    "not testable here",
)
_ESTABLISHED = ("definition", "proved", "measured")
LAW_EFFECT = 0.05
"""Largest effect of a measured law; also the largest one that needs no reason."""
MARKS = ("", "misprint", "explored", "registered")
READ = ("full text", "code", "summary", "recalled", "ours")
SEVERITIES = ("misprint", "unstated assumption", "false", "library docstring")


@dataclass(frozen=True)
class Claim:
    """One entry of the list of claims; `printed` is None for a claim in words.

    The printed statement is parsed when it is asked for: SymPy needs seconds for a whole list, and
    a chapter uses a part of it.
    """

    id: str
    source: str
    locator: str
    read: str
    statement: str
    verdict: str
    chapter: str
    uses: tuple[str, ...] = ()
    entries: int = 0
    level: str | None = None
    effect: float | None = None
    effect_reason: str = ""
    mark: str = ""
    rule: str = ""
    namespace: str = ""
    corrected_by: str | None = None
    citation: str = ""
    severity: str | None = None
    parse: Callable[[], tuple[Any, str]] | None = field(default=None, repr=False, compare=False)

    @cached_property
    def _printed(self) -> tuple[Any, str | None]:
        return (None, None) if self.parse is None else self.parse()

    @property
    def printed(self) -> Any:
        """The statement as a SymPy expression.

        Raises:
            ValueError: if it cannot be parsed.
        """
        return self._printed[0]

    @property
    def printed_latex(self) -> str | None:
        """The statement as it was typed."""
        return self._printed[1]

    @property
    def anchor(self) -> str:
        """HTML id of the claim's row on the claims page."""
        return self.id.replace(".", "-")


@dataclass(frozen=True)
class Claims:
    """The whole list of claims: by id, with the symbols of each source."""

    claims: Mapping[str, Claim]
    namespaces: Mapping[str, Mapping[str, Any]]
    notation: Mapping[str, Mapping[Any, str]]

    @property
    def entries(self) -> int:
        """Measured entries registered over the whole book."""
        return sum(claim.entries for claim in self.claims.values())

    @property
    def level(self) -> float:
        """False-alarm level of one measured entry."""
        return FAMILY_LEVEL / max(self.entries, 1)

    def latex(self, expression: Any, namespace: str = "", **options: Any) -> str:
        """Return LaTeX of an expression in the notation of a namespace, then of the others."""
        sympy = require("sympy", "book")
        names: dict[Any, str] = {}
        for notation in (*self.notation.values(), self.notation.get(namespace, {})):
            names.update(notation)
        text = str(sympy.latex(expression, symbol_names=names, **options))
        return text.replace("+ - ", "- ")  # SymPy's sums of matrices


def _make_symbol(name: str, spec: Mapping[str, Any]) -> Any:
    sympy = require("sympy", "book")
    unknown = set(spec) - {"latex", "assume", "kind", "shape"}
    if unknown:
        raise ValueError(f"symbol {name}: unknown keys {sorted(unknown)}")
    kind = spec.get("kind", "symbol")
    if kind == "symbol":
        return sympy.Symbol(name, **dict.fromkeys(spec.get("assume", ["real"]), True))
    if kind == "function":
        return sympy.Function(spec.get("latex", name))
    if kind == "indexed":
        return sympy.IndexedBase(spec.get("latex", name))
    if kind == "matrix":
        rows, columns = (sympy.sympify(str(s)) for s in spec["shape"])
        return sympy.MatrixSymbol(name, rows, columns)
    raise ValueError(
        f"symbol {name}: kind must be symbol, function, indexed or matrix, got {kind!r}"
    )


def _without_repetition(yaml: Any, text: str) -> dict[str, Any]:
    """The content of a YAML text; a key that comes twice would hide what stood there before."""

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            twice = {key for key in keys if keys.count(key) > 1}
            if twice:
                line = node.start_mark.line + 1
                raise ValueError(f"key {min(map(str, twice))!r} comes twice below line {line}")
            content: dict[Any, Any] = super().construct_mapping(node, deep)
            return content

    loaded: dict[str, Any] = yaml.load(text, Loader)
    return loaded


def _content(path: Path) -> dict[str, dict[str, Any]]:
    """Sources, symbols and claims of one file, or of all files of a folder as one list."""
    yaml = require("yaml", "book")
    if path.is_dir():
        files = sorted(path.rglob("*.yml"))
    elif path.is_file():
        files = [path]
    else:
        files = []
    if not files:
        raise FileNotFoundError(
            f"no list of claims at {path}: a chapter runs in the folder notebooks/ of the book"
        )
    merged: dict[str, dict[str, Any]] = {key: {} for key in ("sources", "symbols", "claims")}
    came_from: dict[tuple[str, str], Path] = {}
    for file in files:
        try:
            content = _without_repetition(yaml, file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from None
        if unknown := set(content or {}) - set(merged):
            raise ValueError(f"{file}: key {min(unknown)!r} is not in {sorted(merged)}")
        for key, entries in (content or {}).items():
            for name, entry in (entries or {}).items():
                if (key, name) in came_from:
                    raise ValueError(
                        f"{key[:-1]} {name!r} is in {came_from[key, name]} and in {file}"
                    )
                came_from[key, name] = file
                merged[key][name] = entry
    return merged


def read_claims(path: str | os.PathLike[str], *, parse: bool = True) -> Claims:
    """Read and check a list of claims.

    Args:
        path: a folder of YAML files, or one such file; the keys of each are `sources`, `symbols`
            and `claims`, and a name stands in one file only.
        parse: whether to parse all printed statements now; else each when it is asked for.

    Returns:
        The checked list.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if an entry is malformed; the message names the claim and the key.
    """
    content = _content(Path(path))
    sources = content["sources"]
    namespaces: dict[str, dict[str, Any]] = {}
    notation: dict[str, dict[Any, str]] = {}
    for source, entries in content["symbols"].items():
        namespaces[source], notation[source] = {}, {}
        for name, spec in (entries or {}).items():
            symbol = _make_symbol(name, spec or {})
            namespaces[source][name] = symbol
            if "latex" in (spec or {}):
                notation[source][symbol] = spec["latex"]
    printer = Claims({}, namespaces, notation)
    claims = {
        name: _claim(name, spec, sources, printer) for name, spec in content["claims"].items()
    }
    for claim in claims.values():
        if parse:
            _ = claim.printed
        for used in claim.uses:
            if used not in claims:
                raise ValueError(f"claim {claim.id}: uses {used!r}, which is no claim")
        by = claim.corrected_by
        if by is not None and (by not in claims or claims[by].verdict not in _ESTABLISHED):
            raise ValueError(
                f"claim {claim.id}: corrected_by {by!r} is no proved or measured claim"
            )
    _refuse_circles(claims)
    return Claims(claims, namespaces, notation)


def _claim(
    name: str, entry: Mapping[str, Any], sources: Mapping[str, str], printer: Claims
) -> Claim:
    """One checked entry of the list."""
    spec = dict(entry)
    text = spec.pop("printed", None)
    spec["namespace"] = spec.get("namespace", spec.get("source"))
    if text is not None:
        spec["parse"] = partial(_printed, name, text, spec["namespace"], printer)
    spec["uses"] = tuple(spec.get("uses") or ())
    try:
        claim = Claim(id=name, **spec)
    except TypeError as error:
        raise ValueError(f"claim {name}: {error}") from None
    if claim.source not in sources:
        raise ValueError(f"claim {name}: source {claim.source!r} is not in {sorted(sources)}")
    if claim.verdict not in VERDICTS:
        raise ValueError(f"claim {name}: verdict {claim.verdict!r} is not in {VERDICTS}")
    if claim.read not in READ:
        raise ValueError(f"claim {name}: read {claim.read!r} is not in {READ}")
    if claim.verdict in ("refuted", "corrected") and claim.read in ("summary", "recalled"):
        raise ValueError(
            f"claim {name}: {claim.verdict} needs the full text or the code, not a {claim.read}"
        )
    if claim.severity is not None and (
        claim.severity not in SEVERITIES or claim.verdict not in ("refuted", "corrected")
    ):
        raise ValueError(
            f"claim {name}: severity is for corrected and refuted claims, one of {SEVERITIES}, "
            f"got {claim.severity!r} for {claim.verdict}"
        )
    if claim.level not in (None, "law", "curve"):
        raise ValueError(f"claim {name}: level must be law or curve, got {claim.level!r}")
    if claim.entries < 0:
        raise ValueError(f"claim {name}: entries must be >= 0, got {claim.entries}")
    if claim.mark not in MARKS:
        raise ValueError(f"claim {name}: mark {claim.mark!r} is not in {MARKS}")
    if claim.mark == "misprint" and claim.verdict != "corrected":
        raise ValueError(f"claim {name}: a misprint is corrected, not {claim.verdict}")
    if bool(claim.rule) != (claim.mark == "registered"):
        raise ValueError(
            f"claim {name}: the mark registered and the name of a rule belong together, got mark "
            f"{claim.mark!r} and rule {claim.rule!r}"
        )
    _check_effect(claim)
    citation = ", ".join(filter(None, (sources[claim.source], claim.locator)))
    return replace(claim, citation=citation)


def _check_effect(claim: Claim) -> None:
    """Refuse an effect that is no effect, or a large one without a reason."""
    if claim.effect is None:
        return
    if not claim.entries:
        raise ValueError(f"claim {claim.id}: effect belongs to claims with entries")
    if not 0 < claim.effect < 1:
        raise ValueError(f"claim {claim.id}: effect must be in (0, 1), got {claim.effect}")
    if claim.effect > LAW_EFFECT:
        if claim.level == "law":
            raise ValueError(
                f"claim {claim.id}: effect of a law must be at most {LAW_EFFECT:g}, "
                f"got {claim.effect:g}"
            )
        if not claim.effect_reason:
            raise ValueError(
                f"claim {claim.id}: effect {claim.effect:g} is above {LAW_EFFECT:g} and needs an "
                "effect_reason"
            )


def _printed(name: str, text: str, namespace: str, printer: Claims) -> tuple[Any, str]:
    sympy = require("sympy", "book")
    try:
        expression, as_typed = _parse(text, printer.namespaces.get(namespace, {}))
    except (sympy.SympifyError, TypeError, SyntaxError) as error:
        raise ValueError(f"claim {name}: printed cannot be parsed: {error}") from error
    return expression, printer.latex(as_typed, namespace, order="none")


def _parse(text: str, namespace: Mapping[str, Any]) -> tuple[Any, Any]:
    """Parse a printed statement twice: evaluated, to compare, and as typed, to show."""
    sympy = require("sympy", "book")
    as_typed = sympy.sympify(text, locals=dict(namespace), evaluate=False)
    evaluated = sympy.sympify(text, locals=dict(namespace))
    if evaluated in (sympy.true, sympy.false):  # a relation that SymPy decides on its own
        evaluated = as_typed
    return evaluated, _tidy(as_typed)


def _tidy(expression: Any) -> Any:
    """Collect the numeric factors of unevaluated products, which print badly otherwise."""
    sympy = require("sympy", "book")
    if not getattr(expression, "args", ()) or isinstance(expression, sympy.MatrixExpr):
        return expression
    args = [_tidy(a) for a in expression.args]
    if not isinstance(expression, sympy.Mul):
        if isinstance(expression, sympy.Add | sympy.Pow | sympy.core.relational.Relational):
            return expression.func(*args, evaluate=False)
        return expression.func(*args)
    factors = [f for a in args for f in (a.args if isinstance(a, sympy.Mul) else (a,))]
    number = sympy.Mul(*(f.doit() for f in factors if f.doit().is_Rational))
    rest = [f for f in factors if not f.doit().is_Rational]
    if not rest:
        return number
    head = [] if number == 1 else [number]
    return sympy.Mul(*head, *rest, evaluate=False) if head or len(rest) > 1 else rest[0]


def _refuse_circles(claims: Mapping[str, Claim]) -> None:
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise ValueError(f"claims rest on each other: {' -> '.join((*path, name))}")
        if name not in done:
            for used in claims[name].uses:
                visit(used, (*path, name))
            done.add(name)

    for name in claims:
        visit(name, ())
