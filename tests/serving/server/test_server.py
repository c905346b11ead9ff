"""The embedded server answers as TensorFlow Serving does: URLs, formats, every row of its error table."""

import gzip
import json
import logging
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

PREDICT = "/v1/models/m:predict"


def post(client: httpx.Client, body: Any, url: str = PREDICT, **options: Any) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post(url, content=content, **options)


def test_rows_of_one_input_are_bare_values_or_objects(client: httpx.Client) -> None:
    for instances in ([3, 4.0, 7], [{"x": 3}, {"x": 4}, {"x": 7}]):
        response = post(client, {"instances": instances})
        assert response.status_code == 200
        assert response.headers["Content-Type"] == "application/json"
        assert response.text == '{\n    "predictions": [3.5, 4.0, 5.5\n    ]\n}'


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [([3, 4], [3.5, 4.0]), ({"x": [3, 4], "extra": 1}, [3.5, 4.0]), (3, 3.5), ([], []), ([[3, 4]], [[3.5, 4.0]])],
)
def test_columns_of_one_input_take_any_shape(client: httpx.Client, inputs: Any, outputs: Any) -> None:
    assert post(client, {"inputs": inputs}).json() == {"outputs": outputs}


def test_several_outputs_are_objects(client: httpx.Client) -> None:
    row = {"a": 1.5, "i": 2**60, "s": "straße"}
    answer = {"doubled": 3.0, "next": 2**60 + 1, "upper": "STRAßE"}
    response = post(client, {"signature_name": "three", "instances": [row, row]})
    assert response.json() == {"predictions": [answer, answer]}
    columns = {name: [value] for name, value in row.items()}
    response = post(client, {"signature_name": "three", "inputs": columns})
    assert response.json() == {"outputs": {name: [value] for name, value in answer.items()}}


def test_bytes_travel_as_base64(client: httpx.Client) -> None:
    b64 = {"b64": "AP/+"}
    for form in ([b64], [{"s": b64}]):
        response = post(client, {"signature_name": "raw", "instances": form})
        assert response.json() == {"predictions": [b64]}
    assert post(client, {"signature_name": "raw", "inputs": b64}).json() == {"outputs": b64}
    assert post(client, {"signature_name": "text", "instances": [b64]}).content.count(b"\0") == 0
    assert b'"\\u0000\xff\xfe"' in post(client, {"signature_name": "text", "instances": [b64]}).content


@pytest.mark.parametrize("name", ["int8", "int16", "int32", "int64", "uint8", "uint32", "uint64", "bool", "double"])
def test_every_type_comes_back(client: httpx.Client, name: str) -> None:
    values = [True, False] if name == "bool" else [0, 1, 100]
    response = post(client, {"signature_name": name, "inputs": values})
    assert response.json() == {"outputs": values}


def test_numbers_that_json_lacks(client: httpx.Client) -> None:
    response = post(client, b'{"instances": [NaN, Infinity, -Inf, 1e300]} and more')
    assert "NaN, Infinity, -Infinity, Infinity" in response.text


def test_equal_requests_of_many_clients_get_equal_answers(client: httpx.Client) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda number: post(client, {"inputs": [number]}).json()["outputs"], range(200)))
    assert answers == [[number / 2 + 2.0] for number in range(200)]


