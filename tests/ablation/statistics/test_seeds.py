"""What seeds do to a difference, against slow obvious versions; SciPy as an oracle."""

import itertools
import math
import statistics

import numpy as np
import pytest

from segkit.ablation.statistics.chance.joint import ImagePart, joint_p
from segkit.ablation.statistics.chance.seeds import (
    find_apart,
    find_seed_effects,
    find_seed_parts,
    find_spreads,
    find_variation,
    put_beside,
)


def draw_scores(variants=4, seeds=3, spread=0.01, seed=0):
    random = np.random.default_rng(seed)
    common = random.normal(0, 0.02, seeds)
    return {
        f"v{v}": {s: 0.5 + 0.01 * v + common[s] + random.normal(0, spread) for s in range(seeds)}
        for v in range(variants)
    }


@pytest.mark.parametrize(("variants", "seeds"), [(2, 2), (2, 5), (4, 3), (7, 4)])
def test_the_mean_square_is_that_of_a_two_way_table(variants, seeds):
    """By the textbook's sums of a full table: what is left after the row's and the column's mean."""
    scores = draw_scores(variants, seeds)
    table = [[row[s] for s in range(seeds)] for row in scores.values()]
    grand = statistics.fmean(itertools.chain(*table))
    rows = [statistics.fmean(row) for row in table]
    columns = [statistics.fmean(column) for column in zip(*table, strict=True)]
    left = [(table[v][s] - rows[v] - columns[s] + grand) ** 2 for v in range(variants) for s in range(seeds)]
    found = find_variation(scores)
    assert found.freedom == (variants - 1) * (seeds - 1)
    assert found.mean_square == pytest.approx(math.fsum(left) / found.freedom, rel=1e-9)


def test_two_variants_are_the_paired_t():
    """Half the variance of the differences, so that sqrt(2 MS / S) is their standard error."""
    stats = pytest.importorskip("scipy.stats")
    scores = draw_scores(2, 5)
    differences = [scores["v1"][s] - scores["v0"][s] for s in range(5)]
    part = find_seed_parts(scores, "v0")["v1"]
    assert part.freedom == 4
    value = statistics.fmean(differences)
    expected = stats.ttest_rel(list(scores["v1"].values()), list(scores["v0"].values())).pvalue
    nothing = ImagePart(np.full(1000, value), value, 1000)
    assert joint_p(value, nothing, part) == pytest.approx(expected, rel=1e-3)


def test_seeds_that_are_missing_leave_fewer_degrees_of_freedom():
    scores = draw_scores(4, 4)
    del scores["v1"][0], scores["v2"][3]
    found = find_variation(scores)
    assert found.freedom == 14 - (4 + 4 - 1)
    assert find_variation({"v0": {0: 0.5}, "v1": {0: 0.6}}) is None
    assert find_variation({"v0": {0: 0.5, 1: 0.6}}) is None  # nothing to tell a seed from a variant by
    assert find_variation({}) is None


def drop_seeds(scores, share, seed):
    """Each score is kept with the probability `share`."""
    random = np.random.default_rng(seed)
    return {v: {s: one for s, one in row.items() if random.random() < share} for v, row in scores.items()}


@pytest.mark.parametrize("share", [0.9, 0.6, 0.3])
def test_with_seeds_missing_it_is_the_fit_with_a_column_for_each_variant_and_seed(share):
    """Also where the seeds of some variants have nothing to do with those of others: their ranks say so."""
    told = 0
    for number in range(60):
        scores = drop_seeds(draw_scores(5, 6, seed=number), share, number)
        place = [(v, s) for v, row in enumerate(scores.values()) for s in row]
        values = np.array([one for row in scores.values() for one in row.values()])
        variant, seed = np.array(place, dtype=int).reshape(-1, 2).T
        design = np.concatenate([np.eye(5)[variant], np.eye(6)[seed]], axis=1)
        fit, _, rank, _ = np.linalg.lstsq(design, values, rcond=None)
        found = find_variation(scores)
        assert (found is None) == (len(values) == rank)
        if found is not None:
            told += 1
            assert found.freedom == len(values) - rank
            square = ((values - design @ fit) ** 2).sum() / found.freedom
            assert found.mean_square == pytest.approx(square, rel=1e-9)
    assert told > 20


