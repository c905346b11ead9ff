"""Pushes a folder to a Hub repository by git and git-lfs, without a token in any file or URL."""

import os
import shutil
import subprocess
from pathlib import Path

from components.hub.repository import HubCommit, HubRepository
from components.hub.seal import SEAL, parse_seal, sealed_files
from foundation.errors import HubError

GIT_SECONDS = 3600
TOKEN_VARIABLE = "HUB_PUSH_TOKEN"
CREDENTIAL_HELPER = f'!f() {{ test "$1" = get && echo username=user && echo "password=${TOKEN_VARIABLE}"; }}; f'
"""Gives git the token out of its own process' environment."""


def has_git_lfs() -> bool:
    """Whether git and git-lfs are installed."""
    try:
        return subprocess.run(["git", "lfs", "version"], capture_output=True, timeout=30).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


class GitUploads:
    """A clone of a Hub repository, from which folders are pushed.

    Args:
        repository: The repository, which is made over HTTP if there is none.
        clone: Where the clone goes; made anew.
    """

    def __init__(self, repository: HubRepository, clone: Path) -> None:
        self.repository = repository
        self.clone = clone

    def upload(self, folder: Path, message: str) -> HubCommit:
        """Makes the repository hold a sealed folder, by one pushed commit, and compares the digests of all files.

        Files of an earlier push that the folder lacks are removed; those of others stay.

        Raises:
            ArtifactError: If the folder isn't sealed.
            HubError: If git fails, or the Hub refuses.
        """
        files = sealed_files(folder)
        self.repository.create()
        if not (self.clone / ".git").is_dir():
            self._clone()
        self._git("fetch", "origin")
        self._git("reset", "--hard", "origin/main")
        seal = self.clone / SEAL
        ours = parse_seal(seal.read_bytes()) if seal.is_file() else None
        held = self._git("ls-files", "-z").split("\0")
        for path in ours or {}:
            if path in held and path not in files:  # a seal from the Hub may name any path, also one outside
                (self.clone / path).unlink()
        for path in [*files, SEAL]:
            (self.clone / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / path, self.clone / path)
        self._git("add", "--all")
        changed = self._git("diff", "--cached", "--name-only").splitlines()
        if changed:
            self._git("commit", "--quiet", "--message", message)
            self._git("push", "origin", "HEAD:main")
        commit = self._git("rev-parse", "HEAD").strip()
        return self.repository.verify(folder, commit, created=bool(changed), sent=tuple(changed))

    def _clone(self) -> None:
        shutil.rmtree(self.clone, ignore_errors=True)
        self.clone.parent.mkdir(parents=True, exist_ok=True)
        url = f"{self.repository.api.endpoint}/{self.repository.repo_id}"
        self._git("clone", "--quiet", "--depth", "1", url, str(self.clone), inside=False)
        self._git("lfs", "install", "--local")
        self._git("config", "user.name", "masked-lm-pipeline")
        self._git("config", "user.email", "masked-lm-pipeline@localhost")

    def _git(self, *arguments: str, inside: bool = True) -> str:
        """Runs git with the token in its environment; its output.

        Raises:
            HubError: If it fails.
        """
        command = ["git", "-c", "credential.helper=", "-c", f"credential.helper={CREDENTIAL_HELPER}", *arguments]
        environment = {
            **os.environ,
            TOKEN_VARIABLE: str(self.repository.api.token),
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_LFS_SKIP_SMUDGE": "1",
        }
        try:
            done = subprocess.run(
                command,
                cwd=self.clone if inside else None,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=GIT_SECONDS,
            )
            failure = done.stderr.strip()[-300:] if done.returncode else None
        except (OSError, subprocess.TimeoutExpired) as error:
            failure = type(error).__name__
        if failure is not None:
            raise HubError(
                "git pushes to the Hub",
                received=f"git {arguments[0]} failed for {self.repository.target.repo_id!r}: {failure}",
                remedy="nothing: the upload is tried again, and goes over HTTP if git goes on failing",
            )
        return done.stdout
