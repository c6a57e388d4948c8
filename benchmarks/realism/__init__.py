"""Whether simulated cloud looks like cloud: `python -m benchmarks.realism`."""
