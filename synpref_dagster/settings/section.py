"""What every table of a profile is built on."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """One table of a profile; immutable, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)
