"""JUnit XML, for CI systems that show test results: a failing test for each key, an erring one for each thing not read.

The form is the one that Jenkins' junit schema describes; there is no time in it, so that the same report gives the same bytes.
"""

from __future__ import annotations

from typing import TextIO
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import fluxguard
from fluxguard.model import Finding, Report
from fluxguard.reports import standing, uncovered
from fluxguard.reports.standing import Spot, Standing

PLACES = 1_000  # of one key; JSON has them all


def write(report: Report, stream: TextIO) -> None:
    """Writes the report as XML, in ASCII."""
    root = document(report)
    ElementTree.indent(root)
    stream.write('<?xml version="1.0" encoding="UTF-8"?>\n')
    stream.write(ElementTree.tostring(root, encoding="us-ascii", xml_declaration=False).decode("ascii"))
    stream.write("\n")


def document(report: Report) -> Element:
    """The report as `testsuites`, with the suites `keys`, `.gitignore` and `reading`, as far as it is about them."""
    places = Standing(report)
    root = Element("testsuites", name="fluxguard")
    if report.command != "gitignore":
        _keys(SubElement(root, "testsuite", name="fluxguard: keys"), report, places)
    if report.command in ("gitignore", "audit"):
        _gaps(SubElement(root, "testsuite", name="fluxguard: .gitignore"), report, places)
    _reading(SubElement(root, "testsuite", name="fluxguard: reading"), report, places)
    suites = list(root)
    for count in ("tests", "failures", "errors"):
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in suites)))
    return root


def _keys(suite: Element, report: Report, places: Standing) -> None:
    _properties(suite, report, places)
    for finding in report.findings:
        _finding(suite, finding, places.spots(finding), places)
    if not report.findings:
        _case(suite, "keys", "no key found")
    _count(suite)


def _properties(suite: Element, report: Report, places: Standing) -> None:
    said = {
        "version": fluxguard.__version__,
        "command": report.command,
        "target": places.names(report.target),
        "complete": str(report.complete).lower(),
        "objects": str(report.stats.objects),
    }
    properties = SubElement(suite, "properties")
    for name, value in said.items():
        SubElement(properties, "property", name=name, value=value)


def _finding(suite: Element, finding: Finding, spots: list[Spot], places: Standing) -> None:
    case = _case(suite, finding.rule, f"{finding.secret.masked} in {spots[0].words}")
    message = f"{standing.sentence(finding)} stands in {spots[0].words}"
    if finding.blocks:
        failure = SubElement(case, "failure", type=finding.rule, message=message)
        failure.text = "\n".join((*_lines(spots), standing.why(finding.rule), finding.secret.fingerprint))
        return
    why = "It only warns"
    if finding.suppressed is not None:
        why = f"Suppressed by {finding.suppressed.by}: {places.names(finding.suppressed.reason)}"
    SubElement(case, "skipped").text = f"{why}. {message}"


def _lines(spots: list[Spot]) -> list[str]:
    lines = [f"{spot.words} ({spot.note})" if spot.note else spot.words for spot in spots[:PLACES]]
    return [*lines, f"and {len(spots) - PLACES:,} more places"] if len(spots) > PLACES else lines


def _gaps(suite: Element, report: Report, places: Standing) -> None:
    """What is open: a failing test where the command ends with 1 for it, else a skipped one."""
    if report.command == "gitignore":
        _properties(suite, report, places)
    for gap in uncovered.listed(report, places):
        case = _case(suite, "gitignore", f"{gap.kind} {gap.entry}: {(*gap.others, gap.first)[0].file}")
        if gap.level == uncovered.ERROR:
            failure = SubElement(case, "failure", type=f"{gap.kind}-{gap.entry}", message=gap.text)
            failure.text = "\n".join(place.file for place in (gap.first, *gap.others[:PLACES]))
        elif gap.accepted is None:
            SubElement(case, "skipped").text = f"It only warns. {gap.text}"
        else:
            SubElement(case, "skipped").text = f"{gap.text} Accepted: {gap.accepted}"
    said = uncovered.to_come(report)
    if said:
        SubElement(
            _case(suite, "gitignore", "what is not there yet"), "skipped"
        ).text = f"It only warns. {said}"
    if not len(suite.findall("testcase")):
        _case(suite, "gitignore", "every path that has to be covered is")
    _count(suite)


def _reading(suite: Element, report: Report, places: Standing) -> None:
    for unread in report.skipped:
        reason = places.names(unread.reason)
        case = _case(suite, "reading", f"{places.names(unread.where)}")
        if unread.accepted is None:
            SubElement(case, "error", type="not-read", message=f"Not read: {reason}")
        else:
            SubElement(case, "skipped").text = f"{reason}; accepted: {places.names(unread.accepted)}"
    if report.interrupted:
        SubElement(
            _case(suite, "reading", "the whole run"), "error", type="interrupted", message="Interrupted"
        )
    if not len(suite):
        _case(suite, "reading", "everything was read")
    _count(suite)


def _case(suite: Element, kind: str, name: str) -> Element:
    return SubElement(suite, "testcase", classname=f"fluxguard.{kind}", name=name, time="0")


def _count(suite: Element) -> None:
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(name, str(sum(case.find(tag) is not None for case in cases)))
    suite.set("time", "0")
