"""The same losses as really slept runs, and how much sooner."""
