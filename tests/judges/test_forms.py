"""In which form an endpoint takes requests: what is tried after which refusal."""

import pytest

from synpref_dagster.judges.errors import told
from synpref_dagster.judges.forms import DROPPED, RequestForm

SENT = {"seed": 1, "max_tokens": 9, "temperature": 0.7, "response_format": {}, "top_k": 3}


def after(form, message, *, status=400):
    return form.without(told({"error": {"message": message}}, status=status), SENT)


def test_a_refused_field_is_left_out_and_a_limit_gets_its_other_name():
    plain = RequestForm()
    assert after(plain, "no 'seed' here").renamed == {"seed": DROPPED}
    limited = after(plain, "no 'max_tokens' here")
    assert limited.renamed == {"max_tokens": "max_completion_tokens"}
    assert limited.fields({"seed": 1, "max_tokens": 9}) == {"seed": 1, "max_completion_tokens": 9}
    both = after(limited, "no 'seed' here")
    assert both.fields({"seed": 1, "max_tokens": 9}) == {"max_completion_tokens": 9}
    assert both.told(plain) == "max_tokens is sent as max_completion_tokens, seed is left out"


def test_a_schema_is_asked_for_less_strictly_until_it_is_not_asked_for():
    modes, form = [], RequestForm()
    while form is not None:
        modes.append(form.mode)
        form = after(form, "Invalid schema for response_format", status=404)
    assert modes == ["json_schema", "json_object", "text"]


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ("no 'top_k' here", 400),  # of the profile's extra: not ours to leave out
        ("the prompt is too long", 400),
        ("no 'seed' here", 500),
        ("no 'seed' here", 429),
        ("no 'seed' here", 403),
    ],
)
def test_other_errors_change_no_form(message, status):
    assert after(RequestForm(), message, status=status) is None


def test_what_was_changed_once_is_not_changed_again():
    form = RequestForm(renamed={"seed": DROPPED, "max_tokens": "max_completion_tokens"})
    assert after(form, "'seed' and 'max_tokens'") is None


@pytest.mark.parametrize(
    "code", ["integer_above_max_value", "less_than_equal", "invalid_value", "too_large"]
)
def test_a_limit_that_is_refused_for_its_value_keeps_its_name(code):
    error = told({"error": {"param": "max_tokens", "code": code}}, status=400)
    assert RequestForm().without(error, SENT) is None
    error = told({"error": {"param": "temperature", "code": code}}, status=400)
    assert RequestForm().without(error, SENT).renamed == {"temperature": DROPPED}
