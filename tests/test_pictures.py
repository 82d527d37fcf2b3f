"""The picture of how rules send information has every rule in it, on light and on dark paper."""
import pytest

from minicredit import pictures
from minicredit.rules import RULES


def test_every_rule_has_its_panel():
    shown = [name for panel in pictures.PANELS for name in panel.names.split()]
    assert sorted(shown) == sorted(RULES)


@pytest.mark.parametrize("dark", [False, True])
def test_the_picture_is_drawn_the_same_every_time(dark):
    image = pictures.draw(dark)
    assert image.startswith(b"\x89PNG") and len(image) > 50_000
    assert image == pictures.draw(dark) and image != pictures.draw(not dark)
