"""Archives: many scenes in one run, resumed where it ended, on this machine or on a cluster."""
