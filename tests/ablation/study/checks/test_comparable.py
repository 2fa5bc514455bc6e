"""Every reason against comparing runs is found and said, and nothing is said without one."""

from dataclasses import replace

import numpy as np
import pytest

from segkit.ablation.statistics.run_counts import count_matrices
from segkit.ablation.study.checks.comparable import check_comparable
from tests.ablation.run_folders import IMAGES, LABELS, fake_run, matrices, study_of

CE = "loss={name: ce}"


def sound(*changed, seeds=(0, 1), **fields):
    """A study of ohem and ce with nothing against it, with the runs `changed` in the places of theirs."""
    runs = {("ohem", seed): fake_run("ohem", seed) for seed in seeds}
    runs |= {("ce", seed): fake_run("ce", seed, CE) for seed in seeds}
    runs |= {(run.variant, run.seed): run for run in changed}
    return study_of(*runs.values(), **fields)


def texts(study, level):
    return [finding.text for finding in check_comparable(study) if finding.level == level]


def problems(study):
    """(level, text) of everything that is not fine."""
    return [(found.level, found.text) for found in check_comparable(study) if found.level != "ok"]


def test_nothing_against_it():
    study = sound(seeds=(0, 1, 2))
    assert problems(study) == []
    assert texts(study, "ok") == [
        "classes: the same 3 in all runs",
        "validation images: the same 4, in the same order, in all runs",
        "validation labels: the same pixels of each class in every image",
        "mIoU: the same definition in all runs",
        "seed 0, 1, 2: in all variants",
        "data: the same fingerprint, da7a, in all runs",
        "seed 0, 1, 2: identical initial weights in all variants",
        "seed 0, 1, 2: identical order of training images in all variants",
        "seed 0, 1, 2: identical first batch after augmentation in all variants",
        "length: 20 iterations = 80 images in all runs",
        "last evaluation: at the end of training in all runs",
        "code: segkit 0.1.0 in all runs",
        "machine: torch 2.9.0 on EPYC in all runs",
    ]


def test_no_run_at_all():
    study = study_of(variants=("ohem",), baseline="ohem", runs=(), missing=("ohem-seed0: failed",))
    first, second = check_comparable(study)
    assert (first.level, first.text, first.refuses) == ("error", "there is no finished run to compare", True)
    assert (second.level, second.text) == ("warning", "missing: ohem-seed0: failed")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"class_names": ("background", "circle", "disc")},
            "classes: background, circle, disc in ce (seed 1); background, circle, square in ohem (seed 0, 1) and "
            "ce (seed 0) -> compare runs with one list of classes",
        ),
        (
            {"image_names": IMAGES[::-1]},
            "validation images: another order in ce (seed 1) than in ohem (seed 0, 1) and ce (seed 0), so they cannot "
            "be paired -> score all on the same images",
        ),
        (
            {"image_names": (*IMAGES[:3], "val/9")},
            "validation images: others (with val/9) in ce (seed 1) than in ohem (seed 0, 1) and ce (seed 0), so they "
            "cannot be paired -> score all on the same images",
        ),
        (
            {"image_names": IMAGES[:3], "matrices": matrices()[:3]},
            "validation images: others (3 instead of 4, without val/3) in ce (seed 1) than in ohem (seed 0, 1) and "
            "ce (seed 0), so they cannot be paired -> score all on the same images",
        ),
        (
            {"matrices": matrices(1, LABELS + np.array([[0] * 3, [0] * 3, [1, 0, 0], [0, 2, 0]]))},
            "validation labels: others in ce (seed 1) than in ohem (seed 0), for 2 of 4 images, first val/2"
            " -> score all against the same labels, at the same size",
        ),
        (
            {"definition": "Another mIoU."},
            "mIoU: defined otherwise in ce (seed 1) than in ohem (seed 0, 1) and ce (seed 0)\n"
            "   Another mIoU.\n"
            "   the mIoU of these tests.\n"
            "   -> score them again with one segkit: python scripts/evaluate.py --weights RUN --per-image",
        ),
    ],
)
def test_what_leaves_no_number_with_a_meaning(changes, text):
    study = sound(fake_run("ce", 1, CE, **changes))
    first = check_comparable(study)[0]
    assert (first.level, first.text, first.refuses) == ("error", text, True)
    assert len(problems(study)) == 1
    fine = [text.partition(":")[0] for text in texts(study, "ok")]
    assert ("validation labels" in fine) == ("definition" in changes)


