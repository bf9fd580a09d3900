"""A MOR system with very many calls, in a process of its own: prints its port, then serves until it is ended."""

import sys
import time

from poller.simulate.bulk import Bulk
from poller.simulate.mor_settings import MorOptions
from poller.simulate.run import Simulation, Simulators, simulate


def main() -> None:
    """`e2e_bulk.py COUNT`: so many calls within the last ten minutes, in one answer; nothing is answered before it is told to."""
    begin = int(time.time()) - 700
    bulk = Bulk(int(sys.argv[1]), begin, begin + 600)

    def ready(running: Simulators) -> None:
        running.sites["mor"].down = "503"
        sys.stdout.write(f"{running.ports['mor']}\n")
        sys.stdout.flush()

    simulate(Simulation(vendors=("mor",), mor=MorOptions(bulk=bulk)), ready)


if __name__ == "__main__":
    main()
