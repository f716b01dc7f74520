"""Figures and tables; they read traces only.

`plots.loading` reads a study, `plots.catalogue` is the table of all figures, `plots.notebook` has a function for each,
`plots.statistics` and `plots.significance` hold the arithmetic, and `plots.style` is the one place for colours, lines,
fonts and sizes.
"""
