"""The upload to the Hub, through faults, to a real server on loopback."""

import shutil
import time
from pathlib import Path

import pytest

from components.hub.access import HubTarget
from components.hub.repository import HubRepository
from components.hub.seal import SEAL, seal, sealed_files
from foundation.errors import ArtifactError, HubError
from tests.loopback_hub.faults import Fault
from tests.loopback_hub.fixtures import TOKEN, running_hub  # noqa: F401 (a fixture)
from tests.loopback_hub.server import Account

LARGE_BYTES = 300_000


@pytest.fixture
def folder(tmp_path):
    """A sealed folder with a large file, a small one and one in a directory."""
    directory = tmp_path / "folder"
    (directory / "logs").mkdir(parents=True)
    (directory / "model.safetensors").write_bytes(bytes(range(256)) * (LARGE_BYTES // 256))
    (directory / "README.md").write_text("---\nlicense: mit\n---\n\n# A model\n")
    (directory / "logs/events.out.tfevents.1").write_bytes(b"\0events")
    seal(directory, {"stage": "trained"})
    return directory


def repository(repo_id="model", attempts=4, **target):
    return HubRepository(HubTarget(repo_id, **target), attempts=attempts, first_pause_seconds=0.05)


def upload(folder, **target):
    return repository(**target).upload(folder, "End of training")


def check_held(hub, folder, repo_id="ada/model"):
    """Every file of the folder is on the hub, byte for byte, and nothing else but what the Hub makes."""
    held = hub.repositories[repo_id].digests()
    held.pop(".gitattributes")
    from components.contract.manifest import digest_of_file

    assert held == {**sealed_files(folder), SEAL: digest_of_file(folder / SEAL)}


def test_one_commit_holds_every_file(hub, folder):
    done = upload(folder)
    check_held(hub, folder)
    assert done.created
    assert done.url == f"{hub.endpoint}/ada/model/tree/{done.commit}"
    assert hub.repositories["ada/model"].log()[0][0] == done.commit
    assert [subject for _, subject in hub.repositories["ada/model"].log()] == ["End of training", "initial commit"]


def test_the_same_folder_again_sends_nothing(hub, folder):
    first = upload(folder)
    hub.journal.clear()
    again = upload(folder)
    assert not again.created
    assert again.commit == first.commit
    assert hub.sent() == []


def test_a_folder_that_lost_a_file_takes_it_off_the_hub_and_leaves_those_of_others(hub, folder):
    upload(folder)
    hub.repositories["ada/model"].commit("mine", {"notes.txt": b"by hand"}, [])
    (folder / "logs/events.out.tfevents.1").unlink()
    (folder / SEAL).unlink()
    seal(folder, {})
    upload(folder)
    held = hub.repositories["ada/model"].files()
    assert "logs/events.out.tfevents.1" not in held
    assert "notes.txt" in held


@pytest.mark.parametrize(("private", "expected"), [(True, True), (False, False), (None, False)])
def test_private_and_public(hub, folder, private, expected):
    upload(folder, private=private)
    assert hub.repositories["ada/model"].private is expected


def test_an_organization(hub, folder):
    assert upload(folder, repo_id="lovelace/model").repo_id == "lovelace/model"
    check_held(hub, folder, "lovelace/model")


@pytest.mark.parametrize(
    "fault",
    [
        Fault("/commit/", status=500),
        Fault("/commit/", status=429, retry_after=0),
        Fault("/preupload/", status=503, times=2),
        Fault("objects/batch", status=502),
        Fault("/lfs/", "PUT", status=500),
        Fault("/lfs/", "PUT", cut_after=100_000),
        Fault("/commit/", cut_after=10),
        Fault("/repos/create", status=504),
        Fault("whoami", status=429, retry_after=0),
        Fault("/tree/", cut_after=0),
    ],
    ids=lambda fault: f"{fault.path} {fault.status or 'cut'}",
)
def test_faults_on_the_way_are_got_over(hub, folder, fault):
    hub.faults.add(fault)
    assert upload(folder).created
    check_held(hub, folder)
    assert fault.times == 0
    assert len(hub.repositories["ada/model"].log()) == 2


def test_a_pause_is_as_long_as_the_hub_asks(hub, folder):
    hub.faults.add(Fault("whoami", status=429, retry_after=1))
    started = time.monotonic()
    assert repository().repo_id == "ada/model"
    assert time.monotonic() - started >= 1


def test_an_interrupted_push_goes_on_where_it_stopped(hub, folder):
    hub.faults.add(Fault("/commit/", status=500, times=99))
    with pytest.raises(HubError, match="run the same command again"):
        upload(folder)
    hub.faults.clear()
    hub.journal.clear()
    upload(folder)
    check_held(hub, folder)
    assert hub.sent("^/lfs/") == []  # the large files were there already


def test_large_files_go_in_parts_and_only_a_lost_part_is_sent_again(hub, folder):
    hub.multipart_bytes = 100_000
    hub.faults.add(Fault(r"/lfs/\w+/2$", "PUT", cut_after=50_000))
    upload(folder)
    check_held(hub, folder)
    parts = [request.path.rpartition("/")[2] for request in hub.sent(r"^/lfs/\w+/\d+$")]
    assert sorted(parts) == ["1", "2", "2", "3"]


def test_what_the_hub_holds_is_compared_with_what_was_made(hub, folder, monkeypatch):
    """A hub that stores something else than what was sent."""
    from tests.loopback_hub.storage import Repository

    honest = Repository.commit

    def dishonest(self, message, files, deleted):
        return honest(self, message, {**files, "README.md": b"another"} if "README.md" in files else files, deleted)

    monkeypatch.setattr(Repository, "commit", dishonest)
    with pytest.raises(HubError, match=r"must hold what was pushed.*README.md"):
        upload(folder)


def test_an_answer_that_got_lost_makes_no_second_commit(hub, folder, monkeypatch):
    """The commit is made, but the connection breaks before the answer."""
    from tests.loopback_hub.handler import Handler

    honest = Handler.commit

    def cut_after_commit(self, **where):
        honest(self, **where)
        monkeypatch.setattr(Handler, "commit", honest)
        self.connection.close()
        raise ConnectionAbortedError

    monkeypatch.setattr(Handler, "commit", cut_after_commit)
    monkeypatch.setattr("socketserver.BaseServer.handle_error", lambda *arguments: None)
    upload(folder)
    check_held(hub, folder)
    assert len(hub.repositories["ada/model"].log()) == 2


def test_no_token(hub, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(HubError, match=r"HF_TOKEN.*hf auth login"):
        repository().check()
    assert hub.journal == []


def test_the_token_of_a_login_is_found(hub, monkeypatch, tmp_path):
    monkeypatch.delenv("HF_TOKEN")
    (tmp_path / "home").mkdir()
    (tmp_path / "home/token").write_text(TOKEN)
    repository().check()


@pytest.mark.parametrize(
    ("account", "repo_id", "message"),
    [
        (None, "model", "unknown, expired or revoked"),
        (Account("ada", role="read"), "model", "role read.*may not write to ada"),
        (Account("ada"), "charles/model", "organizations are none"),
        (Account("ada", organizations={"readers": "read"}), "readers/model", "may not write to readers"),
        (Account("ada", role="fineGrained", writable=("lovelace",)), "model", "may not write to ada"),
    ],
)
def test_a_token_that_can_not_push_is_refused_before_anything_is_sent(hub, folder, account, repo_id, message):
    hub.accounts.clear()
    if account is not None:
        hub.accounts[TOKEN] = account
    with pytest.raises(HubError, match=message) as refusal:
        repository(repo_id).check()
    with pytest.raises(HubError, match=message):
        upload(folder, repo_id=repo_id)
    assert hub.sent() == []
    assert TOKEN not in str(refusal.value)


def test_a_fine_grained_token_with_write_access(hub, folder):
    hub.accounts[TOKEN] = Account("ada", role="fineGrained", writable=("ada",))
    assert upload(folder).created


def test_permission_lost_while_uploading(hub, folder):
    hub.faults.add(Fault("/commit/", status=403, times=99))
    with pytest.raises(HubError, match="write permission is missing"):
        upload(folder)
    assert len([request for request in hub.journal if "/commit/" in request.path]) == 1


def test_a_name_that_holds_somebody_elses_model(hub, folder):
    hub.create("ada/model").commit("theirs", {"config.json": b"{}", "notes.txt": b"precious"}, [])
    for attempt in (repository().check, lambda: upload(folder)):
        with pytest.raises(HubError, match=r"config.json.*--push.hub_overwrite true"):
            attempt()
    assert hub.sent() == []
    upload(folder, overwrite=True)
    assert hub.repositories["ada/model"].read("notes.txt") == b"precious"


def test_a_repository_fresh_from_the_web_page_is_fine(hub, folder):
    hub.create("ada/model").commit("page", {"README.md": b"---\nlicense: mit\n---\n"}, [])
    repository().check()
    upload(folder)
    check_held(hub, folder)


def test_private_is_never_public(hub, folder):
    hub.create("ada/model", private=False)
    with pytest.raises(HubError, match="exists and is public"):
        repository(private=True).check()
    with pytest.raises(HubError, match="exists and is public"):
        upload(folder, private=True)
    assert hub.sent() == []


def test_a_folder_that_is_not_ours(hub, tmp_path, folder):
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    (stranger / "secrets.txt").write_text("x")
    with pytest.raises(ArtifactError, match="must be one that this pipeline made"):
        upload(stranger)
    added = shutil.copytree(folder, tmp_path / "added")
    (Path(added) / "secrets.txt").write_text("x")
    changed = shutil.copytree(folder, tmp_path / "changed")
    (Path(changed) / "README.md").write_text("x")
    for other, name in ((added, "secrets.txt"), (changed, "README.md")):
        with pytest.raises(ArtifactError, match=name):
            upload(Path(other))
    assert hub.sent() == []


def test_a_card_that_the_hub_refuses_is_told_in_its_words(hub, folder):
    (folder / "README.md").write_text("---\nlicense: my-own\n---\n")
    (folder / SEAL).unlink()
    seal(folder, {})
    with pytest.raises(HubError, match='"license" must be one of'):
        upload(folder)
    assert hub.sent("commit|lfs") == []


def test_no_hub_at_all(hub, folder, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubError, match="can't be reached"):
        repository(attempts=2).check()


def test_offline(hub, folder, monkeypatch):
    from huggingface_hub import constants
    from huggingface_hub.utils import reset_sessions

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    reset_sessions()
    with pytest.raises(HubError, match="HF_HUB_OFFLINE"):
        repository().check()


def test_another_commit_at_the_same_time_is_not_overwritten_unseen(hub, folder, monkeypatch):
    """Somebody commits between our look and our commit: we look again, and both stand."""
    from tests.loopback_hub.handler import Handler

    honest = Handler.preupload

    def meanwhile(self, **where):
        monkeypatch.setattr(Handler, "preupload", honest)
        hub.repositories["ada/model"].commit("theirs", {"notes.txt": b"precious"}, [])
        return honest(self, **where)

    upload(folder)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n\n# Another\n")
    (folder / SEAL).unlink()
    seal(folder, {})
    monkeypatch.setattr(Handler, "preupload", meanwhile)
    upload(folder)
    repo = hub.repositories["ada/model"]
    assert repo.read("notes.txt") == b"precious"
    assert b"Another" in repo.read("README.md")


def test_only_the_very_files_count_as_held(hub, folder):
    upload(folder)
    files = sealed_files(folder)
    assert repository().holds(folder, files)
    held = hub.repositories["ada/model"]
    seal_of_others = (folder / SEAL).read_bytes().replace(b"trained", b"another")
    for name, content in (("model.safetensors", b"another"), (SEAL, seal_of_others)):
        held.commit("by hand", {name: content}, [])
        assert not repository().holds(folder, files)
        upload(folder)
        assert repository().holds(folder, files)
    held.commit("a card edited on the Hub's page", {"README.md": b"another"}, [])
    assert repository().holds(folder, files)
    held.commit("by hand", {}, ["model.safetensors"])
    assert not repository().holds(folder, files)
