"""The configuration: what is read, and that every fault is named with its path and line."""

import re
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from poller.config import Settings, load
from poller.crosscheck import endpoints_of, source_id
from poller.errors import ConfigError
from poller.kinds import Kinds, kind_of
from poller.yaml_file import read

KINDS = Kinds(
    sources="config_kinds.sources",
    sinks="config_kinds.sinks",
    stores="config_kinds.stores",
)
ENV = {"PASSWORD": "hunter2-geheim"}
Loader = Callable[..., Settings]

WHOLE = """\
store: {kind: tray}
sinks:
  out: {kind: log}
sources:
  office:
    kind: phones
    base_url: https://pbx.example/api/
    password: {env: PASSWORD}
    endpoints:
      calls: {interval: 30s, page_size: 50}
"""


@pytest.fixture
def loaded(tmp_path: Path) -> Loader:
    def load_text(text: str | bytes, env: dict[str, str] = ENV, **more: Any) -> Settings:
        path = tmp_path / "poller.yaml"
        path.write_bytes(text if isinstance(text, bytes) else dedent(text).encode())
        return load(path, env, kinds=KINDS, **more)

    return load_text


def faults(loaded: Loader, text: str | bytes, **more: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(text, **more)
    for secret in ENV.values():
        assert secret not in str(caught.value)
    return caught.value.faults


def test_a_whole_file_gives_settings_with_defaults(loaded: Loader) -> None:
    settings = loaded(WHOLE)
    office = settings.sources["office"]
    assert kind_of(office) == "phones"
    assert office.base_url == "https://pbx.example/api"
    assert source_id("office", office) == "office"
    assert list(endpoints_of(office)) == ["calls"]
    assert endpoints_of(office)["calls"].interval == 30
    assert settings.server.address == ("127.0.0.1", 9464)
    assert (settings.retention, settings.seen_ttl, settings.shutdown_grace) == (7 * 86400, 30 * 86400, 30)
    assert settings.admin.socket == Path("/run/poller.sock")
    assert settings.log.format == "json"


def test_secrets_are_never_shown(loaded: Loader) -> None:
    settings = loaded(WHOLE)
    assert settings.sources["office"].password.reveal() == "hunter2-geheim"  # type: ignore[attr-defined]
    for shown in (repr(settings), settings.model_dump_json(), str(settings.model_dump())):
        assert "geheim" not in shown
    assert settings.model_dump(mode="json")["sources"]["office"]["password"] == {"env": "PASSWORD"}


def test_the_dump_can_be_loaded_again(loaded: Loader) -> None:
    import yaml  # noqa: PLC0415 only this test writes YAML

    settings = loaded(WHOLE)
    again = loaded(yaml.safe_dump(settings.model_dump(mode="json", exclude_none=True)))
    assert again.model_dump() == settings.model_dump() | {"sources": again.model_dump()["sources"]}
    assert again.model_dump(mode="json") == settings.model_dump(mode="json")


def test_every_fault_at_once(loaded: Loader) -> None:
    text = """\
    store: {kind: trai}
    retention: 7
    sinks:
      out: {kind: log, security: {usernam: me, password: {env: NOWHERE}}}
    sources:
      office:
        kind: phones
        base_url: pbx.example
        password: geheim
        endpoints:
          calls: {intervall: 30s, page_size: 501, ladder: [{back: 5m, evry: 3s}]}
      cellar: {kind: fones}
    shutdown: 3s
    """
    assert faults(loaded, text) == [
        "store.kind (line 1): 'trai' is unknown (did you mean `tray`?): the kinds are tray",
        "retention (line 2): 7 is no duration: its unit is missing (ms, s, m, h, d, w), such as 7s or 7m",
        "sinks.out.security.password (line 4): the environment variable NOWHERE is not set",
        "sinks.out.security.usernam (line 4): is no known key (did you mean `username`?)",
        "sinks.out.security.username (line 4): is required",
        "sources.office.base_url (line 8): must be a URL such as https://pbx.example:8443/api: this one begins with neither https:// nor http://",
        "sources.office.password (line 9): a secret is written {env: NAME} or {file: PATH}, never as plain text",
        "sources.office.endpoints.calls.intervall (line 11): is no known key (did you mean `interval`?)",
        "sources.office.endpoints.calls.ladder[0].evry (line 11): is no known key (did you mean `every`?)",
        "sources.office.endpoints.calls.page_size (line 11): must be at most 500",
        "sources.cellar.base_url (line 12): is required",
        "sources.cellar.kind (line 12): 'fones' is unknown (did you mean `phones`?): the kinds are phones",
        "shutdown (line 13): is no known key (did you mean `shutdown_grace`?)",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "the file is empty"),
        ("# nothing\n", "the file is empty"),
        ("- a\n", "(line 1): the file must be a map of keys"),
        ("just text", "the file must be a map of keys"),
        ("store:\n\tkind: tray\n", "(line 2, column 1): a tab: YAML is indented with spaces only"),
        (b"store: {kind: tray}\nname: \xff\n", "(line 2): not UTF-8"),
        (b"store: {kind: tray}\nname: \x07\n", "has a control character (code 7)"),
        ("store: {kind: tray\n", "(line 2, column 1): "),
        ("---\na: 1\n---\nb: 2\n", "(line 3, column 1): "),
        ("a: " + "[" * 100_000, "nested too deeply"),
        ("a: " + "[" * 60 + "]" * 60, "nested too deeply"),
        ("a: &a [*a]", "nested too deeply, or an alias within itself"),
        ("x" * 5_000_000, "larger than 4 MiB"),
        ("a: *nowhere", "(line 1, column 4): found undefined alias 'nowhere'"),
        ("a:\n    b: 1\n   c: 2\n", "(line 3, column 4): is indented otherwise than the lines that it belongs to"),
        ("a: b\n  c: d\n", "(line 2, column 4): a colon where none may be: is this line indented too far?"),
        ("a: me: you\n", "Text with a colon goes into quotes"),
        ("a:\n  b: 'x\n  c: 1\n", "the file ends before a quote is closed (what it belongs to begins in line 2)"),
        (
            "a: [1,\nb: 2\nc: 3\n",
            "a bracket is not closed before this, or a comma is missing (what it belongs to begins in line 1)",
        ),
        ("a: @b\n", "(line 1, column 4): text that begins with a sign such as @ or % goes into quotes"),
        ("a: [*]\n", "text that begins with * or & goes into quotes"),
        ("a: 1\n---\nb: 1\n", "a second document begins here (`---`): a file holds one"),
        ('a: "C:\\poller"\n', "a backslash in double quotes begins an escape: put the text into single quotes"),
        ('a: "\\UFFFFFFFF"\n', "has an escape (`\\U…`) of a character that does not exist"),
        ("a: &x 1\nb: &x 2\n", "(line 2, column 4): this anchor (`&`) was given a value before"),
        ("a: 1\nb\nc: 2\n", "a colon is missing, here or in the line before"),
    ],
)
def test_a_file_that_cannot_be_read(loaded: Loader, text: str | bytes, fault: str) -> None:
    (found,) = faults(loaded, text)
    assert "poller.yaml" in found
    assert fault in found


