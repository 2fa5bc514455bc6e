"""From what masks and lists of classes hold to the options of `data:` that read them."""

from segkit.data.check.propose.listed import propose_listed, propose_named
from segkit.data.check.propose.proposal import Answers, Choice, Proposal
from segkit.data.check.propose.values import propose

__all__ = ["Answers", "Choice", "Proposal", "propose", "propose_listed", "propose_named"]
