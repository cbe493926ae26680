"""Secrets are found by value and by shape, whatever they stand in, and nothing else is touched."""

import base64
import json
import time

import pytest
from hypothesis import given, settings, strategies as st

from synpref_dagster.settings.secrets import (
    all_redacted,
    from_environment,
    kept,
    redacted,
    remember,
    whole,
    without_known,
)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("postgresql://ann:pw@db/r refused", "postgresql://ann:***@db/r refused"),
        ("postgres://ann:a/b?c@db/r", "postgres://ann:***@db/r"),
        ("https://ann:p@w@ls.lan/api", "https://***@ls.lan/api"),
        ("https://token@ls.lan/api", "https://***@ls.lan/api"),
        ("redis://:pw@cache:6379", "redis://:***@cache:6379"),
        ("GET /x?a=1&api_key=abc&b=2", "GET /x?a=1&api_key=***&b=2"),
        ("dbname=r password='a b' host=db", "dbname=r password='***' host=db"),
        ('{"Authorization": "Basic a b"}', '{"Authorization": "***"}'),
        ("{'authorization': 'Bearer x'}", "{'authorization': '***'}"),
        ("[(b'Authorization', b'Bearer x')]", "[(b'Authorization', b'***')]"),
        ("Authorization: Bearer abc\nHost: x", "Authorization: ***\nHost: x"),
        ("Proxy-Authorization: Basic YTpi", "Proxy-Authorization: ***"),
        ("OPENAI_API_KEY=abc123 was sent", "OPENAI_API_KEY=*** was sent"),
        ("export AWS_SECRET_ACCESS_KEY='a/b+c'", "export AWS_SECRET_ACCESS_KEY='***'"),
        ("your password is hunter2x4", "your password is ***"),
        ("the token is missing", "the token is missing"),
        ("sslpassword=hunter2 host=db", "sslpassword=*** host=db"),
        ("x-api-key: abc, next", "x-api-key: ***, next"),
        ("sent bearer abcdefgh12", "sent bearer ***"),
        ("Incorrect API key provided: sk-abcd****wxyz.", "Incorrect API key provided: ***"),
        ("hf_abcdefghijkl and spr_abcdefghij", "*** and ***"),
        ("X-Amz-Signature=0123456789abcdef&x=1", "X-Amz-Signature=***&x=1"),
    ],
)
def test_a_secret_is_known_by_its_shape(said, shown):
    assert redacted(said) == shown
    assert redacted(shown) == shown


VALUE = "S3cr3tV4lue"


@pytest.mark.parametrize(
    "said",
    [
        # Addresses, signed ones, and such in others.
        "https://h/x?token={}&a=1",
        "https://h/x?a=1;access_token={}",
        "https://h/x?key={}&x=1",
        "https://h/x?hf_token={}",
        "https://h/x?X-Amz-Credential=AK{}/2026&X-Amz-Signature={}&X-Amz-Security-Token={}",
        "https://h/x?X-Goog-Credential={}&X-Goog-Signature={}",
        "https://h/x?AWSAccessKeyId={}&Signature={}&Expires=1",
        "https://h/x?sv=1&sig={}%3D&se=2",
        "https://h/x#access_token={}&token_type=bearer",
        "https://h/x?session_id={}&code={}&jwt={}",
        "https://h/x?api%5Fkey={}",
        "https://h/x?next=%2Fy%3Ftoken%3D{}%26a%3D1",
        "https://h/x?id=1&amp;password={}",
        # Headers.
        "Authorization: Token {}",
        "curl -H 'Authorization: Bearer {}'",
        'Authorization: Digest username="a", response="{}"',
        "Authorization: AWS4-HMAC-SHA256 Credential=AK/1, Signature={}",
        "X-Vault-Token: {}",
        "X-Auth-Key: {}",
        "Ocp-Apim-Subscription-Key: {}",
        "Cookie: session={}; id={}",
        "bearer:{}",
        # Settings, options, JSON within JSON, XML.
        "token={} host=x",
        '{{"token": "{}"}}',
        "('token', '{}')",
        "aws_secret_access_key = {}",
        "apiToken={}",
        "db_password={}",
        "PGPASSWORD: {}",
        "--password {} --db x",
        "--hf-token={}",
        "AccountKey={}==;EndpointSuffix=x",
        '{{\\"api_key\\":\\"{}\\"}}',
        "OPENAI_API_KEY: {}",
        "<AWSAccessKeyId>{}</AWSAccessKeyId>",
        "https://hooks.slack.com/services/T0/B0/{}",
        "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----",
    ],
)
def test_a_secret_is_found_wherever_people_and_libraries_write_it(said):
    told = redacted(said.format(VALUE, VALUE, VALUE))
    assert VALUE not in told
    assert "***" in told
    assert redacted(told) == told


