"""What a test needs to reach the test hub from its own process."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants, file_download
from huggingface_hub.utils import reset_sessions

from tests.loopback_hub.server import Account, Hub, serve

TOKEN = "hf_QwErTyUiOpAsDfGhJkLzXcVbNm"


@pytest.fixture(name="hub")
def running_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that knows the user `ada` with a write token, who is logged in here by the environment."""
    with serve(tmp_path / "hub") as running:
        running.accounts[TOKEN] = Account("ada", organizations={"lovelace": "write", "readers": "read"})
        for name, value in environment(running, tmp_path).items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        # The library reads its environment once, on import; other tests of this process want it offline.
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", running.endpoint)
        # Made of the endpoint, and imported by value: it would name the real Hub, unless this test is the first.
        template = running.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(file_download, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home/hub"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "home/token"))
        reset_sessions()
        yield running
    reset_sessions()


def environment(hub: Hub, directory: Path) -> dict[str, str]:
    """The environment of a process that reaches the hub, with its home below a directory."""
    return {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN, "HF_HOME": str(directory / "home")}
