"""What goes wrong between the program and a database: a clear sentence each, and nothing lost or written twice."""

import asyncio
import gc
import sys
import time
import traceback
from collections.abc import AsyncIterator, Callable
from typing import Any, LiteralString

import anyio
import anyio.lowlevel
import psycopg
import pytest
from postgres_server import PASSWORD, Server, until, waiting
from stores_content import DAY0, dead_event, dead_events, dead_record, dead_records, key, page, retry
from tcp_proxy import Proxy, proxy

from poller.errors import Outdated, StoreFault, StoreFull, StoreRefused
from poller.kept import Attempted
from poller.model import CheckpointKey, Held, PageCommit, Position, Sighting
from poller.stores.postgres import Config, PostgresStore, open_read, open_store
from poller.stores.postgres.pool import Session, Timing

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


@pytest.fixture
async def between(postgres_server: Server) -> AsyncIterator[Proxy]:
    async with proxy(postgres_server.port) as one:
        yield one


# --- the connection --------------------------------------------------------------------------------------------------


async def test_a_page_takes_few_round_trips(between: Proxy, open_one: Any) -> None:
    store = await open_one(port=between.port)
    held = await store.hold(0)
    many = list(range(1, 1001))
    for _ in range(4):  # a statement that comes again is prepared, within the same trips
        between.trips = 0
        await store.look_up(None, [key(number, day=DAY0 + number % 3) for number in many])
        held = await store.commit_page(held, page(held, many, dead=[dead_record(1)]))
        assert between.trips == 3
    await store.close()


async def test_a_checkpoint_alone_takes_one_round_trip_and_may_get_lost_in_it(between: Proxy, open_one: Any) -> None:
    store = await open_one(port=between.port)
    held = await store.hold(0)
    for number in range(4):  # a statement that comes again is prepared, which is a trip of its own
        await store.commit_page(held, moved(number))
    between.trips = 0
    await store.commit_page(held, moved(4))
    assert between.trips == 1
    between.lose("request", 1)
    await store.commit_page(held, moved(5))
    assert await store.checkpoints() == moved(5).checkpoints
    between.lose("answer", 1)
    await store.commit_page(held, moved(6))
    assert await store.checkpoints() == moved(6).checkpoints
    await store.close()


@pytest.mark.parametrize("change", ["epoch = epoch + 1", "seq = 5", "chain = 'x'", "holder = gen_random_uuid()"])
async def test_a_checkpoint_alone_that_waited_is_compared_with_what_it_waited_for(
    store: PostgresStore, postgres_server: Server, database: str, change: LiteralString
) -> None:
    held = await store.hold(0)
    await store.commit_page(held, moved(1))
    async with await psycopg.AsyncConnection.connect(postgres_server.dsn(database)) as other:
        await other.execute("UPDATE poller.shard SET " + change)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(failing(store.commit_page(held, moved(2))))
            await until(lambda: waiting(postgres_server, database) == 1)
            await other.commit()
    assert isinstance(task.result(), Outdated)
    assert await store.checkpoints() == moved(1).checkpoints


def moved(number: int) -> PageCommit:
    """What a poll writes that finds nothing new."""
    return PageCommit(checkpoints={CheckpointKey("mor", "user_calls"): b"%d" % number})


async def test_a_commit_whose_answer_is_lost_was_made(between: Proxy, open_one: Any) -> None:
    store = await open_one(port=between.port)
    held = await store.hold(0)
    between.lose("answer", 2)
    with pytest.raises(StoreFault, match=r"while it committed .*found out by the next write"):
        await store.commit_page(held, page(held, [1]))
    with pytest.raises(Outdated):
        await store.commit_page(held, page(held, [1]))
    again = await store.hold(0)
    assert again.last.seq == 1
    assert await store.look_up(None, [key(1)]) == {}, "known, so it is not published again"
    await store.close()


