"""The law of a neuron over a few steps, spike history by spike history.

A second way to what the mean-field maps sample: given which steps have a spike, the potentials
are linear in the Gaussian currents, so a history has the probability of a rectangle of a Gaussian
vector, by scipy. Nothing of the library is used: the resets are written as they are printed.
"""

from __future__ import annotations

import inspect
from itertools import product

import numpy as np
from scipy.stats import multivariate_normal


def potentials(history, leak, threshold, reset):
    """(A, b) with u = A i - b for the currents i [T], given the spikes of the steps before."""
    steps = len(history)
    matrix, lowered = np.zeros((steps, steps)), np.zeros(steps)
    row, less, before = np.zeros(steps), 0.0, 0
    for t, spike in enumerate(history):
        if reset == "subtract":  # β u[t-1] - θ x[t-1] + i[t]
            row, less = leak * row, leak * less + threshold * before
        elif reset == "subtract_leak":  # β (u[t-1] - θ x[t-1]) + i[t]
            row, less = leak * row, leak * (less + threshold * before)
        elif reset == "zero":  # β u[t-1] (1 - x[t-1]) + i[t]
            row, less = leak * row * (1 - before), leak * less * (1 - before)
        else:  # β u[t-1] + i[t]
            row, less = leak * row, leak * less
        row = row + np.eye(steps)[t]
        matrix[t], lowered[t], before = row, less, spike
    return matrix, lowered


def random_numbers():
    """For the integral, which takes them by an argument that the oldest SciPy has not."""
    known = "rng" in inspect.signature(multivariate_normal.cdf).parameters
    return {"rng": np.random.default_rng(0)} if known else {}


def pair_law(covariance, *, leak, threshold, reset, mean=0.0, inputs=1):
    """E[x_s x_t] of a neuron with Gaussian currents of a mean and a covariance.

    For two inputs the covariance is [2T, 2T], first input first; so is the result.
    """
    covariance = np.asarray(covariance, dtype=float)
    steps = len(covariance) // inputs
    mean = np.broadcast_to(mean, len(covariance))
    pairs = np.zeros_like(covariance)
    for spikes in product((0, 1), repeat=len(covariance)):
        blocks = [
            potentials(spikes[k * steps : (k + 1) * steps], leak, threshold, reset)
            for k in range(inputs)
        ]
        matrix = np.zeros_like(covariance)
        for k, (block, _) in enumerate(blocks):
            part = slice(k * steps, (k + 1) * steps)
            matrix[part, part] = block
        lowered = np.concatenate([less for _, less in blocks])
        fires = np.array(spikes, dtype=bool)
        share = multivariate_normal.cdf(
            np.where(fires, np.inf, threshold),
            mean=matrix @ mean - lowered,
            cov=matrix @ covariance @ matrix.T,
            lower_limit=np.where(fires, threshold, -np.inf),
            **random_numbers(),
        )
        pairs += share * np.outer(spikes, spikes)
    return pairs
