"""The openai client for Python, unchanged."""

import asyncio
import json

import openai

from checks import (BASE_URL, DAILY_KEY, EMBED_BASE, EMBED_MODEL, HELLO, KEY, LIMITED_KEY, MODEL, Skip, main, only_fairlane,
                    only_with_keys, raises, same)

client = openai.OpenAI(base_url=BASE_URL + "/v1", api_key=KEY, max_retries=0, timeout=120)
ENDLESS = "the model never came to the end of its call"  # random weights may write white space for ever
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city.",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["Oslo", "Rome"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


def long_answer():
    """The arguments of an answer that takes much longer than any check."""
    longest = client.models.list().data[0].max_model_len
    return {"model": MODEL, "messages": HELLO, "max_tokens": min(20000, longest // 2), "extra_body": {"ignore_eos": True}}


def chat(**more):
    return client.chat.completions.create(model=MODEL, messages=HELLO, **({"max_tokens": 16} | more))


def chat_completion():
    answer = chat(extra_body={"ignore_eos": True})
    same(answer.object, "chat.completion", "object")
    same(answer.choices[0].message.role, "assistant", "role")
    same(answer.choices[0].finish_reason, "length", "finish_reason")
    same(answer.usage.completion_tokens, 16, "completion_tokens")
    same(answer.usage.total_tokens, answer.usage.prompt_tokens + 16, "total_tokens")


def chat_with_several_choices():
    answer = chat(n=3, temperature=1, logprobs=True, top_logprobs=2)
    same(sorted(choice.index for choice in answer.choices), [0, 1, 2], "indexes")
    assert all(choice.logprobs.content for choice in answer.choices), "a choice has no logprobs"


def chat_stream():
    chunks = list(chat(stream=True, extra_body={"ignore_eos": True}))
    same(chunks[0].choices[0].delta.role, "assistant", "role of the first chunk")
    same(chunks[-1].choices[0].finish_reason, "length", "finish_reason of the last chunk")
    same([chunk for chunk in chunks if chunk.usage or not chunk.choices], [], "chunks of a usage that nobody asked for")
    same(len({chunk.id for chunk in chunks}), 1, "ids")


def chat_stream_with_usage():
    chunks = list(chat(stream=True, stream_options={"include_usage": True}, extra_body={"ignore_eos": True}))
    same(chunks[-1].choices, [], "choices of the last chunk")
    same(chunks[-1].usage.completion_tokens, 16, "completion_tokens")
    same([chunk for chunk in chunks[:-1] if chunk.usage], [], "usage before the last chunk")


def chat_stream_helper():
    def read():
        with client.chat.completions.stream(model=MODEL, messages=HELLO, max_tokens=16, extra_body={"ignore_eos": True}) as stream:
            kinds.update(event.type for event in stream)
            stream.get_final_completion()

    kinds = set()
    error = raises(openai.LengthFinishReasonError, read)  # what the helper makes of an answer that max_tokens cut
    assert "chunk" in kinds, f"events: {kinds}"
    same(error.completion.choices[0].message.role, "assistant", "role")


def many_streams_at_once():
    async def one(async_client):
        stream = await async_client.chat.completions.create(
            model=MODEL, messages=HELLO, max_tokens=32, stream=True, stream_options={"include_usage": True},
            extra_body={"ignore_eos": True})
        return [chunk async for chunk in stream][-1].usage.completion_tokens

    async def all_of_them():
        async with openai.AsyncOpenAI(base_url=BASE_URL + "/v1", api_key=KEY, max_retries=0) as async_client:
            return await asyncio.gather(*(one(async_client) for _ in range(16)))

    same(asyncio.run(all_of_them()), [32] * 16, "completion_tokens")


def tool_call():
    answer = chat(tools=[TOOL], tool_choice={"type": "function", "function": {"name": "weather"}}, max_tokens=512,
                  temperature=1)
    choice = answer.choices[0]
    if choice.finish_reason == "length":
        raise Skip(ENDLESS)
    call = choice.message.tool_calls[0].function
    same(call.name, "weather", "name")
    assert json.loads(call.arguments)["city"] in ("Oslo", "Rome"), call.arguments


def tool_call_stream():
    name, arguments, reason = "", "", None
    for chunk in chat(tools=[TOOL], tool_choice="required", max_tokens=512, temperature=1, stream=True):
        reason = chunk.choices[0].finish_reason or reason
        for call in chunk.choices[0].delta.tool_calls or []:
            if call.index == 0:
                name += call.function.name or ""
                arguments += call.function.arguments or ""
    if reason == "length":
        raise Skip(ENDLESS)
    same(name, "weather", "name")
    assert json.loads(arguments)["city"] in ("Oslo", "Rome"), arguments


def tool_result():
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
    answer = client.chat.completions.create(model=MODEL, tools=[TOOL], tool_choice="none", max_tokens=8, messages=HELLO + [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "Rain."},
    ])
    same(answer.choices[0].message.tool_calls or [], [], "tool_calls")


def completion():
    answer = client.completions.create(model=MODEL, prompt="Once", max_tokens=8, extra_body={"ignore_eos": True})
    same(answer.object, "text_completion", "object")
    same(answer.usage.completion_tokens, 8, "completion_tokens")


def completion_of_a_list():
    answer = client.completions.create(model=MODEL, prompt=["Once", "Twice"], n=2, max_tokens=4, temperature=1)
    same([choice.index for choice in answer.choices], [0, 1, 2, 3], "indexes")


def completion_stream():
    chunks = list(client.completions.create(model=MODEL, prompt="Once", max_tokens=8, stream=True))
    assert chunks[-1].choices[0].finish_reason, "the last chunk has no finish_reason"


def embeddings():
    if not EMBED_BASE:
        raise Skip("no EMBED_BASE")
    embedder = openai.OpenAI(base_url=EMBED_BASE.rstrip("/") + "/v1", api_key=KEY, max_retries=0)
    model = EMBED_MODEL or embedder.models.list().data[0].id
    base64 = embedder.embeddings.create(model=model, input=["one", "two"])  # the client asks for base64 and decodes it
    floats = embedder.embeddings.create(model=model, input=["one", "two"], encoding_format="float")
    same([item.index for item in base64.data], [0, 1], "indexes")
    assert len(base64.data[0].embedding) > 1, "an empty embedding"
    difference = max(abs(a - b) for a, b in zip(base64.data[1].embedding, floats.data[1].embedding, strict=True))
    assert difference < 1e-3, f"base64 and float differ by {difference}"


def response():
    answer = client.responses.create(model=MODEL, input="Say hello.", max_output_tokens=16, extra_body={"ignore_eos": True})
    same(answer.object, "response", "object")
    same(answer.usage.output_tokens, 16, "output_tokens")


def response_stream():
    events = list(client.responses.create(model=MODEL, input="Say hello.", max_output_tokens=16, stream=True))
    same(events[0].type, "response.created", "first event")
    assert events[-1].type in ("response.completed", "response.incomplete"), events[-1].type
    same([event.sequence_number for event in events], list(range(len(events))), "sequence numbers")


def response_that_is_not_there():
    raises(openai.NotFoundError, lambda: client.responses.retrieve("resp_nosuch"))


def list_of_models():
    assert MODEL in [model.id for model in client.models.list()], f"{MODEL} is not listed"


def one_model():
    only_fairlane("has no /v1/models/{id}")
    same(client.models.retrieve(MODEL).id, MODEL, "id")
    error = raises(openai.NotFoundError, lambda: client.models.retrieve("nosuch"))
    same(error.code, "model_not_found", "code")


def request_id():
    only_fairlane("sends no X-Request-Id")
    assert chat()._request_id, "no X-Request-Id"
    sent = chat(extra_headers={"X-Request-Id": "check-7f3a"})
    same(sent._request_id, "check-7f3a", "X-Request-Id")


def unknown_model():
    error = raises(openai.NotFoundError, lambda: client.chat.completions.create(model="nosuch", messages=HELLO))
    assert "nosuch" in error.message and MODEL in error.message, error.message
    same(error.param, "model", "param")


def unknown_path():
    raises(openai.NotFoundError, lambda: client.post("/nosuch", cast_to=object, body={}))


def bad_request():
    error = raises(openai.BadRequestError, lambda: chat(temperature=-1))
    assert "temperature" in error.message, error.message
    raises(openai.BadRequestError, lambda: chat(temperature=-1, stream=True))


def wrong_key():
    only_with_keys()
    stranger = openai.OpenAI(base_url=BASE_URL + "/v1", api_key="wrong", max_retries=0)
    error = raises(openai.AuthenticationError, lambda: stranger.chat.completions.create(model=MODEL, messages=HELLO))
    same(error.status_code, 401, "status")
    raises(openai.AuthenticationError, lambda: stranger.chat.completions.create(model=MODEL, messages=HELLO, stream=True))
    only_fairlane("answers 401 in plain text")
    same(error.code, "invalid_api_key", "code")


def rate_limit():
    only_fairlane("has no limits")
    if not LIMITED_KEY:
        raise Skip("no LIMITED_KEY")
    error = used_up(LIMITED_KEY)
    same(error.code, "rate_limit_exceeded", "code")
    assert float(error.response.headers["retry-after"]) > 0, error.response.headers
    same(error.response.headers["x-ratelimit-remaining-requests"], "0", "x-ratelimit-remaining-requests")


def retry_after_is_kept():
    """The client's own retry comes once, and late enough to be let through."""
    only_fairlane("has no limits")
    if not LIMITED_KEY:
        raise Skip("no LIMITED_KEY")
    used_up(LIMITED_KEY)
    answers = asked_again(LIMITED_KEY)
    same([answer.status_code for answer in answers], [429, 200], "statuses")


def retry_of_tomorrow_is_not_tried():
    only_fairlane("has no limits")
    if not DAILY_KEY:
        raise Skip("no DAILY_KEY")
    error = used_up(DAILY_KEY)
    assert float(error.response.headers["retry-after"]) > 60, error.response.headers
    same(error.response.headers["x-should-retry"], "false", "x-should-retry")
    same([answer.status_code for answer in asked_again(DAILY_KEY)], [429], "statuses")


def used_up(key):
    """Spend what the key may do, and return the refusal."""
    limited = openai.OpenAI(base_url=BASE_URL + "/v1", api_key=key, max_retries=0)

    def until_refused():
        for _ in range(100):
            limited.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=1)

    return raises(openai.RateLimitError, until_refused)


