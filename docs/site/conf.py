"""The documentation site: `make docs`. Its pages stand in one folder as they stand in the repository."""

from zerowait import __version__

project, release, version = "zerowait", __version__, __version__
root_doc = "index"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["README.md"]  # its text is the first page
html_theme = "furo"
html_title = f"zerowait {__version__}"
html_show_sphinx = False
html_static_path, html_css_files = ["_static"], ["wide.css"]
nb_execution_mode = "off"  # the notebook is stored as it ran, and a test runs it
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4  # a link to a heading is checked as on a page of the repository
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_rtype = False
default_role = "code"
smartquotes = False  # options begin with two dashes
