"""The keys of a Kafka sink, and how the client library is told about them."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from poller.errors import SinkRefused
from poller.options import (
    Between,
    Duration,
    IssuersFile,
    Options,
    OwnFile,
    Secret,
    SinkOptions,
    Size,
    show_duration,
)
from poller.pem import pair_fault
from poller.rules import Fault

_SAFE = r"^[a-zA-Z0-9._-]{1,249}$"


class Topics(Options):
    """Where events go, by the kind of thing they are about."""

    call: str = Field("telephony.calls", pattern=_SAFE, description="Topic of `telephony.call.*`.")
    recording: str = Field("telephony.recordings", pattern=_SAFE, description="Topic of `telephony.recording.*`.")
    window: str = Field("telephony.windows", pattern=_SAFE, description="Topic of `telephony.window.*`.")

    def of(self, event_type: str) -> str:
        """The topic of an event type."""
        if event_type.startswith("telephony.recording."):
            return self.recording
        return self.window if event_type.startswith("telephony.window.") else self.call

    def data(self, *, windows: bool) -> tuple[str, ...]:
        """The topics that events are written to, and read back from."""
        return tuple(dict.fromkeys((self.call, self.recording, *((self.window,) if windows else ()))))


def _login(protocol: str, username: str | None, password: Secret | None) -> Iterator[Fault]:
    for name, part in {"username": username, "password": password}.items():
        if protocol.startswith("SASL") and part is None:
            yield (name,), f"is missing: {protocol} needs username and password"
        elif not protocol.startswith("SASL") and part is not None:
            yield (name,), f"is of no use with {protocol}: write SASL_SSL, or remove it"


def _tls_only(
    protocol: str, ca_file: Path | None, cert_file: Path | None, key_file: Path | None, verify: bool
) -> Iterator[Fault]:
    given = {"ca_file": ca_file, "cert_file": cert_file, "key_file": key_file, "verify": None if verify else verify}
    for name, part in given.items():
        if part is not None and not protocol.endswith("SSL"):
            yield (name,), f"is of no use with {protocol}, which has no certificates: write SSL or SASL_SSL"


def _certificate(cert_file: Path | None, key_file: Path | None, key_password: Secret | None) -> Iterator[Fault]:
    """Read here, so that a key that does not fit is known before the brokers are."""
    if cert_file is None:
        if key_file is not None:
            yield ("key_file",), "key_file needs cert_file"
        return
    fault = pair_fault(cert_file, key_file, key_password.reveal() if key_password is not None else None)
    if fault is not None:
        key = {"certificate": "cert_file", "key": "key_file", "password": "key_password"}[fault[0]]
        yield (key,), fault[1]


class Security(Options):
    """How the brokers are reached and who we are to them."""

    rules = (_login, _tls_only, _certificate)

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="As the brokers' listener has it: SSL for encryption, SASL for a login."
    )
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field("PLAIN", description="With SASL only.")
    username: str | None = Field(None, description="With SASL only.")
    password: Secret | None = Field(None, description="With SASL only.")
    ca_file: IssuersFile = Field(None, description="PEM file with the issuers to trust instead of the system's.")
    cert_file: OwnFile = Field(None, description="PEM file with our certificate, where brokers ask for one.")
    key_file: OwnFile = Field(None, description="PEM file with its key, unless `cert_file` holds both.")
    key_password: Secret | None = Field(None, description="Where the key file is encrypted.")
    verify: bool = Field(True, description="`false` accepts any certificate; said loudly at every start.")


def _no_limit(value: int | None) -> int | None:
    if value is not None:
        raise ValueError("cannot be limited for Kafka, which would lack what is deleted: remove the key")
    return value


def _outlives(commit_timeout: float, transaction_timeout: float) -> Iterator[Fault]:
    if transaction_timeout <= commit_timeout:
        yield (
            ("transaction_timeout",),
            f"transaction_timeout must be longer than commit_timeout, which is {show_duration(commit_timeout)}",
        )


class Config(SinkOptions):
    """A Kafka sink."""

    rules = (_outlives,)

    kind: Literal["kafka"]
    bootstrap_servers: tuple[str, ...] = Field(min_length=1, description="host:port of some of the brokers.")
    topics: Topics = Topics()
    progress_topic: str = Field("poller.progress", pattern=_SAFE, description="Compacted; one partition per shard.")
    transactional_id_prefix: str = Field(
        "poller", pattern=_SAFE, description="Names this installation: two with the same one would fence each other."
    )
    delivery: Literal["exactly_once", "at_least_once"] = Field(
        "exactly_once", description="`at_least_once` where ACLs or old clusters forbid transactions."
    )
    create_topics: bool = Field(True, description="Creates missing topics; `false` only checks them.")
    partitions: Annotated[int, Between(1, 10_000)] = Field(8, description="Of the topics that are created.")
    replication_factor: Annotated[int, Between(1, 100)] | None = Field(
        None, description="Of created topics; 3 unless given, or the number of brokers where there are fewer."
    )
    topic_config: dict[str, str] = Field({}, description="Settings of created event topics, such as retention.ms.")
    compression: Literal["none", "lz4", "snappy", "zstd"] = Field("zstd", description="Of the batches that are sent.")
    security: Security = Security()
    request_timeout: Annotated[Duration, Between("100ms", "10m")] = Field(
        15.0, description="Longest wait for one answer of a broker."
    )
    commit_timeout: Annotated[Duration, Between("1s", "1h")] = Field(
        45.0, description="Longest time for one transaction."
    )
    transaction_timeout: Annotated[Duration, Between("1s", "1d")] = Field(
        60.0, description="After which brokers abort a transaction; between commit_timeout and the broker's own limit."
    )

    max_dead_letters: Annotated[Size | None, AfterValidator(_no_limit)] = Field(
        None,
        description="Cannot be set: Kafka would lack what is deleted. There are few: events that are too large.",
    )

    @property
    def event_topics(self) -> tuple[str, ...]:
        """Those that this sink writes to."""
        return self.topics.data(windows=self.windows)

    def transactional_id(self, sink: str, shard: int) -> str:
        """One transactional id per installation, sink and shard."""
        return f"{self.transactional_id_prefix}.{sink}.{shard}"

    def connection(self) -> dict[str, Any]:
        """Arguments that every client of the library takes. Holds the password: never log it. Raises SinkRefused."""
        security = self.security
        arguments: dict[str, Any] = {
            "bootstrap_servers": list(self.bootstrap_servers),
            "client_id": "poller",
            "request_timeout_ms": int(self.request_timeout * 1000),
            "security_protocol": security.protocol,
        }
        if security.protocol.endswith("SSL"):
            arguments["ssl_context"] = _tls(security)
        if security.protocol.startswith("SASL") and security.password is not None:
            arguments |= {
                "sasl_mechanism": security.mechanism,
                "sasl_plain_username": security.username,
                "sasl_plain_password": security.password.reveal(),
            }
        return arguments


def _tls(security: Security) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=security.ca_file)
        if security.cert_file is not None:
            # Never None: for an encrypted key the library would ask whoever sits at the terminal, and wait.
            password = security.key_password.reveal() if security.key_password is not None else ""
            context.load_cert_chain(security.cert_file, security.key_file, password)
    except (OSError, ValueError) as error:
        raise SinkRefused(
            f"Kafka: the certificate files cannot be used: {error}. Are ca_file, cert_file and key_file PEM files, and is key_password right?"
        ) from None
    if not security.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
