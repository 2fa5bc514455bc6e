"""What the figures show, as numbers, and that they are drawn whatever the names and numbers are."""

import gc
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from segkit.ablation.report.figures.classes import ClassMap, choose_classes, draw_classes
from segkit.ablation.report.figures.cost import CostPoint, cost_points, draw_cost
from segkit.ablation.report.figures.curves import Curve, Panel, average_curve, draw_curves
from segkit.ablation.report.figures.examples import (
    Answer,
    Example,
    Examples,
    Pictures,
    choose_examples,
    draw_example,
    plan_grid,
)
from segkit.ablation.report.figures.forest import draw_forest, forest_rows, seeds_share
from segkit.ablation.report.figures.paired import draw_paired, seed_lines
from segkit.ablation.report.figures.style import choose_looks, shorten, shorten_all, shorten_to_fit
from segkit.ablation.statistics.difference import Difference, Score
from segkit.evaluation import fonts
from tests.ablation.studies import make_study

MANY = [f"ohem_ce with thresh 0.{n} and <a> $long$ name {n}" for n in range(13)]


def assert_drawn(stem, *, white: bool = True):
    """The picture is there, alone, and has more on it than a frame. Returns its size in inches."""
    assert not stem.with_suffix(".pdf").exists()
    with Image.open(stem.with_suffix(".png")) as picture:
        colors = picture.convert("RGB").getcolors(1 << 24)
        assert len(colors) >= 20
        assert not white or max(colors)[1] == (255, 255, 255)
        return picture.width / 200, picture.height / 200


class FakeRun:
    def __init__(self, **history):
        self.history = {name: (np.array(x), np.array(y, dtype=float)) for name, (x, y) in history.items()}


def test_a_curve_is_the_mean_of_the_seeds_where_all_have_a_value():
    runs = [
        FakeRun(v=([10, 20, 30, 40], [1, 2, 3, np.nan])),
        FakeRun(v=([10, 20, 30, 50], [3, 6, np.inf, 9])),
        FakeRun(v=([5, 10, 20, 30, 40], [0, 8, 1, 1, 1])),
        FakeRun(other=([10], [100])),
    ]
    curve = average_curve("a", runs, "v")
    assert curve.iterations.tolist() == [10, 20]
    assert curve.mean.tolist() == [4, 3]
    assert (curve.low.tolist(), curve.high.tolist()) == ([1, 1], [8, 6])
    assert (curve.variant, curve.seeds) == ("a", 3)


@pytest.mark.parametrize(
    "runs",
    [
        [],
        [FakeRun()],
        [FakeRun(v=([], []))],
        [FakeRun(v=([1], [np.nan]))],
        [FakeRun(v=([1], [1])), FakeRun(v=([2], [1]))],
    ],
)
def test_there_is_no_curve_without_shared_values(runs):
    assert average_curve("a", runs, "v") is None


def test_forest_rows_are_in_points():
    found = Difference(
        "a", 0.012, (-0.003, 0.021), 0.1, 0.2, (0.01, 0.014), (0.006, 0.005), 0.003, "not shown"
    )
    (row,) = forest_rows([found])
    assert (row.variant, row.text, row.verdict) == ("a", "+1.2  [−0.3, +2.1]", "not shown")
    assert [row.value, row.low, row.high, *row.seeds] == pytest.approx([1.2, -0.3, 2.1, 1.0, 1.4])
    assert row.images == pytest.approx((0.6, 1.7))


@pytest.mark.parametrize(
    ("changes", "share"),
    [
        ({}, 9 / 25),
        ({"value": -0.01}, 9 / 10),
        ({"noise": 0.0}, 0.0),
        ({"images": (0.0, 0.0)}, 1.0),
        ({"images": (0.0, 0.0), "noise": 0.0}, None),
        ({"noise": None, "verdict": "one seed"}, None),
        ({"verdict": "identical"}, None),
    ],
)
def test_the_share_of_seeds_is_of_the_square_on_the_side_of_0(changes, share):
    found = Difference("a", 0.01, (0.0, 0.1), 0.1, 0.2, (0.01,), (0.004, 0.001), 0.003, "not shown")
    found = replace(found, **changes)
    assert seeds_share(found) == (None if share is None else pytest.approx(share))
    (row,) = forest_rows([found])
    assert row.from_seeds == seeds_share(found)


