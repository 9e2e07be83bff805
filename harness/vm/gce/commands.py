"""Command lines of the tool `gcloud`, as pure functions, so that they can be read and checked by the tool's own
parser.

Source: gcloud's reference: `storage cp`, `compute images create`, `compute instances create`, `compute instances
get-serial-port-output`; OSv's scripts/deploy_to_gce.sh, gen-gce-tarball.sh.
"""

from collections.abc import Sequence

Command = Sequence[str]
GCLOUD = ("gcloud", "--quiet")


def upload(file: str, bucket: str, name: str) -> Command:
    """Upload the tarball with the disk into a bucket of the user's."""
    return [*GCLOUD, "storage", "cp", file, f"gs://{bucket}/{name}.tar.gz"]


def create_image(name: str, bucket: str) -> Command:
    """Create an image of the tarball."""
    return [*GCLOUD, "compute", "images", "create", name, f"--source-uri=gs://{bucket}/{name}.tar.gz"]


def create_instance(name: str, kind: str, zone: str) -> Command:
    """Create one machine, without a public address or a service account, that boots from the image."""
    return [
        *GCLOUD, "compute", "instances", "create", name, f"--image={name}", f"--machine-type={kind}",
        f"--zone={zone}", "--no-address", "--no-service-account", "--no-scopes", "--no-restart-on-failure",
    ]  # fmt: skip


def serial_output(name: str, zone: str) -> Command:
    """Read the output of its first serial line."""
    return [
        *GCLOUD, "compute", "instances", "get-serial-port-output", name, f"--zone={zone}", "--port=1",
        "--start=0",
    ]  # fmt: skip


def state(name: str, zone: str) -> Command:
    """Read the name of its state."""
    return [*GCLOUD, "compute", "instances", "describe", name, f"--zone={zone}", "--format=value(status)"]


def stop_instance(name: str, zone: str) -> Command:
    """Press its power button."""
    return [*GCLOUD, "compute", "instances", "stop", name, f"--zone={zone}", "--async"]


UNDO = """
gcloud --quiet compute instances delete "$1" --zone="$2"
gcloud --quiet compute images delete "$1"
gcloud --quiet storage rm "gs://$3/$1.tar.gz"
true
"""


def undo(name: str, zone: str, bucket: str) -> Command:
    """Remove everything with that name: machine, image, tarball."""
    return ["sh", "-c", UNDO, "undo", name, zone, bucket]