def test_a_bomb_of_aliases_is_refused(loaded: Loader) -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    (found,) = faults(loaded, "\n".join(rows))
    assert "more than 200000 values once aliases are followed" in found


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read: No such file or directory"):
        load(tmp_path / "nowhere.yaml", {})
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path, {})


def with_line(line: str) -> str:
    return WHOLE + line


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (with_line("retention: 1d\nretention: 2d\n"), "retention (line 11): is given twice (lines 11 and 12)"),
        (with_line("sources: {}\n"), "sources (line 4): is given twice (lines 4 and 11)"),
        (with_line("log: []\n"), "log (line 11): must be a map of keys"),
        (with_line("log: {level: loud}\n"), "log.level (line 11): must be 'debug', 'info', 'warning' or 'error'"),
        (with_line("server: {listen: 9464}\n"), "server.listen (line 11): must be text: put it into quotes"),
        (with_line("server: {listen: 'x:99999'}\n"), "server.listen (line 11): 'x:99999' is no address"),
        (with_line("server: {listen: '::1:80'}\n"), "an IPv6 address stands in brackets"),
        (with_line("seen_ttl: 2026-13-45\n"), "seen_ttl (line 11): is no valid date or number"),
        (with_line("retention: !!python/object:os.system x\n"), "retention (line 11): the tag "),
        (with_line("? [a]\n: b\n"), "the file (line 1): the key in line 11 is no plain text"),
        (with_line("retention: 0s\n"), "retention (line 11): must be from 1m to 3650d"),
        (with_line(f"retention: 0x{'f' * 90_000}\n"), "retention (line 11): is a number of too many digits"),
        (with_line("retention:\n"), "retention (line 11): is empty: give it a value, or remove it"),
        (with_line("log {level: info}\n"), "log {level (line 11): is no known key: is a colon missing after its first word?"),
        (with_line("retention: 36501d\n"), "is longer than 100 years"),
        (with_line("seen_ttl: 95h\n"), "sources.office.endpoints.calls.ladder (line 10): reaches back 2d"),
        (with_line("dead_letter_retention: 95h\n"), "dead_letter_retention is 95h, but at least 4d is needed"),
        (with_line("dead_letter_retention: 0s\n"), "dead_letter_retention (line 11): must be from 1d to 3660d"),
        (WHOLE.replace("password: {env: PASSWORD}\n", "\n"), "sources.office.password (line 5): is required"),
        (WHOLE.replace("{env: PASSWORD}", "{env: GONE}"), "the environment variable GONE is not set"),
        (WHOLE.replace("{env: PASSWORD}", "{file: gone}"), "cannot be read: No such file or directory"),
        (WHOLE.replace("{env: PASSWORD}", "{file: .}"), "is no file"),
        (WHOLE.replace("{env: PASSWORD}", "{file: /dev/zero}"), "is no file"),
        (WHOLE.replace("https://", "https://me:geheim@"), "this one holds a user or a password before the host"),
        (WHOLE.replace("/api/", "/api?key=1"), "must end with its path"),
        (WHOLE.replace("out:", "o/ut:"), "sinks.o/ut (line 3): a name has letters"),
        (WHOLE.replace("calls: {interval: 30s, page_size: 50}", "calls:"), "endpoints.calls (line 10): is empty: write {}"),
        (WHOLE.replace("calls: {interval: 30s, page_size: 50}", "{}"), "(line 9): names no endpoint"),
        (WHOLE.replace("  office:", "  - office:"), "sources (line 4): must be a map by name"),
        (WHOLE.replace("kind: phones", "kind: 8"), "sources.office.kind (line 6): 8 is unknown"),
        (WHOLE.replace("    kind: phones\n", ""), "sources.office.kind (line 5): is required: the kinds are phones"),
        (WHOLE.replace("store: {kind: tray}\n", ""), "store (line 1): is required"),
        (WHOLE.replace("{kind: tray}", "tray"), "store (line 1): must be a map of keys"),
        (WHOLE.replace("{kind: tray}", "{kind: drawer}"), "'drawer' is unknown: the kinds are tray"),
        (WHOLE.replace("{kind: tray}", "{kind: tray, max_bytes: 1e999GiB}"), "is no size"),
        (WHOLE.replace("30s,", "30s, start: 1969-12-31,"), "calls.start (line 10): is before the year 2000"),
        (WHOLE.replace("30s,", "30s, start: never,"), "calls.start (line 10): 'never' is no start"),
        (WHOLE.replace("30s,", "30s, ladder: [],"), "calls.ladder (line 10): "),
        (WHOLE.replace("30s,", "30s, ladder: [{back: 5m, every: 1m}],"), "the first rung is due at every poll"),
        (WHOLE.replace("30s,", "30s, ladder: [{back: 5m, every: no}],"), "ladder[0].every (line 10): must be 'poll', or "),
        (WHOLE.replace("30s,", "30s, <<: {},"), "merge keys (`<<`, line 10) are not supported"),
        (with_line("  cellar: {kind: phones, id: office, base_url: 'http://b', password: {env: PASSWORD}, "
                   "endpoints: {calls: {}}}\n"), "sources.cellar.id (line 11): 'office' is also the id of `office`"),
    ],
)  # fmt: skip
def test_one_fault_one_sentence(loaded: Loader, text: str, fault: str) -> None:
    (found,) = faults(loaded, text)
    assert fault in found


