"""An existing script that takes part: python plain_loop.py DEVICE_FOLDER

What it learns is the mean of its examples; a real script trains where the comment stands. A job
asks for it by ``workload = { kind = "handler", handler = "plain", dataset = "numbers" }``.
"""

import sys

import propius


def main(home: str) -> None:
    """Take tasks until Ctrl-C."""
    propius.init(home, handler="plain")
    try:
        while task := propius.receive():
            x = task.data["x"]
            loss = float(abs(x - task.parameters["mean"]).mean())
            parameters = {"mean": x.mean(axis=0)}  # training goes here, and between its batches:
            if not propius.may_go_on():
                continue
            propius.send(parameters, examples=len(x), metrics={"loss": loss})
    except KeyboardInterrupt:
        pass
    finally:
        propius.close()


if __name__ == "__main__":
    main(sys.argv[1])
