"""Architectures by name, and models as folders."""
