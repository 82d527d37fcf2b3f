"""Are the tests any good?  Plant one fault at a time; the named test has to fail.

    python tests/planted_faults.py [words of a fault]

Each fault is one small change to a copy of the tree in a temporary folder, where only the named
test runs.  Prints a table, and exits with 1 if a fault survives, if a test fails for another reason
(the copy is not what was imported, nothing was collected), or if a test fails without the fault.
"""
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["MINICREDIT_BACKENDS"] = "numpy"         # whose faults these are; nothing to compile

import hypothesis                                   # noqa: F401  loaded once, and every process
import numpy                                        # noqa: F401  forked from here has them
import pytest

ROOT = Path(__file__).resolve().parents[1]
WORKERS, LIMIT = 2, 60              # processes at once, and seconds for each
HEALTHY, FAILED, WRONG_COPY = 0, 1, 99              # 0 and 1 as pytest says them
KILLED, SURVIVED = "killed", "SURVIVED"


class Fault(NamedTuple):
    """`old` becomes `new`, once, in `file`; then `test` has to fail."""

    what: str
    file: str
    old: str
    new: str
    test: str


KERNELS, OPTIMIZERS = "kernels/reference.py", "minicredit/optimizers.py"
NETWORK = "minicredit/network.py"
RULES = "minicredit/rules/"
TP, DTP, SDTP, AO = (RULES + file for file in ("target_propagation.py", "dtp.py", "sdtp.py",
                                               "ao_sdtp.py"))
SIGNS, MIRROR, KP = (RULES + file for file in ("sign_symmetry.py", "weight_mirror.py",
                                               "kolen_pollack.py"))
FA, DFA, BP = (RULES + file for file in ("feedback_alignment.py", "direct_feedback_alignment.py",
                                         "backprop.py"))
OPERATION, OPTIMISER = "test_kernels.py::test_", "test_optimizers.py::test_"
CONTRACT, IDENTITY = "test_rules_contract.py::test_", "test_rules_identities.py::test_"
CALCULUS, STRUCTURE = "test_rules_calculus.py::test_", "test_network.py::test_"
MEMORY, SHAPES = "test_memory.py::test_", "kernels/shapes.py"
FILES, CHECKPOINT = "minicredit/files.py", "minicredit/checkpoint.py"
SAVED, RESUMED = "test_checkpoint.py::test_", "test_resume.py::test_"
INVERSE = CALCULUS + "every_inverse_descends_what_it_cannot_give_back"

