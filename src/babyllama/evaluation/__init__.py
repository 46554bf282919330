"""What models are measured on, and how."""
