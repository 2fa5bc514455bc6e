r"""Tables for a paper: LaTeX that needs \usepackage{booktabs} and nothing else."""

from segkit.ablation.report.document import Cell, Table
from segkit.system.printable import printable

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\ensuremath{<}",
    ">": r"\ensuremath{>}",
    "|": r"\ensuremath{|}",
    "±": r"\ensuremath{\pm}",
    "−": r"\ensuremath{-}",
    "Δ": r"\ensuremath{\Delta}",
    "–": "--",
    "…": r"\ldots{}",
    '"': "''",
    "`": r"\textasciigrave{}",
    "\n": " ",
    "\t": " ",
}


def escape(text: str) -> str:
    r"""Plain text as LaTeX that typesets exactly that text; control characters as escapes such as \x1b."""
    return "".join(_SPECIAL.get(character, character) for character in printable(text))


def render_latex(tables: list[tuple[str, Table]]) -> str:
    """Each (label, table) as a floating table, with the caption above it."""
    head = "% Needs \\usepackage{booktabs}. table* spans both columns of a page and is table where there is one.\n"
    return head + "\n".join(_render(label, table) for label, table in tables)


def _render(label: str, table: Table) -> str:
    alignment = "l" * table.left + "r" * (len(table.columns) - table.left)
    lines = [
        r"\begin{table*}[t]",
        r"\centering",
        r"\footnotesize",
        r"\setlength{\tabcolsep}{3pt}",
        rf"\caption{{{escape(table.caption)}}}",
        rf"\label{{{label}}}",
        r"\medskip",
        rf"\begin{{tabular}}{{{alignment}}}",
        r"\toprule",
        _row([escape(name) for name in table.columns]),
        r"\midrule",
        *(_row([_cell(cell) for cell in row]) for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table*}",
    ]
    return "\n".join(lines) + "\n"


def _row(texts: list[str]) -> str:
    # A bracket or a star right after the \\ of the line before would be read as its optional argument.
    first = f"{{{texts[0]}}}" if texts[0].startswith(("[", "*")) else texts[0]
    return " & ".join([first, *texts[1:]]) + r" \\"


def _cell(cell: Cell) -> str:
    text = escape(cell.text)
    return rf"\textbf{{{text}}}" if cell.strong and text else text
