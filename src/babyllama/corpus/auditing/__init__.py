"""What is in a corpus: duplicates, overlap with the tests, oddities, readability."""
