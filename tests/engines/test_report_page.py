"""The report in a real browser: Debian's Chromium draws it in both schemes, and asks nobody for anything."""

import http.server
import re
import shutil
import subprocess
import threading
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from matplotlib import image

from beam_pipeline.make_report import main
from tests.audit.audited import make_dataset

CHROMIUM = shutil.which("chromium")

OWN = re.compile(r"(google|googleapis|gvt1|gstatic)\.com(:443|/|$)")
"""Hosts that Chromium asks for itself, whatever the page."""

pytestmark = [
    pytest.mark.engines,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium"),
]


class Asked(http.server.BaseHTTPRequestHandler):
    """A proxy that only notes what it is asked for."""

    paths: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        if not OWN.search(self.path):
            self.paths.append(self.path)
        self.send_error(404)

    do_CONNECT = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page") / "set"
    make_dataset(folder)
    assert main([str(folder)]) == 0
    return folder / "report.html"


def screenshot(page: Path, folder: Path, scheme: str) -> np.ndarray:
    """(H, W, 3) of the page as Chromium draws it; its connections go through a proxy that notes them."""
    picture = folder / f"{scheme}.png"
    server = http.server.HTTPServer(("127.0.0.1", 0), Asked)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    dark = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    command = [
        *(str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        *("--hide-scrollbars", "--window-size=1100,9000", f"--user-data-dir={folder / scheme}", *dark),
        *(
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
        ),
        *(f"--proxy-server=127.0.0.1:{server.server_port}", "--proxy-bypass-list=<-loopback>"),
        *(f"--screenshot={picture}", page.as_uri()),
    ]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=180)
    finally:
        server.shutdown()
        server.server_close()
    return image.imread(picture)[..., :3]


def test_a_browser_draws_it_in_both_schemes_and_asks_nobody(page: Path, tmp_path: Path) -> None:
    control = tmp_path / "control.html"
    control.write_text('<img src="http://probe.test/a.png">')
    screenshot(control, tmp_path, "control")
    assert Asked.paths == ["http://probe.test/a.png"]
    Asked.paths.clear()
    light, dark = (screenshot(page, tmp_path, scheme) for scheme in ("light", "dark"))
    assert Asked.paths == []
    assert light[2, 2].tolist() == [1.0, 1.0, 1.0]
    assert dark[2, 2].max() < 0.15
    for picture in (light, dark):
        ground = picture[2, 2]
        # It is drawn far down, and no figure has a ground of its own as wide as the page.
        drawn = np.abs(picture - ground).max(axis=2) > 0.2
        assert drawn[6000:].any()
        assert 0.02 < drawn.mean() < 0.4
    # What is dark on the light page is light on the dark one: text and axes are seen on both.
    assert (light[:300].min(axis=2) < 0.3).any()
    assert (dark[:300].max(axis=2) > 0.7).any()
