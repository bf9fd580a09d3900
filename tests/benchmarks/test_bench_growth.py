"""What the growth of costs is judged by: the fit, and the bound."""

import xml.etree.ElementTree as ET

import pytest
from growth_plot import Curve, drawing, fitted

FLAT = [(10, 5.0), (100, 5.2), (1_000, 5.1)]
LINEAR = [(10, 2.0), (100, 20.0), (1_000, 200.0)]


def test_the_exponent_is_that_of_the_law() -> None:
    factor, exponent = fitted(LINEAR)
    assert exponent == pytest.approx(1)
    assert factor == pytest.approx(0.2)
    assert abs(fitted(FLAT)[1]) < 0.01


def test_what_grows_more_than_it_may_is_a_fault() -> None:
    assert not Curve("a", "b", "c", FLAT, 0.15).fault
    assert Curve("a", "b", "c", LINEAR, 0.15).fault
    assert Curve("a", "b", "c", LINEAR, 0.15).row().endswith("n^1.00, at most n^0.15  TOO MUCH")


def test_a_drawing_has_every_point_and_no_markup_of_a_name() -> None:
    found = ET.fromstring(drawing([Curve("<a>", "b", "c", FLAT, 1), Curve("d", "e", "f", LINEAR, 1)]))
    names = [each.tag.rpartition("}")[2] for each in found.iter()]
    assert names.count("circle") == 6
    assert any(text.text == "<a>, n^0.00" for text in found.iter() if text.text)
