"""Figures and tables; they read traces only.

`plots.loading` reads the traces of a study, `plots.statistics` holds the arithmetic, `plots.performance`
draws performance over time, and `plots.style` is the one place for colours, lines, fonts and sizes.
"""
