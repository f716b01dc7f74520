"""How the processes of a run share it: a directory, a table, a journal, and waits that wake exactly one caller."""
