"""The report on a sweep: ranking, comparisons, and the page, also in a browser."""

import math
import re
import shutil
import subprocess

import numpy as np
import pytest
from backproof.render.svg import Scale, px
from backproof.render.templates import template
from backproof.render.text import duration
from backproof.report.build import LENGTH, build, thinned
from backproof.report.charts import PlottedRun, check_panel
from backproof.report.compare import PAIRED, WELCH, compare, compare_points, holm
from backproof.report.effects import effect, explained
from backproof.report.page import TEMPLATES, page
from backproof.report.scales import CategoricalScale
from backproof.sweeps.objective import Objective, greater_is_better
from backproof.sweeps.recorded import command_words, objective_of, point_command
from backproof.sweeps.stat import Stat
from backproof.sweeps.varying import brief, in_order, short, varying
from scipy import stats

from tests.helpers.recorded import run, sweep

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HEADLESS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]


class TestVarying:
    def test_defaults_that_come_with_a_plugin_are_left_out(self):
        params = [
            {"optimizer": "sgd", "optimizer.lr": "0.1", "optimizer.momentum": "0", "seed": "0"},
            {"optimizer": "adam", "optimizer.lr": "0.001", "seed": "0"},
        ]
        assert varying(params) == ["optimizer"]
        assert varying([*params, {"optimizer": "adam", "optimizer.lr": "0.1", "seed": "0"}]) == [
            "optimizer",
            "optimizer.lr",
        ]

    def test_swept_keys_come_first(self):
        params = [
            {"a": "1", "x": x, "optimizer": o, "optimizer.lr": lr}
            for x, o, lr in (
                ("1", "sgd", "0.1"),
                ("2", "sgd", "0.1"),
                ("1", "adam", "0.2"),
                ("2", "adam", "0.2"),
            )
        ]
        assert varying(params, ["x", "optimizer", "not.there"]) == ["x", "optimizer"]
        assert varying([*params, {"a": "2", "x": "1", "optimizer": "sgd", "optimizer.lr": "0.1"}], ["x"]) == [
            "x",
            "a",
            "optimizer",
            "optimizer.lr",
        ]

    def test_order_of_values(self):
        assert in_order(["10", "9", None, "1e-3"]) == ["1e-3", "9", "10", None]
        assert in_order(["[64]", "[8, 8]", "[16]"]) == ["[8, 8]", "[16]", "[64]"]
        assert in_order(["tanh", "relu", "tanh"]) == ["tanh", "relu"]
        assert short("optimizer.lr", ["optimizer.lr", "seed"]) == "lr"
        assert short("a.lr", ["a.lr", "b.lr"]) == "a.lr"
        texts = ["0.33514187183301236", "0.1", "100000.0", "1000000000", "tanh", "[64, 32, 16]"]
        assert [brief(value) for value in texts] == [
            "0.33514",
            "0.1",
            "100000.0",
            "1000000000",
            "tanh",
            texts[5],
        ]


class TestCompare:
    def test_common_seeds_are_compared_by_scipys_paired_test(self):
        rng = np.random.default_rng(0)
        best = dict(enumerate(rng.normal(size=6)))
        other = {seed: value - 0.5 + rng.normal() * 0.2 for seed, value in best.items()} | {99: 7.0}
        comparison = compare(other, best)
        shared = sorted(best)
        expected = stats.ttest_rel([other[s] for s in shared], [best[s] for s in shared])
        assert (comparison.test, comparison.n) == (PAIRED, 6)
        assert comparison.p == pytest.approx(expected.pvalue, rel=1e-12)
        assert comparison.difference == pytest.approx(np.mean([other[s] - best[s] for s in shared]))
        # Pairing matters: an unpaired test does not detect this difference.
        assert comparison.worse
        assert stats.ttest_ind([other[s] for s in shared], [best[s] for s in shared]).pvalue > 0.05

    def test_other_seeds_are_compared_unpaired(self):
        a, b = {0: 1.0, 1: 1.2, 2: 1.1}, {10: 2.0, 11: 2.3, 12: 2.1}
        comparison = compare(a, b)
        assert comparison.test == WELCH
        expected = stats.ttest_ind([*a.values()], [*b.values()], equal_var=False).pvalue
        assert comparison.p == pytest.approx(expected)

    @pytest.mark.parametrize(
        ("a", "b"),
        [({0: 1.0}, {0: 2.0}), ({}, {0: 1.0, 1: 2.0}), ({0: 1.0, 1: 2.0, 2: 3.0}, {2: 1.0, 7: 2.0})],
    )
    def test_too_few_seeds_are_not_tested(self, a, b):
        assert compare(a, b).test is None
        assert not compare(a, b).worse
        assert not compare(a, b).alike

    def test_differences_without_spread(self):
        same = compare({0: 1.0, 1: 2.0}, {0: 1.0, 1: 2.0})
        assert same.p == 1
        shifted = compare({0: 0.9, 1: 0.8, 2: 0.7}, {0: 1.0, 1: 0.9, 2: 0.8})
        assert math.isnan(shifted.p)
        assert not shifted.worse
        assert compare({0: 1.0, 1: math.nan, 2: 2.0}, {0: 1.0, 1: 5.0, 2: 2.0}).n == 2

    def test_differences_that_cancel_are_zero(self):
        best = {0: 0.9, 1: 0.8, 2: 0.7}
        assert compare({0: 0.9 + 0.1, 1: 0.8 - 0.03, 2: 0.7 - 0.07}, best).difference == 0.0

    def test_holm(self):
        assert holm([0.01, math.nan, 0.04, 0.03]) == pytest.approx([0.03, math.nan, 0.06, 0.06], nan_ok=True)
        assert holm([0.6, 0.9]) == [1.0, 1.0]
        assert holm([]) == []


