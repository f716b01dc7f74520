"""A user's own table as a benchmark."""
