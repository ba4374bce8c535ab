"""How Sphinx turns the staged sources into the site; `python3 course.py site` stages them."""

from pathlib import Path

from docutils import nodes
from math_core import LatexError, LatexToMathML
from sphinx.util import logging

REPOSITORY = "https://github.com/gmlp-course/gmlp-course"
HERE = Path(__file__).parent

project = "The gMLP course"
author = "The gMLP course authors"
copyright = "the gMLP course authors. Text and pictures: CC BY 4.0; code: MIT"
language = "en"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["included/*"]

# Pages come from the committed notebooks as they are: nothing is run.
nb_execution_mode = "off"
nb_ipywidgets_js = {}  # no page has a live widget, and these would come from the network
nb_merge_streams = True
nb_render_markdown_format = "myst"  # the report of lesson 13 has a table
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
myst_update_mathjax = False

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_custom_sections = ["Shapes"]
napoleon_use_rtype = False
add_module_names = False
autodoc_inherit_docstrings = False  # those of torch.nn.Module tell a reader nothing here
toc_object_entries_show_parents = "hide"

html_theme = "sphinx_book_theme"
html_title = project
html_logo = html_favicon = str(HERE / "_static/icon.svg")
html_static_path = [str(HERE / "_static")]
html_css_files = ["site.css"]
html_copy_source = html_show_sourcelink = html_use_index = html_domain_indices = False
html_show_search_summary = False  # for these, a search would load every page that it finds
html_math_renderer = "mathml"
html_theme_options = {
    "logo": {"text": project, "alt_text": ""},
    # A page has the path of its notebook in the repository, so the buttons find that notebook.
    "repository_url": REPOSITORY,
    "repository_branch": "main",
    "path_to_docs": "",
    "launch_buttons": {
        "notebook_interface": "jupyterlab",
        "binderhub_url": "https://mybinder.org",
        "colab_url": "https://colab.research.google.com",
    },
    "use_repository_button": True,
    "use_issues_button": True,
    "use_download_button": False,
    "navbar_start": [],
    "navbar_end": [],
    "navbar_persistent": [],
    "home_page_in_toc": True,
    "max_navbar_depth": 1,  # deeper levels fold below buttons that have no name to be read out
    "show_toc_level": 2,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}

to_mathml = LatexToMathML()


def visit_math(translator, node):
    """TeX becomes MathML while the site is built: a browser needs no script to show it."""
    block = isinstance(node, nodes.math_block)
    try:
        math = to_mathml.convert_with_local_state(node.astext(), displaystyle=block)
    except LatexError as error:
        text = f"math that math-core cannot read: {node.astext()} ({error})"
        logging.getLogger(__name__).warning(text, location=node)
        raise nodes.SkipNode from None
    # Too wide for its page, an equation scrolls, with a keyboard, too: browsers do not break it.
    if block:
        math = f'<div class="math" tabindex="0">{math}</div>'
    elif len(node.astext()) > 40:
        math = f'<span class="long-math" tabindex="0">{math}</span>'
    translator.body.append(math)
    raise nodes.SkipNode


def find_public_name(app, env, node, content):
    """`gmlp.train` leads to where it is documented: `gmlp.training.train`."""
    import gmlp

    name = node.get("reftarget", "").removeprefix("gmlp.")
    if node.get("refdomain") == "py" and name in gmlp.__all__:
        full = f"{getattr(gmlp, name).__module__}.{name}"
        return env.get_domain("py").resolve_xref(
            env, node["refdoc"], app.builder, node["reftype"], full, node, content
        )
    return None


def setup(app):
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math, None))
    app.connect("missing-reference", find_public_name)
