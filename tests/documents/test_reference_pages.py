"""The pages that list options and flags are complete, and the pictures are what their scripts make."""

import ast
import importlib.util
import itertools
import re
from pathlib import Path

import pytest

from components.config.sections import KEYS
from components.config.sections import STEPS as SETTINGS_OF_STEPS
from docs.every_option import MARK, every_option
from docs.example_text import paragraphs
from docs.pipeline_picture import PICTURE, STEPS, picture
from serving.client.__main__ import make_parser as client_parser
from serving.server.options import make_parser as server_parser
from tests.documents.pages import DOCUMENTS, ROOT

SCRIPT_FLAGS = (
    "model_name_or_path model_type config_overrides config_name tokenizer_name cache_dir use_fast_tokenizer "
    "model_revision token use_auth_token trust_remote_code torch_dtype dtype low_cpu_mem_usage dataset_name "
    "dataset_config_name train_file validation_file overwrite_cache validation_split_percentage max_seq_length "
    "preprocessing_num_workers mlm_probability line_by_line pad_to_max_length max_train_samples max_eval_samples "
    "streaming"
)
"""What the two scripts called run_mlm.py define themselves, over the versions 4.0 to 4.57 of transformers."""


def test_the_page_of_options_has_every_setting_with_its_default():
    text = every_option()
    for key in KEYS:
        section = text.split(f"### `--{key}`\n", 1)[1].split("\n#", 1)[0]
        assert re.search(r"\n\nType: .+\. Default: .+\.", section), key
        assert len(section) > 40, key
    assert "How often training goes over the train blocks.\n\nType: a whole number. Default: `3`." in text
    assert (ROOT / "docs/options.md").read_text("utf-8").count(MARK) == 1


@pytest.mark.parametrize("parser", [server_parser(), client_parser()], ids=["server", "client"])
def test_the_page_of_options_has_those_of_server_and_client(parser):
    headings = " ".join(re.findall(r"^### `(.*)`$", every_option(), re.M)).replace(",", " ").split()
    shown = {name for action in parser._actions if action.help != "==SUPPRESS==" for name in action.option_strings}
    assert shown - {"-h", "--help"} - set(headings) == set()


def training_arguments() -> set[str]:
    """The names of the fields of TrainingArguments and TFTrainingArguments, read without importing them."""
    spec = importlib.util.find_spec("transformers")
    names = set()
    for name in ("training_args.py", "training_args_tf.py"):
        tree = ast.parse((Path(spec.origin).parent / name).read_text("utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and node.name in ("TrainingArguments", "TFTrainingArguments"):
                names |= {each.target.id for each in node.body if isinstance(each, ast.AnnAssign)}
    return names


def test_every_flag_of_the_example_scripts_is_on_the_page():
    flags = set(SCRIPT_FLAGS.split()) | training_arguments()
    assert len(flags) > 140
    text = (ROOT / "docs/from_run_mlm.md").read_text("utf-8")
    named = set(re.findall(r"`--(\w+)`", text))
    constants = {name for name in flags if name.isupper() or name in ("framework", "default_optim")}
    assert flags - named - constants == set()
    assert {name for name in named if name not in flags} <= {"root"}


def test_tables_are_narrow():
    """A cell of more than 80 characters makes a table that nobody reads."""
    for path in DOCUMENTS:
        for line in path.read_text("utf-8").splitlines():
            if line.startswith("|"):
                cells = re.split(r"(?<!\\)\|", line)
                assert [cell for cell in cells if len(cell.strip()) > 80] == [], path.name


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 130


def test_the_picture_is_what_the_script_draws():
    assert PICTURE.read_text("utf-8") == picture()
    assert [name for name, *_ in STEPS] == list(SETTINGS_OF_STEPS)


def test_screenshots_are_small():
    shots = sorted((ROOT / "docs/images").glob("*.png"))
    assert len(shots) >= 2
    assert [path.name for path in shots if path.stat().st_size > 200_000] == []


def test_the_example_text_is_prose():
    some = list(itertools.islice(paragraphs(), 50))
    assert len(set(some)) == 50
    assert all(text.endswith(".") and " " in text and "\n" not in text for text in some)


THEIRS = {"Servable not found for request"}
"""Messages on the page of troubles that other programs write too."""


def test_the_page_of_troubles_quotes_our_messages():
    """Each quoted heading stands in the code, from its "must" on: what must be is often a variable there."""
    code = " ".join(
        path.read_text("utf-8")
        for house in ("components", "foundation", "runners", "serving")
        for path in (ROOT / house).rglob("*.py")
    )
    code = re.sub(r"\"\s*\n?\s*f?\"", "", code)
    headings = re.findall(r"^### (.*)$", (ROOT / "docs/troubleshooting.md").read_text("utf-8"), re.M)
    quoted = {quote for heading in headings for quote in re.findall(r"\"([^\"]+)\"", heading)}
    assert len(quoted) > 15
    assert {quote for quote in quoted - THEIRS if quote[max(quote.find("must"), 0) :] not in code} == set()
