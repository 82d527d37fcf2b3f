"""Every learning rule, one short file each, by the name that the command line uses."""
from minicredit.rules.asking import Answer, Told, ask
from minicredit.rules.backprop import Backprop
from minicredit.rules.direct_feedback_alignment import DirectFeedbackAlignment
from minicredit.rules.dtp import DTP
from minicredit.rules.feedback_alignment import FeedbackAlignment

RULES = {
    "bp": Backprop,
    "fa": FeedbackAlignment,
    "dfa": DirectFeedbackAlignment,
    "dtp": DTP,
}

__all__ = ["RULES", "Answer", "Told", "ask", *(rule.__name__ for rule in RULES.values())]
