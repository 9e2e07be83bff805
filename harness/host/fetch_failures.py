"""Finds why something could not be fetched, from the fetching program's messages: it is not always the network."""

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Reason:
    """What to do if the messages match the pattern `said`."""

    said: str
    cure: str


REASONS = (
    Reason(r"No space left|not enough free disk space|enough free space in|Disk quota exceeded",
           "Free some space where {where} lies, or name another place in OSV_HARNESS_CACHE."),
    Reason(r"Unable to locate package|has no installation candidate|No matching distribution found|"
           r"couldn't be found by (glob|regex)|Couldn't find any package",
           "There is no such package in {source}: check the spelling."),
    Reason(r"Depends: .* but it is not|unmet dependencies|held broken packages|ResolutionImpossible",
           "{source} lacks what a package needs, for now perhaps: name another mirror, a dated one for instance."),
    Reason(r"\b40[0134] +[A-Z]",
           "{source} answers, and has nothing of that kind there: name another place in {setting}."),
    Reason(r"NO_PUBKEY|is not signed|EXPKEYSIG|BADSIG|not valid yet|Release file .* expired|invalid since",
           "What {source} has is not signed by a key that is known and valid: renew debian-archive-keyring, and "
           "look at this host's clock."),
    Reason(r"Temporary failure resolving|Could not resolve|Name or service not known|Temporary failure in name",
           "This host can't resolve the name: see to its network, or name another place in {setting}."),
    Reason(r"Could not connect|Unable to connect|Connection (refused|failed|timed out|reset)|Read timed out|"
           r"Network is unreachable|No route to host|Failed to establish a new connection",
           "Nothing answers at {source}: see to the network and to a proxy, or name another place in {setting}."),
)  # fmt: skip
"""Searched in this order: a full disk breaks connections too, and a failing network makes packages missing."""

OTHER = "Look at these words; another place than {source} can be named in {setting}."


def cure(words: str, source: str, where: Path, setting: str) -> str:
    """What to do about it. `source` is where it should have come from, which the variable `setting` names."""
    found = next((one.cure for one in REASONS if re.search(one.said, words)), OTHER)
    return found.format(source=source, where=where, setting=setting)
