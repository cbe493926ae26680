"""Where texts leave a process that nobody wrote for it: errors and log records, without secrets.

Errors of libraries quote addresses with passwords, headers and bodies. `no_secrets_in_errors` is
put around whatever Dagster or a terminal would report the errors of, `no_secrets_in_logs` once into
a process that writes logs. Both use `secrets.redacted`.
"""

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from synpref_dagster.settings.secrets import redacted


@contextmanager
def no_secrets_in_errors() -> Iterator[None]:
    """Let errors out of a block only when no secret is in them, nor in what caused them."""
    try:
        yield
    except BaseException as error:
        clean = cleaned(error)
        if clean is error:
            raise
        raise clean.with_traceback(error.__traceback__) from clean.__cause__


def cleaned(error: BaseException) -> BaseException:
    """The same error where that is possible; else another one of the same name, with its text."""
    return _cleaned(error, {})


def no_secrets_in_logs() -> None:
    """Redact every log record that is made in this process from now on, whoever makes it."""
    make = logging.getLogRecordFactory()
    if getattr(make, "is_redacting", False):
        return

    def redacting(*args: Any, **kwargs: Any) -> logging.LogRecord:
        return _clean_record(make(*args, **kwargs))

    redacting.is_redacting = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(redacting)


def _cleaned(error: BaseException, seen: dict[int, BaseException]) -> BaseException:
    if id(error) in seen:
        return seen[id(error)]
    seen[id(error)] = error
    _clean_parts(error, seen)
    result = error
    if redacted(_said(error)) != _said(error):  # its text is out of reach, e.g. of pydantic
        result = _twin(type(error))(redacted(_said(error)))
        result.__traceback__ = error.__traceback__
        seen[id(error)] = result
    # Each sets what the next one needs: the cause decides whether the context is shown.
    hides_context = error.__suppress_context__
    result.__context__ = error.__context__ and _cleaned(error.__context__, seen)
    result.__cause__ = error.__cause__ and _cleaned(error.__cause__, seen)
    result.__suppress_context__ = hides_context
    return result


def _twin(kind: type[BaseException]) -> type[Exception]:
    """A class of the same name, for an error whose own text could not be changed."""
    return type(kind.__name__, (Exception,), {"__module__": kind.__module__})


def _clean_parts(error: BaseException, seen: dict[int, BaseException]) -> None:
    """Texts and errors that an error is made of, changed in place."""
    try:
        args = tuple(_clean_part(each, seen) for each in error.args)
        if args != error.args:
            error.args = args
        for name, value in list(vars(error).items()):
            if (clean := _clean_part(value, seen)) is not value:
                setattr(error, name, clean)
    except (AttributeError, TypeError):
        return  # what cannot be changed is replaced as a whole


def _clean_part(value: Any, seen: dict[int, BaseException]) -> Any:
    if isinstance(value, str):
        return clean if (clean := redacted(value)) != value else value
    if isinstance(value, BaseException):
        return _cleaned(value, seen)
    if isinstance(value, list | tuple) and type(value) in (list, tuple):
        parts = [_clean_part(each, seen) for each in value]
        return (
            type(value)(parts)
            if any(a is not b for a, b in zip(parts, value, strict=True))
            else value
        )
    return value


def _said(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - a broken `__str__` says nothing
        return ""


def _clean_record(record: logging.LogRecord) -> logging.LogRecord:
    try:
        said = record.getMessage()
    except (TypeError, ValueError):
        return record  # arguments that do not fit: logging reports it where it is written
    if (clean := redacted(said)) != said:
        record.msg, record.args = clean, ()
    if record.exc_info and record.exc_info[1] is not None:
        told = "".join(traceback.format_exception(record.exc_info[1]))
        if (clean := redacted(told)) != told:
            record.exc_info, record.exc_text = None, clean.rstrip("\n")
    return record
