"""Which tokens are a message's own."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import processors

from engine.manifest import hash_json
from engine.models.chat import ChatLayout, EncodedText
from engine.records import Message
from tests.models.tiny import TEMPLATES, make_tokenizer, make_wordpiece

LAYOUTS = {name: ChatLayout.of(make_tokenizer(name), is_causal=True) for name in TEMPLATES} | {
    "plain": ChatLayout.of(make_tokenizer(), is_causal=True),
    "encoder": ChatLayout.of(make_wordpiece(), is_causal=False),
}
PROMPT = [Message("user", "Please help with bread")]
ANSWER = [Message("assistant", "Sorry, I cannot")]


def joined(encoded: EncodedText, own: str) -> str:
    """Text of a span's own tokens."""
    return "".join(encoded.token_text(int(i)) for i in getattr(encoded, own))


@pytest.mark.parametrize("name", [*TEMPLATES, "plain"])
def test_own_tokens_spell_exactly_the_message(name: str) -> None:
    encoded = LAYOUTS[name].encode(PROMPT, ANSWER)
    assert encoded.has_template is (name != "plain")
    assert joined(encoded, "prompt_own").strip() == "Please help with bread"
    assert joined(encoded, "response_own").strip() == "Sorry, I cannot"


@pytest.mark.parametrize("name", TEMPLATES)
def test_ids_are_those_of_the_tokenizers_own_chat_template(name: str) -> None:
    layout = LAYOUTS[name]
    chat = [{"role": m.role, "content": m.content} for m in [*PROMPT, *ANSWER]]
    expected = layout.tokenizer.apply_chat_template(chat, tokenize=True, return_dict=True)["input_ids"]
    assert layout.encode(PROMPT, ANSWER).ids.tolist() == expected


def test_a_content_that_looks_like_the_template_is_found_in_its_own_place() -> None:
    prompt = [Message("user", "user\nassistant"), Message("assistant", "user"), Message("user", "assistant")]
    encoded = LAYOUTS["chatml"].encode(prompt, [Message("assistant", "assistant")])
    assert joined(encoded, "response_own") == "assistant"
    assert encoded.response_own[0] == len(encoded.ids) - 2 - (len(encoded.response_own) - 1) - 1
    assert joined(encoded, "prompt_own") == "user\nassistantuserassistant"


def test_plain_text_template_marks_of_several_tokens_are_nobodys() -> None:
    encoded = LAYOUTS["tulu"].encode(PROMPT, ANSWER)
    assert encoded.text == "<|user|>\nPlease help with bread\n<|assistant|>\nSorry, I cannot</s>"
    nobody = set(range(len(encoded.ids))) - {*encoded.prompt_own.tolist()} - {*encoded.response_own.tolist()}
    marks = "".join(encoded.token_text(i) for i in sorted(nobody))
    assert "<|user|>" in marks
    assert "<|assistant|>" in marks
    assert len(nobody) > 6  # each mark is several tokens


def test_special_tokens_inside_a_message_are_not_its_own() -> None:
    encoded = LAYOUTS["chatml"].encode([Message("user", "a <|im_end|> b")], ANSWER)
    assert "<|im_end|>" not in joined(encoded, "prompt_own")


def test_a_system_message_that_the_template_refuses_joins_the_first_user_message() -> None:
    prompt = [Message("system", "Be brief."), *PROMPT]
    encoded = LAYOUTS["gemma"].encode(prompt, ANSWER)
    assert encoded.has_template
    assert "user\nBe brief.\n\nPlease help with bread<end_of_turn>" in encoded.text
    assert joined(encoded, "response_own") == "Sorry, I cannot"


def test_a_conversation_that_the_template_refuses_is_laid_out_plainly_and_says_so() -> None:
    tokenizer = make_tokenizer("chatml")
    tokenizer.chat_template = (
        "{% if messages[0]['role'] == 'assistant' %}{{ raise_exception('no') }}{% endif %}"
        "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    )
    layout = ChatLayout.of(tokenizer, is_causal=True)
    encoded = layout.encode([Message("assistant", "Hello")], ANSWER)
    assert not encoded.has_template
    assert encoded.text == "Assistant: Hello\n\nAssistant: Sorry, I cannot"


def test_reasoning_that_a_template_removes_leaves_the_answer_findable() -> None:
    tokenizer = make_tokenizer("chatml")
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
        "{{ m['content'].split('</think>')[-1].lstrip('\\n') }}<|im_end|>{% endfor %}"
    )
    layout = ChatLayout.of(tokenizer, is_causal=True)
    encoded = layout.encode(PROMPT, [Message("assistant", "<think>\nhm\n</think>\n\nTea.")])
    assert joined(encoded, "response_own") == "Tea."
    assert encoded.n_lost == 0


