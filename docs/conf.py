"""Sphinx configuration. Nothing here fetches anything: the pages build without a network."""

import inspect
import sys
from pathlib import Path

import matplotlib as mpl

import fastopt

sys.path.insert(0, str(Path(__file__).parent / "_ext"))
mpl.use("agg")

project = "fastopt"
author = "The fastopt developers"
copyright = "The fastopt developers"
version = release = fastopt.__version__

extensions = [
    "matplotlib.sphinxext.plot_directive",
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_gallery.gen_gallery",
    "example_gallery",
    "dark_figures",
    "data_tables",
    "measured",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "gallery"]  # of which sphinx-gallery makes auto_gallery

autosummary_generate = True
autodoc_typehints = "none"  # numpydoc's types say more, and signatures stay readable
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
# Numpydoc's own checks of the reference; tests/test_docs_examples.py asks for examples.
numpydoc_validation_checks = {
    "GL03",  # double line breaks
    "SS01",  # no summary
    "PR01",  # a parameter that is not documented
    "PR02",  # a documented parameter that is not there
    "RT01",  # no Returns section
}

plot_html_show_source_link = False
plot_html_show_formats = False
plot_formats = [("png", 160)]

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "auto_gallery",
    "filename_pattern": r"\.py$",
    "within_subsection_order": "example_gallery.position",
    "image_scrapers": ("example_gallery.scrape",),
    "reset_modules": ("matplotlib",),
    "abort_on_example_error": True,
    "doc_module": ("fastopt",),
    "backreferences_dir": "api/generated/examples",
    "capture_repr": (),  # what a reader is to see is printed
    "notebook_extensions": set(),
    "download_all_examples": False,
    "remove_config_comments": True,
    "min_reported_time": float("inf"),
    "show_signature": False,
    "write_computation_times": False,
}

html_theme = "pydata_sphinx_theme"
html_title = f"fastopt {release}"
html_static_path = ["_static"]
html_css_files = ["fastopt.css"]
html_show_sourcelink = False
# The first page stands for itself, and these have no pages beside them to list.
html_sidebars = {page: [] for page in ("index", "changelog")}
html_theme_options = {
    "logo": {"text": "fastopt"},
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
    "header_links_before_dropdown": 7,
    "secondary_sidebar_items": {"**": ["page-toc"], "index": []},
    "navbar_align": "left",
    "navbar_persistent": ["search-button"],
}


def own_signature(app, what, name, obj, options, signature, returns):
    """A layer's: Sphinx looks at `__new__`, which takes anything, before it looks at `__init__`."""
    if what == "class" and signature == "(*args, **kwargs)":
        parameters = inspect.signature(obj).parameters.values()
        bare = [each.replace(annotation=inspect.Parameter.empty) for each in parameters]
        return str(inspect.Signature(bare)), returns
    return None


def skipped_member(app, what, name, obj, skip, options):
    """A named tuple's fields say of themselves no more than "Alias for field number 0"."""
    return True if (inspect.getdoc(obj) or "").startswith("Alias for field number") else None


def setup(app):
    app.connect("autodoc-process-signature", own_signature)
    app.connect("autodoc-skip-member", skipped_member)