async def test_a_commit_that_never_arrived_was_not_made(between: Proxy, open_one: Any) -> None:
    store = await open_one(port=between.port)
    held = await store.hold(0)
    between.lose("request", 2)
    with pytest.raises(StoreFault, match="while it committed"):
        await store.commit_page(held, page(held, [1]))
    assert (await store.commit_page(held, page(held, [1]))).last.seq == 1
    assert [segment.last for segment in await store.segments_after(0, 0, 1 << 20)] == [1]
    await store.close()


async def test_a_write_that_had_not_begun_to_commit_is_made_again(between: Proxy, open_one: Any) -> None:
    store = await open_one(port=between.port)
    held = await store.hold(0)
    between.lose("answer", 1)
    assert (await store.commit_page(held, page(held, [1]))).last.seq == 1
    await store.close()


async def test_a_database_that_says_nothing_is_given_up(between: Proxy, open_one: Any) -> None:
    store = await open_one(port=between.port)
    held = await store.hold(0)
    between.frozen = True
    patient = store._database.timing
    store._database.timing = store._database.pool._timing = Timing(call=0.3, connect=0.3)
    with pytest.raises(StoreFault, match=r"did not answer within 0\.3 s"):
        await store.commit_page(held, page(held, [1]))
    with pytest.raises(StoreFault, match=r"did not (let us in|answer) within 0\.3 s"):
        await store.positions()
    between.frozen = False
    between.cut()
    store._database.timing = store._database.pool._timing = patient
    assert (await store.commit_page(held, page(held, [1]))).last.seq == 1
    await store.close()


async def test_connections_that_died_while_nobody_used_them(
    store: PostgresStore, postgres_server: Server, database: str
) -> None:
    held = await store.hold(0)
    for number in range(3):
        postgres_server.throw_out(database)
        held = await store.commit_page(held, page(held, [number]))
        postgres_server.throw_out(database)
        assert await store.look_up(None, [key(number)]) == {}


async def test_a_backend_that_is_ended_during_a_commit(
    store: PostgresStore, postgres_server: Server, database: str
) -> None:
    held = await store.hold(0)
    async with await psycopg.AsyncConnection.connect(postgres_server.dsn(database)) as other:
        await other.execute("LOCK TABLE poller.segment IN EXCLUSIVE MODE")
        async with asyncio.TaskGroup() as group:
            commit = group.create_task(failing(store.commit_page(held, page(held, [1]))))
            await until(lambda: waiting(postgres_server, database) == 1)
            postgres_server.sql(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            )
        assert isinstance(commit.result(), StoreFault)
    assert await store.look_up(None, [key(1)]) == {0: Sighting(DAY0, 0)}
    assert (await store.commit_page(held, page(held, [1]))).last.seq == 1


@pytest.mark.parametrize("how", ["immediate", "fast"])
async def test_a_server_that_is_started_again(store: PostgresStore, postgres_server: Server, how: str) -> None:
    held = await store.hold(0)
    held = await store.commit_page(held, page(held, [1]))
    await anyio.to_thread.run_sync(lambda: postgres_server.stop(how=how))
    try:
        for call in (store.look_up(None, [key(1)]), store.commit_page(held, page(held, [2])), store.hold(0)):
            with pytest.raises(
                StoreFault, match=r"the database test_.* (cannot be reached|is starting or stopping|ended)"
            ):
                await call
    finally:
        await anyio.to_thread.run_sync(postgres_server.start)
    held = await store.commit_page(held, page(held, [2]))
    assert held.last.seq == 2


async def test_a_call_that_is_cancelled_leaves_no_connection_behind(
    store: PostgresStore, postgres_server: Server, database: str
) -> None:
    held = await store.hold(0)
    async with await psycopg.AsyncConnection.connect(postgres_server.dsn(database)) as other:
        await other.execute("LOCK TABLE poller.segment IN EXCLUSIVE MODE")
        for _ in range(5):  # more than there are connections
            async with anyio.create_task_group() as group:
                group.start_soon(store.commit_page, held, page(held, [1]))
                await until(lambda: waiting(postgres_server, database) == 1)
                group.cancel_scope.cancel()
            await until(lambda: waiting(postgres_server, database) == 0)
    assert (await store.commit_page(held, page(held, [1]))).last.seq == 1


