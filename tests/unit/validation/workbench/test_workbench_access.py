"""Who gets in, and what is refused at the door."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.validation.workbench.workbench_world import BASE, PASSWORD, World

from radfed.errors import GateError, InvalidInputError, RadfedError
from radfed.validation.workbench import signing, users
from radfed.validation.workbench.guard import MOST_BODY, place_of
from radfed.validation.workbench.serve import Door, check_door, serve
from radfed.validation.workbench.sessions import COOKIE
from radfed.validation.workbench.users import MOST_PER_USER, WINDOW_S, User, add_user, parse_user

LOGIN = {"user": "ben", "password": PASSWORD}


def test_somebody_logs_in_and_out(world: World) -> None:
    client = world.client("ben")
    me = client.get("/api/me").json()
    assert (me["user"], me["role"], me["blinded"], me["readers"]) == ("ben", "reader", False, 2)
    assert me["csrf"] == client.headers["X-CSRF-Token"]
    assert [label["name"] for label in me["labels"]] == ["left_ball", "right_ball"]
    assert client.post("/api/logout").status_code == 200
    assert client.get("/api/me").status_code == 401


def test_the_cookie_is_for_this_page_alone_and_the_database_holds_no_token(world: World) -> None:
    client = world.stranger()
    answer = client.post("/api/login", json=LOGIN)
    set_cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in set_cookie
    assert "samesite=strict" in set_cookie
    content = b"".join(path.read_bytes() for path in world.state.glob("review.sqlite*"))
    assert client.cookies[COOKIE].encode() not in content
    assert PASSWORD.encode() not in content
    assert b"$argon2id$" in content
    assert "$argon2id$v=19$m=19456,t=2,p=1$" in users._NOBODY  # as it is outside these tests


def test_nothing_is_told_to_a_stranger(world: World) -> None:
    paths = ("me", "cases", "cases/x", "cases/x/layers/image.nii.gz", "progress", "audit", "export/report.pdf")
    for cookie in ("", "forged" * 8):
        client = world.stranger()
        client.cookies.set(COOKIE, cookie)
        assert {client.get(f"/api/{path}").status_code for path in paths} == {401}


@pytest.mark.parametrize(("waited", "between"), [(31 * 60, 0), (12 * 3600 + 1, 20 * 60)])
def test_a_session_ends_when_idle_and_after_half_a_day(world: World, waited: int, between: int) -> None:
    client = world.client("ben")
    for step in range(between, 12 * 3600, between) if between else (0,):
        world.ahead = step
        assert client.get("/api/me").status_code == 200
    world.ahead = waited
    assert client.get("/api/me").status_code == 401


def test_a_change_needs_the_token_of_its_own_session(world: World) -> None:
    case = world.cases()[0]
    other = world.client("cleo").headers["X-CSRF-Token"]
    body = {"verdicts": {"prediction": "accept"}, "comment": "", "seconds": 1}
    client = world.client("ben")
    for token in ("", "wrong", other):
        answer = client.post(f"/api/cases/{case}/review", json=body, headers={"X-CSRF-Token": token})
        assert (answer.status_code, "X-CSRF-Token" in answer.json()["error"]) == (403, True)
    del client.headers["X-CSRF-Token"]
    assert client.post(f"/api/cases/{case}/review", json=body).status_code == 403
    assert client.get(f"/api/cases/{case}").json()["reviews"] == []


def test_each_role_does_its_own(world: World) -> None:
    case, said = world.cases()[0], {"prediction": "accept"}
    refused: list[tuple[str, str, str, dict[str, object] | None]] = [
        ("lea", "POST", f"cases/{case}/review", {"verdicts": said, "seconds": 1}),
        ("aud", "POST", f"cases/{case}/review", {"verdicts": said, "seconds": 1}),
        ("ben", "POST", f"cases/{case}/adjudicate", {"verdicts": said}),
        ("aud", "POST", f"cases/{case}/adjudicate", {"verdicts": said}),
        ("ben", "POST", "signoff", {"statement": "s", "password": PASSWORD}),
        ("aud", "POST", "signoff", {"statement": "s", "password": PASSWORD}),
        ("ben", "GET", "audit", None),
        ("ben", "GET", "export/signoff.json", None),
        ("aud", "GET", "export/results.zip", None),
    ]
    for user, method, path, body in refused:
        answer = world.client(user).request(method, f"/api/{path}", json=body)
        assert (answer.status_code, "this is for" in answer.json()["error"]) == (403, True), (user, path)


def test_wrong_passwords_are_limited_for_a_user_and_an_address(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    client = world.stranger()
    for _ in range(MOST_PER_USER):
        assert client.post("/api/login", json={**LOGIN, "password": "wrong"}).status_code == 401
    assert client.post("/api/login", json=LOGIN).status_code == 429
    assert client.post("/api/login", json={"user": "lea", "password": PASSWORD}).status_code == 200
    monkeypatch.setattr(users, "MOST_PER_ADDRESS", MOST_PER_USER + 1)
    assert client.post("/api/login", json={"user": "nobody", "password": "wrong"}).status_code == 401
    assert client.post("/api/login", json={"user": "lea", "password": PASSWORD}).status_code == 429
    world.ahead = WINDOW_S + 1
    assert client.post("/api/login", json=LOGIN).status_code == 200


def test_a_wrong_name_is_told_like_a_wrong_password_and_is_not_kept(world: World) -> None:
    client = world.stranger()
    answers = [
        client.post("/api/login", json={"user": user, "password": "wrong"}).json() for user in ("ben", "typed-secret")
    ]
    assert answers[0] == answers[1]
    assert b"typed-secret" not in (world.state / "audit.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 400),
        ({"Host": "127.0.0.1:9999"}, 400),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://127.0.0.1:8765"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": BASE, "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Host": "localhost:8765", "Origin": "http://localhost:8765"}, 200),
    ],
)
def test_other_hosts_and_pages_are_refused(begun: dict[bool, World], headers: dict[str, str], status: int) -> None:
    assert begun[False].stranger().post("/api/login", json=LOGIN, headers=headers).status_code == status


def test_a_request_that_is_too_large_is_refused_before_it_is_read(world: World) -> None:
    client = world.client("ben")
    said = {"verdicts": {"prediction": "accept"}, "comment": "x" * MOST_BODY, "seconds": 1}
    assert client.post(f"/api/cases/{world.cases()[0]}/review", json=said).status_code == 413

    def chunks() -> Iterator[bytes]:
        for _ in range(3):
            yield b"x" * (MOST_BODY // 2)

    assert client.post("/api/login", content=chunks()).status_code == 413  # no length is stated


@pytest.mark.parametrize("path", ["/", "/api/me", "/api/nothing", "/static/app.css", "/static/../app.py"])
def test_every_answer_says_how_the_browser_must_treat_it(begun: dict[bool, World], path: str) -> None:
    answer = begun[False].stranger().get(path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"


def test_no_path_leads_out(world: World) -> None:
    case = world.cases("lea")[0]
    for path in (
        "/static/..%2fapp.py", "/static/%2e%2e/app.py", "/static/....//app.py",
        "/api/cases/..%2f..%2fkey.pem/layers/image.nii.gz", f"/api/cases/{case}/layers/..%2f..%2fkey.pem.nii.gz",
        f"/api/cases/{case}/layers/key.pem", f"/api/cases/{case}/layers/%2fetc%2fpasswd.nii.gz",
        "/api/export/..%2fkey.pem", "/api/export/key.pem",
    ):  # fmt: skip
        answer = world.client("lea").get(path)
        assert (answer.status_code, list(answer.json())) == (404, ["error"]), path


def test_an_error_never_repeats_what_was_sent(world: World) -> None:
    answer = world.stranger().post("/api/login", json={"user": "ben", "password": ["sesame"], "sesame": 1})
    assert answer.status_code == 400
    assert "sesame" not in answer.json()["error"].replace("sesame: Extra", "")


@pytest.mark.parametrize("text", ["", "ben", "ben:boss", "Ben:reader", "a" * 40 + ":reader", "../x:reader"])
def test_a_user_must_have_a_name_and_a_role(text: str) -> None:
    with pytest.raises(InvalidInputError, match="NAME:ROLE"):
        parse_user(text)


def test_a_password_has_a_length_a_role_stays_and_a_new_password_ends_sessions(world: World) -> None:
    journal, client = world.bench.journal, world.client("ben")
    with pytest.raises(InvalidInputError, match="10 to 200"):
        add_user(journal, User("ben", "reader"), "short")
    with pytest.raises(InvalidInputError, match="different characters"):
        add_user(journal, User("ben", "reader"), "benbenbenben")
    with pytest.raises(InvalidInputError, match="a reader already"):
        add_user(journal, User("ben", "lead"), PASSWORD)
    add_user(journal, User("ben", "reader"), "another password")
    assert client.get("/api/me").status_code == 401
    assert world.stranger().post("/api/login", json=LOGIN).status_code == 401


def test_beyond_this_machine_there_is_only_tls(tmp_path: Path) -> None:
    check_door(Door())
    for host in ("0.0.0.0", "192.0.2.7", "reviews.example"):
        with pytest.raises(GateError, match="in the clear"):
            check_door(Door(host=host))
    with pytest.raises(InvalidInputError, match="both --tls-cert and --tls-key"):
        check_door(Door(certificate=tmp_path / "c.pem"))
    (tmp_path / "c.pem").write_text("no certificate")
    with pytest.raises(InvalidInputError, match="cannot be used"):
        check_door(Door("0.0.0.0", 8765, tmp_path / "c.pem", tmp_path / "c.pem"))
    assert place_of("::1", 80, None).hosts >= {"[::1]:80", "[::1]", "localhost"}


def test_what_fails_is_told_without_paths_and_raised_for_the_log(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise InvalidInputError("/srv/hospital: cannot be read")

    client = world.client("ben")
    monkeypatch.setattr(signing, "progress", fails)
    with pytest.raises(RadfedError, match="/srv/hospital"):  # as uvicorn sees it, which logs it
        client.get("/api/progress")
    client._transport.raise_server_exceptions = False
    answer = client.get("/api/progress")
    assert (answer.status_code, answer.json()) == (500, {"error": "this failed; see the server's log"})


def test_a_port_that_is_taken_is_told_before_anything_is_said_to_be_ready(world: World) -> None:
    told: list[str] = []
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(InvalidInputError, match=f"127.0.0.1:{port}/ cannot be listened on"):
            serve(world.bench, Door(port=port), told.append)
    assert told == []