FAULTS = [
    # Operations
    Fault("tanh has no slope", KERNELS, "return e * (1 - h * h)", "return e",
          OPERATION + "the_slope_of_tanh_is_one_minus_h_squared"),
    Fault("rectifier has slope 1 at 0", KERNELS, "e * (h > 0)", "e * (h >= 0)",
          OPERATION + "the_rectifiers_slope_is_one_above_zero_and_nothing_at_zero"),
    Fault("softmax slope is its diagonal", KERNELS,
          "return h * (e - (e * h).sum(axis=1, keepdims=True))", "return e * h * (1 - h)",
          OPERATION + "the_slope_of_softmax_is_the_product_with_its_jacobian"),
    Fault("square weights not transposed", KERNELS, "return delta @ W.T\n",
          "return delta @ (W if len(W) == len(W.T) else W.T)\n",
          OPERATION + "pull_back_is_delta_times_W_transposed"),
    Fault("b gradient is a sum", KERNELS, "delta.sum(axis=0) / len(h)", "delta.sum(axis=0)",
          OPERATION + "dense_grad_is_the_mean_of_the_outer_products"),
    Fault("mean over one example too many", KERNELS, "h.T @ delta / len(h)",
          "h.T @ delta / (len(h) + 1)",
          CONTRACT + "a_batch_twice_over_gives_the_mean_updates_of_one[bp]"),
    Fault("b left out", KERNELS, "a = h @ W\n    a += b\n", "a = h @ W\n",
          OPERATION + "dense_is_f_of_h_W_plus_b"),
    Fault("difference without down", KERNELS, "return h + (up - down)", "return h + up",
          OPERATION + "difference_is_h_plus_up_minus_down"),
    Fault("difference rounds in another order", KERNELS, "return h + (up - down)",
          "return (h + up) - down",
          OPERATION + "difference_of_two_equal_answers_is_nothing_at_any_size"),
    Fault("difference in place", KERNELS, "return h + (up - down)", "h += up - down; return h",
          OPERATION + "an_operation_changes_none_of_its_arguments"),
    Fault("softmax overflows", KERNELS, "np.exp(a - a.max(axis=1, keepdims=True))", "np.exp(a)",
          OPERATION + "softmax_is_its_definition_and_survives_large_logits"),
    Fault("NaN replaced by 0", KERNELS, "p = np.exp(a - a.max(axis=1, keepdims=True))",
          "p = np.exp(np.nan_to_num(a - a.max(axis=1, keepdims=True)))",
          OPERATION + "nan_in_is_nan_out"),
    Fault("label of the neighbour", KERNELS, "delta[row, y] -= 1", "delta[row, y - 1] -= 1",
          OPERATION + "softmax_xent_is_minus_log_p_and_its_slope"),
    Fault("squared error without the half", KERNELS, ".sum(axis=1) / 2, delta",
          ".sum(axis=1), delta",
          OPERATION + "squared_error_is_half_the_squared_distance_and_its_slope"),
    Fault("signed gate looks at the sign", KERNELS, "sign * (h != 0)", "sign * (h > 0)",
          OPERATION + "the_signed_slope_is_the_sign_where_the_unit_speaks"),
    Fault("signed error looks at the sign", KERNELS, "e * ((h != 0) * sign)",
          "e * ((h > 0) * sign)",
          OPERATION + "a_signed_slope_times_an_error_of_each_unit_or_of_all"),
    Fault("a class's numbers in the order of memory", KERNELS, "return beta.T.copy()[:, :, None]",
          "return beta.reshape(*beta.shape[::-1], 1)",
          OPERATION + "each_network_gets_the_numbers_of_its_class"),
    Fault("networks' units summed over examples", KERNELS, "return h.sum(axis=2).T.copy()",
          "return h.sum(axis=1).T.copy()",
          OPERATION + "a_class_says_the_sum_of_its_networks_units"),
    Fault("shared input hears the first network", KERNELS, "return e.sum(axis=0)", "return e[0]",
          OPERATION + "what_networks_mean_at_one_input_is_added_up"),
    Fault("kept signs are all positive", KERNELS, "np.maximum(W, 0, out=W)\n    W *= sign\n",
          "np.maximum(W, 0, out=W)\n", OPERATION + "a_weight_of_the_wrong_sign_becomes_nothing"),
    Fault("philox has nine rounds", KERNELS, "for r in range(10)", "for r in range(9)",
          OPERATION + "philox_gives_the_known_answers_of_random123"),
    Fault("key loses the upper half of step", KERNELS, "step & 0xFFFFFFFF, step >> 32",
          "step & 0xFFFFFFFF, 0",
          OPERATION + "every_part_of_a_key_matters_in_both_its_halves"),
    Fault("philox begins again in each chunk", KERNELS,
          "np.arange(start, min(start + CHUNK, len(out))",
          "np.arange(0, min(CHUNK, len(out) - start)",
          OPERATION + "the_second_chunk_of_philox_continues_the_counter"),
    Fault("uniform is always float64", KERNELS, "(words >> 9).astype(dtype)",
          "(words >> 9).astype(float)", OPERATION + "the_dtype_that_goes_in_comes_out"),
    Fault("normal numbers in the wrong order", KERNELS, "r * np.cos(t), r * np.sin(t)",
          "r * np.sin(t), r * np.cos(t)",
          OPERATION + "normal_is_box_and_mullers_transform_of_uniform"),

    # Optimisers
    Fault("eps outside the root", KERNELS, "np.sqrt(v - m * m + eps)",
          "(np.sqrt(v - m * m) + eps)", OPTIMISER + "an_optimiser_is_its_published_formula"),
    Fault("Adam's start not undone", KERNELS, "np.sqrt(v / (1 - beta2**t))", "np.sqrt(v)",
          OPTIMISER + "an_optimiser_is_its_published_formula"),
    Fault("Adam counts all arrays together", OPTIMIZERS,
          "t = self.t[name] = self.t.get(name, 0) + 1",
          "t = self.t[None] = self.t.get(None, 0) + 1",
          OPTIMISER + "two_arrays_of_one_optimiser_move_as_if_each_had_its_own"),
    Fault("state belongs to the last array", OPTIMIZERS, "if name not in state:",
          "name = None\n    if name not in state:",
          OPTIMISER + "two_arrays_of_one_optimiser_move_as_if_each_had_its_own"),
    Fault("sgd ignores the schedule", OPTIMIZERS, "self.ops.sgd(w, g, self.scale * self.eta)",
          "self.ops.sgd(w, g, self.eta)", OPTIMISER + "scale_multiplies_the_learning_rate"),

    # Networks, layers, initial weights
    Fault("the top layer squashes", NETWORK, 'f if i < L else "linear"', "f",
          STRUCTURE + "forward_is_f_of_h_W_plus_b_in_the_hidden_layers"),
    Fault("layers learn from their output", NETWORK, "layer.gradient(h[i - 1], delta[i])",
          "layer.gradient(h[i - 1] + 0 * h[0].sum() + h[i].mean(), delta[i])",
          STRUCTURE + "descend_gives_each_layer_its_own_input_and_its_own_delta"),
    Fault("b never moves", NETWORK, "layer.gradient(h[i - 1], delta[i]).items():",
          "list(layer.gradient(h[i - 1], delta[i]).items())[:1]:",
          CONTRACT + "one_step_moves_every_array_that_the_gradient_names_and_no_other[bp]"),
    Fault("Glorot's root too small", "minicredit/initial.py", "np.sqrt(6 / (n_in + n_out))",
          "np.sqrt(2 / (n_in + n_out))",
          STRUCTURE + "glorot_is_uniform_within_the_root_of_six"),
    Fault("float32 networks in float64", "minicredit/layers/dense.py",
          "return self.ops.asarray(W.astype(self.dtype))", "return self.ops.asarray(W)",
          CONTRACT + "after_three_steps_every_array_has_the_dtype_it_started_with[fa-float32]"),
    Fault("feedback drawn with the key of the weights", "minicredit/keys.py", "= range(9)",
          "= 0, 0, 2, 3, 4, 5, 6, 7, 8",
          CONTRACT + "no_two_arrays_start_with_the_same_random_numbers_at_any_scale[fa]"),

    Fault("a layer of wrapping", "minicredit/layers/dense.py",
          "return self.ops.dense(h, self.W, self.b, self.f)",
          "return self.say(h)\n\n    def say(self, h):\n"
          "        return self.ops.dense(h, self.W, self.b, self.f)",
          CONTRACT + "a_step_is_at_most_four_of_our_functions_deep[dtp]"),

    # Backprop and the feedback alignment family
    Fault("backprop without the slope", BP, "layers[i - 1].times_slope(e, h[i - 1], h[i - 2])", "e",
          CALCULUS + "backprop_descends_the_mean_loss"),
    Fault("backprop stops at the top", BP, "range(L, 1, -1):\n",
          "range(L, 1, -1):\n            delta[i - 1] = 0 * h[i - 1]; continue\n",
          CALCULUS + "backprop_descends_the_mean_loss"),
    Fault("feedback alignment uses W", FA, "layers[i].pull_back(delta[i], B[i])",
          "layers[i].pull_back(delta[i])", IDENTITY + "feedback_alignment_is_its_formula"),
    Fault("errors centred over the batch", FA, "layers[i - 1].times_slope(e, h[i - 1], h[i - 2])",
          "layers[i - 1].times_slope(e - e.mean(axis=0), h[i - 1], h[i - 2])",
          CONTRACT + "what_an_example_is_told_does_not_depend_on_its_batch[fa]"),
    Fault("feedback ignores the seed", FA, "(seed, FEEDBACK, i, 0)", "(0, FEEDBACK, i, 0)",
          CONTRACT + "another_seed_gives_other_bits_unless_nothing_is_random[fa]"),
    Fault("later units hear more", DFA, "e = self.direct(delta[L], i)",
          "e = self.direct(delta[L], i); e = e * (e[0] * 0 + 1).cumsum()",
          CONTRACT + "units_in_another_order_are_told_the_same_in_that_order[dfa]"),
    Fault("dfa passes the error from layer to layer", DFA,
          "for i in range(1, L):\n            e = self.direct(delta[L], i)",
          "for i in range(L - 1, 0, -1):\n            e = self.direct(delta[i + 1], i)",
          IDENTITY + "direct_feedback_alignment_sends_the_output_error_to_every_layer"),
    Fault("dfa's feedback scaled by the output", DFA, "/ n ** 0.5", "/ K ** 0.5",
          IDENTITY + "the_feedback_of_dfa_is_uniform_within_one_over_the_root_of_the_layer"),
    Fault("usf without signs", SIGNS, "ops.with_signs(M[i], layers[i].W)", "M[i]",
          IDENTITY + "sign_symmetry_is_backprop_where_all_weights"),
    Fault("usf uses W for M sign(W)", SIGNS, "ops.with_signs(M[i], layers[i].W)", "layers[i].W",
          IDENTITY + "with_magnitude_one_each_layer_passed_multiplies_backprop"),
    Fault("usf takes the mean size", SIGNS, "(B * B).mean() ** 0.5", "abs(B).mean()",
          IDENTITY + "magnitudes_are_what_the_three_forms_publish"),
    Fault("brsf is not fresh", SIGNS, "self.M[i][...] = self.magnitude(i)", "pass",
          IDENTITY + "fixed_magnitudes_stay_and_fresh_ones_are_new_for_every_batch"),
    Fault("brsf loses its arrays", SIGNS, "self.M[i][...] = self.magnitude(i)",
          "self.M[i] = self.magnitude(i)",
          CONTRACT + "one_step_moves_every_array_that_the_gradient_names_and_no_other[brsf]"),
    Fault("mirror divides by sigma", MIRROR, "/ self.sigma**2", "/ self.sigma",
          IDENTITY + "what_a_linear_layer_does_with_noise_shows_the_mirror_its_weights"),
    Fault("mirror keeps f(0)", MIRROR, " - net.layers[i].forward(0 * s)", "",
          IDENTITY + "what_the_mirror_is_told_is_its_formula"),
    Fault("mirror does not leak", MIRROR, "self.decay_mirror * self.B[i] - seen", "0 - seen",
          IDENTITY + "what_the_mirror_is_told_is_its_formula"),
    Fault("mirror hears the same noise for ever", MIRROR, "MIRROR, i, self.t", "MIRROR, i, 0",
          IDENTITY + "every_layer_and_every_step_has_noise_of_its_own"),
    Fault("W does not leak", KP, "net.ops.leak(net.layers[i].W, self.leak * optimizer.scale)",
          "pass", IDENTITY + "forward_and_feedback_weights_approach_by_the_leak"),
    Fault("the leak ignores the schedule", KP,
          "net.ops.leak(self.B[i], self.leak * optimizer.scale)",
          "net.ops.leak(self.B[i], self.leak)", IDENTITY + "the_leak_falls_with_the_learning_rate"),
    Fault("B steps the other way", KP, '["W"]\n', '["W"] * -1\n',
          IDENTITY + "kolen_pollack_that_has_arrived_is_backprop_with_a_leak"),

    # The target propagation family
    Fault("tp passes h down, not h_hat", TP, "h_hat[i - 1] = G[i].forward(h_hat[i])",
          "h_hat[i - 1] = G[i].forward(h[i])", IDENTITY + "target_propagation_is_its_formula"),
    Fault("tp's label is its guess", TP, "net.ops.softmax(h[L]) - delta[L]",
          "net.ops.softmax(h[L])", IDENTITY + "target_propagation_is_its_formula"),
    Fault("exact inverse forgets b", RULES + "inverses.py", "(a - b).T", "a.T",
          IDENTITY + "an_exact_inverse_gives_back_what_went_in"),
    Fault("exact inverse transposed", RULES + "inverses.py", "np.linalg.solve(W.T,",
          "np.linalg.solve(W,", IDENTITY + "an_exact_inverse_gives_back_what_went_in"),
    Fault("inverse with the nonlinearity above", RULES + "inverses.py",
          "mirror(net.layers[i - 1].range,", "mirror(net.layers[i].range,",
          IDENTITY + "the_next_target_of_sdtp_is_the_difference_at_the_label"),
    Fault("target step up the loss", DTP, "h[self.top] - self.target_step * e",
          "h[self.top] + self.target_step * e",
          CALCULUS + "the_first_target_of_dtp_is_a_step_down_each_examples_loss"),
    Fault("target step of a batch mean", DTP, "h[self.top] - self.target_step * e",
          "h[self.top] - self.target_step * e / len(y)",
          CONTRACT + "what_an_example_is_told_does_not_depend_on_its_batch[dtp]"),
    Fault("first_target ignored", DTP, 'net.L if first_target == "output" else net.L - 1',
          "net.L - 1", IDENTITY + "from_the_output_the_top_layer_is_told_target_step"),
    Fault("dtp without down", DTP, "G[i].forward(h_hat[i]), G[i].forward(h[i])\n",
          "G[i].forward(h_hat[i]), 0\n", IDENTITY + "dtp_is_its_formula"),
    Fault("no slope at the target", DTP,
          "delta[i] = layers[i].times_slope(h[i] - h_hat[i], h[i], h[i - 1])",
          "delta[i] = h[i] - h_hat[i]",
          CALCULUS + "every_layer_with_a_target_descends_its_distance_from_it"),
    Fault("bridge adds instead of mixing", DTP, "((1 - m) * (up - down) + m * back)",
          "((up - down) + m * back)",
          IDENTITY + "across_the_bridge_dtp_is_target_step_times_backprop"),
    Fault("bridge sags", DTP, "m * back)", "m * m * back)",
          IDENTITY + "halfway_across_the_bridge_a_target_is_the_mean_of_both_ends"),
    Fault("bridge moves a met target", DTP, "h[i - 1] + ((1 - m) * (up - down) + m * back)",
          "(1 - m) * h_hat[i - 1] + m * (h[i - 1] + back)",
          IDENTITY + "a_target_step_of_nothing_teaches_hidden_layers_exactly_nothing"),
    Fault("bridge without the slope", DTP,
          "layers[i].times_slope(h_hat[i] - h[i], h[i], h[i - 1])\n",
          "h_hat[i] - h[i]\n",
          IDENTITY + "across_the_bridge_dtp_is_target_step_times_backprop"),
    Fault("clean goal for the noisy one", DTP, 'start if self.goal == "noisy" else h[i - 1]',
          "h[i - 1]", INVERSE),
    Fault("noisy goal for the clean one", SDTP, 'h[i - 1] if self.goal == "clean" else start',
          "start", INVERSE),
    Fault("inverses climb", DTP, "back - goal, back", "goal - back, back", INVERSE),
    Fault("inverses without the slope", AO, "G[i].times_slope(back - goal, back, above)",
          "back - goal",
          INVERSE),
    Fault("sigma not applied", TP, "h[i - 1], self.sigma, (", "h[i - 1], 1.0, (", INVERSE),
    Fault("all layers share the noise", DTP, "NOISE, i, self.t", "NOISE, 0, self.t",
          IDENTITY + "every_layer_and_every_step_has_noise_of_its_own"),
    Fault("alternating runs in parallel", DTP,
          'alternating if schedule == "alternating" else [self.step]', "[self.step]",
          CONTRACT + "a_schedule_is_two_passes_or_one"),
    Fault("both passes train both", TP,
          "[self.learn_inverses, self.learn_forward] if alternating",
          "[self.learn_inverses, self.step] if alternating",
          CONTRACT + "one_epoch_of_passes_moves_every_learning_array_exactly_once[tp]"),
    Fault("one inverse step for several", DTP, "self.bridge = inverse_steps, bridge",
          "self.bridge = 1, bridge",
          CONTRACT + "several_inverse_steps_are_that_many_inverse_passes_under_fresh_noise"),
    Fault("label_step ignored", SDTP, "p - self.label_step * delta[L]", "p - delta[L]",
          IDENTITY + "the_target_of_the_output_goes_the_label_step_from_p_to_the_label"),
    Fault("top inverse sees logits", SDTP, "G[L].forward(p))", "G[L].forward(h[L]))",
          IDENTITY + "the_next_target_of_sdtp_is_the_difference_at_the_label"),
    Fault("top inverse learns from logits", SDTP, "net.ops.softmax(above) if i == L else above",
          "above", INVERSE),
    Fault("hidden layers are told nothing", SDTP, "times_slope(h[i] - h_hat[i], h[i], h[i - 1])",
          "times_slope(h[i] - h[i], h[i], h[i - 1])",
          CONTRACT + "hidden_layers_that_learn_do_ten_times_better_than_hidden_layers_that_do_not"
          "[sdtp]"),
    Fault("feedback counts a step", SDTP, "p = ops.softmax(h[L])\n",
          "p = ops.softmax(h[L]); self.t += 1\n", CONTRACT + "asking_changes_nothing[sdtp]"),
    Fault("sdtp serves any loss", RULES + "inverses.py", "if classifier and", "if False and",
          CONTRACT + "what_a_rule_cannot_do_is_refused_with_a_sentence"),
    Fault("z recomputed for one term", AO, "G[L].forward(ops.join(o, z))",
          "G[L].forward(ops.join(o, self.Z.forward(h[L - 1] * 1.01)))",
          IDENTITY + "the_next_target_of_ao_sdtp_is_the_difference_with_the_same_z"),
    Fault("z without the noise", AO, "self.Z.forward(start)", "self.Z.forward(h[i - 1])", INVERSE),
    Fault("z drawn with the key of the inverse", AO, "(self.seed, AUXILIARY, L, 0)",
          "(self.seed, FEEDBACK, L, 0)",
          CONTRACT + "no_two_arrays_start_with_the_same_random_numbers_at_any_scale[ao-sdtp]"),
    Fault("z goes to its label too", AO, "ops.join(o - self.label_step * delta[L], z)",
          "ops.join(o - self.label_step * delta[L], 0 * z)",
          IDENTITY + "the_target_of_the_output_leaves_z_what_it_is"),

    # Memory that is predicted
    Fault("a copy is taken for a view", SHAPES, "        if strides is None:\n",
          "        strides = strides or [0] * len(shape)\n        if strides is None:\n",
          MEMORY + "the_predicted_peak_of_every_rule_is_the_measured_one[bp-conv]"),
    Fault("a view is counted twice", SHAPES, "return windows(self, shape, strides)",
          "return new(self.block.meter, shape, self.dtype)",
          MEMORY + "the_predicted_peak_of_every_rule_is_the_measured_one[bp-conv]"),
    Fault("a transpose is counted twice", SHAPES, "return Sized(self.ghost.T, self.block)",
          "return Sized(self.ghost.T, Block(self.block.meter, self.nbytes))",
          MEMORY + "an_operation_allocates_what_the_reference_does"),
    Fault("a rounded copy is forgotten", SHAPES,
          "return new(self.block.meter, self.shape, dtype, like=self)", "return self",
          MEMORY + "a_copy_has_bytes_of_its_own"),
    Fault("what is joined is forgotten", SHAPES,
          "return new(parts[0].block.meter, shape,", "return new(Meter(), shape,",
          MEMORY + "an_operation_allocates_what_the_reference_does"),
    Fault("bytes are never given back", SHAPES, "self.meter.now -= self.n_bytes", "pass",
          MEMORY + "the_predicted_peak_of_every_rule_is_the_measured_one[bp-dense]"),
    Fault("the peak is the last", SHAPES, "meter.peak = max(meter.peak, meter.now)",
          "meter.peak = meter.now",
          MEMORY + "the_predicted_peak_of_every_rule_is_the_measured_one[bp-dense]"),
    Fault("every operand is reused", SHAPES, "references != TEMPORARY or", "",
          MEMORY + "an_operation_allocates_what_the_reference_does"),
    Fault("no operand is reused", SHAPES, "TEMPORARY = Probe() + 0", "TEMPORARY = -1",
          MEMORY + "the_predicted_peak_of_every_rule_is_the_measured_one[bp-dense]"),
    Fault("an operand of the wrong dtype is reused", SHAPES,
          "and np.can_cast(other.dtype, x.dtype, \"safe\")", "",
          MEMORY + "an_operation_allocates_what_the_reference_does"),
    Fault("the integers of a draw are forgotten", SHAPES, "4), np.uint32)", "4), np.bool_)",
          MEMORY + "an_operation_allocates_what_the_reference_does"),
    Fault("initial weights are drawn to predict them", SHAPES, "ops.philox, ops.host",
          "ops.philox, ops.other",
          MEMORY + "initial_weights_are_drawn_by_the_reference_for_all_others"),
    Fault("the instruments are forgotten", "minicredit/memory.py",
          "    angle_to_backprop(rule, x, y)\n", "",
          MEMORY + "the_predicted_peak_of_a_run_is_that_of_training_and_all_instruments"),
    Fault("refused by the steps alone", "minicredit/memory.py", "need.run > most",
          "need.steps > most",
          MEMORY + "advice_is_given_where_it_helps_alone"),
    Fault("kept files count as taken", "minicredit/memory.py", "+ cached)", ")",
          MEMORY + "a_container_s_share_counts_without_what_it_keeps_of_files"),

    # Runs that are saved, and disks that fail
    Fault("a file's bytes are not synced", FILES, "        os.fsync(descriptor)\n    finally:\n"
          "        os.close(descriptor)\n\n\ndef settle", "        pass\n    finally:\n"
          "        os.close(descriptor)\n\n\ndef settle",
          SAVED + "after_a_power_cut_at_any_call_there_is_a_checkpoint_that_can_be_loaded"),
    Fault("a short write is taken for a whole one", FILES, "        while left:",
          "        if left:",
          SAVED + "bytes_are_written_until_all_are"),
    Fault("a file is written under its own name", FILES, "        write(beside, data)\n"
          "        os.replace(beside, path)", "        write(path, data)",
          SAVED + "after_any_call_that_fails_there_is_a_checkpoint_that_can_be_loaded"),
    Fault("the checkpoint before the newest is removed", CHECKPOINT, "not in (path, before)",
          "!= path", SAVED + "the_newest_two_are_kept"),
    Fault("the checksum leaves out what is no array", CHECKPOINT, "hashlib.sha256(text.encode())",
          "hashlib.sha256()", SAVED + "of_every_byte_that_is_flipped_none_is_loaded_wrong"),
    Fault("the checksum leaves out the shapes", CHECKPOINT,
          "{array.dtype} {arrays[name].shape}", "{array.dtype}",
          SAVED + "of_every_byte_that_is_flipped_none_is_loaded_wrong"),
    Fault("counters are not brought back", "minicredit/state.py",
          "        holder[key] = numbers.get(name, missing)", "        pass",
          RESUMED + "what_is_restored_is_what_was_copied"),
    Fault("an array behind a tuple is forgotten", "minicredit/state.py", "(list, tuple)", "list",
          RESUMED + "everything_that_a_rule_keeps_is_found"),
    Fault("a pass that goes on begins with its first batch", "minicredit/training.py",
          "batches(split.n, batch, key)[first:end]", "batches(split.n, batch, key)[:end]",
          RESUMED + "a_run_that_goes_on_is_the_run_that_was_never_stopped[bp-numpy]"),
    Fault("a pass that goes on begins with its first scale", "minicredit/training.py",
          "optimizer.scale = scales[step]", "optimizer.scale = scales[step - first]",
          RESUMED + "a_run_that_goes_on_is_the_run_that_was_never_stopped[bp-numpy]"),
    Fault("a first step is not undone", "minicredit/state.py",
          "    restore(rule, arrays, numbers, missing=0)", "    pass",
          RESUMED + "a_first_step_that_is_undone_changes_nothing"),
    Fault("nobody is kept out", "minicredit/lock.py", "            if fcntl:",
          "            if not fcntl:",
          "test_job.py::test_a_second_process_is_refused_by_the_first_one_s_number_and_a_stale_"
          "lock_is_none"),
]


