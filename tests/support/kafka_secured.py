"""A real broker with TLS: one door for logins over TLS, one for client certificates. Certificates: `tls/kafka`, valid until 2120."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kafka_broker import kafka_config

from poller.simulate.broker import Broker, free_port
from poller.sinks.kafka.config import Config

TLS = Path(__file__).parent / "tls" / "kafka"
PASSWORD, KEY_PASSWORD = "right-passw0rd", "locked"
SECRETS = {"PASSWORD": PASSWORD, "WRONG": "wr0ng-passw0rd", "KEY_PASSWORD": KEY_PASSWORD}
_MECHANISMS = {
    "PLAIN": "plain.PlainLoginModule",
    "SCRAM-SHA-256": "scram.ScramLoginModule",
    "SCRAM-SHA-512": "scram.ScramLoginModule",
}


@dataclass
class Doors:
    """Where its listeners are, as host:port. Its certificate is for 127.0.0.1 alone."""

    plain: str
    login: str
    mutual: str


@contextmanager
def secured(folder: Path) -> Iterator[Doors]:
    """Runs the broker. Its user is `poller`."""
    ports = {name: free_port() for name in ("PLAINTEXT", "LOGIN", "MUTUAL", "CONTROLLER")}
    listeners = {name: f"{name}://127.0.0.1:{port}" for name, port in ports.items()}
    users = [f"{name}=[name=poller,password={PASSWORD}]" for name in _MECHANISMS if name.startswith("SCRAM")]
    broker = Broker(
        folder,
        {
            "listeners": ",".join(listeners.values()),
            "advertised.listeners": ",".join(listeners[name] for name in ("PLAINTEXT", "LOGIN", "MUTUAL")),
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{ports['CONTROLLER']}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,LOGIN:SASL_SSL,MUTUAL:SSL,CONTROLLER:PLAINTEXT",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(TLS / "broker.pem"),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(TLS / "ca.pem"),
            "listener.name.mutual.ssl.client.auth": "required",
            "listener.name.login.sasl.enabled.mechanisms": ",".join(_MECHANISMS),
            **{f"listener.name.login.{name.lower()}.sasl.jaas.config": _module(name) for name in _MECHANISMS},
        },
        [word for user in users for word in ("--add-scram", user)],
    )
    broker.start()
    try:
        yield Doors(*(f"127.0.0.1:{ports[name]}" for name in ("PLAINTEXT", "LOGIN", "MUTUAL")))
    finally:
        broker.stop()


def _module(mechanism: str) -> str:
    users = f' user_poller="{PASSWORD}"' if mechanism == "PLAIN" else ""
    return f"org.apache.kafka.common.security.{_MECHANISMS[mechanism]} required{users};"


def secured_config(bootstrap: str, prefix: str, security: dict[str, Any]) -> Config:
    """A sink's settings."""
    plain = kafka_config(bootstrap, prefix).model_dump(mode="json", exclude={"security"}, exclude_unset=True)
    return Config.model_validate({**plain, "request_timeout": "20s", "security": security}, context={"env": SECRETS})
