"""What happens inside a spiking network, layer by layer and step by step, and what ails it.

`record` runs a network on a batch and pools, over batch and neurons, the moments of the membrane
potential u[layer, step], the firing rate, and the variance of the gradient dL/du.
"""

from snnlib.probe.statistics import Statistics, record

__all__ = ["Statistics", "record"]
