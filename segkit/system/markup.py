"""Plain text, names from data among it, as Markdown, HTML and labels of a plot that show exactly that text."""

import html
import re

from segkit.system.printable import printable, show_class


def escape_html(text: str) -> str:
    """The text for an element or an attribute in quotes."""
    return html.escape(printable(text))


def escape_markdown(text: str) -> str:
    """The text on one line, for a paragraph, an item or a cell of a table."""
    text = printable(text.replace("\n", " "), keep="\t")
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*|$~])", r"\\\1", text)
    text = re.sub(r"\](?=[(\[:])", r"\\]", text)  # would make a link of the brackets before it
    text = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", text)  # inside a word it emphasises nothing
    return re.sub(r"^(\s*\d*)([#+.)-])(?=#*\s)", r"\1\\\2", text)  # would begin a heading or a list


def code_span(text: str) -> str:
    """The text on one line as code, in a table too."""
    text = printable(text.replace("\n", " "), keep="\t").replace("|", r"\|")
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{space}{text}{space}{fence}"


def plot_label(name: str) -> str:
    """The name of a class for matplotlib, which else reads $ as a formula and leaves a leading _ out of a legend."""
    text = show_class(name).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text
