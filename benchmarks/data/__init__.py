"""The files that benchmarks read: where they come from, and how they are fetched, checked and converted."""
