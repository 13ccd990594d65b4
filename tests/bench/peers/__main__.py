"""``python -m tests.bench.peers``: let the peers take turns, print a table, and write it as JSON if asked to."""

# ruff: noqa: T201 - a benchmark prints

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from oneshot_queue.bench.figures import MeasurementSpoilt
from tests.bench.peers import verbs
from tests.bench.peers.environments import FOR_ARQ, SHARED
from tests.bench.peers.own import OwnQueue
from tests.bench.peers.peer import Peer, Work
from tests.bench.peers.programs import PARALLEL, XARGS
from tests.bench.peers.queue_peer import QueuePeer
from tests.bench.peers.report import as_json, table
from tests.bench.peers.rounds import take_turns
from tests.bench.report import machine, print_lines, print_machine

_QUEUES: Final = "tests.bench.peers.queues"
PEERS: Final[dict[str, Peer]] = {
    "xargs": XARGS,
    "oneshot-queue": OwnQueue(2, 32),
    "oneshot-queue-2": OwnQueue(2),
    "oneshot-queue-1": OwnQueue(1),
    "parallel": PARALLEL,
    "hyperqueue": QueuePeer("HyperQueue", f"{_QUEUES}.hyperqueue", SHARED),
    "rq": QueuePeer("RQ", f"{_QUEUES}.rq", SHARED),
    "celery": QueuePeer("Celery", f"{_QUEUES}.celery", SHARED),
    "saq": QueuePeer("SAQ", f"{_QUEUES}.saq", SHARED),
    "arq": QueuePeer("arq", f"{_QUEUES}.arq", FOR_ARQ),
    "streaq": QueuePeer("streaq", f"{_QUEUES}.streaq", SHARED),
    "dramatiq": QueuePeer("dramatiq", f"{_QUEUES}.dramatiq", SHARED),
    "huey": QueuePeer("huey", f"{_QUEUES}.huey", SHARED),
    "docket": QueuePeer("docket", f"{_QUEUES}.docket", SHARED),
}


def main(argv: Sequence[str] | None = None, *, peers: dict[str, Peer] = PEERS) -> int:
    """Measure the requested peers.

    Args:
        argv: The command-line arguments; by default those of this process.
        peers: The peers to choose from, by their names on the command line.

    Returns:
        0 if all available peers were measured; 1 if a measurement was spoilt.
    """
    options = _options(argv, peers)
    before = machine()
    print_machine()
    work = Work(options.commands, warm_up=min(200, options.commands))
    print(f"{work.commands:,} times /bin/true, {options.rounds} rounds\n", flush=True)
    chosen = [peer for name, peer in peers.items() if not options.only or name in options.only]
    try:
        standings = take_turns(chosen, work, options.rounds, report=_print_progress)
    except MeasurementSpoilt as problem:
        print(f"spoilt: {problem}", file=sys.stderr)
        return 1
    for line in table(standings, work):
        print(line)
    if options.verbs:
        print_lines("verbs", list(verbs.measure(4 * options.rounds)))
    print(f"\nload now {machine()['load']}")
    if options.json is not None:
        result = {
            "machine": before,
            "load_after": machine()["load"],
            "commands": work.commands,
            "rounds": options.rounds,
        }
        options.json.write_text(json.dumps(result | {"peers": as_json(standings, work)}, indent=2) + "\n")
    return 0


def _options(argv: Sequence[str] | None, peers: dict[str, Peer]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.peers", description="Measure the same work in other systems."
    )
    parser.add_argument("--rounds", type=_positive, default=5, metavar="N", help="turns of each peer (default: 5)")
    parser.add_argument(
        "--commands", type=_positive, default=2_000, metavar="N", help="commands of one turn (default: 2000)"
    )
    parser.add_argument("--only", action="append", choices=list(peers), metavar="NAME", help=", ".join(peers))
    parser.add_argument("--verbs", action="store_true", help="measure CLI commands too, next to those of rq")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to this file too")
    return parser.parse_args(argv)


def _print_progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _positive(word: str) -> int:
    number = int(word)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{word} is not at least 1")
    return number


def _leave(number: int, frame: FrameType | None) -> None:
    # Exit by an exception, so that servers and workers are stopped.
    sys.exit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _leave)
    sys.exit(main())
