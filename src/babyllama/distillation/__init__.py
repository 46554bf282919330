"""The teachers' signal and the loss."""