def test_what_a_seed_does_is_found_whatever_is_missing():
    scores = {
        v: {s: level + 0.1 * s**2 for s in range(4)} for v, level in (("a", 0.1), ("b", 0.5), ("c", 0.3))
    }
    del scores["a"][3], scores["b"][0]
    effects = find_seed_effects(scores)
    assert [effects[s] - effects[0] for s in range(4)] == pytest.approx([0.0, 0.1, 0.4, 0.9])
    assert sum(effects.values()) == pytest.approx(0.0, abs=1e-12)
    assert find_seed_effects({}) == {}


def test_a_variant_is_never_said_to_vary_less_than_its_own_pairs():
    scores = draw_scores(4, 3)
    scores["v3"] = {0: 0.45, 1: 0.6, 2: 0.5}
    parts = find_seed_parts(scores, "v0")
    own = statistics.stdev([scores["v3"][s] - scores["v0"][s] for s in range(3)]) / math.sqrt(3)
    together = math.sqrt(2 * find_variation(scores).mean_square / 3)
    assert own > together
    assert parts["v3"].standard_error == pytest.approx(own)
    assert parts["v1"].standard_error == pytest.approx(together)
    assert {part.freedom for part in parts.values()} == {6}


def test_one_shared_seed_tells_nothing():
    scores = draw_scores(3, 3)
    scores["v1"] = {0: 0.5, 7: 0.6}
    parts = find_seed_parts(scores, "v0")
    assert parts["v1"] is None and parts["v2"] is not None


def test_the_one_that_varies_is_told_from_the_others():
    scores = draw_scores(5, 5)
    assert max(find_spreads(scores).values()) < 4
    scores["v2"] = {s: score + 0.1 * (s == 3) for s, score in scores["v2"].items()}
    spreads = find_spreads(scores)
    assert max(spreads, key=spreads.get) == "v2" and spreads["v2"] > 4
    assert find_spreads({v: dict.fromkeys(range(3), 0.5) for v in "abc"}) == {}
    same_steps = {v: {s: 0.1 * n + 0.25 * s for s in range(3)} for n, v in enumerate("abc")}
    assert find_spreads({**same_steps, "c": {0: 0.1, 1: 0.2, 2: 0.5}})["c"] == math.inf
    steady = {
        "a": dict.fromkeys(range(3), 0.5),
        "b": dict.fromkeys(range(3), 0.6),
        "c": {0: 0.1, 1: 0.2, 2: 0.5},
    }
    assert find_spreads(steady) == {}  # the others do not vary because they find nothing, say


def test_who_stands_apart_is_not_asked_how_much_others_vary():
    """Beside one that varies a thousand times as much, a hundred times would be as much as the others."""
    scores = stretch(stretch(draw_scores(9, 4), "v3", 100), "v5", 1000)
    spreads = find_spreads(scores, find_apart(scores))
    assert 30 < spreads["v3"] < spreads["v5"] / 3
    assert find_spreads(scores)["v3"] < 4
    assert max(spreads[v] for v in scores if v not in ("v3", "v5")) < 4


# The baseline by itself.


def stretch(scores, variant, times):
    """The scores with one variant that varies so many times as much around what a seed does to it."""
    rows = [row for name, row in scores.items() if name != variant]
    usual = {s: statistics.fmean(row[s] for row in rows) for s in scores[variant]}
    return {**scores, variant: {s: usual[s] + times * (one - usual[s]) for s, one in scores[variant].items()}}