ERRORS: list[tuple[str, Any, int, str]] = [
    ("/v1/models/nope:predict", {"instances": [1]}, 404, r"Servable not found for request: Latest\(nope\)"),
    ("/v1/models/nope:predict", b"{", 400, "JSON Parse error"),
    ("/v1/models/m/versions/99:predict", {"instances": [1]}, 404, r"Specific\(m, 99\)"),
    ("/v1/models/m/labels/stable:predict", {"instances": [1]}, 400, "Unrecognized servable version label: stable"),
    ("/v1/models/m:explode", {}, 400, "Malformed request: POST /v1/models/m:explode"),
    ("/v1/models/m:PREDICT", {}, 400, "Malformed request"),
    ("/v1/models/m:predict?x=1", {}, 400, "Malformed request"),
    ("/v1/models/m", {}, 400, "Malformed request"),
    (PREDICT, b"", 400, "JSON Parse error: The document is empty"),
    (PREDICT, b'{"instances": [1 2]}', 400, "at offset: 17"),
    (PREDICT, [1, 2], 400, r"JSON Value: \[1, 2\] Is not object"),
    (PREDICT, {}, 400, "Missing 'inputs' or 'instances' key"),
    (PREDICT, {"inputs": 1, "instances": [1]}, 400, "only one of 'inputs' or 'instances' keys"),
    (PREDICT, {"instances": 3}, 400, "Expecting 'instances' to be an list/array"),
    (PREDICT, {"instances": []}, 400, "No values in 'instances' array"),
    (PREDICT, {"signature_name": 3}, 400, "'signature_name' key must be a string value"),
    (PREDICT, {"signature_name": "nosig", "instances": [1]}, 400, 'Serving signature name: "nosig" not found'),
    (PREDICT, {"signature_name": "noin", "instances": [1]}, 400, "Failed to get input map for signature: noin"),
    (PREDICT, {"signature_name": "__saved_model_init_op", "inputs": 1}, 400, "Failed to get input map"),
    (PREDICT, {"instances": [{"q": 1}]}, 400, "element: 0 key: q of 'instances' list.*named input: q"),
    (PREDICT, {"signature_name": "three", "instances": [{"a": 1}]}, 400, "keys must be equal to: a,i,s"),
    (PREDICT, {"signature_name": "three", "instances": [1]}, 400, "instances is a plain list, but .*a,i,s"),
    (PREDICT, {"instances": [{"x": 1}, 2]}, 400, "Expecting object but got list at item 1"),
    (PREDICT, {"instances": [2, {"x": 1}]}, 400, "Expecting value/list but got object at item 1"),
    (PREDICT, {"instances": [[1], [1, 2]]}, 400, "element: 1 .*INVALID_ARGUMENT: Expecting tensor size: 1 but got: 2"),
    (PREDICT, {"instances": [[1, 2], [[1], [2]]]}, 400, r"element: 1 .*Expecting shape \[2\] but got: \[2,1\]"),
    (PREDICT, {"instances": [1, "a"]}, 400, 'element: 1 .*JSON Value: "a" Type: String .* expected type: float'),
    (PREDICT, {"instances": [None]}, 400, "Type: Null is not of expected type: float"),
    (PREDICT, {"instances": [True]}, 400, "Type: True is not of expected type: float"),
    (PREDICT, {"signature_name": "three", "inputs": {"a": [1], "s": [""]}}, 400, "Missing named input: i"),
    (PREDICT, {"signature_name": "three", "inputs": [1]}, 400, "inputs is a plain value/list"),
    (PREDICT, {"inputs": ["a"]}, 400, 'JSON Value: "a" Type: String is not of expected type: float'),
    (PREDICT, {"inputs": [[1, 2], [3]]}, 400, "Encountered list at unexpected size: 1 at level: 1 expected size: 2"),
    (PREDICT, {"inputs": [[1], 3]}, 400, "JSON Value: 3 found at incorrect level: 2 .* Expected at level: 2"),
    (PREDICT, {"inputs": [1, [3]]}, 400, "Encountered list at unexpected level"),
    (PREDICT, {"signature_name": "int32", "inputs": [1.0]}, 400, "expected type: int32"),
    (PREDICT, {"signature_name": "int64", "inputs": [2**63]}, 400, "expected type: int64"),
    (PREDICT, {"signature_name": "uint64", "inputs": [-1]}, 400, "expected type: uint64"),
    (PREDICT, {"signature_name": "bool", "inputs": [1]}, 400, "expected type: bool"),
    (PREDICT, {"signature_name": "text", "inputs": [1]}, 400, "expected type: string"),
    (PREDICT, {"signature_name": "raw", "inputs": [{"b64": "_-_-"}]}, 400, "Unable to base64 decode"),
    (PREDICT, {"signature_name": "raw", "inputs": [{"b64": 1}]}, 400, "not formatted correctly for base64 data"),
    (PREDICT, {"signature_name": "matmul", "inputs": [[1, 2]]}, 400, r"In\[0\]: \[1,2\], In\[1\]: \[3,1\]"),
    (PREDICT, {"signature_name": "scalar", "instances": [1]}, 400, "Tensor name: scalar has no shape information"),
    (
        PREDICT,
        {"signature_name": "uneven", "instances": [1]},
        400,
        "Tensor name: b has inconsistent batch size: 1 .* 2",
    ),
    (PREDICT, {"signature_name": "to_half", "inputs": [1]}, 400, "Failed to write JSON value for tensor type: half"),
    (PREDICT, {"signature_name": "from_half", "inputs": [1]}, 501, "Conversion of JSON Value: 1 to type: half"),
    (PREDICT, {"signature_name": "from_half", "instances": [1]}, 400, "Conversion of JSON Value: 1 to type: half"),
    (PREDICT, {"signature_name": "slow", "inputs": [1e9]}, 504, "Timed out waiting for notification"),
    ("/v1/models/m:classify", {"examples": [{"x": 1.0}]}, 400, "No classification inputs found in SignatureDef"),
    ("/v1/models/m:regress", {"examples": [{"x": 1.0}]}, 400, "No regression inputs found in SignatureDef"),
    ("/v1/models/m:regress", {"examples": []}, 400, "'examples' value is an empty array"),
]


