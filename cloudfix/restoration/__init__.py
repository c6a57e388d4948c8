"""Restoration: masks chosen, tiles run through a network, blended and composited into the scene."""
