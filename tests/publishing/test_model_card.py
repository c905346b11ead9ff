"""The card: valid metadata, everything that a stranger asks, nothing private."""

import ast
import dataclasses
import json
import re
import shlex
import shutil

import pytest
import yaml
from huggingface_hub import ModelCard

from components.config.command_line import add_sections, config_of, parse
from components.contract import manifest, reports
from components.contract.artifacts import Corpus, Evaluation
from components.contract.reports import Parts
from components.hub.seal import sealed_files
from components.publishing import model_card as cards
from components.publishing.hub_folder import write_folder
from components.publishing.model_card import model_card, progress_card, validate
from components.publishing.model_card_findings import limits
from components.publishing.model_card_sections import CardSettings, request_to_server, table, training_data
from components.publishing.model_card_settings import shareable
from components.publishing.params import PushParams
from foundation.errors import ConfigError, HubError
from foundation.option_parser import OptionParser
from tests import reports as complete
from tests.finished import finish
from tests.loopback_hub.small_artifacts import make

SETTINGS = CardSettings("ada/answers", "apache-2.0", ("en",), include_saved_model=True, include_tf_weights=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def card(made):
    return model_card(made, SETTINGS)


def test_metadata(card):
    data = yaml.safe_load(card.split("---\n")[1])
    assert data["license"] == "apache-2.0"
    assert data["language"] == ["en"]
    assert data["library_name"] == "transformers"
    assert data["pipeline_tag"] == "fill-mask"
    assert data["mask_token"] == "<mask>"
    assert data["widget"] == [{"text": "the <mask> sat on the mat ."}]
    assert {"fill-mask", "roberta", "tf-keras"} <= set(data["tags"])
    assert "base_model" not in data  # from random weights
    assert "datasets" not in data  # local files


def test_results_are_those_of_the_evaluation(card):
    results = {(r.metric_type, r.metric_name): r.metric_value for r in ModelCard(card).data.eval_results}
    assert results == {
        ("perplexity", "Masked perplexity (15% masked)"): 45.25,
        ("accuracy", "Top-1 accuracy (15% masked)"): 0.25,
        ("accuracy", "Top-5 accuracy (15% masked)"): 0.5,
    }


def test_page_tells_what_a_stranger_asks(card, made):
    page = card.split("---\n", 2)[2]
    for told in (
        'pipeline("fill-mask", model="ada/answers")',
        "curl -d",
        "--train.pretrained ada/answers",
        "100 words in answers.text",
        "| perplexity | 1,311 | 45.25 (44.00 to 46.50) | 120.0 |",
        "> **Blessed.** Better.",
        "a probable word is not a fact",
        "100 words",
        "| 1 | 5.500 | 5.250 | 900 |",
        "on text that it didn't see is 45.25, where guessing by the words' frequencies has 120.0.",
        "with 15% of the tokens masked",
        "in float32. It took 62 s on 2 CPU cores",
        "| tensorflow | 2.",
        made.checkpoint.manifest["key"],
        made.checkpoint.digest,
    ):
        assert told in page, told


def test_the_page_says_how_train_and_test_came_about(card, made, tmp_path):
    assert "Records were split into train and test (test_size" in card
    reports.write(tmp_path / "report.json", complete.corpus(parts=Parts("train", "validation", {})))
    page = training_data(dataclasses.replace(made, corpus=finish(tmp_path, Corpus)))
    assert "Train and test are the data's own parts (test: the files named validation)." in page
    assert "were split" not in page


@pytest.mark.parametrize("blessed", [True, False])
def test_a_model_no_better_than_counting_words_is_told_as_that(made, tmp_path, blessed):
    evaluation = Evaluation(shutil.copytree(made.evaluation.directory, tmp_path / "evaluation"))
    standing = "worse than guessing by word frequency"
    blessing = complete.blessing(blessed, sentence=f"not blessed: {standing}", beside_counting=standing)
    facts = dict(evaluation.manifest)
    reports.write(evaluation.directory / "blessing.json", blessing)
    manifest.write(evaluation.directory, facts)
    evaluation = Evaluation(evaluation.directory)
    card = model_card(dataclasses.replace(made, evaluation=evaluation), SETTINGS)
    assert f"guessing by the words' frequencies has 120.0. **That is {standing}.**" in card
    assert (f"**Not blessed.** This model was not blessed: {standing}" in card) is not blessed
    assert ("**Blessed.**" in card) is blessed


def test_a_blessing_that_a_later_comparison_took_away_is_not_told(made, tmp_path):
    settings = dataclasses.replace(SETTINGS, not_blessed="not blessed: worse than version 2")
    write_folder(tmp_path / "folder", made, settings)
    card = (tmp_path / "folder/README.md").read_text()
    assert "> **Not blessed.** This model was not blessed: worse than version 2." in card
    assert "unblessed" in ModelCard(card).data.tags
    assert json.loads((tmp_path / "folder/push.json").read_text())["blessed"] is False


def test_a_table_stays_whole_whatever_a_column_is_called():
    lines = table(("", "train"), [("a | b\r\nc\u2028d", 1)]).split("\n")
    assert lines[2:] == ["| a \\| b c d | 1 |"]


def test_no_path_of_this_machine(card, made):
    assert "/home/ada" not in card
    assert str(made.checkpoint.directory) not in card
    assert "local files (answers.jsonl)" in card


def test_a_checkpoint_and_a_dataset_of_the_hub_are_named(made, monkeypatch):
    params = {"corpus": {"dataset": "dany0407/eli5_category", "split": "train[:5000]"}}
    params["checkpoint"] = {"pretrained": "distilbert/distilroberta-base"}
    monkeypatch.setattr(type(made), "params", lambda self, name: params.get(name, {}))
    data = yaml.safe_load(model_card(made, SETTINGS).split("---\n")[1])
    assert data["base_model"] == "distilbert/distilroberta-base"
    assert data["base_model_relation"] == "finetune"
    assert data["datasets"] == ["dany0407/eli5_category"]
    assert data["model-index"][0]["results"][0]["dataset"]["type"] == "dany0407/eli5_category"


@pytest.mark.parametrize(
    ("wrong", "received"),
    [
        ("license: my-own\npipeline_tag: fill-mask", "license 'my-own'"),
        ("pipeline_tag: fill-mask", "license None"),
        ("license: mit\nlanguage: English\npipeline_tag: fill-mask", "language 'English'"),
        ("license: mit", "pipeline_tag None"),
        ("license: other\npipeline_tag: fill-mask", "license 'other' without a license_name"),
        ("license: mit\npipeline_tag: fill-mask\nmodel-index: [{name: x}]", "results"),
    ],
)
def test_cards_that_the_hub_would_not_take(wrong, received):
    with pytest.raises(HubError, match=re.escape(received)):
        validate(f"---\n{wrong}\n---\n# A model\n")


def test_a_model_without_text_signatures_is_asked_with_token_ids(made, tmp_path):
    reports.write(tmp_path / "report.json", complete.serving_model(text_signatures=False))
    manifest.write(tmp_path, {"type": "ServingModel"})
    asked = json.loads(request_to_server(dataclasses.replace(made, model=type(made.model)(tmp_path)), "the <mask> ."))
    ids = asked["instances"][0]["input_ids"]
    assert ids[0] == 0
    assert ids[-1] == 2
    assert 4 in ids
    assert asked["instances"][0]["attention_mask"] == [1] * len(ids)


def test_the_card_in_training_is_valid():
    for trained, state in ((False, "is in training and not evaluated yet"), (True, "is trained and not evaluated yet")):
        card = progress_card("ada/answers", "mit", ["en"], trained)
        assert "license: mit" in card
        assert state in card


@pytest.mark.parametrize("example", ["it's a <mask>", 'a "<mask>" \\ of\n```', "كتاب <mask> <b>x</b>"])
def test_an_example_is_quoted_for_each_language_that_it_stands_in(made, tmp_path, example):
    reports.write(tmp_path / "report.json", complete.serving_model(example))
    manifest.write(tmp_path, {"type": "ServingModel"})
    model = type(made.model)(tmp_path)
    card = cards.model_card(dataclasses.replace(made, model=model), SETTINGS)

    python = next(line for line in card.splitlines() if line.startswith("fill_mask("))
    assert ast.literal_eval(python.removeprefix("fill_mask(").removesuffix(")")) == example
    curl = next(line for line in card.splitlines() if line.startswith("curl"))
    assert json.loads(shlex.split(curl)[2]) == {"instances": [example]}
    assert ModelCard(card).data["widget"] == [{"text": example}]


def test_the_settings_that_it_shows_train_it_again(card, made, tmp_path):
    """They are what differs from the defaults, as a file that the command line takes."""
    shown = re.search(r"```yaml\n(.*?)```", card, re.DOTALL)[1]
    (tmp_path / "settings.yaml").write_text(shown)
    (tmp_path / "answers.jsonl").write_text('{"answers": {"text": "a"}}\n')
    content = yaml.safe_load(shown)
    assert content["train"] == {"model_type": "roberta", "mlm_probability": 0.3, "epochs": 2}
    assert content["ingest"] == {"path": "answers.jsonl"}  # neither this machine's folders nor what is the default
    assert "evaluate" not in content
    assert content["preprocess"] == {"text_column": "answers.text", "block_size": 32}
    assert "export" not in content
    parser = OptionParser()
    add_sections(parser)
    config = config_of(parse(parser, [], tmp_path / "settings.yaml"))
    assert (config.train.learning_rate, config.train.epochs, config.preprocess.block_size) == (2e-5, 2, 32)


def test_settings_of_a_hub_checkpoint_and_of_nested_paths():
    assert shareable("pretrained", "distilbert/distilroberta-base") == "distilbert/distilroberta-base"
    assert shareable("baseline", "last_blessed") == "last_blessed"
    assert shareable("sources", [{"path": "/home/ada/a.txt", "weight": 2}]) == [{"path": "a.txt", "weight": 2}]
    assert shareable("sample_texts", ["either/or <mask>"]) == ["either/or <mask>"]


@pytest.mark.parametrize("weights", [True, False])
def test_its_tensorflow_example_runs(made, tmp_path, monkeypatch, capsys, weights):
    settings = dataclasses.replace(SETTINGS, include_saved_model=False, include_tf_weights=weights)
    write_folder(tmp_path / "folder", made, settings)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name: str(tmp_path / "folder"))
    card = (tmp_path / "folder/README.md").read_text()
    [example] = [code for code in re.findall(r"```python\n(.*?)```", card, re.DOTALL) if "import tensorflow" in code]
    assert ("TFAutoModelForMaskedLM" in example) is weights
    exec(example.replace('"ada/answers"', repr(str(tmp_path / "folder"))), {})
    assert len(ast.literal_eval(capsys.readouterr().out.splitlines()[-1])) == 5


