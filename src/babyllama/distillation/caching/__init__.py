"""The teachers' signal on disk: made once, read by any number of students."""
