"""Markdown, HTML and LaTeX of one small document, and what they make of names full of special characters."""

import re
from html.parser import HTMLParser

import pytest

from segkit.ablation.report import latex
from segkit.ablation.report.document import (
    Bullets,
    Cell,
    Checks,
    Code,
    Details,
    Document,
    Heading,
    Paragraph,
    Picture,
    Table,
    plain_row,
)
from segkit.ablation.report.html_page import render_html
from segkit.ablation.report.markdown import escape, render_markdown

NASTY = r"<b>a_b</b> & $x$ | 50% _x_ `*` [a](b) #~^\{} 'q' " + '"w"'
TABLE = Table(
    ("variant", "mIoU"),
    ((Cell("ce"), Cell("60.4 ± 0.5")), (Cell("a|b"), Cell("−1.2", strong=True))),
    caption="Scores.",
    note="A note.",
    label="Table 1",
)


def render_body(*blocks, folder=None) -> tuple[str, str]:
    document = Document("T", blocks)
    return render_markdown(document).split("\n", 2)[2], render_html(document, folder)


class Texts(HTMLParser):
    """The texts between tags, and a check that tags are closed in order."""

    def __init__(self, page: str):
        super().__init__()
        self.open, self.texts, self.broken = [], [], False
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.broken = tag == "wbr"  # the text goes on
        if tag not in ("meta", "img", "wbr"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.broken:
            data = self.texts.pop() + data
        self.broken = False
        self.texts.append(data)


def test_markdown_of_a_table():
    markdown, _ = render_body(TABLE)
    assert markdown == (
        "**Table 1.** Scores.\n\n"
        "| variant | mIoU |\n| :--- | ---: |\n| ce | 60.4 ± 0.5 |\n| a\\|b | **−1.2** |\n\nA note.\n"
    )


def test_html_of_a_table():
    _, page = render_body(TABLE)
    assert (
        '<figure class="table"><figcaption><b>Table 1.</b> Scores.</figcaption><div class="wide"><table>'
        in page
    )
    assert '<thead><tr><th class="words">variant</th><th>mIoU</th></tr></thead>' in page
    assert '<tr><td class="words">a|b</td><td><strong>−1.2</strong></td></tr>' in page
    assert "font-variant-numeric: tabular-nums" in page


def test_a_wide_page_part_scrolls_in_its_own_box_under_a_shadow_and_is_whole_in_print():
    _, page = render_body(TABLE)
    style, _, printed = page.partition("</style>")[0].partition("@media print")
    assert ".wide { overflow-x: auto;" in style and style.count(" local") == style.count(" scroll,") + 1 == 2
    assert "position: sticky" in style and "@media (max-width: 640px)" in style
    assert ".wide { overflow: visible; background: none; }" in printed and "position: static" in printed
    assert "min-width: 0 !important" in printed


def test_names_break_where_their_words_end():
    _, page = render_body(Table(("a_b", "c_d"), (plain_row("ohem_ce.thresh-0.7", "1_2"),)))
    assert '<td class="words">ohem_<wbr>ce.<wbr>thresh-<wbr>0.<wbr>7</td><td>1_2</td>' in page
    assert '<th class="words">a_<wbr>b</th><th>c_d</th>' in page


def test_latex_of_a_table():
    text = latex.render_latex([("tab:x", TABLE)])
    assert text.split("\n", 1)[1] == (
        "\\begin{table*}[t]\n\\centering\n\\footnotesize\n\\setlength{\\tabcolsep}{3pt}\n\\caption{Scores.}\n"
        "\\label{tab:x}\n\\medskip\n\\begin{tabular}{lr}\n\\toprule\nvariant & mIoU \\\\\n\\midrule\n"
        "ce & 60.4 \\ensuremath{\\pm} 0.5 \\\\\na\\ensuremath{|}b & \\textbf{\\ensuremath{-}1.2} \\\\\n"
        "\\bottomrule\n\\end{tabular}\n\\end{table*}\n"
    )


def test_latex_does_not_read_a_bracket_as_an_option():
    text = latex.render_latex([("t", Table(("a",), (plain_row("[x]"), plain_row("*y"))))])
    assert "{[x]} \\\\" in text and "{*y} \\\\" in text


def test_control_characters_are_shown_in_every_format():
    name = "a\x1b[31m\u202eb\r\x07"
    markdown, page = render_body(Table(("class",), (plain_row(name),)), Code(f"{name}\nx"))
    text = latex.render_latex([("t", Table(("class",), (plain_row(name),)))])
    for rendered in (markdown, page, text):
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", rendered)
    assert "| a\\\\x1b[31m\\\\u202eb\\\\r\\\\x07 |" in markdown
    assert "a\\x1b[31m\\u202eb\\r\\x07\nx" in markdown and "a\\x1b[31m" in page
    assert r"a\textbackslash{}x1b[31m\textbackslash{}u202eb" in text


def test_every_block_is_rendered(tmp_path):
    (tmp_path / "f.png").write_bytes(b"\x89PNG" + bytes(12) + (1400).to_bytes(4) + b"rest")
    markdown, page = render_body(
        Heading("H"),
        Paragraph("p"),
        Bullets(("one", "two")),
        Checks((("ok", "fine"), ("warning", "hm"), ("error", "no"))),
        Code("python x.py --a='b'"),
        Picture("f", "What it shows.", "alt", label="Figure 1", pdf=True),
        Details("more", (Paragraph("inside"),)),
        folder=tmp_path,
    )
    assert markdown == (
        "## H\n\np\n\n- one\n- two\n\n- ✓ fine\n- ⚠ hm\n- ✗ no\n\n```\npython x.py --a='b'\n```\n\n"
        "![alt](figures/f.png)\n\n**Figure 1.** What it shows. ([PDF](figures/f.pdf))\n\n"
        "<details>\n<summary>more</summary>\n\ninside\n\n</details>\n"
    )
    for part in (
        "<h2>H</h2>",
        "<ul><li>one</li><li>two</li></ul>",
        '<li class="warning"><b>⚠</b><span>hm</span></li>',
        "<pre><code>python x.py --a=&#x27;b&#x27;</code></pre>",
        '<figure><div class="wide"><img src="data:image/png;base64,',
        'style="max-width: 944px; min-width: 604px" alt="alt"></div>',
        "</div><figcaption><b>Figure 1.</b> What it shows.</figcaption></figure>",
        "<details>\n<summary>more</summary>\n<p>inside</p>\n</details>",
    ):
        assert part in page
    assert Texts(page).texts


@pytest.mark.parametrize("place", ["title", "paragraph", "cell", "column", "bullet", "summary", "caption"])
def test_html_shows_any_text_as_it_is(place):
    blocks = {
        "paragraph": Paragraph(NASTY),
        "cell": Table(("a",), (plain_row(NASTY),)),
        "column": Table((NASTY,), (plain_row("x"),)),
        "bullet": Bullets((NASTY,)),
        "summary": Details(NASTY, ()),
        "caption": Table(("a",), (), caption=NASTY),
    }
    blocks = (blocks[place],) if place in blocks else ()
    page = render_html(Document(NASTY if place == "title" else "T", blocks), None)
    assert NASTY in Texts(page).texts


def unescape(markdown: str) -> str:
    """What a reader of Markdown sees."""
    text = re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", markdown)
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def test_markdown_escapes_what_would_be_markup():
    assert escape("a_b ohem_ce_2 [0.1, 0.2] 5 % -1") == "a_b ohem_ce_2 [0.1, 0.2] 5 % -1"
    assert escape("_x_ *y* `z` <b> a|b [a](b) $m$ ~~s~~ & \\") == (
        r"\_x\_ \*y\* \`z\` &lt;b&gt; a\|b [a\](b) \$m\$ \~\~s\~\~ &amp; \\"
    )
    assert [escape(text) for text in ("# a", "- a", "1. a", "a\nb")] == [r"\# a", r"\- a", r"1\. a", "a b"]
    assert unescape(escape(NASTY)) == NASTY


def test_a_cell_with_pipes_stays_one_cell():
    markdown, _ = render_body(Table(("a", "b"), (plain_row("x|y||z", "1"),)))
    row = markdown.splitlines()[-1]
    cells = [unescape(cell.strip()) for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
    assert cells == ["x|y||z", "1"]


def test_a_fence_is_longer_than_the_fences_in_it():
    markdown, _ = render_body(Code("a ``` b"))
    assert markdown == "````\na ``` b\n````\n"


def test_latex_escapes_every_special_character():
    assert latex.escape(r"a_b 50% #1 $x$ & {y} ~^\ <|> ± − Δ … – `" + '"') == (
        r"a\_b 50\% \#1 \$x\$ \& \{y\} \textasciitilde{}\textasciicircum{}\textbackslash{} "
        r"\ensuremath{<}\ensuremath{|}\ensuremath{>} \ensuremath{\pm} \ensuremath{-} \ensuremath{\Delta} \ldots{} -- "
        r"\textasciigrave{}''"
    )


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match="a row of 1 cells in a table of 2 columns"):
        Table(("a", "b"), (plain_row("x"),))


def test_selected_columns_keep_their_cells_and_sides():
    table = Table(("a", "b", "c"), (plain_row("1", "2", "3"),), left=2, caption="C", note="n")
    chosen = table.select(("a", "c"))
    assert chosen == Table(("a", "c"), (plain_row("1", "3"),), left=1, caption="C", note="n")