def test_samples_are_shown_where_the_corpus_text_may_be_and_mean_nothing_to_markdown(made):
    assert "What it answers" not in model_card(made, SETTINGS)
    assert "Grantchester" not in model_card(made, SETTINGS)
    shown = model_card(made, dataclasses.replace(SETTINGS, corpus_text=True))
    assert (
        r"| The \*\_\_\_\_\* of &lt;b&gt;Grantchester&lt;/b&gt;. | sun | – | “sun” (25%), “-ing” (12%), “\|” (6%) |"
        in shown
    )
    assert "A token that begins with - goes on with the word before it." in shown


def test_sentences_that_were_given_are_shown_whatever_may_be_of_the_corpus(made, monkeypatch):
    params = type(made).params
    given = {"sample_texts": ["The *<mask>* of <b>Grantchester</b>."]}
    monkeypatch.setattr(type(made), "params", lambda self, name: params(self, name) | given)
    card = model_card(made, SETTINGS)
    assert "Grantchester" in card
    assert "| sentence | before training | after training |" in card


def test_limits_follow_from_what_is_known(made, tmp_path):
    plain = limits(made, SETTINGS)
    assert "Language: en, as stated" in plain
    assert "at most 32 tokens" in plain
    assert "share a run" not in plain
    assert "probabilities" not in plain
    report = complete.evaluation(
        dict(made.evaluation.metrics) | {"contaminated_blocks": 3},
        calibration=(complete.calibration(expected_calibration_error=0.2, confidence=0.5, accuracy=0.3),),
    )
    reports.write(tmp_path / "metrics.json", report)
    other = limits(
        dataclasses.replace(made, evaluation=finish(tmp_path, Evaluation)), dataclasses.replace(SETTINGS, languages=())
    )
    assert "3 of 40 test blocks share a run of 24 tokens with the train split" in other
    assert (
        "too sure of itself on the whole. Its first guesses have a probability of 50.0% on average, and 30.0%" in other
    )
    assert "Language: none was stated" in other


