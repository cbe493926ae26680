"""Errors and log records leave without secrets: in their text, their parts and what caused them."""

import io
import logging
import traceback
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from synpref_dagster.settings.outlets import cleaned, no_secrets_in_errors, no_secrets_in_logs
from synpref_dagster.settings.secrets import remember

SECRET = "planted-value-98765432"
ADDRESS = f"postgresql://ann:{SECRET}@db/r"


@pytest.fixture(autouse=True)
def known():
    remember(SECRET)
    make = logging.getLogRecordFactory()
    yield
    logging.setLogRecordFactory(make)


class Service(Exception):
    """Keeps its text in an attribute, as clients of services do."""

    def __init__(self, message):
        super().__init__()
        self.message = message
        self.causes = [ValueError(message)]

    def __str__(self):
        return self.message


class Number(BaseModel):
    n: int


def told(raised):
    """The error that comes out, and all that a terminal would show of it."""
    try:
        with no_secrets_in_errors():
            raised()
    except Exception as error:  # noqa: BLE001 - whatever comes out is looked at
        return error, "".join(traceback.format_exception(error))
    pytest.fail("nothing was raised")


def test_an_error_keeps_its_class_and_loses_the_secret_in_it_and_in_its_causes():
    def fail():
        try:
            try:
                raise KeyError(SECRET)
            except KeyError:
                raise Service(f"no answer from {ADDRESS}") from None
        except Service as error:
            error.add_note(f"key {SECRET}")
            raise ValueError("cannot go on", [ADDRESS]) from error

    error, text = told(fail)
    assert type(error) is ValueError
    assert type(error.__cause__) is Service
    assert error.__cause__.message == "no answer from postgresql://ann:***@db/r"
    assert error.__cause__.__suppress_context__
    assert SECRET not in text + repr(error.__cause__.causes) + repr(error.__cause__.__context__)
    assert "key ***" in text


def test_an_error_whose_text_is_out_of_reach_is_told_by_one_of_its_name():
    error, text = told(lambda: Number(n=ADDRESS))
    assert type(error).__name__ == "ValidationError"
    assert not isinstance(error, ValidationError)
    assert "input_value='postgresql://ann:***@db/r'" in str(error)
    assert SECRET not in text
    error, text = told(Path(f"/{SECRET}").read_bytes)
    assert type(error).__name__ == "FileNotFoundError"
    assert SECRET not in text


def test_an_error_without_a_secret_is_the_very_same():
    error = ValueError("plain")
    error.__context__ = error  # even one that goes in a circle
    assert cleaned(error) is error
    assert error.args == ("plain",)


def test_log_records_of_anybody_are_clean_with_their_arguments_and_tracebacks():
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger = logging.getLogger("somebody.else")
    logger.addHandler(handler)
    logger.propagate = False
    try:
        no_secrets_in_logs()
        no_secrets_in_logs()  # once is enough
        logger.warning("retrying %s after %d", ADDRESS, 3)
        logger.warning("does not fit %d %d", 1)
        try:
            raise ValueError(SECRET)
        except ValueError:
            logger.exception("failed")
    finally:
        logger.removeHandler(handler)
        logger.propagate = True
    written = stream.getvalue()
    assert "retrying postgresql://ann:***@db/r after 3" in written
    assert "ValueError: ***" in written
    assert SECRET not in written
