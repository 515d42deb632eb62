"""Whatever text or bytes come in: they are read, or refused by an error of ours. `make fuzz` draws many more."""

import json
import math
import random
import warnings

import hydra
import numpy as np
import pytest
from backproof.app import config
from backproof.app.single_run import without_hydra
from backproof.cli.errors import translated
from backproof.contracts import Dataset
from backproof.contracts.errors import BackproofError
from backproof.data import DataOptions, split, validate
from backproof.discovery.registry import registry
from backproof.discovery.yaml_derivation import derivation_of
from backproof.formulas.errors import FormulaError, FormulasError
from backproof.formulas.rule import Rule
from backproof.nn import model_io
from backproof.nn.mlp import MLP
from backproof.nn.predictor import Predictor
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.helpers.formulas import CS446, TRACE, yaml_of
from tests.helpers.fuzz import examples

#: Pieces of formulas: right ones, near misses, and signs of other places.
WORDS = ["sum[n]", "sum[n,k]", "sum[", "p[n,k]", "y[n,k]", "W2[k,h]", "W1[h,d]", "b1[h]"]
WORDS += ["x[n,d]", "x[n,0]", "a1[n,h]", "phi(", "dphi(", "exp(", "log(", ")", "(", "]", "["]
WORDS += ["+", "-", "*", "/", "**", "N", "0", "1", "2.5", "1e308"]
WORDS += ["999999999999999999999999999999", "1e", "0x1", "1_0", "j", "1j", ",", ".", "n", "k"]
WORDS += ["h", " ", "\n", "\t", "'", '"', "#", "@", ":=", "é", "ｙ", "²", "−", "lambda", "if"]
WORDS += ["None", "True", "__import__", "W99[h,d]", "W0[h,d]", "z[n,k]", "h1[n,h]", "\\"]
formulas = st.lists(st.sampled_from(WORDS), max_size=25).map("".join) | st.text(max_size=60)


@examples(200)
@given(st.sampled_from(["W1", "b1", "W2", "b2"]), formulas)
def test_formulas(tensor, text):
    try:
        formula = Rule.read({**CS446, tensor: text}).formulas[tensor]
    except FormulasError as error:
        assert all(isinstance(reason, FormulaError) for reason in error.errors)
        str(error)
        return
    str(formula)
    try:
        gradient = formula(TRACE)
    except FormulaError as error:
        assert "^" in str(error)
    else:
        assert gradient.shape == {"W1": (3, 4), "b1": (3,), "W2": (2, 3), "b2": (2,)}[tensor]


def _mutated(content, chance, pieces):
    """Return bytes with a few random changes: replaced, removed, repeated, or with pieces put in."""
    content = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 3, 10])):
        at = chance.randrange(len(content) + 1)
        length = chance.choice([0, 1, 1, 4, 50])
        kind = chance.randrange(4)
        if kind == 0:
            content[at : at + length] = chance.randbytes(length)
        elif kind == 1:
            del content[at : at + length]
        elif kind == 2:
            content[at:at] = content[at : at + length] * chance.choice([1, 2, 100])
        else:
            content[at:at] = chance.choice(pieces)
    return bytes(content)


YAML_PIECES = [b"&a ", b"*a", b"!!python/object/apply:os.system ['x']", b"!!binary ", b"<<: "]
YAML_PIECES += [b"---\n", b"...\n", b"? ", b"- ", b"{", b"}", b"[", b"]", b": ", b"# ", b"|\n"]
YAML_PIECES += [b">\n", b"\t", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"%YAML 1.1\n", b"'", b'"']
YAML_PIECES += [b"\\x00", b"\r", b"\xe2\x80\xa8"]
YAML_PIECES += [b"9" * 400]
YAML_PIECES += [b"W1: ", b"gradients:\n"]
YAML_PIECES += [b"[" * 2000]
YAML_PIECES += [b" " * 60]


@examples(150)
@given(st.integers(0, 2**32))
def test_yaml_derivations(tmp_path_factory, seed):
    file = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    text = "description: mine\nactivation: relu\n" + yaml_of(CS446)
    file.write_bytes(_mutated(text.encode(), random.Random(seed), YAML_PIECES))
    try:
        derivation = derivation_of(file)()
    except ValueError as error:
        assert len(str(error)) < 20_000
        return
    try:
        gradients = derivation.gradients(TRACE)
    except (BackproofError, ValueError):
        return
    assert set(gradients) >= {"W1", "b1"}


CSV = "a,b,c,t\n" + "".join(f"{i / 7:.3f},{i % 5},{'uvw'[i % 3]},{'xy'[i % 2]}\n" for i in range(40))
CSV_PIECES = [b",", b"\n", b"\r", b'"', b'""', b"\x00", b"\xff", b"\xef\xbb\xbf", b"nan", b"inf"]
CSV_PIECES += [b"1e999", b"-", b"0x1", b"1_0", b"\xd9\xa1", b"?", b"NA", b";", b"\t"]
CSV_PIECES += [b"9" * 400]
CSV_PIECES += [b"1e308,", b"\xe2\x80\xa8", b"a,", b"t,"]
CSV_PIECES += [b"x" * 3000]
csv_options = st.fixed_dictionaries(
    {},
    optional={
        "target": st.sampled_from(["t", "a", "c", "zz", ""]),
        "targets": st.sampled_from([("a", "b"), ("t",), ("b", "b"), ()]),
        "task": st.sampled_from(["auto", "classification", "regression", "multilabel"]),
        "separator": st.sampled_from([",", ";", "tab", "", "ab", '"', "\n", "\\", " ", "a"]),
        "decimal": st.sampled_from([".", ","]),
        "ignore": st.sampled_from([(), ("a",), ("t",), ("",), ("a", "b", "c")]),
        "nominal": st.sampled_from([(), ("a",), ("t",)]),
        "categorical": st.sampled_from(["one_hot", "error"]),
        "max_categories": st.sampled_from([2, 100, 2**62]),
    },
)


