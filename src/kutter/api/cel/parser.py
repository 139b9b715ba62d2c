"""From tokens to a tree, macros spelled out. Depth and size are bounded.

Upstream: https://github.com/google/cel-spec/blob/master/doc/langdef.md#syntax
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from kutter.api.cel.errors import Issue
from kutter.api.cel.lexer import LexerError, Token, check_int, tokenize
from kutter.api.cel.macros import STANDARD, Expand, Key, MacroError
from kutter.api.cel.names import RESERVED
from kutter.api.cel.source import CODE_POINT_LIMIT, DEPTH_LIMIT, Source
from kutter.api.cel.syntax import (
    Call,
    CreateList,
    CreateMap,
    CreateObject,
    Expression,
    Ident,
    Literal,
    Select,
)

_RELATIONS = frozenset(("<", "<=", ">", ">=", "==", "!=", "in"))
_START = (
    "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, "
    "STRING, BYTES, IDENTIFIER}"
)
_ENTRY = _START.replace("'{', '('", "'{', '}', '('").replace(
    "'.', '-', '!'", "'.', ',', '-', '!', '?'"
)
_FIELD = "{'}', ',', '?', IDENTIFIER, ESC_IDENTIFIER}"
_CLOSING = frozenset((")", "]", "}"))
_LITERALS = frozenset(("int", "uint", "float", "string", "bytes"))
_OPENING = _LITERALS | {"name", "[", "{", "(", ".", "-", "!"}
_CONSTANTS = {"true": True, "false": False, "null": None}


def _starts(token: Token) -> bool:
    """Whether an expression may begin with a token."""
    return token.kind in _OPENING and token.text != "in"


class Grammar(msgspec.Struct, frozen=True):
    """What of the language an environment turns on."""

    macros: Mapping[Key, Expand] = msgspec.field(default_factory=lambda: STANDARD)
    optionals: bool = False
    quoted_names: bool = False


class _Stop(Exception):
    def __init__(self, issue: Issue) -> None:
        super().__init__(issue.message)
        self.issue = issue


def parse(source: Source, grammar: Grammar) -> Expression:
    """The tree of a text. Raises CompileError."""
    size = len(source.text)
    if size > CODE_POINT_LIMIT:
        text = f"expression code point size exceeds limit: size: {size}, limit {CODE_POINT_LIMIT}"
        raise source.failure([Issue(-1, text)])
    issues: list[Issue] = []
    tree: Expression | None = None
    try:
        tokens, issues = tokenize(source.text)
        parser = _Parser(tokens, grammar, issues)
        tree = parser.whole()
    except LexerError as error:
        issues.append(error.issue)
    except (_Stop, MacroError) as error:
        issues.append(error.issue)
    except RecursionError:
        issues.append(Issue(-1, f"expression recursion limit exceeded: {DEPTH_LIMIT}"))
    if issues or tree is None:
        raise source.failure(issues)
    return tree


class _Parser:
    def __init__(self, tokens: list[Token], grammar: Grammar, issues: list[Issue]) -> None:
        """``issues`` is added to where parsing can go on."""
        self._tokens = tokens
        self._issues = issues
        self._grammar = grammar
        self._position = 0
        self._depth = 0
        self._token = tokens[0]

    def whole(self) -> Expression:
        expression = self._expression()
        if self._token.kind != "end":
            raise self._unexpected("<EOF>", self._following().kind == "end")
        return expression

    # -- tokens ----------------------------------------------------------------

    def _next(self) -> Token:
        token = self._token
        self._position += 1
        if self._position < len(self._tokens):
            self._token = self._tokens[self._position]
        return token

    def _is(self, text: str) -> bool:
        token = self._token
        return token.kind == text or (token.kind == "name" and token.text == text)

    def _accept(self, kind: str) -> bool:
        if self._token.kind != kind:
            return False
        self._next()
        return True

    def _expect(self, kind: str) -> Token:
        token = self._token
        if token.kind != kind:
            if token.kind == "end" and kind in _CLOSING:
                text = f"Syntax error: missing '{kind}' at '<EOF>'"
                raise _Stop(Issue(token.offset, text))
            raise self._unexpected(f"'{kind}'", self._following().kind == kind)
        return self._next()

    def _following(self) -> Token:
        return self._tokens[min(self._position + 1, len(self._tokens) - 1)]

    def _unexpected(self, expected: str, extraneous: bool) -> _Stop:
        """``extraneous``: without this token what follows would fit."""
        token = self._token
        verb = "extraneous" if extraneous else "mismatched"
        text = f"Syntax error: {verb} input '{token.text}' expecting {expected}"
        return _Stop(Issue(token.offset, text))

    def _no_start(self, expected: str = _START) -> _Stop:
        """An expression should begin here."""
        following = self._following()
        found = self._unexpected(expected, _starts(following) and self._token.kind != "end")
        if following.kind == "end" and self._token.kind != "end":
            self._issues.append(found.issue)
            text = f"Syntax error: mismatched input '<EOF>' expecting {_START}"
            found = _Stop(Issue(following.offset, text))
        return found

    # -- levels of precedence --------------------------------------------------

    def _expression(self) -> Expression:
        self._depth += 1
        if self._depth > DEPTH_LIMIT:
            text = f"expression recursion limit exceeded: {DEPTH_LIMIT}"
            raise _Stop(Issue(-1, text))
        expression = self._or()
        if self._token.kind == "?":
            offset = self._next().offset
            yes = self._or()
            self._expect(":")
            expression = Call(offset, "_?_:_", [expression, yes, self._expression()], None)
        self._depth -= 1
        return expression

    def _or(self) -> Expression:
        if self._token.kind == "end":
            raise self._no_start()
        terms, offsets = [self._and()], []
        while self._token.kind == "||":
            offsets.append(self._next().offset)
            terms.append(self._and())
        return _balance("_||_", terms, offsets) if offsets else terms[0]

    def _and(self) -> Expression:
        terms, offsets = [self._relation()], []
        while self._token.kind == "&&":
            offsets.append(self._next().offset)
            terms.append(self._relation())
        return _balance("_&&_", terms, offsets) if offsets else terms[0]

    def _relation(self) -> Expression:
        left = self._sum()
        while self._token.kind in _RELATIONS or self._is("in"):
            token = self._next()
            function = "@in" if token.text == "in" else f"_{token.text}_"
            left = Call(token.offset, function, [left, self._sum()], None)
        return left

    def _sum(self) -> Expression:
        left = self._product()
        while self._token.kind in ("+", "-"):
            token = self._next()
            left = Call(token.offset, f"_{token.text}_", [left, self._product()], None)
        return left

    def _product(self) -> Expression:
        left = self._unary()
        while self._token.kind in ("*", "/", "%"):
            token = self._next()
            left = Call(token.offset, f"_{token.text}_", [left, self._unary()], None)
        return left

    def _unary(self) -> Expression:
        kind = self._token.kind
        if kind not in ("!", "-"):
            return self._member()
        signs = []
        while self._token.kind == kind:
            signs.append(self._next().offset)
        if kind == "-" and self._token.kind in ("int", "float"):
            # The minus belongs to the literal, so the smallest number can be written.
            signs.pop()
            node = self._member(negative=True)
        else:
            node = self._member()
        if len(signs) % 2:
            node = Call(signs[0], "!_" if kind == "!" else "-_", [node], None)
        return node

    def _member(self, *, negative: bool = False) -> Expression:
        node = self._primary(negative=negative)
        while True:
            kind = self._token.kind
            if kind == ".":
                node = self._selection(node)
            elif kind == "[":
                offset = self._next().offset
                optional = self._optional_mark()
                index = self._expression()
                self._expect("]")
                node = Call(offset, "_[?_]" if optional else "_[_]", [node, index], None)
            else:
                return node

    def _optional_mark(self) -> bool:
        token = self._token
        if token.kind != "?":
            return False
        if not self._grammar.optionals:
            raise _Stop(Issue(token.offset, "unsupported syntax '?'"))
        self._next()
        return True

    def _selection(self, operand: Expression) -> Expression:
        offset = self._next().offset
        optional = self._optional_mark()
        token = self._token
        if token.kind == "quoted" and self._grammar.quoted_names:
            self._next()
            return Select(offset, operand, token.text[1:-1], optional=optional)
        if token.kind == "quoted":
            raise _Stop(Issue(token.offset, "unsupported syntax: '`'"))
        if token.kind != "name" or token.text in ("in", "true", "false", "null"):
            if token.kind == "name":
                raise self._unexpected("IDENTIFIER", extraneous=False)
            shown = "" if token.kind == "end" else token.text
            text = f"Syntax error: no viable alternative at input '.{shown}'"
            raise _Stop(Issue(token.offset, text))
        self._next()
        if self._token.kind == "(" and not optional:
            opening = self._next().offset
            return self._call(opening, token.text, operand, self._arguments(")"))
        return Select(offset, operand, token.text, optional=optional)

    def _arguments(self, end: str) -> list[Expression]:
        arguments: list[Expression] = []
        if not self._accept(end):
            arguments.append(self._expression())
            while self._accept(","):
                arguments.append(self._expression())
            self._expect(end)
        return arguments

    def _call(
        self, offset: int, name: str, target: Expression | None, arguments: list[Expression]
    ) -> Expression:
        expand = self._grammar.macros.get((name.lstrip("."), len(arguments), target is not None))
        if expand is not None:
            expanded = expand(offset, target, arguments)
            if expanded is not None:
                return expanded
        return Call(offset, name, arguments, target)

    # -- the smallest parts ----------------------------------------------------

    def _primary(self, *, negative: bool) -> Expression:
        token = self._token
        kind = token.kind
        if kind in _LITERALS:
            return self._literal(token, negative=negative)
        if kind == "name" and token.text in _CONSTANTS:
            self._next()
            return Literal(token.offset, _CONSTANTS[token.text])
        if kind == "(":
            self._next()
            inside = self._expression()
            self._expect(")")
            return inside
        if kind == "[":
            return self._list()
        if kind == "{":
            offset = self._next().offset
            return self._map(offset)
        if kind in ("name", "."):
            return self._name()
        raise self._no_start()

    def _literal(self, token: Token, *, negative: bool) -> Literal:
        self._next()
        value = token.value
        if token.kind == "int" and not negative and not check_int(value):
            raise _Stop(Issue(token.offset, "invalid int literal"))
        return Literal(token.offset, -value if negative else value)

    def _name(self) -> Expression:
        leading = "." if self._accept(".") else ""
        token = self._token
        if token.kind != "name" or token.text == "in":
            if leading:
                shown = "" if token.kind == "end" else token.text
                text = f"Syntax error: no viable alternative at input '.{shown}'"
                raise _Stop(Issue(token.offset, text))
            raise self._no_start()
        self._next()
        if token.text in RESERVED:
            self._issues.append(Issue(token.offset, f"reserved identifier: {token.text}"))
            return Literal(token.offset, None)
        name = leading + token.text
        if self._token.kind == "(":
            opening = self._next().offset
            return self._call(opening, name, None, self._arguments(")"))
        created = self._object(name)
        return created if created is not None else Ident(token.offset, name)

    def _object(self, name: str) -> Expression | None:
        """``a.b.C{…}``: looked for ahead, since only the brace tells."""
        position, whole = self._position, name
        while (
            self._tokens[position].kind == "."
            and self._tokens[position + 1].kind == "name"
            and self._tokens[position + 2].kind in (".", "{")
        ):
            whole += f".{self._tokens[position + 1].text}"
            position += 2
        if self._tokens[position].kind != "{":
            return None
        self._position = position
        self._token = self._tokens[position]
        offset = self._next().offset
        return self._fields(offset, whole)

    def _fields(self, offset: int, name: str) -> Expression:
        entries: list[tuple[str, int, Expression, bool]] = []
        while not self._accept("}"):
            optional = self._optional_mark()
            token = self._token
            if token.kind == "quoted" and self._grammar.quoted_names:
                key = token.text[1:-1]
            elif token.kind == "name":
                key = token.text
            else:
                raise self._unexpected(_FIELD, self._following().kind == "name")
            self._next()
            at = self._expect(":").offset
            entries.append((key, at, self._expression(), optional))
            if not self._accept(","):
                self._expect("}")
                break
        return CreateObject(offset, name, entries)

    def _list(self) -> Expression:
        offset = self._next().offset
        elements: list[Expression] = []
        optional: set[int] = set()
        while not self._accept("]"):
            if self._optional_mark():
                optional.add(len(elements))
            elements.append(self._expression())
            if not self._accept(","):
                self._expect("]")
                break
        return CreateList(offset, elements, frozenset(optional))

    def _map(self, offset: int) -> Expression:
        entries: list[tuple[Expression, Expression, bool]] = []
        while not self._accept("}"):
            optional = self._optional_mark()
            if not entries and not _starts(self._token):
                raise self._no_start(_ENTRY)
            key = self._expression()
            self._expect(":")
            entries.append((key, self._expression(), optional))
            if not self._accept(","):
                self._expect("}")
                break
        return CreateMap(offset, entries)


def _balance(function: str, terms: list[Expression], offsets: list[int]) -> Expression:
    """A chain of ``&&`` as a tree of little depth; the operators keep their places."""
    if len(terms) == 1:
        return terms[0]
    middle = len(offsets) // 2
    left = _balance(function, terms[: middle + 1], offsets[:middle])
    right = _balance(function, terms[middle + 1 :], offsets[middle + 1 :])
    return Call(offsets[middle], function, [left, right], None)
