"""The owner's conditions: by hand, each alone, and how a session keeps to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from propius import wire
from propius.agent import conditions, energy, meter
from propius.agent.conditions import Conditions, ConditionsFile, Readings, resolve, unmet
from propius.agent.events import (
    CancelTraining,
    ConditionsChanged,
    Disconnected,
    Failed,
    PauseWork,
    Refusal,
    ResumeWork,
    Send,
    TrainingFinished,
)
from propius.agent.owner_files import OwnerFileError
from tests.unit.sdk.agent.scripted import assignment, candidate
from tests.unit.sdk.agent.test_session import DONE, Driver

NOT_NOW = ConditionsChanged(Refusal("condition", "not now"), "on battery", grace_s=60.0)
AGAIN = ConditionsChanged(None, "they hold")


def on_mains(**file: Any) -> Conditions:
    return resolve(ConditionsFile(**file), battery=False, cores=8)


# --- the verdict ---


@pytest.mark.parametrize(
    ("file", "now", "names"),
    [
        ({"charging": True}, {"charging": True}, []),
        ({"charging": True}, {"charging": False}, ["charging"]),
        ({"charging": True}, {"charging": None}, ["charging"]),
        ({"unmetered": True}, {"metered": False}, []),
        ({"unmetered": True}, {"metered": True}, ["unmetered"]),
        ({"unmetered": True}, {"metered": None}, ["unmetered"]),
        ({}, {"charging": False, "metered": True, "load": 1.0}, []),
        ({"hours": ["09:00-17:00"]}, {"minute": 9 * 60}, []),
        ({"hours": ["09:00-17:00"]}, {"minute": 17 * 60}, ["hours"]),
        ({"hours": ["22:00-06:30"]}, {"minute": 23 * 60 + 59}, []),
        ({"hours": ["22:00-06:30"]}, {"minute": 0}, []),
        ({"hours": ["22:00-06:30"]}, {"minute": 6 * 60 + 29}, []),
        ({"hours": ["22:00-06:30"]}, {"minute": 6 * 60 + 30}, ["hours"]),
        ({"hours": ["22:00-06:30"]}, {"minute": 21 * 60 + 59}, ["hours"]),
        ({"hours": ["01:00-02:00", "12:00-13:00"]}, {"minute": 12 * 60 + 1}, []),
        ({"hours": ["03:00-03:00"]}, {"minute": 700}, []),
        ({"cpu_load_max": 0.5}, {"load": 0.5}, []),
        ({"cpu_load_max": 0.5}, {"load": 0.51}, ["cpu_load_max"]),
        ({"temperature_max_c": 80}, {"temperature_c": 81.0}, ["temperature_max_c"]),
        ({"temperature_max_c": 80}, {"temperature_c": None}, []),
        ({"memory_free_min_mb": 512}, {"memory_free_mb": 511}, ["memory_free_min_mb"]),
        ({"disk_free_min_mb": 100}, {"disk_free_mb": 99}, ["disk_free_min_mb"]),
        ({"seconds_a_day": 60}, {"used_s": 59.9}, []),
        ({"seconds_a_day": 60}, {"used_s": 60.0}, ["seconds_a_day"]),
        ({"bytes_a_day": 1000}, {"used_bytes": 1000}, ["bytes_a_day"]),
        ({"bytes_a_day": "unlimited"}, {"used_bytes": 10**12}, []),
        ({"charging": True, "hours": ["01:00-02:00"]}, {"charging": False}, ["charging", "hours"]),
    ],
)
def test_a_condition_holds_or_not(
    file: dict[str, Any], now: dict[str, Any], names: list[str]
) -> None:
    assert [one.name for one in unmet(on_mains(**file), Readings(**now))] == names


def test_on_battery_hardware_the_defaults_are_careful_and_elsewhere_they_ask_for_nothing() -> None:
    phone = resolve(ConditionsFile(), battery=True, cores=8)
    assert (phone.charging, phone.unmetered, phone.cpu_load_max) == (True, True, 0.25)
    assert (phone.seconds_a_day, phone.bytes_a_day) == (3600.0, 500e6)
    server = on_mains()
    assert (server.charging, server.unmetered, server.cpu_load_max) == (False, False, None)
    assert (server.seconds_a_day, server.bytes_a_day) == (None, None)
    assert (server.cores, server.nice) == (4, 10)
    assert resolve(ConditionsFile(cores=3), battery=False, cores=2).cores == 2
    assert resolve(ConditionsFile(charging=False), battery=True, cores=8).charging is False


def test_the_conditions_are_said_in_words() -> None:
    said = "\n".join(conditions.words(resolve(ConditionsFile(), battery=True, cores=2)))
    for words in ("only while charging", "unmetered", "at most 25%", "3600 s", "500 MB", "1 core"):
        assert words in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('hours = ["25:00-06:00"]', "hours"),
        ("cpu_load_max = 2.0", "cpu_load_max"),
        ("only_when_charging = true", "only_when_charging"),
        ('seconds_a_day = "much"', "seconds_a_day"),
        ("nice = 20", "nice"),
    ],
)
def test_a_fault_in_the_file_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "conditions.toml").write_text(text)
    with pytest.raises(OwnerFileError, match=words):
        conditions.load(tmp_path / "conditions.toml", battery=False, cores=1)


# --- the readings ---


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("GENERAL.STATE:100 (connected)\nGENERAL.METERED:no (guessed)\n", False),
        ("GENERAL.STATE:100 (connected)\nGENERAL.METERED:yes\n", True),
        ("GENERAL.STATE:30 (disconnected)\nGENERAL.METERED:yes\n\n"
         "GENERAL.STATE:100 (connected)\nGENERAL.METERED:no\n", False),
        ("GENERAL.STATE:100 (connected (externally))\nGENERAL.METERED:no\n", None),
        ("GENERAL.STATE:100 (connected)\nGENERAL.METERED:unknown\n", None),
    ],
)  # fmt: skip
def test_network_manager_tells_whether_the_network_is_metered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, expected: bool | None
) -> None:
    (tmp_path / "nmcli").write_text(f"#!/bin/sh\ncat <<'END'\n{answer}END\n")
    (tmp_path / "nmcli").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert meter.metered() is expected


def test_without_network_manager_it_cannot_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert meter.metered() is None


def test_the_machine_is_read(tmp_path: Path) -> None:
    one = meter.SystemMeter(tmp_path)
    one.read()
    now = one.read()
    assert 0 <= now.load <= 1
    assert now.memory_free_mb > 0
    assert 0 <= now.minute < 24 * 60


class Temperature(NamedTuple):
    """As psutil tells of a sensor, in degrees Celsius."""

    label: str
    current: float
    high: float | None
    critical: float | None


class Battery(NamedTuple):
    """As psutil tells of a battery."""

    percent: float
    secsleft: int
    power_plugged: bool | None


@pytest.mark.parametrize(
    ("battery", "has", "charging"),
    [
        (None, False, True),
        (Battery(80.0, psutil.POWER_TIME_UNLIMITED, True), True, True),
        (Battery(80.0, 3600, False), True, False),
        (Battery(80.0, psutil.POWER_TIME_UNKNOWN, None), True, None),
    ],
)
def test_a_battery_is_told_and_whether_it_charges(
    monkeypatch: pytest.MonkeyPatch, battery: Battery | None, has: bool, charging: bool | None
) -> None:
    monkeypatch.setattr(psutil, "sensors_battery", lambda: battery, raising=False)
    assert (meter.has_battery(), meter.charging()) == (has, charging)


def test_a_battery_that_cannot_be_read_or_asked_for_counts_as_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unreadable() -> None:
        raise FileNotFoundError("/sys/class/power_supply/BAT0/capacity")

    monkeypatch.setattr(psutil, "sensors_battery", unreadable, raising=False)
    assert (meter.has_battery(), meter.charging()) == (False, True)
    monkeypatch.delattr(psutil, "sensors_battery")
    assert (meter.has_battery(), meter.charging()) == (False, True)


@pytest.mark.parametrize(
    ("sensors", "hottest"),
    [
        ({}, None),
        ({"coretemp": [61.0, 67.5], "nvme": [81.0]}, 67.5),
        ({"k10temp": [55.0], "amdgpu": [70.0]}, 55.0),
        ({"cpu_thermal": [48.3]}, 48.3),
        ({"acpitz": [27.8], "iwlwifi_1": [44.0]}, 44.0),  # none is called the processor's
        ({"coretemp": [0.0, -1.0]}, None),  # a sensor that measures nothing
    ],
)
def test_the_hottest_sensor_of_the_processor_is_told(
    monkeypatch: pytest.MonkeyPatch, sensors: dict[str, list[float]], hottest: float | None
) -> None:
    told = {
        chip: [Temperature("", current, None, None) for current in found]
        for chip, found in sensors.items()
    }
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: told, raising=False)
    assert meter.temperature_c() == hottest


def test_a_system_without_sensors_has_no_temperature(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(psutil, "sensors_temperatures", raising=False)
    assert meter.temperature_c() is None


def test_energy_is_counted_over_a_wrap_of_the_counter(tmp_path: Path) -> None:
    package = tmp_path / "class/powercap/intel-rapl:0"
    package.mkdir(parents=True)
    (package / "max_energy_range_uj").write_text("10000000\n")
    readings = []
    one = energy.SystemEnergy(tmp_path)
    for count in (9_000_000, 9_500_000, 500_000):
        (package / "energy_uj").write_text(f"{count}\n")
        readings.append(one.total_j())
    assert readings == [0.0, 0.5, 1.5]


def test_a_battery_that_discharges_tells_what_it_gave(tmp_path: Path) -> None:
    battery = tmp_path / "class/power_supply/BAT0"
    battery.mkdir(parents=True)
    one = energy.SystemEnergy(tmp_path)
    (battery / "status").write_text("Discharging\n")
    totals = []
    for charge in (50_000_000, 49_000_000):
        (battery / "energy_now").write_text(f"{charge}\n")
        totals.append(one.total_j())
    assert totals[1] - totals[0] == pytest.approx(3600)  # 1 Wh
    (battery / "status").write_text("Charging\n")
    assert one.total_j() is None


def test_where_nothing_measures_energy_is_not_known(tmp_path: Path) -> None:
    assert energy.SystemEnergy(tmp_path).total_j() is None


# --- the session ---


def sent(instructions: list[Any]) -> list[Any]:
    return [one.message for one in instructions if isinstance(one, Send)]


def test_an_unwilling_device_does_not_check_in_until_its_conditions_hold() -> None:
    driver = Driver()
    driver.do(NOT_NOW)
    assert sent(driver.connect())[-1:] != [wire.CheckIn()]
    assert sent(driver.do(AGAIN)) == [wire.CheckIn()]


def test_what_is_pushed_meanwhile_is_declined_for_now_and_not_held_against_the_job() -> None:
    driver = Driver()
    driver.connect()
    driver.do(NOT_NOW)
    (declined,) = sent(driver.hear(assignment()))
    assert (declined.code, declined.message) == ("condition", "not now")
    choice = sent(driver.hear(wire.Offer(offer="o", candidates=[candidate()], answer_s=5.0)))
    assert choice[0].refused == {"r1": "condition"}
    driver.do(AGAIN)
    assert isinstance(sent(driver.hear(assignment("a2")))[0], wire.Accept)


def test_training_pauses_and_goes_on_within_the_grace() -> None:
    driver = Driver()
    driver.working()
    assert PauseWork() in driver.do(NOT_NOW)
    out = driver.tick(59)
    assert not any(isinstance(one, CancelTraining) for one in out)
    # The lease is kept alive meanwhile.
    assert any(isinstance(one, wire.Progress) for one in sent(out))
    assert ResumeWork() in driver.do(AGAIN)
    assert not any(isinstance(one, wire.Fail) for one in sent(driver.tick(60)))


def test_a_pause_that_lasts_gives_the_work_back() -> None:
    driver = Driver()
    driver.working()
    driver.do(NOT_NOW)
    assert driver.session.wake_at() is not None
    out = driver.tick(61)
    assert CancelTraining("a1") in out
    (failed,) = [one for one in sent(out) if isinstance(one, wire.Fail)]
    assert failed.code == "condition"
    assert "battery" not in failed.message
    assert driver.session.bench.work is None


def test_offline_it_is_given_back_at_the_next_connection() -> None:
    driver = Driver()
    driver.working()
    driver.do(Disconnected())
    driver.do(NOT_NOW)
    assert CancelTraining("a1") in driver.tick(61)
    out = driver.connect(resume=assignment())
    assert [one.code for one in sent(out) if isinstance(one, wire.Fail)] == ["condition"]


def test_a_result_that_is_there_waits_and_is_sent_when_the_conditions_hold() -> None:
    driver = Driver()
    driver.working()
    driver.do(NOT_NOW)
    # The brake came a moment too late.
    out = driver.do(TrainingFinished("a1", DONE))
    assert not any(isinstance(one, wire.Upload) for one in sent(out))
    driver.tick(120)
    assert [type(one) for one in sent(driver.do(AGAIN))] == [wire.Upload]


def test_a_pause_just_before_the_end_does_not_hide_a_failure() -> None:
    driver = Driver()
    driver.working()
    driver.do(NOT_NOW)
    out = sent(driver.do(TrainingFinished("a1", Failed("task_failed", "x"))))
    assert isinstance(out[0], wire.Fail)
    assert not any(isinstance(one, wire.CheckIn) for one in sent(driver.tick(2)))
