"""A small server that speaks chat completions, with answers that follow from the question alone.

It reads the block of places that a question shows, so a test learns what was really sent. Left to itself it
proposes the word that is marked most often, and picks the places that hold the last word of a name.
"""

import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = Callable[[str], str]
"""From the user's message to the text of the answer."""

_BLOCK = re.compile(r"^(DATA [0-9a-f]{16})\n(.*?)\n\1$", re.M | re.S)


def blocks(user: str) -> list[list[str]]:
    """Lines of each block of data in a question."""
    return [match[2].split("\n") for match in _BLOCK.finditer(user)]


def is_naming(user: str) -> bool:
    """True for the question for a name, False for the one which places it fits."""
    return '"name":' in user


def places(user: str) -> list[str]:
    """Texts of the places that a question shows."""
    found = []
    for line in blocks(user)[-1]:
        _, _, text = line.partition(" ")
        found.append(str(json.loads(text)))
    return found


def asked_name(user: str) -> str:
    """The name that a question of the second kind is about."""
    return str(json.loads(blocks(user)[0][0]))


def marked(user: str) -> list[str]:
    """The marked word of each place."""
    return re.findall("(?s)«(.*?)»", "\n".join(places(user)))


def truthful(user: str) -> str:
    """Names the most frequent marked word, and picks the places where the words of a name stand."""
    if is_naming(user):
        words = marked(user)
        best = max(sorted(set(words)), key=words.count)
        return json.dumps({"name": f"the word {best}", "description": f"{best} stands here"})
    word = asked_name(user).rpartition(" ")[2]
    return json.dumps({"fits": [n for n, text in enumerate(places(user), 1) if word in text]})


def nonsense(user: str) -> str:
    """A name that says nothing, and picks of places that have nothing to do with what stands there."""
    if is_naming(user):
        return json.dumps({"name": "mauve altitude", "description": ""})
    n = len(places(user))
    return json.dumps({"fits": list(range(1, n + 1, 2))})


def injected(user: str) -> str:
    """Does whatever the last place that holds an order says."""
    orders = [text for text in places(user) if "IGNORE" in text]
    return orders[-1].partition("IGNORE")[2] if orders else truthful(user)


def malformed(user: str) -> str:
    """No JSON."""
    return "I would call it, hm, {something about words"


def refusing(user: str) -> str:
    """Declines."""
    return "I cannot help with that."


@dataclass
class Script:
    """How a server behaves, and what it was sent."""

    reply: Reply = truthful
    failures: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """Status and headers of the next answers, before any that is right."""
    status: int = 200
    """Of all answers."""
    body: bytes | None = None
    """Sent instead of a completion."""
    error: dict[str, str] | None = None
    """Of the failures, instead of a plain one."""
    delay_s: float = 0.0
    delays: Callable[[str], float] = lambda _user: 0.0
    """Further seconds, by the user's message."""
    at_a_time: int = 0
    """Questions under way at most: others are refused as too many; 0: any number."""
    refuses: Callable[[str], int] = lambda _user: 0
    """Status of the answer to a question, by the user's message; 0: it is answered."""
    headers: dict[str, str] = field(default_factory=dict)
    """Of all answers, beside the usual ones."""
    requests: list[dict[str, Any]] = field(default_factory=list)
    """Bodies that were sent here."""
    sent_headers: list[dict[str, str]] = field(default_factory=list)
    under_way: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    on_request: Callable[[int], object] = lambda _n: None
    """Called with the number of each request, from 1, before it is answered."""

    @property
    def questions(self) -> list[str]:
        """The user's messages."""
        return [str(body["messages"][1]["content"]) for body in self.requests]


class _Handler(BaseHTTPRequestHandler):
    script: Script

    def do_POST(self) -> None:
        """Answer one request, and count how many are under way."""
        script = self.script
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with script.lock:
            script.requests.append(body)
            script.sent_headers.append({k.lower(): v for k, v in self.headers.items()})
            number = len(script.requests)
            script.under_way += 1
            is_too_much = 0 < script.at_a_time < script.under_way
        try:
            script.on_request(number)
            self._answer(body, is_too_much=is_too_much)
        finally:
            with script.lock:
                script.under_way -= 1

    def _answer(self, body: dict[str, Any], *, is_too_much: bool) -> None:
        script, user = self.script, str(body["messages"][1]["content"])
        if is_too_much:
            self._fail(429, {"retry-after-ms": "5"})
            return
        time.sleep(script.delay_s + script.delays(user))
        if script.failures:
            self._fail(*script.failures.pop(0))
        elif script.refuses(user):
            self._fail(script.refuses(user), {})
        elif script.status != 200:
            text = json.dumps({"error": {"message": f"no: {self.headers.get('Authorization', '')}"}})
            self._send(script.status, text.encode(), script.headers)
        elif script.body is not None:
            self._send(200, script.body, script.headers)
        else:
            self._send(200, self._completion(body), script.headers)

    def _fail(self, status: int, headers: dict[str, str]) -> None:
        error = self.script.error or {"message": f"status {status}"}
        self._send(status, json.dumps({"error": error}).encode(), headers)

    def _completion(self, body: dict[str, Any]) -> bytes:
        text = self.script.reply(str(body["messages"][1]["content"]))
        message = {"role": "assistant", "content": text}
        usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
        return json.dumps(
            {
                "id": "x", "object": "chat.completion", "created": 1, "model": body["model"],
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage,
            }
        ).encode()  # fmt: skip

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json"} | headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the framework's name
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that does not wait is no failure of the server."""


@contextmanager
def serving(script: Script) -> Iterator[str]:
    """The address of a server that behaves as told."""
    handler = type("Handler", (_Handler,), {"script": script})
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


if __name__ == "__main__":  # by hand: python -m tests.naming.server [SECONDS PER ANSWER]
    with serving(Script(delay_s=float((*sys.argv, "0")[1]))) as address:
        print(address, flush=True)  # noqa: T201
        threading.Event().wait()
