"""Timings and memory of whole commands, as ratios against a reference in the same run."""