def test_faults_between_sinks(loaded: Loader) -> None:
    sinks = "  out: {kind: log, transactional_id_prefix: a.b}\n  b.out: {kind: log, transactional_id_prefix: a}\n"
    sinks += "  c: {kind: log, renamed_from: out}\n  d: {kind: log, renamed_from: out}\n"
    assert faults(loaded, WHOLE.replace("  out: {kind: log}\n", sinks)) == [
        "sinks.b.out.transactional_id_prefix (line 4): together with the sink's name it is that of `out` too: `a.b.out`",
        "sinks.c.renamed_from (line 5): `out` is still a sink of its own",
        "sinks.d.renamed_from (line 6): `out` is still a sink of its own",
    ]


def test_seen_ttl_at_its_least(loaded: Loader) -> None:
    assert loaded(WHOLE + "seen_ttl: 96h\n").seen_ttl == 96 * 3600
    assert loaded(WHOLE + "dead_letter_retention: 96h\n").dead_letter_retention == 96 * 3600


def test_a_secret_from_a_file_next_to_the_configuration(loaded: Loader, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("geheim\r\n")
    settings = loaded(WHOLE.replace("{env: PASSWORD}", "{file: password}"))
    assert settings.sources["office"].password.reveal() == "geheim"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("content", "fault"), [(b"", "is empty"), (b"\n", "is empty"), (b"\xff", "is not UTF-8: save it in that encoding")]
)
def test_a_secret_file_that_is_no_use(loaded: Loader, tmp_path: Path, content: bytes, fault: str) -> None:
    (tmp_path / "password").write_bytes(content)
    (found,) = faults(loaded, WHOLE.replace("{env: PASSWORD}", "{file: password}"))
    assert found.endswith(fault)


