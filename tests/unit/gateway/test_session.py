"""The device's session, without a network: every order of messages."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest

from gateway import events as ev
from gateway import instructions as todo
from gateway.session import Session
from gateway.states import TRANSITIONS, State
from propius import wire

A, B, OTHER = "a" * 64, "b" * 64, "c" * 64
NONCE = "0" * 64


def assignment(identifier="as-1", kind="train", **changes):
    fields = {
        "id": identifier, "job": "job-1", "job_name": "digits", "tenant": "acme",
        "round": "r-1", "number": 1,
        "attempt": 1, "kind": kind, "workload": {"kind": "handler"}, "constraints": {},
        "parameters": wire.Blob(digest=A, size_bytes=1000),
        "program": wire.Blob(digest=B, size_bytes=10), "codec": "fp32", "max_update_bytes": 4 << 20,
        "seed": 1, "start_s": 10, "lease_s": 30, "deadline_s": 60, "ticket": "",
    }  # fmt: skip
    return wire.Assignment(**(fields | changes))


def hello(**changes):
    fields = {
        "protocol": 1,
        "device": "d",
        "signature": "0" * 128,
        "sdk": "t",
        "attributes": {},
        "workloads": {},
    }
    return wire.Hello(**(fields | changes))


class Driver:
    """Feeds one session and keeps what it answered."""

    def __init__(self):
        self.session = Session("s-1", ping_s=20)
        self.did = []

    def __call__(self, event):
        if isinstance(event, msgspec.Struct):
            event = ev.Received(event)
        self.did = self.session.handle(event)
        return self

    @property
    def sent(self):
        return [one.message for one in self.did if isinstance(one, todo.Send)]

    def only(self, kind):
        (found,) = [one for one in self.did if isinstance(one, kind)]
        return found

    def kinds(self):
        return [type(one) for one in self.did]


def at(state: State, kind="train") -> Driver:
    """A session that went the ordinary way to ``state``."""
    driver = Driver()
    steps = [
        (State.OPENED, ev.Opened(NONCE)),
        (State.VERIFYING, hello()),
        (State.FREE, ev.Verified()),
        (State.BINDING, wire.CheckIn()),
    ]
    if state is State.IDLE:
        steps.append((State.IDLE, ev.NothingToBind()))
    elif state is State.CHOOSING:
        steps.append((State.CHOOSING, ev.Offered(offer())))
    else:
        steps += [
            (State.HELD, ev.Bound(assignment(kind=kind))),
            (State.WORKING, wire.Accept(assignment="as-1")),
        ]
        if state is State.REPORTING and kind == "evaluate":
            steps.append((State.REPORTING, report()))
        else:
            steps += [(State.UPLOADING, upload(size_bytes=4)), (State.UPLOADING, ready(0))]
            if state is State.REPORTING:
                steps.append((State.REPORTING, ev.ChunkReceived(7, 0, memoryview(b"abcd"))))
    for reached, event in steps:
        driver(event)
        assert driver.session.state is reached
        if reached is state and state is not State.UPLOADING:
            return driver
    return driver


def offer(*rounds, identifier="o-1"):
    one = {"job": "j", "tenant": "t", "kind": "train", "workload": {}, "constraints": {}}
    return wire.Offer(
        offer=identifier,
        candidates=[wire.Candidate(round=name, **one) for name in rounds or ("r-1", "r-2")],
        answer_s=5,
    )


def upload(**changes):
    fields = {"assignment": "as-1", "transfer": 7, "digest": OTHER, "size_bytes": 100, "weight": 3}
    return wire.Upload(**(fields | changes))


def report(**changes):
    fields = {"assignment": "as-1", "weight": 3, "metrics": {"loss": 1.0}}
    return wire.Report(**(fields | changes))


def ready(offset):
    return ev.UploadOpened(7, offset)


def refused(driver, code, *, fatal):
    message = driver.sent[0]
    assert isinstance(message, wire.Refused)
    assert (message.code, message.fatal) == (code, fatal)
    assert (todo.Close in driver.kinds()) is fatal
    assert (driver.session.state is State.CLOSED) is fatal
    return message


# --- signing in -------------------------------------------------------------------------------


def test_it_challenges_then_verifies_then_welcomes():
    driver = Driver()
    assert driver(ev.Opened(NONCE)).sent == [wire.Challenge(nonce=NONCE, protocols=[1])]
    assert driver(hello()).did == [todo.Verify(hello(), NONCE)]
    assert driver(ev.Verified()).sent == [wire.Welcome(session="s-1", server="propius", ping_s=20)]


def test_an_unknown_protocol_is_refused_with_the_supported_ones():
    message = refused(at(State.OPENED)(hello(protocol=9)), "protocol_unsupported", fatal=True)
    assert "protocol 9" in message.message
    assert "supported: 1" in message.message


def test_a_refused_hello_ends_the_session_with_the_faults_by_attribute():
    driver = at(State.VERIFYING)(ev.HelloRefused("bad_attributes", "x", {"cpu": "no number"}))
    assert refused(driver, "bad_attributes", fatal=True).errors == {"cpu": "no number"}
    assert driver.only(todo.Close).code == 1008


@pytest.mark.parametrize("state", [State.OPENED, State.VERIFYING])
@pytest.mark.parametrize("message", [wire.CheckIn(), wire.Ping(), upload(), wire.Leave()])
def test_nothing_may_be_said_before_the_hello_is_answered(state, message):
    driver = at(state)(message)
    refused(driver, "out_of_order", fatal=True)
    assert driver.only(todo.Close).code == 1002


def test_a_second_hello_is_out_of_order():
    refused(at(State.FREE)(hello()), "out_of_order", fatal=True)


# --- binding ----------------------------------------------------------------------------------


def test_a_check_in_asks_for_a_round_and_idles_when_there_is_none():
    driver = at(State.FREE)
    assert driver(wire.CheckIn()).did == [todo.RequestBind()]
    assert driver(ev.NothingToBind()).did == [todo.Send(wire.Idle()), todo.Park()]


def test_a_check_in_twice_is_asked_once():
    assert at(State.BINDING)(wire.CheckIn()).did == []


def test_an_idle_device_gets_an_assignment_when_demand_opens_and_no_second_idle():
    driver = at(State.IDLE)
    assert driver(ev.DemandOpened()).did == [todo.RequestBind()]
    assert driver(ev.NothingToBind()).did == [todo.Park()]
    driver(ev.DemandOpened())
    assert driver(ev.Bound(assignment())).sent == [assignment()]


def test_attributes_of_a_check_in_are_checked_before_it_binds():
    driver = at(State.FREE)
    assert driver(wire.CheckIn(attributes={"os": "x"})).did == [todo.ChangeAttributes({"os": "x"})]
    assert driver(ev.AttributesChanged()).did == [todo.RequestBind()]


def test_bad_attributes_of_a_check_in_are_refused_and_the_device_stays():
    driver = at(State.FREE)(wire.CheckIn(attributes={"os": "x"}))
    driver(ev.AttributesRefused("os: unknown", {"os": "unknown"}))
    refused(driver, "bad_attributes", fatal=False)
    assert driver.session.state is State.FREE


def test_a_check_in_while_an_assignment_crosses_it_is_passed_over():
    assert at(State.HELD)(wire.CheckIn()).did == []


@pytest.mark.parametrize("state", [State.WORKING, State.UPLOADING, State.REPORTING])
def test_a_check_in_while_at_work_is_out_of_order(state):
    message = refused(at(state)(wire.CheckIn()), "out_of_order", fatal=True)
    assert "as-1" in message.message


def test_an_offer_is_answered_by_a_ranked_choice():
    driver = at(State.CHOOSING)
    driver(wire.Choose(offer="o-1", ranked=["r-2", "r-1"]))
    assert driver.did == [todo.RequestChoice(("r-2", "r-1"), ())]
    assert driver(ev.Bound(assignment())).session.state is State.HELD


def test_an_empty_choice_idles():
    driver = at(State.CHOOSING)(wire.Choose(offer="o-1", ranked=[], refused={"r-1": "condition"}))
    noted = todo.NoteRefusals((("j", "condition"),))
    assert driver.did == [noted, todo.Send(wire.Idle()), todo.Park()]


def test_rounds_that_will_never_do_are_handed_on_as_refused():
    driver = at(State.CHOOSING)
    driver(wire.Choose(offer="o-1", ranked=[], refused={"r-1": "consent", "r-2": "condition"}))
    noted = todo.NoteRefusals((("j", "consent"), ("j", "condition")))
    assert driver.did == [noted, todo.RequestChoice((), ("r-1",))]
    assert driver(ev.NothingToBind()).sent == [wire.Idle()]


def test_a_choice_for_an_offer_that_was_never_made_is_out_of_order():
    refused(at(State.CHOOSING)(wire.Choose(offer="o-9", ranked=[])), "out_of_order", fatal=True)


def test_a_choice_that_crosses_the_end_of_its_offer_is_passed_over():
    driver = at(State.CHOOSING)(ev.OfferExpired("o-1"))
    assert driver.did == [todo.Send(wire.Idle()), todo.Park()]
    assert driver(wire.Choose(offer="o-1", ranked=["r-1"])).did == []


def test_a_round_that_was_not_offered_cannot_be_chosen():
    driver = at(State.CHOOSING)(wire.Choose(offer="o-1", ranked=["r-9"]))
    assert "r-9" in refused(driver, "out_of_order", fatal=True).message


def test_an_expiry_of_an_answered_offer_is_passed_over():
    driver = at(State.CHOOSING)(wire.Choose(offer="o-1", ranked=["r-1"]))
    assert driver(ev.OfferExpired("o-1")).did == []


# --- the assignment ---------------------------------------------------------------------------


def test_accepting_twice_is_noted_once():
    driver = at(State.HELD)
    assert driver(wire.Accept(assignment="as-1")).did == [todo.AcceptAssignment("as-1")]
    assert driver(wire.Accept(assignment="as-1")).did == []


def test_a_resumed_assignment_goes_on_with_or_without_an_accept():
    for message in (
        wire.Progress(assignment="as-1", phase="training"),
        upload(),
        wire.Accept(assignment="as-1"),
    ):
        driver = at(State.VERIFYING)(ev.Verified(resume=assignment()))
        assert driver.sent[0].resume == assignment()
        assert driver(message).session.state is not State.CLOSED


@pytest.mark.parametrize(
    "message",
    [
        wire.Progress(assignment="as-1", phase="training"),
        wire.Download(assignment="as-1", transfer=1, digest=A),
        upload(),
    ],
)
def test_work_before_the_accept_is_out_of_order(message):
    refused(at(State.HELD)(message), "out_of_order", fatal=True)


@pytest.mark.parametrize("state", [State.HELD, State.WORKING, State.UPLOADING])
@pytest.mark.parametrize("kind", [wire.Decline, wire.Fail])
def test_an_assignment_is_given_back_at_once(state, kind):
    driver = at(state)(kind(assignment="as-1", code="consent", message="no"))
    status = "declined" if kind is wire.Decline else "failed"
    noted = [todo.NoteRefusals((("job-1", "consent"),))] if kind is wire.Decline else []
    assert driver.did == [
        *noted,
        todo.StopTransfers("as-1"),
        todo.GiveBack("as-1", status, "consent", "no"),
    ]
    assert driver.session.state is State.FREE


@pytest.mark.parametrize("state", [State.FREE, State.IDLE, State.BINDING, State.WORKING])
@pytest.mark.parametrize(
    "message",
    [
        wire.Accept(assignment="as-9"),
        wire.Decline(assignment="as-9", code="x"),
        wire.Progress(assignment="as-9", phase="training"),
        wire.Download(assignment="as-9", transfer=1, digest=A),
    ],
)
def test_a_stale_assignment_is_refused_by_name_and_the_session_goes_on(state, message):
    driver = at(state)(message)
    assert refused(driver, "stale_assignment", fatal=False).assignment == "as-9"
    assert driver.session.state is state


def test_messages_that_cross_the_end_of_their_assignment_are_passed_over():
    driver = at(State.WORKING)(ev.Cancelled("as-1", "round_closed"))
    assert driver.sent == [wire.Cancelled(assignment="as-1", code="round_closed")]
    for message in (
        wire.Progress(assignment="as-1", phase="training"),
        wire.Fail(assignment="as-1", code="x"),
        wire.Download(assignment="as-1", transfer=1, digest=A),
    ):
        assert driver(message).did == []


def test_a_cancellation_of_another_assignment_is_not_told():
    assert at(State.WORKING)(ev.Cancelled("as-9", "x")).did == []


def test_leaving_gives_back_what_is_held():
    driver = at(State.WORKING)(wire.Leave(code="low_battery"))
    assert driver.only(todo.GiveBack).code == "low_battery"
    assert driver.only(todo.Close).code == 1000


def test_an_assignment_bound_after_the_device_left_is_given_back():
    driver = at(State.BINDING)(wire.Leave())
    assert driver(ev.Bound(assignment())).only(todo.GiveBack).status == "declined"


def test_an_assignment_bound_after_the_connection_broke_waits_for_the_device():
    driver = at(State.BINDING)(ev.Disconnected())
    assert driver(ev.Bound(assignment())).did == []


def test_a_broken_connection_gives_nothing_back():
    assert at(State.UPLOADING)(ev.Disconnected()).did == []


# --- downloads --------------------------------------------------------------------------------


def test_only_blobs_of_the_assignment_are_sent():
    driver = at(State.WORKING)
    driver(wire.Download(assignment="as-1", transfer=1, digest=B, offset=3, credit=5))
    blob = wire.Blob(digest=B, size_bytes=10)
    assert driver.did == [todo.StartDownload("as-1", 1, blob, 3, 5)]
    driver(wire.Download(assignment="as-1", transfer=2, digest=OTHER))
    assert A in refused(driver, "digest_unknown", fatal=True).message


def test_a_download_past_the_end_is_refused():
    driver = at(State.WORKING)
    driver(wire.Download(assignment="as-1", transfer=1, digest=B, offset=11))
    refused(driver, "offset_mismatch", fatal=True)


# --- results ----------------------------------------------------------------------------------


def chunk(offset, size, transfer=7):
    return ev.ChunkReceived(transfer, offset, memoryview(bytes(size)))


def test_an_upload_goes_by_credit_to_accepted():
    size = wire.WINDOW + 100
    driver = at(State.WORKING)(upload(size_bytes=size))
    assert driver.kinds() == [todo.StartUpload]
    assert driver(ready(0)).sent == [wire.UploadReady(transfer=7, offset=0, credit=wire.WINDOW)]
    assert driver(chunk(0, wire.WINDOW)).kinds() == [todo.WriteChunk]
    driver(ev.ChunkWritten(7, wire.WINDOW))
    assert driver.sent == [wire.Credit(transfer=7, size_bytes=100)]
    assert driver(chunk(wire.WINDOW, 100)).kinds() == [todo.WriteChunk, todo.FinishUpload]
    assert driver(ev.ChunkWritten(7, 100)).did == []
    driver(ev.UpdateAccepted("as-1"))
    assert driver.sent == [wire.Accepted(assignment="as-1")]
    assert driver(wire.CheckIn()).did == [todo.RequestBind()]


def test_an_upload_resumes_and_a_complete_one_finishes_at_once():
    driver = at(State.WORKING)(upload())
    assert driver(ready(40)).sent == [wire.UploadReady(transfer=7, offset=40, credit=60)]
    driver = at(State.WORKING)(upload())(ready(100))
    assert driver.kinds() == [todo.Send, todo.FinishUpload]


@pytest.mark.parametrize(
    ("offset", "size", "code"),
    [
        (10, 10, "offset_mismatch"),
        (0, 101, "too_large"),
    ],
)
def test_a_wrong_chunk_ends_the_assignment_and_later_chunks_are_passed_over(offset, size, code):
    driver = at(State.WORKING)(upload())(ready(0))
    assert refused(driver(chunk(offset, size)), code, fatal=False).assignment == "as-1"
    assert driver.only(todo.GiveBack).code == code
    assert driver.only(todo.StopTransfers)
    assert driver(chunk(20, 10)).did == []


def test_a_repeated_chunk_is_refused():
    driver = at(State.WORKING)(upload())(ready(0))(chunk(0, 10))
    message = refused(driver(chunk(0, 10)), "offset_mismatch", fatal=False)
    assert "10 is expected" in message.message


def test_sending_past_the_credit_is_refused():
    driver = at(State.WORKING)(upload(size_bytes=4 << 20))(ready(0))
    driver(chunk(0, wire.WINDOW))
    refused(driver(chunk(wire.WINDOW, 1)), "credit_exceeded", fatal=False)


@pytest.mark.parametrize("state", [State.FREE, State.WORKING])
def test_a_chunk_that_was_not_announced_is_out_of_order(state):
    refused(at(state)(chunk(0, 1)), "out_of_order", fatal=True)


def test_a_chunk_before_upload_ready_is_out_of_order():
    refused(at(State.WORKING)(upload())(chunk(0, 1)), "out_of_order", fatal=True)


def test_an_update_over_the_cap_is_refused_before_a_byte_is_sent():
    driver = at(State.WORKING)(upload(size_bytes=(4 << 20) + 1))
    assert "at most 4194304" in refused(driver, "too_large", fatal=False).message
    assert driver.only(todo.GiveBack).status == "failed"


def test_a_second_upload_is_out_of_order():
    refused(at(State.UPLOADING)(upload(transfer=8)), "out_of_order", fatal=True)


def test_the_answer_must_be_of_the_rounds_kind():
    refused(at(State.WORKING)(report()), "out_of_order", fatal=True)
    refused(at(State.WORKING, kind="evaluate")(upload()), "out_of_order", fatal=True)


def test_a_report_is_stored_and_accepted():
    driver = at(State.WORKING, kind="evaluate")(report())
    assert driver.did == [todo.StoreReport(report())]
    driver(ev.UpdateAccepted("as-1"))
    assert driver.sent == [wire.Accepted(assignment="as-1")]


@pytest.mark.parametrize("was_reported", [True, False])
@pytest.mark.parametrize("message", [upload(assignment="as-0"), report(assignment="as-0")])
def test_a_result_of_an_earlier_assignment_is_looked_up(message, was_reported):
    driver = at(State.FREE)(message)
    assert driver.did == [todo.LookUp("as-0")]
    driver(ev.LookedUp("as-0", was_reported))
    if was_reported:
        assert driver.sent == [wire.Accepted(assignment="as-0")]
    else:
        refused(driver, "stale_assignment", fatal=False)


def test_a_bad_update_is_refused_by_tensor_and_its_slot_given_back():
    driver = at(State.REPORTING)
    driver(ev.UpdateRefused("as-1", "not_finite", "NaN", {"tensors.w": "NaN at 3"}))
    assert refused(driver, "not_finite", fatal=False).errors == {"tensors.w": "NaN at 3"}
    assert driver.only(todo.GiveBack).status == "failed"


def test_a_refusal_of_a_closed_round_gives_nothing_back():
    driver = at(State.REPORTING)(ev.UpdateRefused("as-1", "round_closed", "closed", bound=False))
    refused(driver, "round_closed", fatal=False)
    assert todo.GiveBack not in driver.kinds()


def test_a_result_that_is_being_counted_is_answered_once():
    driver = at(State.REPORTING)
    assert driver(ev.Cancelled("as-1", "round_closed")).did == []
    assert driver(wire.Fail(assignment="as-1", code="x")).did == []
    assert driver(ev.UpdateAccepted("as-1")).sent == [wire.Accepted(assignment="as-1")]


# --- from outside -----------------------------------------------------------------------------


@pytest.mark.parametrize("state", [state for state in State if state is not State.CLOSED])
def test_in_every_state_a_session_can_be_replaced_revoked_faulted_or_lost(state):
    refused(at(state)(ev.Replaced()), "session_replaced", fatal=True)
    driver = at(state)(ev.Faulted("rate_limited", "too many"))
    refused(driver, "rate_limited", fatal=True)
    driver = at(state)(ev.ComeBackLater(3, "busy", "full"))
    assert driver.sent == [wire.Retry(after_s=3, code="busy", message="full")]
    assert driver.only(todo.Close).code == 1013
    driver = at(state)(ev.Revoked())
    assert driver.sent[-1].code == "device_revoked"
    assert (todo.GiveBack in driver.kinds()) is (state in (
        State.HELD, State.WORKING, State.UPLOADING, State.REPORTING
    ))  # fmt: skip
    assert at(state)(ev.Disconnected()).session.state is State.CLOSED


def test_a_closed_session_does_nothing_more():
    driver = at(State.WORKING)(wire.Leave())
    every = [wire.CheckIn(), ev.DemandOpened(), ev.NothingToBind(), chunk(0, 1), ev.Replaced()]
    assert all(driver(event).did == [] for event in every)


def test_every_state_can_be_reached_and_left():
    reached = set().union(*TRANSITIONS.values()) | {State.OPENED}
    assert reached == set(State) == set(TRANSITIONS)
    assert all(State.CLOSED in moves for state, moves in TRANSITIONS.items() if moves)


def test_events_and_instructions_do_not_change():
    kinds = [*ev.Event.__args__, *todo.Instruction.__args__]
    assert all(dataclasses.is_dataclass(one) and one.__dataclass_params__.frozen for one in kinds)
