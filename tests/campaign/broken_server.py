"""A broken server in the place of MLflow's: python -m tests.campaign.broken_server MODE PORT FOLDER."""

from __future__ import annotations

import http.server
import json
import sys
import time

#: What a server answers: a status, headers, and a body.
ANSWERS: dict[str, tuple[int, dict[str, str], bytes]] = {
    "500": (500, {}, b"boom"),
    "404": (404, {}, b""),
    "401": (401, {"WWW-Authenticate": "Basic"}, b""),
    "a page": (200, {"Content-Type": "text/html"}, b"<html>hello"),
    "429": (429, {}, b""),
    "429, retry after an hour": (429, {"Retry-After": "3600"}, b""),
    "503, retry after an hour": (503, {"Retry-After": "3600"}, b""),
    "nothing": (200, {}, b""),
    "null": (200, {"Content-Type": "application/json"}, b"null"),
    "a list": (200, {"Content-Type": "application/json"}, b"[]"),
    "an empty object": (200, {"Content-Type": "application/json"}, b"{}"),
    "deep JSON": (200, {"Content-Type": "application/json"}, b"[" * 100_000),
}
#: Modes that need more than an answer.
OTHERS = ("a redirect to itself", "one byte a second", "silence after health", "a reset", "paths outside")


class Broken(http.server.BaseHTTPRequestHandler):
    """Answers every request in the same way."""

    mode = ""
    #: Where it says that artifacts belong.
    outside = ""

    def do_GET(self) -> None:
        """Answer as the mode says."""
        if "health" in self.path and self.mode in ("silence after health", "paths outside"):
            return self._answer(200, {}, b"OK")
        if self.mode in ANSWERS:
            return self._answer(*ANSWERS[self.mode])
        if self.mode == "a redirect to itself":
            return self._answer(302, {"Location": self.path}, b"")
        if self.mode == "one byte a second":
            self.send_response(200)
            self.end_headers()
            for _ in range(600):
                self.wfile.write(b" ")
                self.wfile.flush()
                time.sleep(1)
        elif self.mode == "silence after health":
            time.sleep(600)
        elif self.mode == "paths outside":
            return self._answer(
                200, {"Content-Type": "application/json"}, json.dumps(_outside(self.outside)).encode()
            )
        return None

    do_POST = do_PUT = do_PATCH = do_GET  # noqa: N815

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


def _outside(folder: str) -> dict[str, object]:
    """Return an answer to any request, whose ids and addresses point outside the user's folder."""
    info = {"run_id": "../../ESCAPED", "run_uuid": "../../ESCAPED", "run_name": "x", "status": "RUNNING"}
    info |= {
        "experiment_id": "../../ESCAPED",
        "artifact_uri": f"file://{folder}/ESCAPED",
        "lifecycle_stage": "active",
    }
    experiment = {"experiment_id": "../../ESCAPED", "name": "backproof", "lifecycle_stage": "active"}
    experiment["artifact_location"] = f"file://{folder}/ESCAPED"
    return {"experiment": experiment, "experiment_id": "../../ESCAPED", "run": {"info": info, "data": {}}}


def main(mode: str, port: int, outside: str) -> None:
    """Serve until the process is killed."""
    Broken.mode, Broken.outside = mode, outside
    if mode == "a reset":
        Broken.do_GET = Broken.do_POST = lambda self: self.connection.close()  # type: ignore[method-assign]
    http.server.ThreadingHTTPServer(("127.0.0.1", port), Broken).serve_forever()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
