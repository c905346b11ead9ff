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

from components.contract import manifest, reports
from components.contract.artifacts import Corpus, Evaluation
from components.contract.reports import Parts
from components.hub.seal import sealed_files
from components.publishing import model_card as cards
from components.publishing.hub_folder import write_folder
from components.publishing.model_card import model_card, progress_card, validate
from components.publishing.model_card_sections import CardSettings, request_to_server, table, training_data
from foundation.errors import HubError
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
        "| learning_rate | `2e-05` |",
        "| mlm_probability | `0.3` |",
        "| 1 | 5.500 | 5.250 | 900 |",
        "on text that it didn't see is 45.25, where guessing by the words' frequencies has 120.0.",
        "| perplexity | 1,311 | 45.25 | 120.0 |",
        "with 15% of the tokens masked",
        "It took 62 s on 2 CPU cores",
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
    assert data["datasets"] == ["dany0407/eli5_category"]
    assert data["model-index"][0]["results"][0]["dataset"]["type"] == "dany0407/eli5_category"


@pytest.mark.parametrize(
    ("wrong", "received"),
    [
        ("license: my-own\npipeline_tag: fill-mask", "license 'my-own'"),
        ("pipeline_tag: fill-mask", "license None"),
        ("license: mit\nlanguage: English\npipeline_tag: fill-mask", "language 'English'"),
        ("license: mit", "pipeline_tag None"),
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

    assert not any(b"secret" in text for text in texts(SETTINGS, "hidden"))
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
