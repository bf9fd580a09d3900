"""The daemon killed (-9) at every step boundary of the way out to a webhook: every event arrives, again only under the same id."""

from collections import defaultdict
from pathlib import Path

import pytest
from e2e_each import SCENES, Inbox, Installation, Scene, expected
from e2e_edges import EACH, edges
from e2e_elsewhere import excused
from e2e_lives import Lives, lives_of
from webhook_receiver import Receiver, receiver

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(1800)]


async def test_killed_at_every_step_boundary_every_event_arrives_under_its_id(tmp_path: Path) -> None:
    inbox = Inbox()
    async with receiver(inbox) as running:
        installation = Installation(tmp_path, running.url())
        async with lives_of(installation) as lives:
            crashes = Crashes(installation, lives, inbox, running)
            await crashes.everywhere()
            await crashes.judge()
        crashes.report()


class Crashes:
    """What was met in which scene, and where the daemon was killed."""

    def __init__(self, installation: Installation, lives: Lives, inbox: Inbox, running: Receiver) -> None:
        self.at = installation
        self.lives = lives
        self.inbox = inbox
        self.receiver = running
        self.names = [edge.name for edge in edges(EACH)]
        self.scenes: dict[str, dict[str, int]] = defaultdict(dict)

    async def everywhere(self) -> None:
        """Finds out what the scenes meet, then kills the daemon everywhere there."""
        for name in SCENES:
            await self.life(name)
            for edge, times in self.lives.hits().items():
                self.scenes[edge].setdefault(name, times)
        for number, edge in enumerate([edge for edge in self.names if self.scenes[edge]]):
            first, *others = self.scenes[edge]
            nth = min(1 + number % 2, self.scenes[edge][first])
            for name, times in ((first, nth), (first, 1), *((name, 1) for name in others)):
                if await self.life(name, edge, times):
                    break

    async def life(self, name: str, edge: str | None = None, nth: int = 1) -> bool:
        """Whether it ended at the edge."""
        scene: Scene = SCENES[name](self.at, self.lives, self.inbox, self.receiver)
        await scene.before()
        await self.lives.begin(edge, nth, hold=scene.hold)
        await scene.during()
        status = await self.lives.end()
        await scene.after()
        # Only a life that was told to stop ends by itself.
        assert status is None or status == 0, f"{name} ({edge}): {status}\n{self.at.tail()}"
        return edge is not None and self.lives.at_edge

    async def judge(self) -> None:
        """One more life, and everything is there: taken, or a dead letter."""
        await self.life("plain")
        wanted = expected(self.at)
        assert set(self.inbox.bodies) <= set(wanted), "an id that nobody gave"
        doubled = {wanted[one]: len(bodies) for one, bodies in self.inbox.bodies.items() if len(bodies) > 1}
        assert not doubled, f"one id, several events: {doubled}"
        lost = {wanted[one] for one in set(wanted) - set(self.inbox.bodies) - await self.at.dead()}
        assert not lost, lost

    def report(self) -> None:
        """How often each boundary was met and the daemon killed there. Raises AssertionError where one was not."""
        met, killed = self.lives.met, self.lives.killed
        for edge in edges(EACH):
            print(
                f"{killed[edge.name]:4} {met[edge.name]:6}  {edge.name} {next(iter(self.scenes[edge.name]), excused(edge))}"
            )
        print(f"{sum(killed.values())} crashes; {self.inbox.times} calls taken, of {len(self.inbox.bodies)} events")
        never = [edge.name for edge in edges(EACH) if not killed[edge.name] and not excused(edge)]
        assert not never, f"never killed there, and nothing says why: {never}"
