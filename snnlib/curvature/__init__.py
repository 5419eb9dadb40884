r"""Curvature of spiking networks: second derivatives, and what they are derivatives of.

A spiking network has no Hessian in the usual sense: its loss is constant between the jumps of its
spikes.  Three matrices go by that name.

* `hessian`: automatic differentiation applied twice, the surrogate derivative standing in for the
  derivative of the spike both times.  It is symmetric: near the present weights it is the Hessian
  of a smooth network that agrees with the spiking one at these weights, in which every spike x is
  replaced by x + σ(u - θ) - σ(u₀ - θ), with u₀ its present potential.
* `surrogate_jacobian`: the true derivative, between two jumps, of the field that training follows.
  It is not symmetric, because that field is the gradient of no loss (`asymmetry`).
* The Hessian of the network that is `smoothed`: a true one, of another network.

`loss_rise` needs no derivative: it measures how much the loss itself rises around the weights.

The operators are those of curvlinops (``pip install "snnlib[curvature]"``): matrices of size
[P, P] for P weights, known by their products with vectors and averaged over all images of the data.
"""

from snnlib.curvature.estimates import Estimate, asymmetry, root_mean_squares, trace
from snnlib.curvature.matrices import hessian, surrogate_jacobian
from snnlib.curvature.products import matrix
from snnlib.curvature.rise import loss_rise
from snnlib.curvature.spectrum import Density, eigenvalues, spectral_density
from snnlib.curvature.substitutes import smoothed

__all__ = [
    "Density",
    "Estimate",
    "asymmetry",
    "eigenvalues",
    "hessian",
    "loss_rise",
    "matrix",
    "root_mean_squares",
    "smoothed",
    "spectral_density",
    "surrogate_jacobian",
    "trace",
]
