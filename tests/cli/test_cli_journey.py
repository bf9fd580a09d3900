"""What `poller journey` shows of numbers."""

import pytest

from poller.cli.journey import masked_line


@pytest.mark.parametrize("wanted", ["3", "30", "0", " ", "crm", "601", "486013"])
def test_a_short_id_shows_no_number_that_it_is_a_part_of(wanted: str) -> None:
    line = "  crm: delivered, file /out/48601302403.wav of 601 as entry 3"
    assert masked_line(line, wanted) == "  crm: delivered, file /out/********403.wav of 601 as entry 3"


def test_the_id_that_was_asked_for_stays() -> None:
    assert masked_line("  48601302403, of 48601302404", "48601302403") == "  48601302403, of ********404"
    assert masked_line("  a48601302403 and 48601302403.", "48601302403") == "  a********403 and 48601302403."
