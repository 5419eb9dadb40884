r"""The ledger: claims, and the evidence that a chapter gives for each.

A chapter loads the list of claims once and then discharges its claims by calling `define`,
`prove`, `hold`, `measure`, `observe`, `confirm` or `refute`.  A call shows one line in the page and
stores its evidence in the cell's output under the MIME type
`application/vnd.snnlib.evidence+json`; a check that does not hold raises `ClaimFailed`.  `audit`
compares the evidence of executed chapters with the list of claims.

The false-alarm level is family-wise: 1e-4 for one run of the whole book, divided by the
number of measured entries that the list of claims registers (Bonferroni).
"""

from snnlib._significance import DETECTION, FAMILY_LEVEL
from snnlib.ledger.audit import audit
from snnlib.ledger.chapter import (
    ClaimFailed,
    evidence,
    latex,
    load,
    note,
    printed,
    reseed,
    seed,
    show,
    symbols,
)
from snnlib.ledger.claims import READ, VERDICTS, Claim, Claims, read_claims
from snnlib.ledger.definitions import define
from snnlib.ledger.evidence import MIME, Evidence, stored_evidence
from snnlib.ledger.measurements import joint_error, measure, observe
from snnlib.ledger.proofs import hold, prove
from snnlib.ledger.refutations import Data, refute
from snnlib.ledger.registered import confirm

__all__ = [
    "DETECTION",
    "FAMILY_LEVEL",
    "MIME",
    "READ",
    "VERDICTS",
    "Claim",
    "ClaimFailed",
    "Claims",
    "Data",
    "Evidence",
    "audit",
    "confirm",
    "define",
    "evidence",
    "hold",
    "joint_error",
    "latex",
    "load",
    "measure",
    "note",
    "observe",
    "printed",
    "prove",
    "read_claims",
    "refute",
    "reseed",
    "seed",
    "show",
    "stored_evidence",
    "symbols",
]
