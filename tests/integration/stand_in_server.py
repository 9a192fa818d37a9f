"""Run as a program: answers as vLLM does, on the port that it is given, and notes what it got.

In: vLLM's arguments; the variable STAND_IN, a folder; its files, if there are any: `host`, an address to listen at
instead; `refused`, a path that is answered with an error. Out: in the folder `environment.json`, and `requests.jsonl`,
a line [path, authorization] for each request.
"""

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FOLDER = Path(os.environ["STAND_IN"])
ANSWERS = {
    "/v1/models": {"data": [{"id": "student", "max_model_len": 8192}]},
    "/reset_prefix_cache": {"success": True},
    "/v1/completions": {
        "choices": [
            {
                "index": 0,
                "text": "",
                "finish_reason": "stop",
                "token_ids": [2, 3],
                "logprobs": {"token_logprobs": [-0.5, -0.5]},
            }
        ],
        "usage": {"prompt_tokens": 2, "completion_tokens": 2},
    },
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        with (FOLDER / "requests.jsonl").open("a") as file:
            file.write(json.dumps([self.path, self.headers.get("authorization")]) + "\n")
        refused = FOLDER / "refused"
        is_refused = refused.exists() and refused.read_text() == self.path
        body = json.dumps({"message": "no such thing"} if is_refused else ANSWERS.get(self.path, {})).encode()
        self.send_response(400 if is_refused else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET


if __name__ == "__main__":
    (FOLDER / "environment.json").write_text(json.dumps(dict(os.environ)))
    print("my key:", os.environ.get("VLLM_API_KEY"), flush=True)
    given = dict(zip(sys.argv[1:], sys.argv[2:], strict=False))
    host = (FOLDER / "host").read_text() if (FOLDER / "host").exists() else given["--host"]
    if host != "nowhere":
        ThreadingHTTPServer((host, int(given["--port"])), Handler).serve_forever()
    time.sleep(600)