async def test_a_write_that_is_cancelled_as_it_is_sent_ends_in_silence(store: PostgresStore) -> None:
    said = list[object]()
    before, sys.unraisablehook = sys.unraisablehook, lambda one: said.append(one.exc_value)

    async def cancelled(session: Session) -> None:
        with anyio.CancelScope() as scope:
            async with session.connection.pipeline():
                for _ in range(2):
                    await session.connection.execute("SELECT pg_sleep(9)")
                scope.cancel()
                time.sleep(0.2)  # noqa: ASYNC251 so long without a turn that the driver gives one before it sends the end
        raise Outdated("so that the connection is closed")

    try:
        with pytest.raises(Outdated):
            await store._database.call(cancelled)
        await anyio.lowlevel.checkpoint()  # the loop lets go of the cancellation, too
        gc.collect()
    finally:
        sys.unraisablehook = before
    assert said == []
    assert (await store.hold(0)).last.seq == 0


# --- time and room ---------------------------------------------------------------------------------------------------


async def test_a_lock_that_is_held_for_too_long(open_one: Any, postgres_server: Server, database: str) -> None:
    store = await open_one(timing=Timing(lock=0.1))
    held = await store.hold(0)
    async with await psycopg.AsyncConnection.connect(postgres_server.dsn(database)) as other:
        await other.execute("SELECT FROM poller.shard FOR UPDATE")
        with pytest.raises(StoreFault, match="keeps a lock for too long"):
            await store.commit_page(held, page(held, [1]))
    await store.commit_page(held, page(held, [1]))
    await store.close()


