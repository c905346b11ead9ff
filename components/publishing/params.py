"""The settings of a push: where the model goes, and under which name and license."""

import dataclasses
import math
import os
import re

from components.contract.push_record import PushedTo
from components.hub.access import HubTarget
from components.hub.identifiers import LANGUAGE, LICENSES, is_repository_id
from components.publishing.serving_directory import LEAST_VERSIONS, LOCK_TIMEOUT_SECONDS
from components.publishing.uploads_during_training import UploadsDuringTraining
from foundation.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class PushParams:
    """Where the model goes.

    Attributes:
        model_name: The model's name in its servers' URLs, and the name of its directory below `serving_dir`.
        serving_dir: The directory that servers read, with a directory for each model, and in it one for each version;
            inside the root unless absolute.
        hub_model_id: The model's repository on the Hub, `name` or `namespace/name`; null for no push to the Hub.
        hub_private_repo: Whether to make the repository private; null for the namespace's default.
        hub_overwrite: Whether to push into a repository that holds files that this pipeline didn't push.
        license: The Hub's identifier of the model's license, such as apache-2.0; a push to the Hub needs one.
        license_name: The license's name where license is other, as the Hub shows it, such as my-license-1.0.
        license_link: The address of its text, from https://; null for none.
        language: The language of the text, an ISO 639 code such as en; several are separated by commas.
        include_saved_model: Whether the SavedModel goes to the Hub too.
        corpus_text: Whether the model's page on the Hub, and the SavedModel there, may show the sentence of the test
            split that `export.example: null` chooses; otherwise the Hub gets no text of the corpus.
        include_tf_weights: Whether the Keras weights, tf_model.h5, go to the Hub beside model.safetensors, where
            the architecture has them.
        during_training: Whether each epoch's weights are uploaded to the Hub while the next one trains, before it is
            known whether the model is blessed.
        commit_message: The message of the commit on the Hub.
        dry_run: Whether to show what would be pushed (files, sizes and card), and to send and publish nothing.
        allow_unblessed: Whether to push although the evaluation didn't bless the model; its card says so.
        keep_versions: How many versions stay in the serving directory, the newest ones; null for all, else at least 2:
            the latest and the one before it, for a rollback. The last blessed version stays in any case.
        lock_timeout_seconds: How long to wait for another process that pushes to the same place; 0 for not at all.
    """

    model_name: str = "fill_mask"
    serving_dir: str = "serving"
    hub_model_id: str | None = None
    hub_private_repo: bool | None = None
    hub_overwrite: bool = False
    license: str | None = None
    license_name: str | None = None
    license_link: str | None = None
    language: str | None = None
    include_saved_model: bool = False
    corpus_text: bool = False
    include_tf_weights: bool = False
    during_training: bool = False
    commit_message: str = "End of training"
    dry_run: bool = False
    allow_unblessed: bool = False
    keep_versions: int | None = dataclasses.field(default=None, metadata={"key": False})
    lock_timeout_seconds: float = dataclasses.field(default=LOCK_TIMEOUT_SECONDS, metadata={"key": False})

    def __post_init__(self) -> None:
        # Servers take the name out of a URL up to the next slash or colon.
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", self.model_name):
            raise ConfigError(
                "push.model_name must consist of letters, digits, '_', '-' and '.', and start with neither '-' nor '.'",
                received=repr(self.model_name),
                remedy="choose another --push.model_name, such as fill_mask",
            )
        if not self.serving_dir.strip() or "\0" in self.serving_dir:
            raise ConfigError(
                "push.serving_dir must be a directory",
                received=repr(self.serving_dir),
                remedy="give --push.serving_dir DIR",
            )
        if self.keep_versions is not None and self.keep_versions < LEAST_VERSIONS:
            raise ConfigError(
                f"push.keep_versions must be at least {LEAST_VERSIONS}, so that the version before the latest stays",
                received=str(self.keep_versions),
                remedy=f"set --push.keep_versions {LEAST_VERSIONS}, or null to keep all",
            )
        if not 0 <= self.lock_timeout_seconds < math.inf:
            raise ConfigError(
                "push.lock_timeout_seconds must be 0 or more, and finite",
                received=str(self.lock_timeout_seconds),
                remedy="set --push.lock_timeout_seconds 600",
            )
        self._check_hub()

    def _check_hub(self) -> None:
        """Refuses settings that a push to the Hub can't work with. Without a repository none of them matters."""
        if self.hub_model_id is None:
            if self.during_training:
                raise ConfigError(
                    "push.hub_model_id must be set where push.during_training is true",
                    received="no push.hub_model_id",
                    remedy="set --push.hub_model_id, or leave out --push.during_training",
                )
            return
        if not is_repository_id(self.hub_model_id):
            raise ConfigError(
                "push.hub_model_id must be name or namespace/name, of letters, digits, '_', '-' and '.', up to 96 "
                "long, with neither '--' nor '..' in it, and must end in neither '-', '.' nor '.git'",
                received=repr(self.hub_model_id),
                remedy="correct --push.hub_model_id, for example to my-user/my-model",
            )
        if self.license is None or self.license not in LICENSES:
            raise ConfigError(
                "a model on the Hub must have a license, named by the Hub's identifier",
                received="no push.license" if self.license is None else f"push.license {self.license!r}",
                remedy="set --push.license, for example to apache-2.0 or mit, or to other for one of your own",
            )
        self._check_own_license()
        for language in self.languages:
            if not LANGUAGE.fullmatch(language):
                raise ConfigError(
                    "push.language must be an ISO 639 code, or several with a comma between",
                    received=repr(self.language),
                    remedy="set --push.language, for example to en or de,fr",
                )
        if not self.commit_message.strip():
            raise ConfigError(
                "push.commit_message must be a line of text",
                received=repr(self.commit_message),
                remedy="leave out --push.commit_message, or write something",
            )

    def _check_own_license(self) -> None:
        """Refuses a license that the Hub has no identifier of and nobody can find, and a name beside an identifier."""
        own = self.license == "other"
        if own and not (self.license_name or "").strip():
            raise ConfigError(
                "push.license_name must name the license where push.license is other",
                received="no push.license_name",
                remedy="set --push.license_name, for example to my-license-1.0, and --push.license_link to its text",
            )
        for name, value in (("license_name", self.license_name), ("license_link", self.license_link)):
            if value is not None and not own:
                raise ConfigError(
                    f"push.{name} must be left out unless push.license is other",
                    received=f"push.{name} {value!r} beside push.license {self.license!r}",
                    remedy=f"set --push.license other, or leave out --push.{name}",
                )
        if self.license_name is not None and not self.license_name.isprintable():
            raise ConfigError(
                "push.license_name must be one line of text",
                received=repr(self.license_name),
                remedy="set --push.license_name, for example to my-license-1.0",
            )
        if self.license_link is not None and not re.fullmatch(r"https?://[^\s/]+\S*", self.license_link):
            raise ConfigError(
                "push.license_link must be an address that begins with https://, or null",
                received=repr(self.license_link),
                remedy="set --push.license_link, for example to https://example.org/my-license.txt",
            )

    @property
    def languages(self) -> tuple[str, ...]:
        """The language codes, one by one."""
        return tuple(code.strip() for code in self.language.split(",")) if self.language else ()

    @property
    def pushed_to(self) -> PushedTo:
        """Where the model goes, and where the last blessed one is looked for; a dry run asks no Hub."""
        hub_model_id = None if self.dry_run else self.hub_model_id
        return PushedTo(os.path.join(self.serving_dir, self.model_name), hub_model_id)

    @property
    def hub_target(self) -> HubTarget | None:
        """The repository on the Hub that the model goes to; None for no push to the Hub."""
        if self.hub_model_id is None:
            return None
        return HubTarget(self.hub_model_id, self.hub_private_repo, self.hub_overwrite)

    @property
    def training_observer(self) -> UploadsDuringTraining | None:
        """The observer that uploads the model while it trains; None where nothing is uploaded."""
        target = self.hub_target
        if target is None or not self.during_training or self.dry_run:
            return None
        return UploadsDuringTraining(target, str(self.license), self.languages, self.license_name, self.license_link)