def asked_again(key):
    """Ask once with the client's usual retries, and return every answer that it had."""
    answers = []
    http = openai.DefaultHttpxClient(event_hooks={"response": [answers.append]})
    with openai.OpenAI(base_url=BASE_URL + "/v1", api_key=key, http_client=http) as limited:
        try:
            limited.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=1)
        except openai.RateLimitError:
            pass
    return answers


def timeout():
    raises(openai.APITimeoutError, lambda: client.with_options(timeout=0.3).chat.completions.create(**long_answer()))


def cancelled_streams_free_their_slots():
    """Twelve answers of minutes, each left after two chunks; then a short one must not wait for them."""
    for _ in range(12):
        with client.chat.completions.create(stream=True, **long_answer()) as stream:
            next(stream), next(stream)
    client.with_options(timeout=10).chat.completions.create(model=MODEL, messages=HELLO, max_tokens=1)


main("openai-python", [
    chat_completion, chat_with_several_choices, chat_stream, chat_stream_with_usage, chat_stream_helper, many_streams_at_once,
    tool_call, tool_call_stream, tool_result, completion, completion_of_a_list, completion_stream, embeddings,
    response, response_stream, response_that_is_not_there, list_of_models, one_model, request_id,
    unknown_model, unknown_path, bad_request, wrong_key, rate_limit, retry_after_is_kept, retry_of_tomorrow_is_not_tried, timeout,
    cancelled_streams_free_their_slots,
])
