"""Figures and tables; they read traces only.

`studies` holds a study in memory, `catalogue` is the table of all figures, `figures` draws them, `notebook` has a
function for each, `statistics` holds the arithmetic and the tests, `drawing` is the one place for colours, lines, fonts
and sizes, and `report` makes one page of all.
"""
