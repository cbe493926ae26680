"""What endpoints say went wrong: by codes, numbers, places and shapes, and hardly ever by prose."""

import json

import pytest

from synpref_dagster.judges.errors import is_error, told
from synpref_dagster.judges.requests import failure_of

SENT = {"seed", "max_tokens", "temperature"}


@pytest.mark.parametrize(
    ("status", "body", "meaning"),
    [
        (429, {"error": {"message": "x", "type": "insufficient_quota"}}, "no_money"),
        (429, {"error": {"message": "x", "code": "insufficient_quota"}}, "no_money"),
        (402, {"error": {"message": "no balance", "code": "invalid_request_error"}}, "no_money"),
        (402, "", "no_money"),
        (400, {"type": "error", "error": {"type": "billing_error", "message": "x"}}, "no_money"),
        (200, {"error": {"message": "Insufficient credits", "code": 402}}, "no_money"),
        (403, {"code": "Arrearage", "message": "x"}, "no_money"),
        (403, {"error": {"code": "AccountOverdueError"}}, "no_money"),
        (400, {"error": {"type": "credit_limit_exceeded", "code": None}}, "no_money"),
        (403, [{"error": {"code": 403, "status": "PERMISSION_DENIED",
                "details": [{"reason": "BILLING_DISABLED"}]}}], "no_money"),
        (500, {"error": {"message": "a gateway's provider said so", "code": "402"}}, "no_money"),
        (429, {"error": {"code": "Not a matter of billing, but of words"}}, "rate_limited"),
        (401, {"error": {"type": "api_error"}}, "no_access"),
        (429, {"error": {"message": "exceeded your quota", "code": None}}, "rate_limited"),
        (200, {"error": {"message": "free-models-per-day", "code": 429}}, "rate_limited"),
        (429, [{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}], "rate_limited"),
        (400, {"error": {"type": "overloaded_error"}}, "rate_limited"),
        (401, "no", "no_access"),
        (401, {"error": {"code": "invalid_api_key"}, "moderation": None}, "no_access"),
        (400, {"error": {"code": "json_validate_failed",
                "failed_generation": '{"reason": "not_found"}'}}, "rejected"),
        (400, [{"error": {"code": 400, "status": "INVALID_ARGUMENT",
                "details": [{"reason": "API_KEY_INVALID"}]}}], "no_access"),
        (404, {"error": {"code": "model_not_found"}}, "no_access"),
        (400, {"object": "error", "message": "x", "type": "NotFound", "code": 404}, "rejected"),
        (400, {"error": {"code": "content_filter", "message": "x"}}, "content_filter"),
        (400, {"error": {"code": None, "innererror": {"code": "ResponsibleAIPolicyViolation"}}},
         "content_filter"),
        (403, {"error": {"code": 403, "metadata": {"reasons": ["x"], "flagged_input": "y"}}},
         "content_filter"),
        (500, "<html>down</html>", "server_error"),
        (529, {"error": {"message": "x"}}, "server_error"),
        (408, {}, "server_error"),
        (422, {"detail": "no"}, "rejected"),
        # What was sent comes back in an error and decides nothing.
        (422, {"detail": [{"msg": "no", "input": {"code": "insufficient_quota"}}]}, "rejected"),
        (422, {"detail": [{"msg": "no", "input": '{"code": "insufficient_quota"}'}]}, "rejected"),
        (400, None, "rejected"),
        (429, {"error": "insufficient_quota"}, "no_money"),
        (429, {"message": "insufficient_quota."}, "no_money"),
        (429, {"detail": "InsufficientBalance"}, "no_money"),
        (429, {"errors": ["billing_not_active"]}, "no_money"),
        (429, "insufficient_quota", "no_money"),
        (0, {"error": "insufficient_quota"}, "no_money"),
        (0, {"error": {"message": "insufficient_quota"}}, "no_money"),
        (0, {"error": "429"}, "rate_limited"),
        (0, {"error": "invalid_api_key"}, "no_access"),
        (429, {"error": "no insufficient_quota"}, "rate_limited"),
        (429, {"error": "https://x/billing"}, "rate_limited"),
        (0, {"error": {"code": 400, "param": "seed"}}, "rejected"),
        (0, {"error": {"param": "seed"}}, "rejected"),
        (0, {"error": {"param": "", "message": "x"}}, "server_error"),
        (0, {"error": {"type": "invalid-request-error"}}, "rejected"),
        (0, {"error": {"type": "invalid_request_error", "code": "rate_limit_exceeded"}},
         "rate_limited"),
        (0, "half a page", "server_error"),
        (0, {"error": {"message": "Provider disconnected", "code": 502}}, "server_error"),
    ],
)  # fmt: skip
def test_codes_decide_before_statuses_and_prose_is_never_read(status, body, meaning):
    assert told(body, status=status).meaning == meaning


