"""The rules of simulated time and what they are stated in: pure, without files or processes."""
