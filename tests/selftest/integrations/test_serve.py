"""`osv-harness serve`: what it answers, and what it refuses, over real connections."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from random import Random
from urllib.parse import quote

import pytest
import schemathesis
from history_records import triage
from hypothesis import HealthCheck, given, settings
from planted_nights import BEGAN, CELLS, DAY, Planted
from schemathesis.specs.openapi.checks import ignored_auth
from served import Answer, Server, served

from harness.integrations.server.models import Facts
from harness.integrations.server.triage import triage_status
from harness.metrics.history.records import Action
from harness.metrics.history.store import History
from harness.report.model.data import ReportData
from harness.report.morning.report import morning

NIGHTS = 12
HOSTILE = "<script>alert(1)</script>\x1b]0;x\x07 \udcff \u202e"
OSV = [cell for cell in CELLS if cell.startswith("osv:")]
ROFS = OSV[0]
SECRET = "a secret of this host"
USER = "X-Forwarded-User"


def says(night: int, cell: str, test: str, dice: Random) -> tuple[str, bool, str] | None:
    """One test breaks on OSv in the last night, in hostile words; one has failed for four."""
    if test == "tst-c.so" and cell in OSV and night == NIGHTS - 1:
        return "failed", False, f"status 1 {HOSTILE}"
    if test == "tst-d.so" and cell == ROFS and night >= NIGHTS - 4:
        return "crashed", False, "page fault"
    return None


@pytest.fixture(scope="module")
def told() -> ReportData:
    return Planted(NIGHTS, says, sizes=lambda night, cell: 1.03 if night >= NIGHTS - 1 else 1.0).told()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("serve")


@pytest.fixture(scope="module")
def runs(folder: Path) -> Path:
    """Evidence of the last night's failure, and beside it all that could lead elsewhere."""
    (folder / "secret.txt").write_text(SECRET)
    place = folder / "runs" / f"night-{NIGHTS - 1}" / ROFS.replace(":", "-") / "tst-c.so"
    place.mkdir(parents=True)
    (place / "console.txt").write_bytes(f"<script>alert('{HOSTILE}')</script>\n".encode("utf-8", "replace"))
    (place / "console.raw").write_bytes(b"\xff\x00<html>\x1b[2J")
    (place / "verdict.json").write_text("{}")
    (place / "<b>.txt").write_text("named by a guest")
    (place / ".hidden").write_text(SECRET)
    (place / "link.txt").symlink_to(folder / "secret.txt")
    os.mkfifo(place / "fifo")
    (place / "folder").mkdir()
    (place.parent / "linked").symlink_to(folder)
    (folder / "runs" / "out").symlink_to(folder)
    return folder / "runs"


@pytest.fixture(scope="module")
def server(folder: Path, runs: Path, told: ReportData) -> Iterator[Server]:
    url = str(folder / "history.sqlite")
    with History(url) as history:
        history.add([*told.samples, *told.judged])
    with served(folder, url, "--runs", str(runs)) as one:
        yield one


@pytest.fixture(scope="module")
def history(server: Server, folder: Path) -> Iterator[History]:
    with History(str(folder / "history.sqlite")) as one:
        yield one


def evidence(name: str, cell: str = ROFS.replace(":", "-"), test: str = "tst-c.so") -> str:
    return f"/evidence/night-{NIGHTS - 1}/{cell}/{test}/{name}"


def test_the_facts_are_those_of_the_morning(server: Server, told: ReportData) -> None:
    """And the page is the one that `report` writes, with a way to the server's own script."""
    facts, today = server.facts(), morning(told.safe)
    assert facts["headline"] == today.headline != ""
    kinds = {(one["kind"], one["test"]) for one in facts["failures"]}
    assert kinds == {("new", "tst-c.so"), ("still", "tst-d.so")}
    new = next(one for one in facts["failures"] if one["kind"] == "new")
    assert [one["cell"] for one in new["cells"]] == sorted(OSV)
    assert new["since"]["bad"]["commit"] == facts["version"]["commit"]
    assert [one["moved"][0]["metric"] for one in facts["steps"] if one["new"]] == ["size.kernel"] * 2
    page = server.ask("/", Accept_Encoding="gzip")
    assert page.headers["content-encoding"] == "gzip" and page.headers["content-type"].startswith("text/html")
    plain = server.ask("/")
    assert 'data-new="tst-c.so"' in plain.text and "static/serve.js" in plain.text
    assert "http-equiv" not in plain.text and "script-src 'sha256-" in plain.headers["content-security-policy"]
    assert "<script>alert" not in plain.text
    again = server.ask("/", If_None_Match=plain.headers["etag"])
    assert (again.status, again.body) == (304, b"")


