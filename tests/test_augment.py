"""Crops and flips: what an image becomes, on what it depends, and on what it does not."""
import numpy as np
import pytest

from minicredit.data import Split
from minicredit.data.augment import Augmented, below, coins, draws
from minicredit.errors import UserError
from minicredit.keys import DATA
from minicredit.training import batches

KEY = (5, DATA, 0, 3)
N = 600
SHAPES = [(5, 6), (5, 6, 3), (4, 4, 1)]


def split(shape, n=N):
    """n images, no two pixels of which are alike, and none 0."""
    x = 1 + np.arange(n * np.prod(shape), dtype=np.float64).reshape(n, -1)
    return Split(x, np.arange(n) % 10)


def everything(augmented, key=KEY, size=64):
    """All images in the order of the rows, read in batches of `size`."""
    rows = [np.arange(k, min(k + size, augmented.n)) for k in range(0, augmented.n, size)]
    x, y = zip(*augmented.read(rows, key))
    return np.concatenate(x), np.concatenate(y)


def by_definition(image, crop, down, across, flip, vertical):
    """The definition in the docstring, a pixel at a time."""
    rows, columns = image.shape[:2]
    made = np.zeros_like(image)
    for r in range(rows):
        for c in range(columns):
            here = (down + (rows - 1 - r if vertical else r) - crop,
                    across + (columns - 1 - c if flip else c) - crop)
            if 0 <= here[0] < rows and 0 <= here[1] < columns:
                made[r, c] = image[here]
    return made


TURNS = [(0, False, False), (0, True, False), (2, False, False), (2, True, False), (3, True, True),
         (9, False, True)]


@pytest.mark.parametrize("crop, flip, vertical", TURNS)
@pytest.mark.parametrize("shape", SHAPES)
def test_an_image_is_cut_from_itself_among_zeros_and_turned_as_its_words_say(shape, crop, flip,
                                                                              vertical):
    images = split(shape, 40)
    got, y = everything(Augmented(images, shape, crop, flip, vertical))
    words = draws(40, KEY)
    for n in range(40):
        want = by_definition(images.x[n].reshape(shape), crop, *below(words[n, :2], 2 * crop + 1),
                             flip and coins(words[n, 2]), vertical and coins(words[n, 3]))
        assert np.array_equal(got[n].reshape(shape), want)
    assert np.array_equal(y, images.y)


def test_every_offset_comes_equally_often_and_every_other_image_is_flipped():
    words = draws(90_000, KEY)
    for column in (0, 1):
        counts = np.bincount(below(words[:, column], 9), minlength=9)
        assert len(counts) == 9 and abs(counts - 10_000).max() < 5 * 95     # five deviations
    for column in (2, 3):
        assert abs(coins(words[:, column]).sum() - 45_000) < 5 * 150
    assert abs(np.corrcoef(words.T) - np.eye(4)).max() < 5 / 300


@pytest.mark.parametrize("shape", SHAPES)
def test_what_an_image_becomes_does_not_depend_on_the_batch_it_comes_in(shape):
    augmented = Augmented(split(shape), shape)
    want, _ = everything(augmented)
    for rows in batches(N, 37, KEY):
        (x, y), = augmented.read([rows], KEY)
        assert np.array_equal(x, want[rows]) and np.array_equal(y, augmented.y[rows])


@pytest.mark.parametrize("other", [(6, DATA, 0, 3), (5, DATA, 1, 3), (5, DATA, 0, 4)])
def test_another_seed_pass_or_epoch_gives_other_pictures_and_the_same_again_the_same(other):
    augmented = Augmented(split((5, 6)), (5, 6))
    first, again, others = (everything(augmented, key)[0] for key in (KEY, KEY, other))
    assert np.array_equal(first, again)
    alike = (first == others).all(axis=1).mean()
    assert alike < 0.05                                     # 1 / (9 * 9 * 2) by chance


def test_the_words_of_the_pictures_are_not_those_of_their_order():
    from minicredit.kernels import reference
    order = reference.philox(4 * N, KEY)
    assert not np.isin(draws(N, KEY).reshape(-1), order).any()


def test_without_a_key_the_images_come_as_they_are_and_reading_changes_none():
    images = split((5, 6, 3))
    kept = images.x.copy()
    augmented = Augmented(images, (5, 6, 3))
    everything(augmented)
    assert np.array_equal(images.x, kept)
    x, y = everything(augmented, None)
    assert np.array_equal(x, kept) and np.array_equal(y, images.y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_stays_and_rows_are_contiguous(dtype):
    images = Split(split((5, 6)).x.astype(dtype), np.arange(N))
    (x, _), = Augmented(images, (5, 6)).read([np.arange(7)], KEY)
    assert x.dtype == dtype and x.shape == (7, 30) and x.flags.c_contiguous


def test_the_first_examples_are_augmented_as_they_were_among_all():
    augmented = Augmented(split((5, 6, 3)), (5, 6, 3), 2, False, True)
    few = augmented.first(20)
    assert few.n == 20 and np.array_equal(few.y, augmented.y[:20])
    assert np.array_equal(everything(few)[0], everything(augmented)[0][:20])


@pytest.mark.parametrize("shape", [(5, 5), (3, 5, 2, 1), (30,)])
def test_a_shape_that_is_not_the_images_is_refused(shape):
    with pytest.raises(UserError, match="^augment: wanted the shape of images of 30 numbers, got"):
        Augmented(split((5, 6)), shape)


@pytest.mark.parametrize("crop", [-1, 0.5])
def test_a_crop_that_is_no_number_of_pixels_is_refused(crop):
    with pytest.raises(UserError, match=f"^crop: wanted a whole number.*got {crop}"):
        Augmented(split((5, 6)), (5, 6), crop)
