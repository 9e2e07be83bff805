"""Makes samples: of one kernel, on one machine, in one run."""

import hashlib
import time
from collections.abc import Mapping
from types import MappingProxyType

from harness.core import facts
from harness.core.events import publish
from harness.core.machine import Image
from harness.kernels.base import Origin
from harness.metrics.environment import environment
from harness.metrics.records import Commit, Metric, Sample, Version
from harness.runner.session import Session


class Sampler:
    """Makes samples of one image's kernel on this machine, in the run with the id `run`.

    `procedure` are the facts that its numbers depend on besides the kernel. `commits` are those up to the
    kernel's.
    """

    def __init__(
        self, session: Session, image: Image, run: str, procedure: Mapping[str, object] = MappingProxyType({})
    ) -> None:
        self.session = session
        self.image = image
        self.run = run
        origin = session.kernel(image.cell.kernel).origin(image)
        self.version = version(image, origin)
        self.commits = tuple(Commit(*one) for one in origin.lineage)
        self.environment = environment(session.host, image.cell.arch)
        self.procedure = procedure

    def take(
        self, metric: Metric, value: float, subject: str = "", spread: float = 0.0,
        procedure: Mapping[str, object] = MappingProxyType({}),
    ) -> Sample:  # fmt: skip
        """Make a sample of a number measured now, about `subject`; `procedure` is what else it depends on."""
        sample = Sample(
            metric, value, str(self.image.cell), subject, self.version, self.environment, self.run, time.time(),
            spread, procedure=facts.format_facts({**procedure, **self.procedure}),
        )  # fmt: skip
        publish("sample.taken", str(self.image.cell), f"{metric.name} {value:g} {metric.unit}")
        return sample


def version(image: Image, origin: Origin) -> Version:
    """The version of the image's kernel."""
    with image.kernel.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Version(origin.commit, digest, origin.described, origin.committed, origin.builder)
