"""Raw text to clean documents."""
