"""Six libraries' own machinery, really slept and simulated."""