def test_a_license_of_ones_own_has_a_name_and_an_address(made):
    settings = dataclasses.replace(SETTINGS, license="other", license_name="ada-1.0", license_link="https://a.b/c")
    for card in (model_card(made, settings), progress_card("ada/a", "other", [], True, "ada-1.0", "https://a.b/c")):
        data = yaml.safe_load(card.split("---\n")[1])
        assert (data["license"], data["license_name"], data["license_link"]) == ("other", "ada-1.0", "https://a.b/c")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"license": "other"}, "license_name must name the license"),
        ({"license": "mit", "license_name": "x"}, "push.license_name must be left out unless"),
        ({"license": "mit", "license_link": "https://a.b"}, "push.license_link must be left out unless"),
        ({"license": "other", "license_name": "a\nb"}, "must be one line"),
        ({"license": "other", "license_name": "x", "license_link": "LICENSE"}, "begins with https://"),
    ],
)
def test_licenses_that_nobody_could_find_are_refused(params, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        PushParams(hub_model_id="ada/answers", **params)


def test_text_of_the_corpus_is_not_shown_unless_it_is_allowed(made, tmp_path):
    secret = complete.serving_model("Ada's <mask> is secret.")
    secret = dataclasses.replace(secret, example=dataclasses.replace(secret.example, of_corpus=True))
    reports.write(tmp_path / "report.json", secret)
    (tmp_path / "saved_model/assets.extra").mkdir(parents=True)
    shown = ("MODEL.md", "assets.extra/example.txt", "assets.extra/tf_serving_warmup_requests")
    for name in (*shown, "saved_model.pb"):
        (tmp_path / "saved_model" / name).write_text("Ada's <mask> is secret." if name in shown else "graph")
    manifest.write(tmp_path, {"type": "ServingModel"})
    artifacts = dataclasses.replace(made, model=type(made.model)(tmp_path))

    def texts(settings, folder):
        files = write_folder(tmp_path / folder, artifacts, settings)
        return [(tmp_path / folder / name).read_bytes() for name in files]

    assert not any(b"secret" in text or b"Grantchester" in text for text in texts(SETTINGS, "hidden"))
    assert b"graph" in texts(SETTINGS, "hidden_again")
    assert sum(b"secret" in text for text in texts(dataclasses.replace(SETTINGS, corpus_text=True), "shown")) == 4


def test_the_folder_has_everything_and_is_the_same_twice(made, tmp_path):
    files = write_folder(tmp_path / "first", made, SETTINGS)
    assert sealed_files(tmp_path / "first") == files
    table = (tmp_path / "first/history.csv").read_text().splitlines()
    assert table[0].startswith("epoch,step,loss,perplexity,val_loss,")
    assert table[1].startswith("1,10,5.5,,5.25,")
    assert set(files) >= {
        "README.md",
        "config.json",
        "history.csv",
        "logs/train/events.out.tfevents.1.host.1.0.v2",
        "metrics.json",
        "model.safetensors",
        "saved_model/1/saved_model.pb",
        "saved_model/1/variables/variables.index",
        "tf_model.h5",
        "tokenizer.json",
    }
    assert write_folder(tmp_path / "second", made, SETTINGS) == files
    plain = write_folder(tmp_path / "third", made, CardSettings("ada/answers", "mit"))
    assert not {name for name in plain if name.startswith("saved_model") or name == "tf_model.h5"}


def test_the_folder_loads_with_this_projects_loader_and_in_keras(made, tmp_path):
    import numpy as np
    from transformers import TFAutoModelForMaskedLM

    from components.modeling.checkpoint import load_masked_lm

    write_folder(tmp_path / "folder", made, SETTINGS)
    ids = np.arange(5, 17, dtype=np.int32).reshape(2, 6)
    models = [
        load_masked_lm(made.checkpoint.model_directory),
        load_masked_lm(tmp_path / "folder"),
        TFAutoModelForMaskedLM.from_pretrained(tmp_path / "folder", use_safetensors=False),
    ]
    logits = [model(ids).logits.numpy() for model in models]
    assert np.array_equal(logits[0], logits[1])
    assert np.array_equal(logits[0], logits[2])
