"""Asking a real server over HTTP: what is sent, what is said when it fails, where keys go."""

import socket

import pytest

from engine.errors import NamingError
from engine.naming.endpoint import Endpoint, is_local
from engine.naming.pace import Refused, Strain, TryAgain
from engine.naming.questions import Question
from engine.settings import NamingSettings
from tests.naming.server import Script, serving

QUESTION = Question(
    "be brief", '"name": who?\nDATA 0123456789abcdef\n"strong" "a «b» c"\nDATA 0123456789abcdef'
)


def ask(script: Script, key: str = "", **changes: object) -> str:
    with serving(script) as url:
        settings = NamingSettings(**{"endpoint": url, "model": "m", "retries": 0} | changes)  # type: ignore[arg-type] # of the field
        endpoint = Endpoint(settings, key)
        try:
            return endpoint.ask(QUESTION).text
        finally:
            endpoint.close()


def refused(script: Script, key: str = "", **changes: object) -> NamingError:
    with pytest.raises(NamingError) as caught:
        ask(script, key, **changes)
    return caught.value


def test_a_question_goes_to_the_model_and_its_answer_comes_back() -> None:
    script = Script()
    assert "the word b" in ask(script)
    [body] = script.requests
    assert body["model"] == "m"
    assert [m["role"] for m in body["messages"]] == ["system", "user"]
    assert [m["content"] for m in body["messages"]] == list(QUESTION)


def test_only_the_key_that_was_named_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_ADMIN_KEY"):
        monkeypatch.setenv(name, "of-somebody-else")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    script = Script()
    ask(script)
    ask(script, key="mine\n")
    without, with_key = script.sent_headers
    assert "of-somebody-else" not in str(without) + str(with_key)
    assert with_key["authorization"] == "Bearer mine"
    assert "mine" not in str(script.requests)


def test_answers_are_bounded_only_where_that_was_asked_for() -> None:
    script = Script()
    ask(script)
    ask(script, answer_tokens=300)
    assert [body.get("max_completion_tokens") for body in script.requests] == [None, 300]


@pytest.mark.parametrize(
    ("status", "strain"),
    [
        (429, Strain.BUSY), (503, Strain.BUSY), (529, Strain.BUSY), (408, Strain.SLOW), (504, Strain.SLOW),
        (500, Strain.ILL), (502, Strain.ILL), (409, Strain.ILL),
    ],
)  # fmt: skip
def test_what_may_pass_is_told_apart_and_each_question_sent_once(status: int, strain: Strain) -> None:
    script = Script(status=status, headers={"Retry-After": "7"})
    error = refused(script, retries=5)
    assert isinstance(error, TryAgain)
    assert (error.strain, error.after_s) == (strain, 7.0)
    assert len(script.requests) == 1


@pytest.mark.parametrize("status", [400, 403, 413, 422])
def test_a_question_may_be_refused_for_what_it_holds(status: int) -> None:
    assert isinstance(refused(Script(status=status)), Refused)


@pytest.mark.parametrize("script", [
    Script(status=401), Script(status=404), Script(status=307),
    Script(failures=[(429, {"x-should-retry": "false"})]),
    Script(failures=[(429, {})], error={"message": "no money", "code": "insufficient_quota"}),
])  # fmt: skip
def test_what_will_not_pass_is_not_tried_again(script: Script) -> None:
    assert not isinstance(refused(script), TryAgain | Refused)


def test_a_broker_that_says_of_another_server_that_it_failed_is_asked_again() -> None:
    error = refused(Script(body=b'{"error": {"message": "upstream failed", "code": 502}}'))
    assert isinstance(error, TryAgain)
    assert "upstream failed" in error.message


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (401, "--key-env"), (403, "--key-env"), (404, "/v1"), (429, "goes on from here"),
        (400, "excerpts"), (500, "goes on from here"),
    ],
)  # fmt: skip
def test_a_refusal_is_told_with_what_to_do(status: int, hint: str) -> None:
    error = refused(Script(status=status))
    assert f"answered {status}" in error.message
    assert hint in (error.hint or "")


def test_a_key_that_a_server_repeats_is_not_shown() -> None:
    error = refused(Script(status=401), key="sk-secret", key_env="MY_KEY")
    assert "no: Bearer …" in error.message
    assert "sk-secret" not in str(error)
    assert "$MY_KEY" in (error.hint or "")
    assert error.__cause__ is None  # nor does a traceback hold it


def test_a_slow_server_is_given_up() -> None:
    error = refused(Script(delay_s=0.5), timeout_s=0.05)
    assert "did not answer within 0.05 seconds" in error.message
    assert isinstance(error, TryAgain)
    assert error.strain is Strain.SLOW


@pytest.mark.parametrize(
    "body", [b"{not json", b"[]", b"{}", b'{"choices": []}', b'{"error": {"message": "no such model"}}']
)
def test_an_answer_that_is_no_completion_is_said_to_be_none(body: bytes) -> None:
    assert "not with a chat completion" in refused(Script(body=body)).message


def test_a_page_instead_of_an_answer_is_said_to_be_none() -> None:
    error = refused(Script(body=b"<html>hello</html>", headers={"Content-Type": "text/html"}))
    assert "not with a chat completion" in error.message


def test_an_empty_message_is_an_empty_answer() -> None:
    body = b'{"choices": [{"index": 0, "message": {"role": "assistant", "content": null}}]}'
    assert ask(Script(body=body)) == ""


@pytest.mark.parametrize(
    "body",
    [
        b'{"choices": [{"message": {"content": [{"type": "text"}]}}], "usage": {"prompt_tokens": null}}',
        b'{"choices": [{"message": null}], "usage": null}',
        b'{"choices": [{}]}',
    ],
)
def test_a_completion_that_is_not_as_it_should_be_is_an_empty_answer(body: bytes) -> None:
    assert ask(Script(body=body)) == ""


def test_a_proxy_that_cannot_be_used_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "nonsense://nowhere")
    assert "no connection can be made" in refused(Script()).message


def test_texts_do_not_follow_a_redirection() -> None:
    elsewhere = Script()
    with serving(elsewhere) as other:
        error = refused(Script(status=307, headers={"Location": f"{other}/chat/completions"}))
    assert "answered 307" in error.message
    assert not elsewhere.requests


def test_a_server_that_is_not_there_is_said_to_be_out_of_reach() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    endpoint = Endpoint(NamingSettings(endpoint=f"http://127.0.0.1:{port}/v1", model="m", retries=0))
    with pytest.raises(TryAgain, match="cannot be reached") as caught:
        endpoint.ask(QUESTION)
    assert caught.value.strain is Strain.GONE


@pytest.mark.parametrize(
    ("endpoint", "model", "said"),
    [
        ("", "m", "no server is named"), ("http://x/v1", "", "no model is named"),
        ("localhost:8000", "m", "no address"), ("file:///etc", "m", "no address"),
        ("http://[", "m", "no address"),
        ("http://me:secret@x/v1", "m", "a key in it"), ("http://x/v1?key=secret", "m", "a key in it"),
    ],
)  # fmt: skip
def test_an_address_that_cannot_be_used_is_refused_before_anything_is_sent(
    endpoint: str, model: str, said: str
) -> None:
    with pytest.raises(NamingError, match=said) as caught:
        Endpoint(NamingSettings(endpoint=endpoint, model=model))
    assert "secret" not in str(caught.value)


def test_servers_on_this_machine_are_known() -> None:
    assert is_local("http://localhost:1234/v1")
    assert is_local("http://[::1]/v1")
    assert not is_local("https://localhost.example.org/v1")
