"""What a step is: a frozen dataclass that turns input artifacts and params into one output artifact."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar, cast

from components.contract import manifest
from components.contract.artifacts import Artifact
from components.contract.workers import Workers

Output = TypeVar("Output", bound=Artifact)


@dataclasses.dataclass(frozen=True)
class Component(Generic[Output]):
    """A step of the pipeline, which doesn't know where it runs.

    A subclass is a frozen dataclass. Its fields are its input artifacts, then one `params` (a frozen
    dataclass of plain values); where a step needs a setting of another section, that is a plain field
    between them. What can't change the artifact at all, such as who watches the step, says so by
    `metadata={"key": False}`. Constructing it does no work and reads no file: a runner may hold it before its
    inputs exist.
    """

    name: ClassVar[str]
    """The step's name on the command line and in `run.json`."""
    version: ClassVar[str]
    """Raised whenever the same inputs and params would give another output."""
    output: ClassVar[type[Artifact]]
    """The class of the artifact that `run` fills."""
    scratch: ClassVar[str | None] = None
    """The name of what `run` keeps in its directory only to go on from: no part of the artifact, and removed once
    that is finished and on the disk."""

    takes_long: ClassVar[bool] = False
    """Whether a runner asks all later steps for their `preflight` again before this one, with the inputs that are there
    by now: nobody should train for a day and then learn that the corpus lacks a column."""

    varying: ClassVar[tuple[str, ...]] = ()
    """Names of what `run` makes that has times, speeds and the machine in it, and is otherwise a function of the key
    and of the other files: the digest leaves its bytes out, so that the same step run twice makes the same artifact."""

    @property
    def inputs(self) -> dict[str, Artifact]:
        """The input artifacts by field name."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in fields.items() if isinstance(value, Artifact)}

    @property
    def reads_outside(self) -> bool:
        """Whether something besides params and inputs decides what the step does: files, the Hub, what is served."""
        kind = type(self)
        return kind.sources is not Component.sources or kind.holds is not Component.holds

    @property
    def sources_read_inputs(self) -> bool:
        """Whether `sources` reads files of the inputs, and not only what their manifests and reports say."""
        return False

    @property
    def reads(self) -> Sequence[Path]:
        """Directories beside the inputs that `run` reads and other runs write, such as that of the pushed versions."""
        return ()

    @property
    def shares_work(self) -> bool:
        """Whether `run_with` may ask workers for help."""
        return type(self).run_with is not Component.run_with

    @property
    def writes(self) -> Sequence[Path]:
        """Directories outside its artifact in which `run` has effects."""
        return ()

    @property
    def settings(self) -> dict[str, Any]:
        """The fields that are no artifacts, by name: `params`, and what other sections lend.

        A field that can't change the output is left out: it says so by `metadata={"key": False}`.
        """
        fields = [field for field in dataclasses.fields(self) if field.metadata.get("key", True)]
        values = {field.name: getattr(self, field.name) for field in fields}
        return {name: value for name, value in values.items() if not isinstance(value, Artifact)}

    def at(self, path: Path | None) -> Output:
        """The output artifact as it stands, or will stand, at a path."""
        return cast(Output, self.output(path))

    def sources(self) -> Mapping[str, str]:
        """Digests or exact revisions of what the step reads from outside the pipeline, by name.

        Local source files, a Hub repository's commit. They are part of the step's key.

        Raises:
            PipelineError: If a source can't be found or reached.
        """
        return {}

    def preflight(self) -> None:
        """Refuses, before the first step runs, what is bound to fail in this one.

        Inputs that exist by then have a path. It is called again before a step that takes long, when there are more.

        Raises:
            PipelineError: With the rule, what was received and the way out.
        """

    def preflight_with(self, workers: Workers) -> None:
        """Refuses, when `preflight` does, workers that can't share this step's work.

        Raises:
            PipelineError: With the rule, what was received and the way out.
        """

    def cached_notice(self) -> str | None:
        """What the user is to know where a finished artifact takes the place of a run; None for nothing.

        It is shown beside the artifact's summary, and stands in the run's record.
        """
        return None

    def holds(self, artifact: Output) -> bool:
        """Whether a finished artifact of this step's key still stands for what the step does.

        True for every step without effects outside its artifact.
        """
        return True

    def resumes(self, partial: Path) -> str | None:
        """What a run of this step that was cut off left, if it is worth going on from.

        Such a directory is kept, and given to the next `run` of the same key.

        Args:
            partial: Where a run wrote, of this key or another.

        Returns:
            How far it came, in a few words, with what was set otherwise there; None where nothing is of use.
        """
        return None

    def run(self, out: Path) -> None:
        """Makes the output artifact's files.

        Args:
            out: An empty directory, or one of which `resumes` said that it is of use. The step writes nowhere else.

        Raises:
            PipelineError: If an input breaks a rule.
        """
        raise NotImplementedError

    def run_with(self, out: Path, workers: Workers) -> None:
        """Makes the same files as `run`, with the help of others where the step's work can be shared.

        Args:
            out: As for `run`, with a path that all workers see.
            workers: Who may be asked. A step without a way to share its work asks nobody.

        Raises:
            PipelineError: As `run` does.
        """
        self.run(out)

    def finish(self, out: Path, key: str, sources: Mapping[str, str]) -> None:
        """Writes the manifest into the directory that `run` filled, which makes it an artifact.

        Args:
            out: The directory.
            key: What `key` returned for the sources.
            sources: What `sources` returned before the step ran.
        """
        manifest.write(
            out,
            {
                "type": self.output.__name__,
                "component": self.name,
                "version": self.version,
                "key": key,
                **json.loads(manifest.canonical_json(self.settings)),
                "inputs": {name: artifact.digest for name, artifact in self.inputs.items()},
                "sources": dict(sources),
            },
            without=[] if self.scratch is None else [self.scratch],
            varying=self.varying,
        )

    def key(self, sources: Mapping[str, str]) -> str:
        """The step's identity: SHA-256 of its name, version, settings, input digests and sources.

        Args:
            sources: What `sources` returned.
        """
        return manifest.digest_of(
            {
                "component": self.name,
                "version": self.version,
                "settings": self.settings,
                "inputs": {name: artifact.digest for name, artifact in self.inputs.items()},
                "sources": dict(sources),
            }
        )