class TestEffects:
    def test_the_share_is_that_of_a_one_way_analysis_of_variance(self):
        groups, y = ["a", "a", "b", "b", "b", "c", "c"], [1.0, 2, 4, 5, 6, 1, 3]
        by = {g: [v for k, v in zip(groups, y, strict=True) if k == g] for g in "abc"}
        within = sum(np.var(v) * len(v) for v in by.values())
        total = np.var(y) * len(y)
        expected = (total - within - 2 * within / (7 - 3)) / total
        assert explained(groups, y) == pytest.approx(expected)

    def test_chance_explains_nothing(self):
        rng = np.random.default_rng(3)
        shares = [explained(list(range(20)) * 3, rng.normal(size=60)) for _ in range(50)]
        assert np.mean(shares) < 0.12
        assert explained(["a", "b"] * 10, [1.0, 2.0] * 10) == 1

    @pytest.mark.parametrize(
        ("groups", "y"), [(["a", "b"], [1, 2]), (["a"] * 3, [1, 2, 3]), (["a", "a", "b"], [1] * 3)]
    )
    def test_too_few_values(self, groups, y):
        assert math.isnan(explained(groups, y))

    def test_a_number_with_many_values_is_binned(self):
        xs = np.linspace(-4, 0, 60)
        effect_of_lr = effect("lr", [(f"{10**x:.6g}", -((x + 2) ** 2), str(i)) for i, x in enumerate(xs)])
        assert effect_of_lr.many
        assert effect_of_lr.share > 0.8
        assert effect("lr", [("0.1", math.nan, "0"), ("0.2", 1.0, "1")]).pairs == [("0.2", 1.0, "1")]


