"""From the colours of masks, and from greys that were colours, to `classes` and `label_map`."""

from collections.abc import Mapping, Sequence

from segkit.data.check.finding import problem
from segkit.data.check.known_values import VOC_BORDER, VOC_IDS
from segkit.data.check.propose.options import explain_ignored, ignored_in, number_options
from segkit.data.check.propose.proposal import Answers, Proposal
from segkit.data.check.raw_values import RawValues

#: Distinct colours from which on a mask looks like a photograph.
MOST_CLASSES = 256


def propose_greys(greys: Mapping[int, Sequence[int]], answers: Answers) -> Proposal:
    """Palette files of Pascal VOC that somebody converted to grey, which is found out by the greys."""
    listed = ", ".join(f"{value} = {' or '.join(map(str, ids))}" for value, ids in greys.items() if value)
    text = (
        "the values are greys of Pascal VOC's palette: the masks were palette files and converted to grey\n"
        f"   the ids probably were: {listed}\n"
        "   -> take the palette files themselves, whose ids are unharmed"
    )
    found = [problem("palette-as-grey", text)]
    ignored = [
        value for value, ids in greys.items() if ids[0] == VOC_BORDER or value in (answers.ignored or ())
    ]
    kept = sorted((value for value in greys if value not in ignored), key=lambda value: greys[value][0])
    names = [f"class_{'_or_'.join(map(str, greys[value]))}" for value in kept]
    return Proposal(
        number_options(kept, names, ignored),
        why=["the names have the ids before the conversion"],
        findings=found,
    )


def propose_colours(values: list[int], raw: RawValues, answers: Answers) -> Proposal:
    """Each colour is a class."""
    kept = [value for value in values if value not in (answers.ignored or ())]
    if len(kept) < 2 or len(kept) > MOST_CLASSES:
        text = f"the masks have {len(kept)} colours: no labels, or masks of a JPEG or a photograph"
        return Proposal(findings=[problem("colours", text)])
    ignored = ignored_in(values, answers.ignored)
    if answers.names is not None:
        text = (
            "which colour is which class cannot be known from names alone\n"
            "   -> --classes FILE with the lines `name,r,g,b` and one per class below, as class_dict.csv has them"
        )
        return Proposal(findings=[problem("colours", text)])
    if set(kept) <= VOC_IDS.keys():
        known = sorted(kept, key=VOC_IDS.__getitem__)
        border = [value for value in known if VOC_IDS[value] == VOC_BORDER and answers.ignored is None]
        classes = [value for value in known if value not in border]
        names = [f"class_{VOC_IDS[value]}" for value in classes]
        options = number_options(classes, names, [*ignored, *border], colours=True)
        return Proposal(options, why=["the colours are Pascal VOC's; the names have its ids"])
    if all(value == (value & 0xFF) * 0x010101 for value in kept):
        names = [f"class_{value & 0xFF}" for value in kept]
        why = ["the colours are greys, taken in their order", *explain_ignored(answers.ignored)]
        return Proposal(number_options(kept, names, ignored, colours=True), why=why)
    kept.sort(key=lambda value: -raw.pixels[value])
    options = number_options(kept, [f"colour_{value:06x}" for value in kept], ignored, colours=True)
    return Proposal(
        options,
        why=["each colour is a class, the most frequent first", *explain_ignored(answers.ignored)],
    )
