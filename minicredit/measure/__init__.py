"""Instruments: what a rule does, measured.  They change nothing.

    angles          loss and error; the angle to backprop, of gradients and of teaching signals
    gauss_newton    the angle to the damped Gauss-Newton step
    inverses        feedback beside forward weights; what inverses get wrong; eigenvalues of J_f J_g
    targets         are the targets of a class all the same?
    signs           do weights change sign?
    slopes          does a unit's effect on the answer change sign?
    health          dead, saturated, not finite, too loud, too fast
    diagnose        why is it not learning?
    coherent        for Kickback: `minicredit.coherent` has them; given here too
"""
from minicredit.coherent import coherent_share, influences, opposite_signs, path_sums
from minicredit.measure.angles import (Score, Spread, angle, angle_of_signals, angle_to_backprop,
                                       angles, error_percent, evaluate,
                                       evaluate_split, mean_loss)
from minicredit.measure.diagnose import Diagnosis, Finding, diagnose
from minicredit.measure.gauss_newton import angle_to_gauss_newton, gauss_newton
from minicredit.measure.health import (Activity, activity, not_finite, signal_norms, update_sizes)
from minicredit.measure.inverses import (Alignment, Jacobians, inverse_error, inverse_jacobians,
                                         weight_alignment)
from minicredit.measure.signs import SignCount, SignWatch, inputs_ever_on
from minicredit.measure.slopes import (EffectSigns, effect_signs, logit_slopes, majority_change,
                                       unit_effects)
from minicredit.measure.targets import (Diversity, diversity, target_diversity,
                                        template_diversity)

__all__ = ["Activity", "Alignment", "Diagnosis", "Diversity", "EffectSigns", "Finding",
           "Jacobians", "Score", "SignCount", "SignWatch", "Spread", "activity", "angle",
           "angle_of_signals", "angle_to_backprop", "angle_to_gauss_newton", "angles",
           "coherent_share", "diagnose", "diversity", "effect_signs", "error_percent", "evaluate",
           "evaluate_split", "gauss_newton", "influences", "inputs_ever_on", "inverse_error",
           "inverse_jacobians", "logit_slopes", "majority_change", "mean_loss", "not_finite",
           "opposite_signs", "path_sums", "signal_norms", "target_diversity", "template_diversity",
           "unit_effects", "update_sizes", "weight_alignment"]
