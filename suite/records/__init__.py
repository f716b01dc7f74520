"""What a run leaves behind: traces, stores, and the check of every invariant."""
