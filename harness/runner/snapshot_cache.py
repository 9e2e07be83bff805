"""Caches guests that were stopped at a known point, keyed by everything that the point depends on."""

from collections.abc import Callable

from harness.core.events import publish
from harness.core.machine import Machine
from harness.host.cache import Cache
from harness.vm.base import SupportsSnapshots, Template


def cached_template(
    cache: Cache, forks: SupportsSnapshots, machine: Machine, make: Callable[[Template], None], about: str,
    **more: object,
) -> Template:  # fmt: skip
    """The machine's snapshot from the cache, or a new one whose folder `make` fills.

    Its key is the image, the machine, the hypervisor and `more`. `about` says which snapshot is made. Raises what
    `make` raises.
    """

    def build(template: Template) -> None:
        publish("template.started", str(machine.image.cell), about)
        make(template)
        publish("template.done", str(machine.image.cell))

    parts = {
        "image": machine.image.digest, "machine": machine.to_json(), "made by": forks.identity(machine), **more,
    }  # fmt: skip
    return Template(machine, cache.get("template", parts, lambda out: build(Template(machine, out))))