async def test_a_statement_that_takes_too_long(open_one: Any, postgres_server: Server, database: str) -> None:
    store = await open_one(timing=Timing(statement=0.1))
    async with await psycopg.AsyncConnection.connect(postgres_server.dsn(database)) as other:
        await other.execute("LOCK TABLE poller.dead_event IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StoreFault, match="took longer than its deadline"):
            await dead_events(store)
    await store.close()


async def test_all_connections_are_busy(open_one: Any, postgres_server: Server, database: str) -> None:
    store = await open_one(connections=2, timing=Timing(free=0.2))
    async with await psycopg.AsyncConnection.connect(postgres_server.dsn(database)) as other:
        await other.execute("LOCK TABLE poller.dead_event IN ACCESS EXCLUSIVE MODE")
        async with asyncio.TaskGroup() as group:
            slow = [group.create_task(dead_events(store)) for _ in range(2)]
            await until(lambda: waiting(postgres_server, database) == 2)
            with pytest.raises(StoreFault, match=r"all 2 connections .* were busy for 0\.2 s.*store\.connections"):
                await store.positions()
            await other.rollback()
    assert [task.result() for task in slow] == [[], []]
    assert await store.positions() == {}
    await store.close()


async def test_a_writer_that_is_stopped_in_the_middle_does_not_keep_its_shard(open_one: Any) -> None:
    stopped, other = await open_one(timing=Timing(idle=0.2)), await open_one()
    held = await stopped.hold(0)

    async def stops(session: Any) -> None:
        async with session.transaction() as connection:
            await connection.execute("SELECT FROM shard FOR UPDATE")
            after = await other.hold(0)
            assert after.epoch > held.epoch
            await connection.execute("UPDATE shard SET seq = 99")

    with pytest.raises(StoreFault, match="ended the connection"):
        await stopped._database.call(stops)
    with pytest.raises(Outdated):
        await stopped.commit_page(held, page(held, [1]))
    assert (await other.hold(0)).last == Position()
    await stopped.close()
    await other.close()


async def test_a_full_disk(store: PostgresStore, postgres_server: Server, database: str) -> None:
    held = await store.hold(0)
    fails(postgres_server, database, "RAISE EXCEPTION 'could not extend file: No space left' USING ERRCODE = '53100';")
    with pytest.raises(StoreFull, match=r"no room left on its disk .*free some; polling goes on by itself"):
        await store.commit_page(held, page(held, [1]))
    assert await store.look_up(None, [key(1)]) == {0: Sighting(DAY0, 0)}
    postgres_server.sql("DROP TRIGGER fails ON poller.segment", database)
    assert (await store.commit_page(held, page(held, [1]))).last.seq == 1


@pytest.mark.parametrize("state", ["40001", "40P01"])
async def test_transactions_that_clash_are_made_again(
    store: PostgresStore, postgres_server: Server, database: str, state: str
) -> None:
    held = await store.hold(0)
    postgres_server.sql("CREATE SEQUENCE public.tries", database)  # counts on when a transaction is undone
    fails(
        postgres_server,
        database,
        f"IF nextval('public.tries') % 3 <> 0 THEN RAISE EXCEPTION 'clash' USING ERRCODE = '{state}'; END IF;",
    )
    held = await store.commit_page(held, page(held, [1]))
    assert postgres_server.sql("SELECT last_value FROM public.tries", database) == [(3,)]
    fails(postgres_server, database, f"RAISE EXCEPTION 'clash' USING ERRCODE = '{state}';")
    with pytest.raises(StoreFault, match="let other transactions go first again and again"):
        await store.commit_page(held, page(held, [2]))


async def test_at_max_bytes_pages_wait_and_positions_move(open_one: Any) -> None:
    store = await open_one(max_bytes="300B")
    held = await store.hold(0)
    held = await store.commit_page(held, page(held, [1, 2]))
    with pytest.raises(StoreFull, match=r"store\.max_bytes is 300B: raise it"):
        await store.commit_page(held, page(held, [3]))
    with pytest.raises(StoreFull):
        await store.commit_page(held, moved(1))
    await store.delivered(held, "kafka", held.last, [dead_event(1)])
    assert await store.position("kafka", 0) == held.last
    facts = await store.facts()
    assert facts.limit_bytes == 300
    assert facts.bytes > 300
    assert await store.expire(log_before=0, seen_before_day=DAY0 + 1, limit=10) == 2
    assert (await store.commit_page(held, page(held, [3]))).last.seq == 3, "what expired makes room at once"
    await store.close()


# --- another server, another history ---------------------------------------------------------------------------------


async def test_of_two_writers_the_older_one_is_outdated(open_one: Any) -> None:
    first, second = await open_one(), await open_one()
    old = await first.hold(3)
    new = await second.hold(3)
    with pytest.raises(Outdated, match=r"shard 3: the writer believes epoch 1 .* has epoch 2"):
        await first.commit_page(old, page(old, [1]))
    await second.commit_page(new, page(new, [1]))
    other = await first.hold(4)
    await first.commit_page(other, page(other, [1]))
    await first.close()
    await second.close()


async def test_writers_of_one_belief_at_once_one_of_them_wins(store: PostgresStore) -> None:
    held = await store.hold(0)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(failing(store.commit_page(held, page(held, [number])))) for number in range(3)]
    results = [task.result() for task in tasks]
    assert sorted(type(result).__name__ for result in results) == ["Held", "Outdated", "Outdated"]
    assert len(await store.segments_after(0, 0, 1 << 20)) == 1


