"""Push: gives the model to its servers, as the next version of a base path, and to everyone, on the Hub."""

import dataclasses
import functools
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from components.contract import reports
from components.contract.artifacts import (
    Blocks,
    Checkpoint,
    Corpus,
    Evaluation,
    InfraBlessing,
    Pushed,
    ServingModel,
    Tokenizer,
)
from components.contract.component import Component
from components.contract.push_record import facts_of, identity_of
from components.evaluation.comparing import Judge, Overtaken, Verdict
from components.publishing.params import PushParams
from components.publishing.serving_directory import Publication, latest, publish
from foundation.errors import ArtifactError, ConfigError, HubError, ModelError
from foundation.terminal import TERMINAL

if TYPE_CHECKING:
    from components.hub.repository import HubRepository

MOST_VERDICTS = 5
"""A push that other pushes overtake so often gives up."""


@dataclasses.dataclass(frozen=True)
class Push(Component[Pushed]):
    """Publishes a model. It is the one step with effects outside its artifact.

    Pushing is idempotent: a model that is the latest version already makes no second one, and files that the
    Hub holds already make no second commit. A finished push means that *its model is the one served*, and the one on
    the Hub. So the step counts as finished only while that is true. It runs again when the version was removed or
    damaged, and when another model was pushed over it; then this model becomes a new version on top, and the other
    one stays for a rollback.

    A model that had to beat the last blessed one must beat the one that is the last when it is pushed. Where another
    was pushed since the evaluation, or the last one removed, the two are compared again on the same masks. That the
    comparison is still the right one is confirmed when nobody else can push any more: under the serving directory's
    lock, and, where the last blessed model is the Hub's, by a commit on top of the one that was looked at.

    Attributes:
        model: The model to push.
        blessing: The validation's result; only a model that it blesses is pushed.
        evaluation: The model's metrics and the evaluation's blessing.
        checkpoint: The weights that go to the Hub.
        tokenizer: The tokenizer of these weights.
        corpus: The records that the model was trained on, for its card and for comparing it again.
        blocks: The blocks of these records, for comparing it again.
        params: Where the model goes. A relative serving directory is below the root: what is below a root moves with
            it, and stays pushed.
        root: The pipeline root.
    """

    name: ClassVar[str] = "push"
    version: ClassVar[str] = "8"
    output: ClassVar[type[Pushed]] = Pushed

    model: ServingModel
    blessing: InfraBlessing
    evaluation: Evaluation
    checkpoint: Checkpoint
    tokenizer: Tokenizer
    corpus: Corpus
    blocks: Blocks
    params: PushParams
    root: str = dataclasses.field(default="", metadata={"key": False})

    @property
    def base_path(self) -> Path:
        """What TensorFlow Serving calls the model's base path, absolute."""
        return Path(self.params.pushed_to.below(self.root).base_path)

    @property
    def writes(self) -> Sequence[Path]:
        """The versions, to which it adds one."""
        return (self.base_path,)

    def preflight(self) -> None:
        """Refuses, before hours of training, a serving directory or a Hub repository that can't be written.

        Raises:
            ConfigError: If a file is in the way or permission is missing.
            HubError: If the token is missing or may not write, or the repository holds what this pipeline didn't push.
        """
        existing = next(path for path in (self.base_path, *self.base_path.parents) if os.path.lexists(path))
        if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
            raise ConfigError(
                "push.serving_dir must be a directory that can be written, or can be made",
                received=f"{existing}, which is {'not writable' if existing.is_dir() else 'not a directory'}",
                remedy="choose another --push.serving_dir",
            )
        if self.params.hub_target is not None and not self.params.dry_run:
            from components.hub.repository import PREFLIGHT_ATTEMPTS, HubRepository

            HubRepository(self.params.hub_target, attempts=PREFLIGHT_ATTEMPTS).check()

    def holds(self, artifact: Pushed) -> bool:
        """Whether the pushed version is still complete and the latest, and the Hub holds the same files.

        Where the Hub can't be reached, or there is no token, its files count as unchanged, and a line says so.
        """
        pushed = artifact.report
        if pushed.dry_run or latest(self.base_path, pushed.digest) is None:
            return False
        if self.params.hub_target is None:
            return True
        if pushed.hub is None:
            return False
        from components.hub.repository import HubRepository

        try:
            repository = HubRepository(self.params.hub_target, attempts=1)
            return repository.holds(artifact.directory / "hub", dict(pushed.hub.files))
        except HubError as error:
            tell_once(f"what the Hub holds is not checked, but taken for granted ({error.received.rstrip('.')})")
            return True

    def run(self, out: Path) -> None:
        """Publishes the model and writes `pushed.json`, and `hub/`, the folder that went to the Hub.

        Raises:
            ArtifactError: If the model isn't the one that was validated, or an artifact was changed since it was made.
            ModelError: If the model isn't blessed, or is no better than one that was pushed since its evaluation.
            PipelineError: If the serving directory can't be written.
            HubError: If the Hub refuses or stays out of reach. The same command then goes on from there.
        """
        if not self.evaluation.blessed and not self.params.allow_unblessed:
            during = self.params.training_observer
            stays = (
                f"; what was uploaded while it trained stays in {during.target.repo_id} on the Hub" if during else ""
            )
            raise ModelError(
                f"a model must be blessed to be pushed, and this one was kept{stays}",
                received=self.evaluation.verdict,
                remedy="train a better one, or push it all the same with --push.allow_unblessed true",
            )
        if not self.blessing.blesses(self.model):
            raise ArtifactError(
                "a model must be validated before it is pushed",
                received=f"{self.model.directory}, which isn't the one that {self.blessing.directory} tells of",
                remedy="validate it with --force validate",
            )
        repository = self._repository()
        pushed_to = self.params.pushed_to.below(self.root)
        judge = Judge(self.corpus, self.blocks, self.tokenizer, self.checkpoint, self.evaluation, pushed_to)
        for verdicts in range(1, MOST_VERDICTS + 1):
            try:
                verdict = judge.verdict(tell)
                self._require_blessed(verdict)
                shutil.rmtree(out / "hub", ignore_errors=True)
                hub_files = self._write_hub_folder(out / "hub", repository, verdict)
                if self.params.dry_run:
                    reports.write(out / "pushed.json", self._not_pushed(out, hub_files))
                    return
                publication, hub = self._publish(out / "hub", hub_files, repository, judge, verdict)
            except Overtaken:
                if verdicts == MOST_VERDICTS:
                    raise
            else:
                reports.write(out / "pushed.json", self._pushed(publication, hub, verdict))
                return

    def _require_blessed(self, verdict: Verdict) -> None:
        """Refuses a model that lost its blessing to one that was pushed after its evaluation."""
        if verdict.blessed or self.params.allow_unblessed:
            return
        raise ModelError(
            "a model must be better than the last blessed one to be pushed, and that is another one now than when this "
            "model was evaluated; this one was kept",
            received=f"not blessed: {verdict.sentence}",
            remedy="train a better one, or push it all the same with --push.allow_unblessed true",
        )

    def _publish(
        self,
        folder: Path,
        hub_files: dict[str, str],
        repository: "HubRepository | None",
        judge: Judge,
        verdict: Verdict,
    ) -> tuple[Publication, reports.HubPush | None]:
        """Makes the model the latest version, and what the Hub holds.

        Where the last blessed model is looked for on the Hub, the commit there decides, so it is made before a server
        can see the new version. Otherwise the version comes first, and the Hub follows.

        Raises:
            Overtaken: If the verdict doesn't hold any more. Nothing is published then.
        """
        saved_model = self.model.saved_model_directory
        prefix = saved_model.relative_to(self.model.directory).as_posix() + "/"
        sha256 = {
            name.removeprefix(prefix): file["sha256"]
            for name, file in self.model.manifest["files"].items()
            if name.startswith(prefix)
        }
        facts = {
            "model_name": self.params.model_name,
            **facts_of(self.checkpoint, verdict.blessed),
            "identity": identity_of(self.model, self.checkpoint),
        }

        @functools.cache
        def upload() -> reports.HubPush | None:
            return self._push_to_hub(folder, hub_files, repository, lambda: judge.confirm(verdict))

        def before_visible() -> None:
            if hub_decides:
                upload()

        hub_decides = verdict.binding and (verdict.baseline is None or verdict.baseline.saved_model is None)
        publication = publish(
            saved_model,
            self.base_path,
            self.model.digest,
            sha256,
            facts,
            confirm=lambda: judge.confirm(verdict),
            before_visible=before_visible,
            lock_timeout_seconds=self.params.lock_timeout_seconds,
            keep_versions=self.params.keep_versions,
            show=tell,
        )
        return publication, upload()

    def _pushed(self, publication: Publication, hub: reports.HubPush | None, verdict: Verdict) -> reports.PushReport:
        """The content of `pushed.json`, whose paths are relative to the root where `params.serving_dir` is."""
        base_path = self.params.pushed_to.base_path
        where = f"version {publication.version} in {base_path}"
        summary = f"{self.params.model_name} {where}" if publication.created else f"already {where}"
        if verdict.again:
            summary += f"; compared again: {verdict.sentence}"
        return reports.PushReport(
            model_name=self.params.model_name,
            serving_dir=self.params.serving_dir,
            base_path=base_path,
            version=publication.version,
            path=os.path.join(base_path, publication.path.name),
            digest=publication.digest,
            created=publication.created,
            blessed=verdict.blessed,
            compared_again=verdict.sentence if verdict.again else None,
            dry_run=False,
            hub=hub,
            summary=summary if hub is None else f"{summary}; {hub.url}",
        )

    def _repository(self) -> "HubRepository | None":
        """The repository that the model goes to; None for no push to the Hub, and for a dry run, which asks no Hub."""
        target = self.params.hub_target
        if target is None or self.params.dry_run:
            return None
        from components.hub.repository import HubRepository

        return HubRepository(target, show=tell, progress_bars=True)

    def _write_hub_folder(self, folder: Path, repository: "HubRepository | None", verdict: Verdict) -> dict[str, str]:
        """Writes the folder for the Hub, if the model goes there; returns its files' SHA-256 by path."""
        if self.params.hub_model_id is None:
            return {}
        from components.publishing.hub_folder import write_folder
        from components.publishing.model_card_sections import CardArtifacts, CardSettings

        settings = CardSettings(
            repo_id=self.params.hub_model_id if repository is None else repository.repo_id,
            license=str(self.params.license),
            license_name=self.params.license_name,
            license_link=self.params.license_link,
            languages=self.params.languages,
            model_name=self.params.model_name,
            include_saved_model=self.params.include_saved_model,
            include_tf_weights=self.params.include_tf_weights,
            corpus_text=self.params.corpus_text,
            not_blessed=None if verdict.blessed else f"not blessed: {verdict.sentence}",
        )
        artifacts = CardArtifacts(
            self.corpus, self.tokenizer, self.blocks, self.checkpoint, self.evaluation, self.model
        )
        return write_folder(folder, artifacts, settings)

    def _push_to_hub(
        self,
        folder: Path,
        files: dict[str, str],
        repository: "HubRepository | None",
        confirm: Callable[[], None],
    ) -> reports.HubPush | None:
        """Uploads the folder; what the Hub holds then, for `pushed.json`."""
        if repository is None:
            return None
        commit = repository.upload(folder, self.params.commit_message, confirm)
        return reports.HubPush(
            repo_id=commit.repo_id, commit=commit.commit, url=commit.url, created=commit.created, files=files
        )

    def _not_pushed(self, out: Path, hub_files: dict[str, str]) -> reports.PushReport:
        """The content of a dry run's `pushed.json`, with a page for people."""
        lines = [f"Nothing was pushed. The model would become the next version in {self.params.pushed_to.base_path}"]
        if hub_files:
            sizes = {name: (out / "hub" / name).stat().st_size for name in hub_files}
            lines.append(f"and {sum(sizes.values()):,} bytes would go to {self.params.hub_model_id} on the Hub:\n")
            lines += [f"{size:>14,}  {name}" for name, size in sizes.items()]
            lines.append("\n" + (out / "hub/README.md").read_text("utf-8"))
        hub = None
        if hub_files:
            hub = reports.HubPush(
                repo_id=str(self.params.hub_model_id), commit=None, url=None, created=None, files=hub_files
            )
        return reports.PushReport(
            model_name=self.params.model_name,
            serving_dir=None,
            base_path=self.params.pushed_to.base_path,
            version=None,
            path=None,
            digest=self.model.digest,
            created=None,
            blessed=None,
            compared_again=None,
            dry_run=True,
            hub=hub,
            summary="dry run: nothing was sent or published",
            page="\n".join(lines),
        )


def tell(line: str) -> None:
    """Shows a line that says why the step waits."""
    TERMINAL.tell(f"  push: {line}")


# A run asks twice whether a finished push holds: for its plan, and when it comes to it.
tell_once = functools.cache(tell)
