"""What a comparison leaves behind: results.json, figure.png and report.html."""
import math

import numpy as np

from minicredit import report

BACKPROP = "bp"
#        final error %, learning time in epochs, angle of the lowest and the highest hidden layer
SHAPES = {"bp": (1.9, 2.0, 0, 0), "fa": (2.6, 4.0, 52, 24), "dfa": (2.4, 3.5, 58, 30),
          "dtp": (2.2, 3.0, 71, 38), "tp": (7.5, 6.0, 93, 80), "sdtp": (3.1, 5.0, 84, 61),
          "ao-sdtp": (2.8, 4.5, 80, 55), "kickback": (4.2, 2.5, 18, 4), "usf": (2.0, 2.2, 35, 14),
          "frsf": (2.1, 2.4, 44, 20), "brsf": (2.3, 2.6, 49, 23),
          "weight-mirror": (2.05, 2.6, 17, 8), "kolen-pollack": (1.95, 2.4, 9, 4)}
ABOUT = {
    "bp": {"title": "Backpropagation", "paper": "Rumelhart, Hinton & Williams 1986",
           "idea": "Send the error down through the transpose of every weight."},
    "fa": {"title": "Feedback alignment", "paper": "Lillicrap et al. 2016",
           "idea": "Send the error down through fixed random weights."},
    "dfa": {"title": "Direct feedback alignment", "paper": "Nøkland 2016",
            "idea": "Send the output error straight to every layer."},
    "dtp": {"title": "Difference target propagation", "paper": "Lee et al. 2015",
            "idea": "Tell every layer what it should have said, through learned inverses."},
}


def sample(rules=("bp", "fa", "dfa", "dtp"), seeds=3, L=4, epochs=30):
    """Results that look like those of a real comparison."""
    runs = [sample_run(rule, seed, L, epochs) for rule in rules for seed in range(seeds)]
    hyperparameters = {"optimizer": "adam", "eta": 0.001, "beta1": 0.9, "beta2": 0.999,
                       "epsilon": 1e-08, "eta_inverse": 0.002, "sigma": 0.1, "target_step": 0.3}
    return {
        "config": {"command": "minicredit compare --data digits --rules " + ",".join(rules),
                   "data": "digits", "net": "-".join(["64"] * L + ["10"]), "activation": "tanh",
                   "epochs": epochs, "batch": 32, "seeds": seeds, "backend": "numpy",
                   "dtype": "float32", "rules": {rule: hyperparameters for rule in rules}},
        "versions": {"minicredit": "0.1.0", "python": "3.11.7", "numpy": "2.4.6",
                     "platform": "Linux-6.1-x86_64"},
        "runs": runs,
    }


def sample_run(rule, seed, L, epochs):
    """One run: errors fall like exp(-t), angles from 90 degrees to the rule's own."""
    final, time, low_layer, high_layer = SHAPES.get(rule, SHAPES["fa"])
    rng = np.random.default_rng((seed, *rule.encode()))
    L = L - 1 if rule == "kickback" else L
    own = [*np.linspace(low_layer, high_layer, L - 1), 0.0]
    rows = []
    for epoch in range(1, epochs + 1):
        left = math.exp(-epoch / time)
        validation = final * 1.1 + 60 * left + rng.normal(0, 0.12)
        noisy = [a + (90 - a) * left * (a > 0) + rng.normal(0, 1.5) * (a > 0) for a in own]
        rows.append({"epoch": epoch, "train_loss": 2.3 * left + 0.02 * final,
                     "train_error": max(0.0, 60 * left + final - 1.8),
                     "validation_error": validation,
                     "test_error": final + 60 * left + rng.normal(0, 0.1), "seconds": 0.4 * time,
                     "angle_to_backprop": noisy})
    best = min(rows, key=lambda row: row["validation_error"])
    return {"rule": rule, "seed": seed, "epochs": rows, "best_epoch": best["epoch"],
            "test_error": best["test_error"], "train_error": best["train_error"],
            "seconds": 0.4 * time * epochs, "peak_memory_bytes": 180_000_000 + 10_000_000 * seed}
