"""The server that a machine of Google Cloud asks for its account and tokens, on this machine.

Without it, Beam looks for an account for half a minute in each process.
"""

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator

_ACCOUNT = {"email": "worker@project.iam.gserviceaccount.com", "scopes": ["all"], "aliases": ["default"]}


class _Handler(http.server.BaseHTTPRequestHandler):
    server: "MetadataServer"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].rstrip("/")
        if path.endswith("/token"):
            self.server.tokens += 1
            body = json.dumps({"access_token": "token", "expires_in": 3600, "token_type": "Bearer"})
        elif "service-accounts" in path:
            body = json.dumps(_ACCOUNT)
        else:
            body = {"project-id": "project", "universe-domain": "googleapis.com"}.get(
                path.rpartition("/")[2], ""
            )
        content = body.encode()
        self.send_response(200)
        self.send_header("Metadata-Flavor", "Google")
        self.send_header("Content-Type", "application/json" if body.startswith("{") else "text/plain")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


class MetadataServer(http.server.ThreadingHTTPServer):
    """Answers on a free port of the loopback interface.

    Attributes:
        tokens: How many tokens were asked for; a process that uses the bucket asks for one.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.tokens = 0

    @property
    def environment(self) -> dict[str, str]:
        """Leads Google's clients to it."""
        address = f"127.0.0.1:{self.server_port}"
        return {"GCE_METADATA_HOST": address, "GCE_METADATA_IP": address}


@contextlib.contextmanager
def serving_metadata() -> Iterator[MetadataServer]:
    """Yields a running server."""
    with MetadataServer() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server
        server.shutdown()