def copy_tree(folder):
    """The code and its tests in `folder`, laid out as installed: minicredit/kernels inside."""
    clean = shutil.ignore_patterns("__pycache__")
    for source, place in (("minicredit", "minicredit"), ("kernels", "minicredit/kernels"),
                          ("tests", "tests")):
        shutil.copytree(ROOT / source, folder / place, ignore=clean)
    shutil.copy(ROOT / "setup.cfg", folder)


def mutate(folder, fault):
    """Plant the fault in the copy.  It has to be there exactly once to be planted."""
    file = folder / fault.file.replace("kernels/", "minicredit/kernels/")
    text = file.read_text()
    if text.count(fault.old) != 1:
        raise SystemExit(f"{fault.file}: wanted {fault.old!r} once; it is there "
                         f"{text.count(fault.old)} times ({fault.what})")
    file.write_text(text.replace(fault.old, fault.new))


def nodes(folder, fault):
    """The full pytest name of the fault's test, which may be given by how it begins."""
    file, _, begins = fault.test.partition("::")
    name, bracket, rest = begins.partition("[")
    lines = (folder / "tests" / file).read_text().splitlines()
    found = [line[4:line.index("(")] for line in lines if line.startswith(f"def {name}")]
    if len(found) != 1:
        raise SystemExit(f"{fault.test}: wanted one test of this name; got {found}")
    return f"{file}::{found[0]}{bracket}{rest}"


