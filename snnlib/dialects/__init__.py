r"""What a layer of spiking neurons is, in one language: ours, snnTorch's, SpikingJelly's, Norse's.

Initializers and probes ask `read` what a module is, so that a new neuron needs no change there.
Foreign modules are recognized by the package of their class and their attributes; no foreign
library is imported. A neuron of your own is made known by `declare`, or by `estimate`. The normal
form that all are brought to is, with the potential u measured from its value at rest,

    c[t] = κ c[t-1] + i[t]                (synapse κ; without one c = i)
    u[t] = carry(u[t-1], x[t-1]) + λ c[t]  (leak β and reset as in `snnlib.neurons.lif`)
    x[t] = [u[t] > θ]

The book's page "Dialects" derives each conversion and checks it against the installed libraries.
"""

from snnlib.dialects.declaring import declare, declared, undeclare
from snnlib.dialects.estimating import Estimate, estimate
from snnlib.dialects.form import Spiking
from snnlib.dialects.reading import is_spiking, read

__all__ = [
    "Estimate",
    "Spiking",
    "declare",
    "declared",
    "estimate",
    "is_spiking",
    "read",
    "undeclare",
]
