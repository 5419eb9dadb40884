"""Interleaved timing: every round runs all variants once, in an order of its own."""

from __future__ import annotations

import gc
import os
import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch

__all__ = ["LEAST_ROUNDS", "Options", "Skip", "clock_of", "interleave"]

LEAST_ROUNDS = 7
"""Fewer rounds tell no quartiles."""

WARM_UP = 2
"""Rounds before the first that counts: caches, the memory allocator, libraries that compile."""

Clock = Callable[[], float]


class Skip(Exception):
    """A cell or variant that cannot run here; its message says why."""


@dataclass(frozen=True)
class Options:
    """How to measure.

    Attributes:
        quick: Small sizes.
        rounds: Rounds that count, at least `LEAST_ROUNDS`.
        threads: Threads of torch.
        device: "cpu" or "cuda".

    Raises:
        ValueError: If a value is outside its range.
    """

    quick: bool = False
    rounds: int = LEAST_ROUNDS
    threads: int = 1
    device: str = "cpu"

    def __post_init__(self) -> None:
        """Refuse what cannot be measured."""
        if self.rounds < LEAST_ROUNDS:
            raise ValueError(f"rounds must be at least {LEAST_ROUNDS}, got {self.rounds}")
        cores = os.cpu_count() or 1
        if not 1 <= self.threads <= cores:
            raise ValueError(f"threads must be in 1..{cores} on this machine, got {self.threads}")
        if self.device not in ("cpu", "cuda"):
            raise ValueError(f'device must be "cpu" or "cuda", got {self.device!r}')
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ValueError('device must be "cpu" here: torch finds no GPU, got "cuda"')

    @property
    def clock(self) -> str:
        """Name of the time that is counted."""
        if self.device == "cuda":
            return "wall time, synchronized"
        return "processor time" if self.threads == 1 else "wall time"


def clock_of(options: Options) -> Clock:
    """The clock: with one thread other processes do not count, with several only the wall can.

    Example:
        >>> clock_of(Options()) is time.process_time
        True
    """
    if options.device == "cuda":

        def synchronized() -> float:
            torch.cuda.synchronize()
            return time.perf_counter()

        return synchronized
    return time.process_time if options.threads == 1 else time.perf_counter


def interleave(
    variants: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    clock: Clock,
    warm_up: int = WARM_UP,
    seed: int = 0,
) -> dict[str, list[float]]:
    """Seconds of each variant in each round.

    Args:
        variants: What to time, by name; a call is one measurement.
        rounds: Rounds that count, >= 1.
        clock: Seconds since some moment.
        warm_up: Rounds before them, >= 0.
        seed: Of the order in each round.

    Returns:
        One list of `rounds` numbers per variant; the entries at one place are of one round.

    Raises:
        ValueError: If there is no variant, or a number is outside its range.

    Example:
        >>> ticks = iter(range(100))
        >>> interleave({"one": lambda: None}, rounds=3, clock=lambda: float(next(ticks)))
        {'one': [1.0, 1.0, 1.0]}
    """
    if not variants:
        raise ValueError("variants must name at least one, got {}")
    if rounds < 1 or warm_up < 0:
        raise ValueError(f"rounds must be >= 1 and warm_up >= 0, got {rounds} and {warm_up}")
    order, shuffle = list(variants), random.Random(seed).shuffle
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    enabled = gc.isenabled()
    gc.freeze()  # what is there already is not looked through in every round
    try:
        for number in range(warm_up + rounds):
            gc.collect()
            gc.disable()  # a collection would hit whoever is running
            shuffle(order)
            for name, taken in _round(order, variants, clock):
                if number >= warm_up:
                    seconds[name].append(taken)
    finally:
        gc.unfreeze()
        (gc.enable if enabled else gc.disable)()
    return seconds


def _round(
    order: Iterable[str], variants: Mapping[str, Callable[[], object]], clock: Clock
) -> Iterable[tuple[str, float]]:
    for name in order:
        start = clock()
        variants[name]()
        yield name, clock() - start
