"""What the docs quote: times and memory as ratios within one run, and how real simulated cloud looks."""