@pytest.mark.parametrize(
    "text",
    [
        # What models and tables say of tokens, keys and signatures.
        "token = 5 tokens, tokens=512, max_tokens: 700, token: 5 of 12, next token: Paris",
        "pad_token=<pad> eos_token='</s>' token='<|eot|>' token: [SEP] token=None",
        '{"completion_tokens": 5, "token": null, "key": "prompt", "session": 3}',
        "key=iteration_01/gold, primary key=id, sort_key: name, key_prefix=real, hotkey=a1",
        "signature: def f(x), signature=(a, b), sig = 0.01, significance: 3",
        "the secret: practise; a secret = a thing; cookie: a biscuit; pass: 12, pass=3",
        "password=None, password: null, no token was given, tokenizer=gpt2, token_type=bearer",
        "https://h/x?page=2&key_words=a&code=404&passing=1&monkey=banana",
        "turn on --token-limit 5 and --key-prefix real; Tokens 12; Token limit reached",
        "write <token> or <password> here and <key> there, then </b>",
        "api_key_env=OPENAI_API_KEY names a variable; AWS_SECRET_ACCESS_KEY is not set",
        "postgresql://ann@db/r and sqlite:////srv/a@b.sqlite3",
        "http://host:8080/a@b, see https://host/@ann",
        "needs its key in the environment variable OPENAI_API_KEY, which is not set",
        "set AWS_SECRET_ACCESS_KEY; api_key_env = 'X'; max_tokens: 5; task-manager",
        "the token given is a personal access token: it is wrong or has ended",
        "basic authentication failed for bearer",
        "7 secrets of a good pool, password and all",
    ],
)
def test_what_is_no_secret_is_left_as_it_is(text):
    assert redacted(text) == text


def test_a_value_from_the_environment_is_known_in_every_spelling(monkeypatch):
    key = 'planted/"Key" 0123 + 456'
    monkeypatch.setenv("MY_JUDGE", key)
    assert from_environment("MY_JUDGE") == key
    assert from_environment("NO_JUDGE") is None
    for form in (
        key,
        json.dumps({"said": key}),
        "planted%2F%22Key%22%200123%20%2B%20456",
        base64.b64encode(key.encode()).decode().rstrip("="),
    ):
        told = redacted(f"x{form}x")
        assert "***" in told
        assert "0123" not in told


def test_variables_that_are_named_like_secrets_are_known_unread(monkeypatch):
    monkeypatch.setenv("SOME_SERVICE_TOKEN", "abcdefgh-planted")
    monkeypatch.setenv("HTTPS_PROXY", "http://ann:proxy-pa55word@proxy:3128")
    monkeypatch.setenv("GOOGLE_KEY", "/srv/key.json")  # a path is none
    said = "abcdefgh-planted, proxy-pa55word, /srv/key.json"
    assert redacted(said) == "***, ***, /srv/key.json"
    assert without_known({"a": [said], "n": 1}) == {"a": ["***, ***, /srv/key.json"], "n": 1}


def test_short_words_are_no_secrets_and_longer_ones_end_at_their_ends():
    remember("none", "EMPTY", "postgres", "***")
    assert redacted("none EMPTY postgresql xpostgres postgres") == (
        "none EMPTY postgresql xpostgres ***"
    )


def test_data_that_others_answer_keeps_what_only_looks_like_a_key():
    assert without_known('the key "sk-abcdefgh1234" leaked') == 'the key "sk-abcdefgh1234" leaked'
    assert all_redacted(("sk-abcdefgh1234", 3, None, {"sk-abcdefgh1234": 1})) == (
        "***",
        3,
        None,
        {"***": 1},
    )


def test_what_is_nested_without_end_is_cut_off():
    nested = "x"
    for _ in range(5000):
        nested = [nested]
    assert "***" in str(all_redacted(nested))[:200]


@pytest.mark.parametrize(
    "part",
    [
        "a-",
        "x://a",
        "postgres://a:",
        "-eyJa",
        "authorization ",
        "bearer ",
        "sk-",
        'password="',
        "a@",
        "?token",
        "&a_",
        "x-",
        "api_",
        "cookie:",
        "<token",
        "--a",
        "A_",
        "-----BEGIN PRIVATE KEY-----",
    ],
)
def test_no_text_of_an_endpoint_takes_long(part):
    began = time.process_time()
    redacted(part * (200_000 // len(part)))
    assert time.process_time() - began < 2


def test_an_address_is_kept_without_its_password_and_whole_for_who_connects():
    address = "postgresql://ann:p%40ssw0rd99@db/r"
    assert kept(address) == "postgresql://ann:***@db/r"
    assert whole(kept(address)) == address
    assert kept("sqlite:///x") == whole("sqlite:///x") == "sqlite:///x"
    # Also what it means, apart from the address.
    assert redacted("login p@ssw0rd99 or p%40ssw0rd99 failed") == "login *** or *** failed"
    with pytest.raises(ValueError, match="write the whole address"):
        whole("postgresql://bob:***@db/r")


@given(st.text(max_size=80), st.text(max_size=80))
@settings(max_examples=200, deadline=None)
def test_redacting_twice_is_redacting_once_and_a_known_value_never_stays(before, after):
    remember("planted-value-01234567")
    told = redacted(f"{before}planted-value-01234567{after}")
    assert "planted-value-01234567" not in told
    assert redacted(told) == told
