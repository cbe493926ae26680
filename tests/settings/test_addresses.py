"""Texts of a profile are refused in one line when what they become is not possible."""

import pytest
from pydantic import ValidationError

from synpref_dagster.cli.refusals import problems
from synpref_dagster.settings.profile import Profile, load_profile, store_base
from synpref_dagster.settings.secrets import whole

SMOKE = load_profile("smoke").model_dump()
JUDGE = {"name": "one", "base_url": "http://one/v1", "model": "m"}
SOURCE = {"name": "mine", "path": "x", "origin": "human"}


def in_profile(**changes):
    return Profile.model_validate({**SMOKE, **changes})


def judge(**changes):
    return {"judges": {"kind": "endpoints", "endpoints": [{**JUDGE, **changes}]}}


def source(**changes):
    spec = {**SOURCE, **changes}
    return {"pool": {"kind": "sources", "sources": [spec]}}


def ledger(url):
    return {"people": {"backend": "page", "ledger_url": url}}


def cluster(address):
    return {"shards": {"executor": "ray", "ray": {"address": address}}}


@pytest.mark.parametrize(
    ("changes", "place", "says"),
    [
        (judge(base_url="file:///etc/passwd"), "judges.endpoints[0].base_url", "write http://"),
        (judge(base_url="one.example.com/v1"), "judges.endpoints[0].base_url", "write http://"),
        (judge(base_url="http://"), "judges.endpoints[0].base_url", "write http://"),
        (judge(base_url="http://one:99999/v1"), "judges.endpoints[0].base_url", "write http://"),
        (judge(base_url="http://one\\@two/v1"), "judges.endpoints[0].base_url", "write http://"),
        (judge(base_url="http://one/v1?v=2"), "judges.endpoints[0].base_url", "behind ? and #"),
        (judge(model=""), "judges.endpoints[0].model", "is empty"),
        (judge(api_key_env="sk-abcdefgh1234"), "judges.endpoints[0].api_key_env", "is no name"),
        (judge(api_key_env="MY KEY"), "judges.endpoints[0].api_key_env", "is no name"),
        (judge(extra={"user": "sk-abcdefgh1234"}), "judges.endpoints[0].extra", "user is a key"),
        (judge(extra={"api_key": "x1y2"}), "judges.endpoints[0].extra", "api_key is a key"),
        (judge(extra={"top_p": float("inf")}), "judges.endpoints[0].extra", "no finite number"),
        (judge(extra={"a": [{"b": object()}]}), "judges.endpoints[0].extra", "a.0.b is no text"),
        ({"judges": {"kind": "exemplar", "cache": "s3://b/x"}}, "judges.cache", "of this machine"),
        (source(path=""), "pool.sources[0].path", "is empty"),
        (source(path="ftp://host/x"), "pool.sources[0].path", "use a local path"),
        (source(path="s3://"), "pool.sources[0].path", "use a local path"),
        (source(path="s3://ann:pa55word@bucket/x"), "pool.sources[0].path", "a password or a key"),
        (source(format="../x"), "pool.sources[0].format", "write it like"),
        (source(citation="\x1b[31m"), "pool.sources[0].citation", "cannot be in it"),
        (source(path=None, hub_id="a/../b", revision="c"), "pool.sources[0].hub_id", "owner/name"),
        (source(path=None, hub_id="a/b", revision="a b"), "pool.sources[0].revision", "a commit"),
        (ledger("mongodb://host/reviews"), "people.ledger_url", "of kind 'mongodb'"),
        (ledger("sqlite://"), "people.ledger_url", "names no file"),
        (ledger("sqlite:///:memory:"), "people.ledger_url", "names no file"),
        (ledger("sqlite:///file::memory:?uri=true"), "people.ledger_url", "names no file"),
        (ledger("postgresql+asyncpg://host/r"), "people.ledger_url", "'postgresql+asyncpg'"),
        (ledger("reviews.sqlite3"), "people.ledger_url", "no kind of database"),
        (ledger("postgresql://host:port/r"), "people.ledger_url", "cannot be read"),
        (cluster("head:0"), "shards.ray.address", "HOST:6379"),
        (cluster("ray://ann:pa55word@head:1"), "shards.ray.address", "HOST:6379"),
        ({"next_steps": ["\x00"]}, "next_steps[0]", "cannot be in it"),
        ({"seed": 1 << 32}, "seed", "less than or equal to 4294967295"),
    ],
)
def test_a_text_that_cannot_be_what_it_should_is_refused_in_one_line(changes, place, says):
    with pytest.raises(ValidationError) as caught:
        in_profile(**changes)
    [line] = problems(caught.value)
    assert line.startswith(f"  {place}: ")
    assert says in line
    for secret in ("pa55word", "sk-abcdefgh1234", "x1y2"):
        assert secret not in line
        assert secret not in str(caught.value)


def test_addresses_lose_their_password_in_a_profile_and_have_it_for_who_connects():
    chosen = in_profile(
        **judge(base_url="https://ann:pa55word@one/v1"),
        **ledger("postgresql://ann:pa55word@db/reviews?sslmode=require"),
    )
    assert chosen.people.ledger_url == "postgresql://ann:***@db/reviews?sslmode=require"
    assert whole(chosen.people.ledger_url) == (
        "postgresql://ann:pa55word@db/reviews?sslmode=require"
    )
    [endpoint] = chosen.judges.endpoints
    assert (endpoint.base_url, whole(endpoint.base_url)) == (
        "https://***@one/v1",
        "https://ann:pa55word@one/v1",
    )
    told = chosen.model_dump_json()
    assert "pa55word" not in told
    assert Profile.model_validate_json(told) == chosen


@pytest.mark.parametrize(
    "changes",
    [
        judge(base_url="http://[::1]:8000/v1/", extra={"reasoning": {"effort": "low", "n": [1]}}),
        judge(base_url="https://ünïcode.example/v1", api_key_env="OPENROUTER_API_KEY"),
        source(path="s3://bucket/a b.jsonl", licence="see the data card", options={"gap": 1}),
        ledger("sqlite:////srv/my reviews.sqlite3"),
        ledger("postgres://ann@db/reviews"),
        ledger("postgresql+psycopg2:///reviews?host=/var/run/postgresql"),
        cluster("auto"),
        cluster("head-1.example.com:6379"),
        cluster("ray://[fe80::1]:10001"),
    ],
)
def test_what_is_fine_is_kept_as_it_is(changes):
    told = in_profile(**changes).model_dump(mode="json")
    for section, values in changes.items():
        assert _below(told[section], values)


def _below(told, values):
    if isinstance(values, dict):
        return all(_below(told[name], value) for name, value in values.items())
    if isinstance(values, list):
        return all(_below(*each) for each in zip(told, values, strict=True))
    return told == values


def test_the_store_is_where_it_says_or_nowhere(monkeypatch):
    monkeypatch.setenv("SYNPREF_STORE", "")
    assert store_base() == ".synpref"  # not the root of the file system
    for wrong in ("ftp://host/x", "s3://key:pa55word@bucket/x", "a\nb"):
        monkeypatch.setenv("SYNPREF_STORE", wrong)
        with pytest.raises(ValueError, match="SYNPREF_STORE: ") as caught:
            store_base()
        assert "pa55word" not in str(caught.value)
