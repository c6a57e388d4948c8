"""Cloud and shadow masks, thickness, simulation."""
