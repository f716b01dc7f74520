"""Study files, the grid runner and the command line."""
