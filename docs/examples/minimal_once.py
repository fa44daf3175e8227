"""A device in one-shot mode, written from docs/protocol.md alone; see ``minimal_client.py``.

propius conformance --mode once --client "python docs/examples/minimal_once.py"
"""

import hashlib
import json
import sys
import time
import urllib.error
import urllib.request

from minimal_client import WEIGHT, add_one, choose, described, enrol, hello


def http(method, url, body=None, headers=None):
    """Return status, headers and body; status 0 if the line broke, with what came."""
    request = urllib.request.Request(url, body, headers or {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            data = b""
            while piece := answer.read1(65_536):
                data += piece
            whole = len(data) == int(answer.headers.get("Content-Length", len(data)))
            return answer.status if whole or method == "HEAD" else 0, answer.headers, data
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()
    except OSError:
        return 0, {}, b""


class Once:
    """One-shot mode: at most one assignment, over plain HTTP."""

    def __init__(self, known):
        self.known, self.url = known, known["gateway"].replace("ws", "http", 1)
        self.nonce = json.loads(http("GET", self.url)[2])["nonce"]

    def say(self, *words):
        """Return what the words were answered, the welcome first."""
        while True:
            said = "\n".join(json.dumps(one) for one in words).encode()
            nonce = f"{self.nonce} {hashlib.sha256(said).hexdigest()}"
            greeting = json.dumps(hello(self.known["device"], nonce)).encode()
            body = greeting + (b"\n" + said if said else b"")
            status, _, data = http("POST", self.url, body, {"Propius-Nonce": self.nonce})
            *answers, challenge = [json.loads(line) for line in data.splitlines()]
            self.nonce = challenge["nonce"]
            if not any(one.get("code") == "stale_nonce" for one in answers):
                break
        if status != 200:
            sys.exit(str(answers))
        return answers

    def run(self):
        welcome, *answers = self.say()
        work = welcome["resume"]
        if work is None:
            answers = self.say({"type": "check_in"})
            if answers[-1]["type"] == "offer":
                answers = self.say(choose(answers[-1]))
            if answers[-1]["type"] != "assignment":
                return
            work = answers[-1]
        self.ticket = work["ticket"]
        self.say({"type": "accept", "assignment": work["id"]})
        have = self.fetch(work)
        ends = time.monotonic() + work["workload"]["config"].get("seconds", 0)
        while (left := ends - time.monotonic()) > 0:
            time.sleep(min(left, work["lease_s"] / 3))
            self.say({"type": "progress", "assignment": work["id"], "phase": "training"})
        if work["kind"] == "evaluate":
            self.say({"type": "report", "assignment": work["id"], "weight": WEIGHT, "metrics": {}})
        elif not self.put(work, add_one(have)):
            self.say({"type": "fail", "assignment": work["id"], "code": "update_refused"})

    def data(self, method, path, body=None, **headers):
        named = {name.replace("_", "-"): str(value) for name, value in headers.items()}
        ticket = {"Authorization": "Bearer " + self.ticket}
        answer = http(method, self.known["data"] + path, body, named | ticket)
        if answer[0] == 401:
            self.ticket = self.say()[0]["resume"]["ticket"]
        return answer

    def fetch(self, work):
        have, blob = b"", work["parameters"]
        while len(have) < blob["size_bytes"]:
            span = {"Range": f"bytes={len(have)}-"} if have else {}
            status, _, data = self.data("GET", "/parameters/" + blob["digest"], **span)
            if status in (0, 200, 206):
                have = data if status == 200 else have + data
        return have

    def put(self, work, update):
        path, order = "/updates/" + work["id"], described(work, update)
        named = {"Upload_Digest": order["digest"], "Upload_Length": len(update)}
        while True:
            _, found, _ = self.data("HEAD", path, Upload_Digest=order["digest"])
            offset = int(found.get("Upload-Offset", 0))
            named |= {"Upload_Offset": offset, "Update_Weight": WEIGHT}
            status, _, _ = self.data("PUT", path, update[offset:], **named)
            if status == 200 or status == 422:
                return status == 200


if __name__ == "__main__":
    Once(enrol()).run()
