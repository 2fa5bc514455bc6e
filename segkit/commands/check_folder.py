"""Exploring a folder that no configuration describes yet: what `segkit check-data ROOT` does."""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from segkit.commands.check_block import check_block, data_block, write_block
from segkit.commands.check_data import (
    PROBLEMS,
    Checked,
    check_all,
    check_configured,
    make_folder,
    refuse_output_in,
    report,
)
from segkit.config.load import load_data_config
from segkit.config.yaml_source import setting
from segkit.data.check.contained import (
    find_arrays,
    find_stacks,
    find_tables,
    propose_cases,
    propose_tables,
)
from segkit.data.check.contents import class_masks_script, describe_contents, propose_block
from segkit.data.check.describe import describe_findings, describe_values
from segkit.data.check.find_layout import FoundLayout, find_layout
from segkit.data.check.finding import Finding, problem, warning
from segkit.data.check.propose import Answers, Proposal, propose, propose_listed, propose_named
from segkit.data.check.raw_values import RawValues, read_raw_values
from segkit.data.check.report_files import CheckFiles
from segkit.data.check.whole import CountedPart
from segkit.data.files.class_lists import META_LIST, ClassList, read_class_list
from segkit.data.loading.parallel import worth_starting
from segkit.data.recognise import find_other_counts, recognise_published
from segkit.errors import ConfigError, DataError
from segkit.system.files import write_json
from segkit.system.printable import show_path
from segkit.system.typed import typed

#: Files with the classes, looked for in the folder and in the folders of its parts.
CLASS_LISTS = (
    "classes.txt",
    "labelmap.txt",
    "_classes.csv",
    "class_dict.csv",
    "label_colors.txt",
    META_LIST,
    "labels.txt",
    "class_names.txt",
)
NONE = "none"


def check_folder(
    root: Path, *, classes: Sequence[str], ignored: Sequence[str], workers: int | None, output: Path | None
) -> int:
    """Find out what is in a folder, propose the `data:` block that reads it, and check the data with that.

    `classes` are names or one file with them, `ignored` the values that mean unknown, or `none`. Returns the exit
    status: 0, or 3 if there are problems or a question that only the user can answer.
    """
    source = recognise_published(root)
    if source is not None and not classes and not ignored:
        config = source.config_for(root)
        print(f"found     {source.title}, in its published layout (with --classes: a folder of your own)")
        code = check_configured(
            config,
            [f"data.root={json.dumps(str(root))}"],
            workers=workers,
            output=output,
            find_more=lambda parts: find_other_counts(source, root, _count(parts)),
        )
        print(f"next      {typed('train', '--config', config)} {setting('data.root', str(root))}")
        return code
    folder = output or Path("runs/check") / root.resolve().name
    refuse_output_in(str(root), folder)
    described = None if classes or ignored else propose_cases(root)
    if described is not None:
        return check_block(root, described, folder, workers=workers)
    try:
        layout = find_stacks(root) or find_layout(root)
    except DataError:
        if not root.is_dir():
            raise
        annotated = None if classes or ignored else propose_block(root) or propose_tables(root)
        if annotated is not None:
            return check_block(root, annotated, folder, workers=workers)
        found = find_tables(root) or find_arrays(root)
        if found is None:
            raise
        layout = found
    pairs = [pair for part in layout.pairs.values() for pair in part]
    raw = read_raw_values(pairs, workers=worth_starting() if workers is None else workers)
    listed, proposal = _propose(root, raw, classes, parse_values(ignored))
    findings = [*_find_unpaired(root, layout), *_find_mixed(raw), *proposal.findings]
    for line in _describe(root, layout, raw, listed):
        print(line)
    for n, why in enumerate(proposal.why):
        print(f"{'' if n else 'meaning':9} {why}")
    print()
    channels = {} if raw.channels is None else {"channels": raw.channels}
    block = {"name": layout.name, "root": str(root), **channels, **layout.options}
    if (
        proposal.options is None and not classes and not ignored
    ):  # these may be masks of objects, which others explain
        annotated = propose_block(root)
        if annotated is not None:
            return check_block(root, annotated, folder, workers=workers)
    if proposal.options is None:
        for line in _explain_instances(proposal, root, layout) if raw.count else _explain_unreadable(root):
            print(line)
        findings += _find_unreadable(raw)
        return _report_question(proposal, findings, block, folder)
    data = {**block, **proposal.options}
    config = write_block(root, data, folder)
    print(data_block(data))
    skipping = ["data.unlabelled=skip"] if layout.name == "folder" else []
    checked = check_all(
        load_data_config(config, ["data.cache=off", *skipping]), workers=workers, known=raw.facts
    )
    # Files without a partner, the only ones that a data set has notes on here, are among the findings by name.
    known = {finding.kind for finding in findings} & {"soft-masks", "lossy-masks"} | {"files"}
    findings += [finding for finding in checked.findings if finding.kind not in known]
    code = report(Checked(checked.parts, findings), folder, source=str(root), data=data)
    print(f"next      {typed('train', '--config', config)}")
    return code


def _count(parts: Mapping[str, CountedPart]) -> tuple[int, int]:
    """The images of training and validation, 0 of one that cannot be opened."""
    train, val = (len(parts[name].dataset) if name in parts else 0 for name in ("train", "val"))
    return train, val


