"""Names in scripts that the usual fonts lack: the font that has them is found, and what stands for them without one."""

import warnings

import numpy as np
import pytest
import torch
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from segkit.evaluation import fonts
from segkit.evaluation.fonts import FontFile, drawable, drawable_text, families, name_fonts, plot_labels
from segkit.runs.recording.plots.confusion import plot_confusion

#: A letter that DejaVu Sans lacks and another font that comes with matplotlib has.
RARE = "\u1d81"
STIX = "STIXGeneral"


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Nothing was looked for, nothing was said, and no font is installed but matplotlib's usual one."""
    monkeypatch.setattr(fonts, "_fonts", {})
    monkeypatch.setattr(fonts, "_said", False)
    monkeypatch.setattr(fonts, "installed_fonts", list)


@pytest.fixture
def stix(monkeypatch):
    path = font_manager.findfont(STIX)
    monkeypatch.setattr(
        fonts, "installed_fonts", lambda: [FontFile("no font", __file__), FontFile(STIX, path)]
    )
    return str(path)


def test_what_the_usual_font_has_stays_as_it_is(capsys):
    names = ["sky", "Straße", "дерево", "δέντρο", "طريق", "a b", "a\u200bb", ""]
    assert drawable(names) == names
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "spelled"),
    [
        ("天空", "U+5929 U+7A7A"),
        ("건물", "geonmul"),
        ("くるま", "kuruma"),
        ("ｓｋｙ２", "sky2"),
        ("सड़क", "saddaka"),
        ("ถนน", "U+0E16 U+0E19 U+0E19"),
        ("天 (sky)", "U+5929 (sky)"),
        ("\ue000", "U+E000"),
    ],
)
def test_a_name_that_no_font_has_is_spelled(name, spelled):
    assert drawable(["sky", name]) == ["sky", spelled]
    assert drawable_text(name) == spelled


def test_what_is_spelled_too_long_or_alike_is_a_number():
    names = ["天" * 9, "건물", "geonmul", "空", "天" * 10]
    assert drawable(names) == ["class 0", "class 1", "geonmul", "U+7A7A", "class 4"]


def test_it_is_said_once_with_the_script_and_what_to_install(capsys):
    drawable(["sky", "天空"])
    drawable(["道路", "ถนน"])
    assert capsys.readouterr().err == (
        "fonts     no installed font has the characters of '天空' (CJK), which pictures show as 'U+5929 U+7A7A' "
        "-> install one that has, such as Noto Sans CJK\n"
    )


def test_the_script_of_another_name(capsys):
    drawable_text("ถนน.png")
    assert "'ถนน.png' (Thai), which" in (said := capsys.readouterr().err)
    assert said.endswith("such as Noto Sans Thai\n")


def test_an_installed_font_is_chosen_for_what_it_alone_has(stix, capsys):
    assert drawable([f"{RARE} road", "天"]) == [f"{RARE} road", "U+5929"]
    assert families() == [STIX]
    assert "'天'" in capsys.readouterr().err, "the other name has its font"


def test_plots_draw_with_it(stix):
    [label] = plot_labels([f"a{RARE}"])

    def draw() -> np.ndarray:
        figure = Figure(figsize=(2, 1))
        canvas = FigureCanvasAgg(figure)
        figure.text(0.1, 0.1, label, fontsize=20)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba()).copy()

    with name_fonts(), warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of a glyph that is missing
        found = draw()
    with pytest.warns(UserWarning, match="missing from font"):
        boxes = draw()
    assert not np.array_equal(found, boxes)


def test_pictures_draw_with_it(stix):
    def draw(write) -> np.ndarray:
        image = Image.new("RGB", (60, 20), "white")
        write(ImageDraw.Draw(image))
        return np.asarray(image)

    font = ImageFont.truetype(stix, 10)
    found = draw(lambda image: fonts.write(image, (2, 3), RARE * 3))
    baseline = 3 + fonts._ascent(10)
    expected = draw(lambda image: image.text((2, baseline), RARE * 3, fill="black", font=font, anchor="ls"))
    assert found.min() < 100 and np.array_equal(found, expected)
    assert fonts.text_width(RARE * 3) == font.getlength(RARE * 3)


def test_pieces_of_a_text_in_two_fonts_follow_each_other(stix):
    pieces = fonts._pieces(drawable_text(f"д a{RARE}б"), 10)
    assert [text for text, _ in pieces] == ["д a", RARE, "б"]
    assert fonts.text_width(f"д a{RARE}б") == sum(font.getlength(text) for text, font in pieces)
    assert fonts.text_width("plain") == ImageFont.load_default(10).getlength("plain")


def test_a_plot_without_any_font_for_its_names_warns_of_nothing(tmp_path):
    names = ["天空", "건물", "सड़क"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_confusion(tmp_path / "a.png", torch.eye(3, dtype=torch.long), names, iteration=1)


def test_installed_fonts_are_one_file_a_family_and_none_that_only_has_boxes(monkeypatch):
    monkeypatch.undo()
    found = fonts.installed_fonts()
    names = [font.family for font in found]
    assert fonts.PLOT_FONT in names and STIX in names
    assert len(set(names)) == len(names) and not any(name.startswith("Last Resort") for name in names)
    [usual] = [font.path for font in found if font.family == fonts.PLOT_FONT]
    assert usual.endswith("DejaVuSans.ttf")
