"""The anthropic client for Python, unchanged."""

import anthropic

from checks import BASE_URL, HELLO, KEY, MODEL, main, only_fairlane, only_with_keys, raises, same

client = anthropic.Anthropic(base_url=BASE_URL, api_key=KEY, max_retries=0, timeout=120)


def message():
    answer = client.messages.create(model=MODEL, max_tokens=16, messages=HELLO)
    same((answer.type, answer.role), ("message", "assistant"), "type and role")
    assert 0 < answer.usage.output_tokens <= 16, answer.usage


def message_stream():
    with client.messages.stream(model=MODEL, max_tokens=16, messages=HELLO, system="Be brief.") as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_message()
    same((kinds[0], kinds[-1]), ("message_start", "message_stop"), "first and last event")
    assert final.stop_reason in ("max_tokens", "end_turn"), final.stop_reason
    assert 0 < final.usage.output_tokens <= 16, final.usage


def count_of_tokens():
    assert client.messages.count_tokens(model=MODEL, messages=HELLO).input_tokens > 0, "no tokens"


def unknown_model():
    error = raises(anthropic.NotFoundError, lambda: client.messages.create(model="nosuch", max_tokens=1, messages=HELLO))
    same(error.body["type"], "error", "type of the body")
    assert "nosuch" in error.body["error"]["message"], error.body


def bad_request():
    raises(anthropic.BadRequestError, lambda: client.messages.create(model=MODEL, max_tokens=-1, messages=HELLO))


def wrong_key():
    only_with_keys()
    stranger = anthropic.Anthropic(base_url=BASE_URL, api_key="wrong", max_retries=0)
    error = raises(anthropic.AuthenticationError, lambda: stranger.messages.create(model=MODEL, max_tokens=1, messages=HELLO))
    only_fairlane("answers 401 in plain text")
    same(error.body["type"], "error", "type of the body")
    same(error.body["error"]["type"], "authentication_error", "type of the error")


def timeout():
    raises(anthropic.APITimeoutError, lambda: client.with_options(timeout=0.05).messages.create(
        model=MODEL, max_tokens=4000, messages=HELLO, extra_body={"ignore_eos": True}))


def stream_left_early():
    with client.messages.stream(model=MODEL, max_tokens=4000, messages=HELLO) as stream:
        same(next(iter(stream)).type, "message_start", "first event")
    client.messages.create(model=MODEL, max_tokens=1, messages=HELLO)


main("anthropic-python", [
    message, message_stream, count_of_tokens, unknown_model, bad_request, wrong_key, timeout, stream_left_early,
])
