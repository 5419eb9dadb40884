"""One harness that times the library against products, other libraries and itself.

    python -m benchmarks [--quick] [--threads N] [--device cpu|cuda] [--cells PATTERN ...]

A *cell* is one workload; its *variants* are ways to compute it, with the same weights and inputs.
All variants of a cell run interleaved in one process, in an order that is shuffled each round, so
that a slow phase of the machine hits all of them; what counts is the median over rounds of ratios
within a round. `harness` times, `ratios` computes, `result` stores, `table` prints; `products`,
`peers` and `ours` are the variants; `cells` are the workloads.
"""
