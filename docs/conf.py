"""How Sphinx builds these pages: `make docs`."""

from __future__ import annotations

from importlib.metadata import version as version_of

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from unlearnbench.operations.listing import listing

project = "unlearnbench"
author = "The unlearnbench authors"
release = version = version_of("unlearnbench")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click"]
myst_heading_anchors = 3
nb_execution_mode = "force"  # the notebook is run at every build, in an empty folder
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 600
default_role = "py:obj"  # so that `Problem` in a docstring is a link
html_theme = "furo"
html_title = f"unlearnbench {release}"
html_show_copyright = False

napoleon_numpy_docstring = False
napoleon_use_ivar = True
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_type_aliases = {"Floats": "Floats", "Integers": "Integers", "Checkpoint": "Checkpoint"}
autodoc_preserve_defaults = True


class Plugins(SphinxDirective):
    """Lists what is installed of a kind, as `unlearnbench list` does: from the docstrings of the plugins."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The rows as sections."""
        text = "\n".join(map(section, listing(self.arguments[0])))
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def section(row: dict[str, object]) -> str:
    """A plugin as markdown."""
    facts = {key: value for key, value in row.items() if key not in ("name", "title", "summary", "notes", "from")}
    options = facts.pop("options")
    assert isinstance(options, dict)
    lines = [f"- {key}: {value}" for key, value in facts.items() if value]
    lines += [f"- options: {', '.join(f'`{key} = {value!r}`' for key, value in options.items())}"] * bool(options)
    title = "" if row["title"] == row["name"] else f" ({row['title']})"
    return "\n".join([f"### `{row['name']}`{title}\n", f"{row['summary']} {row['notes']}\n", *lines, ""])


def setup(app: Sphinx) -> None:
    """Makes the directive known."""
    app.add_directive("plugins", Plugins)