@pytest.mark.parametrize(("variants", "seeds"), [(3, 2), (4, 3), (7, 5)])
def test_what_one_adds_is_its_variance_beside_the_mean_of_the_others(variants, seeds):
    stats = pytest.importorskip("scipy.stats")
    scores = draw_scores(variants, seeds)
    others = {name: row for name, row in scores.items() if name != "v0"}
    found = put_beside(scores["v0"], others)
    number = variants - 1
    rest = [scores["v0"][s] - statistics.fmean(row[s] for row in others.values()) for s in range(seeds)]
    adds, usual = statistics.variance(rest) / (1 + 1 / number), find_variation(others)
    assert found.number == number and found.others == usual
    assert (found.adds.mean_square, found.adds.freedom) == (pytest.approx(adds, rel=1e-9), seeds - 1)
    expected = stats.f.sf(adds / usual.mean_square, seeds - 1, (number - 1) * (seeds - 1))
    assert found.p == pytest.approx(expected, rel=1e-9)
    own = statistics.variance(rest) - usual.mean_square / number
    assert found.own_square == pytest.approx(max(0.0, own), rel=1e-6, abs=1e-15)


@pytest.mark.parametrize("missing", [(), (("v0", 1), ("v2", 3), ("v3", 0))])
def test_chance_adds_as_often_as_it_should(missing):
    """p is uniform where all vary alike, whether seeds are missing or not."""
    chances = []
    for number in range(400):
        scores = draw_scores(4, 4, seed=number)
        for variant, seed in missing:
            del scores[variant][seed]
        others = {name: row for name, row in scores.items() if name != "v0"}
        chances.append(put_beside(scores["v0"], others).p)
    counts, _ = np.histogram(chances, bins=10, range=(0, 1))
    assert (
        (counts - 40.0) ** 2 / 40
    ).sum() < 27.9  # chi squared with 9 degrees of freedom: one in a thousand


def test_a_baseline_that_varies_more_is_taken_by_itself():
    """By hand: its variance and the others' mean square, with degrees of freedom near those of Satterthwaite."""
    scores = stretch(draw_scores(5, 4), "v0", 30)
    one_for_all = 2 * find_variation(scores).mean_square
    others = {name: row for name, row in scores.items() if name != "v0"}
    usual = find_variation(others)
    rest = [scores["v0"][s] - statistics.fmean(row[s] for row in others.values()) for s in range(4)]
    by_itself, shared = statistics.variance(rest), 0.75 * usual.mean_square  # own + MS = rest - MS / 4 + MS
    least = (by_itself + shared) ** 2 / (by_itself**2 / 3 + shared**2 / usual.freedom)
    freedom = least + (12 - least) * (one_for_all / (by_itself + shared)) ** 4
    assert 3 < least < freedom < 4
    for variant, part in find_seed_parts(scores, "v0").items():
        own = statistics.variance(scores[variant][s] - scores["v0"][s] for s in range(4))
        error = max(by_itself + shared, own) / 4
        assert part.standard_error == pytest.approx(math.sqrt(error), rel=1e-9)
        assert part.freedom == pytest.approx(freedom, rel=1e-9)


def test_the_more_the_baseline_varies_the_wider_without_a_jump():
    scores = draw_scores(4, 3, seed=2)
    widths = []
    for times in np.linspace(0, 8, 801):
        parts = find_seed_parts(stretch(scores, "v0", times), "v0")
        widths.append([part.half_width(0.95) for part in parts.values()])
    steps = np.diff(widths, axis=0)
    assert (steps > -1e-12).all()
    assert steps.max() < 0.02 * np.max(widths)


# Who is left out.