class TestPoints:
    def test_runs_that_differ_in_the_seed_are_one_point(self):
        runs = [
            run(4 * i + s, v + 0.01 * s, activation=a, seed=s)
            for i, (a, v) in enumerate([("relu", 0.8), ("tanh", 0.9)])
            for s in range(4)
        ]
        swept = sweep(runs, over="activation, seed")
        assert swept.over == ["activation", "seed"]
        assert [point.name for point in swept.points] == ["activation=tanh", "activation=relu"]
        stat = swept.points[0].stat("val/accuracy")
        assert (stat.mean, stat.std, stat.n) == pytest.approx(
            (0.915, np.std([0.9, 0.91, 0.92, 0.93], ddof=1), 4)
        )
        assert swept.best is swept.points[0]
        best, other = compare_points(swept.points, swept.objective)
        assert best is None
        # All differences are equal, so there is no variance for a test.
        assert math.isnan(other.p)

    def test_seeds_alone_are_one_point(self):
        swept = sweep([run(s, 0.5 + s, seed=s) for s in range(3)], over="seed")
        (point,) = swept.points
        assert point.stat("val/accuracy").n == 3
        assert point.name == ""

    def test_members_of_a_stack_are_its_seeds(self):
        stack = run(1, 0.9, repeats=3, metrics={"val/accuracy_std": 0.5})
        values = {0: {"val/accuracy": 0.8}, 1: {"val/accuracy": 0.9}, 2: {"val/accuracy": 1.0}}
        assert sweep([stack], {stack.id: values}).points[0].stat("val/accuracy") == Stat.of([0.8, 0.9, 1.0])
        # If its summary is lost, the run still has the mean and the standard deviation.
        assert sweep([stack], {stack.id: {}}).points[0].stat("val/accuracy") == Stat(0.9, 0.5, 3)

    def test_a_seed_that_was_run_twice_counts_once(self):
        swept = sweep([run(1, 0.1), run(2, 0.9), run(3, 0.5, activation="tanh")])
        assert swept.points[0].stat("val/accuracy") == Stat(0.9, None, 1)

    def test_smaller_is_better_for_a_loss(self):
        runs = [
            run(i, v, activation=a, metrics={"val/rmse": 1 - v})
            for i, (a, v) in enumerate([("relu", 0.2), ("tanh", 0.9)])
        ]
        swept = sweep([*runs], tags={"backproof.objective": "val/loss", "backproof.direction": "minimize"})
        assert swept.objective == Objective("val/loss", greater=False)
        assert swept.points[0].name == "activation=tanh"

    def test_objective(self):
        assert objective_of([run(metrics={"val/loss": 1.0})]) == Objective("val/accuracy", greater=True)
        assert objective_of([run() for _ in range(2)]).name == "val/accuracy"
        none = run()
        none.params["metrics"] = "[]"
        assert objective_of([none]) == Objective("val/loss", greater=False)
        assert objective_of([]) == Objective("val/loss", greater=False)
        assert not greater_is_better("test/rmse")
        assert greater_is_better("val/r2")
        assert greater_is_better("val/of_another_machine")
        assert not greater_is_better("val/accuracy_std")

    def test_several_objectives_have_a_front(self):
        tags = {"backproof.objective": "val/accuracy,val/loss", "backproof.direction": "maximize,minimize"}
        pairs = [(0.9, 0.5), (0.8, 0.2), (0.7, 0.3), (0.9, 0.6)]
        runs = [run(i, a, activation=str(i), metrics={"val/loss": loss}) for i, (a, loss) in enumerate(pairs)]
        swept = sweep(runs, tags=tags)
        assert {point.name for point in swept.result.front} == {"activation=0", "activation=1"}
        assert "★" in page(swept, {})

    def test_missing_numbers_are_ranked_last(self):
        swept = sweep([run(1, math.nan), run(2, 0.1, activation="tanh")])
        assert swept.points[0].name == "activation=tanh"
        assert sweep([run(1, math.nan)]).best is None

    def test_runs_that_did_not_finish(self):
        runs = [
            run(1, 0.5),
            run(2, None, "FAILED", activation="tanh", tags={"backproof.error": "DivergedError: inf"}),
            run(3, 0.9, activation="gelu", tags={"backproof.pruned": "true"}),
            run(4, None, "FAILED", activation="silu", tags={"backproof.config_hash": "7"}),
            run(7, 0.6, activation="silu"),
            run(8, None, "KILLED", activation="elu", tags={"backproof.superseded": "true"}),
        ]
        swept = sweep(runs)
        assert [point.name for point in swept.points] == ["activation=silu", "activation=relu"]
        assert {run.name for run in swept.unfinished} == {"run2", "run3"}
        assert {run.name for run in swept.retried} == {"run4", "run8"}

    def test_the_command_of_a_point(self):
        command = "backproof train activation=tanh 'model.hidden=[8,8]' seed={} tracking.run_name=null"
        note = f"four words\n\n```\n{command}\n```"
        runs = [run(s, activation="tanh", seed=s, tags={"mlflow.note.content": note.format(s)}) for s in (2, 0)]
        point = sweep([*runs, run(9, 0.1)]).points[0]
        assert point_command(point) == "backproof train -m activation=tanh 'model.hidden=[8,8]' seed=0,2"
        assert command_words(runs[0])[2:] == ["activation=tanh", "model.hidden=[8,8]", "seed=2"]
        # If somebody has replaced the description, the parameters are the whole config.
        assert "activation=tanh" in command_words(
            run(1, activation="tanh", tags={"mlflow.note.content": "mine"})
        )


