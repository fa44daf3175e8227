"""The session's state machine, without a network: every order of messages that matters."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from propius import wire
from propius.agent import work
from propius.agent.events import (
    CancelTraining,
    CloseAndRetry,
    Connected,
    Disconnected,
    DownloadFinished,
    Failed,
    Finished,
    Forget,
    MessageReceived,
    Note,
    ResetBackoff,
    Send,
    StartDownload,
    StartUpload,
    Stop,
    StopRequested,
    Timer,
    Train,
    TrainingFinished,
    TransferProgress,
    UploadFailed,
)
from propius.agent.introduction import Introduction
from propius.agent.refusals import FIXES, Refusal
from propius.agent.session import Line, Session
from tests.unit.sdk.agent.scripted import NONCE, PROGRAM, assignment, candidate

KEY = Ed25519PrivateKey.generate()
DONE = Finished(3.0, {"loss": 0.5}, "d" * 64, 1000)


class Driver:
    """A session with a clock that the test turns."""

    def __init__(self, judge: Any = lambda asked: None, held: Any = None) -> None:
        introduction = Introduction("d1", "sdk", {"os": "linux"}, {"program": ["1"]}, KEY.sign)
        self.session = Session(introduction, judge, held=held)
        self.now = 1000.0

    def do(self, event: Any) -> list[Any]:
        return self.session.handle(event, self.now)

    def hear(self, message: Any) -> list[Any]:
        return self.do(MessageReceived(message))

    def tick(self, seconds: float) -> list[Any]:
        self.now += seconds
        return self.do(Timer())

    def connect(self, resume: Any = None) -> list[Any]:
        self.do(Connected())
        self.hear(wire.Challenge(nonce=NONCE, protocols=[1]))
        return self.hear(wire.Welcome(session="s", server="x", ping_s=30.0, resume=resume))

    def downloading(self, **changes: Any) -> StartDownload:
        self.connect()
        out = self.hear(assignment(**changes))
        return next(one for one in out if isinstance(one, StartDownload))

    def working(self, **changes: Any) -> list[Any]:
        return self.do(DownloadFinished(self.downloading(**changes).transfer))

    def finished(self, **changes: Any) -> list[Any]:
        self.working(**changes)
        return self.do(TrainingFinished("a1", DONE))


def sent(instructions: list[Any]) -> list[str]:
    return [one.message.__struct_config__.tag for one in instructions if isinstance(one, Send)]


def only(kind: type[Any], instructions: list[Any]) -> Any:
    (found,) = [one for one in instructions if isinstance(one, kind)]
    return found


# --- hello ---


def test_it_proves_its_key_at_hello() -> None:
    driver = Driver()
    driver.do(Connected())
    out = driver.hear(wire.Challenge(nonce=NONCE, protocols=[1, 2]))
    hello = only(Send, out).message
    KEY.public_key().verify(bytes.fromhex(hello.signature), wire.proof(NONCE, "d1"))
    assert hello.attributes == {"os": "linux"}


def test_it_checks_in_after_a_welcome_and_resets_the_backoff() -> None:
    driver = Driver()
    out = driver.connect()
    assert sent(out) == ["check_in"]
    assert only(ResetBackoff, out)


def test_it_stops_at_a_gateway_of_another_protocol() -> None:
    driver = Driver()
    driver.do(Connected())
    stop = only(Stop, driver.hear(wire.Challenge(nonce=NONCE, protocols=[7])))
    assert stop.code == "protocol_unsupported"
    assert "pip install" in stop.message


@pytest.mark.parametrize("code", sorted(FIXES))
def test_a_fatal_refusal_that_a_person_must_mend_stops_with_the_fix(code: str) -> None:
    driver = Driver()
    driver.do(Connected())
    driver.hear(wire.Challenge(nonce=NONCE, protocols=[1]))
    refused = wire.Refused(code=code, message="no", fatal=True, errors={"cpu": "text"})
    stop = only(Stop, driver.hear(refused))
    assert FIXES[code] in stop.message
    assert "cpu: text" in stop.message


def test_protocol_faults_are_retried_a_few_times_without_the_work_and_then_stop() -> None:
    driver = Driver()
    driver.working()
    refused = wire.Refused(code="out_of_order", message="no", fatal=True)
    out = driver.hear(refused)
    assert only(CancelTraining, out) == CancelTraining("a1")
    waits = [only(CloseAndRetry, out).after_s]
    for _ in range(4):
        driver.connect()
        waits.append(only(CloseAndRetry, driver.hear(refused)).after_s)
    assert waits == [2, 4, 8, 16, 32]
    assert only(Stop, driver.hear(refused)).code == "out_of_order"


def test_a_fault_of_the_gateway_is_retried_for_ever_and_keeps_the_work() -> None:
    driver = Driver()
    driver.working()
    for _ in range(20):
        out = driver.hear(wire.Refused(code="unavailable", message="no", fatal=True))
        assert [type(one) for one in out][-1] is CloseAndRetry
    assert driver.session.bench.holds("a1")


def test_faults_long_ago_are_forgotten() -> None:
    driver = Driver()
    for _ in range(20):
        driver.now += 4000
        driver.connect()
        out = driver.hear(wire.Refused(code="bad_message", message="no", fatal=True))
        assert only(CloseAndRetry, out).after_s == 2


# --- an assignment, straight through ---


def test_a_train_assignment_from_accept_to_accepted() -> None:
    driver = Driver()
    driver.connect()
    out = driver.hear(assignment())
    assert sent(out) == ["accept"]
    transfer = only(StartDownload, out).transfer
    out = driver.do(DownloadFinished(transfer))
    assert only(Train, out).assignment.id == "a1"
    out = driver.do(TrainingFinished("a1", DONE))
    upload = only(Send, out).message
    assert (upload.digest, upload.size_bytes, upload.weight) == (DONE.digest, 1000, 3.0)
    out = driver.hear(wire.UploadReady(transfer=upload.transfer, offset=10, credit=99))
    assert only(StartUpload, out) == StartUpload("a1", upload.transfer, 10, 99)
    out = driver.hear(wire.Accepted(assignment="a1"))
    assert only(Forget, out) == Forget("a1")
    assert sent(out) == ["check_in"]
    assert driver.session.bench.work is None


def test_an_evaluation_reports_without_an_upload() -> None:
    driver = Driver()
    driver.working(kind="evaluate")
    out = driver.do(TrainingFinished("a1", Finished(5.0, {"accuracy": 0.9})))
    assert only(Send, out).message == wire.Report(
        assignment="a1", weight=5.0, metrics={"accuracy": 0.9}
    )


def test_training_waits_for_parameters_and_program() -> None:
    driver = Driver()
    driver.connect()
    program = wire.Blob(digest=PROGRAM, size_bytes=7)
    first, second = (
        one for one in driver.hear(assignment(program=program)) if isinstance(one, StartDownload)
    )
    assert driver.do(DownloadFinished(second.transfer)) == []
    assert only(Train, driver.do(DownloadFinished(first.transfer)))


def test_a_pushed_assignment_while_busy_is_declined() -> None:
    driver = Driver()
    driver.working()
    out = driver.hear(assignment("a2"))
    assert only(Send, out).message.code == "busy"
    assert driver.session.bench.holds("a1")


def test_the_same_assignment_again_changes_nothing() -> None:
    driver = Driver()
    driver.working()
    assert driver.hear(assignment()) == []


# --- dropped connections ---


def test_dropped_while_downloading_it_asks_again_under_a_new_transfer() -> None:
    driver = Driver()
    first = driver.downloading()
    driver.do(Disconnected())
    assert driver.do(DownloadFinished(first.transfer)) == [], "that transfer died with its line"
    out = driver.connect(resume=assignment())
    assert sent(out) == ["accept"]
    again = only(StartDownload, out)
    assert again.transfer != first.transfer
    assert again.blob == first.blob


def test_dropped_with_one_of_two_blobs_it_asks_only_for_the_other() -> None:
    driver = Driver()
    driver.connect()
    program = wire.Blob(digest=PROGRAM, size_bytes=7)
    first, second = (
        one for one in driver.hear(assignment(program=program)) if isinstance(one, StartDownload)
    )
    driver.do(DownloadFinished(first.transfer))
    driver.do(Disconnected())
    out = driver.connect(resume=assignment(program=program))
    assert only(StartDownload, out).blob == second.blob


def test_dropped_while_training_the_training_goes_on() -> None:
    driver = Driver()
    driver.working()
    assert driver.do(Disconnected()) == []
    out = driver.connect(resume=assignment())
    assert sent(out) == ["accept", "progress"]
    assert sent(driver.do(TrainingFinished("a1", DONE))) == ["upload"]


def test_finished_while_offline_it_sends_after_the_reconnect() -> None:
    driver = Driver()
    driver.working()
    driver.do(Disconnected())
    assert driver.do(TrainingFinished("a1", DONE)) == []
    assert sent(driver.connect(resume=assignment())) == ["accept", "upload"]


def test_failed_while_offline_it_says_so_after_the_reconnect() -> None:
    driver = Driver()
    driver.working()
    driver.do(Disconnected())
    assert driver.do(TrainingFinished("a1", Failed("task_failed", "no"))) == []
    assert sent(driver.connect(resume=assignment())) == ["accept", "fail"]
    assert driver.session.bench.work is None


@pytest.mark.parametrize("upload_had_started", [False, True])
def test_dropped_while_uploading_it_announces_again(upload_had_started: bool) -> None:
    driver = Driver()
    first = only(Send, driver.finished()).message
    if upload_had_started:
        driver.hear(wire.UploadReady(transfer=first.transfer, offset=0, credit=99))
        driver.do(TransferProgress(first.transfer, 500, 1000))
    driver.do(Disconnected())
    out = driver.connect(resume=assignment())
    assert sent(out) == ["accept", "upload"]
    again = next(
        one.message for one in out if isinstance(one, Send) and isinstance(one.message, wire.Upload)
    )
    assert again.transfer != first.transfer
    assert driver.hear(wire.UploadReady(transfer=first.transfer, offset=0, credit=9)) == []
    out = driver.hear(wire.UploadReady(transfer=again.transfer, offset=500, credit=9))
    assert only(StartUpload, out).offset == 500


def test_dropped_before_the_verdict_and_already_counted_it_asks_and_hears_accepted() -> None:
    driver = Driver()
    driver.finished()
    driver.do(Disconnected())
    assert sent(driver.connect(resume=None)) == ["upload"]
    out = driver.hear(wire.Accepted(assignment="a1"))
    assert only(Forget, out) == Forget("a1")
    assert sent(out) == ["check_in"]


def test_dropped_before_the_verdict_and_lease_over_it_lets_go() -> None:
    driver = Driver()
    driver.finished()
    driver.do(Disconnected())
    driver.connect(resume=None)
    stale = wire.Refused(code="stale_assignment", message="over", assignment="a1")
    assert only(Forget, driver.hear(stale)) == Forget("a1")
    assert driver.session.bench.work is None


def test_lease_over_while_training_offline_the_training_stops() -> None:
    driver = Driver()
    driver.working()
    driver.do(Disconnected())
    out = driver.connect(resume=None)
    assert only(CancelTraining, out) == CancelTraining("a1")
    assert sent(out) == ["check_in"]


def test_another_assignment_at_resume_replaces_the_old_one() -> None:
    driver = Driver()
    driver.working()
    driver.do(Disconnected())
    out = driver.connect(resume=assignment("a2"))
    assert only(CancelTraining, out) == CancelTraining("a1")
    assert only(StartDownload, out).assignment == "a2"


def test_offline_too_long_the_work_is_given_up() -> None:
    driver = Driver()
    driver.working()
    driver.do(Disconnected())
    wake_at = driver.session.wake_at()
    assert wake_at == 1000 + 2 * 600 + 30
    assert driver.tick(100) == []
    assert only(CancelTraining, driver.tick(1200)) == CancelTraining("a1")
    assert driver.session.wake_at() is None


@pytest.mark.parametrize("resume", [assignment(), None])
def test_a_result_of_an_earlier_process_is_sent(resume: wire.Assignment | None) -> None:
    driver = Driver(held=work.held(assignment(), DONE, now=0))
    assert sent(driver.connect(resume=resume))[-1] == "upload"
    assert sent(driver.hear(wire.Accepted(assignment="a1"))) == ["check_in"]


# --- refusals, cancels, failures ---


def test_cancelled_in_mid_training_it_stops_and_checks_in() -> None:
    driver = Driver()
    driver.working()
    out = driver.hear(wire.Cancelled(assignment="a1", code="round_closed"))
    assert only(CancelTraining, out) == CancelTraining("a1")
    assert sent(out) == ["check_in"]
    assert driver.do(TrainingFinished("a1", DONE)) == [], "too late to matter"


@pytest.mark.parametrize(
    "late",
    [
        wire.Cancelled(assignment="a0", code="round_closed"),
        wire.Accepted(assignment="a0"),
        wire.Refused(code="stale_assignment", message="over", assignment="a0"),
    ],
)
def test_words_about_another_assignment_change_nothing(late: Any) -> None:
    driver = Driver()
    driver.working()
    assert sent(driver.hear(late)) == []
    assert driver.session.bench.holds("a1")
    idle = Driver()
    idle.connect()
    idle.hear(late)
    assert idle.session.wake_at() == 1030, "no extra check-in"


def test_a_refused_update_ends_the_assignment_and_waits_before_the_next() -> None:
    driver = Driver()
    driver.finished()
    out = driver.hear(wire.Refused(code="bad_update", message="NaN", assignment="a1"))
    assert only(Forget, out) == Forget("a1")
    assert sent(out) == []
    assert sent(driver.tick(1.0)) == ["check_in"]


def test_failed_training_is_told_and_waits_before_the_next() -> None:
    driver = Driver()
    driver.working()
    out = driver.do(TrainingFinished("a1", Failed("out_of_memory", "x" * 900)))
    assert sent(out) == ["fail"]
    assert len(next(one for one in out if isinstance(one, Send)).message.message) == 500
    assert sent(driver.tick(1.0)) == ["check_in"]


def test_a_damaged_download_is_fetched_once_more_and_then_fails() -> None:
    driver = Driver()
    first = driver.downloading()
    damaged = Failed("digest_mismatch", "no")
    again = only(StartDownload, driver.do(DownloadFinished(first.transfer, damaged)))
    out = driver.do(DownloadFinished(again.transfer, damaged))
    assert sent(out) == ["fail"]


def test_an_unreadable_update_is_told_as_a_failure() -> None:
    driver = Driver()
    upload = only(Send, driver.finished()).message
    assert sent(driver.do(UploadFailed(upload.transfer, Failed("disk", "no")))) == ["fail"]


def test_a_refused_job_is_declined_and_judged_once_in_a_session() -> None:
    asked: list[str] = []

    def judge(one: Any) -> Refusal:
        asked.append(one.job)
        return Refusal("consent", "no")

    driver = Driver(judge)
    driver.connect()
    out = driver.hear(assignment())
    assert only(Send, out).message == wire.Decline(assignment="a1", code="consent", message="no")
    assert sent(driver.tick(1.0)) == ["check_in"]
    assert sent(driver.hear(assignment("a2"))) == ["decline"]
    assert driver.tick(1.0) == [], "each refusal in a row waits longer"
    assert sent(driver.tick(1.0)) == ["check_in"]
    assert asked == ["j1"]


def test_a_judge_that_fails_declines_and_is_asked_again() -> None:
    asked: list[str] = []

    def judge(one: Any) -> Refusal | None:
        asked.append(one.id)
        if one.id == "a1":
            raise KeyError("oncology-west-7")
        return None

    driver = Driver(judge)
    out = driver.connect(resume=assignment())
    declined = only(Send, out).message
    assert (declined.code, declined.message) == ("agent_error", "KeyError in the agent")
    driver.tick(1.0)
    assert sent(driver.hear(assignment("a2"))) == ["accept"]


def test_a_device_that_cannot_evaluate_still_trains_for_the_job() -> None:
    def judge(one: Any) -> Refusal | None:
        return Refusal("unsupported", "no") if one.kind == "evaluate" else None

    driver = Driver(judge)
    driver.connect()
    assert sent(driver.hear(assignment("a1", kind="evaluate"))) == ["decline"]
    driver.tick(1.0)
    assert sent(driver.hear(assignment("a2"))) == ["accept"]


def test_a_straggler_of_a_full_round_is_no_fault() -> None:
    driver = Driver()
    driver.finished()
    out = driver.hear(wire.Refused(code="round_closed", message="closed", assignment="a1"))
    assert only(Note, out).event == "assignment.late"
    assert sent(driver.tick(1.0)) == ["check_in"]


def test_the_wait_after_refusals_ends_with_a_success() -> None:
    driver = Driver()
    driver.session.declines = 6
    driver.finished()
    driver.hear(wire.Accepted(assignment="a1"))
    assert driver.session.declines == 0


# --- offers ---


def test_an_offer_is_answered_in_the_gateways_order_with_reasons_for_the_rest() -> None:
    def judge(one: Any) -> Refusal | None:
        return Refusal("private_constraint", "no") if one.round == "r2" else None

    driver = Driver(judge)
    driver.connect()
    offer = wire.Offer(
        offer="o1", candidates=[candidate("r1"), candidate("r2"), candidate("r3")], answer_s=5.0
    )
    choice = only(Send, driver.hear(offer)).message
    assert choice.ranked == ["r1", "r3"]
    assert choice.refused == {"r2": "private_constraint"}


def test_an_offer_while_busy_is_refused_whole() -> None:
    driver = Driver()
    driver.working()
    offer = wire.Offer(offer="o1", candidates=[candidate()], answer_s=5.0)
    choice = only(Send, driver.hear(offer)).message
    assert (choice.ranked, choice.refused) == ([], {"r1": "busy"})


# --- time ---


def test_progress_comes_at_least_every_third_of_the_lease() -> None:
    driver = Driver()
    driver.working()
    for _ in range(20):
        wake_at = driver.session.wake_at()
        assert wake_at is not None
        assert wake_at - driver.now <= 10.0
        out = driver.tick(wake_at - driver.now)
        assert sent(out)
        if "ping" in sent(out):
            driver.hear(wire.Pong())


def test_the_shortest_lease_keeps_no_device_busy() -> None:
    driver = Driver()
    driver.working(lease_s=1e-6)
    assert driver.session.wake_at() == driver.now + 0.25


def test_progress_names_the_phase_and_the_share() -> None:
    driver = Driver()
    transfer = driver.downloading().transfer
    driver.do(TransferProgress(transfer, 1, 4))
    progress = only(Send, driver.tick(7.5)).message
    assert (progress.phase, progress.fraction) == ("downloading", 0.25)


def test_it_pings_a_silent_line_and_closes_one_that_does_not_answer() -> None:
    driver = Driver()
    driver.connect()
    assert driver.tick(29.0) == []
    assert sent(driver.tick(1.0)) == ["ping"]
    driver.hear(wire.Pong())
    assert sent(driver.tick(30.0)) == ["ping"]
    assert only(CloseAndRetry, driver.tick(30.0)).after_s is None


def test_after_a_suspend_it_pings_before_it_gives_the_line_up() -> None:
    driver = Driver()
    driver.connect()
    assert sent(driver.tick(86_400.0)) == ["ping"]


def test_a_gateway_that_never_greets_is_left() -> None:
    driver = Driver()
    driver.do(Connected())
    assert driver.tick(14.0) == []
    assert only(CloseAndRetry, driver.tick(1.0))


def test_it_honours_retry_after() -> None:
    driver = Driver()
    driver.connect()
    out = driver.hear(wire.Retry(after_s=12.5, code="busy", message="later"))
    assert only(CloseAndRetry, out).after_s == 12.5


# --- stopping ---


def test_stopping_gives_back_the_work_and_leaves() -> None:
    driver = Driver()
    driver.working()
    out = driver.do(StopRequested())
    assert sent(out) == ["leave"]
    assert only(CancelTraining, out)


def test_stopping_with_a_finished_result_keeps_it_for_the_next_start() -> None:
    driver = Driver()
    driver.finished()
    assert driver.do(StopRequested()) == []


def test_messages_out_of_place_do_nothing() -> None:
    driver = Driver()
    driver.do(Connected())
    welcome = wire.Welcome(session="s", server="x", ping_s=30.0)
    assert driver.hear(welcome) == []
    assert driver.hear(assignment()) == []
    assert driver.session.line is Line.GREETING
