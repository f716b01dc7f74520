"""The grid runner: from a study to its finished cells."""
