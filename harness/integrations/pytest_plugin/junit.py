"""Splits pytest's JUnit file into one suite per cell, which CI servers display best."""

from pathlib import Path
from xml.etree import ElementTree as ET

from harness.core.whole_files import write_whole

SUITE_PROPERTIES = ("cell", "kernel", "accelerator", "qemu")


def split_by_cell(path: Path) -> None:
    """Move each guest's test case to a suite of its cell, with the cell's properties; others stay where they are.

    Raises `HostError` if the file can't be written.
    """
    tree = ET.parse(path)
    root = tree.getroot()
    for suite in list(root.findall("testsuite")):
        for case in list(suite.findall("testcase")):
            properties = {p.get("name", ""): p.get("value", "") for p in case.iterfind("properties/property")}
            if "cell" not in properties:
                continue
            suite.remove(case)
            _suite_of(root, suite, properties).append(case)
        if not suite.findall("testcase") and len(root) > 1:
            root.remove(suite)
    for suite in root.findall("testsuite"):
        _count(suite)
    write_whole(path, ET.tostring(root, encoding="utf-8", xml_declaration=True))


def _suite_of(root: ET.Element, pattern: ET.Element, properties: dict[str, str]) -> ET.Element:
    for suite in root.findall("testsuite"):
        if suite.get("name") == properties["cell"]:
            return suite
    kept = {name: value for name, value in pattern.attrib.items() if name in ("timestamp", "hostname")}
    suite = ET.SubElement(root, "testsuite", {"name": properties["cell"], **kept})
    block = ET.SubElement(suite, "properties")
    for name in SUITE_PROPERTIES:
        ET.SubElement(block, "property", name=name, value=properties.get(name, ""))
    return suite


def _count(suite: ET.Element) -> None:
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    for kind, attribute in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        suite.set(attribute, str(sum(case.find(kind) is not None for case in cases)))
    suite.set("time", f"{sum(float(case.get('time', 0)) for case in cases):.3f}")
