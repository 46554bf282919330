"""Runs to tables, figures and one page."""
