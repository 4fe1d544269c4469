"""A server that speaks OpenAI's chat completions: the only place of prosect that sends texts anywhere.

Any such server will do: a provider's, or one's own (vLLM, llama.cpp, Ollama). The client library does the
time limits; it is told everything, so that nothing of its own environment (keys, organisation, another
address) is used, and it follows no redirect: texts go to the address that was named and nowhere else. It
sends each question once: when one is sent again is decided for all of them together (``engine.naming.pace``).
The key comes from the caller, is kept in this process only and cut out of whatever a server says.
"""

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from engine.errors import NamingError
from engine.naming.asking import Answer
from engine.naming.pace import Refused, Strain, TryAgain, asked_wait
from engine.naming.questions import Question
from engine.safe_text import one_line
from engine.settings import NamingSettings

if TYPE_CHECKING:
    import openai

_NO_KEY = "none"
"""Sent where no key is wanted: the client insists on one."""
_LOCAL = ("localhost", "127.0.0.1", "::1")
_BUSY, _SLOW = (429, 503, 529), (408, 504)
"""Statuses of servers that have too much to do, and of those behind which somebody does not answer."""
_OF_THE_QUESTION = (400, 403, 413, 422)
"""A question is too long, or a filter of the provider minds it: others may be answered."""
_NO_CREDIT = "insufficient_quota"
"""Said with the status of a busy server, but waiting does not help."""