@examples(150)
@given(st.integers(0, 2**32), csv_options)
def test_csv_files(tmp_path_factory, seed, options):
    file = tmp_path_factory.getbasetemp() / "fuzzed.csv"
    file.write_bytes(_mutated(CSV.encode(), random.Random(seed), CSV_PIECES))
    try:
        dataset = registry().build("dataset", "csv", {"path": str(file), "target": "t", **options}).load()
        validate(dataset)
        parts = split(dataset, DataOptions())
    except (BackproofError, ValueError):
        return
    assert all(np.isfinite(part.X).all() for part in parts.parts.values())


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Return the files of a saved model, by name, and the folder for damaged ones."""
    rng = np.random.default_rng(0)
    dataset = Dataset(
        rng.normal(size=(60, 4)), np.arange(60) % 3, "classification", tuple("abcd"), tuple("stu")
    )
    net = MLP(
        (4, 5, 3),
        registry().build("activation", "leaky_relu"),
        registry().build("loss", "softmax_cross_entropy"),
    )
    theta = rng.normal(size=(3, net.layout.P))
    folder = tmp_path_factory.mktemp("model")
    model_io.save(folder, model_io.SavedModel.of(net, theta, split(dataset, DataOptions())))
    return {file.name: file.read_bytes() for file in folder.iterdir()}, folder


MODEL_PIECES = [b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"\x93NUMPY", b"'descr': '|O'"]
MODEL_PIECES += [b"(9999999999, 9999999)"]
MODEL_PIECES += [b"\x00" * 30]
MODEL_PIECES += [b"null", b"NaN", b"Infinity", b"1e999", b"-1", b"[", b"{", b'"array": ']
MODEL_PIECES += [b"9" * 5000]
MODEL_PIECES += [b"[" * 3000]
MODEL_PIECES += [b"\xff", b'\\ud800"']


@examples(300)
@given(st.integers(0, 2**32), st.booleans())
def test_models(saved, seed, description):
    contents, folder = saved
    name = "model.json" if description else "weights.npz"
    (folder / name).write_bytes(_mutated(contents[name], random.Random(seed), MODEL_PIECES))
    try:
        with warnings.catch_warnings():
            # Of zipfile, for a name that occurs twice.
            warnings.simplefilter("ignore")
            prediction = Predictor.load(folder, registry()).predict(np.zeros((2, 4)))
    except BackproofError:
        return
    finally:
        (folder / name).write_bytes(contents[name])
    assert prediction.shape == (2, 3)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@examples(200)
@given(st.data())
def test_descriptions_of_models(saved, data):
    contents, folder = saved
    description = json.loads(contents["model.json"])
    for key in data.draw(st.lists(st.sampled_from(sorted(description)), min_size=1, max_size=2)):
        description[key] = data.draw(json_values)
    (folder / "model.json").write_text(json.dumps(description))
    try:
        Predictor.load(folder, registry()).predict(np.zeros((2, 4)))
    except BackproofError:
        pass
    finally:
        (folder / "model.json").write_bytes(contents["model.json"])


VALUES = ["1", "-1", "0.5", "nan", "inf", "1e400", "true", "null", "abc", "''", "[]", "[1,2]"]
VALUES += ["[nan]", "{}", "{a:1}", "{a:{b:[1]}}", "???", "${seed}", "${nope}", "${oc.env:HOME}"]
VALUES += ["${hydra:job.num}", "[[1],[2]]", "99999999999999999999", "'x[/red]'", "1,2"]
VALUES += ["range(3)", "choice(1,2)", "interval(0,1)", "relu", "adam", "off", "${", "[", "'"]
VALUES += ["$(id)", "a b", "é☃", "\\", "@", "1e5"]


@pytest.fixture(scope="module")
def override_keys():
    """Return every key that an override may have, and some that none has."""
    groups = [*config.SECTIONS, "experiment", "metrics"]
    others = [
        "nope",
        "hydra",
        "hydra.job.name",
        "hydra.launcher",
        "hydra/launcher",
        "a.b.c",
        "_target_",
        "name",
        "",
    ]
    return [*config.keys(registry()), *groups, *others]


@examples(12)
@given(st.data())
def test_overrides(override_keys, data):
    """Up to the typed objects of a config; nothing is trained."""
    prefix = st.sampled_from(["", "", "", "", "+", "++", "~"])
    count = data.draw(st.integers(1, 3))
    keys, equals, values = (
        st.sampled_from(override_keys),
        st.sampled_from(["=", "=", "=", ""]),
        st.sampled_from(VALUES),
    )
    overrides = ["".join(data.draw(part) for part in (prefix, keys, equals, values)) for _ in range(count)]
    assume(all(overrides))
    config.register(registry())
    try:
        with hydra.initialize_config_dir(str(config.conf_dir()), job_name="backproof", **config.VERSION_BASE):
            composed = hydra.compose("config", overrides, return_hydra_config=True)
        settings = config.settings(without_hydra(composed), registry())
    except BackproofError as error:
        assert error.explain()
    except Exception as error:
        explained = translated(error, registry())
        assert explained is not None, overrides
    else:
        assert math.isfinite(settings.experiment.optimizer.lr)
