"""Pairs from a corpus's own words: English sentences from templates and a lexicon."""
