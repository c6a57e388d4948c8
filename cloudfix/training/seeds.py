"""One seed for a run, and from it one for everything that is drawn at random."""

from __future__ import annotations

import numpy as np


def derive(seed: int, *numbers: int) -> int:
    """A seed of its own for what the `numbers` say, such as a step or an image; all of them from 0."""
    return int(np.random.SeedSequence((seed, *numbers)).generate_state(1, np.uint64)[0] >> 1)