def test_a_line_per_seed_has_a_gap_where_a_run_is_missing():
    lines = seed_lines([{0: 0.5, 2: 0.6}, {}, {1: 0.7, 2: 0.8}])
    assert [line.seed for line in lines] == [0, 1, 2]
    assert [line.values for line in lines] == [
        pytest.approx((50, np.nan, np.nan), nan_ok=True),
        pytest.approx((np.nan, np.nan, 70), nan_ok=True),
        pytest.approx((60, np.nan, 80), nan_ok=True),
    ]


@pytest.mark.parametrize(("seeds", "labels"), [(3, 4), (9, 2)])
def test_paired_lines_of_many_variants_with_a_missing_run(tmp_path, monkeypatch, seeds, labels):
    legends = []
    whole = Figure.legend
    monkeypatch.setattr(Figure, "legend", lambda *a, **o: legends.append(a[2]) or whole(*a, **o))
    scores = [{s: 0.5 + 0.01 * s + 0.02 * v for s in range(seeds) if (s, v) != (1, 4)} for v in range(13)]
    draw_paired(seed_lines(scores), MANY, MANY[2], tmp_path / "paired")
    width, height = assert_drawn(tmp_path / "paired")
    assert width == 7.0 and 3 < height < 5
    assert len(legends[0]) == labels and legends[0][-1] == "mean"


def test_cost_points_need_both_numbers():
    score = Score(0.6, 0.01, (0.59, 0.61))
    costs = [
        ("a", Score(3.0, None, (3.0,)), score),
        ("b", None, score),
        ("c", score, None),
        ("d", score, Score(np.nan, None, ())),
    ]
    assert cost_points(costs) == [CostPoint("a", 3.0, 0.0, 60.0, 1.0)]


def make_map(classes: int, variants: int) -> ClassMap:
    iou = np.tile(np.linspace(0.2, 0.9, classes), (variants, 1))
    iou += np.arange(variants)[:, None] * np.linspace(
        0, 0.01, classes
    )  # the later the class, the larger the spread
    iou[:, 1] = np.nan
    names = tuple(f"class {n}" for n in range(classes))
    difference = iou[1:] - iou[0]
    return ClassMap(
        tuple(MANY[:variants]), tuple(MANY[1:variants]), names, iou, difference, difference > 0.005
    )


def test_the_classes_that_differ_most_are_chosen():
    everything = make_map(8, 3)
    everything.iou[0, 2] = 0.0
    chosen = choose_classes(everything, most=3)
    assert chosen.class_names == ("class 2", "class 6", "class 7")
    assert chosen.iou.tolist() == everything.iou[:, [2, 6, 7]].tolist()
    assert chosen.difference.tolist() == everything.difference[:, [2, 6, 7]].tolist()
    assert chosen.clear.tolist() == everything.clear[:, [2, 6, 7]].tolist()
    assert choose_classes(everything, most=8) is everything
    assert "class 1" in choose_classes(everything, most=8).class_names


def test_looks_are_distinct_and_the_baseline_is_dark():
    looks = choose_looks(MANY, MANY[3])
    assert len({(look.color, str(look.dashes), look.marker) for look in looks.values()}) == 13
    assert looks[MANY[3]].color == "#333338"
    assert [name for name, look in looks.items() if look.color == "#333338"] == [MANY[3]]
    others = [name for name in MANY if name != MANY[3]]
    assert choose_looks([*others, MANY[3]], MANY[3])[MANY[0]] == looks[MANY[0]]
    assert len({look.color for name, look in looks.items() if name in others[:6]}) == 6
    many = choose_looks([f"v{number}" for number in range(43)], "v0").values()
    assert len({(look.color, str(look.dashes)) for look in many}) == 43
    assert len({(look.color, look.marker) for look in many}) == 43