def test_a_plain_secret_is_for_the_demo_only(loaded: Loader) -> None:
    text = WHOLE.replace("{env: PASSWORD}", "geheim")
    settings = loaded(text, literals=True)
    assert settings.sources["office"].password.reveal() == "geheim"  # type: ignore[attr-defined]
    assert "geheim" not in repr(settings) + settings.model_dump_json()
    assert len(faults(loaded, text)) == 1


def test_a_ladder_that_does_not_climb_hides_behind_no_other_fault(loaded: Loader) -> None:
    ladder = "ladder: [{back: 1h}, {back: 5m, every: 1h}], intervall: 5s"
    found = faults(loaded, WHOLE.replace("30s,", f"30s, {ladder},"))
    assert any("each rung must reach further back" in fault for fault in found)
    assert any("intervall" in fault for fault in found)


def test_aliases_may_share_a_ladder(loaded: Loader) -> None:
    ladder = "&l [{back: 10m}, {back: 1d, every: 1h}]"
    text = WHOLE.replace("50}", f"50, ladder: {ladder}}}\n      recordings: {{ladder: *l}}")
    found = endpoints_of(loaded(text).sources["office"])
    assert found["calls"].ladder == found["recordings"].ladder
    assert [rung.back for rung in found["calls"].ladder] == [600, 86400]


def test_what_is_written_alike_is_one_object_in_memory(loaded: Loader) -> None:
    lists = "calls: {interval: 7s, ladder: [{back: 10m}]}"
    each = f"{{kind: phones, base_url: https://pbx.example, password: {{env: PASSWORD}}, endpoints: {{{lists}}}}}"
    one, other, slow = loaded(
        f"store: {{kind: tray}}\nsources: {{one: {each}, other: {each}, slow: {each.replace('7s', '8s')}}}"
    ).sources.values()
    assert endpoints_of(one)["calls"] is endpoints_of(other)["calls"]
    assert endpoints_of(slow)["calls"].interval == 8.0
    assert endpoints_of(slow)["calls"].ladder[0] is endpoints_of(one)["calls"].ladder[0]
    assert one is not other


def test_what_is_wrong_behind_an_alias_stands_where_the_alias_does(loaded: Loader) -> None:
    text = """
    store: {kind: tray}
    sources:
      office: &one
        kind: phones
        base_url: https://pbx.example
        username: me
        password: {env: PASSWORD}
        endpoints: &lists
          calls: {intervall: 5s, page_size: 1, page_size: 2}
      cellar: *one
      attic:
        kind: phones
        base_url: https://pbx.example
        username: me
        password: {env: PASSWORD}
        endpoints:
          *lists
    """
    found = faults(loaded, text)
    lines = [re.sub(r": is .*", "", fault) for fault in found if "intervall" in fault]
    assert lines == [
        f"sources.{name}.endpoints.calls.intervall (line {line})"
        for name, line in (("office", 10), ("cellar", 11), ("attic", 18))
    ]
    twice = [fault for fault in found if "page_size" in fault]
    assert len(twice) == 3
    assert all("is given twice (lines 10 and 10)" in fault for fault in twice)


def test_aliases_in_lists_have_lines_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "poller.yaml"
    path.write_text("a: [1, &y {k: 2}]\nb:\n  - 5\n  - *y\n  - [*y]\n")
    lines = read(path).lines
    assert [lines["a", 1, "k"], lines["b", 1], lines["b", 1, "k"], lines["b", 2, 0, "k"]] == [1, 4, 4, 5]


def test_relative_paths_count_from_the_file(loaded: Loader, tmp_path: Path) -> None:
    settings = loaded(WHOLE.replace("{kind: tray}", "{kind: tray, path: a.db}") + "admin: {socket: p.sock}\n")
    assert settings.store.path == tmp_path / "a.db"  # type: ignore[attr-defined]
    assert settings.admin.socket == tmp_path / "p.sock"


def test_what_is_said_of_a_hopeless_file_stays_readable(loaded: Loader) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(WHOLE + f"? {'k' * 90_000}\n: 1\n" + "".join(f"key{number}: 1\n" for number in range(5_000)))
    lines = str(caught.value).splitlines()
    assert (len(lines), lines[-1], len(caught.value.faults)) == (202, "  and 4801 more", 5_001)
    assert max(map(len, lines)) < 1_100


def test_a_thousand_sources_are_read(loaded: Loader) -> None:
    head, _, source = WHOLE.partition("  office:\n")
    many = head + "".join(f"  office-{n}:\n{source}" for n in range(1000))
    assert len(loaded(many).sources) == 1000
