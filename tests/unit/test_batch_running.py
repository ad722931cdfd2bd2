"""Filling a folder with rows, whoever makes them: in several goes, with losses, and by running ComfyUIs."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from amadapter_core.batch.__main__ import main
from amadapter_core.batch.on_server import FILES, ServerPool, Workflow
from amadapter_core.batch.plan import Row, Settings
from amadapter_core.batch.running import Outcome, fill
from amadapter_core.result_folder import RESULT, ResultFolder

ROWS = [
    Row(f"{e}/{t}", f"{e}.jpg", (f"{e}.png",), (f"{t}.png",), seed, Settings(prompt=f"a {e}"))
    for seed, (e, t) in enumerate((e, t) for e in ("day", "night") for t in "abc")
]
KEYS = {row.name: "key" for row in ROWS}


class Workers:
    """A pool in which all workers are through at once.

    :param make: what comes of a row's attempts, by row and number of the attempt.
    :param absent: how many of its workers come up only while others are at work.
    """

    def __init__(self, count: int, make: Callable[[Row, int], Outcome], absent: int = 0):
        self.make, self.ready = make, list(range(count - absent))
        self.late = list(range(count - absent, count))
        self.running: dict[int, Row] = {}
        self.seen: list[str] = []

    @property
    def busy(self) -> int:
        return len(self.running)

    def free(self) -> list[int]:
        return [worker for worker in self.ready if worker not in self.running]

    def start(self, worker: int, row: Row) -> None:
        assert worker in self.free()
        self.running[worker] = row
        self.seen.append(row.name)

    def wait(self) -> list[tuple[Row, Outcome]]:
        if self.late:
            self.ready.append(self.late.pop())
            return []
        through, self.running = list(self.running.values()), {}
        assert through
        return [(row, self.make(row, self.seen.count(row.name))) for row in through]


def good(row: Row, _: int) -> Outcome:
    return Outcome({RESULT: row.name.encode()}, 0.5)


def results_in(folder: Path) -> dict[str, bytes]:
    root = folder / "results"
    return {path.relative_to(root).as_posix().removesuffix(".png"): path.read_bytes() for path in root.rglob("*.png")}


@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_row_has_exactly_one_result_however_many_workers(tmp_path: Path, count: int) -> None:
    pool = Workers(count, good, absent=count - 1)
    summary = fill(ResultFolder(tmp_path), ROWS, pool, KEYS)
    assert sorted(pool.seen) == sorted(row.name for row in ROWS)
    assert results_in(tmp_path) == {row.name: row.name.encode() for row in ROWS}
    assert (summary.done, summary.failed, summary.skipped, summary.left) == (6, 0, 0, 0)
    assert summary.seconds_each == 0.5 and summary.per_minute > 0


def test_finished_rows_are_not_made_again(tmp_path: Path) -> None:
    fill(ResultFolder(tmp_path), ROWS[:2], Workers(1, good), KEYS)
    pool = Workers(1, good)
    summary = fill(ResultFolder(tmp_path), ROWS, pool, KEYS)
    assert sorted(pool.seen) == sorted(row.name for row in ROWS[2:])
    assert (summary.done, summary.skipped) == (4, 2)


def test_a_broken_row_is_marked_and_the_others_go_on(tmp_path: Path) -> None:
    broken = ROWS[1].name

    def make(row: Row, attempt: int) -> Outcome:
        return Outcome(message="no picture") if row.name == broken else good(row, attempt)

    told = []
    pool = Workers(2, make)
    results = ResultFolder(tmp_path)
    summary = fill(results, ROWS, pool, KEYS, told=lambda row, outcome, left: told.append((row.name, left)))
    assert (summary.done, summary.failed, summary.left) == (5, 1, 0)
    assert pool.seen.count(broken) == 1
    assert results.records[broken]["message"] == "no picture"
    assert broken not in results_in(tmp_path)
    assert [left for _, left in told] == [5, 4, 3, 2, 1, 0]
    # Mended, it is made in the next go, alone.
    pool = Workers(1, good)
    assert fill(ResultFolder(tmp_path), ROWS, pool, KEYS).done == 1
    assert pool.seen == [broken]


def test_what_is_lost_is_tried_again_a_few_times(tmp_path: Path) -> None:
    once, always = ROWS[0].name, ROWS[4].name

    def make(row: Row, attempt: int) -> Outcome:
        lost = row.name == always or (row.name == once and attempt == 1)
        return Outcome(message="the worker was lost", again=True) if lost else good(row, attempt)

    pool = Workers(2, make)
    results = ResultFolder(tmp_path)
    summary = fill(results, ROWS, pool, KEYS, retries=2)
    assert (summary.done, summary.failed, summary.retried) == (5, 1, 3)
    assert (pool.seen.count(once), pool.seen.count(always)) == (2, 3)
    assert results.records[once]["attempts"] == 2
    assert results.records[always]["state"] == "failed"


def test_when_it_is_stopped_what_was_begun_is_kept(tmp_path: Path) -> None:
    pool = Workers(2, good)
    summary = fill(ResultFolder(tmp_path), ROWS, pool, KEYS, stopped=lambda: len(pool.seen) >= 2)
    assert len(pool.seen) == len(results_in(tmp_path)) == summary.done == 2
    assert summary.left == 4


PICTURE = b"\x89PNG of "


class FakeComfy(ThreadingHTTPServer):
    """Answers as ComfyUI does; its pictures say with what they were made."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.uploads: list[str] = []
        self.history: dict[str, dict] = {}

    def queue(self, prompt: dict) -> tuple[int, dict]:
        inputs = {node["_meta"]["title"]: node["inputs"] for node in prompt.values()}
        if inputs["Prompt"]["text"] == "refuse":
            first = {"message": "Value not in list", "details": "text"}
            return 400, {"error": {"message": "invalid"}, "node_errors": {"5": {"class_type": "X", "errors": [first]}}}
        number = str(len(self.history))
        saved = json.dumps([inputs["Target Labels"]["image"], inputs["Prompt"]["text"], inputs["sampler"]["seed"]])
        messages = []
        if inputs["Prompt"]["text"] == "fail":
            data = {"node_id": "6", "node_type": "KSampler", "exception_message": "out of luck\n"}
            messages = [["execution_error", data]]
        picture = {"filename": saved, "subfolder": "", "type": "output"}
        preview = {"filename": "no", "subfolder": "", "type": "temp"}
        self.history[number] = {
            "status": {"messages": messages, "completed": not messages},
            "outputs": {"7": {"images": [picture]}, "8": {"images": [preview]}},
        }
        return 200, {"prompt_id": number}


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/prompt":
            self.answer(*self.server.queue(json.loads(body)["prompt"]))
            return
        name = body.split(b'filename="')[1].split(b'"')[0].decode()
        assert b'name="subfolder"\r\n\r\nam_adapter_batch\r\n' in body
        self.server.uploads.append(body.split(b"\r\n\r\n")[-1].split(b"\r\n--")[0].decode())
        self.answer(200, {"name": name, "subfolder": "am_adapter_batch", "type": "input"})

    def do_GET(self) -> None:
        if self.path.startswith("/history/"):
            number = self.path.rpartition("/")[2]
            self.answer(200, {number: self.server.history[number]} if number in self.server.history else {})
        elif self.path.startswith("/queue"):
            self.answer(200, {"queue_running": [], "queue_pending": []})
        else:
            from urllib.parse import parse_qs, urlsplit

            self.send(200, PICTURE + parse_qs(urlsplit(self.path).query)["filename"][0].encode())

    def answer(self, status: int, content: dict) -> None:
        self.send(status, json.dumps(content).encode())

    def send(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def comfy() -> Iterator[Callable[[], FakeComfy]]:
    running = []

    def start() -> FakeComfy:
        running.append(FakeComfy())
        threading.Thread(target=running[-1].serve_forever, args=(0.01,), daemon=True).start()
        return running[-1]

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def node(title: str, kind: str = "X", **inputs: object) -> dict:
    return {"class_type": kind, "inputs": inputs, "_meta": {"title": title}}


PROMPT = {
    "1": node("Exemplar", image="any.png"),
    "2": node("Exemplar labels", image="any.png"),
    "3": node("Target Labels", image="any.png", palette="cityscapes19"),
    "5": node("Prompt", text="any"),
    "6": node("sampler", "KSampler", seed=0, steps=3),
    "8": node("linked", "KSampler", seed=["4", 0]),
    "9": node("another seed", noise_seed=5),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The rows' files and a workflow."""
    for name in ("day.jpg", "day.png", "night.jpg", "night.png", "a.png", "b.png", "c.png"):
        (tmp_path / name).write_text(f"content of {name}")
    (tmp_path / "workflow.json").write_text(json.dumps(PROMPT))
    return tmp_path


class TestOnServers:
    def test_a_workflow_is_filled_by_the_titles_of_its_nodes(self, folder: Path) -> None:
        workflow = Workflow(folder / "workflow.json")
        places = {"exemplar": "up/x.jpg", "exemplar_labels": "up/x.png", "target_labels": "up/y.png"}
        filled = workflow.filled(ROWS[4], places)
        assert [filled[key]["inputs"]["image"] for key in "123"] == ["up/x.jpg", "up/x.png", "up/y.png"]
        assert filled["3"]["inputs"]["palette"] == "cityscapes19"
        assert filled["5"]["inputs"]["text"] == "a night"
        assert filled["6"]["inputs"] == {"seed": 4, "steps": 3}
        assert (filled["8"]["inputs"], filled["9"]["inputs"]) == ({"seed": ["4", 0]}, {"noise_seed": 5})
        assert workflow.prompt == PROMPT

    def test_what_is_called_seed_has_it_instead_of_the_samplers(self, folder: Path) -> None:
        (folder / "workflow.json").write_text(json.dumps(PROMPT | {"4": node("Seed", value=1)}))
        filled = Workflow(folder / "workflow.json").filled(ROWS[4], dict.fromkeys(FILES.values(), "x"))
        assert (filled["4"]["inputs"], filled["6"]["inputs"]["seed"]) == ({"value": 4}, 0)

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            ({"nodes": [], "links": []}, r"export it with Workflow > Export \(API\)"),
            ({"1": {"inputs": {}}}, "no prompt in ComfyUI's API format"),
            ([], "no prompt in ComfyUI's API format"),
            ({"1": node("KSampler")}, "no node of .* is called 'target labels'"),
        ],
    )
    def test_other_files_are_refused(self, folder: Path, content: object, told: str) -> None:
        (folder / "workflow.json").write_text(json.dumps(content))
        with pytest.raises(ValueError, match=told):
            Workflow(folder / "workflow.json")

    def test_rows_go_to_all_servers_and_files_to_each_but_once(self, folder: Path, comfy: Callable) -> None:
        servers = [comfy(), comfy()]
        pool = ServerPool([server.url for server in servers], Workflow(folder / "workflow.json"), folder)
        results = ResultFolder(folder / "out")
        summary = fill(results, ROWS, pool, KEYS)
        pool.close()
        assert summary.done == 6
        assert {record["server"] for record in results.records.values()} == {server.url for server in servers}
        for server in servers:
            assert len(server.uploads) == len(set(server.uploads))
        for row, content in ((row, results_in(folder / "out")[row.name]) for row in ROWS):
            target, prompt, seed = json.loads(content.removeprefix(PICTURE))
            assert (prompt, seed) == (row.settings.prompt, row.seed)
            assert target.startswith("am_adapter_batch/") and target.endswith(".png")

    def test_a_server_that_is_gone_loses_no_row(self, folder: Path, comfy: Callable) -> None:
        here, gone = comfy(), comfy()
        gone.shutdown()
        gone.server_close()
        pool = ServerPool([gone.url, here.url], Workflow(folder / "workflow.json"), folder)
        assert fill(ResultFolder(folder / "out"), ROWS, pool, KEYS).done == 6
        pool.close()
        with pytest.raises(RuntimeError, match="no ComfyUI answers any more"):
            fill(ResultFolder(folder / "other"), ROWS, ServerPool([gone.url], pool.workflow, folder), KEYS)

    def test_what_the_server_complains_of_is_the_rows_message(self, folder: Path, comfy: Callable) -> None:
        rows = [Row(p, "day.jpg", ("day.png",), ("a.png",), 0, Settings(prompt=p)) for p in ("refuse", "fail", "good")]
        results = ResultFolder(folder / "out")
        pool = ServerPool([comfy().url], Workflow(folder / "workflow.json"), folder)
        summary = fill(results, rows, pool, {row.name: "key" for row in rows})
        pool.close()
        assert (summary.done, summary.failed, summary.retried) == (1, 2, 0)
        assert results.records["refuse"]["message"] == "node 5 (X): Value not in list: text"
        assert results.records["fail"]["message"] == "node 6 (KSampler): out of luck"

    def test_the_command_runs_a_workflow_and_goes_on(
        self, folder: Path, comfy: Callable, capsys: pytest.CaptureFixture
    ) -> None:
        rows = [{"exemplar": "day.jpg", "exemplar_labels": "day.png", "target_labels": f"{t}.png"} for t in "ab"]
        (folder / "plan.json").write_text(json.dumps(rows))
        command = ["run", str(folder / "plan.json"), str(folder / "out"), "--workflow", str(folder / "workflow.json")]
        for done, skipped in ((2, 0), (0, 2)):
            assert main([*command, "--server", comfy().url]) == 0
            told = json.loads(capsys.readouterr().out.splitlines()[-1])
            assert (told["done"], told["skipped"]) == (done, skipped)
        (folder / "b.png").unlink()
        assert main(command) == 2
        assert "row 2: target_labels: no file b.png" in capsys.readouterr().err