@pytest.mark.parametrize(("url", "body", "status", "message"), ERRORS)
def test_error_table(client: httpx.Client, url: str, body: Any, status: int, message: str) -> None:
    response = post(client, body, url)
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/json"
    assert list(response.json()) == ["error"]
    with pytest.raises(AssertionError, match=f"(?s){message}"):
        raise AssertionError(response.json()["error"])


def test_an_error_body_is_laid_out_as_tensorflow_serving_does(client: httpx.Client) -> None:
    assert post(client, {}).text == "{\n    \"error\": \"Missing 'inputs' or 'instances' key\"\n}"


@pytest.mark.parametrize(
    ("method", "url", "status", "message"),
    [
        ("GET", "/v1/models", 400, "Missing model name in request."),
        ("GET", "/v1/models/nope", 404, "Could not find any versions of model nope"),
        ("GET", "/v1/models/m/versions/99", 404, "Could not find version 99 of model m"),
        ("GET", "/v1/models/nope/metadata", 404, "Servable not found for request: Latest(nope)"),
        ("GET", "/v1/models/m/labels/stable/metadata", 400, "Unrecognized servable version label: stable"),
        ("GET", PREDICT, 400, f"Malformed request: GET {PREDICT}"),
        ("PUT", "/v1/models/m", 400, "Malformed request: PUT /v1/models/m"),
        ("DELETE", "/v1/x", 400, "Malformed request: DELETE /v1/x"),
    ],
)
def test_errors_of_urls_and_methods(client: httpx.Client, method: str, url: str, status: int, message: str) -> None:
    response = client.request(method, url)
    assert (response.status_code, response.json()) == (status, {"error": message})


def test_a_version_over_64_bits_is_refused_without_a_word(client: httpx.Client) -> None:
    for number in (str(2**63), "9" * 5000):
        response = client.get(f"/v1/models/m/versions/{number}")
        assert (response.status_code, response.content) == (400, b"")


def test_what_is_not_the_protocol_is_not_found(client: httpx.Client) -> None:
    for path in ("/index.html", "/v2/models/m", "/monitoring/prometheus"):
        response = client.get(path)
        assert (response.status_code, response.headers["Content-Type"]) == (404, "text/html")


def test_options_and_head(client: httpx.Client) -> None:
    assert client.options(PREDICT, headers={"Origin": "http://a.example"}).status_code == 200
    assert client.options(PREDICT).status_code == 400
    assert client.head("/v1/models/m").status_code == 400


def test_status(client: httpx.Client) -> None:
    body = (
        '{\n "model_version_status": [\n  {\n   "version": "7",\n   "state": "AVAILABLE",\n   "status": {\n'
        '    "error_code": "OK",\n    "error_message": ""\n   }\n  }\n ]\n}\n'
    )
    for url in ("/v1/models/m", "/V1/Models/m", "/v1/models/%6D", "/v1/models/m/versions/007", "/v1/models/m/labels/x"):
        assert client.get(url).text == body


