"""Every learning rule, one short file each, by the name that the command line uses."""
from minicredit.rules.ao_sdtp import AOSDTP
from minicredit.rules.asking import Answer, Told, ask
from minicredit.rules.backprop import Backprop
from minicredit.rules.direct_feedback_alignment import DirectFeedbackAlignment
from minicredit.rules.dtp import DTP
from minicredit.rules.feedback_alignment import FeedbackAlignment
from minicredit.rules.kickback import Kickback
from minicredit.rules.kolen_pollack import KolenPollack
from minicredit.rules.sdtp import SDTP
from minicredit.rules.sign_symmetry import (FixedSignSymmetry, FreshSignSymmetry,
                                            UniformSignSymmetry)
from minicredit.rules.target_propagation import TargetPropagation
from minicredit.rules.weight_mirror import WeightMirror

RULES = {
    "bp": Backprop,
    "fa": FeedbackAlignment,
    "dfa": DirectFeedbackAlignment,
    "usf": UniformSignSymmetry,
    "frsf": FixedSignSymmetry,
    "brsf": FreshSignSymmetry,
    "weight-mirror": WeightMirror,
    "kolen-pollack": KolenPollack,
    "tp": TargetPropagation,
    "dtp": DTP,
    "sdtp": SDTP,
    "ao-sdtp": AOSDTP,
    "kickback": Kickback,
}

__all__ = ["RULES", "Answer", "Told", "ask", *(rule.__name__ for rule in RULES.values())]