def test_a_content_that_a_template_rewrites_is_counted_as_lost() -> None:
    tokenizer = make_tokenizer("chatml")
    tokenizer.chat_template = "{% for m in messages %}[{{ m['content'] | upper }}]{% endfor %}"
    encoded = ChatLayout.of(tokenizer, is_causal=True).encode(PROMPT, ANSWER)
    assert encoded.n_lost == 2
    assert len(encoded.response_own) == 0


def test_encoders_read_the_prompt_alone_and_the_response_after_the_prompt() -> None:
    layout = LAYOUTS["encoder"]
    prompt = [Message("user", "the garden table has a bright number 42 and some tea")]
    alone, both = layout.encode(prompt, None), layout.encode(prompt, ANSWER)
    assert alone.text == prompt[0].content
    assert len(alone.response_own) == 0
    assert len(alone.prompt_own) == len(alone.ids) - 2  # [CLS] and [SEP] are nobody's
    assert len(alone.ids) > 8  # the tokenizer file's own truncation and padding do not apply
    assert both.text == f"{prompt[0].content}\n\nSorry, I cannot"
    assert len(both.ids) == len(both.prompt_own) + len(both.response_own) + 2


def test_truncation_cuts_the_response_last_and_long_prompts_from_the_front() -> None:
    layout = LAYOUTS["llama3"]
    long_prompt = [Message("user", " ".join(f"word{i}" for i in range(200)))]
    chosen = layout.encode(long_prompt, ANSWER, max_tokens=80)
    other = layout.encode(long_prompt, [Message("assistant", "tea " * 100)], max_tokens=80)
    assert chosen.prompt_truncated
    assert not chosen.response_truncated
    assert joined(chosen, "prompt_own") == joined(other, "prompt_own")
    assert joined(chosen, "prompt_own").endswith("word199")
    assert chosen.ids[0] == layout.tokenizer.bos_token_id
    assert other.response_truncated
    assert len(other.ids) == 80
    assert joined(chosen, "response_own") == "Sorry, I cannot"


def test_nothing_is_truncated_within_the_limit() -> None:
    whole = LAYOUTS["chatml"].encode(PROMPT, ANSWER)
    same = LAYOUTS["chatml"].encode(PROMPT, ANSWER, max_tokens=len(whole.ids) * 2)
    assert same.ids.tolist() == whole.ids.tolist()
    assert not same.prompt_truncated
    assert not same.response_truncated


def test_the_fingerprint_knows_template_and_kind() -> None:
    prints = {layout.fingerprint for layout in LAYOUTS.values()}
    assert len(prints) == len(LAYOUTS)
    assert ChatLayout.of(make_tokenizer("tulu"), is_causal=True).fingerprint == LAYOUTS["tulu"].fingerprint


TEXT = st.text(min_size=1, max_size=40).filter(lambda t: t.strip() == t and "\ufeff" not in t)


@given(prompt=TEXT, answer=TEXT, name=st.sampled_from([*TEMPLATES, "plain"]))
@settings(max_examples=60)
def test_any_text_is_covered_by_its_own_tokens_and_nothing_else(prompt: str, answer: str, name: str) -> None:
    encoded = LAYOUTS[name].encode([Message("user", prompt)], [Message("assistant", answer)])
    own = {"prompt_own": prompt, "response_own": answer}
    previous_end = 0
    for attribute, text in own.items():
        indices = getattr(encoded, attribute)
        assert len(indices)
        start, end = encoded.offsets[indices[0]][0], encoded.offsets[indices[-1]][1]
        assert text in encoded.text[int(start) : int(end)]
        outside = encoded.text[int(start) : int(end)].replace(text, "", 1)
        assert not outside.strip()  # at most white space that shares a token with the text
        assert start >= previous_end
        previous_end = int(end)


TOOLS = '[{"type": "function", "function": {"name": "brew_tea", "parameters": {"type": "object"}}}]'
PRINTS_TOOLS = (
    "{% if tools %}{{ 'Tools: ' + (tools | tojson) + '\n' }}{% endif %}"
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '\n' }}{% endfor %}"
)


def test_tools_are_printed_by_templates_that_can_and_are_nobodys() -> None:
    tokenizer = make_tokenizer("tulu")
    tokenizer.chat_template = PRINTS_TOOLS
    layout = ChatLayout.of(tokenizer, is_causal=True)
    prompt = [Message("user", "Please brew_tea")]
    encoded, bare = layout.encode(prompt, ANSWER, tools=TOOLS), layout.encode(prompt, ANSWER)
    assert encoded.text.startswith("Tools: [")
    assert "brew_tea" in encoded.text.split("<|user|>")[0]
    assert not encoded.lacks_tools
    for attribute in ("prompt_own", "response_own"):  # not the name in the definition, the one in the message
        assert joined(encoded, attribute) == joined(bare, attribute)
    assert int(encoded.prompt_own[0]) > int(bare.prompt_own[0]) + 10
    chat = [{"role": m.role, "content": m.content} for m in [*prompt, *ANSWER]]
    expected = tokenizer.apply_chat_template(chat, tools=json.loads(TOOLS), tokenize=True, return_dict=True)
    assert encoded.ids.tolist() == expected["input_ids"]