def test_metadata(client: httpx.Client) -> None:
    answer = client.get("/v1/models/m/metadata").json()
    assert answer["model_spec"] == {"name": "m", "version": "7", "signature_name": ""}
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    assert signatures["serving_default"]["inputs"] == {
        "x": {
            "dtype": "DT_FLOAT",
            "tensor_shape": {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False},
            "name": "serving_default_x:0",
        }
    }
    assert signatures["serving_default"]["method_name"] == "tensorflow/serving/predict"
    assert "__saved_model_init_op" in signatures


def test_gzip(client: httpx.Client) -> None:
    packed = gzip.compress(b'{"instances": [3]}')
    headers = {"Content-Encoding": "gzip"}
    assert post(client, packed, headers=headers).json() == {"predictions": [3.5]}
    for wrong in (b"no gzip", packed[:-9], gzip.compress(b" " * (101 << 20))):
        response = post(client, wrong, headers=headers)
        assert (response.status_code, response.json()) == (400, {"error": "JSON Parse error: The document is empty"})


def test_a_body_over_the_limit_is_refused(client: httpx.Client) -> None:
    response = post(client, b" " * ((1 << 20) + 1))
    assert response.status_code == 413
    assert "1048576 bytes" in response.json()["error"]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_no_request_breaks_the_server(client: httpx.Client, data: st.DataObject) -> None:
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "b64", "s"]), inner),
        max_leaves=5,
    )
    keys = st.sampled_from(["instances", "inputs", "signature_name", "examples"])
    names = st.sampled_from(["three", "text", "int8", "matmul", "bool", "uneven"])
    request = data.draw(st.dictionaries(keys, values, max_size=2) | values)
    if isinstance(request, dict) and data.draw(st.booleans()):
        request["signature_name"] = data.draw(names)
    verb = data.draw(st.sampled_from(["predict", "predict", "predict", "classify", "regress"]))
    body = json.dumps(request).encode()
    if data.draw(st.booleans()):
        body = body[: data.draw(st.integers(0, len(body)))] + data.draw(st.binary(max_size=3))
    response = post(client, body, f"/v1/models/m:{verb}")
    assert response.status_code in (200, 400, 501), (body, response.text)
    assert post(client, {"instances": [3]}).json() == {"predictions": [3.5]}


def test_a_client_that_leaves_in_the_middle_of_a_body_is_no_fault_of_the_server(
    example_version: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from serving.server.models.served_models import load
    from serving.server.server import running

    model = load(example_version.parent)
    with running([model]) as at:
        host, port = at.rest.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            lines = [f"POST {PREDICT} HTTP/1.1", f"Host: {host}", "Content-Length: 100", "Expect: 100-continue", "", ""]
            connection.sendall("\r\n".join(lines).encode())
            assert b" 100 " in connection.recv(1024)  # the request is being handled
            connection.sendall(b'{"instances": ')
    # Leaving the context has waited for the request.
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    model.close()


def test_classify_and_regress(tmp_path: Path) -> None:
    from serving.server.models.served_models import load
    from serving.server.server import running
    from tests.serving.server.example_model import save_classifier

    model = load(save_classifier(tmp_path / "c" / "1"), "c")
    with running([model]) as at, httpx.Client(base_url=at.rest, trust_env=False) as client:
        body = {"examples": [{"x": 0.25}, {"x": [1.0], "unused": "text"}]}
        response = post(client, body, "/v1/models/c:classify")
        assert response.json() == {"results": [[["yes", 0.25], ["no", 0.75]], [["yes", 1.0], ["no", 0.0]]]}
        shared = {"context": {"x": 0.5}, "examples": [{}, {"x": 0.25}], "signature_name": "regress"}
        assert post(client, shared, "/v1/models/c:regress").json() == {"results": [0.5, 0.25]}
        assert post(client, {"examples": [{}]}, "/v1/models/c:classify").status_code == 400
    model.close()
