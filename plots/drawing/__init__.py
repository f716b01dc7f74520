"""Canvas, panels and style."""
