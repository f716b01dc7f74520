"""Study files and what they name."""