def test_a_figure_is_laid_out_and_drawn_once_and_the_collector_is_on_again(tmp_path, monkeypatch):
    drawn = []
    whole = Figure.draw
    monkeypatch.setattr(
        Figure, "draw", lambda self, renderer: drawn.append(gc.isenabled()) or whole(self, renderer)
    )
    draw_cost([CostPoint("ce", 3.0, 0.1, 60.0, 1.0)], choose_looks(["ce"], "ce"), tmp_path / "cost")
    assert drawn == [False]
    assert gc.isenabled()


def test_names_are_shortened_in_the_middle_unless_two_would_be_alike():
    assert shorten("abcdefghij", 10) == "abcdefghij"
    assert shorten("abcdefghij", 7) == "abc…hij"
    assert shorten_all(["abcdefghij", "abcxxfghij", "short"], 7) == ["abcdefghij", "abcxxfghij", "short"]


def test_names_without_a_font_are_spelled(monkeypatch):
    monkeypatch.setattr(fonts, "_fonts", {})
    monkeypatch.setattr(fonts, "_said", True)
    monkeypatch.setattr(fonts, "installed_fonts", list)
    assert shorten_all(["기준", "ce"], 7) == ["gijun", "ce"]
    assert shorten_all(["天" * 9, "ce"], 12) == ["variant 0", "ce"]
    figure = Figure(dpi=100)
    FigureCanvasAgg(figure)
    wide = shorten_to_fit(
        figure, ["天" * 9, "ce"], 3.0, size=9
    )  # what is measured is what is drawn, without a warning
    assert wide == ["variant 0", "ce"]


@pytest.mark.heavy
def test_the_figures_of_many_variants_with_long_names(tmp_path):
    looks = choose_looks(MANY, MANY[0])
    found = [
        Difference(name, 0.01, (-0.01, 0.02), 0.1, 0.2, (0.01, 0.014), (0.004, 0.004), 0.003, "better")
        for name in MANY[1:]
    ]
    draw_forest(forest_rows(found), MANY[0], 0.95, looks, tmp_path / "forest")
    x = np.arange(1, 6)
    curves = tuple(Curve(name, x, x * 0.1, x * 0.1 - 0.05, x * 0.1 + 0.02, 3) for name in MANY)
    draw_curves([Panel("one", curves, percent=True)], looks, tmp_path / "curves")
    draw_cost(
        [CostPoint(name, 3.0 + n, 0.1, 60.0, 1.0) for n, name in enumerate(MANY)], looks, tmp_path / "cost"
    )
    for stem in ("forest", "curves", "cost"):
        width, height = assert_drawn(tmp_path / stem)
        assert width == 7.0
        assert 3.5 < height < 8


@pytest.mark.heavy
def test_class_maps_are_side_by_side_or_below_each_other(tmp_path):
    draw_classes(make_map(4, 3), tmp_path / "few")
    draw_classes(make_map(4, 13), tmp_path / "many")
    draw_classes(make_map(4, 1), tmp_path / "alone")
    few, many, alone = (assert_drawn(tmp_path / stem) for stem in ("few", "many", "alone"))
    assert few[1] == pytest.approx(alone[1], abs=0.5)
    assert many[1] > 1.8 * few[1]
    assert many[0] < 11.2


def example_of(*predictions, kept=None) -> Example:
    target = np.array([[0, 1], [255, 1]])
    answers = tuple(Answer(f"v{n}", np.array(p), kept) for n, p in enumerate(predictions))
    return Example("a.png", np.zeros((2, 2, 3), np.uint8), target, answers)


def test_disagreement_is_over_labelled_pixels():
    same = [[0, 1], [1, 1]]
    assert example_of(same, same).disagreement(255) == 0
    assert example_of(same, [[0, 1], [0, 1]]).disagreement(255) == 0  # only where it is ignored
    assert example_of(same, [[0, 0], [0, 1]], [[1, 0], [0, 1]]).disagreement(255) == pytest.approx(2 / 3)


