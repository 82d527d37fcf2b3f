"""What device.cuh says of each hardware instruction is what the instruction does.

The emulator takes the meaning beside it, a GPU the instruction; both are held to the same answer.
"""
from pathlib import Path

import numpy as np
import pytest

FILE = Path(__file__).with_name("instructions.cu")


def launch(device, kernel, blocks, threads, args, defines=(("BYTES", 16),), **more):
    """Arguments that are arrays go to the device; returns them there."""
    on = [device.asarray(x) if isinstance(x, np.ndarray) else x for x in args]
    device.launch(FILE, kernel, defines, blocks, threads, on, **more)
    return on


def test_rounding_to_tf32_keeps_ten_bits_and_takes_ties_away_from_zero(device):
    x = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    x *= 10.0 ** np.random.default_rng(1).integers(-20, 20, 1000).astype(np.float32)
    tie = (x.view(np.uint32) & np.uint32(0xFFFFE000) | np.uint32(0x1000)).view(np.float32)
    x = np.concatenate([x, tie, np.float32([0, -0.0, 1, -1, np.inf, -np.inf])])
    bits = launch(device, "rounded", 8, 256, [x, np.zeros(len(x), np.uint32), len(x)])[1]
    got = device.to_numpy(bits).view(np.float32)
    finite = np.isfinite(x)
    assert (got[~finite] == x[~finite]).all()
    with np.errstate(divide="ignore"):
        unit = 2.0 ** (np.floor(np.log2(np.abs(x[finite].astype(np.float64)))) - 10)
    unit[x[finite] == 0] = 1
    scaled = x[finite] / unit                                       # 1024 to 2047 and a half
    want = np.sign(scaled) * np.floor(np.abs(scaled) + 0.5) * unit
    np.testing.assert_array_equal(got[finite], want)


def test_the_tensor_cores_fragments_lie_where_device_cuh_says(device):
    """Whole numbers that have no rounding, so each has to be at its place."""
    dice = np.random.default_rng(2)
    A, B, D = (dice.integers(-31, 32, shape).astype(np.float32)
               for shape in ((16, 8), (8, 8), (16, 8)))
    got = device.to_numpy(launch(device, "multiplied", 1, 32, [A, B, D.copy()])[2])
    np.testing.assert_array_equal(got, A @ B + D)


def test_the_tensor_cores_product_is_near_that_of_rounded_numbers(device):
    dice = np.random.default_rng(3)
    A, B, D = (dice.standard_normal(shape).astype(np.float32)
               for shape in ((16, 8), (8, 8), (16, 8)))
    got = device.to_numpy(launch(device, "multiplied", 1, 32, [A, B, D.copy()])[2])
    want = A.astype(np.float64) @ B + D
    assert (np.abs(got - want) <= 2.0**-10 * (np.abs(A) @ np.abs(B) + np.abs(D))).all()


@pytest.mark.parametrize("size", [4, 8, 16])
def test_a_copy_in_the_background_puts_zeros_for_what_it_does_not_read(device, size):
    x = np.random.default_rng(4).integers(1, 255, (32, size)).astype(np.uint8)
    wanted = (np.arange(32) % (size + 1)).astype(np.int32)
    out = launch(device, "copied", 1, 32, [x, wanted, np.zeros_like(x)], (("BYTES", size),))[2]
    read = np.arange(size) < wanted[:, None]
    np.testing.assert_array_equal(device.to_numpy(out), x * read)


def test_groups_of_copies_arrive_in_order(device):
    x = np.arange(64, dtype=np.int32)
    out = launch(device, "two_groups", 1, 32, [x, np.zeros(64, np.int32)])[1]
    np.testing.assert_array_equal(device.to_numpy(out), np.r_[x[31::-1], x[:31:-1]])


def test_a_barrier_of_the_grid_holds_all_blocks_and_can_be_passed_again(device):
    n, more = 250, {"cooperative": True} if hasattr(device, "checked") else {}
    args = [np.zeros(n, np.int32), np.zeros(2 * n, np.int32), np.zeros(1, np.uint32), n]
    out = launch(device, "around", 4, 64, args, **more)[1]
    want = np.arange(n)[::-1]
    np.testing.assert_array_equal(device.to_numpy(out), np.r_[want, 2 * want])
