"""What a verb is to typer: a command whose words stay as they were written, and groups that suggest."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Final

from typer.core import TyperCommand, TyperGroup

from oneshot_queue.cli.exit_codes import UsageProblem

_OTHER_NAMES: Final = {
    "abort": "interrupt",
    "add": "enqueue",
    "cancel": "interrupt",
    "exec": "run",
    "follow": "logs",
    "info": "show",
    "inspect": "show",
    "jobs": "ls",
    "kill": "interrupt",
    "list": "ls",
    "output": "logs",
    "ps": "ls",
    "push": "enqueue",
    "requeue": "retry",
    "restart": "retry",
    "start": "worker",
    "status": "show",
    "stop": "interrupt",
    "submit": "enqueue",
    "tail": "logs",
}


class _AsWritten:
    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        del ctx
        return () if value is None and (param.multiple or param.nargs == -1) else value


def _as_written(parameters: Iterable[Any]) -> list[Any]:
    # Typer converts values with pydantic, whose import takes longer than a whole verb may. Every option here is text or
    # a flag, and options.py converts it; were typer to forget this attribute, the same values would come the slow way.
    found = list(parameters)
    for each in found:
        each._runtime_param = _AsWritten()  # noqa: SLF001
        if each.param_type_name == "argument":
            each.display_type_rich = _no_type  # help would say <list[str]>
    return found


def _no_type(ctx: Any) -> None:
    del ctx


def _with_examples(text: str | None) -> str | None:
    """Let paragraphs that are indented keep their lines."""
    paragraphs = (text or "").split("\n\n")
    return "\n\n".join(f"\b\n{each}" if each.startswith(" ") else each for each in paragraphs) or None


class Verb(TyperCommand):
    """A verb."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.help = _with_examples(self.help)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """What follows the verb's name, without braces around what must be there."""
        return [piece.strip("{}").replace("}...", "...") for piece in super().collect_usage_pieces(ctx)]

    def get_params(self, ctx: Any) -> list[Any]:
        """All its parameters, the one for help included."""
        return _as_written(super().get_params(ctx))


class VerbGroup(TyperGroup):
    """Verbs. The context's ``obj`` learns which one was called."""

    order: ClassVar[Sequence[str]] = ()
    """Verbs as help lists them; others follow as they were added."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.help = _with_examples(self.help)

    def list_commands(self, ctx: Any) -> list[str]:
        """The verbs, in the order in which people need them."""
        known = super().list_commands(ctx)
        return sorted(known, key=lambda name: self.order.index(name) if name in self.order else len(known))

    def get_params(self, ctx: Any) -> list[Any]:
        """What may stand before the verb."""
        return _as_written(super().get_params(ctx))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find a verb, or suggest one."""
        name = args[0]
        known = self.list_commands(ctx)
        if name in known:
            ctx.obj.path.append(name)
        elif not name.startswith("-"):
            other = _OTHER_NAMES.get(name)
            close = [other] if other in known else difflib.get_close_matches(name, known)
            hint = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(known)}"
            raise UsageProblem(f"no verb {name!r}; {hint}")
        return super().resolve_command(ctx, args)
