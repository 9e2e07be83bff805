"""Samples as they are taken: one kernel, one machine, one run."""

import hashlib
import time
from uuid import uuid4

from harness.events import publish
from harness.lab import Lab
from harness.machine import Image
from harness.measure import Metric, Sample, Version
from harness.measure.environment import environment

_RUN = uuid4().hex


class Taker:
    """Makes samples of one image's kernel on this machine; all of one process are of one `run`, unless told."""

    def __init__(self, lab: Lab, image: Image, run: str = _RUN) -> None:
        self.lab = lab
        self.image = image
        self.run = run
        self.version = version(lab, image)
        self.environment = environment(lab.host, image.cell.arch)

    def take(self, metric: Metric, value: float, subject: str = "", spread: float = 0.0) -> Sample:
        """One number, about `subject`, as a sample of now."""
        sample = Sample(
            metric, value, str(self.image.cell), subject, self.version, self.environment, self.run, time.time(),
            spread,
        )  # fmt: skip
        publish("sample.taken", str(self.image.cell), f"{metric.name} {value:g} {metric.unit}")
        return sample


def version(lab: Lab, image: Image) -> Version:
    """Which kernel the image has."""
    origin = lab.kernel(image.cell.kernel).origin(image)
    with image.kernel.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Version(origin.commit, digest, origin.described, origin.committed)
