"""Boundaries at which no scene kills the daemon: when they are met, and by which test. That it is so is tested too."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from e2e_edges import Edge

_FAULTS = "tests/deliver/test_deliver_store_faults.py::"
_LOOP = "tests/deliver/test_deliver_loop.py::"
_EACH = "tests/deliver/test_deliver_each.py::"
_EACH_APART = "tests/deliver/test_deliver_each_apart.py::"
_EACH_SHARDS = "tests/deliver/test_deliver_each_shards.py::"
_EACH_STORE = "tests/deliver/test_deliver_each_store.py::"
_TOO_LARGE = "tests/sinks/kafka/test_kafka_too_large.py::"


class Elsewhere(NamedTuple):
    """When boundaries are met, and the test that comes there."""

    when: str
    test: str
    where: tuple[str, ...]
    """Functions, or `function: what is awaited`."""


ELSEWHERE: tuple[Elsewhere, ...] = (
    Elsewhere(
        "more rows in many a shortest window than can be asked for",
        "tests/polling/test_polling_too_many.py::test_too_many_rows_in_many_seconds_are_an_outage_and_what_came_is_kept[memory]",
        ("poller.poll._cut: track.keep",),
    ),
    Elsewhere(
        "a walk over pages ends early, and pages before are not committed yet",
        "tests/polling/test_polling_walks.py::test_a_walk_that_breaks_off_is_not_read[memory]",
        ("poller.poll.read_pages: track.keep",),
    ),
    Elsewhere(
        "a phone system gives rows of another time only: in a scene that is luck",
        "tests/polling/test_polling_passes.py::test_records_outside_the_window_alone_are_a_filter_that_was_not_used[memory]",
        ("poller.poll._check_inside: track.keep",),
    ),
    Elsewhere(
        "pages come slowly, or with many records",
        "tests/polling/test_polling_walks.py::test_a_commit_takes_no_more_than_is_gathered[memory]",
        ("poller.poll._read_pages: track.keep",),
    ),
    Elsewhere(
        "an answer of more records than are committed at once",
        "tests/polling/test_polling_commit.py::test_nothing_is_written_where_nothing_changed",
        ("poller.poll.read_page: track.keep",),
    ),
    Elsewhere(
        "an hour is whole, and a sink asks for whole hours",
        "tests/polling/test_polling_hours.py::test_an_hour_is_told_with_its_counts_by_the_commit_that_completes_it",
        ("poller.keep.Keeper._note: self._shard.store.look_up",),
    ),
    Elsewhere(
        "a sink asks for whole hours, and the checkpoint has none (nothing is written)",
        "tests/polling/test_polling_hours.py::test_hours_that_became_whole_under_an_older_program_are_told_after_it",
        ("poller.track.Track._load: self._hours", "poller.track.Track._hours: shard.store.look_up"),
    ),
    Elsewhere(
        "somebody has a span read again (nothing is written)",
        "tests/polling/test_reconcile.py::test_a_vendor_whose_rows_were_added_changed_and_removed_behind_our_back",
        ("poller.keep.Keeper.look: self._shard.store.look_up",),
    ),
    Elsewhere(
        "a poll is the first that meets a store that was set back (in a crash it is either that or a delivery)",
        "tests/polling/test_polling_commit.py::test_a_restored_store_is_believed_anew_and_read_again[memory]",
        ("poller.schedule._failed: shard.believe_anew",),
    ),
    Elsewhere(
        "the vendor is away when the store is back",
        "tests/polling/test_polling_commit.py::test_a_store_that_is_back_is_seen_although_the_vendor_is_away[StoreFault]",
        ("poller.schedule._failed: shard.look_again",),
    ),
    Elsewhere(
        "and the delivery is told by it",
        _LOOP + "test_it_settles_again_where_somebody_else_read_the_store_anew",
        ("poller.deliver.Delivery.run: self._deliver",),
    ),
    Elsewhere(
        "the sink refuses after it has worked",
        _LOOP + "test_refused_at_the_start_ends_refused_later_is_tried_again",
        ("poller.deliver.Delivery.run: self._failed",),
    ),
    Elsewhere(
        "the store fails while it is read anew",
        _FAULTS + "test_a_store_that_fails_while_it_is_read_anew_is_tried_again",
        ("poller.deliver.Delivery._believe: self._failed",),
    ),
    Elsewhere(
        "the shard may be another replica's by now",
        _LOOP + "test_a_lane_whose_shard_is_lost_waits_to_be_ended",
        ("poller.deliver.Delivery._believe: self._clock.sleep",),
    ),
    Elsewhere(
        "the same where events go one by one",
        _EACH_SHARDS + "test_a_shard_that_another_has_taken_is_waited_for_without_a_word",
        ("poller.one_by_one.part.Part._begin: self._clock.sleep",),
    ),
    Elsewhere(
        "the store could not be read before the delivery began",
        _FAULTS + "test_a_store_that_fails_to_be_read_at_the_start_is_tried_again",
        ("poller.deliver.Delivery._fix_place: self._believe", "poller.deliver.Delivery._fix_place: self._believe #2"),
    ),
    Elsewhere(
        "the store fails while a sink's place is fixed",
        _FAULTS + "test_a_place_in_the_log_that_cannot_be_fixed_is_tried_again",
        ("poller.deliver.Delivery._fix_place: self._failed",),
    ),
    Elsewhere(
        "the store is exchanged between two looks at it",
        _FAULTS + "test_a_position_that_is_lost_between_two_looks_is_fixed_anew",
        ("poller.settle.Settler._stored: self.begin", "poller.settle.Settler._stored: self._store.position #2"),
    ),
    Elsewhere(
        "progress was moved by somebody else",
        _LOOP + "test_progress_that_somebody_else_moved_ends_the_program",
        ("poller.settle.Settler._rule: self._confirm",),
    ),
    Elsewhere(
        "many events in one delivery",
        _LOOP + "test_after_many_events_the_next_ones_gather_for_a_moment",
        ("poller.deliver.Delivery._deliver: self._clock.sleep",),
    ),
    Elsewhere(
        "the sink was renamed",
        _LOOP + "test_renamed_sink_keeps_its_place_and_settles_its_old_progress",
        ("poller.settle.Settler.begin: self._store.position #2", "poller.settle.Settler._kept_by_old_name"),
    ),
    Elsewhere(
        "at least once",
        "tests/sinks/kafka/test_kafka_chaos.py::test_at_least_once_needs_no_progress_topic",
        ("poller.sinks.kafka.lane.KafkaLane._transaction: producer.send",),
    ),
    Elsewhere(
        "a sink that keeps no progress",
        "tests/deliver/test_deliver_progress_rule.py::TestMemory::runTest",
        ("poller.settle.Settler.settle: self._sink.lane",),
    ),
    Elsewhere(
        "Kafka refuses to let a producer start",
        "tests/sinks/kafka/test_kafka_start.py::test_a_producer_that_may_not_start_leaves_nothing_behind",
        ("poller.sinks.kafka.producer.Producer.start: self.discard",),
    ),
    Elsewhere(
        "an event is too large by its key alone",
        _TOO_LARGE + "test_one_that_is_too_large_by_its_key_alone",
        ("poller.sinks.kafka.lane.KafkaLane._name_dead: self._refused #2",),
    ),
    Elsewhere(
        "an event is too large",
        _TOO_LARGE + "test_only_those_that_are_refused_alone_are_named",
        (
            "poller.sinks.kafka.lane.KafkaLane.send: self._name_dead",
            "poller.sinks.kafka.lane.KafkaLane._name_dead: self._anew",
            "poller.sinks.kafka.lane.KafkaLane._name_dead: self._refused",
            "poller.sinks.kafka.lane.KafkaLane._refused",
            "poller.sinks.kafka.lane.KafkaLane._taken: producer.begin",
            "poller.sinks.kafka.lane.KafkaLane._taken: producer.send",
            "poller.sinks.kafka.lane.KafkaLane._taken: producer.abort",
            "poller.sinks.kafka.lane.KafkaLane._taken: self._anew",
            "poller.sinks.kafka.lane.KafkaLane._anew",
            "poller.sinks.kafka.producer.Producer.abort",
        ),
    ),
    Elsewhere(
        "what was answered cannot be written",
        _EACH_STORE + "test_what_is_answered_is_kept_while_the_store_fails_and_nothing_more_is_tried",
        ("poller.one_by_one.part.Part._commits: self._writing.wait",),
    ),
    Elsewhere(
        "the store fails before a delivery one by one begins",
        _EACH_STORE + "test_a_store_that_fails_is_tried_again_and_said_once[hold]",
        ("poller.one_by_one.part.Part._begin: self.reading.wait",),
    ),
    Elsewhere(
        "what is too much waits as retries when it is dropped (in a crash it may still stand in the log)",
        _EACH + "test_over_the_limit_the_oldest_become_dead_letters_and_the_rest_is_delivered[down]",
        ("poller.one_by_one.feed.Feed._drop: self._load",),
    ),
    Elsewhere(
        "a probe is due while too much waits",
        _EACH + "test_what_is_too_much_is_dropped_many_in_a_turn_said_at_once_and_the_sink_is_probed_meanwhile",
        ("poller.one_by_one.feed.Feed._next: self._choose",),
    ),
    Elsewhere(
        "shards are there before the delivery runs",
        _EACH + "test_everything_is_delivered_once_and_the_position_follows",
        ("poller.one_by_one.delivery.EachDelivery.run: tasks.start",),
    ),
    Elsewhere(
        "another process takes the store again and again",
        _EACH_APART + "test_two_that_fight_for_a_store_send_no_storm",
        ("poller.one_by_one.part.Part._stretch: self._clock.sleep",),
    ),
    Elsewhere(
        "new events come while it lasts",
        _EACH + "test_everything_is_delivered_once_and_the_position_follows",
        ("poller.one_by_one.part.Part._watch: changed.wait",),
    ),
    Elsewhere(
        "the end waits for what is due soon",
        _EACH_STORE + "test_caught_up_waits_for_what_is_due_soon_and_not_for_what_is_due_later",
        ("poller.one_by_one.delivery.EachDelivery.caught_up: moved.wait",),
    ),
    Elsewhere(
        "`start_from` of a webhook is a time",
        _EACH_STORE + "test_start_from_now_and_from_a_time",
        ("poller.place.first_place: _since", "poller.place._since"),
    ),
    Elsewhere(
        "every event is refused for good, and there is none left that was not tried",
        _EACH + "test_one_that_refuses_everything_for_good_loses_five_events_and_the_others_wait_for_it",
        ("poller.one_by_one.feed.Feed._choose: self._again #2",),
    ),
    Elsewhere(
        "shards come and go while the sink goes on",
        _EACH_SHARDS + "test_a_shard_that_comes_is_delivered_and_one_that_comes_back_goes_on",
        (
            "poller.one_by_one.delivery.EachDelivery.add",
            "poller.one_by_one.delivery.EachDelivery.drop",
            "poller.one_by_one.part.Part.end",
        ),
    ),
    Elsewhere(
        "another replica has switched a webhook",
        _EACH_SHARDS + "test_a_sink_that_another_replica_switched_is_so_here_when_a_shard_is_taken",
        ("poller.one_by_one.gate.Gate.load: self.follow",),
    ),
    Elsewhere(
        "a webhook is disabled by hand",
        _EACH + "test_shards_of_a_sink_share_its_limits_and_its_health",
        (
            "poller.one_by_one.delivery.EachDelivery.disable",
            "poller.one_by_one.gate.Gate.disable",
            "poller.one_by_one.gate.Gate._command",
        ),
    ),
    Elsewhere(
        "a webhook is enabled",
        _EACH + "test_one_that_wants_no_more_calls_is_disabled_over_restarts_until_it_is_enabled",
        ("poller.one_by_one.delivery.EachDelivery.enable", "poller.one_by_one.gate.Gate.enable"),
    ),
    Elsewhere(
        "a webhook is switched by another replica",
        "tests/deliver/test_deliver_each_switch.py::test_what_one_is_told_the_other_does_within_two_seconds",
        (
            "poller.one_by_one.delivery.EachDelivery.follow: self.gate.follow",
            "poller.one_by_one.gate.Gate.follow: switches.read",
        ),
    ),
    Elsewhere(
        "a restored store is told what it forgot of a webhook's switch",
        "tests/deliver/test_deliver_each_switch.py::test_a_store_that_was_restored_is_told_what_it_forgot_and_does_not_switch",
        ("poller.one_by_one.gate.Gate.follow: switches.remind",),
    ),
    Elsewhere(
        "a webhook is down for a replica that has nothing to try, and up for another one",
        "tests/deliver/test_deliver_each_switch.py::test_one_that_has_nothing_to_try_believes_the_other_that_the_sink_is_back",
        (
            "poller.one_by_one.delivery.EachDelivery.follow: self.gate.compare",
            "poller.one_by_one.gate.Gate.compare: self._saving",
            "poller.one_by_one.gate.Gate.compare: self._store.get_meta",
        ),
    ),
    Elsewhere(
        "a webhook is up for a replica, and another one that measures otherwise was the last to write",
        "tests/deliver/test_deliver_each_switch.py::test_one_that_delivers_says_so_although_another_was_the_last_to_write",
        ("poller.one_by_one.gate.Gate.compare: self._store.put_meta",),
    ),
    Elsewhere(
        "a webhook says that it wants no more calls",
        _EACH + "test_one_that_wants_no_more_calls_is_disabled_over_restarts_until_it_is_enabled",
        ("poller.one_by_one.gate.Gate._save: switches.flip",),
    ),
    Elsewhere(
        "a webhook is disabled or enabled without a daemon",
        _EACH + "test_it_can_be_disabled_and_enabled_by_hand_without_a_daemon",
        ("poller.one_by_one.gate.condition_of", "poller.one_by_one.gate.switch"),
    ),
)


def excused(edge: Edge) -> str | None:
    """Why no life has to end there; None: one has to."""
    return next((found.when for found in ELSEWHERE if any(_is(edge, where) for where in found.where)), None)


def stale(edges: Sequence[Edge]) -> list[str]:
    """What is excused and is no longer in the code."""
    named = [where for found in ELSEWHERE for where in found.where]
    return [where for where in named if not any(_is(edge, where) for edge in edges)]


def lacking(edges: Sequence[Edge], met: Mapping[str, Collection[str]]) -> list[tuple[str, str]]:
    """Boundary and test where the test does not come there. `met`: by test."""
    return [
        (edge.name, found.test)
        for found in ELSEWHERE
        for edge in edges
        if any(_is(edge, where) for where in found.where) and edge.name not in met.get(found.test, ())
    ]


def _is(edge: Edge, where: str) -> bool:
    return where in (edge.function, f"{edge.function}: {edge.what}")
