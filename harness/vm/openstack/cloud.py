"""What is asked of a cloud of OpenStack's, by openstacksdk, whose errors become `HypervisorError`.

Which cloud, and who asks, the SDK reads by itself: from clouds.yaml and OS_CLOUD, or from OS_AUTH_URL and so on.

Source: openstacksdk's reference; the Compute API (servers, `os-getConsoleOutput`, `os-instance-actions`) and the
Image API v2.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import openstack
import yaml
from keystoneauth1.exceptions import ClientException
from openstack.exceptions import ConflictException, SDKException

from harness.core.errors import HypervisorError
from harness.core.text import one_line

ERRORS = (SDKException, ClientException, yaml.YAMLError, OSError)
ANSWER_SECONDS = 60.0
SETTINGS = {
    "api_timeout": ANSWER_SECONDS,
    "compute_connect_retries": 3,
    "compute_status_code_retries": 3,
    "compute_retriable_status_codes": [500, 502, 503, 504],
}
"""How the SDK bears a cloud that fails for a moment, where the user's clouds.yaml says nothing of it. It must not
send an image again, whose file it has read by then."""
ACTIVE_SECONDS = 600
POLL_SECONDS = 2.0
"""How long the cloud may take with an image that it has received, and how often it is asked."""
REMOVE_SECONDS = 300.0
SETTLE_SECONDS = 2.0
QUIET = 2
"""After how many searches in a row that find nothing all is removed, and the time between two. What was being
created while its harness was killed is listed only later."""
SHOWN = 400  # letters


class Cloud:
    """A connection to the user's cloud."""

    def __init__(self) -> None:
        with _explained("can't be reached"):
            region = openstack.config.get_cloud_region(app_name="osv-harness")
            for name, value in SETTINGS.items():
                if all(region.config.get(key) is None for key in (name, name.removeprefix("compute_"))):
                    region.config[name] = value
            self._connection = openstack.connection.Connection(config=region)
            self._connection.session.get_token()

    def upload(self, name: str, disk: Path) -> str:
        """Create an image of a qcow2 disk; returns its id once a server can boot from it."""
        # The SDK would not close a file that it opens itself.
        with _explained("did not take the image"), disk.open("rb") as content:
            data: Any = content  # which its documentation allows, and its annotation does not
            image = self._connection.image.create_image(
                name, data=data, disk_format="qcow2", container_format="bare", visibility="private",
                allow_duplicates=True,
            )  # fmt: skip
            image = self._connection.image.wait_for_status(
                image, "active", ["killed", "deleted", "deactivated"], interval=POLL_SECONDS, wait=ACTIVE_SECONDS
            )
        if image.size != disk.stat().st_size:
            raise HypervisorError(
                f"OpenStack has {image.size} bytes of the image, which has {disk.stat().st_size}."
            )
        return str(image.id)

    def flavor(self, wanted: str, cpus: int, memory: int, disk: int) -> str:
        """The id of the flavour of that name or id, or of the smallest with so many cpus, MiB and GiB.

        Raises `HypervisorError` with the names of those that there are.
        """
        with _explained("did not list its flavours"):
            offered = list(self._connection.compute.flavors())
        if wanted:
            fit = [one for one in offered if wanted in (one.name, one.id)]
        else:
            fit = [one for one in offered if one.vcpus >= cpus and one.ram >= memory and one.disk >= disk]
        if not fit:
            what = (
                f"called {wanted}" if wanted else f"with {cpus} cpus, {memory} MiB of memory, {disk} GiB of disk"
            )
            raise HypervisorError(
                f"The cloud has no flavour {what}.",
                f"It has: {', '.join(sorted(one_line(str(one.name)) for one in offered)) or 'none'}.",
            )
        return str(min(fit, key=lambda one: (one.ram, one.vcpus, one.disk)).id)

    def create(self, name: str, image: str, flavor: str) -> str:
        """Start a server without a network from the image; returns its id."""
        with _explained("did not start the server"):
            return str(
                self._connection.compute.create_server(
                    name=name, image_id=image, flavor_id=flavor, networks="none"
                ).id
            )

    def status(self, server: str) -> str:
        """The word for its status. Raises `HypervisorError` with the cloud's reason if it is an error's."""
        with _explained("does not know the server"):
            seen = self._connection.compute.get_server(server)
        if seen.status in ("ERROR", "DELETED", "SOFT_DELETED"):
            reason = one_line(str((seen.fault or {}).get("message", "")))[:SHOWN]
            raise HypervisorError(f"OpenStack's server is {seen.status}: {reason or 'without a word'}")
        return str(seen.status)

    def console(self, server: str) -> str | None:
        """Its serial output so far; None if the cloud has none for a server in its state."""
        with _explained("does not give the console"):
            try:
                said = self._connection.compute.get_server_console_output(server)
            except ConflictException:
                return None
        return str(said.get("output") or "")

    def stopped_by(self, server: str) -> str:
        """The user who had it stopped; empty if there is none: Nova itself notes that a server has powered off.

        Source: nova/compute/manager.py, _stop_unexpected_shutdown_instance.
        """
        with _explained("does not list what was done to the server"):
            actions = list(self._connection.compute.server_actions(server))
        return next((one_line(str(one.user_id)) for one in actions if one.action == "stop" and one.user_id), "")

    def stop(self, server: str) -> None:
        """Press its power button."""
        with _explained("did not stop the server"):
            self._connection.compute.stop_server(server)

    def delete(self, name: str) -> bool:
        """Ask for the deletion of every server and image of that name; returns whether there was any.

        An image goes after its servers, for some stores keep one that is in use.
        """
        compute, images = self._connection.compute, self._connection.image
        with _explained("did not remove what the harness created"):
            servers = [one for one in compute.servers(details=False, name=f"^{name}$") if one.name == name]
            for one in servers:
                compute.delete_server(str(one.id))
            stored = [one for one in images.images(name=name) if one.name == name]
            for image in stored if not servers else []:
                images.delete_image(str(image.id))
        return bool(servers or stored)


def remove(name: str) -> None:
    """Delete every server and image of that name, until none is found any more.

    Raises `HypervisorError` if some is left after `REMOVE_SECONDS`, or if the cloud does not answer until then.
    """
    cloud, quiet, deadline = None, 0, monotonic() + REMOVE_SECONDS
    while True:
        try:
            cloud = cloud or Cloud()
            quiet = 0 if cloud.delete(name) else quiet + 1
            if quiet == QUIET:
                return
        except HypervisorError:
            if monotonic() > deadline:
                raise
        if monotonic() > deadline:
            raise HypervisorError(f"OpenStack still has what is called {name}.", "Delete it there.")
        sleep(SETTLE_SECONDS)


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Raise the SDK's errors as `HypervisorError`."""
    try:
        yield
    except ERRORS as error:
        words = one_line(str(error))[:SHOWN] or type(error).__name__
        raise HypervisorError(
            f"OpenStack {what}: {words}", "Look at clouds.yaml and OS_CLOUD; openstack token issue tries them."
        ) from error
