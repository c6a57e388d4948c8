"""Judging weights: metrics, baselines, whole images through a network, reports and model cards."""