@pytest.mark.parametrize(
    ("status", "body", "meaning"),
    [
        (402, {"error": {"code": "rate_limit_exceeded", "type": "rate_limit_error"}}, "no_money"),
        (402, {"error": {"type": "server_error"}}, "no_money"),
        (402, {"detail": "Payment needed"}, "no_money"),  # Mistral
        (0, {"code": "insufficient_quota", "message": "no"}, "no_money"),
        (0, {"code": 429, "msg": "slow down", "success": False}, "rate_limited"),
        (0, {"base_resp": {"status_code": 1008, "status_msg": "x"}}, "no_money"),  # MiniMax
        (0, {"base_resp": {"status_code": 1002, "status_msg": "x"}}, "rate_limited"),
        (0, {"base_resp": {"status_code": 1004, "status_msg": "x"}}, "no_access"),
        (0, {"base_resp": {"status_code": 1027, "status_msg": "x"}}, "content_filter"),
        (0, {"base_resp": {"status_code": 2013, "status_msg": "x"}}, "rejected"),
        (0, {"base_resp": {"status_code": 1013, "status_msg": "x"}}, "server_error"),
        (429, {"error": {"code": "1113", "message": "x"}}, "no_money"),  # Zhipu
        (429, {"error": {"code": 1113, "message": "x"}}, "no_money"),
        (429, {"error": {"code": "1302", "message": "x"}}, "rate_limited"),
        (400, {"error": {"code": "1301", "message": "x"}}, "content_filter"),
        (400, {"code": "Arrearage", "message": "x", "request_id": "y"}, "no_money"),  # DashScope
        (403, {"code": "AllocationQuota.FreeTierOnly", "message": "x"}, "no_money"),
        (429, {"code": "PrepaidBillOverdue", "message": "x"}, "no_money"),
        (400, {"code": "Throttling.RateQuota", "message": "x"}, "rate_limited"),
        (400, {"code": "DataInspectionFailed", "message": "x"}, "content_filter"),
        (400, {"code": "InvalidApiKey", "message": "x"}, "no_access"),
        (0, {"error_code": 17, "error_msg": "x"}, "no_money"),  # Baidu
        (0, {"error_code": 18, "error_msg": "x"}, "rate_limited"),
        (0, {"error_code": 110, "error_msg": "x"}, "no_access"),
        (0, {"error_code": 336000, "error_msg": "x"}, "server_error"),
        (429, {"error": {"type": "exceeded_current_quota_error", "message": "x"}}, "no_money"),
        (429, {"error": {"type": "rate_limit_reached_error", "message": "x"}}, "rate_limited"),
        (429, {"id": "o", "error": {"type": "credit_limit", "code": None}}, "no_money"),  # Together
        (412, {"error": {"object": "error", "code": "error", "message": "suspended"}}, "no_access"),
        (400, {"error": {"code": "blocked_api_access", "type": "x"}}, "no_money"),  # Groq
        (400, {"error": {"code": "organization_restricted", "type": "x"}}, "no_access"),
        (400, {"type": "error", "error": {"type": "invalid_request_error",
                "message": "Your credit balance is too low to do this."}}, "no_money"),  # Anthropic
        (400, {"error": {"message": "unreadable: 'Your credit balance is too low'"}}, "rejected"),
        (529, {"type": "error", "error": {"type": "overloaded_error"}}, "rate_limited"),
        (400, {"__type": "amazon.coral.service#ThrottlingException"}, "rate_limited"),  # Bedrock
        (400, {"__type": "AccessDeniedException", "message": "x"}, "no_access"),
        (400, {"__type": "ValidationException", "message": "x"}, "rejected"),
        (424, {"message": "the model broke"}, "server_error"),
        (429, {"error": [{"code": 429, "status": "RESOURCE_EXHAUSTED"}]}, "rate_limited"),  # Vertex
        (403, {"error": [{"code": 403, "details": [{"reason": "BILLING_DISABLED"}]}]}, "no_money"),
        (0, {"Response": {"Error": {"Code": "FailedOperation.ResourcePackExhausted"}}}, "no_money"),
    ],
)  # fmt: skip
def test_every_provider_says_in_its_own_shape_that_an_account_is_empty(status, body, meaning):
    assert told(body, status=status).meaning == meaning


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ({"error": {"message": "Rate limit exceeded", "code": 429}}, "Rate limit exceeded"),
        ({"error": "all in one text"}, "all in one text"),
        ({"detail": "no such model"}, "no such model"),
        ({"detail": [{"loc": ["body", "n"], "msg": "Extra inputs"}]}, "Extra inputs; at body.n"),
        ({"detail": [{"loc": True, "msg": "of a wrong type"}]}, "of a wrong type"),
        ({"detail": [{"loc": "body", "msg": "of a wrong type"}]}, "of a wrong type"),
        ([{"error": {"message": "Unknown name"}}], "Unknown name"),
        ({"message": "flat", "object": "error"}, "flat"),
        ({"errors": [{"code": 7003, "message": "Could not route"}]}, "Could not route"),
        ({"error": {"message": "Provider returned error",
                    "metadata": {"raw": json.dumps({"error": {"message": "too long"}})}}},
         "Provider returned error; too long"),
        ("  a page\n of words ", "a page of words"),
        ({"a": 1}, '{"a": 1}'),
        ("half \ud83d", "half \\ud83d"),
    ],
)  # fmt: skip
def test_what_is_said_is_shown_in_one_line(body, shown):
    assert told(body, status=400).text == shown


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"error": {"message": "x", "param": "max_tokens"}}, "max_tokens"),
        ({"error": {"message": "x", "param": "temperature.value"}}, "temperature"),
        ({"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs"}]}, "seed"),
        ([{"error": {"message": 'Unknown name "seed": Cannot find field.'}}], "seed"),
        ([{"error": {"details": [{"fieldViolations": [{"field": "seed"}]}]}}], "seed"),
        ({"error": {"message": "no 'max_tokens', temperature neither"}}, "max_tokens"),
        ({"error": {"message": "maximum context length exceeded"}}, None),
        ({"error": {"message": "seeds and temperatures"}}, None),
        ("", None),
    ],
)  # fmt: skip
def test_the_refused_field_is_the_one_pointed_at_or_named(body, field):
    assert told(body, status=400).field(SENT) == field


