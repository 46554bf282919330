"""Clean documents to token ids and batches."""
