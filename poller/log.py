"""The log: one JSON object (or one coloured line) per thing worth knowing, on stderr, without secrets."""

import logging
import sys
import time
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import FilteringBoundLogger, Processor

from poller.clock import Clock
from poller.errors import PollerError, causes
from poller.options import show_duration
from poller.redact import Redactor, printable

Level = Literal["debug", "info", "warning", "error"]

_QUIET = 60.0
_REMEMBERED = 1000
# HTTP clients' own lines carry whole URLs, and those carry secrets.
_AT_LEAST_WARNING = ("aiokafka", "httpx", "httpcore", "uvicorn.access", "uvicorn.error", "asyncio")
_SECRET_KEYS = {"password", "secret", "api_secret", "token", "hash", "authorization", "api_key"}


def get_logger() -> FilteringBoundLogger:
    """A logger; `set_up` decides where its lines go, whenever it is called."""
    logger: FilteringBoundLogger = structlog.get_logger()
    return logger


def set_up(
    *,
    form: Literal["json", "console"],
    level: Level,
    redact: Redactor,
    stream: TextIO | None = None,
) -> None:
    """Sets the process's log up. Libraries' loggers go the same way; of each of their lines, one in a minute is shown."""
    out = stream or sys.stderr
    threshold = logging.getLevelNamesMapping()[level.upper()]
    steps: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        Redaction(redact),
    ]
    if form == "json":
        steps.append(structlog.processors.JSONRenderer())  # escapes whatever would end a line or steer a terminal
    else:
        steps.append(one_line)
        steps.append(
            structlog.dev.ConsoleRenderer(
                colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
            )
        )
    structlog.configure(
        processors=steps,
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=max(threshold, logging.INFO), handlers=[LibraryLines(_QUIET)], force=True)
    for name in _AT_LEAST_WARNING:
        logging.getLogger(name).setLevel(max(threshold, logging.WARNING))


class Redaction:
    """The processor that no secret passes."""

    def __init__(self, redact: Redactor) -> None:
        self._redact = redact

    def __call__(self, _: object, __: str, line: MutableMapping[str, Any]) -> Mapping[str, Any]:
        """The line with every text in it redacted."""
        return {key: self._clean(key, value) for key, value in line.items()}

    def _clean(self, key: str, value: object) -> object:
        if key in _SECRET_KEYS:
            return "***"
        if value is None or isinstance(value, (bool, int, float)):
            return value
        if isinstance(value, Mapping):
            return {str(name): self._clean(str(name), one) for name, one in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self._clean(key, one) for one in value]
        return self._redact(printable(value) if isinstance(value, bytes) else str(value))


def one_line(_: object, __: str, line: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """What vendors and receivers say neither steers a terminal nor looks like a line of ours. A traceback keeps its lines, indented."""
    return {key: _indented(value) if key == "exception" else _harmless(value) for key, value in line.items()}


def _indented(text: object) -> str:
    return "\n".join(f"    {_harmless(part)}" for part in str(text).split("\n"))


def _harmless(value: object) -> object:
    if not isinstance(value, str):
        return value
    return value if value.isprintable() else "".join(each if each.isprintable() else repr(each)[1:-1] for each in value)


def _of_the_network(error: BaseException) -> bool:
    """Whether a broken connection lies behind it: that is no defect, and where in a library it was met helps nobody."""
    return any(isinstance(cause, (OSError, EOFError)) for cause in causes(error))


class LibraryLines(logging.Handler):
    """Takes the lines of libraries over. One that repeats (a Kafka client logs each failed connection) is shown once per
    `quiet` seconds, with how many were left out. Tracebacks are for defects: a broken connection is said on the line.
    """

    def __init__(self, quiet: float, mono: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._quiet = quiet
        self._mono = mono
        self._shown: dict[tuple[str, str], tuple[float, int]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """One line of a library."""
        try:
            repeated = self._repeated((record.name, str(record.msg)))
            if repeated is None:
                return
            said: dict[str, object] = {"library": record.name}
            if repeated:
                said["left_out"] = repeated
            error = record.exc_info[1] if record.exc_info else None
            if error is not None and _of_the_network(error):
                said["error"] = f"{type(error).__name__}: {error}"
            elif error is not None:
                said["exc_info"] = record.exc_info
            get_logger().log(record.levelno, record.getMessage(), **said)
        except Exception:  # noqa: BLE001 a library's broken log call must not break the library
            self.handleError(record)

    def _repeated(self, key: tuple[str, str]) -> int | None:
        """How many such lines were left out since the last one; None: leave this one out too."""
        now = self._mono()
        at, left_out = self._shown.get(key, (-self._quiet, 0))
        if now - at < self._quiet:
            self._shown[key] = (at, left_out + 1)
            return None
        if len(self._shown) >= _REMEMBERED:  # texts that never repeat (an id in the format string)
            self._shown.clear()
        self._shown[key] = (now, 0)
        return left_out


class Outage:
    """One line when something begins to fail, one for each further reason, one when it works again; the rest is counted."""

    def __init__(self, log: FilteringBoundLogger, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._reasons: set[str] = set()
        self._began = 0.0
        self.attempts = 0
        """Failures in a row: what `backoff.delay` asks for."""

    def __bool__(self) -> bool:
        """Whether it fails right now."""
        return self.attempts > 0

    def failed(self, error: PollerError, *, quietly: bool = False) -> None:
        """One more failure. `quietly`: somebody else says it."""
        if not self.attempts:
            self._began = self._clock.mono()
        self.attempts += 1
        if error.reason not in self._reasons and not quietly:
            self._reasons.add(error.reason)
            self._log.warning("failing", reason=error.reason, error=str(error))

    def ended(self) -> None:
        """It worked."""
        if self._reasons:
            seconds = self._clock.mono() - self._began
            self._log.info("works again", after=show_duration(round(seconds)), attempts=self.attempts)
        self.attempts = 0
        self._reasons.clear()


class SharedOutage:
    """An outage of what several use: it begins with the first who meets it, and ends when it works for all who met it."""

    def __init__(self, log: FilteringBoundLogger, clock: Clock, show: Callable[[bool], object] = bool) -> None:
        """`show` is told whether it lasts, each time somebody found out."""
        self._outage = Outage(log, clock)
        self._who: set[str] = set()
        self._show = show

    def failed(self, who: str, error: PollerError) -> None:
        """One more failure."""
        self._who.add(who)
        self._outage.failed(error)
        self._show(True)

    def met_by(self, who: str) -> bool:
        """Whether it has not worked for this one since."""
        return who in self._who

    def ended(self, who: str) -> None:
        """It worked for this one."""
        self._who.discard(who)
        if not self._who:
            self._outage.ended()
        self._show(bool(self._who))

    def leave(self, last: str) -> None:
        """All whose names end with this word do not use it any more, whether it works or not."""
        self._who -= {who for who in self._who if who.rsplit(" ", 1)[-1] == last}
