"""Golden pages: the vendors' documents and the field reports, read as they were read when somebody looked at the result."""

from pathlib import Path

import pytest
from golden_pages import describe, pages


@pytest.mark.parametrize(("vendor", "page"), pages(), ids=lambda value: getattr(value, "stem", value))
def test_page_is_read_as_before(vendor: str, page: Path) -> None:
    assert describe(vendor, page) == page.with_suffix(".expected").read_text(encoding="utf-8")


def test_there_are_pages() -> None:
    assert len(pages()) >= 11
