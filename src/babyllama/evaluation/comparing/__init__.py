"""Models of runs against each other: differences with intervals, rank correlation."""
