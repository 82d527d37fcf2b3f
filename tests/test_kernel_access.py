"""How a block reads and writes memory: bank conflicts and sectors, held to a budget.

The cost of an access is counted by the emulator (counts.cpp) and divided by the least that so many
bytes can cost.  A kernel that is not listed pays that and no more; the list says who pays more.
"""
from functools import cache

import pytest

from minicredit.kernels.cuda import faults, source
from minicredit.kernels.cuda.trials import TRIALS

SIZE = 64, 64, 64                       # whole tiles, whole vectors
SLACK = 1.05                            # for what is not listed: ends of rows that share a sector

SLICES, FEW = 2.8, 2.0                  # sums of slices meet in shared memory: once a tile
BUDGETS = {
    # the ladder's lower rungs are there to show it
    ("naive", "global load"): 6.6, ("naive", "global store"): 8.0,
    ("registers", "shared store"): 1.5, ("quads", "shared store"): 1.5,
    # a thread writes its own four numbers, one after the other; the cache puts them together
    ("quads", "global store"): 4.0, ("warps", "global store"): 4.0, ("tensor", "global store"): 2.0,
    ("warps", "shared store"): 1.5,
    ("dense", "shared store"): SLICES, ("reconstruct", "shared store"): 1.5,
    ("signed_dense", "shared store"): SLICES, ("target", "shared store"): SLICES,
    ("dense_grad", "shared store"): FEW, ("descend", "shared store"): FEW,
    ("signed_grad", "shared store"): FEW, ("signed_descend", "shared store"): FEW,
    ("pull_back", "shared store"): 1.5, ("signed_pull_back", "shared store"): 1.5,
    ("pull_back", "shared load"): 1.2, ("signed_pull_back", "shared load"): 1.2,
    # pictures of three channels: a unit's 12 bytes begin anywhere in a sector
    ("local_gather", "global load"): 2.0, ("local_gather", "global store"): 2.0,
    ("local_gather", "shared store"): 1.2,
    ("local_scatter", "global load"): 1.2, ("local_scatter", "global store"): 8.0,
    ("local_scatter", "shared load"): 1.15, ("local_scatter", "shared store"): 1.4,
    ("local_grad", "global load"): 1.2, ("local_grad", "global store"): 3.5,
    ("local_grad", "shared load"): 1.4, ("local_grad", "shared store"): 1.4,
    ("conv_gather", "global load"): 2.2, ("conv_gather", "global store"): 2.0,
    ("conv_gather", "shared load"): 1.4, ("conv_gather", "shared store"): 1.2,
    ("conv_scatter", "global load"): 1.2, ("conv_scatter", "global store"): 7.0,
    ("conv_scatter", "shared load"): 1.2, ("conv_scatter", "shared store"): 1.4,
    ("conv_grad", "global load"): 1.3, ("conv_grad", "global store"): 3.5,
    ("conv_grad", "shared load"): 1.4, ("conv_grad", "shared store"): 1.4,
    ("mean_rows", "global load"): 1.3, ("sum_parts", "global load"): 1.3,   # of the same pictures
}


@cache
def costs(file, text=None):
    """{(kernel, "shared load"): cost over the least}, of block 0."""
    found, accesses = faults.findings(file, SIZE, text, counted=0)
    assert not found, found
    sums = {}
    for kernel, rows in accesses.items():
        for row in rows:
            cost = sums.setdefault((kernel, f"{row['space']} {row['op']}"), [0, 0])
            cost[0] += row["cost"]
            cost[1] += row["best"]
    return {key: cost / best for key, (cost, best) in sums.items()}


@pytest.mark.parametrize("file", TRIALS)
def test_a_kernel_keeps_to_its_budget(file):
    over = {key: cost for key, cost in costs(file).items() if cost > BUDGETS.get(key, SLACK)}
    assert not over, over


def test_no_budget_is_larger_than_it_must_be():
    paid = {key: cost for file in TRIALS for key, cost in costs(file).items()}
    loose = {key: (budget, paid.get(key, 0)) for key, budget in BUDGETS.items()
             if paid.get(key, 0) < 0.7 * budget}
    assert not loose, loose


@pytest.mark.parametrize("file, kernel, kind, old, new", [
    ("matmul", "shared", "shared load", "sum += a[y][i] * b[i][x]", "sum += a[y][i] * b[i][x % 32]"
     " + 0 * a[x][i]"),
    ("matmul", "coalesced", "global store", "blockIdx.y * 8 + threadIdx.y, column = blockIdx.x * 32"
     " + threadIdx.x", "blockIdx.x * 32 + threadIdx.x, column = blockIdx.y * 8 + threadIdx.y"),
    ("matmul", "registers", "shared store", "real a[16][65]", "real a[16][64]"),
])
def test_a_conflict_is_seen(file, kernel, kind, old, new):
    text = source.located(file).read_text()
    assert old in text
    changed = costs(file, text.replace(old, new, 1))
    assert changed[kernel, kind] > 1.9 * costs(file)[kernel, kind]
