"""The page of all runs, and the list for other programs."""

import json
import re
import threading
import time

import pytest

from runners.housekeeping.index import ORDERS, write_index
from runners.housekeeping.inventory import take_inventory
from runners.housekeeping.listed_runs import listed_runs
from runners.housekeeping.listing import as_json, as_text
from runners.report.page import POLICY
from tests.runners.housekeeping.many_runs import write_record
from tests.runners.report.test_run_report import Page
from tests.runners.small_steps import Failing, graph, quiet


def test_each_run_leaves_the_page_with_a_link_to_its_report(tmp_path):
    first = quiet(tmp_path, name="small").execute(graph("sky"), {}, "quickstart")
    with pytest.raises(KeyboardInterrupt):
        quiet(tmp_path).execute(lambda run: run(Failing("interrupt")), {})
    path = tmp_path / "runs/index.html"
    page = Page(path.read_text("utf-8"))
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert f"{first.id}/report.html" in links
    assert len(links) == 2
    assert all((path.parent / link).is_file() for link in links)
    assert "small" in page.words
    assert "interrupted" in page.words
    assert POLICY in path.read_text("utf-8").replace("&#x27;", "'")
    assert not [tag for tag, _ in page.tags if tag in ("script", "link", "img", "iframe")]
    assert not list(path.parent.glob(".index.html.partial"))


def test_the_page_is_sorted_by_its_style_sheet(tmp_path):
    values = [100.0, 20.0, 50.0]
    for number, perplexity in enumerate(values):
        write_record(tmp_path, number, name=f"run{number}", metrics={"perplexity_after": perplexity})
    text = write_index(tmp_path).read_text("utf-8")
    rows = re.findall(r'<li style="([^"]*)">.*?(run\d)', text)
    orders = {name: dict(re.findall(r"--(\w+):(\d+)", style)) for style, name in rows}
    assert all(set(each) == {name for name, _ in ORDERS} for each in orders.values())
    assert sorted(orders, key=lambda name: int(orders[name]["perplexity"])) == ["run1", "run2", "run0"]
    assert sorted(orders, key=lambda name: int(orders[name]["newest"])) == ["run2", "run1", "run0"]
    for name, _ in ORDERS:
        assert f'id="by-{name}"' in text
        assert f"#by-{name}:checked~ol li{{order:var(--{name})}}" in text


def test_only_runs_that_were_asked_the_same_share_a_chart(tmp_path):
    verdict = {"blessed": True, "sentence": "x", "masks_digest": "other", "tokenizer_digest": "t"}
    for number in range(3):
        write_record(tmp_path, number)
    write_record(tmp_path, 3, verdict=verdict)
    text = write_index(tmp_path).read_text("utf-8")
    assert text.count("<figure>") == 1
    assert "3 runs asked the same" in text
    write_record(tmp_path, 4, verdict=verdict)
    assert write_index(tmp_path).read_text("utf-8").count("<figure>") == 2


def test_what_a_run_says_is_escaped_and_a_damaged_one_is_listed_as_such(tmp_path):
    write_record(tmp_path, 1, configuration="<script>alert(1)</script>", error="<b>no</b>", status="failed")
    damaged = write_record(tmp_path, 2)
    (damaged / "run.json").write_bytes(b"\xff{")
    text = write_index(tmp_path).read_text("utf-8")
    assert "<script>" not in text
    assert "<b>no" not in text
    assert "damaged" in Page(text).words
    runs = {run.id: run for run in listed_runs(take_inventory(tmp_path))}
    assert runs[damaged.name].status == "damaged"
    assert str(damaged / "run.json") in runs[damaged.name].damage


def test_runs_that_end_at_once_leave_a_page_with_all(tmp_path):
    def end(number):
        write_record(tmp_path, number, name=f"run{number}")
        write_index(tmp_path)

    threads = [threading.Thread(target=end, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    words = Page((tmp_path / "runs/index.html").read_text("utf-8")).words
    assert all(f"run{number}" in words for number in range(6))


def test_a_list_of_a_thousand_runs_takes_less_than_two_seconds(tmp_path):
    for number in range(1000):
        write_record(tmp_path, number, name=f"run{number}")
    began = time.process_time()
    text = as_text(take_inventory(tmp_path))
    assert time.process_time() - began < 2
    assert text.count("succeeded") == 1000
    assert max(map(len, text.splitlines()[:-5])) <= 80


def test_the_list_as_json_says_all_of_a_run(tmp_path):
    step = {"name": "push", "status": "ran", "seconds": 1.0, "artifact": "artifacts/push/0123456789abcdef"}
    write_record(tmp_path, 7, name="x", steps=[step], metrics={})
    record = quiet(tmp_path).execute(graph("sky"), {})
    content = json.loads(as_json(take_inventory(tmp_path)))
    newest, old = content["runs"]
    assert newest["id"] == record.id
    assert (newest["status"], newest["perplexity_after"], newest["blessed"]) == ("succeeded", None, None)
    assert (old["name"], old["seconds"], old["perplexity_after"]) == ("x", 30.0, None)
    assert old["blessed"] is False
    assert old["served"] is None
    assert {each["step"] for each in content["artifacts"]} == {"write", "first", "double"}
    assert all(each["used_by"] == [record.id] for each in content["artifacts"])
