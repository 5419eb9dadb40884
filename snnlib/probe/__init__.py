"""What happens inside a spiking network, layer by layer and step by step, and what ails it.

`record` runs a network on a batch and pools, over batch and neurons, the moments of the membrane
potential u[layer, step], the firing rate, and the variance of the gradient dL/du. `diagnose` puts
the mean-field prediction beside them and says in one sentence per illness what is wrong and which
call mends it. Both work on our networks and on those of snnTorch, SpikingJelly and Norse.
"""

from snnlib.probe.diagnosis import diagnose
from snnlib.probe.facts import Finding
from snnlib.probe.layer import LayerDiagnosis
from snnlib.probe.result import Diagnosis
from snnlib.probe.statistics import Statistics, record

__all__ = ["Diagnosis", "Finding", "LayerDiagnosis", "Statistics", "diagnose", "record"]
