"""Figures and tables; they read traces only.

`zerowait.plots.studies.loading` reads a study, `zerowait.plots.catalogue` is the table of all figures, `zerowait.plots.notebook` has a function for each,
`zerowait.plots.statistics.arithmetic` and `zerowait.plots.statistics.significance` hold the arithmetic, and `zerowait.plots.drawing.style` is the one place for colours, lines,
fonts and sizes.
"""
