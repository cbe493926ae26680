"""A request that does not arrive ends with its connection; one that does is left alone."""

import asyncio
from types import SimpleNamespace

from uvicorn import Config
from uvicorn.server import ServerState

from synpref_dagster.people.page.patience import PatientForAWhile

SECONDS = 0.1
POST = b"POST /verdict HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n"


class Quick(PatientForAWhile):
    request_seconds = SECONDS


class Wire(asyncio.Transport):
    """What the page writes, and whether it has closed the connection."""

    def __init__(self):
        super().__init__()
        self.written, self.closed = b"", False

    def write(self, data):
        self.written += data

    def close(self):
        self.closed = True

    def is_closing(self):
        return self.closed

    def pause_reading(self):
        """Nothing is read here."""

    resume_reading = pause_reading


async def answering(scope, receive, send):
    """Reads the whole form, then says how long it is."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"%d bytes" % len(body)})


def after(*parts, pause=0.0):
    """The connection some time after these parts arrived, with a pause after each."""

    async def talk():
        config = Config(answering, http=Quick, log_level="critical", timeout_keep_alive=60)
        state = ServerState()
        connection = Quick(config, state, {}, asyncio.get_running_loop())
        wire = Wire()
        connection.connection_made(wire)
        for part in parts:
            if wire.closed:
                break
            connection.data_received(part)
            await asyncio.sleep(pause)
        await asyncio.sleep(2 * SECONDS)
        found = SimpleNamespace(written=wire.written, closed=wire.closed)
        connection.connection_lost(None)
        await asyncio.gather(*state.tasks, return_exceptions=True)
        return found

    return asyncio.run(talk())


def test_who_says_nothing_or_half_a_head_is_not_waited_for():
    assert after().closed
    assert after(b"GET / HTTP/1.1\r\nHost: x\r\nX-A: ").closed
    slow = after(*[b"GET / HTTP/1.1\r\nHost: x\r\n", *[b"X-A: 1\r\n"] * 20], pause=SECONDS / 5)
    assert (slow.closed, slow.written) == (True, b"")


def test_a_form_that_stalls_is_not_waited_for_however_its_bytes_trickle():
    assert after(POST + b"ab").closed
    trickling = after(POST, b"a", b"b", b"c", b"d", pause=SECONDS / 2)
    assert (trickling.closed, trickling.written) == (True, b"")


def test_a_form_that_arrives_in_time_is_answered_and_the_connection_stays():
    whole = after(POST, b"ab", b"cd", pause=SECONDS / 10)
    assert not whole.closed
    assert whole.written.endswith(b"4 bytes\r\n0\r\n\r\n")


def test_the_second_request_of_a_connection_is_watched_like_the_first():
    assert not after(POST + b"abcd", POST + b"abcd", pause=SECONDS / 2).closed
    assert after(POST + b"abcd", POST + b"ab", pause=SECONDS / 2).closed


def test_an_answer_may_take_longer_than_a_request():
    async def slow(scope, receive, send):
        await asyncio.sleep(1.5 * SECONDS)
        await answering(scope, receive, send)

    async def talk():
        config = Config(slow, http=Quick, log_level="critical")
        connection = Quick(config, ServerState(), {}, asyncio.get_running_loop())
        wire = Wire()
        connection.connection_made(wire)
        connection.data_received(POST + b"abcd")
        await asyncio.sleep(3 * SECONDS)
        return wire

    wire = asyncio.run(talk())
    assert b"4 bytes" in wire.written
    assert not wire.closed
