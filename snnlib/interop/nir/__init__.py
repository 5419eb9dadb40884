r"""Networks to and from the Neuromorphic Intermediate Representation (NIR), package `nir`.

NIR describes neurons in continuous time and leaves the time step to whoever runs them. Its LIF and
CubaLIF nodes, with the input S held over a step, are

    LIF        τ dv/dt = v_leak - v + r S
    CubaLIF    τ_mem dv/dt = v_leak - v + r I,      τ_syn dI/dt = -I + w_in S,

and v returns to v_reset when it is above v_threshold. With v counted from v_leak and f = 1 - β,
their step Δt is one of our neurons with threshold v_threshold - v_leak and reset "zero":

    LIF        leak β, input gain r f
    CubaLIF    leak β, synapse leak α, input gain r f w_in (1 - α), delay d

The steps that can be asked for (`STEPS`) differ in β, α, f and d::

    "exponential"   β = exp(-Δt/τ)    d = 0: the membrane sees the current of the end of the step
    "exact"         β = exp(-Δt/τ)    d of `exact_step(β, α, held=True)`: both equations solved
    "euler"         β = 1 - Δt/τ      d = 0: what snnTorch, SpikingJelly and Norse read and write
    "impulse"       β = exp(-Δt/τ)    d = 0, f = Δt/τ: an input is an impulse of area S Δt, which
                                      is what Rockpool simulates

For the LIF node "exponential" is exact already. An IF node is a neuron with leak 1 and gain r Δt.

Where v_leak is not v_reset, v is counted from v_reset, and a constant current of (v_leak - v_reset)
/ r (`Drive`) pulls it to v_leak. What leads back in a loop arrives one step later (`Branched`).
What else NIR leaves open (what a spike does within its step, whether the membrane sees the current
of this step or of the last one, where the potential starts) has the names of known simulators
(`SIMULATORS`).

What NIR does not have is not exported: surrogate derivatives and whether a value is learned, the
state before the first step, resets by subtraction (see `to_nir`).
"""

from snnlib.interop.nir.branched import Branched
from snnlib.interop.nir.layers import Chain, Drive, Scale, SumPool2d
from snnlib.interop.nir.reading import from_nir
from snnlib.interop.nir.simulators import SIMULATORS, Convention
from snnlib.interop.nir.time_step import STEPS
from snnlib.interop.nir.writing import to_nir

__all__ = [
    "SIMULATORS",
    "STEPS",
    "Branched",
    "Chain",
    "Convention",
    "Drive",
    "Scale",
    "SumPool2d",
    "from_nir",
    "to_nir",
]
