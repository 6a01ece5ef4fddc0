"""Who writes to gs:// without credentials is told so at once; who reads may be anybody."""

from pathlib import Path

import pytest

from beam_pipeline import (
    build_dataset,
    export_dataset,
    extract_features,
    import_published,
    relabel,
    select_cells,
    verify,
)
from beam_pipeline.jobs.given_files import require_google_login
from beam_pipeline.jobs.runners import parse_flags
from beam_pipeline.runtime import storage_faults
from beam_pipeline.runtime.faults import InvalidInputError, TransientFault

auth = pytest.importorskip("google.auth", reason="needs apache-beam[gcp]")


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def default() -> None:
        raise auth.exceptions.DefaultCredentialsError(
            "Your default credentials were not found. See https://x"
        )

    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setattr(auth, "default", default)


COMMANDS = {
    "--output": (build_dataset.main, ["--area=6,49.6,6.1,49.7", "--osm=x.osm.pbf", "--output=gs://b/set"]),
    "--output ": (select_cells.main, ["--night_lights=x.tif", "--land_cover=l.tif", "--output=gs://b/set"]),
    "--output  ": (export_dataset.main, ["--dataset=here", "--format=card", "--output=gs://b/set"]),
    "--output   ": (import_published.main, ["--published=here", "--output=gs://b/set"]),
    "--output    ": (relabel.main, ["--dataset=here", "--output=gs://b/set"]),
    "--output     ": (extract_features.main, ["--cells=c.csv", "--osm=x.osm.pbf", "--output=gs://b/set"]),
    "--report": (verify.main, ["here", "--report=gs://b/set"]),
    "--report ": (verify.main, ["here", "--report=gs://b/set", "--runner=FnApiRunner"]),
}


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize("flag", COMMANDS)
def test_nobody_writes_to_gs(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    main, argv = COMMANDS[flag]
    assert main(argv) == 2
    (said,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert said == (
        f"error: {flag.strip()} cannot be written to: Google Cloud does not know who asks (Your default credentials "
        "were not found). Log in with: gcloud auth application-default login, or name the file of a key in "
        "GOOGLE_APPLICATION_CREDENTIALS. Received: gs://b/set"
    )


@pytest.mark.usefixtures("nobody")
def test_others_need_no_login(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    parser = verify.build_parser()
    parser.set_defaults(dry_run=False)
    anonymous, plain = (parse_flags(parser, ["x", *more])[1] for more in (["--no_auth"], []))
    require_google_login(anonymous, [("--output", "gs://b/set")])
    require_google_login(plain, [("--output", str(tmp_path)), ("--output", "s3://b/set"), ("--report", None)])
    with pytest.raises(InvalidInputError):
        require_google_login(plain, [("--output", "gs://b/set")])
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:1")
    require_google_login(plain, [("--output", "gs://b/set")])


def test_what_googles_client_gave_up_is_not_tried_again() -> None:
    from google.api_core.exceptions import RetryError

    calls = []

    def look() -> None:
        calls.append(1)
        with storage_faults.storage_faults("look for", "gs://b/x"):
            raise RetryError("Timeout of 120.0s exceeded", OSError("no network"))

    with pytest.raises(TransientFault, match="Timeout of 120"):
        storage_faults.with_retries(look)
    assert len(calls) == 1