async def test_a_database_that_went_back_gives_no_epoch_twice(
    open_one: Any, postgres_server: Server, database: str
) -> None:
    """A lagging standby is promoted, and two processes are told the same number by two servers."""
    first, second = await open_one(), await open_one()
    await first.hold(0)
    postgres_server.clone(database, f"{database}_standby")
    believed = await first.hold(0)
    postgres_server.drop(database)
    postgres_server.clone(f"{database}_standby", database)
    postgres_server.drop(f"{database}_standby")
    assert await second.hold(0) == believed, "all that a writer can see is the same"
    with pytest.raises(Outdated, match="by another holder"):
        await first.commit_page(believed, page(believed, [1]))
    with pytest.raises(Outdated, match="by another holder"):
        await first.commit_page(believed, moved(1))
    assert await second.checkpoints() == {}
    await second.commit_page(believed, moved(1))
    await second.commit_page(believed, page(believed, [1]))
    await first.close()
    await second.close()


async def test_a_failover_to_a_server_that_lags(open_one: Any, postgres_server: Server, database: str) -> None:
    """The first server of the connection string is gone, and the second one lacks the last commit."""
    async with proxy(postgres_server.port) as first:
        ports = f"port={first.port},{postgres_server.port}"
        whole = f"host=127.0.0.1,127.0.0.1 {ports} user=postgres password={PASSWORD} dbname={database}"
        store = await open_one(dsn=f"{whole} connect_timeout=120")
        held = await taken(store)
        held = await store.commit_page(held, page(held, [1]))
        postgres_server.clone(database, f"{database}_standby")
        lost = await store.commit_page(held, page(held, [2]))
    postgres_server.drop(database)
    postgres_server.clone(f"{database}_standby", database)
    postgres_server.drop(f"{database}_standby")
    with pytest.raises(Outdated, match=r"believes epoch 1 and last seq 2, .* has epoch 1 and last seq 1"):
        await store.delivered(lost, "kafka", lost.last)
    assert await store.renew("a", [lost], 600, staying=True) == {0}, "the lease is older than what was lost"
    again = await taken(store)
    assert again.last == held.last
    assert (await store.commit_page(again, page(again, [2]))).last.seq == 2
    await store.close()


async def test_a_server_that_takes_no_writes(
    store: PostgresStore, config: Callable[..., Config], postgres_server: Server, database: str
) -> None:
    held = await store.hold(0)
    set_read_only = "ALTER DATABASE {} SET default_transaction_read_only = {}"
    postgres_server.sql(psycopg.sql.SQL(set_read_only).format(psycopg.sql.Identifier(database), "on"))
    postgres_server.throw_out(database)
    with pytest.raises(StoreFault, match=r"takes no writes .*target_session_attrs=read-write"):
        await store.commit_page(held, page(held, [1]))
    with pytest.raises(StoreFault, match=r"takes no writes.*target_session_attrs=read-write"):
        await open_store(config())
    several = (
        f"host=127.0.0.1,127.0.0.1 port={postgres_server.port} user=postgres password={PASSWORD} dbname={database}"
    )
    with pytest.raises(StoreFault, match="takes no writes"):
        await open_store(config(dsn=several))
    for way in (None, several):
        look = await open_read(config(dsn=way))
        assert await look.look_up(None, [key(1)]) == {0: Sighting(DAY0, 0)}
        await look.close()
    postgres_server.sql(psycopg.sql.SQL(set_read_only).format(psycopg.sql.Identifier(database), "off"))
    assert (await store.commit_page(held, page(held, [1]))).last.seq == 1, (
        "a new connection finds the server that takes writes"
    )
    other = await open_store(config(dsn=several))
    assert (await other.hold(0)).last.seq == 1
    await other.close()


async def test_tables_that_were_dropped_are_noticed_and_made_anew(
    store: PostgresStore, postgres_server: Server, database: str
) -> None:
    held = await store.hold(0)
    held = await store.commit_page(held, page(held, [1]))
    postgres_server.sql("DROP SCHEMA poller CASCADE", database)
    with pytest.raises(Outdated, match="does not have the tables of poller any more"):
        await store.look_up(None, [key(1)])
    assert (await store.hold(0)).last == Position()
    assert (await store.facts()).seen_ids == 0