def test_an_error_in_the_place_of_a_body_is_one():
    assert is_error({"error": {"code": 1}})
    assert is_error([{"error": "x"}])
    assert is_error({"object": "error", "message": "x"})
    assert is_error({"type": "error", "message": "x"})
    assert is_error({"code": "insufficient_quota", "message": "x"})
    assert is_error({"code": 500, "msg": "x"})
    assert is_error({"error_code": 17})
    assert is_error([{"base_resp": {"status_code": 1008}}])
    assert not is_error({"object": "chat.completion", "choices": [], "code": 0, "type": "message"})
    assert not is_error({"error": None, "choices": []})
    assert not is_error([1])
    assert not is_error("error")


ANSWER = {"choices": [{"message": {"content": "{}"}, "finish_reason": "stop"}]}


@pytest.mark.parametrize(
    ("beside", "wrong"),
    [
        ({"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}, True),
        ({"base_resp": {"status_code": 0, "status_msg": "success"}}, False),
        ({"code": "Arrearage"}, True),
        ({"code": "1113"}, True),
        ({"code": 0, "message": "Success", "sid": "x"}, False),
        ({"code": 200, "msg": "ok", "success": True}, False),
        ({"code": "A7", "request_id": "x"}, False),  # nobody knows it, and there is an answer
        ({"error_code": 0, "error_msg": ""}, False),
        ({"error": None, "errors": [], "type": "message"}, False),
    ],
)
def test_an_error_beside_an_answer_is_one_where_its_code_is_known(beside, wrong):
    assert is_error({**ANSWER, **beside}) is wrong


def test_money_and_access_stop_a_judge_and_nothing_else_does():
    stops = {
        status: failure_of(told({}, status=status)).stops
        for status in (400, 401, 402, 403, 404, 408, 422, 429, 500)
    }
    assert {status: why for status, why in stops.items() if why} == {
        401: "no_access",
        402: "no_money",
        403: "no_access",
        404: "no_access",
    }


def test_a_field_is_named_for_sure_where_it_is_pointed_at_or_quoted():
    named = [
        told(each, status=400).named({"stop", "top_k"})
        for each in (
            {"error": {"param": "stop", "message": "no"}},
            [{"error": {"message": 'Unknown name "top_k": Cannot find field.'}}],
            {"detail": [{"loc": ["body", "top_k"], "msg": "Extra inputs"}]},
            {"error": {"message": "stop sending such long prompts"}},
        )
    ]
    assert named == ["stop", "top_k", "top_k", None]