def test_other_labels_name_the_setting_that_made_them():
    data = {**fake_run("ce").config["data"], "resize": [90, 120]}
    run = fake_run("ce", 1, CE)
    other = matrices(1, LABELS // 2)
    study = sound(fake_run("ce", 1, CE, matrices=other, config={**run.config, "data": data}))
    (text,) = [text for text in texts(study, "error") if text.startswith("validation labels")]
    assert "first val/0 (data.resize is [90, 120] and null) -> score all" in text


def test_runs_that_were_scored_again_at_another_size():
    data = {**fake_run("ce").config["data"], "resize": [90, 120]}
    resized = replace(fake_run("ce", 1, CE), config={**fake_run("ce", 1, CE).config, "data": data})
    again = replace(resized, counts=count_matrices(matrices(1, LABELS // 2)), scored_at="original")
    first = replace(resized, variant="ohem", seed=0)
    (text,) = [text for text in texts(sound(again, first), "error") if text.startswith("validation labels")]
    assert "(at the size of their files and resized to 90 x 120) -> score all" in text


def test_other_predictions_are_no_other_labels():
    assert problems(sound(fake_run("ce", 1, CE, matrices=matrices(5)))) == []


def test_the_runs_of_a_variant_must_be_of_one_configuration():
    study = sound(fake_run("ce", 1, CE, "optimizer.lr=0.2"))
    assert problems(study) == [
        (
            "error",
            "the runs of ce differ in more than the seed: optimizer.lr is 0.1 (seed 0), 0.2 (seed 1)"
            " -> train them with one configuration",
        )
    ]


def test_a_variant_without_runs():
    study = sound(variants=("ohem", "ce", "dice"), missing=("dice-seed0: failed",))
    assert problems(study) == [
        ("warning", "missing: dice-seed0: failed"),
        ("warning", "dice has no finished run, so nothing is said of it -> train it"),
    ]


def test_a_baseline_without_runs():
    study = sound(baseline="dice", variants=("ohem", "ce", "dice"))
    (found,) = [found for found in check_comparable(study) if found.level != "ok"]
    assert found.refuses
    assert found.text == "the baseline dice has no finished run -> train it, or choose another baseline"


def test_a_missing_seed():
    study = study_of(fake_run("ohem", 0), fake_run("ohem", 1), fake_run("ce", 1, CE), fake_run("ce", 2, CE))
    assert problems(study) == [
        (
            "warning",
            "ce has seed 1, 2, the baseline ohem seed 0, 1; the difference is of seed 1 only"
            " -> train the missing seeds",
        )
    ]


def test_no_shared_seed():
    (found,) = [
        found
        for found in check_comparable(study_of(*(fake_run("ohem", s) for s in (0, 1)), fake_run("ce", 2, CE)))
        if found.level != "ok"
    ]
    assert found.refuses
    assert found.text == (
        "ce has seed 2, the baseline ohem seed 0, 1; none is shared -> train both with the same seeds"
    )


def test_one_seed():
    assert problems(sound(seeds=(0,))) == [
        ("warning", "one seed: the spread between seeds is unknown -> train with two more seeds")
    ]


def test_other_data_with_the_same_configuration():
    run = fake_run("ce", 1, CE, fingerprints={"data": "0ther"})
    assert problems(sound(run)) == [
        (
            "error",
            "data: not the same in ce (seed 1) as in ohem (seed 0, 1) and ce (seed 0) (fingerprint 0ther, not da7a) "
            "although the configuration is the same: files were added, removed or changed"
            " -> train all on the same files",
        )
    ]
    assert not any(found.refuses for found in check_comparable(sound(run)))


def test_other_data_by_configuration():
    noisy = [
        fake_run("ce", seed, CE, "data.label_noise=0.1", fingerprints={"data": "0ther"}) for seed in (0, 1)
    ]
    assert problems(sound(*noisy)) == [
        (
            "warning",
            "data: not the same in ce (seed 0, 1) as in ohem (seed 0, 1), as data.label_noise differs"
            " -> see that this is meant",
        )
    ]


def test_a_weight_map_is_no_reason_for_other_data():
    runs = [
        fake_run("ce", seed, "data.weight_map={name: boundary}", fingerprints={"data": "0ther"})
        for seed in (0, 1)
    ]
    assert [level for level, _ in problems(sound(*runs))] == ["error"]


@pytest.mark.parametrize(
    ("fingerprint", "words", "advice"),
    [
        (
            "initial_weights",
            "initial weights",
            "expected only of a loss for one channel (bce); otherwise train them again with one version of torch",
        ),
        (
            "training_order",
            "order of training images",
            "train them again with one version of segkit and torch",
        ),
        (
            "first_batch",
            "first batch after augmentation",
            "train them again with one version of segkit and torch",
        ),
    ],
)
def test_another_beginning_that_nothing_explains(fingerprint, words, advice):
    study = sound(fake_run("ce", 1, CE, fingerprints={fingerprint: "0ther"}))
    assert problems(study) == [
        (
            "warning",
            f"{words}: not the same in ce (seed 1) as in ohem (seed 1), and no setting explains it -> {advice}",
        )
    ]
    assert f"seed 0: identical {words} in all variants" in texts(study, "ok")


@pytest.mark.parametrize(
    ("fingerprint", "words", "override", "reason"),
    [
        ("initial_weights", "initial weights", "model.width=16", "model.width differs"),
        ("training_order", "order of training images", "data.train_size=16", "data.train_size differs"),
        (
            "first_batch",
            "first batch after augmentation",
            "augment={name: standard, crop_size: 64, hflip: 0, vflip: 0.5}",
            "augment.hflip and augment.vflip differ",
        ),
    ],
)
def test_another_beginning_that_the_configuration_explains(fingerprint, words, override, reason):
    overrides = [override, "augment.scale=[0.75, 1.5]"] if "augment" in override else [override]
    runs = [fake_run("ce", s, *overrides, fingerprints={fingerprint: f"0ther{s}"}) for s in (0, 1)]
    study = sound(*runs)
    assert problems(study) == []
    assert f"{words}: not the same in ce (seed 0, 1) as in ohem (seed 0, 1), as {reason}" in texts(
        study, "ok"
    )


def test_the_loss_explains_no_other_beginning():
    runs = [fake_run("ce", seed, CE, fingerprints={"first_batch": "0ther"}) for seed in (0, 1)]
    assert [level for level, _ in problems(sound(*runs))] == ["warning"]


def test_a_seed_that_one_variant_has_alone_is_no_pair():
    study = study_of(fake_run("ohem", 0), fake_run("ohem", 1), fake_run("ce", 0, CE))
    assert "seed 0: identical initial weights in all variants" in texts(study, "ok")


def test_runs_of_an_older_segkit_have_no_fingerprints():
    run = fake_run("ce", 1, CE)
    old = fake_run("ce", 1, CE)
    object.__setattr__(old, "fingerprints", {})
    assert [text for _, text in problems(sound(old))] == [
        f"{words}: not known of ce (seed 1): an older segkit noted none -> train again to be sure"
        for words in (
            "data",
            "initial weights",
            "order of training images",
            "first batch after augmentation",
        )
    ]
    assert problems(sound(run)) == []


def test_another_length():
    run = fake_run("ce", 1, CE, summary={"iterations": 40}, iteration=40)
    assert problems(sound(run)) == [
        (
            "warning",
            "length: 40 iterations = 160 images in ce (seed 1); 20 iterations = 80 images in ohem (seed 0, 1) and "
            "ce (seed 0) -> train all equally long",
        )
    ]


def test_as_many_iterations_of_larger_batches_are_more_images():
    for override in ("train.batch_size=8", "train.accumulate=2"):
        runs = [fake_run("ce", seed, CE, override) for seed in (0, 1)]
        (level, text), *others = problems(sound(*runs))
        assert (level, others) == ("warning", [])
        assert text.startswith("length: 20 iterations = 160 images in ce (seed 0, 1); ")


def test_an_evaluation_before_the_end():
    assert problems(sound(fake_run("ce", 1, CE, iteration=10))) == [
        (
            "warning",
            "last evaluation: that of ce (seed 1) is of iteration 10 of 20"
            " -> python scripts/evaluate.py --per-image --weights runs/ce-seed1/TIME",
        )
    ]


@pytest.mark.parametrize(
    ("env", "text"),
    [
        (
            {"torch": "2.8.0"},
            "torch: 2.9.0 in ohem (seed 0, 1) and ce (seed 0); 2.8.0 in ce (seed 1)"
            " -> compare no speed between them; scores can differ in the last digits",
        ),
        (
            {"gpus": ["NVIDIA H200", "NVIDIA H200"]},
            "GPU: none in ohem (seed 0, 1) and ce (seed 0); NVIDIA H200 in ce (seed 1)"
            " -> compare no speed between them; scores can differ in the last digits",
        ),
        (
            {"threads": 8},
            "number of threads: 2 in ohem (seed 0, 1) and ce (seed 0); 8 in ce (seed 1)"
            " -> compare no speed between them; scores can differ in the last digits",
        ),
        (
            {"git_commit": "abc"},
            "git commit: none in ohem (seed 0, 1) and ce (seed 0); abc in ce (seed 1)"
            " -> train all with one version, or be sure that what changed in between does not matter",
        ),
        (
            {"git_dirty": True},
            "code: changes that were not committed in ce (seed 1), so the commit does not say what ran"
            " -> commit before training",
        ),
    ],
)
def test_another_machine_or_code(env, text):
    assert problems(sound(fake_run("ce", 1, CE, env=env))) == [("warning", text)]


def test_scores_in_another_precision():
    env = {"amp": "bf16"}
    runs = [fake_run("ohem", s, env=env, scored_in="bf16") for s in (0, 1)]
    runs += [fake_run("ce", s, CE, env=env, scored_in=amp) for s, amp in ((0, "bf16"), (1, "off"))]
    [(level, text)] = problems(study_of(*runs))
    assert level == "warning"
    assert text.startswith(
        "precision of the scores: bf16 in ohem (seed 0, 1) and ce (seed 0); off in ce (seed 1), which may move them by "
        "tenths of a point -> all on one machine, python scripts/evaluate.py --per-image --weights "
    )


def test_weights_from_files_that_were_made_anew():
    """Within a variant nobody would see it: the configuration names the files, and not what is in them."""

    def weighted(variant, seed, weights, scale=2):
        block = f"data.weight_map={{name: file, scale: {scale}}}"
        return fake_run(
            variant, seed, block, *([CE] if variant == "ce" else []), fingerprints={"weights": weights}
        )

    alike = [weighted(variant, seed, "a1") for variant in ("ohem", "ce") for seed in (0, 1)]
    assert problems(study_of(*alike)) == []
    assert problems(study_of(*alike[:3], weighted("ce", 1, "b2"))) == [
        (
            "warning",
            "weights: others in ce (seed 1) than in ohem (seed 0, 1) and ce (seed 0), though data and "
            "data.weight_map are the same: files were made anew -> train all with the same weights",
        )
    ]
    other_map = [weighted("ce", seed, "b2", 3) for seed in (0, 1)]
    other_data = [
        replace(run, fingerprints={**run.fingerprints, "data": "0ther"})
        for run in (weighted("ce", seed, "b2") for seed in (0, 1))
    ]
    for others in (other_map, other_data):
        found = [text for _, text in problems(study_of(*alike[:2], *others))]
        assert not [text for text in found if text.startswith("weights")]


def test_samples_that_could_not_be_used():
    def bad(count, variant="ce", seed=1):
        summary = {"iterations": 20, "bad_samples": {"train": count, "replaced": 3 * count, "val": 0}}
        return fake_run(variant, seed, *([CE] if variant == "ce" else []), summary=summary)

    every = [(variant, seed) for variant in ("ohem", "ce") for seed in (0, 1)]
    assert problems(sound(*(bad(0, *run) for run in every))) == problems(sound(bad(0))) == []
    alike = sound(*(bad(2, *run) for run in every))
    assert problems(alike) == []
    assert "training samples that could not be used: 2 in ohem (seed 0, 1) and ce (seed 0, 1)" in texts(
        alike, "ok"
    )
    assert problems(sound(*(bad(2 if run == ("ce", 1) else 0, *run) for run in every))) == [
        (
            "warning",
            "training samples that could not be used: none in ohem (seed 0, 1) and ce (seed 0); 2 in ce (seed 1): "
            "others took their place -> see bad_samples.csv in their folders",
        )
    ]


def test_the_code_and_the_machine_are_said():
    env = {"git_commit": "0123456789abcdef", "git_dirty": False, "gpus": ["NVIDIA H200"] * 2}
    runs = [fake_run(variant, seed, env=env) for variant in ("ohem", "ce") for seed in (0, 1)]
    found = texts(study_of(*runs), "ok")
    assert "code: segkit 0.1.0, commit 0123456789ab in all runs" in found
    assert "machine: torch 2.9.0 on NVIDIA H200 in all runs" in found


def test_errors_come_first():
    runs = [
        fake_run("ce", 1, CE, env={"torch": "2.8.0"}, definition="Another."),
        fake_run("ce", 0, CE, fingerprints={"data": "0ther"}),
    ]
    levels = [found.level for found in check_comparable(sound(*runs))]
    assert levels == sorted(levels, key=("error", "warning", "ok").index)
    assert levels.count("error") == 2


def test_many_runs_are_named_shortly():
    runs = [fake_run(f"v{number}", 0) for number in range(6)]
    study = study_of(*runs, fake_run("last", 0, iteration=10), fake_run("other", 0, env={"threads": 1}))
    (text,) = [text for text in texts(study, "warning") if text.startswith("number of threads")]
    assert text.startswith(
        "number of threads: 2 in v0 (seed 0), v1 (seed 0), v2 (seed 0), v3 (seed 0) and 3 more; "
    )


def test_a_run_that_was_resumed_as_something_else():
    changes = [
        {"iteration": 10, "key": "optimizer.lr", "before": 0.05, "after": 0.5},
        {"iteration": 10, "key": "eval.every", "before": 5, "after": 10},
        {"iteration": 15, "key": "env.torch", "before": "2.8.0", "after": "2.9.0"},
        {"iteration": 20, "key": "env.segkit", "before": "0.0.9", "after": "0.1.0"},
        "what somebody wrote there",
    ]
    runs = fake_run("ohem", 0, env={"resumed": changes}), fake_run("ce", 0, CE, env={"resumed": changes[1:2]})
    assert warnings(*runs) == [
        "resumed as another: ohem (seed 0) trained with optimizer.lr 0.05 until iteration 10, then 0.5 and torch 2.8.0 "
        "until iteration 15, then 2.9.0; what else is said of it is of its last part -> train it anew in one go"
    ]


def test_own_code_that_was_changed_in_between():
    old, new = ({"own_code": {"my_losses.py": digest}} for digest in ("aa", "bb"))
    other = {"own_code": {"my_models.py": "cc"}}
    runs = (
        fake_run("ohem", 0, env=old),
        fake_run("ce", 0, CE, env=new),
        fake_run("d", 0, "loss={name: dice}", env=other),
    )
    assert warnings(*runs) == [
        "own code: my_losses.py was changed between ohem (seed 0) and ce (seed 0) -> train all with one version, or be "
        "sure that what changed in between does not matter"
    ]
    assert warnings(runs[0], runs[2]) == []


def test_runs_that_did_not_compute_alike():
    one = {"device": "cuda", "amp": "bf16", "processes": 1}
    other = {"device": "cpu", "amp": "off", "processes": 2}
    assert warnings(fake_run("ohem", 0, env=one), fake_run("ce", 0, CE, env=other)) == [
        "kind of device: cuda in ohem (seed 0); cpu in ce (seed 0) -> train all on one kind",
        "precision: bf16 in ohem (seed 0); off in ce (seed 0) -> train.amp=off, or bf16, for all: auto is what each "
        "device computes in",
        "processes: 1 in ohem (seed 0); 2 in ce (seed 0) -> train all in as many: batch normalisation sees a process's "
        "part of the batch",
    ]
    asked = fake_run("off", 0, "train.amp=off", env={**one, "amp": "off"})
    assert warnings(fake_run("bf16", 0, "train.amp=bf16", env=one), asked) == []
    assert warnings(fake_run("ohem", 0, env=one), fake_run("ce", 0, CE)) == [], (
        "an older segkit noted nothing"
    )


def warnings(*runs):
    """The warnings, but for that of a single seed."""
    found = [check.text for check in check_comparable(study_of(*runs)) if check.level == "warning"]
    return [text for text in found if not text.startswith("one seed")]
