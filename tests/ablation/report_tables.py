"""Reads the tables of a Markdown report back."""

import itertools
import re


def markdown_tables(text: str) -> list[list[list[str]]]:
    """Cells of all tables, without emphasis and escapes."""
    tables = []
    for is_table, lines in itertools.groupby(text.splitlines(), lambda line: line.startswith("|")):
        if is_table:
            cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]
            tables.append(
                [[re.sub(r"\\(.)", r"\1", cell.strip().strip("*")) for cell in row] for row in cells]
            )
    return [[rows[0], *rows[2:]] for rows in tables]
