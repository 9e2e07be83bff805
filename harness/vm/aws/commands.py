"""Command lines of the tool `aws`, as pure functions, so that they can be read and checked by the tool's own
parser.

Source: the AWS CLI's reference: `ebs start-snapshot`, `ebs put-snapshot-block`, `ec2 register-image`, `ec2
run-instances`, `ec2 get-console-output`; OSv's scripts/deploy_to_aws.sh.
"""

from collections.abc import Sequence

BLOCK = 512 << 10  # bytes, what EBS takes at once
ROOT = "/dev/sda1"

JSON = ("--output", "json")
"""Whatever the user's own configuration says."""

Command = Sequence[str]


def start_snapshot(name: str, gib: int) -> Command:
    """Create an empty snapshot, tagged with the name."""
    return ["aws", "ebs", "start-snapshot", "--volume-size", str(gib), "--tags", f"Key=Name,Value={name}", *JSON]


def put_block(snapshot: str, index: int, file: str, length: int, checksum: str) -> Command:
    """Upload one block of the disk; `checksum` is the base64 SHA-256 of the file."""
    return [
        "aws", "ebs", "put-snapshot-block", "--snapshot-id", snapshot, "--block-index", str(index),
        "--block-data", file, "--data-length", str(length), "--checksum", checksum,
        "--checksum-algorithm", "SHA256",
    ]  # fmt: skip


def complete_snapshot(snapshot: str, blocks: int) -> Command:
    """Finish the snapshot."""
    return ["aws", "ebs", "complete-snapshot", "--snapshot-id", snapshot, "--changed-blocks-count", str(blocks)]


def await_snapshot(snapshot: str) -> Command:
    """Wait until the snapshot can be used."""
    return ["aws", "ec2", "wait", "snapshot-completed", "--snapshot-ids", snapshot]


def register_image(name: str, snapshot: str) -> Command:
    """Register an image that boots from the snapshot, with ENA cards."""
    return [
        "aws", "ec2", "register-image", "--name", name, "--architecture", "x86_64", "--ena-support",
        "--virtualization-type", "hvm", "--root-device-name", ROOT, "--block-device-mappings",
        f"DeviceName={ROOT},Ebs={{SnapshotId={snapshot},DeleteOnTermination=true}}",
        *JSON,
    ]  # fmt: skip


def run_instance(name: str, image: str, kind: str) -> Command:
    """Start one machine, without a public address, that is removed when it powers off."""
    return [
        "aws", "ec2", "run-instances", "--image-id", image, "--instance-type", kind, "--count", "1",
        "--instance-initiated-shutdown-behavior", "terminate", "--no-associate-public-ip-address",
        "--tag-specifications", f"ResourceType=instance,Tags=[{{Key=Name,Value={name}}}]",
        *JSON,
    ]  # fmt: skip


def console_output(instance: str) -> Command:
    """Read its serial output so far."""
    return [
        "aws", "ec2", "get-console-output", "--instance-id", instance, "--latest", "--output", "text",
        "--query", "Output",
    ]  # fmt: skip


def state(instance: str) -> Command:
    """Read the name of its state, and the code and the words of the reason for it."""
    return [
        "aws", "ec2", "describe-instances", "--instance-ids", instance, *JSON,
        "--query", "Reservations[0].Instances[0].[State.Name, StateReason.Code, StateReason.Message]",
    ]  # fmt: skip


def stop_instance(instance: str) -> Command:
    """Press its power button; its shutdown removes it."""
    return ["aws", "ec2", "stop-instances", "--instance-ids", instance]


UNDO = """
named=Name=tag:Name,Values=$1
lives=Name=instance-state-name,Values=pending,running,stopping,stopped
round=0 found=
each() {  # the command that removes one, and the one that lists them; one that fails is tried again
    remove=$1
    shift
    for one in $(aws ec2 "$@" --output text || echo unknown); do
        found=1
        aws ec2 $remove "$one"
    done
}
while [ $round -lt 2 ] || [ -n "$found" ] && [ $round -lt 10 ]; do
    [ $round = 0 ] || sleep 2
    round=$((round + 1)) found=
    each "terminate-instances --instance-ids" describe-instances --filters "$named" "$lives" \
        --query "Reservations[].Instances[].InstanceId"
    each "deregister-image --image-id" describe-images --owners self --filters "Name=name,Values=$1" \
        --query "Images[].ImageId"
    each "delete-snapshot --snapshot-id" describe-snapshots --owner-ids self --filters "$named" \
        --query "Snapshots[].SnapshotId"
done
[ -z "$found" ]
"""
"""What is new is listed only after some time, and what is in use is not removed: it looks at least twice, and
until nothing is found. It fails if the last look found something."""


def undo(name: str) -> Command:
    """Remove everything with that name: machine, image, snapshot."""
    return ["sh", "-c", UNDO, "undo", name]