def test_every_verdict_of_the_history_is_reached(server: Server, told: ReportData) -> None:
    seen: list[str] = []
    path = "/api/verdicts?most=100"
    while True:
        answer = server.get(path)
        seen += [one["id"] for one in answer["verdicts"]]
        if answer["next"] is None:
            break
        path = f"/api/verdicts?most=100&before={answer['next']}"
    assert sorted(seen) == sorted(one.id for one in told.judged) and len(seen) > 500
    bad = server.get(f"/api/verdicts?expected=false&cell={quote(ROFS)}")["verdicts"]
    assert {one["test"] for one in bad} == {"tst-c.so", "tst-d.so"} and len(bad) == 5
    assert all(one["reason"].isprintable() for one in bad)
    view = server.ask("/verdicts?test=tst-c.so&unexpected=1")
    assert view.status == 200 and "<script>" not in view.text and view.text.count("<tr><td>") == len(OSV)
    older = re.search(r'rel="next" href="([^"]+)"', server.ask("/verdicts").text)
    assert older and server.ask("/" + older[1].replace("&amp;", "&")).status == 200
    numbers = server.get(f"/api/samples?metric=size.kernel&cell={quote(ROFS)}")
    assert len(numbers) == NIGHTS and numbers[-1]["value"] == pytest.approx(9e6 * 1.03, rel=0.001)
    assert server.get(f"/api/samples?metric=*&cell={quote(ROFS)}") == []


def test_evidence_is_text_that_does_nothing(server: Server) -> None:
    new = f"run=night-{NIGHTS - 1}&cell={quote(ROFS)}&test=tst-c.so"
    found = server.get(f"/api/evidence?{new}")
    assert [one["name"] for one in found["files"]] == ["<b>.txt", "console.raw", "console.txt", "verdict.json"]
    for one in found["files"]:
        answer = server.ask("/" + one["path"])
        assert (answer.status, len(answer.body)) == (200, one["size"])
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'; sandbox")
    listed = server.ask(f"/evidence?{new}").text
    assert "&lt;b&gt;.txt" in listed and "<b>" not in listed
    assert server.ask(f"/api/evidence?run=none&cell={quote(ROFS)}&test=tst-c.so").status == 404


@pytest.mark.parametrize(
    "path",
    [
        evidence("link.txt"), evidence(".hidden"), evidence("fifo"), evidence("folder"), evidence("none.txt"),
        evidence(".."), evidence("%2e%2e"), evidence("..%2f..%2f..%2f..%2fsecret.txt"), evidence("%00"),
        evidence("secret.txt", test="linked"), evidence("secret.txt", "..", ".."), evidence("x.txt", "..", "."),
        "/evidence/out/runs/x/secret.txt", "/evidence/../secret.txt", "/evidence/..%2f../x/y/secret.txt",
        "/evidence//etc/x/passwd", "/evidence/%2fetc/x/y/passwd", "/static/../secret.txt",
        "/static/%2e%2e/guard.py",
        "/static/..%2f..%2f..%2fsecret.txt", "/static//etc/passwd", "/api/evidence?run=..&cell=..&test=..",
        f"/api/evidence?run=out&cell=runs&test=night-{NIGHTS - 1}", "/evidence?run=.&cell=.&test=.",
        f"/api/evidence?run=night-{NIGHTS - 1}&cell={quote(ROFS)}&test=../linked", "/.serve.secret",
        "/evidence/" + "x" * 5000 + "/a/b/c",
    ],
)  # fmt: skip
def test_nothing_leads_out_of_the_folder_of_runs(server: Server, path: str) -> None:
    answer = server.ask(path)
    assert answer.status == 404 and SECRET not in answer.text
    assert answer.json["title"] and answer.json["detail"]


POST, JSON, TEXT = "POST", "application/json", "text/plain"
SUBJECT = "test/osv/tst-c.so"


