"""The format of a worker's log, and that its lines contain nothing that a terminal would act on."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from oneshot_queue.telemetry.logging import (
    LOG_FORMATS,
    LOG_LEVELS,
    JsonFormatter,
    TextFormatter,
    configure,
    printable,
    report,
)

INSTANT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d"
HOSTILE = "\x1b]0;owned\x07\nforged\u202e"
ESCAPED = r"\x1b]0;owned\x07\nforged\u202e"


def a_record(message: str = "lease is lost", *args: object, error: bool = False, **fields: object) -> logging.LogRecord:
    failure: Any = None
    if error:
        try:
            raise ValueError(HOSTILE)
        except ValueError:
            failure = sys.exc_info()
    record = logging.LogRecord("oneshot_queue.x", logging.WARNING, "path", 1, message, args, failure)
    record.__dict__.update(fields)
    return record


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """The stream that the log is written to; the logging of the test run is restored afterwards."""
    root, lines = logging.getLogger(), logging.getLogger("oneshot_queue.report")
    before = root.level, [*root.handlers], [*lines.handlers]
    yield io.StringIO()
    root.setLevel(before[0])
    root.handlers[:], lines.handlers[:] = before[1], before[2]


def test_text_record_has_its_time_level_and_message_then_its_fields_in_order() -> None:
    line = TextFormatter().format(a_record("lease of queue %s is lost", "builds", queue="builds", job="j1", attempt=2))

    assert re.fullmatch(rf"{INSTANT} WARNING lease of queue builds is lost job=j1 queue=builds attempt=2", line)


def test_text_value_that_is_not_a_plain_word_is_quoted() -> None:
    line = TextFormatter().format(a_record(cause='no "such" host', worker="", job="a=b"))

    assert line.endswith(r'lost job="a=b" worker="" cause="no \"such\" host"')


def test_text_record_can_neither_control_a_terminal_nor_forge_a_line() -> None:
    line = TextFormatter().format(a_record("job %s", HOSTILE, cause=HOSTILE))

    assert line.startswith(ESCAPED, line.index("job ") + 4)
    assert line.isprintable()


def test_text_traceback_keeps_its_lines_and_is_escaped() -> None:
    first, *rest = TextFormatter().format(a_record(error=True)).split("\n")

    assert first.endswith("lease is lost")
    assert rest[0] == "Traceback (most recent call last):"
    assert all(line.isprintable() for line in rest)


def test_json_record_is_one_ascii_line_with_the_fields_that_are_set() -> None:
    line = JsonFormatter().format(a_record("job %s · %s", "j1", HOSTILE, job="j1", attempt=1, cause=None))

    entry = json.loads(line)
    assert line.isascii()
    assert line.isprintable()
    assert re.fullmatch(INSTANT, entry.pop("time"))
    assert entry == {
        "level": "warning",
        "logger": "oneshot_queue.x",
        "message": f"job j1 · {HOSTILE}",
        "job": "j1",
        "attempt": 1,
    }


def test_json_record_holds_its_exception() -> None:
    entry = json.loads(JsonFormatter().format(a_record(error=True)))

    assert entry["exception"].startswith("Traceback (most recent call last):")
    assert f"ValueError: {HOSTILE}" in entry["exception"]


@pytest.mark.parametrize("make", [TextFormatter, JsonFormatter])
def test_default_field_is_used_unless_the_record_sets_it(make: type[TextFormatter | JsonFormatter]) -> None:
    formatter = make({"worker": "bob"})

    assert "bob" in formatter.format(a_record())
    assert "bob" not in formatter.format(a_record(worker="eve"))


def test_report_line_is_written_as_it_is_whatever_the_level(stream: io.StringIO) -> None:
    configure("text", "error", worker="bob", stream=stream)

    report("worker bob · 2 slots", fields={"queue": "builds"})
    report("start j1", has_clock=True)
    logging.getLogger("oneshot_queue.x").warning("not written")

    first, second = stream.getvalue().splitlines()
    assert first == "worker bob · 2 slots"
    assert re.fullmatch(r"\d\d:\d\d:\d\d start j1", second)


def test_report_line_is_an_object_with_its_fields_as_json(stream: io.StringIO) -> None:
    configure("json", "error", worker="bob", stream=stream)

    report("start j1", has_clock=True, fields={"job": "j1", "attempt": 1})

    entry = json.loads(stream.getvalue())
    del entry["time"]
    assert entry == {
        "level": "info",
        "logger": "oneshot_queue.report",
        "message": "start j1",
        "job": "j1",
        "attempt": 1,
        "worker": "bob",
    }


@pytest.mark.parametrize("level", LOG_LEVELS)
def test_records_below_the_level_are_not_written(stream: io.StringIO, level: str) -> None:
    configure("text", level, stream=stream)

    for each in LOG_LEVELS:
        logging.getLogger("oneshot_queue.x").log(getattr(logging, each.upper()), "at %s", each)

    written = [line.rpartition(" ")[2] for line in stream.getvalue().splitlines()]
    assert written == list(LOG_LEVELS[LOG_LEVELS.index(level) :])


def test_a_later_call_replaces_the_earlier_one(stream: io.StringIO) -> None:
    for log_format in reversed(LOG_FORMATS):
        configure(log_format, "info", stream=stream)

    logging.getLogger("oneshot_queue.x").info("once")
    report("twice")

    first, second = stream.getvalue().splitlines()
    assert first.endswith(" INFO once")
    assert second == "twice"


def test_closed_stream_raises_no_error(stream: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    class Gone(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    del stream
    configure(stream=Gone())

    report("unheard")

    assert capsys.readouterr().err == ""


def test_printable_keeps_letters_of_all_scripts_and_escapes_what_acts_on_a_terminal() -> None:
    assert printable("größe · 日本 ✓") == "größe · 日本 ✓"
    assert printable(HOSTILE) == ESCAPED
