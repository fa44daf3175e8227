"""What can be wrong with a program, from the bytes to the run."""

from __future__ import annotations


class ProgramError(ValueError):
    """A program that is refused.

    Attributes
    ----------
    code : str
        Stable, for programs that read the error.
    field : str
        The entry of the container, and the node or field in it: ``train.json.nodes[3].op``.
    """

    code = "bad_program"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


class ContainerError(ProgramError):
    """The file is not the ZIP that a program is."""

    code = "bad_program_container"


class SchemaError(ProgramError):
    """An entry is not JSON of the schema."""

    code = "bad_program_schema"


class GraphError(ProgramError):
    """A graph breaks a rule: order, names, references, sizes."""

    code = "bad_program_graph"


class OpNotAllowed(GraphError):
    """A node uses an op outside the list."""

    code = "op_not_allowed"


class RunError(ProgramError):
    """A graph that is well formed failed when it ran, or its inputs do not fit."""

    code = "program_failed"
