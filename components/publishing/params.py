"""Where a model is pushed to, and as what."""

import dataclasses
import os
import re

from components.contract.push_record import PushedTo
from components.hub.access import HubTarget
from components.hub.licenses import LICENSES
from components.publishing.uploads_during_training import UploadsDuringTraining
from foundation.errors import ConfigError

REPO_ID = re.compile(r"([A-Za-z0-9][\w.-]*/)?[A-Za-z0-9_][\w.-]{0,95}", re.ASCII)
LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*|code|multilingual")


@dataclasses.dataclass(frozen=True)
class PushParams:
    """Where the model goes.

    Attributes:
        model_name: The model's name in its servers' URLs, and of its directory below `serving_dir`.
        serving_dir: Holds a directory a model, each with a directory a version; inside the root unless absolute.
        hub_model_id: The model's repository on the Hub, `name` or `namespace/name`; null for no push to the Hub.
        hub_private_repo: Whether to make the repository private; null for the namespace's default.
        hub_overwrite: Whether to push into a repository that holds what this pipeline didn't push.
        license: The Hub's identifier of the model's license, such as apache-2.0; a push to the Hub needs one.
        language: The text's language, an ISO 639 code such as en; several with a comma between.
        include_saved_model: Whether the SavedModel goes to the Hub too.
        include_tf_weights: Whether the Keras weights, tf_model.h5, go to the Hub beside model.safetensors.
        during_training: Whether each epoch's weights are uploaded to the Hub while the next one trains, before it is
            known whether the model is blessed.
        commit_message: Message of the Hub's commit.
        dry_run: Show what would be pushed, files, sizes and card, and send and publish nothing.
        allow_unblessed: Push although the evaluation didn't bless the model; its card says so.
    """

    model_name: str = "fill_mask"
    serving_dir: str = "serving"
    hub_model_id: str | None = None
    hub_private_repo: bool | None = None
    hub_overwrite: bool = False
    license: str | None = None
    language: str | None = None
    include_saved_model: bool = False
    include_tf_weights: bool = False
    during_training: bool = False
    commit_message: str = "End of training"
    dry_run: bool = False
    allow_unblessed: bool = False

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
        self._check_hub()

    def _check_hub(self) -> None:
        """Refuses what no push to the Hub can work with; without a repository nothing of it matters."""
        repo_id = self.hub_model_id
        if repo_id is None:
            if self.during_training:
                raise ConfigError(
                    "push.during_training must be set only with push.hub_model_id, which it uploads to",
                    received="no push.hub_model_id",
                    remedy="set --push.hub_model_id, or leave out --push.during_training",
                )
            return
        name = repo_id.rpartition("/")[2]
        wrong_end = name[-1:] in ("-", ".") or name.endswith(".git")
        if not REPO_ID.fullmatch(repo_id) or "--" in repo_id or ".." in repo_id or wrong_end:
            raise ConfigError(
                "push.hub_model_id must be name or namespace/name, of letters, digits, '_', '-' and '.', up to 96 "
                "long, with neither '--' nor '..' in it, and must end in neither '-', '.' nor '.git'",
                received=repr(repo_id),
                remedy="correct --push.hub_model_id, for example to my-user/my-model",
            )
        if self.license is None or self.license not in LICENSES:
            raise ConfigError(
                "a model on the Hub must have a license, named by the Hub's identifier",
                received="no push.license" if self.license is None else f"push.license {self.license!r}",
                remedy="set --push.license, for example to apache-2.0 or mit, or to other for one of your own",
            )
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

    @property
    def languages(self) -> tuple[str, ...]:
        """The language codes, one by one."""
        return tuple(code.strip() for code in self.language.split(",")) if self.language else ()

    @property
    def pushed_to(self) -> PushedTo:
        """Where the model goes, and where the last blessed one is looked for; a dry run looks at no Hub."""
        hub_model_id = None if self.dry_run else self.hub_model_id
        return PushedTo(os.path.join(os.path.abspath(self.serving_dir), self.model_name), hub_model_id)

    @property
    def hub_target(self) -> HubTarget | None:
        """Where on the Hub the model goes; None for nowhere."""
        if self.hub_model_id is None:
            return None
        return HubTarget(self.hub_model_id, self.hub_private_repo, self.hub_overwrite)

    @property
    def training_observer(self) -> UploadsDuringTraining | None:
        """The observer that uploads the model while it trains; None where nothing is uploaded."""
        target = self.hub_target
        if target is None or not self.during_training or self.dry_run:
            return None
        return UploadsDuringTraining(target, str(self.license), self.languages)