def run(folder, tests):
    """Run the tests on the copy in `folder`, in this process, and end it with pytest's status."""
    signal.alarm(LIMIT)
    sys.dont_write_bytecode = True                  # two faults may differ by less than an mtime
    with open(folder / "said", "w") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    os.chdir(folder / "tests")
    sys.path.insert(0, str(folder))
    import minicredit.kernels
    for module in (minicredit, minicredit.kernels):
        if not module.__file__.startswith(str(folder)):
            os._exit(WRONG_COPY)
    status = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--tb=line",
                          "--hypothesis-profile=first failure", *tests])
    sys.stdout.flush()
    os._exit(status)


def start(folder, faults, tests):
    """A process that plants the faults in a copy of its own, and runs the tests on it."""
    folder.mkdir()
    copy_tree(folder)
    for fault in faults:
        mutate(folder, fault)
    pid = os.fork()
    if not pid:
        try:
            run(folder, tests)
        finally:
            os._exit(WRONG_COPY)                    # no import, or no pytest: not a failed test
    return pid


def verdict(status, folder):
    """What the exit status of a process with a fault means."""
    if status in (HEALTHY, FAILED):
        return SURVIVED if status == HEALTHY else KILLED
    return f"NOT RUN: exit status {status}, {(folder / 'said').read_text()}"


