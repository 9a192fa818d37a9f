"""What providers say when they do not answer, and what it calls for."""

import json

import pytest

from turnmix.policies.endpoint.sorting import remedy_for, said_status

TOO_LONG = {
    "openai": (400, "This model's maximum context length is 4096 tokens. However, your messages resulted in 5000."),
    "openai code": (400, "context_length_exceeded"),
    "openai string": (400, "Input tokens exceed the configured limit of 272000 tokens. Please reduce the length of"),
    "openai tpm": (429, "Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 34567."),
    "github": (413, "Request body too large for gpt-4o model. Max size: 8000 tokens. tokens_limit_reached"),
    "copilot": (400, "prompt token count of 70000 exceeds the limit of 64000"),
    "gemini": (400, "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."),
    "xai": (400, "This model's maximum prompt length is 131072 but the request contains 140000 tokens."),
    "anthropic": (400, "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000"),
    "anthropic prompt": (400, "prompt is too long: 210000 tokens > 200000 maximum"),
    "bedrock": (400, "Input is too long for requested model."),
    "bedrock nova": (400, "Input Tokens Exceeded: Number of input tokens exceeds maximum length."),
    "moonshot": (400, "Invalid request: Your request exceeded model token limit: 131072"),
    "tgi": (422, "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4097. Given: 4000 `inputs`"),
    "tgi inputs": (422, "Input validation error: `inputs` must have less than 4096 tokens. Given: 5000"),
    "dashscope": (400, "Range of input length should be [1, 98304]"),
    "vllm prompt": (400, "The decoder prompt (length 5000) is longer than the maximum model length of 4096."),
    "vllm rest": (400, "max_tokens must be at least 1, got -904."),
    "sglang": (400, "The input (5000 tokens) is longer than the model's context length (4096 tokens)."),
    "sglang length": (400, "Input length (5000 tokens) exceeds the maximum allowed length (4096 tokens)."),
    "sglang total": (400, "Requested token count exceeds the model's maximum context length of 4096 tokens."),
    "llama.cpp": (400, "the request exceeds the available context size. exceed_context_size_error"),
    "llama.cpp old": (500, "input is too large to process. increase the physical batch size"),
    "ollama": (400, "prompt too long; exceeded max context length by 904 tokens"),
    "ollama embed": (500, "the input length exceeds the context length"),
    "mistral": (400, "Prompt contains 40000 tokens, too large for model with 32768 maximum context length"),
    "cohere": (400, "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 5000."),
    "deepinfra": (400, "Requested input length 5000 exceeds maximum input length 4096"),
    "cerebras": (400, "Please reduce the length of the messages or completion. Current length is 9000"),
    "watsonx": (400, "the number of input tokens 9000 cannot exceed the total tokens limit 8192 for this model"),
    "tensorrt": (400, "Prompt length (5000) exceeds maximum input length (4096)."),
    "lm studio": (400, "the model is loaded with context length of only 4096 tokens"),
    "zhipu": (400, "Prompt 超长"),
    "llama.cpp shift": (500, "context shift is disabled"),
    "tensorrt sequence": (400, "The sequence length 5000 exceeds the model's maximum 4096"),
    "vllm old": (400, "prompt_tokens (9000) > max_seq_len (8192)"),
    "zhipu images": (400, "Total tokens of image and text exceed max message tokens"),
    "gateway": (400, "Token limit exceeded: 9000 > 8192"),
    "axum": (400, "Failed to buffer the request body: length limit exceeded"),
    "nginx": (413, "<html><h1>413 Request Entity Too Large</h1></html>"),
}  # fmt: skip
SETTINGS = {
    "max_tokens": (
        400,
        "max_tokens is too large: 40960. This model supports at most 16384 completion tokens",
    ),
    "prefixed": (400, "Invalid request: max_tokens is too large"),
    "temperature": (400, "Invalid input: temperature is too large: 3 > 2"),
    "tgi new tokens": (422, "Input validation error: `max_new_tokens` must be <= 512. Given: 4096"),
    "template": (400, "Conversation roles must alternate user/assistant"),
    "unsupported": (400, "Unsupported parameter: 'max_tokens' is not supported with this model."),
}


