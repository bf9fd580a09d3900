"""The one place where the client library's errors become ours, and where every wait gets its deadline."""

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
from aiokafka import errors

from poller.errors import Fenced, PollerError, SinkFault, SinkRefused

_REFUSED = (
    errors.TopicAuthorizationFailedError,
    errors.GroupAuthorizationFailedError,
    errors.ClusterAuthorizationFailedError,
    errors.TransactionalIdAuthorizationFailed,
    errors.SaslAuthenticationFailed,
    errors.UnsupportedSaslMechanismError,
    errors.IllegalSaslStateError,
    errors.InvalidTopicError,
    errors.InvalidConfigurationError,
    errors.PolicyViolationError,
    errors.IncompatibleBrokerVersion,
    errors.UnsupportedVersionError,
    errors.AuthenticationFailedError,
    errors.InvalidTransactionTimeout,
    errors.InvalidReplicationFactorError,
)
_TOO_LARGE = (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError)
_STRAY = (
    errors.KafkaError,
    OSError,
    # Outside the library's own tree: a producer that was fenced between two calls says "not in transaction".
    errors.IllegalOperation,
    errors.ConsumerStoppedError,
    # What the library raises where its own state has come apart after a lost broker.
    AssertionError,
    AttributeError,
    asyncio.InvalidStateError,
    RuntimeError,
    KeyError,
)


class BatchTooLarge(SinkFault):
    """The broker refuses a batch for its size."""

    reason = "too_large"


@contextmanager
def mapped(doing: str, deadline: float) -> Iterator[None]:
    """Runs one exchange with the brokers. Raises SinkFault, Fenced, SinkRefused or BatchTooLarge; never the library's errors.

    `deadline`: seconds, because the library waits for ever where brokers are down. What was sent before a deadline may or
    may not have happened.
    """
    try:
        with anyio.fail_after(deadline):
            yield
    except PollerError:
        raise
    except TimeoutError:
        raise SinkFault(f"Kafka: {doing}: no answer within {deadline:g} seconds") from None
    except errors.ProducerFenced:
        raise Fenced(f"Kafka: {doing}: another producer has taken over, or the transaction took too long") from None
    except _TOO_LARGE as error:
        raise BatchTooLarge(f"Kafka: {doing}: {_said(error)}") from None
    except _REFUSED as error:
        raise SinkRefused(f"Kafka refuses {doing}: {_said(error)}") from None
    except _STRAY as error:
        raise SinkFault(f"Kafka: {doing}: {_said(error)}") from None


def code(number: int, doing: str) -> None:
    """Raises what an error code of a broker's answer stands for; nothing for 0."""
    if number:
        with mapped(doing, 1):
            raise errors.for_code(number)


def _said(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the broker's certificate is not accepted ({error.verify_message.rstrip('.')}). Set security.ca_file to a PEM file "
            "with its issuer, or name the broker as its certificate does, here and in its advertised.listeners"
        )
    if isinstance(error, errors.IllegalSaslStateError):
        return "the listener takes no login (IllegalSaslStateError). Is security.protocol that of this listener?"
    if isinstance(error, errors.InvalidTimestampError):
        return (
            "the brokers refuse the time at which events are sent (InvalidTimestampError): it is this machine's, and by theirs it is "
            "too far ahead (message.timestamp.after.max.ms, an hour by default) or behind. Set its clock; sending goes on by itself then"
        )
    if type(error) is errors.KafkaError and error.__cause__ is not None:  # "unexpected", whatever it was
        return _said(error.__cause__)
    name = type(error).__name__
    return f"{name} {error}" if str(error) and name not in str(error) else str(error) or name
