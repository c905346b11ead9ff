"""The card of a pushed model: the metadata that the Hub reads, and the page that people read."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from components.contract.artifacts import ServingModel
from components.hub.identifiers import LANGUAGE, LICENSES
from components.publishing import model_card_findings as findings
from components.publishing import model_card_sections as sections
from components.publishing.model_card_sections import CardArtifacts, CardSettings, dataset_name, hub_dataset, is_hub_id
from components.publishing.model_card_settings import configuration
from foundation.errors import HubError

if TYPE_CHECKING:
    from huggingface_hub import ModelCardData


def model_card(artifacts: CardArtifacts, settings: CardSettings) -> str:
    """The text of README.md: metadata as YAML, then the page.

    Raises:
        HubError: If the metadata aren't what the Hub accepts.
    """
    mask = artifacts.model.report.mask_token
    example = example_sentence(artifacts.model, settings)
    data = card_data(artifacts, settings, mask, example)
    page = [
        sections.introduction(artifacts, settings),
        findings.evaluation(artifacts, settings),
        findings.samples(artifacts, settings),
        findings.limits(artifacts, settings),
        sections.usage(artifacts, settings, example),
        sections.training_data(artifacts),
        sections.training(artifacts, configuration(artifacts)),
        sections.provenance(artifacts),
    ]
    text = f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(filter(None, page)) + "\n"
    validate(text)
    return text


def progress_card(
    repo_id: str,
    license: str,
    languages: Sequence[str],
    trained: bool,
    license_name: str | None = None,
    license_link: str | None = None,
) -> str:
    """README.md of a model that is in training, or trained but not evaluated yet."""
    from huggingface_hub import ModelCardData

    data = ModelCardData(
        license=license,
        license_name=license_name,
        license_link=license_link,
        language=list(languages) or None,
        library_name="transformers",
        pipeline_tag="fill-mask",
        tags=["fill-mask", "masked-lm"],
    )
    name = repo_id.rpartition("/")[2]
    text = f"---\n{data.to_yaml()}\n---\n\n# {name}\n\nThis masked language model is "
    text += f"{'trained' if trained else 'in training'} and not evaluated yet. Only a card with an evaluation "
    text += "in this one's place means that the model was accepted.\n"
    validate(text)
    return text


def validate(text: str) -> None:
    """Refuses a card whose metadata the Hub wouldn't accept or show.

    Raises:
        HubError: If the license or a language is none, a license of one's own has no name, the pipeline's tag is
            missing, or the results of the evaluation don't survive being read back.
    """
    from huggingface_hub import ModelCard

    try:
        data: Any = ModelCard(text).data
        results = data.eval_results or []
    except (ValueError, TypeError, KeyError) as error:
        raise _invalid(str(error)) from error
    languages = [data.language] if isinstance(data.language, str) else list(data.language or ())
    unnamed = data.license == "other" and not data.to_dict().get("license_name")
    wrong = [language for language in languages if not LANGUAGE.fullmatch(language)]
    if data.license not in LICENSES:
        raise _invalid(f"the license {data.license!r}")
    if unnamed:
        raise _invalid("the license 'other' without a license_name")
    if wrong:
        raise _invalid(f"the language {wrong[0]!r}")
    if data.pipeline_tag != "fill-mask":
        raise _invalid(f"the pipeline_tag {data.pipeline_tag!r}")
    if any(not isinstance(result.metric_value, (int, float)) for result in results):
        raise _invalid("a result that is no number")


def card_data(artifacts: CardArtifacts, settings: CardSettings, mask: str, example: str) -> "ModelCardData":
    """The metadata of the card."""
    from huggingface_hub import EvalResult, ModelCardData

    metrics, how = artifacts.evaluation.metrics, artifacts.evaluation.report.how
    dataset = hub_dataset(artifacts)
    results = [
        EvalResult(
            task_type="fill-mask",
            task_name="Masked language modeling",
            dataset_type=dataset or "custom",
            dataset_name=dataset_name(artifacts),
            dataset_split=how.split,
            metric_type=kind,
            metric_name=f"{name} ({how.eval_mlm_probability:.0%} masked)",
            metric_value=metrics[key],
        )
        for kind, name, key in (
            ("perplexity", "Masked perplexity", "perplexity_after"),
            ("accuracy", "Top-1 accuracy", "top1_accuracy"),
            ("accuracy", "Top-5 accuracy", "top5_accuracy"),
        )
        if key in metrics
    ]
    started_from = artifacts.params("checkpoint").get("pretrained")
    based_on = started_from if is_hub_id(started_from) else None
    return ModelCardData(
        license=settings.license,
        license_name=settings.license_name,
        license_link=settings.license_link,
        language=list(settings.languages) or None,
        library_name="transformers",
        pipeline_tag="fill-mask",
        tags=["fill-mask", "masked-lm", artifacts.checkpoint.report.model_type, "tensorboard"]
        + ([] if sections.why_not_blessed(artifacts, settings) is None else ["unblessed"])
        + (["tf-keras"] if artifacts.has_tensorflow_weights(settings) or settings.include_saved_model else []),
        base_model=based_on,
        base_model_relation="finetune" if based_on else None,
        datasets=[dataset] if dataset else None,
        mask_token=mask,
        widget=[{"text": example}],
        model_name=settings.repo_id.rpartition("/")[2],
        eval_results=results,
    )


def example_sentence(model: ServingModel, settings: CardSettings) -> str:
    """The text that the model was exported with; where that is the corpus' and not to be shown, a mask alone."""
    return model.report.mask_token if hides_example(model, settings) else model.example


def hides_example(model: ServingModel, settings: CardSettings) -> bool:
    """Whether the model's example is text of the corpus that isn't to be shown."""
    return model.report.example.of_corpus and not settings.corpus_text


def _invalid(received: str) -> HubError:
    return HubError(
        "a card's metadata must be what the Hub accepts",
        received=received,
        remedy="correct --push.license, --push.license_name or --push.language (the Hub's documentation of model "
        "cards lists what it knows)",
    )