# --- the way in ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "kind", "said"),
    [
        ({"password": "hunter2-secret"}, StoreRefused, "refuses the user or the password"),
        ({"user": "nobody_here"}, StoreRefused, "refuses the user or the password"),
        ({"dsn": "postgresql://u:hunter2-secret@127.0.0.1:1/x"}, StoreFault, "x at 127.0.0.1 cannot be reached"),
        ({"dsn": "postgresql://u:hunter2-secret@no-such-host.invalid/x"}, StoreFault, "cannot be (found|reached)"),
        ({"dsn": "postgresql://u:hunter2%zz@here/x"}, StoreRefused, "store.dsn is no connection string"),
        ({"dsn": "passwort=hunter2-secret"}, StoreRefused, "store.dsn is no connection string"),
        ({"dsn": "host=127.0.0.1 port=hunter2-secret"}, StoreFault, "cannot be reached"),
    ],
)
async def test_no_way_in_is_said_without_the_password(
    config: Callable[..., Config], given: dict[str, str], kind: type[Exception], said: str
) -> None:
    if "port=hunter2" in given.get("dsn", ""):
        given = given | {"dsn": given["dsn"] + " password=hunter2-secret"}
    with pytest.raises(kind, match=said) as caught:
        await open_store(config(**given))
    whole = "".join(traceback.format_exception(caught.value)) + repr(config(**given))
    assert "hunter2" not in whole
    assert PASSWORD not in whole


async def test_a_database_that_does_not_exist(config: Callable[..., Config], postgres_server: Server) -> None:
    with pytest.raises(StoreRefused, match=r"nowhere at 127\.0\.0\.1 does not exist: create it \(CREATE DATABASE\)"):
        await open_store(config(dsn=postgres_server.dsn("nowhere")))


async def test_errors_and_reprs_hold_no_secret(open_one: Any) -> None:
    store = await open_one()
    assert PASSWORD not in repr(store._database.dsn)
    assert PASSWORD not in repr(vars(store._database)) + repr(vars(store._database.pool))
    assert PASSWORD not in store._database.dsn.clean(f'connection to "postgresql://postgres:{PASSWORD}@host/x" failed')
    await store.close()


async def test_a_closed_store_says_so(open_one: Any) -> None:
    store = await open_one()
    await store.close()
    await store.close()
    with pytest.raises(StoreFault, match="is closed"):
        await store.positions()


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", ["a\0b", "half \ud800", "\\x00", "ż" * 3000])
async def test_any_words_are_kept_as_they_are(store: PostgresStore, words: str) -> None:
    held = await store.hold(0)
    kept = retry(1)
    kept = type(kept)(**{name: getattr(kept, name) for name in kept.__struct_fields__} | {"error": words})
    dead = dead_record(1)
    dead = type(dead)(**{name: getattr(dead, name) for name in dead.__struct_fields__} | {"error": words})
    await store.attempted(held, "hook", Attempted(position=Position(), later=[kept]))
    await store.commit_page(held, PageCommit(dead=[dead]))
    await store.put_meta("words", words)
    assert await store.retries("hook", 0, [1]) == [kept]
    assert await dead_records(store) == [dead]
    assert await store.get_meta("words") == words


# --- what the tests do -----------------------------------------------------------------------------------------------


async def taken(store: PostgresStore) -> Held:
    held = await store.claim(0, "a", 600)
    assert held is not None
    return held


async def failing(work: Any) -> Any:
    try:
        return await work
    except (StoreFault, Outdated) as error:
        return error


def fails(server: Server, database: str, how: str) -> None:
    """Each new segment does this to its transaction."""
    body = f"$$BEGIN {how} RETURN NEW; END$$"
    server.sql(f"CREATE OR REPLACE FUNCTION public.fails() RETURNS trigger LANGUAGE plpgsql AS {body}", database)
    server.sql(
        "CREATE OR REPLACE TRIGGER fails BEFORE INSERT ON poller.segment FOR EACH ROW EXECUTE FUNCTION public.fails()",
        database,
    )
