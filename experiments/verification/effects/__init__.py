"""What simulators usually get wrong, and how much a ranking changes with it."""
