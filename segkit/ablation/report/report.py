"""The report of a study: a page, its Markdown, tables for a paper and a spreadsheet, figures."""

from dataclasses import replace
from pathlib import Path

from segkit.ablation.folder import ReportFiles
from segkit.ablation.report.conclusions import describe_variants, list_cautions, read_findings
from segkit.ablation.report.difference_files import render_differences_csv, render_differences_json
from segkit.ablation.report.document import (
    Block,
    Bullets,
    Checks,
    Code,
    Details,
    Document,
    Heading,
    Paragraph,
    Picture,
    Table,
)
from segkit.ablation.report.drawings import draw_all
from segkit.ablation.report.findings import CLASS_REPLICATES, Findings, find_all
from segkit.ablation.report.html_page import render_html
from segkit.ablation.report.latex import render_latex
from segkit.ablation.report.markdown import render_markdown
from segkit.ablation.report.network_table import network_table
from segkit.ablation.report.run_csv import render_csv
from segkit.ablation.report.tables import (
    class_table,
    config_table,
    environment_table,
    main_table,
    metric_table,
    paper_table,
    run_table,
    seed_table,
)
from segkit.ablation.study.study import Study
from segkit.system.files import write_text

LONG_TABLE = 30  # rows beyond which a table is behind a line to click on
LONG_LIST = (
    8  # variants beyond which so are the sentences on each, and the table below them is on the first screen
)


def write_report(study: Study, output: Path, *, pdf: bool = False) -> Path:
    """Score and compare the runs of `study` and write the report of it, see `write_findings`.

    Raises DataError if the runs cannot be compared, ConfigError for a `group_by` that does not fit the images,
    CheckpointError for a damaged examples.npz, CannotWrite.
    """
    return write_findings(find_all(study), output, pdf=pdf)


def write_findings(findings: Findings, output: Path, *, pdf: bool = False) -> Path:
    """Write report.html (returned), .md, .csv, .tex, differences.csv and .json, and figures/ into `output`.

    With `pdf` the figures are there as PDF too, which takes longer than all the rest. Figures of an earlier report that
    this one does not have are removed.

    Raises CheckpointError for a damaged examples.npz, CannotWrite.
    """
    files = ReportFiles(output)
    figures = draw_all(findings, files.figures, pdf=pdf)
    document = number_captions(compose(findings, figures))
    write_text(files.markdown, render_markdown(document))
    metrics = [comparison.metric for comparison in (findings.comparison, *findings.others)]
    write_text(files.csv, render_csv(findings.study, metrics))
    write_text(files.differences_csv, render_differences_csv(findings))
    write_text(files.differences_json, render_differences_json(findings))
    write_text(files.latex, render_latex(paper_tables(findings)))
    write_text(files.page, render_html(document, files.figures))
    return files.page


def paper_tables(findings: Findings) -> list[tuple[str, Table]]:
    """The tables for a paper by label; without that of the classes if it is longer than a page."""
    tables = [("tab:ablation", paper_table(findings)), ("tab:ablation-seeds", seed_table(findings))]
    classes = class_table(findings)
    return tables + [("tab:ablation-classes", classes)] * (len(classes.rows) <= LONG_TABLE)


def compose(findings: Findings, figures: list[Block]) -> Document:
    """The report from top to bottom."""
    blocks = [*_reading(findings), *_scores(findings), Heading("Figures"), *figures]
    blocks += [*_differences(findings), *_setup(findings)]
    return Document(f"Ablation: {findings.study.name}", tuple(blocks))


def _reading(findings: Findings) -> list[Block]:
    cautions, sentences = list_cautions(findings), describe_variants(findings)
    blocks: list[Block] = [Paragraph(read_findings(findings))]
    if cautions:
        blocks.append(Checks(tuple(("warning", text) for text in cautions)))
    if len(sentences) > LONG_LIST:
        return [*blocks, Details(f"Each of the {len(sentences)} variants in words", (Bullets(sentences),))]
    return [*blocks, Bullets(sentences)] if sentences else blocks


def _scores(findings: Findings) -> list[Block]:
    table = class_table(findings)
    classes: Block = table
    if len(table.rows) > LONG_TABLE:
        classes = Details(f"IoU of all {len(findings.class_names)} classes", (table,))
    more = [table for table in (metric_table(findings), network_table(findings)) if table is not None]
    return [Heading("Scores"), main_table(findings), *more, classes]


def _differences(findings: Findings) -> list[Block]:
    table = config_table(findings)
    checks = Checks(tuple((check.level, check.text) for check in findings.checks))
    tables = [] if table is None else [table]
    return [Heading("What differs"), Paragraph(findings.diff.sentence), *tables, Heading("Checks", 3), checks]


def _setup(findings: Findings) -> list[Block]:
    study = findings.study
    blocks: list[Block] = [
        Heading("Set-up"),
        environment_table(study.runs),
        Heading("How the numbers were made", 3),
        Paragraph(f"mIoU: {study.runs[0].definition}"),
        Paragraph(explain_statistics(findings)),
        Paragraph(f"Classes: {', '.join(findings.class_names)}."),
    ]
    if study.command:
        blocks += [Heading("To repeat it", 3), Code(study.command)]
    return [*blocks, Details(f"Folders of the {len(study.runs)} runs", (run_table(study.runs),))]


def explain_statistics(findings: Findings) -> str:
    """How intervals, p and verdicts came about, in one paragraph."""
    comparison, study = findings.comparison, findings.study
    units = "images" if study.group_by is None else f"groups of images (group_by {study.group_by})"
    level = f"{100 * comparison.level:g} %"
    margin = ""
    if comparison.margin is not None:
        points = f"{100 * comparison.margin:g}"
        margin = f" Within the margin: the interval lies between −{points} and +{points} points."
    small = f"{1 - comparison.level:.3g}"
    return (
        "The scores are those of the last evaluation, not of the best. A difference in the score of the whole "
        "set, averaged over seeds, is uncertain for two reasons: other images could have been the test, and other "
        f"seeds could have been trained. From images: a paired bootstrap, {comparison.replicates:,} replicates "
        f"over {comparison.groups:,} {units}, the same draws for both variants, percentiles widened for the number "
        "of units. From seeds: Student's interval, with what scores vary by after a mean for each variant and "
        "each seed, estimated from all variants together; from the baseline by itself, and from the variant's own "
        "pairs with it, if these vary more; and without a variant that varies so much more than the others that an F "
        "test tells. The interval joins both (their half-widths add as squares: MOVER, Zou and Donner 2008), "
        "and p is 1 − level of the interval that just touches 0. p is corrected for the number of comparisons "
        "(Holm), and the interval is widened by as much, so that both always agree. Better or worse: that p is "
        f"below {small}.{margin} Not shown: neither, which says nothing about being equal. Intervals of classes: "
        f"{CLASS_REPLICATES:,} replicates, at {level} each, uncorrected."
    )


def number_captions(document: Document) -> Document:
    """The document with the labels `Table 1`, `Figure 1` ... on all that has a caption, in order of appearance."""
    counts = {"Table": 0, "Figure": 0}

    def number(block: Block) -> Block:
        if isinstance(block, Details):
            return replace(block, blocks=tuple(number(part) for part in block.blocks))
        if not isinstance(block, Table | Picture) or not block.caption:
            return block
        kind = "Table" if isinstance(block, Table) else "Figure"
        counts[kind] += 1
        return replace(block, label=f"{kind} {counts[kind]}")

    return replace(document, blocks=tuple(number(block) for block in document.blocks))
