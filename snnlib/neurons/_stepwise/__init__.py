r"""One fused autograd function for neurons whose spikes come back one step later.

Spikes come back through recurrent weights W, through a threshold that rises with every spike, or
through both. With input current i, potential u, spike x, adaptation level a, its strength κ and
its decay ρ, step t computes

    A[t] = θ + κ a[t],                     a[t] = ρ a[t-1] + (1 - ρ) x[t-1],
    c[t] = i[t] + x[t-1] Wᵀ,
    u[t] = carry(u[t-1], x[t-1], A[t-1]) + g(x[t-1]) c[t],      x[t] = 1 if u[t] > A[t] else 0.

The carry is that of `snnlib.resets.RULES`; the gate g is 1 but for the two resets of
`snnlib.resets.GATES`, which drop the drive in the step after a spike.

Backward. Let s[t] be the surrogate slope, p, q and r the derivatives of what u[t+1] takes over from
step t with respect to u[t], x[t] and A[t] (q = 0 for a detached reset), and m, z, y the incoming
gradients of membrane, spikes and level. Backward in time,

    δ[t] = dL/dx[t] = z[t] + g[t+1] λ[t+1] W + q[t] λ[t+1] + (1 - ρ) μ[t+1]
    λ[t] = dL/du[t] = m[t] + s[t] δ[t] + p[t] λ[t+1]
    ν[t] = dL/dA[t] = -s[t] δ[t] + r[t] λ[t+1]
    μ[t] = dL/da[t] = y[t] + κ ν[t] + ρ μ[t+1]

and with the gradient of the drive, g[t] λ[t] = dL/di[t],

    dL/dW = Σ_t (g[t] λ[t])ᵀ x[t-1],    dL/dθ = Σ_t ν[t],    dL/dκ = Σ_t ν[t] a[t],
    dL/dρ = Σ_t μ[t] (a[t-1] - x[t-1]).

So a step back costs one matrix product as a step forward does, and all steps share the product
that gives dL/dW.
"""

from snnlib.neurons._stepwise.function import stepwise

__all__ = ["stepwise"]