def _report_question(
    proposal: Proposal, findings: Sequence[Finding], block: Mapping[str, Any], folder: Path
) -> int:
    """Print and write what is not clear, with the block that each answer leads to; returns the exit status."""
    for text in describe_findings(findings):
        print(text)
    choices = {choice.flag: {**block, **choice.options} for choice in proposal.choices}
    if proposal.question is not None:
        print(f"question  {proposal.question}")
    for choice in proposal.choices:
        print(f"\n{choice.flag}   {choice.meaning}\n\n{data_block(choices[choice.flag])}")
    make_folder(folder)
    facts = {"findings": [finding.as_json() for finding in findings], "question": proposal.question}
    files = CheckFiles(folder)
    write_json(files.check, {**facts, "choices": choices})
    print(f"written   {folder}: {files.check.name}")
    answered = "a question is open -> run again with the flag that answers it"
    print(f"result    {answered if proposal.choices else 'no data: block can be proposed'}")
    return PROBLEMS


def _explain_instances(proposal: Proposal, root: Path, layout: FoundLayout) -> list[str]:
    """How to make masks of classes of such as number objects, if the files say which classes they are."""
    if proposal.divisor is None:
        return []
    if proposal.divisor:
        script = class_masks_script(proposal.divisor, str(root), layout.mask_glob)
        return [
            f"classes   value // {proposal.divisor} is the class; lines that make masks of it:",
            "",
            script,
            "",
        ]
    script = describe_contents(root)[1]
    if "segments_info" not in script:
        return []
    return [
        "classes   the panoptic JSON says the class of each colour; lines that make masks of it:",
        "",
        script,
        "",
    ]


def _explain_unreadable(root: Path) -> list[str]:
    """What the files hold, none of which is read as a mask, and how to make masks of it."""
    found, how = describe_contents(root)
    lines = ["lines that make masks of that:", "", how, ""] if "\n" in how else []
    return [*(f"found     {line}" for line in found), *lines]


def parse_values(words: Sequence[str]) -> frozenset[int] | None:
    """The values that `--ignore` names: numbers, `#rrggbb`, or `none`; None if it was not given. Raises ConfigError."""
    if not words:
        return None
    if list(words) == [NONE]:
        return frozenset()
    found = set()
    for word in words:
        if re.fullmatch("#[0-9a-fA-F]{6}", word):
            found.add(int(word[1:], 16))
        elif re.fullmatch("-?[0-9]{1,19}", word):
            found.add(int(word))
        else:
            raise ConfigError(
                f"--ignore {word}: expected a value such as 255, a colour such as '#ff0000', or none"
            )
    return frozenset(found)


def _propose(
    root: Path, raw: RawValues, classes: Sequence[str], ignored: frozenset[int] | None
) -> tuple[ClassList | None, Proposal]:
    """The list of classes, if there is one, and what it and the values of the masks lead to."""
    listed = _find_class_list(root, classes)
    if listed is not None:
        return listed, propose_listed(listed, _shown(listed.path, root), raw, ignored)
    if classes:
        tools = None
        with suppress(ConfigError):  # names stand in for a list that cannot be read
            tools = _find_class_list(root, ())
        return None, propose_named(classes, tools, raw, ignored)
    return None, propose(raw, Answers(None, ignored))


def _find_class_list(root: Path, classes: Sequence[str]) -> ClassList | None:
    """The file that `--classes` names, or else one in the folder."""
    if len(classes) == 1:
        return read_class_list(classes[0], root)
    if classes:
        return None
    for folder in (root, *sorted(path for path in root.iterdir() if path.is_dir())):
        for name in CLASS_LISTS:
            if not (folder / name).is_file():
                continue
            try:
                return read_class_list((folder / name).relative_to(root).as_posix(), root)
            except ConfigError:
                if name != META_LIST:  # which other tools have, too, with something else in it
                    raise
    return None


def _describe(root: Path, layout: FoundLayout, raw: RawValues, listed: ClassList | None) -> list[str]:
    counts = " / ".join(f"{len(pairs):,} {part}" for part, pairs in layout.pairs.items())
    lines = [f"root      {root}", f"layout    {layout.text}   {counts} pairs"]
    if listed is not None:
        lines.append(f"classes   {listed.path}: {len(listed.names)} names")
    lines.append(f"images    {', '.join(kind for kind, _ in raw.image_kinds.most_common(4))}")
    lines.append(
        f"masks     {', '.join(kind for kind, _ in raw.kinds.most_common(4)) or 'none that can be read'}"
    )
    return [*lines, *describe_values(raw)]


def _find_unpaired(root: Path, layout: FoundLayout) -> list[Finding]:
    found = []
    for kind, what, missing, paths, make in (
        ("without-mask", "image", "mask", layout.without_mask, problem),
        ("without-image", "mask", "image", layout.without_image, warning),
    ):
        if paths:
            have = f"{what} has" if len(paths) == 1 else f"{what}s have"
            text = f"{len(paths)} {have} no {missing}: {', '.join(show_path(_shown(path, root)) for path in paths[:4])}"
            found.append(make(kind, text + (", ..." if len(paths) > 4 else ""), paths))
    return found


def _find_unreadable(raw: RawValues) -> list[Finding]:
    """One problem for all files that cannot be read for the same reason, whatever numbers it is about."""
    groups: dict[str, list[str]] = {}
    for text in raw.unreadable:
        groups.setdefault(re.sub(r"[-\d.]+", "", text.splitlines()[0].partition(": ")[2]), []).append(text)
    found = []
    for texts in groups.values():
        first, newline, rest = texts[0].partition("\n")
        more = f" (and {len(texts) - 1} more files alike)" if len(texts) > 1 else ""
        found.append(problem("cannot-read", f"{first}{more}{newline}{rest}", texts[1:]))
    return found


def _find_mixed(raw: RawValues) -> list[Finding]:
    if not raw.mixed:
        return []
    first = show_path(raw.mixed[0])
    text = f"{len(raw.mixed)} masks hold colours where others hold values: {first} -> save all masks alike"
    return [problem("mixed-masks", text, raw.mixed)]


def _shown(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