@pytest.mark.parametrize("provider", TOO_LONG)
def test_too_long_is_read_in_every_providers_words(provider):
    assert remedy_for(*TOO_LONG[provider]) == "context"


@pytest.mark.parametrize("mistake", SETTINGS)
def test_a_setting_that_is_refused_is_no_long_conversation(mistake):
    assert remedy_for(*SETTINGS[mistake]) == "state"


@pytest.mark.parametrize(
    ("status", "said", "remedy"),
    [
        (429, "Rate limit reached: 10 requests per minute", "wait"),
        (429, "Input tokens per minute limit exceeded: 100000", "wait"),
        (429, "insufficient_quota", "user"),
        (498, "Flex tier capacity exceeded", "wait"),
        (529, "overloaded_error", "wait"),
        (503, "The model is overloaded. Please try again later.", "wait"),
        (503, "Loading model", "retry"),
        (499, "The operation was cancelled", "retry"),
        (424, "Request failed during generation", "retry"),
        (404, "no available server", "address"),
        (308, "", "address"),
        (402, "Insufficient Balance", "user"),
        (400, "Your credit balance is too low to access the API", "user"),
        (401, "invalid key", "user"),
        (400, "API key not valid. Please pass a valid API key.", "user"),
        (400, "API key expired. Please renew the API key.", "user"),
        (400, "Invalid schema for function 'open': 'key' is not valid", "state"),
        (429, "Token limit exceeded: 30000 tokens per minute", "wait"),
        (403, "flagged by moderation", "state"),
    ],
)
def test_other_statuses_are_sorted_by_who_can_do_something(status, said, remedy):
    assert remedy_for(status, said) == remedy


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"error": {"code": 400, "message": "maximum context length is 4096 tokens"}}, 400),
        ({"error": {"code": "context_length_exceeded", "message": "too long"}}, 400),
        ({"error": {"code": "rate_limit_exceeded", "message": "slow down"}}, 429),
        ({"error": {"message": "Invalid API key", "code": 401}}, 401),
        ({"error": {"message": "Incorrect API key provided", "type": "invalid_request_error"}}, 401),
        ({"error": "Unexpected endpoint or method. (POST /chat/completions)"}, 404),
        (
            {
                "object": "error",
                "message": "The model `m` does not exist.",
                "type": "NotFoundError",
                "code": 404,
            },
            404,
        ),
        ([{"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}], 503),
        ({"error": {"message": "Provider returned error", "code": "overloaded"}}, 503),
        ({"base_resp": {"status_code": 1004, "status_msg": "login fail: invalid api key"}}, 401),
        (
            {"choices": [{"message": {}, "finish_reason": "error", "error": {"code": 502, "message": "x"}}]},
            502,
        ),
        ({"error": {"message": "something odd"}}, 500),
        ({"detail": "Not authenticated"}, 401),
        ({"message": "Too many requests"}, 429),
        ({"statusCode": 429, "message": "Slow down. Try again in 20 seconds."}, 429),
        ({"code": "InvalidApiKey", "message": "Invalid API-key provided."}, 401),
        ({"code": "Throttling.RateQuota", "message": "Requests too frequent"}, 429),
        ({"success": False, "message": "Service busy"}, 500),
        ({"fault": {"faultstring": "Rate limit quota violation"}}, 429),
        ({"error": {}, "choices": [{"message": {"content": "hi"}}]}, None),
        ({"choices": [{"message": {"content": "hi"}}], "message": "ok"}, None),
        ({"error": None, "choices": [{"message": {"content": "hi"}}]}, None),
        ({"choices": [{"message": {"content": 'the "error" in line 3'}}]}, None),
    ],
)
def test_an_error_that_comes_as_http_200_has_the_status_that_its_code_says(body, status):
    assert said_status(json.dumps(body).encode()) == status
