"""The command line `zerowait`, a module for each group of commands."""
