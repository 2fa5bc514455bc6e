"""check_loss of every registered loss on a device, with the backend that `auto` takes there and with Triton's.

python -m scripts.gpu.tasks.check_losses --device cuda
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

from segkit.commands.check_loss import Outcome, find_loss, make_subject, run_checks
from segkit.config.signature import accepts
from segkit.registry import LOSSES
from segkit.system.device import choose_device

#: What a loss whose name alone is no valid block is checked with.
PARAMETERS = {
    "pixel": ("criterion={name: focal}", "selection={name: top_share, share: 0.3}"),
    "sum": ("terms=[{name: ohem_ce, weight: 1.0, thresh: 0.6}, {name: dice, weight: 0.5}]",),
}
#: In a rehearsal: one with a kernel and one without.
FEW = ("ohem_ce", "dice")


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", required=True)
    args = parser.parse_args(arguments)
    on_gpu = args.device != "cpu"
    checked, failed = 0, 0
    for words in cases(LOSSES.names() if on_gpu else FEW, triton=on_gpu):
        outcomes = check(words, args.device)
        wrong = [outcome for outcome in outcomes if outcome.holds is False]
        checked, failed = checked + len(outcomes), failed + len(wrong)
        print(f"{' '.join(words)}: {len(outcomes)} checks, {len(wrong)} do not hold", flush=True)
        for outcome in wrong:
            print(f"found: {' '.join(words)}: {outcome.check}: {outcome.text}", flush=True)
    print(f"found: {failed} of {checked} checks do not hold")
    return 1 if failed or not checked else 0


def cases(names: Sequence[str], *, triton: bool) -> Iterator[list[str]]:
    """Name and parameters of each loss, and with `triton` again with those kernels where it can choose."""
    for name in names:
        words = [name, *PARAMETERS.get(name, ())]
        yield words
        if triton and accepts(LOSSES.get(name), "backend"):
            yield [*words, "backend=triton"]


def check(words: Sequence[str], device: str) -> list[Outcome]:
    """What applies of the checks, for two numbers of classes and the first, middle and last iteration.

    A check in fp64 does not apply to kernels that refuse it, by whose own words that is told.
    """
    subject = make_subject(find_loss(words), choose_device(device))
    subject = replace(subject, class_counts=subject.class_counts[:2])
    return [
        outcome for outcome in run_checks(subject) if outcome.holds is not None and not refuses_fp64(outcome)
    ]


def refuses_fp64(outcome: Outcome) -> bool:
    """Whether a backend that was asked for has refused logits in fp64, which it does not promise to take."""
    return outcome.holds is False and "BackendError" in outcome.text and "got torch.float64" in outcome.text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
