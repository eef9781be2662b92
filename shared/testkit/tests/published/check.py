"""Reads what a server publishes as its users' tools do. Arguments: the folder of the presets, more documents."""
import importlib
import json
import os
import pathlib
import subprocess
import sys
import urllib.request

import jsonschema
from openapi_spec_validator import OpenAPIV31SpecValidator
from ruamel.yaml import YAML

URL, TOKEN = os.environ["TRIALOG_API_URL"], os.environ["TRIALOG_TOKEN"]


def get(path):
    with urllib.request.urlopen(URL + path) as answer:
        return json.load(answer)


def is_valid(document):
    faults = [f"{list(fault.absolute_path)}: {fault.message}" for fault in OpenAPIV31SpecValidator(document).iter_errors()]
    assert not faults, "\n".join(faults)


def pages_of_runs(document):
    pathlib.Path("openapi.json").write_text(json.dumps(document))
    # The tool knows no YAML; it sends the same as JSON.
    pathlib.Path("client.yaml").write_text("content_type_overrides: {application/yaml: application/json}\npost_hooks: []\n")
    words = ["generate", "--path", "openapi.json", "--output-path", "made_client", "--meta", "none", "--config", "client.yaml",
             "--fail-on-warning"]
    made = subprocess.run([sys.executable, "-m", "openapi_python_client", *words], capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    sys.path.insert(0, ".")
    client = importlib.import_module("made_client").AuthenticatedClient(base_url=URL, token=TOKEN)
    list_runs = importlib.import_module("made_client.api.runs.list_runs")
    names, pages, token = [], 0, ""
    while True:
        reply = list_runs.sync("default", client=client, experiment="paged", page_size=2, page_token=token)
        names += [run.name for run in reply.runs]
        pages += 1
        token = reply.next_page_token
        if not token:
            break
    assert sorted(names) == [f"run {number}" for number in range(len(names))], names
    print(f"read {len(names)} runs in {pages} pages")


def schemas_fit(presets, documents):
    schemas = {name: get(f"/schemas/{name}.json") for name in ("sweep", "run", "cluster", "endpoint", "deployment")}
    for name, schema in schemas.items():
        assert schema["$id"] == f"{URL}/schemas/{name}.json", schema["$id"]
        jsonschema.Draft202012Validator.check_schema(schema)
    files = sorted(presets.glob("*/*.yaml"))
    assert len(files) == 7, files
    for file in files:
        text = file.read_text()
        name = text.split("\n")[0].rsplit("/", 1)[1].removesuffix(".json")
        assert text.startswith(f"# yaml-language-server: $schema={URL}/schemas/{name}.json\n"), text
        jsonschema.validate(YAML(typ="safe").load(text), schemas[name])
    for file in documents:
        jsonschema.validate(YAML(typ="safe").load(file.read_text()), schemas["sweep"])
    wrong = YAML(typ="safe").load((presets / "plain" / "sweep.yaml").read_text())
    for section, value in (("compute", "x"), ("early_termination", {"type": "asha", "max_t": 9}),
                           ("limits", {"max_total_trials": 0}), ("search_space", {"lr": {"type": "uniform", "min_value": 0}})):
        faults = list(jsonschema.Draft202012Validator(schemas["sweep"]).iter_errors({**wrong, section: value}))
        assert faults, section


document = get("/openapi.json")
is_valid(document)
schemas_fit(pathlib.Path(sys.argv[1]), [pathlib.Path(name) for name in sys.argv[2:]])
pages_of_runs(document)
