"""The exit code of every class of the error tree."""

from __future__ import annotations

import pytest

from oneshot_queue import errors
from oneshot_queue.cli.exit_codes import ExitCode, UsageProblem, exit_code_for, signal_name


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageProblem("what"), 2),
        (errors.InvalidJob("name", "no"), 2),
        (errors.InvalidSetting("queue", "no"), 2),
        (errors.AmbiguousJobId("abcd", ["abcd1", "abcd2"]), 2),
        (errors.JobNotFound("x", ["default"]), 3),
        (errors.JobAlreadyFinal("x", "COMPLETED"), 4),
        (errors.BrokerNotConfigured(), 5),
        (errors.BrokerUnreachable("redis://x", "gone"), 5),
        (errors.BrokerRefused("redis://x", "no", "ask"), 5),
        (errors.QueueFull("default", "full"), 5),
        (errors.MalformedData("job", "damaged"), 5),
        (errors.InterruptNotConfirmed("x", "RUNNING", 1.0, None), 6),
        (errors.WaitTimedOut("x", "RUNNING", 1.0), 6),
        (OSError(28, "No space left on device"), 1),
        (RuntimeError("a bug"), 70),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_every_error_has_its_exit_code(error: Exception, code: int) -> None:
    assert exit_code_for(error) == code


def test_no_error_of_the_tree_is_reported_as_a_bug() -> None:
    def leaves(kind: type[Exception]) -> set[type[Exception]]:
        return {kind}.union(*(leaves(each) for each in kind.__subclasses__()))

    for kind in leaves(errors.OneshotQueueError):
        assert exit_code_for(kind.__new__(kind)) is not ExitCode.BUG, kind


def test_signals_have_names() -> None:
    assert (signal_name(9), signal_name(64), signal_name(None)) == ("SIGKILL", "SIGRTMAX", "signal None")
