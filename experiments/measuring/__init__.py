"""What evaluations, queries and optimizers cost."""