@pytest.mark.parametrize(
    ("status", "said", "method", "path", "body", "headers"),
    [
        (421, "not known by that name", "GET", "/", None, {"Host": "evil.example"}),
        (421, "not known by that name", "GET", "/api/facts", None, {"Host": "127.0.0.1.evil.example:8717"}),
        (421, "not known by that name", "GET", "/", None, {"Host": "[::1"}),
        (404, "nothing at this address", "GET", "/api/none", None, {}),
        (404, "nothing at this address", "GET", "/docs", None, {}),
        (405, "can't be done", "DELETE", "/api/facts", None, {"X_CSRF_Token": "token"}),
        (422, "before", "GET", "/api/verdicts?before=-1", None, {}),
        (422, "before", "GET", "/api/verdicts?before=x", None, {}),
        (422, "before", "GET", "/api/verdicts?before=99999999999999999999", None, {}),
        (422, "most", "GET", "/api/verdicts?most=100000", None, {}),
        (422, "expected", "GET", "/api/verdicts?expected=perhaps", None, {}),
        (422, "test", "GET", "/api/verdicts?test=" + "x" * 501, None, {}),
        (422, "metric", "GET", "/api/samples?cell=c", None, {}),
        (403, "no token", POST, "/api/triage", b"{}", {"Content_Type": JSON}),
        (403, "no token", POST, "/api/triage", b"{}", {"Content_Type": JSON, "X_CSRF_Token": "0" * 64}),
        (403, "no token", POST, "/api/none", b"{}", {}),
        (403, "another site", POST, "/api/triage", b"{}", {"Origin": "https://evil.example"}),
        (403, "another site", POST, "/api/triage", b"{}", {"Origin": "null"}),
        (403, "another site", POST, "/api/triage", b"{}", {"Sec_Fetch_Site": "cross-site"}),
        (403, "another site", POST, "/api/jobs", b"{}", {"Sec_Fetch_Site": "same-site"}),
        (422, "body.action", POST, "/api/triage", b"{}", {}),
        (422, "JSON decode", POST, "/api/triage", b"{", {}),
        (422, "body", POST, "/api/triage", b"", {}),
        (422, "body", POST, "/api/triage", b'{"action": "reopen", "subject": "x"}', {"Content_Type": TEXT}),
        (422, "wanted", POST, "/api/triage", b'{"action": "reopen", "subject": "x", "wanted": 1}', {}),
        (422, "unicode", POST, "/api/triage", b'{"action": "reopen", "subject": "\\ud800"}', {}),
        (422, "body.id", POST, "/api/triage", b'{"action": "reopen", "subject": "x", "id": "../x"}', {}),
        (400, "parsing the body", POST, "/api/triage", b"\xff\x80", {}),
        (400, "parsing the body", POST, "/api/triage", b"[" * 60_000, {}),
        (413, "too large", POST, "/api/triage", b" " * 70_000, {}),
        (404, "not among the facts", POST, "/api/triage", b'{"action": "reopen", "subject": "test/osv/x"}', {}),
        (409, "fails otherwise", POST, "/api/triage",
         json.dumps({"action": "acknowledge", "subject": SUBJECT}).encode(), {}),
        (409, "No farm", POST, "/api/jobs",
         json.dumps({"action": "rerun", "subject": SUBJECT, "cell": ROFS}).encode(), {}),
        (404, "not a cell", POST, "/api/jobs",
         json.dumps({"action": "rerun", "subject": SUBJECT, "cell": "--help"}).encode(), {}),
    ],
)  # fmt: skip
def test_a_bad_request_gets_a_clear_answer(
    server: Server, history: History, status: int, said: str, method: str, path: str, body: bytes | None,
    headers: dict[str, str],
) -> None:  # fmt: skip
    """Of one form, in words, and nothing is kept of it."""
    server.facts()
    before = len(history.triage())
    if method == POST and said != "no token":
        headers = {"Content_Type": JSON, "X_CSRF_Token": "token", **headers}
    if headers.get("X_CSRF_Token") == "token":
        headers["X_CSRF_Token"] = server.get("/api/session")["token"]
    answer = server.ask(path, method, body, **headers)
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json.keys() == {"title", "status", "detail"} and answer.json["status"] == status
    assert said in f"{answer.json['title']} {answer.json['detail']}"
    assert len(history.triage()) == before
    assert "Traceback" not in server.words


def test_a_request_without_a_host_is_refused(server: Server) -> None:
    assert server.ask("/", Host="").status == 400


def test_a_browser_is_refused_in_html(server: Server) -> None:
    answer = server.ask("/nothing", Accept="text/html,*/*")
    assert answer.status == 404 and answer.headers["content-type"].startswith("text/html")
    assert "There is nothing at this address." in answer.text


