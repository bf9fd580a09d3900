"""What is shipped is on the page of licences, and each licence is one that may be shipped."""

import pytest
from licences_page import ALLOWED, LOCK, TARGET, Pin, forbidden, licence, pins, shipped, text

LOCKED = """\
a-package==1.0 \\
    --hash=sha256:00
    # via x
b==2026.1 ; sys_platform == 'win32' \\
    --hash=sha256:00
c[extra]==3 ; platform_python_implementation != 'PyPy' \\
    --hash=sha256:00
"""


def test_the_page_is_the_lock() -> None:
    assert TARGET.read_text(encoding="utf-8") == text(), "make docs writes it anew"


def test_every_licence_is_allowed() -> None:
    here = [pin.name for pin in pins(LOCK.read_text(encoding="utf-8")) if shipped(pin)]
    assert len(here) > 30
    assert {name: licence(name) for name in here if forbidden(licence(name))} == {}


def test_a_lock_is_read_with_its_markers() -> None:
    found = pins(LOCKED)
    assert found == [
        Pin("a-package", "1.0", ""),
        Pin("b", "2026.1", "sys_platform == 'win32'"),
        Pin("c", "3", "platform_python_implementation != 'PyPy'"),
    ]
    assert [shipped(pin) for pin in found] == [True, False, True]


@pytest.mark.parametrize(
    ("expression", "bad"),
    [
        ("MIT", False),
        ("GPL-3.0-only", True),
        ("GPL-3.0-only OR MIT", False),
        ("MIT AND GPL-3.0-only", True),
        ("Apache-2.0 AND BSD-2-Clause", False),
        ("Proprietary", True),
        ("", True),
    ],
)  # fmt: skip
def test_what_is_forbidden(expression: str, bad: bool) -> None:
    assert forbidden(expression) is bad
    assert "GPL-3.0-only" not in ALLOWED