def test_who_varies_far_more_widens_nobody_elses_interval():
    """The others are as in a study without it; it is a paired t by itself."""
    stats = pytest.importorskip("scipy.stats")
    scores = stretch(draw_scores(7, 4), "v3", 100)
    without = {name: row for name, row in scores.items() if name != "v3"}
    assert find_apart({name: row for name, row in scores.items() if name != "v0"}) == {"v3"}
    parts = find_seed_parts(scores, "v0")
    alone = parts.pop("v3")
    assert parts == find_seed_parts(without, "v0")
    differences = [scores["v3"][s] - scores["v0"][s] for s in range(4)]
    value = statistics.fmean(differences)
    nothing = ImagePart(np.full(1000, value), value, 1000)
    assert joint_p(value, nothing, alone) == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, rel=1e-3)


def test_several_can_stand_out_one_beside_the_other():
    scores = stretch(stretch(draw_scores(9, 4), "v3", 100), "v5", 1000)
    assert find_apart(scores) == {"v3", "v5"}


def test_chance_leaves_one_out_in_a_study_of_twenty():
    left_out = sum(bool(find_apart(draw_scores(5, 3, seed=number))) for number in range(1000))
    assert 20 <= left_out <= 70


def test_who_cannot_be_told_stays():
    """Two have no third to ask, and beside scores that do not vary at all any other would stand out."""
    assert find_apart(stretch(draw_scores(2, 4), "v0", 100)) == set()
    steady = {"a": dict.fromkeys(range(3), 0.5), "b": dict.fromkeys(range(3), 0.6)}
    assert find_apart({**steady, "c": {0: 0.1, 1: 0.2, 2: 0.5}}) == set()
    assert find_apart({**steady, **draw_scores(3, 3)}) == set()
    assert find_apart({"a": {0: 0.1, 1: 0.2}, "b": {2: 0.1, 3: 0.2}, "c": {4: 0.1, 5: 0.2}}) == set()


def test_scores_that_are_the_same_with_all_seeds_tell_nothing_of_one_that_varies():
    """A class that a single variant finds: as sure as a paired t by itself, however many do not find it."""
    stats = pytest.importorskip("scipy.stats")
    finds = {0: 0.2, 1: 0.3, 2: 0.25}
    scores = {f"v{v}": dict.fromkeys(range(3), 0.0) for v in range(6)} | {"v3": finds}
    parts = find_seed_parts(scores, "v0")
    nothing = ImagePart(np.full(1000, 0.25), 0.25, 1000)
    expected = stats.ttest_1samp(list(finds.values()), 0).pvalue
    assert joint_p(0.25, nothing, parts["v3"]) == pytest.approx(expected, rel=1e-3)
    # And as sure if they find next to nothing, or the same of it.
    scores["v1"], scores["v2"] = {0: 1e-9, 1: 0.0, 2: 3e-9}, {0: 0.0, 1: 2e-9, 2: 0.0}
    assert joint_p(0.25, nothing, find_seed_parts(scores, "v0")["v3"]) == pytest.approx(expected, rel=1e-3)
    scores["v4"] = dict.fromkeys(range(3), 0.5)
    assert joint_p(0.25, nothing, find_seed_parts(scores, "v0")["v3"]) == pytest.approx(expected, rel=1e-3)


# How often it is wrong.


@pytest.mark.parametrize("spreads", [[1] * 7, [3] + [1] * 6, [10] + [1] * 6, [1, 3] + [1] * 5])
def test_few_studies_without_an_effect_call_one_different(spreads):
    """Of 600, give or take three standard errors; with one estimate for all it was 10 and 12 of 100 where the baseline
    (the first) varies 3 and 10 times as much."""
    random = np.random.default_rng(0)
    wrong = 0
    for _ in range(600):
        table = random.normal(size=(7, 3)) * np.array(spreads)[:, None]
        parts = find_seed_parts({f"v{v}": dict(enumerate(row)) for v, row in enumerate(table.tolist())}, "v0")
        differences = table[1:].mean(axis=1) - table[0].mean()
        wrong += any(
            abs(difference) > part.half_width(1 - 0.05 / 6)
            for difference, part in zip(differences, parts.values(), strict=True)
        )
    assert wrong / 600 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 600)
