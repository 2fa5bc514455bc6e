"""Any text as Markdown, HTML and labels of plots; what else the reports ask of it is in tests/ablation/report."""

import io

from matplotlib.figure import Figure

from segkit.system.markup import code_span, escape_html, escape_markdown, plot_label


def test_html():
    assert escape_html("<b a='x' b=\"y\">\x1b&") == "&lt;b a=&#x27;x&#x27; b=&quot;y&quot;&gt;\\x1b&amp;"


def test_markdown_stays_on_one_line():
    assert escape_markdown("a\nb\rc|<i>\x1b") == r"a b\\rc\|&lt;i&gt;\\x1b"


def test_code():
    assert code_span("`b` |\na") == r"`` `b` \| a ``"
    assert code_span("x") == "`x`"


def test_labels_of_plots_are_no_formulas_and_all_in_the_legend():
    names = ["$x$", r"$\frac{", "_hidden", "n" * 300]
    figure = Figure()
    axis = figure.subplots()
    for name in names:
        axis.plot([0, 1], label=plot_label(name))
    legend = axis.legend()
    figure.savefig(io.BytesIO(), format="png")
    shown = [r"\$x\$", r"\$\frac{", " _hidden", "n" * 19 + "..." + "n" * 18]
    assert [text.get_text() for text in legend.get_texts()] == shown