def run_all(runs, folder):
    """The exit status of each (faults, tests), WORKERS at a time."""
    statuses, running = {}, {}
    for n in range(len(runs)):
        if len(running) == WORKERS:
            await_one(running, statuses)
        running[start(folder / str(n), *runs[n])] = n
    while running:
        await_one(running, statuses)
    return [statuses[n] for n in range(len(runs))]


def await_one(running, statuses):
    """Move the process that ends next from `running` to `statuses`, in place."""
    pid, status = os.wait()
    statuses[running.pop(pid)] = os.waitstatus_to_exitcode(status)


def main(words):
    """Plant every fault whose description has all the words; 0 if all are killed."""
    faults = [fault for fault in FAULTS if all(word in fault.what for word in words)]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder).resolve()
        tests = [nodes(ROOT, fault) for fault in faults]
        runs = [((fault,), (test,)) for fault, test in zip(faults, tests)]
        *statuses, healthy = run_all([*runs, ((), sorted(set(tests)))], folder)
        ends = [verdict(status, folder / str(n)) for n, status in enumerate(statuses)]
        for fault, end in zip(faults, ends):
            print(f"{end:9} {fault.what:45} {fault.test}")
        if healthy != HEALTHY:
            print("\nwithout any fault:", verdict(healthy, folder / str(len(faults))))
            print((folder / str(len(faults)) / "said").read_text())
    print(f"\n{ends.count(KILLED)} of {len(faults)} faults killed")
    return int(healthy != HEALTHY or set(ends) != {KILLED})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