class Endpoint:
    """A server and a model on it. Many threads may ask at a time once it is open.

    Args:
        settings: its address, the model, and what an answer may take.
        key: for the server; empty: none.

    Raises:
        NamingError: no address or model is named, or the address is none that may be used.
    """

    def __init__(self, settings: NamingSettings, key: str = "") -> None:
        check_settings(settings)
        self._settings, self._key = settings, key.strip()
        self._client: openai.OpenAI | None = None

    def ask(self, question: Question) -> Answer:
        """Send a question once and wait for the answer.

        Raises:
            TryAgain: the server is busy, ill, slow or out of reach.
            Refused: it does not answer this question, or not as asked.
            NamingError: it answers nobody who asks like this.
        """
        import openai

        try:
            completion = self.open().chat.completions.create(
                model=self._settings.model,
                messages=[
                    {"role": "system", "content": question.system},
                    {"role": "user", "content": question.user},
                ],
                max_completion_tokens=self._settings.answer_tokens or openai.omit,
            )
        except openai.OpenAIError as error:
            raise self._failure(error) from None  # a traceback could hold the key
        except ValueError as error:
            raise self._no_completion(str(error)) from None
        choices = getattr(completion, "choices", None)
        if not choices:
            said = getattr(completion, "error", None)
            failed = self._no_completion(str(said or "there is no choice in it"))
            # Brokers pass on that the server behind them failed, with the status of success.
            raise TryAgain(failed.message, failed.hint, Strain.ILL) if said else failed
        # The library does not check what a server sends against its types.
        text = getattr(getattr(choices[0], "message", None), "content", None)
        usage = getattr(completion, "usage", None)
        counts = [getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens")]
        n_read, n_written = (n if isinstance(n, int) else 0 for n in counts)
        return Answer(text if isinstance(text, str) else "", n_read, n_written)

    def too_slow(self) -> TryAgain:
        """What to say of an answer that takes longer than it may."""
        return TryAgain(
            f"{self._settings.endpoint} did not answer within {self._settings.timeout_s:g} seconds",
            "the same command goes on from here; give it longer (--set naming.timeout_s=600), ask for less at"
            " a time (--parallel 1) or bound its answers (--set naming.answer_tokens=300)",
            Strain.SLOW,
        )

    def close(self) -> None:
        """Let go of the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def open(self) -> "openai.OpenAI":
        """The client, made by the first call; not by several threads at a time.

        Raises:
            NamingError: the environment names a proxy that cannot be used.
        """
        if self._client is None:
            import openai

            try:
                client = openai.OpenAI(
                    base_url=self._settings.endpoint,
                    api_key=self._key or _NO_KEY,
                    timeout=self._settings.timeout_s,
                    max_retries=0,
                    http_client=openai.DefaultHttpxClient(follow_redirects=False),
                )
            except (ImportError, ValueError) as error:  # proxies of the environment that it cannot use
                raise NamingError(
                    f"no connection can be made: {self._said(str(error))}",
                    hint="are HTTP_PROXY, HTTPS_PROXY and ALL_PROXY as they should be?",
                ) from None
            client.organization = client.project = client.admin_api_key = None  # not those of the environment
            self._client = client
        return self._client

    def _failure(self, error: "openai.OpenAIError") -> NamingError:
        """What went wrong in words, with what to do."""
        import openai

        where = self._settings.endpoint
        if isinstance(error, openai.APITimeoutError):
            return self.too_slow()
        if isinstance(error, openai.APIStatusError):
            return self._of_status(error)
        if isinstance(error, openai.APIConnectionError):
            why = self._said(str(error.__cause__ or error))
            hint = "is the server running, and is the address right?"
            return TryAgain(f"{where} cannot be reached: {why}", hint, Strain.GONE)
        return self._no_completion(str(error))

    def _of_status(self, error: "openai.APIStatusError") -> NamingError:
        """What a status means for this question and for the others."""
        status, headers = error.status_code, error.response.headers
        said = self._said(error.message.removeprefix(f"Error code: {status} - "))
        message = f"{self._settings.endpoint} answered {status}: {said}"
        hint = self._hint(error)
        if status in _OF_THE_QUESTION:
            return Refused(message, hint)
        is_passing = status in (*_BUSY, *_SLOW, 409) or status >= 500
        if not is_passing or error.code == _NO_CREDIT or headers.get("x-should-retry") == "false":
            return NamingError(message, hint)
        strain = Strain.BUSY if status in _BUSY else Strain.SLOW if status in _SLOW else Strain.ILL
        return TryAgain(message, hint, strain, asked_wait(headers))

    def _hint(self, error: "openai.APIStatusError") -> str:
        status = error.status_code
        if status in (401, 403):
            return (
                f"is the key in ${self._settings.key_env} right?"
                if self._settings.key_env
                else "it wants a key: put it in an environment variable and name that with --key-env"
            )
        if status == 404:
            model = one_line(self._settings.model, 60)
            return f"most addresses end in /v1; is `{model}` what it calls the model?"
        if 300 <= status < 400:
            return "it sends on to another address, which is not followed: name that one with --endpoint"
        if status == 429:
            return (
                "too much at once (--parallel 1 asks for less), or no credit left:"
                " the same command goes on from here"
            )
        if status in (400, 413, 422):
            return "does the model take questions of this length? --set naming.excerpts=6 makes them shorter"
        return "the same command goes on from here once the server is well"

    def _no_completion(self, why: str) -> NamingError:
        return NamingError(
            f"{self._settings.endpoint} answers, but not with a chat completion: {self._said(why)}",
            hint="the address of an OpenAI-compatible server ends in /v1 as a rule",
        )

    def _said(self, text: str) -> str:
        """A server's words on one line, without the key."""
        return one_line(text.replace(self._key, "…") if self._key else text, 200)


def check_settings(settings: NamingSettings) -> None:
    """Raise ``NamingError`` where no server and model are named, or the address cannot be used."""
    if not settings.endpoint or not settings.model:
        missing = "no server is" if not settings.endpoint else "no model is"
        raise NamingError(
            f"{missing} named: texts of the pairs are sent nowhere unless you say where",
            hint="--endpoint http://localhost:8000/v1 --model NAME, or [naming] in prosect.toml",
        )
    try:
        parts = urlsplit(settings.endpoint)
        host, has_login = parts.hostname, parts.username is not None or parts.password is not None
    except ValueError:
        host, has_login = None, False
    if host is None or parts.scheme not in ("http", "https"):
        raise NamingError(
            f"`{one_line(settings.endpoint, 80)}` is no address of a server",
            hint="such as http://localhost:8000/v1",
        )
    if has_login or parts.query or parts.fragment:
        raise NamingError(
            "an address with a key in it is not taken: addresses are kept and shown",
            hint="put the key in an environment variable and name that with --key-env",
        )


def is_local(endpoint: str) -> bool:
    """True for a server on this machine."""
    return (urlsplit(endpoint).hostname or "") in _LOCAL
