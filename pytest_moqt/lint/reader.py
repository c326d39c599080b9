"""The reader of TAP 14: line by line through a document and its subtests, noting what breaks a rule.

Rules:

- Reading goes on behind whatever is wrong, in the way that a reader who wants to lose nothing would.
- What a violation makes of the lines behind it is not held against them a second time.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from pytest_moqt.lint.block import MAX_YAML, Block, Container
from pytest_moqt.lint.document import Announcement, Document
from pytest_moqt.lint.point import MAX_DIGITS, Point, is_point, read_point, unescaped, whole_number
from pytest_moqt.lint.rules import Findings, shown
from pytest_moqt.lint.runner import Verdict

VERSION = "TAP version 14"
MAX_SUBTESTS = 16
"Subtests inside one another that are followed."
MAX_COMMENTS = 1000
"Comments before the plan that are kept."

_PLAN_LIKE = re.compile(r"-?[0-9]+\.\.")
_PLAN = re.compile(rf"1\.\.([0-9]{{1,{MAX_DIGITS}}})[ \t]*(?:#(.*))?")
_PLAN_FORM = re.compile(r"1\.\.(?:[1-9][0-9]*|0(?: # \S.*)?)")
_BAIL_OUT = re.compile(r"bail out!", re.IGNORECASE)
_BAIL_OUT_FORM = re.compile(r"Bail out! \S.*")
_PRAGMA = re.compile(r"pragma [-+][A-Za-z0-9_-]+")
_SUBTEST = re.compile(r"# Subtest(?:: (.*))?")


class Reader:
    """Takes the lines one after the other.

    Attributes:
        root: The document.
        verdicts: The verdict of each point of the document, by its line.
        not_counted: The lines of points that are none of the document's: of subtests, and behind a bail-out.
        bail_out: The line of the bail-out, 0 for none.
        lines: How many lines came.
    """

    def __init__(
        self, findings: Findings, diagnosed: Callable[[Point, Block | None, Container | None], None]
    ):
        """Start.

        Args:
            findings: Gets what is wrong.
            diagnosed: Called for each point of the document itself, once it is known whether a YAML block
                belongs to it, with that block and the mapping in it.
        """
        self.root = Document(0, 1)
        self.verdicts: dict[int, Verdict] = {}
        self.not_counted: set[int] = set()
        self.bail_out = 0
        self.lines = 0
        self._findings = findings
        self._diagnosed = diagnosed
        self._stack = [self.root]
        self._versioned = False
        self._last_line = 1
        self._point: Point | None = None
        self._block: Block | None = None
        self._floor = 0
        self._read_yaml = 0
        self._bail_depth = 0

    # ---- lines -------------------------------------------------------------------------------------

    def line(self, number: int, text: str) -> None:
        """Take a line."""
        self.lines += 1
        self._last_line = number
        if self.lines == 1 and text != VERSION:
            self._findings.add("version", number, f"the first line is {shown(text)} and not `{VERSION}`")
        if self._block is not None and self._in_block(self._block, number, text):
            return
        content = text.lstrip(" ")
        if not content or content.isspace():
            if text:
                self._findings.add("blank-line", number, "the line has nothing but white space in it")
            return
        indent = len(text) - len(content)
        if content.startswith("#") or content.lstrip().startswith("#"):
            self._comment(number, content.strip(), indent)
            return
        if content.rstrip() == "---" and not self.bail_out:
            self._open_block(number, text, indent)
            return
        self._settle()
        take = self._taker(content)
        if self.bail_out and not (take == self._take_bail_out and indent < 4 * self._bail_depth):
            if take == self._take_point:
                self.not_counted.add(number)
            self._findings.add(
                "after-bail-out", number, f"{shown(text)} comes after the bail-out of line {self.bail_out}"
            )
        elif take is not None:
            self._take(take, number, content, indent)
        elif self._taker(content.lstrip()) is not None:
            self._findings.add("indentation", number, f"{shown(text)} is indented by more than spaces")
        else:
            self._findings.add("non-tap", number, f"{shown(text)} is no TAP")

    def _taker(self, content: str) -> Callable[[int, str, int], None] | None:
        """What takes a line of this kind; None for what is no TAP."""
        if is_point(content):
            return self._take_point
        if content.startswith("TAP version "):
            return self._take_version
        if _PLAN_LIKE.match(content):
            return self._take_plan
        if _BAIL_OUT.match(content):
            return self._take_bail_out
        if content.startswith("pragma "):
            return self._take_pragma
        return None

    def _take(self, take: Callable[[int, str, int], None], number: int, content: str, indent: int) -> None:
        depth, odd = divmod(indent, 4)
        if odd:
            self._findings.add("indentation", number, f"{shown(content)} is indented by {indent} spaces")
        elif depth > MAX_SUBTESTS:
            self._findings.add("too-large", number, f"more than {MAX_SUBTESTS} subtests inside one another")
        else:
            take(number, content, depth)

    def end(self) -> None:
        """There are no more lines."""
        if self.lines == 0:
            self._findings.add("version", 1, f"there is no line at all, and so no `{VERSION}`")
        if self._block is not None:
            self._unclosed(self._block)
        self._settle()
        while len(self._stack) > 1:
            child = self._stack.pop()
            self._close(child)
            self._unfinished(child)
        self._close(self.root)
        if self.bail_out and self._bail_depth:
            self._findings.add(
                "subtest-bail-out",
                self.bail_out,
                "the bail-out of a subtest is not repeated without indentation, where every reader finds it",
            )

    # ---- documents ---------------------------------------------------------------------------------

    def _enter(self, depth: int, number: int, what: str = "") -> Document:
        """The document that a line of this depth belongs to; subtests begin and end here.

        Args:
            depth: How many subtests the line is in.
            number: Of the line.
            what: What the line is, where it may not stand between a subtest and its point.
        """
        while len(self._stack) - 1 > depth:
            child = self._stack.pop()
            self._close(child)
            if len(self._stack) - 1 > depth:
                self._unfinished(child)
            else:
                self._stack[-1].child = child
        while len(self._stack) - 1 < depth:
            self._begin(number)
        document = self._stack[-1]
        if document.announced is not None:
            self._empty(document.announced)
            document.announced = None
        if document.child is not None and what:
            self._interrupted(document.child, number, what)
        return document

    def _begin(self, number: int) -> None:
        parent = self._stack[-1]
        if parent.child is not None:
            self._unfinished(parent.child)
            parent.child = None
        if not parent.plan_line and not parent.points:
            self._plan_first(parent, number, "a subtest begins")
        if parent.announced is None:
            self._findings.add("subtest-comment", number, "the subtest begins without `# Subtest: NAME`")
        self._stack.append(Document(parent.depth + 1, number, parent.announced))
        parent.announced = None

    def _close(self, document: Document) -> None:
        """A document is over."""
        if document.child is not None:
            self._unfinished(document.child)
        if document.announced is not None:
            self._empty(document.announced)
        if document.plan is None:
            if not self.bail_out and not document.plan_line:
                line = document.line if document.depth else self._last_line
                self._findings.add("plan-missing", line, f"{document.where} has no plan")
            return
        few = document.points < document.plan and not self.bail_out
        if few or document.points > document.plan:
            self._findings.add(
                "plan-count",
                document.plan_line,
                f"{document.where} plans {document.plan} test points and has {document.points}",
            )

    def _unfinished(self, child: Document) -> None:
        if not self.bail_out:
            self._findings.add(
                "subtest-unfinished", child.line, f"{child.where} is not followed by its test point"
            )

    def _interrupted(self, child: Document, number: int, what: str) -> None:
        self._findings.add(
            "subtest-interrupted", number, f"{what} stands between {child.where} and its test point"
        )

    def _empty(self, announced: Announcement) -> None:
        if self.bail_out:
            return
        self._findings.add("subtest-empty", announced.line, "no document follows the `# Subtest` comment")

    def _plan_first(self, document: Document, number: int, what: str) -> None:
        if not document.told_plan_first:
            document.told_plan_first = True
            self._findings.add("plan-first", number, f"{what} before the plan")

    # ---- kinds of lines ----------------------------------------------------------------------------

    def _comment(self, number: int, content: str, indent: int) -> None:
        if self.bail_out:
            return
        depth, odd = divmod(indent, 4)
        subtest = None if odd else _SUBTEST.fullmatch(content)
        # One of a subtest may come before any other line of it.
        first = depth == len(self._stack) and self._stack[-1].announced is not None
        if subtest is not None and (depth < len(self._stack) or first):
            self._announce(number, depth, subtest[1])
            return
        child = self._stack[depth + 1] if depth + 1 < len(self._stack) else self._stack[-1].child
        if child is not None and child.depth > depth:
            self._interrupted(child, number, "a comment")
        root = self.root
        if root.plan is None and root.points == 0 and depth == 0 and len(root.comments) < MAX_COMMENTS:
            root.comments.append(content[1:].strip())

    def _announce(self, number: int, depth: int, name: str | None) -> None:
        self._settle()
        document = self._enter(depth, number)
        if document.child is not None:
            self._unfinished(document.child)
            document.child = None
        document.announced = Announcement(number, name and unescaped(name))

    def _take_version(self, number: int, _: str, depth: int) -> None:
        if depth:
            self._enter(depth, number, "a version line")
            self._findings.add("subtest-version", number, "a subtest has a version line")
            return
        if self._versioned:
            self._findings.add("version-again", number, "the version line comes again")
        self._versioned = True
        if self.lines > 1:
            self._enter(0, number, "a version line")

    def _take_plan(self, number: int, content: str, depth: int) -> None:
        document = self._enter(depth, number, "a plan")
        found = _PLAN.fullmatch(content)
        if found is None:
            self._findings.add("plan-syntax", number, f"{shown(content)} is no plan: write `1..N`")
            document.plan_line = document.plan_line or number
            return
        if _PLAN_FORM.fullmatch(content) is None:
            what = (
                "has a reason, with which some readers take it for no plan"
                if found[2]
                else "is not plain `1..N`"
            )
            self._findings.add("plan-form", number, f"the plan {shown(content)} {what}")
        if document.plan is not None:
            self._findings.add(
                "plan-again", number, f"{document.where} has a plan on line {document.plan_line}"
            )
            return
        document.plan, document.plan_line = whole_number(found[1]), number
        document.plan_is_last = document.points > 0
        if document.points:
            self._plan_first(document, number, "test points come")
            if document.last_id > document.plan:
                self._out_of_range(document, document.last_id, document.last_id_line)

    def _take_bail_out(self, number: int, content: str, depth: int) -> None:
        if self.bail_out == 0:
            if not self.root.plan_line:
                self._plan_first(self.root, number, "a bail-out comes")
            if not self.root.failed:
                self._findings.add(
                    "bail-out-failure",
                    number,
                    "no test point before it is a failure: a reader that ignores bail-outs sees success",
                )
            self.bail_out = number
        self._bail_depth = depth
        if _BAIL_OUT_FORM.fullmatch(content) is None:
            self._findings.add(
                "bail-out-form", number, f"{shown(content)} is to be written `Bail out! REASON`"
            )
        self._enter(min(depth, len(self._stack) - 1), number)

    def _take_pragma(self, number: int, content: str, depth: int) -> None:
        self._enter(depth, number, "a pragma")
        if _PRAGMA.fullmatch(content) is None:
            self._findings.add("pragma-syntax", number, f"{shown(content)} is no pragma: write `pragma +key`")
        else:
            self._findings.add("pragma", number, "not every reader of TAP knows pragmas")

    def _take_point(self, number: int, content: str, depth: int) -> None:
        document = self._enter(depth, number)
        point = read_point(number, depth, content, self._findings)
        self._point = point
        if depth:
            self.not_counted.add(number)
        else:
            self.verdicts[number] = point.verdict
        document.points += 1
        document.failed |= point.verdict is Verdict.FAILED
        if document.plan_is_last:
            self._findings.add(
                "point-after-plan", number, f"the test point follows the plan of line {document.plan_line}"
            )
        self._number(document, point)
        if point.name and point.name in document.names:
            self._findings.add("name-unique", number, f"a test point {shown(point.name)} was there already")
        document.names.add(point.name)
        if document.child is not None:
            self._correlate(document.child, point)
            document.child = None

    def _number(self, document: Document, point: Point) -> None:
        if point.number is None:
            return
        number, line = point.number, point.line
        if number == 0 or (document.plan is not None and number > document.plan):
            self._out_of_range(document, number, line)
            return
        if number in document.ids:
            self._findings.add("id-unique", line, f"the number {number} was there already")
        elif number < document.last_id:
            self._findings.add("id-order", line, f"the number {number} comes after {document.last_id}")
        document.ids.add(number)
        if number > document.last_id:
            document.last_id, document.last_id_line = number, line

    def _out_of_range(self, document: Document, number: int, line: int) -> None:
        plan = "" if document.plan is None else f", and the plan is 1..{document.plan}"
        self._findings.add("id-range", line, f"the test point has the number {number}{plan}")

    def _correlate(self, child: Document, point: Point) -> None:
        if child.announcement is not None and (child.announcement.name or "") != point.name:
            self._findings.add(
                "subtest-name",
                point.line,
                f"the test point of {child.where} is called {shown(point.name)}",
            )
        if child.failed and point.ok and not point.directive:
            self._findings.add(
                "subtest-status", point.line, f"a test point of {child.where} failed, and its own says `ok`"
            )

    # ---- YAML blocks -------------------------------------------------------------------------------

    def _open_block(self, number: int, text: str, indent: int) -> None:
        wanted, self._floor = indent, 0
        if self._point is None:
            self._findings.add("yaml-place", number, "a YAML block that belongs to no test point")
        else:
            self._floor = 4 * self._point.depth
            wanted = self._floor + 2
        if indent != wanted or text != text.rstrip():
            self._findings.add("yaml-marker", number, self._marker(text, indent, wanted))
        self._block = Block(number, indent)

    @staticmethod
    def _marker(text: str, indent: int, wanted: int) -> str:
        if indent != wanted:
            return f"`{text.strip()}` is indented by {indent} spaces and not by {wanted}"
        return f"`{text.strip()}` has white space behind it"

    def _in_block(self, block: Block, number: int, text: str) -> bool:
        """Take a line of a block; False when the block turns out to have ended without its end."""
        content = text.lstrip(" ")
        indent = len(text) - len(content)
        if content.rstrip() == "..." and indent <= block.indent:
            if indent < block.indent or content != "...":
                self._findings.add("yaml-marker", number, self._marker(text, indent, block.indent))
            self._end_block(block)
        elif not content.rstrip():
            self._findings.add("blank-line", number, "a blank line in a YAML block, which ends it for some")
            block.add(number, "")
        elif indent <= self._floor and self._taker(content) is not None:
            self._unclosed(block)
            return False
        elif indent >= block.indent:
            block.add(number, text)
        else:
            self._findings.add(
                "yaml-indent", number, f"{shown(text)} is not as far in as the block that it stands in"
            )
        return True

    def _unclosed(self, block: Block) -> None:
        self._findings.add(
            "yaml-unclosed", block.line, "the YAML block has no end: no `...` of its indentation"
        )
        point, self._point, self._block = self._point, None, None
        if point is not None and point.depth == 0:
            self._diagnosed(point, block, None)

    def _end_block(self, block: Block) -> None:
        point, self._point, self._block = self._point, None, None
        self._read_yaml += block.size
        values = None
        if self._read_yaml > MAX_YAML:
            self._findings.add(
                "too-large", block.line, f"of all YAML only the first {MAX_YAML >> 20} MiB are parsed"
            )
        else:
            values = block.read(self._findings)
        if point is not None and point.depth == 0:
            self._diagnosed(point, block, values)

    def _settle(self) -> None:
        """No YAML block can follow the last point any more."""
        point, self._point = self._point, None
        if point is not None and point.depth == 0:
            self._diagnosed(point, None, None)