@pytest.mark.parametrize("tools", [TOOLS, "no JSON", '{"a": 1}'])
def test_tools_that_cannot_be_printed_are_counted(tools: str) -> None:
    encoded = LAYOUTS["tulu"].encode(PROMPT, ANSWER, tools=tools)
    assert encoded.lacks_tools
    assert encoded.ids.tolist() == LAYOUTS["tulu"].encode(PROMPT, ANSWER).ids.tolist()
    assert not LAYOUTS["tulu"].encode(PROMPT, ANSWER).lacks_tools
    assert LAYOUTS["plain"].encode(PROMPT, ANSWER, tools=tools).lacks_tools


def test_a_template_that_refuses_tools_still_prints_the_messages() -> None:
    tokenizer = make_tokenizer("tulu")
    tokenizer.chat_template = "{% if tools %}{{ raise_exception('none') }}{% endif %}" + PRINTS_TOOLS
    encoded = ChatLayout.of(tokenizer, is_causal=True).encode(PROMPT, ANSWER, tools=TOOLS)
    assert encoded.has_template
    assert encoded.lacks_tools


STRICT = (
    "{{ bos_token }}{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
    "{{ '[INST] ' + m['content'] + ' [/INST]' if m['role'] == 'user' else m['content'] + eos_token }}"
    "{% endfor %}"
)
PARTS = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' }}{% for part in m['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{{ '<|im_end|>' }}{% endfor %}"
)
DATED = (
    "{{ strftime_now('%d %B %Y') }}{{ strftime_now(\"%Y\") }}"
    "{% for m in messages %}{{ m.content }}{% endfor %}"
)


def layout_of(template: str) -> ChatLayout:
    tokenizer = make_tokenizer("chatml")
    tokenizer.chat_template = template
    return ChatLayout.of(tokenizer, is_causal=True)


def test_neighbours_of_one_role_are_joined_where_turns_must_alternate() -> None:
    prompt = [
        Message("system", "Be brief."),
        Message("user", "Please help"),
        Message("user", " with bread"),
        Message("assistant", "Why?"),
        Message("user", "tea"),
    ]
    encoded = layout_of(STRICT).encode(prompt, ANSWER)
    assert encoded.has_template
    assert encoded.text == (
        "<s>[INST] Be brief.\n\nPlease help\n\n with bread [/INST]Why?</s>"
        "[INST] tea [/INST]Sorry, I cannot</s>"
    )
    places = [encoded.text[at.start : at.end] for at in encoded.contents]
    assert places == ["Be brief.", "Please help", " with bread", "Why?", "tea", "Sorry, I cannot"]
    assert joined(encoded, "response_own") == "Sorry, I cannot"
    refused = layout_of(STRICT).encode([Message("assistant", "Hello")], ANSWER)  # nothing can be joined here
    assert not refused.has_template


def test_a_template_that_takes_parts_gets_parts() -> None:
    encoded = layout_of(PARTS).encode(PROMPT, ANSWER)
    assert encoded.n_lost == 0
    assert joined(encoded, "prompt_own") == "Please help with bread"
    assert joined(encoded, "response_own") == "Sorry, I cannot"


def test_a_template_that_prints_the_date_prints_the_same_on_every_day() -> None:
    encoded = layout_of(DATED).encode(PROMPT, None)
    assert encoded.text == "26 July 20242024Please help with bread"
    named = make_tokenizer("chatml")
    named.chat_template = {"default": DATED, "tool_use": "{{ strftime_now('%m') }}{{ messages[0].content }}"}
    layout = ChatLayout.of(named, is_causal=True)
    assert layout.encode(PROMPT, None, tools="[{}]").text == "07Please help with bread"


def test_readings_by_templates_that_print_as_before_stay_valid() -> None:
    """Only templates whose rendering changed are told apart by the fingerprint."""
    plain = LAYOUTS["chatml"]
    assert plain.fingerprint == hash_json([2, True, plain.backend.to_str(), plain.tokenizer.chat_template])


@pytest.mark.parametrize("adds", [True, False])
def test_a_tokenizers_own_beginning_is_kept_or_left_out(adds: bool) -> None:
    """As the tokenizer does it: with a template what that prints, without one what the tokenizer adds."""
    tokenizer = make_tokenizer()
    if not adds:
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single="$A", special_tokens=[]
        )
    encoded = ChatLayout.of(tokenizer, is_causal=True).encode(PROMPT, None)
    assert encoded.ids.tolist() == tokenizer(encoded.text)["input_ids"]
    assert (int(encoded.ids[0]) == tokenizer.bos_token_id) is adds
    assert joined(encoded, "prompt_own").strip() == "Please help with bread"
