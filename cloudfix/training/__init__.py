"""Training: data, losses, recipes."""
