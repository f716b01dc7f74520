"""Figures and tables; they read traces only.

`zerowait.plots.loading` reads a study, `zerowait.plots.catalogue` is the table of all figures, `zerowait.plots.notebook` has a function for each,
`zerowait.plots.statistics` and `zerowait.plots.significance` hold the arithmetic, and `zerowait.plots.style` is the one place for colours, lines,
fonts and sizes.
"""
