"""The machine: what it offers, what is chosen on it, and how fast it trains."""
