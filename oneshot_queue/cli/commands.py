"""The typer commands and groups of the verbs: values stay unconverted, unknown verbs get a suggestion."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Final

from typer.core import TyperCommand, TyperGroup

from oneshot_queue.cli.exit_codes import UsageProblem

_SYNONYMS: Final = {
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


class _Unconverted:
    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        del ctx
        return () if value is None and (param.multiple or param.nargs == -1) else value


def _without_conversion(parameters: Iterable[Any]) -> list[Any]:
    # Typer converts values with pydantic, whose import takes longer than a whole verb may. Every option here is text or
    # a flag, and arguments/ converts it. If typer drops this attribute, the same values arrive, only slower.
    found = list(parameters)
    for each in found:
        each._runtime_param = _Unconverted()  # noqa: SLF001
        if each.param_type_name == "argument":
            each.display_type_rich = _no_type  # help would say <list[str]>
        elif each.name == "help":
            each.help = "Show this message and exit"  # no final period, as in all other options
    return found


def _no_type(ctx: Any) -> None:
    del ctx


def _with_examples(text: str | None) -> str | None:
    """Keep the lines of indented paragraphs."""
    paragraphs = (text or "").split("\n\n")
    return "\n\n".join(f"\b\n{each}" if each.startswith(" ") else each for each in paragraphs) or None


class Verb(TyperCommand):
    """One verb."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.help = _with_examples(self.help)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The usage after the verb's name, without braces around required arguments."""
        return [piece.strip("{}").replace("}...", "...") for piece in super().collect_usage_pieces(ctx)]

    def get_params(self, ctx: Any) -> list[Any]:
        """All parameters, including --help."""
        return _without_conversion(super().get_params(ctx))


class VerbGroup(TyperGroup):
    """A group of verbs; appends the name of the called verb to ``path`` of the context's ``obj``."""

    order: ClassVar[Sequence[str]] = ()
    """Verbs in the order of the help; others follow in the order they were added."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.help = _with_examples(self.help)

    def list_commands(self, ctx: Any) -> list[str]:
        """The verbs in the order of the help."""
        known = super().list_commands(ctx)
        return sorted(known, key=lambda name: self.order.index(name) if name in self.order else len(known))

    def get_params(self, ctx: Any) -> list[Any]:
        """The options before the verb."""
        return _without_conversion(super().get_params(ctx))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find a verb.

        Raises:
            UsageProblem: There is no such verb; the message suggests one or lists all.
        """
        name = args[0]
        known = self.list_commands(ctx)
        if name in known:
            ctx.obj.path.append(name)
        elif not name.startswith("-"):
            synonym = _SYNONYMS.get(name)
            close = [synonym] if synonym in known else difflib.get_close_matches(name, known)
            hint = f"did you mean {' or '.join(close)}?" if close else f"commands: {', '.join(known)}"
            raise UsageProblem(f"unknown command {name!r}; {hint}")
        return super().resolve_command(ctx, args)