def test_the_images_that_variants_disagree_on_most_are_chosen(tmp_path):
    study = make_study(tmp_path, seeds=(0,))
    chosen = choose_examples(study.runs)
    assert len(chosen.examples) == 4
    everything = choose_examples(study.runs, most=100)
    shares = {example.name: slow_disagreement(study, number) for number, example in enumerate(
        sorted(everything.examples, key=lambda example: example.name)
    )}  # fmt: skip
    assert len(shares) == 6
    assert [example.name for example in chosen.examples] == sorted(shares, key=lambda name: -shares[name])[:4]
    assert [answer.variant for answer in chosen.examples[0].answers] == list(study.variants)
    assert chosen.iterations == (600,)
    ce, ohem = chosen.examples[0].answers[:2]
    assert ce.kept is None
    assert ohem.kept.max() == 1.0


def slow_disagreement(study, number: int) -> float:
    """Pixel by pixel."""
    arrays = [np.load(run.folder / "examples.npz") for run in study.runs]
    target = arrays[0][f"target_{number}"]
    predictions = [content[f"prediction_{number}"] for content in arrays]
    valid = [place for place in np.ndindex(target.shape) if target[place] != 255]
    return sum(len({int(prediction[place]) for prediction in predictions}) > 1 for place in valid) / len(
        valid
    )


def test_runs_without_pictures_are_named(tmp_path):
    study = make_study(tmp_path, seeds=(0,))
    (study.runs[1].folder / "examples.npz").unlink()
    chosen = choose_examples(study.runs)
    assert chosen.without == ("ohem_ce",)
    assert [answer.variant for answer in chosen.examples[0].answers] == [
        "ce",
        "bootstrapped_ce",
        "weighted_mask_ce",
    ]
    for run in study.runs:
        (run.folder / "examples.npz").unlink(missing_ok=True)
    assert choose_examples(study.runs).examples == ()
    assert choose_examples(study.runs).without == study.variants


def test_a_grid_has_bands_of_at_most_five_variants():
    wide = Example("a", np.zeros((20, 40, 3), np.uint8), np.zeros((20, 40)), tuple(
        Answer(name, np.zeros((20, 40)), None) for name in MANY
    ))  # fmt: skip
    grid = plan_grid(wide, legend=0.3)
    assert (grid.bands, grid.rows, grid.columns) == (3, 2, 7)
    assert grid.size[0] == pytest.approx(7.0)
    assert grid.panel[1] == grid.panel[0] / 2
    boxes = [grid.box(band, row, column) for band in range(3) for row in range(2) for column in range(7)]
    for n, (left, bottom, width, height) in enumerate(boxes):
        assert (
            left >= 0
            and left + width <= 1 + 1e-9
            and bottom >= 0.3 / grid.size[1] - 1e-9
            and bottom + height <= 1
        )
        for other_left, other_bottom, _, _ in boxes[:n]:
            assert abs(left - other_left) >= width or abs(bottom - other_bottom) >= height


def test_a_large_image_is_reduced(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, size=(900, 1200, 3), dtype=np.uint8)
    answer = Answer("ce", noise[..., 0] % 2, noise[..., 2] / 255)
    example = Example("a.png", noise, noise[..., 1] % 2, (answer,))
    chosen = Examples((example,), ((0, 0, 0), (230, 159, 0)), 255, (600,), ())
    pictures = Pictures(example, chosen)
    assert pictures.image().tolist() == noise[::2, ::2].tolist()
    assert (pictures.label()[..., 0] == 230).tolist() == (noise[::2, ::2, 1] % 2 == 1).tolist()
    wrong = (noise[..., 0] % 2 != noise[..., 1] % 2)[::2, ::2]
    assert (pictures.errors(answer) == (230, 30, 40)).all(axis=-1).tolist() == wrong.tolist()
    assert pictures.prediction(answer).shape == pictures.kept(answer).shape == (450, 600, 3)
    draw_example(example, chosen, ("background", "thing"), tmp_path / "example")
    assert_drawn(tmp_path / "example", white=False)
