"""Minimal pairs and how they are scored."""
