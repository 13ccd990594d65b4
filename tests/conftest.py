"""Fixtures for every test: servers, fresh names, and the check that nothing is left running.

============== ======================================================================================================
server         A running server, shared by many tests. With ``--all-servers`` each test runs on every kind. Otherwise
               ``tests/store`` runs on fakeredis and Redis 8.2, and on the other kinds in thorough tests;
               ``tests/integration`` and ``tests/properties`` on Redis 8.2, and on fakeredis in thorough tests; the
               others on Redis 8.2.
fresh_server   The same kinds, but a server for this test alone: it may be stopped, paused, filled and reconfigured.
namespace      A key prefix for this test alone, so that tests share a server without FLUSHALL.
queue_name     A queue name for this test alone.
============== ======================================================================================================
"""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support import commands, leftovers
from tests.support.limits import limit_s
from tests.support.servers import FAKE, GATE, Server, ServerKind, ServerProcess, kinds_for, known_kinds

# How fast examples are drawn depends on the load of the machine, so no test checks it.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# Stories about the store: the same few in every run. ``--hypothesis-profile=long`` draws 2,000 new ones.
_stories = settings(settings.get_profile("house"), stateful_step_count=50, print_blob=True)
settings.register_profile("stories", _stories, max_examples=25, derandomize=True, database=None)
settings.register_profile("long", _stories, max_examples=2_000)
settings.load_profile("house")

_HERE = Path(__file__).parent
_ON_EVERY_KIND = _HERE / "store"
_ON_BOTH_SORTS = (_HERE / "integration", _HERE / "properties")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all-servers", action="store_true", help="run every test that needs a server on every kind")


def pytest_report_header() -> list[str]:
    found = (f"{kind.name} ({kind.missing or f'{kind.version}, {kind.source}'})" for kind in known_kinds())
    return [f"servers: {', '.join(found)}"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "server_kind" in metafunc.fixturenames:
        path = metafunc.definition.path
        if metafunc.config.getoption("--all-servers"):
            kinds: list[object] = list(kinds_for(crossed=True))
        elif path.is_relative_to(_ON_EVERY_KIND):
            kinds = _thorough_but({FAKE, GATE}, kinds_for(crossed=True))
        elif any(path.is_relative_to(folder) for folder in _ON_BOTH_SORTS):
            kinds = _thorough_but({GATE}, [kind for kind in kinds_for(crossed=True) if kind.name in {FAKE, GATE}])
        else:
            kinds = list(kinds_for(crossed=False))
        metafunc.parametrize("server_kind", kinds, ids=lambda kind: kind.name, scope="session")


def _thorough_but(usual: Collection[str], kinds: Iterable[ServerKind]) -> list[object]:
    """The kinds, of which all but the usual ones mark their tests as thorough."""
    return [kind if kind.name in usual else pytest.param(kind, marks=pytest.mark.thorough) for kind in kinds]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    usual_s = float(config.getini("timeout"))
    for item in items:
        own = item.get_closest_marker("timeout")
        seconds = float(own.args[0]) if own and own.args else usual_s
        item.add_marker(pytest.mark.timeout(limit_s(seconds)), append=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    tests: dict[str, int] = {kind.name: 0 for kind in known_kinds()}
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        if report.when == "call":
            for name, value in report.user_properties:
                if name == "server":
                    tests[str(value)] = tests.get(str(value), 0) + 1
    if any(tests.values()):
        terminalreporter.write_sep("-", "servers covered")
        for name, number in tests.items():
            terminalreporter.write_line(f"{name}: {number} tests" if number else f"{name}: NOT covered")


@pytest.fixture(scope="session", autouse=True)
def _signals_have_their_default_handlers() -> None:
    """Restore Ctrl-C: a script's background job ignores it, and every program that a test starts would inherit that."""
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


@pytest.fixture(scope="session", autouse=True)
def _missing_commands_are_provided(tmp_path_factory: pytest.TempPathFactory) -> None:
    commands.provide_missing(tmp_path_factory.mktemp("commands"))


@pytest.fixture(scope="session", autouse=True)
def _private_state_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    # The person who runs the tests may have workers and a local broker running.
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture(scope="session", autouse=True)
def _nothing_left_running_at_the_end() -> Iterator[None]:
    leftovers.adopt_orphans()
    before = leftovers.children()
    yield
    leftovers.assert_none_since(before)


@pytest.fixture(scope="session")
def _shared_servers(_nothing_left_running_at_the_end: None) -> Iterator[Callable[[ServerKind], ServerProcess]]:
    running: dict[str, ServerProcess] = {}

    def get(kind: ServerKind) -> ServerProcess:
        if kind.name not in running:
            running[kind.name] = _started(kind)
        return running[kind.name]

    yield get

    for server in running.values():
        server.close()


def _started(kind: ServerKind) -> ServerProcess:
    assert kind.missing is None, f"{kind.missing}: run make again"
    server = ServerProcess(kind)
    try:
        server.start()
    except BaseException:
        server.close()
        raise
    return server


@pytest.fixture(autouse=True)
def _nothing_left_running(request: pytest.FixtureRequest) -> Iterator[None]:
    if "server" in request.fixturenames:
        # The shared server outlives this test, which may be the first to need it: start it before the count.
        request.getfixturevalue("server")
    before = leftovers.children()
    yield
    leftovers.assert_none_since(before)


@pytest.fixture
def server(
    server_kind: ServerKind,
    _shared_servers: Callable[[ServerKind], ServerProcess],
    record_property: Callable[[str, object], None],
) -> Iterator[Server]:
    shared = _shared_servers(server_kind)
    record_property("server", shared.kind)
    yield shared
    shared.assert_not_lost()


@pytest.fixture
def fresh_server(
    server_kind: ServerKind,
    record_property: Callable[[str, object], None],
) -> Iterator[ServerProcess]:
    own = _started(server_kind)
    record_property("server", own.kind)
    yield own
    try:
        own.assert_not_lost()
    finally:
        own.close()


@pytest.fixture
def namespace() -> str:
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def queue_name() -> str:
    return f"queue-{uuid.uuid4().hex[:12]}"