def test_decisions_are_kept_in_the_history(server: Server, history: History) -> None:
    """Once, whoever sends them twice; each takes the place of the one before."""
    new = next(one for one in server.facts()["failures"] if one["kind"] == "new")
    about = {"subject": new["subject"], "identity": new["identity"]}
    first = {"action": "acknowledge", **about, "note": HOSTILE[:-2], "id": "one"}
    done = server.post("/api/triage", first | {"note": "known"})
    assert done.status == 201 and done.json["action"] == "acknowledge"
    assert server.post("/api/triage", first | {"note": "known"}).json == done.json
    assert server.post("/api/triage", first | {"note": "another"}).status == 409
    assert server.post("/api/triage", {"action": "assign", **about, "assignee": "bob <b>"}).status == 201
    standing = next(one for one in server.get("/api/triage")["standings"] if one["subject"] == new["subject"])
    assert standing["acknowledged"] == done.json and standing["assignee"] == "bob <b>"
    kept = history.triage()
    assert [(one.action, one.identity) for one in kept] == [
        (Action.ACKNOWLEDGE, new["identity"]), (Action.ASSIGN, new["identity"])
    ]  # fmt: skip
    assert server.post("/api/triage", {"action": "reopen", **about}).status == 201
    standing = next(one for one in server.get("/api/triage")["standings"] if one["subject"] == new["subject"])
    assert standing["acknowledged"] is None and standing["assignee"] == "bob <b>"
    assert len(standing["log"]) == 3


def test_an_acknowledgement_holds_for_what_fails_and_until_it_is_gone(server: Server, history: History) -> None:
    """One that was made before it began, or of another failure, is none."""
    facts = server.facts()
    new = next(one for one in facts["failures"] if one["kind"] == "new")
    about = {"subject": new["subject"], "identity": new["identity"]}

    def held(**others: object) -> bool:
        one = triage(**{**about, "taken": new["began"] + 60, **others})
        (standing,) = triage_status([one], Facts.model_validate(facts), lambda job: False).standings
        return standing.acknowledged is not None

    assert held()
    assert not held(taken=new["began"] - 60)
    assert not held(identity="crashed: another cause")
    assert not held(action=Action.REOPEN)
    assert new["began"] >= BEGAN + (NIGHTS - 1) * DAY


def test_the_proxys_user_is_named(server: Server, folder: Path, runs: Path) -> None:
    """By the header that is named; without a name nothing is changed; a token is one user's."""
    with served(
        folder, str(folder / "history.sqlite"), "--user-header", USER, "--url", "https://osv.example/"
    ) as one:
        new = next(row for row in one.facts()["failures"] if row["kind"] == "new")
        body = {"action": "acknowledge", "subject": new["subject"], "identity": new["identity"]}
        theirs = {"Host": "osv.example", "Origin": "https://osv.example"}

        def sent(user: str, token_of: str) -> Answer:
            token = one.get("/api/session", X_Forwarded_User=token_of)["token"]
            return one.post("/api/triage", body, X_Forwarded_User=user, X_CSRF_Token=token, **theirs)

        done = sent("Jürgen".encode().decode("latin-1"), "Jürgen".encode().decode("latin-1"))
        assert (done.status, done.json["author"]) == (201, "Jürgen")
        assert (sent("bob", "ann").status, sent("", "").status) == (403, 403)
        assert "Nobody's name" in sent("", "").json["title"]
        assert one.ask("/api/session", X_Forwarded_User="x" * 101).status == 400
        assert one.ask("/api/facts", Host="other.example").status == 421


def test_the_interface_is_as_its_document_says(server: Server) -> None:
    """Schemathesis makes requests from the OpenAPI document, sound ones and others, and judges the answers."""
    server.facts()
    schema = schemathesis.openapi.from_url(f"{server.url}api/openapi.json")
    token = server.get("/api/session")["token"]
    operations = [one.ok() for one in schema.get_all_operations()]
    assert len(operations) == 10
    for operation in operations:
        if operation.path.endswith("/events"):
            continue  # which has no end

        @given(case=operation.as_strategy())
        @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
        def ask(case: schemathesis.Case) -> None:
            case.headers = {**(case.headers or {}), "X-CSRF-Token": token}
            case.call_and_validate(excluded_checks=[ignored_auth])

        ask()
    assert "Traceback" not in server.words