class TestDrawing:
    def test_ticks_are_round_and_inside_the_range(self):
        for low, high in ((0.93, 0.97), (-3, 1e6), (1e-9, 2e-9)):
            scale = Scale.over([low, high], 0, 100)
            ticks = scale.ticks()
            assert 2 <= len(ticks) <= 7
            assert all(-1e-6 <= scale(value) <= 100 for value, _ in ticks)
        assert [words for _, words in Scale.over([1e-4, 1], 0, 1, log=True).ticks()] == [
            "1e-4",
            "0.001",
            "0.01",
            "0.1",
            "1",
        ]
        assert Scale.over([], 0, 1)(0.5) == 0.5
        assert math.isfinite(Scale.over([3.0, 3.0], 0, 1)(3.0))

    def test_places(self):
        few = CategoricalScale.over(["0.1", "0.01", None], 0, 100)
        assert few("0.01") < few("0.1") < few(None)
        many = CategoricalScale.over([f"{10**-k}" for k in range(12)], 0, 100)
        assert many.scale.log
        missing = CategoricalScale.over([*(str(k) for k in range(12)), None], 300, 44)
        assert missing(None) == 300
        assert all(missing(str(k)) < 300 for k in range(12))
        assert CategoricalScale.over(["x"], 0, 100)("x") == 50

    def test_attributes_are_escaped(self):
        runs = [(PlottedRun(point, '"<&', {}, 0.5), 1e-9, "passed") for point in (None, 3)]
        svg = template(TEMPLATES, "charts.html").module.checks(check_panel({"W1": runs}))
        circles = re.findall(r"<circle[^>]*>", svg)
        assert ["data-p" in circle for circle in circles] == [False, True]
        assert all('data-tip="&#34;&lt;&amp;' in circle for circle in circles)
        assert [px(value) for value in (1.50, 2.0, 3, 0.126)] == ["1.5", "2", "3", "0.13"]

    def test_thinned(self):
        curve = thinned({step: Stat(step) for step in range(1, 5001)})
        assert len(curve) == LENGTH
        assert {1, 5000} <= curve.keys()

    @pytest.mark.parametrize(
        ("seconds", "words"),
        [(None, "–"), (0.44, "0.4 s"), (12.2, "12 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
    )
    def test_duration(self, seconds, words):
        assert duration(seconds) == words


EVIL = "<script>throw 1</script>\"'&"


def made_up():
    """Return a sweep with everything a page can contain: text that could break it, missing numbers, failures."""
    rng = np.random.default_rng(0)
    runs = []
    for i in range(60):
        more = {"optimizer__momentum": rng.random()} if i % 3 else {}
        checks = {f"gradcheck/{t}/relative_error": 10 ** rng.normal(-15, 0.4) for t in ("W1", "b1")}
        runs.append(
            run(
                i,
                0.9 + rng.normal() * 0.02,
                ("FINISHED", "FAILED", "KILLED", "RUNNING")[max(0, i - 56)],
                metrics={**checks, **({"gradcheck/W1/relative_error": 0.3} if i == 5 else {})},
                tags={
                    "backproof.gradcheck": "failed" if i == 5 else "passed",
                    **({"backproof.error": f"ValueError: {EVIL}\nmore"} if i == 57 else {}),
                },
                activation=EVIL if i % 2 else "tanh",
                optimizer__lr=10 ** rng.uniform(-4, 0),
                **more,
            )
        )
    swept = sweep(runs, over="activation, optimizer.lr", metrics={"sweep/failed": 3.0})
    curves = {"val/loss": [{e: Stat(1 / e, 0.1, 3) for e in range(1, 9)}, {}, {1: Stat(2.0)}]}
    return swept, curves


class TestPage:
    def test_all_sections_exist_and_text_is_escaped(self):
        text = page(*made_up())
        for part in (
            "Leaderboard",
            "Parallel coordinates",
            "Effect of each hyperparameter on val/accuracy",
            "Learning curves of the best 3 points",
            "Gradient checks",
            "Runs that did not finish",
            "Run the best point again",
            "2 more points failed before their run was recorded",
            '<span class="failed">1 failed</span>',
            "1 failed, 1 stopped, 1 lost",
        ):
            assert part in text
        assert "<script>throw" not in text
        assert "&lt;script&gt;throw" in text
        assert text.count("<script>") == 1
        assert text.count('class="check wrong"') == 2
        assert "nan" not in re.sub(r"<script>.*</script>", "", text, flags=re.S)

    def test_it_refers_to_nothing_outside_the_page(self):
        text = page(*made_up())
        assert not re.search(r"https?:|//[a-z]|\burl\(|@import|\bsrc=|fetch\(", text)
        assert set(re.findall(r'href="([^"]*)"', text)) == {"data:,"}
        assert "default-src 'none'" in text

    def test_nothing_has_finished(self):
        text = page(sweep([run(1, None, "FAILED", tags={"backproof.error": "it broke"})]), {})
        assert "No run has finished" in text
        assert "it broke" in text
        assert "0 of 1" in text

    def test_an_empty_sweep(self):
        assert "No run has finished" in page(sweep([]), {})

    def test_the_marks_against_the_best(self):
        values = {
            "relu": [0.9, 0.91, 0.89, 0.9, 0.9],
            "tanh": [0.9, 0.9, 0.9, 0.89, 0.9],
            "elu": [0.1, 0.11, 0.12, 0.1, 0.1],
        }
        runs = [
            run(i * 5 + s, v, activation=a, seed=s)
            for i, (a, vs) in enumerate(values.items())
            for s, v in enumerate(vs)
        ]
        swept = sweep(runs)
        text = page(swept, {})
        rows = dict(zip(("relu", "tanh", "elu"), re.findall(r"<tr data-p.*?</tr>", text), strict=True))
        assert ">best<" in rows["relu"]
        assert "not distinguishable" in rows["tanh"]
        assert ">worse<" in rows["elu"]
        assert "p &lt; 0.001" in rows["elu"] or "p < 0.001" in rows["elu"]
        assert "paired t-test" in text
        assert "1 not distinguishable from the best" in text


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed here to open the page with")
class TestInABrowser:
    def open(self, place, text, probe=""):
        """Return the document after its scripts have run, and the messages of the console."""
        file = place / "report.html"
        # Violations of the policy and undefined names are reported on the console.
        file.write_text(text.replace("</body>", f"<script>{probe}</script></body>"))
        done = subprocess.run(
            [
                CHROMIUM,
                *HEADLESS,
                f"--user-data-dir={place / 'profile'}",
                "--enable-logging=stderr",
                "--v=0",
                "--virtual-time-budget=3000",
                "--dump-dom",
                file.as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]

    def test_no_error_and_everything_drawn(self, tmp_path):
        dom, console = self.open(tmp_path, page(*made_up()))
        assert console == []
        assert dom.count('class="run"') == 60
        assert dom.count("</svg>") >= 4

    def test_an_error_is_detected(self, tmp_path):
        _, console = self.open(tmp_path, page(*made_up()), "missing()")
        assert len(console) == 1

    def test_a_request_is_blocked_and_detected(self, tmp_path):
        _, console = self.open(
            tmp_path,
            page(*made_up()),
            'document.body.append(Object.assign(new Image(), {src: "http://127.0.0.1:9/x.png"}))',
        )
        assert len(console) == 1
        assert "Content Security Policy" in console[0]

    def test_interactions(self, tmp_path):
        probe = """
        const put = (name, value) => document.body.setAttribute("data-" + name, value);
        const all_rows = Array.from(document.querySelectorAll("#points tbody tr"));
        const rows = () => all_rows.filter((row) => row.offsetHeight > 0);
        document.querySelectorAll("#points th")[0].click();
        document.querySelectorAll("#points th")[0].click();
        put("first", document.querySelector("#points tbody tr").dataset.p);
        document.querySelector("button[data-all]").click();
        put("shown", rows().length);
        const cell = document.querySelector('#points tr[data-p="3"] td');
        cell.dispatchEvent(new MouseEvent("mouseover", {bubbles: true}));
        put("hot", document.querySelectorAll("path.run.hot").length);
        const grip = Array.from(document.querySelectorAll("rect.grip")).pop();
        const box = grip.getBoundingClientRect();
        grip.setPointerCapture = () => {};
        const at = (kind, share) => grip.dispatchEvent(new PointerEvent(kind, {clientX: box.x + 5,
          clientY: box.y + share * box.height, pointerId: 1, bubbles: true}));
        at("pointerdown", 0); at("pointermove", 0.4); at("pointerup", 0.4);
        put("out", document.querySelectorAll("path.run.out").length);
        put("rows", rows().length);
        document.getElementById("reset").click();
        put("back", document.querySelectorAll("path.run.out").length);
        """
        swept, curves = made_up()
        dom, console = self.open(tmp_path, page(swept, curves), probe)
        assert console == []
        values = dict(
            re.findall(r'data-(first|shown|hot|out|rows|back)="(\d+)"', dom[dom.index("<body") :][:400])
        )
        assert values["first"] == str(len(swept.points) - 1)
        assert values["shown"] == str(len(swept.points))
        assert values["hot"] == "1"
        assert 0 < int(values["out"]) < 60
        assert 0 < int(values["rows"]) < len(swept.points)
        assert int(values["out"]) - 3 + int(values["rows"]) == len(swept.points)
        assert values["back"] == "0"


def test_build_is_what_the_sweeper_calls():
    assert build.__module__ == "backproof.report.build"
