"""The two ways of the paper's testbed that know no plan: fixed parts, and chance."""

from __future__ import annotations

from scheduling.simulation.platform import RETRY, Platform
from scheduling.simulation.running import Outcome, Running, Session


class FixedPartition(Platform):
    """The paper's static partition: a device belongs to one job from its first check-in on.

    Of the jobs that it is eligible for, the last that has not 1.2 × its demand of devices gets
    it; when all have, one is drawn.
    """

    share = 1.2

    def run(self) -> Outcome:
        """Replay with the devices fixed."""
        self.owner: dict[int, int | None] = {}
        self.members = [0] * len(self.running)
        return super().run()

    def take(self, session: Session) -> Running | None:
        """Return the round of the device's own job if that needs it."""
        if session.device not in self.owner:
            self.owner[session.device] = self._fixed(session)
        number = self.owner[session.device]
        if number is None:
            return None
        one = self.running[number]
        return one if one.id and one.free and self.may(session, one) else None

    def _fixed(self, session: Session) -> int | None:
        groups = self.classes.groups[session.kind]
        samples = self.fleet.samples
        may = [
            one.number
            for one in self.running
            if one.group in groups
            and (samples is None or samples[session.place] >= one.job.min_samples)
        ]
        short = [n for n in may if self.members[n] < self.share * self.running[n].demand]
        if not may:
            return None
        chosen = short[-1] if short else self.draw.choice(may)
        self.members[chosen] += 1
        return chosen


class RandomSelection(Platform):
    """No manager: a device draws a job, goes if eligible and needed, else waits 20 s.

    It draws among all jobs: nobody tells it which have not begun yet or are done.
    """

    wait_s = 20.0

    def take(self, session: Session) -> Running | None:
        """Return the round of the job drawn, if the device may serve it."""
        one = self.draw.choice(self.running)
        fits = one.group in self.classes.groups[session.kind] and one.id and one.free
        return one if fits and self.may(session, one) else None

    def waits(self, session: Session) -> None:
        """Try again in a while, whatever opens in between."""
        self._push(self.now + self.wait_s, RETRY, 0, "", session)

    def drain(self) -> None:
        """Nobody tells the devices that a round has opened."""
